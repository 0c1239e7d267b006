//! A client's reads, and the checks on them: nothing that isn't in the log, nothing older than the client
//! asked for or than others saw here, nothing staler than the node admits.

use std::sync::Arc;

use bindery_core::audit::{AuditEntry, AuditKind};
use bindery_core::id::{AccountId, Revision, UserId};
use bindery_core::state::State;
use bindery_core::time::Timestamp;
use bindery_node::{Account, Node};

use crate::client::Client;
use crate::operation::{Note, Read};
use crate::requests;
use crate::run::{Run, lock};
use crate::trace::Event;

impl Run {
    /// Asks a question.
    pub(crate) fn read(&self, client: &mut Client, account: &Account) {
        let seat = &self.seats[client.seat];
        let now = self.now_at(client.seat);
        let mut snapshot = account.snapshot();
        let question = requests::question(self, &snapshot);
        let (mut decision, mut revision) = account.decide(&question, now);
        if let Some(early) = &*lock(&seat.early)
            && early.account().id == client.account
        {
            snapshot = Arc::new(early.clone());
            decision = early.decide(&question, now.max(early.latest()));
            revision = early.revision();
        }
        self.tell(Event::Read, client.seat, || {
            format!("{question:?} {decision:?} at {revision}")
        });
        self.digest(&[revision.0, u64::from(decision.is_allowed())]);
        if self.is_of_lost(client, &snapshot) {
            return;
        }
        let head = self.head(client.account);
        if revision > head {
            self.violate(format!(
                "a reader of node {} sees revision {revision}, and the log ends at {head}",
                client.seat
            ));
        }
        if snapshot.revision() != revision {
            self.violate(format!(
                "the index is at {revision}, and the snapshot beside it at {}",
                snapshot.revision()
            ));
        }
        if revision < client.highest {
            let highest = client.highest;
            self.violate(format!(
                "a client that asked for at least {highest} was shown {revision}"
            ));
        }
        self.never_back(client.seat, client.account, revision);
        if let Some(node) = seat.node() {
            self.is_as_fresh_as_it_says(client.seat, &node, client.account, revision);
        }
        client.highest = client.highest.max(revision);
        if self.chance(300) {
            self.note(client.seat, account, now);
        }
        lock(&self.reads).push(Read {
            account: client.account,
            seat: client.seat,
            question,
            now,
            decision,
            revision,
            snapshot: self.chance(250).then_some(snapshot),
        });
    }

    /// Whether the node still shows rolled back changes. It may, until it reports that it knows of the
    /// rollback.
    fn is_of_lost(&self, client: &Client, snapshot: &State) -> bool {
        let lost = {
            let database = lock(&self.database);
            let ledger = database.ledgers.get(&client.account);
            let ledger = ledger.filter(|ledger| ledger.has_lost(snapshot.position()));
            ledger
                .and_then(|ledger| ledger.lost.as_ref())
                .map(|lost| (lost.at, lost.busy.contains(&client.seat)))
        };
        let (Some((lost_at, was_busy)), Some(node)) = (lost, self.seats[client.seat].node()) else {
            return false;
        };
        self.count(Event::ReadOfLost, 1);
        let staleness = u64::try_from(node.staleness().as_millis()).unwrap_or(u64::MAX);
        if self.time().saturating_sub(staleness) > lost_at && !was_busy {
            self.violate(format!(
                "node {} says that it is {staleness} ms behind, and shows revision {}, which was rolled back before that",
                client.seat,
                snapshot.revision()
            ));
        }
        true
    }

    /// The node adds an audit entry for the request.
    fn note(&self, seat: usize, account: &Account, at: Timestamp) {
        let mut notes = lock(&self.notes);
        let text = format!("note {}", notes.len());
        account.note(AuditEntry {
            user: UserId::new(1),
            address: String::new(),
            kind: AuditKind::Query,
            operation: "list_roles".to_owned(),
            text: Some(text.clone()),
            variables: None,
            status: 200,
            problem: None,
            key: None,
            request: None,
            revision: None,
            at,
        });
        self.count(Event::Noted, 1);
        notes.push(Note {
            account: account.id(),
            seat,
            text,
            is_lost: false,
        });
    }

    /// Checks that readers of a node never go back while it runs.
    fn never_back(&self, seat: usize, account: AccountId, revision: Revision) {
        let mut seen = lock(&self.seats[seat].seen);
        let Some((_, last)) = seen.iter_mut().find(|(one, _)| *one == account) else {
            seen.push((account, revision));
            return;
        };
        if revision < *last {
            self.violate(format!(
                "readers of node {seat} were shown {last} and then {revision}"
            ));
        }
        *last = revision;
    }

    /// Checks that the node knows everything that was committed before its reported staleness.
    fn is_as_fresh_as_it_says(
        &self,
        seat: usize,
        node: &Node,
        account: AccountId,
        revision: Revision,
    ) {
        let staleness = u64::try_from(node.staleness().as_millis()).unwrap_or(u64::MAX);
        let since = self.time().saturating_sub(staleness);
        let known = {
            let database = lock(&self.database);
            let ledger = database.ledgers.get(&account);
            ledger.map_or(Revision(0), |ledger| ledger.head_before(since))
        };
        if revision < known {
            self.violate(format!(
                "node {seat} says that it is {staleness} ms behind, and doesn't know revision {known} of before that"
            ));
        }
    }
}
