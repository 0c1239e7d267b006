//! Passwords: argon2id, each with a salt of its own, a few at once. A password is never printed, logged or
//! stored.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash as Phc;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use bindery_core::credential::PasswordHash;
use bindery_core::id::{AccountId, Id as _, UserId};

use crate::client_address::household;
use crate::problem::Problem;
use crate::secret::random_letters;
use crate::turns::{Bound, Bounds, Lane, Turnstile};
use crate::workers::Workers;

/// One hash takes 19 MiB and some tens of milliseconds of one core.
const AT_ONCE_MAX: usize = 2;
/// How many may wait for their turn; more get 429.
const WAITING_MAX: usize = 512;
/// The same for one account, for all strangers, and for all people who return.
const GROUP_WAITING_MAX: usize = 64;
/// The same for one person, or for those who return to one network.
const PERSON_WAITING_MAX: usize = 8;
/// How many attempts of strangers from one network wait or are verified at once; more get 429.
const NETWORK_ATTEMPTS_MAX: usize = 3;
/// Letters of a temporary password: 119 random bits.
const TEMPORARY_LETTERS: usize = 20;

/// A password in clear text, kept as briefly as possible.
#[derive(Clone)]
pub(crate) struct Password(String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

impl Password {
    /// The minimum length of a chosen password, in code points.
    pub(crate) const LENGTH_MIN: usize = 12;
    /// The maximum.
    pub(crate) const LENGTH_MAX: usize = 256;

    /// A password that a person chooses: any characters, including spaces, unchanged.
    pub(crate) fn choose(field: &str, text: &str) -> Result<Self, Problem> {
        let length = text.chars().count();
        if (Self::LENGTH_MIN..=Self::LENGTH_MAX).contains(&length) {
            return Ok(Self(text.to_owned()));
        }
        let why = format!(
            "has {length} characters; choose {} to {}",
            Self::LENGTH_MIN,
            Self::LENGTH_MAX
        );
        Err(Problem::field(field, why))
    }

    /// A password to verify; `None` if no password is like this.
    pub(crate) fn offered(text: &str) -> Option<Self> {
        (1..=Self::LENGTH_MAX)
            .contains(&text.chars().count())
            .then(|| Self(text.to_owned()))
    }

    /// A temporary password from the system's random numbers.
    pub(crate) fn generate() -> Result<Self, Problem> {
        Ok(Self(random_letters(TEMPORARY_LETTERS)?))
    }

    /// The text, for the one response that shows it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

/// Hashes and verifies on its own threads, in fair turns. A turn is one sign-in or one new password, so a
/// member who makes many temporary passwords delays an admin's by one. If too many wait, an attempt from
/// elsewhere replaces the newest from the origin with the most.
#[derive(Debug)]
pub(crate) struct Passwords {
    workers: Workers,
    /// Counts the attempts of strangers by network.
    networks: Turnstile,
    /// Maps addresses to numbers that no client can choose.
    hasher: RandomState,
    /// How many hashes were computed since the start.
    computed: Arc<AtomicU64>,
    /// Verified where there is no hash, so that it takes as long.
    placeholder: PasswordHash,
}

/// Who waits for a hash, without a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// A stranger at this address.
    Stranger(IpAddr),
    /// A person who has signed in from this address before.
    Returning(IpAddr),
    /// A person with a correct link or password.
    Person(AccountId, UserId),
}

impl Passwords {
    pub(crate) fn new() -> Self {
        // Not the hash of a known password. A fixed one is enough, since its result is ignored.
        let placeholder = "$argon2id$v=19$m=19456,t=2,p=1$YmluZGVyeS1ub2JvZHk$\
                           s7gJQm0tT5TkC2o0x0Z0m3m3mV0o0mHjQv0yqkq5g6Q";
        let bound = |running, waiting| Bound { running, waiting };
        let bounds = Bounds([
            bound(AT_ONCE_MAX, WAITING_MAX),
            // One turn is always left for another group.
            bound(AT_ONCE_MAX - 1, GROUP_WAITING_MAX),
            bound(1, PERSON_WAITING_MAX),
            bound(1, PERSON_WAITING_MAX),
        ]);
        Self {
            workers: Workers::new("password", AT_ONCE_MAX, bounds),
            networks: Turnstile::new(Bounds([
                bound(usize::MAX, 0),
                bound(usize::MAX, 0),
                bound(NETWORK_ATTEMPTS_MAX, 0),
                bound(NETWORK_ATTEMPTS_MAX, 0),
            ])),
            hasher: RandomState::new(),
            computed: Arc::default(),
            placeholder: PasswordHash::new(placeholder.to_owned()),
        }
    }

    /// Hashes a password with a new salt, for a person without a key.
    pub(crate) async fn hash(
        &self,
        waiting: Waiting,
        password: Password,
    ) -> Result<PasswordHash, Problem> {
        self.hash_in(self.lane(waiting), password).await
    }

    /// The same for a caller with a key.
    pub(crate) async fn hash_in(
        &self,
        lane: Lane,
        password: Password,
    ) -> Result<PasswordHash, Problem> {
        let computed = Arc::clone(&self.computed);
        let work = move || {
            computed.fetch_add(1, Ordering::Relaxed);
            Argon2::default().hash_password(password.0.as_bytes())
        };
        match self.run(lane, work).await? {
            Ok(phc) => Ok(PasswordHash::new(phc.to_string())),
            Err(error) => {
                tracing::error!(%error, "a password can't be hashed");
                Err(Problem::internal())
            }
        }
    }

    /// The index of the first hash that matches the password. Always computes `count` hashes, so its time
    /// shows neither how many there are nor which is right.
    pub(crate) async fn find(
        &self,
        waiting: Waiting,
        password: Password,
        hashes: Vec<PasswordHash>,
        count: usize,
    ) -> Result<Option<usize>, Problem> {
        let computed = Arc::clone(&self.computed);
        let placeholder = self.placeholder.clone();
        let work = move || {
            let mut found = None;
            for place in 0..count {
                let hash = hashes.get(place);
                let parsed = Phc::new(hash.unwrap_or(&placeholder).as_str());
                computed.fetch_add(1, Ordering::Relaxed);
                let is_right = parsed.is_ok_and(|parsed| {
                    Argon2::default()
                        .verify_password(password.0.as_bytes(), &parsed)
                        .is_ok()
                });
                if is_right && hash.is_some() && found.is_none() {
                    found = Some(place);
                }
            }
            found
        };
        let lane = self.lane(waiting);
        let _counted = match waiting {
            Waiting::Stranger(_) => {
                let counted = self.networks.try_enter(lane);
                Some(counted.map_err(|_| Problem::too_many_sign_ins(1))?)
            }
            Waiting::Returning(_) | Waiting::Person(..) => None,
        };
        self.run(lane, work).await
    }

    async fn run<T: Send + 'static>(
        &self,
        lane: Lane,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let worked = self.workers.run_displacing(lane, work).await;
        worked.map_err(|problem| match problem.status() {
            429 | 503 => Problem::too_many_sign_ins(1),
            _ => problem,
        })
    }

    /// Strangers share a group with a lane for each address; so do people who return. Each account has its
    /// own group.
    fn lane(&self, waiting: Waiting) -> Lane {
        let number = |address| self.hasher.hash_one(household(address));
        match waiting {
            Waiting::Stranger(address) => Lane([u64::MAX, number(address), 0]),
            Waiting::Returning(address) => Lane([u64::MAX - 1, number(address), 0]),
            Waiting::Person(AccountId(account), user) => {
                Lane([account.into(), user.number().into(), 0])
            }
        }
    }

    /// How many hashes were computed since the start.
    pub(crate) fn computed(&self) -> u64 {
        self.computed.load(Ordering::Relaxed)
    }

    /// How many passwords wait for their turn.
    pub(crate) fn waiting(&self) -> usize {
        self.workers.waiting()
    }

    /// How many are being hashed.
    pub(crate) fn running(&self) -> usize {
        self.workers.running()
    }

    /// Stops its threads. Blocks.
    pub(crate) fn close(&self) {
        self.workers.close();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const HERE: Waiting = Waiting::Stranger(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

    #[tokio::test]
    async fn a_password_is_verified_against_its_own_salted_hash_only() {
        let passwords = Passwords::new();
        let password = Password::choose("password", "correct horse battery").unwrap();
        let hash = passwords.hash(HERE, password.clone()).await.unwrap();
        let other = passwords.hash(HERE, password.clone()).await.unwrap();
        assert!(hash.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert_ne!(hash, other);
        assert_eq!(
            format!("{hash:?} {password:?}"),
            "PasswordHash(..) Password(..)"
        );
        let wrong = Password::offered("correct horse batterz").unwrap();
        let other = passwords.hash(HERE, wrong.clone()).await.unwrap();
        for (offered, hashes, expected) in [
            (&password, vec![hash.clone()], Some(0)),
            (&password, vec![other.clone(), hash.clone()], Some(1)),
            (&wrong, vec![hash.clone()], None),
            (&password, vec![other], None),
            (&password, Vec::new(), None),
        ] {
            let before = passwords.computed();
            let found = passwords.find(HERE, offered.clone(), hashes, 2).await;
            assert_eq!(found.unwrap(), expected);
            assert_eq!(passwords.computed() - before, 2, "always the same number");
        }
    }

    #[test]
    fn each_address_person_and_group_waits_in_a_lane_of_its_own() {
        let passwords = Passwords::new();
        let lane = |waiting| passwords.lane(waiting);
        let [one, other] = ["2001:db8::1", "2001:db8:0:1::1"].map(|text| text.parse().unwrap());
        let neighbour = "2001:db8::2".parse().unwrap();
        let Lane([strangers, ..]) = lane(Waiting::Stranger(one));
        let Lane([returning, ..]) = lane(Waiting::Returning(one));
        assert_ne!(strangers, returning);
        assert_ne!(lane(Waiting::Stranger(one)), lane(Waiting::Stranger(other)));
        let near = lane(Waiting::Stranger(neighbour));
        assert_eq!(lane(Waiting::Stranger(one)), near);
        let person = lane(Waiting::Person(AccountId(7), UserId::new(3)));
        assert_eq!(person, Lane([7, 3, 0]));
    }

    #[test]
    fn the_placeholder_hash_costs_as_much_as_a_real_one() {
        let placeholder = Passwords::new().placeholder;
        let parsed = Phc::new(placeholder.as_str()).unwrap();
        let params = argon2::Params::try_from(&parsed).unwrap();
        assert_eq!(params.m_cost(), argon2::Params::DEFAULT.m_cost());
        assert_eq!(params.t_cost(), argon2::Params::DEFAULT.t_cost());
    }

    #[test]
    fn a_chosen_password_has_12_to_256_characters() {
        for (length, is_good) in [
            (0, false),
            (11, false),
            (12, true),
            (256, true),
            (257, false),
        ] {
            let text = "é".repeat(length);
            assert_eq!(
                Password::choose("password", &text).is_ok(),
                is_good,
                "{length}"
            );
        }
        assert_ne!(
            Password::generate().unwrap().reveal(),
            Password::generate().unwrap().reveal()
        );
    }

    fn network(number: u8) -> Waiting {
        Waiting::Stranger(IpAddr::from([203, 0, 113, number]))
    }

    #[tokio::test]
    async fn networks_with_many_attempts_leave_room_for_the_first_of_another() {
        let passwords = Passwords::new();
        let turn = passwords.workers.occupy(passwords.lane(network(255))).await;
        let password = Password::offered("a wrong guess").unwrap();
        let attempt = |from| Box::pin(passwords.find(from, password.clone(), Vec::new(), 1));
        // 22 networks with three each: more than may wait.
        let mut flood: Vec<_> = (0..22)
            .flat_map(|number| [number; 9])
            .map(|number| attempt(network(number)))
            .collect();
        for one in &mut flood {
            if let Some(answer) = one.now_or_never() {
                assert_eq!(answer.unwrap_err().status(), 429);
            }
        }
        assert_eq!(passwords.waiting(), GROUP_WAITING_MAX);
        let mut others: Vec<_> = (100..120).map(|number| attempt(network(number))).collect();
        for one in &mut others {
            assert!(one.now_or_never().is_none());
        }
        assert_eq!(passwords.waiting(), GROUP_WAITING_MAX);
        // People who return have a separate lane.
        let mut returning = attempt(Waiting::Returning(IpAddr::from([203, 0, 113, 1])));
        assert!((&mut returning).now_or_never().is_none());
        drop((turn, flood));
        for one in others {
            assert_eq!(one.await.unwrap(), None);
        }
        assert_eq!(returning.await.unwrap(), None);
        passwords.close();
    }
}
