//! How often people may try to sign in. A stranger can't use up the attempts of a person who has signed in from their address
//! before: that pair of e-mail address and client address has attempts of its own.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bindery_core::audit::AuditKind;
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
use crate::sign_in::Candidate;

/// How many people's addresses are remembered.
const PEOPLE_MAX: usize = 16_384;
/// How many client addresses of each.
const ADDRESSES_MAX: usize = 16;
/// How long after reading the audit log for a person it is read again: people also sign in at other servers.
const RECALL_INTERVAL: Duration = Duration::from_mins(10);
/// How far back it is read.
const RECALL_MS: i64 = 90 * 24 * 60 * 60 * 1000;
/// How many sign-ins are read of each account.
const RECALL_ENTRIES: usize = 64;
/// How many people wait for that.
const RECALLS_MAX: usize = 64;
/// What shows that a person was at an address.
const PROOFS: [&str; 3] = ["sign_in", "accept_invitation", "complete_password_reset"];

/// How often anyone may try to get in. Each attempt costs password hashes.
#[derive(Debug)]
pub(crate) struct Attempts {
    /// Of an e-mail address, from any client address that it has not signed in from.
    strangers: Rate<String>,
    /// Of an e-mail address from a client address that it has signed in from.
    returning: Rate<(String, IpAddr)>,
    /// From a client address, for everyone who has not signed in from it.
    addresses: Rate<IpAddr>,
    remembered: Arc<Mutex<Remembered>>,
    recalls: Arc<Semaphore>,
    recalls_waiting: Arc<Semaphore>,
    /// How many accounts the store has, as far as that was asked for.
    accounts: AtomicUsize,
}

impl Attempts {
    /// For an e-mail address ten at once, then one in 30 s: from each client address that it has signed in from, and from all
    /// others together. From a client address (IPv6: from a /64 network) a hundred at once, then one a second.
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

    /// An attempt with a link.
    pub(crate) fn take_from(&self, client: IpAddr) -> Result<(), Problem> {
        let taken = self.addresses.take(&household(client));
        taken.map_err(Problem::too_many_sign_ins)
    }

    /// An attempt to sign in with this e-mail address; how it waits for its turn.
    pub(crate) fn take_for(&self, email: &Email, client: IpAddr) -> Result<Waiting, Problem> {
        let (email, address) = (email.folded(), household(client));
        if lock(&self.remembered).has(&email, address) {
            let taken = self.returning.take(&(email, address));
            taken.map_err(Problem::too_many_sign_ins)?;
            return Ok(Waiting::Returning(client));
        }
        self.take_from(client)?;
        let taken = self.strangers.take(&email);
        taken.map_err(Problem::too_many_sign_ins)?;
        Ok(Waiting::Stranger(client))
    }

    /// A person with this e-mail address is at this client address.
    pub(crate) fn remember(&self, email: &Email, client: IpAddr) {
        lock(&self.remembered).add(email.folded(), household(client));
    }

    /// Reads from the audit log where these people signed in before, as after a restart. In the background: an answer that
    /// waited for it would tell which addresses are known here.
    pub(crate) fn recall(
        &self,
        node: &Arc<Node>,
        email: &Email,
        people: &[Candidate],
    ) -> Option<JoinHandle<()>> {
        let email = email.folded();
        if people.is_empty() || !lock(&self.remembered).is_recall_due(&email, Instant::now()) {
            return None;
        }
        let place = Arc::clone(&self.recalls_waiting).try_acquire_owned().ok()?;
        lock(&self.remembered).begin_recall(email.clone(), Instant::now());
        let people: Vec<_> = people
            .iter()
            .map(|(account, user, _)| (*account, *user))
            .collect();
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
                    // The newest come first, and are to be the last that are forgotten.
                    for (_, entry) in found.into_iter().rev() {
                        if let (200 | 204, Ok(address)) = (entry.status, entry.address.parse()) {
                            lock(&remembered).add(email.clone(), household(address));
                        }
                    }
                }
                Ok::<_, bindery_store::StoreError>(())
            });
            if let Ok(Err(error)) = read.await {
                tracing::warn!(%error, "where people signed in before can't be read");
            }
            drop((turn, place));
        }))
    }

    /// How many accounts the store has at the least.
    pub(crate) fn accounts(&self) -> usize {
        self.accounts.load(Ordering::Relaxed)
    }

    /// The store has so many.
    pub(crate) fn have_accounts(&self, count: usize) -> usize {
        self.accounts.fetch_max(count, Ordering::Relaxed).max(count)
    }

    /// Forgets everyone who hasn't tried for a while.
    pub(crate) fn tidy(&self) {
        self.strangers.tidy();
        self.returning.tidy();
        self.addresses.tidy();
    }
}

/// Where people have signed in.
#[derive(Debug, Default)]
struct Remembered {
    people: HashMap<String, Person>,
    /// Counts up with every sign-in, to find who was longest away.
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
    fn has(&self, email: &str, address: IpAddr) -> bool {
        let person = self.people.get(email);
        person.is_some_and(|person| person.addresses.contains(&address))
    }

    fn add(&mut self, email: String, address: IpAddr) {
        let person = self.person(email);
        person.addresses.retain(|known| *known != address);
        if person.addresses.len() >= ADDRESSES_MAX {
            person.addresses.pop_front();
        }
        person.addresses.push_back(address);
    }

    fn is_recall_due(&self, email: &str, now: Instant) -> bool {
        let recalled_at = self.people.get(email).and_then(|person| person.recalled_at);
        recalled_at.is_none_or(|at| now.saturating_duration_since(at) >= RECALL_INTERVAL)
    }

    fn begin_recall(&mut self, email: String, now: Instant) {
        self.person(email).recalled_at = Some(now);
    }

    fn person(&mut self, email: String) -> &mut Person {
        if self.people.len() >= PEOPLE_MAX && !self.people.contains_key(&email) {
            // A quarter at once, so that this is rare.
            let mut turns: Vec<u64> = self.people.values().map(|person| person.turn).collect();
            let (_, first_kept, _) = turns.select_nth_unstable(PEOPLE_MAX / 4);
            let first_kept = *first_kept;
            self.people.retain(|_, person| person.turn >= first_kept);
        }
        self.turn += 1;
        let person = self.people.entry(email).or_default();
        person.turn = self.turn;
        person
    }
}

fn lock(remembered: &Mutex<Remembered>) -> MutexGuard<'_, Remembered> {
    remembered.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use bindery_core::audit::AuditEntry;
    use bindery_core::credential::PasswordHash;
    use bindery_core::id::{AccountId, IdKey, UserId};
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
            let waiting = attempts.take_for(&email, address(from)).unwrap();
            let is_returning = matches!(waiting, Waiting::Returning(_));
            assert_eq!(is_returning, is_known, "{from}");
        }
        let again = attempts.recall(&node, &email, &people);
        assert!(again.is_none(), "not at every attempt");
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn strangers_cannot_use_up_the_attempts_of_a_person_who_returns() {
        let attempts = Attempts::new();
        let email = Email::parse("ada@example.com").unwrap();
        let home = address("2001:db8:0:7::1");
        attempts.remember(&email, home);
        let stranger = |number: u32| {
            let from = IpAddr::from((0xc633_6400 + number).to_be_bytes());
            attempts.take_for(&email, from)
        };
        for number in 0..10 {
            assert!(matches!(stranger(number), Ok(Waiting::Stranger(_))));
        }
        for number in 10..100 {
            assert_eq!(stranger(number).unwrap_err().status(), 429);
        }
        let elsewhere_in_the_same_network = address("2001:db8:0:7::2");
        for _ in 0..10 {
            let taken = attempts.take_for(&email, elsewhere_in_the_same_network);
            assert!(matches!(taken, Ok(Waiting::Returning(_))));
        }
        let taken = attempts.take_for(&email, home);
        assert_eq!(taken.unwrap_err().status(), 429, "bounded all the same");
    }

    #[test]
    fn a_neighbour_who_tries_everybody_leaves_a_person_who_returns_their_attempts() {
        let attempts = Attempts::new();
        let email = |number: u32| Email::parse(&format!("u{number}@example.com")).unwrap();
        let office = address("198.51.100.7");
        attempts.remember(&email(0), office);
        for number in 1..=100 {
            assert!(attempts.take_for(&email(number), office).is_ok());
        }
        assert!(attempts.take_for(&email(101), office).is_err());
        assert!(attempts.take_for(&email(0), office).is_ok());
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_longest_away_are_forgotten() {
        let mut remembered = Remembered::default();
        let home = address("198.51.100.7");
        for number in 0..=PEOPLE_MAX {
            remembered.add(format!("u{number}"), home);
        }
        assert!(remembered.people.len() <= PEOPLE_MAX);
        assert!(!remembered.has("u0", home));
        assert!(remembered.has(&format!("u{PEOPLE_MAX}"), home));
        for number in 0..=ADDRESSES_MAX {
            let number = u32::try_from(number).unwrap();
            remembered.add("ada".to_owned(), IpAddr::from(number.to_be_bytes()));
        }
        assert_eq!(remembered.people["ada"].addresses.len(), ADDRESSES_MAX);
        assert!(!remembered.has("ada", address("0.0.0.0")));
    }
}
