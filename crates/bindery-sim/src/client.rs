//! Clients: they read and write on any node, remember the highest revision that they have seen, and ask for
//! at least that revision everywhere.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bindery_core::command::AnyCommand;
use bindery_core::command::Caller;
use bindery_core::id::{AccountId, Revision};
use bindery_node::{Account, Audit, ExecuteError, RefusedAs};

use crate::operation::{Answer, Dispatch, Operation, Response};
use crate::planted::Mistake;
use crate::requests;
use crate::run::{Run, lock};
use crate::trace::Event;

/// How long a client waits for a revision.
const PATIENCE_MS: u64 = 5_000;

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) account: AccountId,
    pub(crate) seat: usize,
    /// The highest revision that it has seen or learned.
    pub(crate) highest: Revision,
    doing: Doing,
}

enum Doing {
    Nothing,
    /// Waits for a revision.
    Reaching {
        reach: Pin<Box<dyn Future<Output = ()> + Send>>,
        account: Arc<Account>,
        until: Revision,
        since: u64,
    },
    /// Waits for the response to a command.
    Executing {
        operation: usize,
        account: Arc<Account>,
        answer: Answer,
    },
}

impl fmt::Debug for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "Nothing",
            Self::Reaching { .. } => "Reaching",
            Self::Executing { .. } => "Executing",
        })
    }
}

impl Client {
    pub(crate) fn new(account: AccountId, seat: usize) -> Self {
        Self {
            account,
            seat,
            highest: Revision(0),
            doing: Doing::Nothing,
        }
    }
}

fn poll<T>(future: &mut Pin<Box<dyn Future<Output = T> + Send>>) -> Poll<T> {
    future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
}

impl Run {
    pub(crate) fn client_step(self: &Arc<Self>, number: usize) {
        let mut client = lock(&self.clients[number]);
        match std::mem::replace(&mut client.doing, Doing::Nothing) {
            Doing::Nothing => {
                let (seat, account) = self.choose(number, &mut client);
                // Anything may happen while an account is loaded, to this client as well.
                drop(client);
                let Some(account) = self.wake(seat, account) else {
                    return;
                };
                let mut client = lock(&self.clients[number]);
                if client.seat == seat && matches!(client.doing, Doing::Nothing) {
                    self.begin(number, &mut client, account);
                }
            }
            Doing::Reaching {
                mut reach,
                account,
                until,
                since,
            } => {
                if poll(&mut reach).is_ready() {
                    self.has_reached(client.seat, &account, until);
                    self.act(number, &mut client, account);
                } else if self.time() > since + PATIENCE_MS {
                    self.tell(Event::AtLeastGivenUp, client.seat, String::new);
                } else {
                    client.doing = Doing::Reaching {
                        reach,
                        account,
                        until,
                        since,
                    };
                }
            }
            Doing::Executing {
                operation,
                account,
                mut answer,
            } => match poll(&mut answer) {
                Poll::Ready(answer) => self.answered(&mut client, operation, &account, answer),
                Poll::Pending if !self.is_calm() && self.chance(10) => {
                    self.tell(Event::GivenUp, client.seat, || format!("of #{operation}"));
                    lock(&self.operations)[operation].response = Response::Unanswered;
                }
                Poll::Pending => {
                    client.doing = Doing::Executing {
                        operation,
                        account,
                        answer,
                    };
                }
            },
        }
    }

    /// The client's next node, and the account.
    fn choose(&self, number: usize, client: &mut Client) -> (usize, AccountId) {
        let is_up = self.seats[client.seat].is_up();
        if self.seats.len() > 1 && (!is_up || self.chance(150)) {
            client.seat = self.index(self.seats.len());
            self.count(Event::ClientMoved, 1);
        }
        if self.chance(150) {
            self.pass_on(number, client);
        }
        (client.seat, client.account)
    }

    fn begin(self: &Arc<Self>, number: usize, client: &mut Client, account: Arc<Account>) {
        if client.highest == Revision(0) {
            // A new client has seen nothing and waits for nothing.
            return self.act(number, client, account);
        }
        let (at, until) = (Arc::clone(&account), client.highest);
        let mut reach: Pin<Box<dyn Future<Output = ()> + Send>> =
            Box::pin(async move { at.reach(until).await });
        if self.mistake == Some(Mistake::AtLeastIsIgnored) {
            return self.act(number, client, account);
        }
        if poll(&mut reach).is_ready() {
            self.has_reached(client.seat, &account, until);
            return self.act(number, client, account);
        }
        self.tell(Event::AtLeastWaited, client.seat, || {
            format!("client {number} for {until}")
        });
        client.doing = Doing::Reaching {
            reach,
            account,
            until,
            since: self.time(),
        };
    }

    fn has_reached(&self, seat: usize, account: &Account, until: Revision) {
        let reached = account.snapshot().revision();
        if reached < until {
            self.violate(format!(
                "node {seat} has reached {until}, and its readers see {reached}"
            ));
        }
    }

    /// Tells another client of the same account the highest revision.
    fn pass_on(&self, number: usize, client: &Client) {
        let other = self.index(self.clients.len());
        if other == number {
            return;
        }
        let mut other = lock(&self.clients[other]);
        if other.account == client.account && other.highest < client.highest {
            other.highest = client.highest;
            self.count(Event::RevisionPassedOn, 1);
        }
    }

    /// Reads or writes; the account has reached the revision.
    fn act(self: &Arc<Self>, number: usize, client: &mut Client, account: Arc<Account>) {
        let Some(node) = self.seats[client.seat].node() else {
            return;
        };
        // It may have learned of a higher one while it waited.
        let reached = account.snapshot().revision();
        if reached < client.highest && self.mistake != Some(Mistake::AtLeastIsIgnored) {
            return;
        }
        if self.chance(400) {
            return self.read(client, &account);
        }
        let snapshot = account.snapshot();
        let Some(hash) = requests::a_key(self, &snapshot) else {
            return;
        };
        let caller = node.authenticate(&hash, self.now_at(client.seat));
        let Some((_, caller)) = caller else {
            return;
        };
        let command = requests::command(self, &snapshot);
        let seat = client.seat;
        if let Some(doing) = self.send(seat, account, caller, command) {
            let Doing::Executing { operation, .. } = &doing else {
                return;
            };
            self.digest(&[number as u64, *operation as u64]);
            client.doing = doing;
        }
    }

    fn send(
        &self,
        seat: usize,
        account: Arc<Account>,
        caller: Caller,
        command: AnyCommand,
    ) -> Option<Doing> {
        let attempts = Arc::new(Mutex::default());
        let operation = lock(&self.operations).len();
        let is_audited = self.chance(500);
        let audit = is_audited.then(|| Audit {
            address: String::new(),
            text: Some(format!("#{operation}")),
            variables: None,
            request: None,
            success: 200,
            refused: |_| RefusedAs {
                status: 400,
                problem: None,
            },
        });
        self.tell(Event::Submitted, seat, || {
            format!("#{operation} {caller:?} {command:?}")
        });
        lock(&self.operations).push(Operation {
            account: account.id(),
            seat,
            command: command.clone(),
            caller,
            is_audited,
            head: self.head(account.id()),
            attempts: Arc::clone(&attempts),
            response: Response::Waiting,
            is_forgiven: false,
        });
        let mut answer = command.with(Dispatch {
            account: Arc::clone(&account),
            caller,
            audit,
            attempts,
            batch: Arc::clone(&self.seats[seat].batch),
        });
        match poll(&mut answer) {
            Poll::Pending => Some(Doing::Executing {
                operation,
                account,
                answer,
            }),
            Poll::Ready(_) => {
                self.violate(format!("#{operation} was answered before it was decided"));
                None
            }
        }
    }

    /// Sends a command without waiting for its response.
    pub(crate) fn submit(
        &self,
        seat: usize,
        account: Arc<Account>,
        caller: Caller,
        command: AnyCommand,
    ) {
        if let Some(Doing::Executing { operation, .. }) = self.send(seat, account, caller, command)
        {
            lock(&self.operations)[operation].response = Response::Unanswered;
        }
    }

    fn answered(
        &self,
        client: &mut Client,
        operation: usize,
        account: &Account,
        answer: Result<crate::operation::Told, ExecuteError>,
    ) {
        let is_unavailable = matches!(
            answer,
            Err(ExecuteError::Unavailable | ExecuteError::Unknown)
        );
        let (event, response) = match answer {
            Ok(told) => (Event::Acknowledged, Response::Acknowledged(told)),
            Err(ExecuteError::Refused(refusal)) => (Event::Refused, Response::Refused(refusal)),
            Err(ExecuteError::Unavailable | ExecuteError::Crowded) => {
                (Event::Unavailable, Response::Unavailable)
            }
            Err(ExecuteError::Contradiction) => (Event::Contradicted, Response::Contradicted),
            Err(ExecuteError::Unknown) => (Event::Unknown, Response::Unknown),
        };
        self.tell(event, client.seat, || format!("#{operation} {response:?}"));
        let mut operations = lock(&self.operations);
        let operation = &mut operations[operation];
        let is_unavailable = is_unavailable || operation.is_forgiven;
        let visible = account.snapshot().revision();
        if let Some(attempt) = lock(&operation.attempts).last()
            && !is_unavailable
        {
            let is_change = attempt
                .came_to
                .as_ref()
                .is_ok_and(|changes| !changes.is_empty());
            let needed = if is_change && event == Event::Acknowledged {
                attempt.on.next()
            } else {
                attempt.on
            };
            if visible < needed && event != Event::Contradicted {
                self.violate(format!(
                    "the response has revision {needed}, and readers of the node see {visible}"
                ));
            }
        }
        operation.response = response;
        drop(operations);
        if !is_unavailable {
            client.highest = client.highest.max(visible);
        }
    }

    /// The log was rolled back: earlier responses about this account don't count any more.
    pub(crate) fn clients_forgive(&self, account: AccountId, head: Revision) {
        for client in &self.clients {
            let mut client = lock(client);
            if client.account == account {
                client.highest = client.highest.min(head);
            }
        }
        let mut operations = lock(&self.operations);
        for operation in operations.iter_mut().filter(|one| one.account == account) {
            operation.is_forgiven = true;
        }
        lock(&self.reads).retain(|read| read.account != account);
        for seat in &self.seats {
            lock(&seat.seen).retain(|(one, _)| *one != account);
        }
    }

    /// The node is killed: clients that wait there get no response.
    pub(crate) fn clients_lose(&self, seat: usize) {
        for client in &self.clients {
            let mut client = lock(client);
            if client.seat != seat {
                continue;
            }
            if let Doing::Executing { operation, .. } = client.doing {
                self.tell(Event::Unanswered, seat, || format!("#{operation}"));
                lock(&self.operations)[operation].response = Response::Unanswered;
            }
            client.doing = Doing::Nothing;
        }
        for note in lock(&self.notes)
            .iter_mut()
            .filter(|note| note.seat == seat)
        {
            note.is_lost = true;
        }
    }

    /// There are no more faults, so every client gets its response.
    pub(crate) fn client_ends(self: &Arc<Self>, number: usize) {
        let is_waiting = {
            let client = lock(&self.clients[number]);
            matches!(
                client.doing,
                Doing::Executing { .. } | Doing::Reaching { .. }
            )
        };
        if is_waiting {
            self.client_step(number);
        }
    }

    /// The first client that still waits.
    pub(crate) fn still_waiting(&self) -> Option<String> {
        let mut clients = self.clients.iter().enumerate();
        clients.find_map(|(number, client)| {
            let client = lock(client);
            let is_waiting = matches!(
                client.doing,
                Doing::Executing { .. } | Doing::Reaching { .. }
            );
            is_waiting.then(|| format!("client {number} still waits: {client:?}"))
        })
    }

    /// The node takes one more command, and responds.
    pub(crate) fn last_word(self: &Arc<Self>, seat: usize, account: Arc<Account>) {
        let serial = (1 << 32) | lock(&self.operations).len() as u64;
        let command = requests::last_word(serial);
        let doing = self.send(seat, account, Caller::Operator, command);
        let Some(Doing::Executing {
            operation,
            account,
            mut answer,
        }) = doing
        else {
            return;
        };
        self.turn_until_idle(seat);
        let mut client = Client::new(account.id(), seat);
        match poll(&mut answer) {
            Poll::Ready(answer) => {
                if matches!(answer, Err(ExecuteError::Unavailable)) {
                    self.violate(format!("node {seat} takes no writes in the end"));
                }
                self.answered(&mut client, operation, &account, answer);
            }
            Poll::Pending => self.violate(format!("node {seat} never answers #{operation}")),
        }
    }
}
