//! Limits attempts to sign in. A stranger can't use up the attempts of a person who has signed in from their
//! client address before: such a person has separate attempts there, for their own account. The same e-mail
//! address in another account is another person.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bindery_core::audit::AuditKind;
use bindery_core::credential::PasswordHash;
use bindery_core::id::{AccountId, UserId};
use bindery_core::text::Email;
use bindery_core::time::Timestamp;
use bindery_node::{Node, StoreCall};
use bindery_store::AuditQuery;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::client_address::household;
use crate::password::Waiting;
use crate::problem::Problem;
use crate::rate::Rate;

/// A person with this e-mail address and a password.
pub(crate) type Candidate = (AccountId, UserId, PasswordHash);

/// How many people's client addresses are remembered.
const PEOPLE_MAX: usize = 16_384;
/// How many client addresses of each person.
const ADDRESSES_MAX: usize = 16;
/// How long after reading the audit log for a person it is read again: people also sign in at other servers.
const RECALL_INTERVAL: Duration = Duration::from_mins(10);
/// How far back it is read.
const RECALL_MS: i64 = 90 * 24 * 60 * 60 * 1000;
/// How many sign-ins are read of each account.
const RECALL_ENTRIES: usize = 64;
/// How many people may wait for that.
const RECALLS_MAX: usize = 64;
/// The operations that show that a person was at a client address.
const PROOFS: [&str; 3] = ["sign_in", "accept_invitation", "complete_password_reset"];

/// The rates of attempts. Each attempt costs password hashes.
#[derive(Debug)]
pub(crate) struct Attempts {
    /// For an e-mail address, over all client addresses.
    strangers: Rate<String>,
    /// For a person at a client address that they have signed in from.
    returning: Rate<(PersonKey, IpAddr)>,
    /// For a client address, without people who have signed in from it.
    addresses: Rate<IpAddr>,
    remembered: Arc<Mutex<Remembered>>,
    recalls: Arc<Semaphore>,
    recalls_waiting: Arc<Semaphore>,
    /// How many accounts the store has, as far as that was read.
    accounts: AtomicUsize,
}

impl Attempts {
    /// An e-mail address has ten attempts at once, then one in 30 s, over all client addresses. Each person
    /// has as many from each client address that they have signed in from. A client address (IPv6: a /64
    /// network) has a hundred at once, then one a second.
    pub(crate) fn new() -> Self {
        let burst = |attempts| NonZeroU32::new(attempts).unwrap_or(NonZeroU32::MIN);
        Self {
            strangers: Rate::refilling(burst(10), Duration::from_secs(30)),
            returning: Rate::refilling(burst(10), Duration::from_secs(30)),
            addresses: Rate::refilling(burst(100), Duration::from_secs(1)),
            remembered: Arc::default(),
            recalls: Arc::new(Semaphore::new(1)),
            recalls_waiting: Arc::new(Semaphore::new(RECALLS_MAX)),
            accounts: AtomicUsize::new(0),
        }
    }

    /// Takes an attempt with a link.
    pub(crate) fn take_from(&self, client: IpAddr) -> Result<(), Problem> {
        let taken = self.addresses.take(&household(client));
        taken.map_err(Problem::too_many_sign_ins)
    }

    /// Takes an attempt to sign in with this e-mail address: it says whose passwords may be tried, and how it
    /// waits for its turn.
    ///
    /// People who have signed in from this client address take an attempt of their own, which counts for
    /// their own password only. For all other people with the address it is an attempt of a stranger. That
    /// one is always taken: otherwise the number left for strangers would show whether there are others.
    pub(crate) fn take_for(&self, email: &Email, client: IpAddr) -> Result<Attempt, Problem> {
        let (email, address) = (email.folded(), household(client));
        let known = lock(&self.remembered).known(&email, address);
        let mut refused = None;
        let returning: Vec<PersonKey> = known
            .into_iter()
            .filter(|person| {
                let taken = self.returning.take(&(*person, address));
                refused = taken.err().or(refused);
                taken.is_ok()
            })
            .collect();
        let as_stranger = self.take_from(client).and_then(|()| {
            let taken = self.strangers.take(&email);
            taken.map_err(Problem::too_many_sign_ins)
        });
        match as_stranger {
            Err(_) if returning.is_empty() && refused.is_some() => {
                Err(Problem::too_many_sign_ins(refused.unwrap_or(1)))
            }
            Err(problem) if returning.is_empty() => Err(problem),
            as_stranger => Ok(Attempt {
                waiting: if returning.is_empty() {
                    Waiting::Stranger(client)
                } else {
                    Waiting::Returning(client)
                },
                returning,
                is_for_all: as_stranger.is_ok(),
            }),
        }
    }

    /// Remembers that this person signed in from this client address.
    pub(crate) fn remember(&self, email: &Email, person: PersonKey, client: IpAddr) {
        lock(&self.remembered).add(email.folded(), person, household(client));
    }

    /// Reads from the audit log where these people signed in before, for example after a restart. In the
    /// background: a response that waited for it would show which addresses exist.
    pub(crate) fn recall(
        &self,
        node: &Arc<Node>,
        email: &Email,
        people: &[Candidate],
    ) -> Option<JoinHandle<()>> {
        let email = email.folded();
        let now = Instant::now();
        let mut known = lock(&self.remembered);
        let people: Vec<PersonKey> = people
            .iter()
            .map(|(account, user, _)| (*account, *user))
            .filter(|person| known.is_recall_due(&email, *person, now))
            .collect();
        if people.is_empty() {
            return None;
        }
        let place = Arc::clone(&self.recalls_waiting).try_acquire_owned().ok()?;
        for person in &people {
            known.begin_recall(email.clone(), *person, now);
        }
        drop(known);
        let (node, turns) = (Arc::clone(node), Arc::clone(&self.recalls));
        let remembered = Arc::clone(&self.remembered);
        Some(tokio::spawn(async move {
            let turn = turns.acquire_owned().await;
            let read = tokio::task::spawn_blocking(move || {
                for (account, user) in people {
                    let now = node.clock().now();
                    let query = AuditQuery {
                        from: Timestamp::from_millis(now.as_millis().saturating_sub(RECALL_MS)),
                        to: now,
                        user: Some(user),
                        operations: PROOFS.map(ToOwned::to_owned).to_vec(),
                        kind: Some(AuditKind::Mutation),
                        before: None,
                        limit: RECALL_ENTRIES,
                    };
                    let found = node.store().audit(account, &query);
                    let found = node.meters().watch(StoreCall::Audit, found)?;
                    // The newest come first, and must be forgotten last.
                    for (_, entry) in found.into_iter().rev() {
                        if let (200 | 204, Ok(address)) = (entry.status, entry.address.parse()) {
                            let address = household(address);
                            lock(&remembered).add(email.clone(), (account, user), address);
                        }
                    }
                }
                Ok::<_, bindery_store::StoreError>(())
            });
            if let Ok(Err(error)) = read.await {
                tracing::warn!(%error, "earlier sign-ins can't be read");
            }
            drop((turn, place));
        }))
    }

    /// A lower bound of the number of accounts in the store.
    pub(crate) fn accounts(&self) -> usize {
        self.accounts.load(Ordering::Relaxed)
    }

    /// Records the number of accounts in the store.
    pub(crate) fn have_accounts(&self, count: usize) -> usize {
        self.accounts.fetch_max(count, Ordering::Relaxed).max(count)
    }

    /// Drops the state of clients that have not tried for a while.
    pub(crate) fn tidy(&self) {
        self.strangers.tidy();
        self.returning.tidy();
        self.addresses.tidy();
    }
}

/// A person of an account.
pub(crate) type PersonKey = (AccountId, UserId);

/// An attempt to sign in that may be made.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) waiting: Waiting,
    /// The people who have signed in from there before.
    returning: Vec<PersonKey>,
    /// Whether all passwords may be tried, or only theirs.
    is_for_all: bool,
}

impl Attempt {
    /// Keeps those whose passwords may be tried; people who have signed in from there come first.
    pub(crate) fn choose(&self, candidates: &mut Vec<Candidate>) {
        let returns = |(account, user, _): &Candidate| self.returning.contains(&(*account, *user));
        if !self.is_for_all {
            candidates.retain(returns);
        }
        candidates.sort_by_key(|candidate| !returns(candidate));
    }
}

/// Where people have signed in.
#[derive(Debug, Default)]
struct Remembered {
    /// By e-mail address, then account and user.
    people: BTreeMap<(String, AccountId, UserId), Person>,
    /// Counts sign-ins, to find the person who was away the longest.
    turn: u64,
}

#[derive(Debug, Default)]
struct Person {
    /// The latest last.
    addresses: VecDeque<IpAddr>,
    turn: u64,
    recalled_at: Option<Instant>,
}

impl Remembered {
    /// The people who have signed in with this e-mail address from this client address.
    fn known(&self, email: &str, address: IpAddr) -> Vec<PersonKey> {
        let first = (email.to_owned(), AccountId(0), UserId::new(0));
        let people = self.people.range(first..);
        people
            .take_while(|((of, ..), _)| of == email)
            .filter(|(_, person)| person.addresses.contains(&address))
            .map(|((_, account, user), _)| (*account, *user))
            .collect()
    }

    fn add(&mut self, email: String, person: PersonKey, address: IpAddr) {
        let person = self.person(email, person);
        person.addresses.retain(|known| *known != address);
        if person.addresses.len() >= ADDRESSES_MAX {
            person.addresses.pop_front();
        }
        person.addresses.push_back(address);
    }

    fn is_recall_due(&self, email: &str, (account, user): PersonKey, now: Instant) -> bool {
        let person = self.people.get(&(email.to_owned(), account, user));
        let recalled_at = person.and_then(|person| person.recalled_at);
        recalled_at.is_none_or(|at| now.saturating_duration_since(at) >= RECALL_INTERVAL)
    }

    fn begin_recall(&mut self, email: String, person: PersonKey, now: Instant) {
        self.person(email, person).recalled_at = Some(now);
    }

    fn person(&mut self, email: String, (account, user): PersonKey) -> &mut Person {
        let key = (email, account, user);
        if self.people.len() >= PEOPLE_MAX && !self.people.contains_key(&key) {
            self.forget_some();
        }
        self.turn += 1;
        let person = self.people.entry(key).or_default();
        person.turn = self.turn;
        person
    }

    /// Drops the half that was away the longest, of the account with the most people. Other accounts lose
    /// none.
    fn forget_some(&mut self) {
        let mut turns: HashMap<AccountId, Vec<u64>> = HashMap::new();
        for ((_, account, _), person) in &self.people {
            turns.entry(*account).or_default().push(person.turn);
        }
        let most = turns.into_iter().max_by_key(|(_, turns)| turns.len());
        let Some((account, mut turns)) = most else {
            return;
        };
        let half = turns.len() / 2;
        let (_, first_kept, _) = turns.select_nth_unstable(half);
        let first_kept = *first_kept + u64::from(half == 0);
        self.people
            .retain(|(_, of, _), person| *of != account || person.turn >= first_kept);
    }
}

fn lock(remembered: &Mutex<Remembered>) -> MutexGuard<'_, Remembered> {
    remembered.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use bindery_core::audit::AuditEntry;
    use bindery_core::credential::PasswordHash;
    use bindery_core::id::IdKey;
    use bindery_core::place::{self, AccountSettings};
    use bindery_core::text::Name;
    use bindery_node::Clock;
    use bindery_store::sqlite::SqliteStore;

    use super::*;

    #[tokio::test]
    async fn after_a_restart_the_audit_log_says_where_a_person_signed_in_before() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(directory.path()).unwrap();
        let node = Arc::new(Node::open(Arc::new(store), Clock::system()).unwrap());
        let account = place::Account {
            id: AccountId(1),
            name: Name::parse("main").unwrap(),
            id_key: IdKey::new([1; 16]),
            created_at: node.clock().now(),
            settings: AccountSettings::default(),
        };
        let account = node.create_account(&account).unwrap();
        let ada = UserId::new(7);
        for (from, status, operation) in [
            ("198.51.100.7", 200, "sign_in"),
            ("203.0.113.1", 401, "sign_in"),
            ("203.0.113.2", 200, "create_api_key"),
        ] {
            account.note(AuditEntry {
                user: ada,
                address: from.to_owned(),
                kind: AuditKind::Mutation,
                operation: operation.to_owned(),
                text: None,
                variables: None,
                status,
                problem: None,
                key: None,
                request: None,
                revision: None,
                at: node.clock().now(),
            });
        }
        account.flush().await.unwrap();
        let attempts = Attempts::new();
        let email = Email::parse("ada@example.com").unwrap();
        let hash = PasswordHash::new("any".to_owned());
        let people = [(AccountId(1), ada, hash)];
        let recalled = attempts.recall(&node, &email, &people).unwrap();
        recalled.await.unwrap();
        for (from, is_known) in [
            ("198.51.100.7", true),
            ("203.0.113.1", false),
            ("203.0.113.2", false),
        ] {
            let waiting = attempts.take_for(&email, address(from)).unwrap().waiting;
            let is_returning = matches!(waiting, Waiting::Returning(_));
            assert_eq!(is_returning, is_known, "{from}");
        }
        let again = attempts.recall(&node, &email, &people);
        assert!(again.is_none(), "not at every attempt");
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn person(account: u32) -> PersonKey {
        (AccountId(account), UserId::new(7))
    }

    fn candidates(accounts: impl IntoIterator<Item = u32>) -> Vec<Candidate> {
        let hash = |account| PasswordHash::new(format!("of {account}"));
        let candidate = |account| (AccountId(account), UserId::new(7), hash(account));
        accounts.into_iter().map(candidate).collect()
    }

    /// The accounts of those whose passwords are tried, in order.
    fn tried(attempt: &Attempt) -> Vec<u32> {
        let mut all = candidates([1, 2, 3]);
        attempt.choose(&mut all);
        all.into_iter()
            .map(|(AccountId(account), ..)| account)
            .collect()
    }

    #[test]
    fn strangers_cannot_use_up_the_attempts_of_a_person_who_returns() {
        let attempts = Attempts::new();
        let email = Email::parse("ada@example.com").unwrap();
        let home = address("2001:db8:0:7::1");
        attempts.remember(&email, person(2), home);
        let stranger = |number: u32| {
            let from = IpAddr::from((0xc633_6400 + number).to_be_bytes());
            attempts.take_for(&email, from)
        };
        let here = attempts.take_for(&email, home).unwrap();
        assert_eq!(tried(&here), [2, 1, 3]);
        for number in 0..9 {
            let attempt = stranger(number).unwrap();
            assert!(matches!(attempt.waiting, Waiting::Stranger(_)));
            assert_eq!(tried(&attempt), [1, 2, 3]);
        }
        for number in 9..100 {
            assert_eq!(stranger(number).unwrap_err().status(), 429);
        }
        let elsewhere_in_the_same_network = address("2001:db8:0:7::2");
        for _ in 1..10 {
            let taken = attempts.take_for(&email, elsewhere_in_the_same_network);
            let taken = taken.unwrap();
            assert!(matches!(taken.waiting, Waiting::Returning(_)));
            // The others with this address are strangers there.
            assert_eq!(tried(&taken), [2]);
        }
        let taken = attempts.take_for(&email, home);
        assert_eq!(taken.unwrap_err().status(), 429, "bounded too");
    }

    #[test]
    fn sign_ins_to_another_account_evict_no_known_address_of_a_person() {
        let attempts = Attempts::new();
        let email = Email::parse("boss@example.com").unwrap();
        let home = address("198.51.100.7");
        attempts.remember(&email, person(1), home);
        let network = |number: u32| IpAddr::from((0xcb00_7100 + number).to_be_bytes());
        for number in 0..100 {
            attempts.remember(&email, person(2), network(number));
        }
        // All attempts of strangers.
        for _ in 0..10 {
            attempts.take_for(&email, address("192.0.2.1")).unwrap();
        }
        let here = attempts.take_for(&email, home).unwrap();
        assert_eq!(tried(&here), [1]);
        let there = attempts.take_for(&email, network(99)).unwrap();
        assert_eq!(tried(&there), [2]);
        assert!(attempts.take_for(&email, network(0)).is_err());
    }

    #[test]
    fn a_neighbor_who_tries_all_addresses_leaves_a_returning_person_their_attempts() {
        let attempts = Attempts::new();
        let email = |number: u32| Email::parse(&format!("u{number}@example.com")).unwrap();
        let office = address("198.51.100.7");
        attempts.remember(&email(0), person(1), office);
        for number in 1..=100 {
            assert!(attempts.take_for(&email(number), office).is_ok());
        }
        assert!(attempts.take_for(&email(101), office).is_err());
        assert!(attempts.take_for(&email(0), office).is_ok());
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_account_with_the_most_forgets() {
        let mut remembered = Remembered::default();
        let home = address("198.51.100.7");
        remembered.add("old".to_owned(), person(2), home);
        for number in 0..=PEOPLE_MAX {
            remembered.add(format!("u{number}"), person(1), home);
        }
        assert!(remembered.people.len() <= PEOPLE_MAX);
        assert_eq!(remembered.known("old", home), [person(2)]);
        assert_eq!(remembered.known("u0", home), []);
        let last = format!("u{PEOPLE_MAX}");
        assert_eq!(remembered.known(&last, home), [person(1)]);
        for number in 0..=ADDRESSES_MAX {
            let number = u32::try_from(number).unwrap();
            let address = IpAddr::from(number.to_be_bytes());
            remembered.add("ada".to_owned(), person(1), address);
        }
        assert_eq!(remembered.known("ada", address("0.0.0.0")), []);
        assert_eq!(remembered.known("ada", address("0.0.0.1")), [person(1)]);
    }
}
