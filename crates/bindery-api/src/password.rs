//! Passwords: argon2id, never more than a few at once, each with a salt of its own. A password is never printed, logged or kept.

use std::fmt;
use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash as Phc;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use bindery_core::credential::PasswordHash;
use tokio::sync::Semaphore;

use crate::problem::Problem;
use crate::secret::random_letters;

/// One hash takes 19 MiB and some tens of milliseconds of one core.
const AT_ONCE_MAX: usize = 2;
/// How many may wait for their turn; more are told to come back.
const WAITING_MAX: usize = 64;
/// Letters of a temporary password: 119 random bits.
const TEMPORARY_LETTERS: usize = 20;

/// A password in clear, as short as it lives.
#[derive(Clone)]
pub(crate) struct Password(String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

impl Password {
    /// Code points of a password that a person chooses, at the least.
    pub(crate) const LENGTH_MIN: usize = 12;
    /// And at the most.
    pub(crate) const LENGTH_MAX: usize = 256;

    /// A password that a person chooses: any characters, spaces included, as they are.
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

    /// A password to be verified; `None` if it can't be anybody's.
    pub(crate) fn offered(text: &str) -> Option<Self> {
        (1..=Self::LENGTH_MAX)
            .contains(&text.chars().count())
            .then(|| Self(text.to_owned()))
    }

    /// A temporary one from the system's random numbers.
    pub(crate) fn generate() -> Result<Self, Problem> {
        Ok(Self(random_letters(TEMPORARY_LETTERS)?))
    }

    /// The text, for the one answer that shows it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

/// Hashes and verifies away from the threads that serve.
#[derive(Debug)]
pub(crate) struct Passwords {
    turns: Arc<Semaphore>,
    /// Places of those who have no key, and of those who have one: the former can't take all there are.
    places: Semaphore,
    places_of_known: Semaphore,
    /// What is verified where there is nobody, so that it takes as long.
    nobody: PasswordHash,
}

impl Passwords {
    pub(crate) fn new() -> Self {
        // Not the hash of anything anyone knows; a fixed one will do, since its answer is thrown away.
        let nobody = "$argon2id$v=19$m=19456,t=2,p=1$YmluZGVyeS1ub2JvZHk$\
                      s7gJQm0tT5TkC2o0x0Z0m3m3mV0o0mHjQv0yqkq5g6Q";
        Self {
            turns: Arc::new(Semaphore::new(AT_ONCE_MAX)),
            places: Semaphore::new(AT_ONCE_MAX + WAITING_MAX),
            places_of_known: Semaphore::new(AT_ONCE_MAX + WAITING_MAX),
            nobody: PasswordHash::new(nobody.to_owned()),
        }
    }

    /// Hashes a password with a new salt, for whoever has no key.
    pub(crate) async fn hash(&self, password: Password) -> Result<PasswordHash, Problem> {
        self.hash_at(&self.places, password).await
    }

    /// The same for whoever has one.
    pub(crate) async fn hash_for_known(&self, password: Password) -> Result<PasswordHash, Problem> {
        self.hash_at(&self.places_of_known, password).await
    }

    async fn hash_at(
        &self,
        places: &Semaphore,
        password: Password,
    ) -> Result<PasswordHash, Problem> {
        let work = move || Argon2::default().hash_password(password.0.as_bytes());
        let hashed = self.run(places, work).await?;
        match hashed {
            Ok(phc) => Ok(PasswordHash::new(phc.to_string())),
            Err(error) => {
                tracing::error!(%error, "a password can't be hashed");
                Err(Problem::internal())
            }
        }
    }

    /// Whether the password is the one behind the hash; takes as long, and says no, where there is none.
    pub(crate) async fn verify(
        &self,
        password: Password,
        hash: Option<&PasswordHash>,
    ) -> Result<bool, Problem> {
        let is_somebody = hash.is_some();
        let hash = hash.unwrap_or(&self.nobody).clone();
        let is_right = self
            .run(&self.places, move || {
                let parsed = Phc::new(hash.as_str());
                parsed.is_ok_and(|parsed| {
                    Argon2::default()
                        .verify_password(password.0.as_bytes(), &parsed)
                        .is_ok()
                })
            })
            .await?;
        Ok(is_right && is_somebody)
    }

    async fn run<T: Send + 'static>(
        &self,
        places: &Semaphore,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let _place = places
            .try_acquire()
            .map_err(|_| Problem::too_many_sign_ins(1))?;
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let turn = turn.map_err(|_| Problem::internal())?;
        let worked = tokio::task::spawn_blocking(move || {
            let worked = work();
            drop(turn);
            worked
        });
        worked.await.map_err(|error| {
            tracing::error!(%error, "a password could not be worked on");
            Problem::internal()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_verified_against_its_own_salted_hash_only() {
        let passwords = Passwords::new();
        let password = Password::choose("password", "correct horse battery").unwrap();
        let hash = passwords.hash(password.clone()).await.unwrap();
        let other = passwords.hash(password.clone()).await.unwrap();
        assert!(hash.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert_ne!(hash, other);
        assert_eq!(
            format!("{hash:?} {password:?}"),
            "PasswordHash(..) Password(..)"
        );
        assert!(
            passwords
                .verify(password.clone(), Some(&hash))
                .await
                .unwrap()
        );
        let wrong = Password::offered("correct horse batterz").unwrap();
        assert!(!passwords.verify(wrong, Some(&hash)).await.unwrap());
        assert!(!passwords.verify(password, None).await.unwrap());
    }

    #[tokio::test]
    async fn however_many_try_to_get_in_whoever_is_in_has_a_turn() {
        let passwords = Passwords::new();
        let password = || Password::choose("password", "correct horse battery").unwrap();
        let all = u32::try_from(AT_ONCE_MAX + WAITING_MAX).unwrap();
        let _crowd = passwords.places.try_acquire_many(all).unwrap();
        let refused = passwords.hash(password()).await.unwrap_err();
        assert_eq!(refused.status(), 429);
        let refused = passwords.verify(password(), None).await.unwrap_err();
        assert_eq!(refused.status(), 429);
        assert!(passwords.hash_for_known(password()).await.is_ok());
    }

    #[test]
    fn the_hash_of_nobody_costs_as_much_as_a_real_one() {
        let nobody = Passwords::new().nobody;
        let parsed = Phc::new(nobody.as_str()).unwrap();
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
}
