//! Who may know the credentials that entries of formats before 6 put. Those formats don't record it, but their operations tell.

use std::collections::BTreeMap;

use super::{Credential, KnownTo};
use crate::change::{Change, Entry};
use crate::id::UserId;

/// Reads the log of one account from its beginning, and records in each credential who may know it.
///
/// A credential that was put before the log begins stays [`KnownTo::Unrecorded`], and so does a password that replaced it.
#[derive(Debug, Default)]
pub struct Knowers {
    /// Of each person with a credential that the log tells about.
    known_to: BTreeMap<UserId, KnownTo>,
}

impl Knowers {
    /// Records it in the next entry of the log. Returns whether the entry is another than before. `is_admin` tells whether a user is
    /// a person and account admin.
    pub fn note<E>(
        &mut self,
        entry: &mut Entry,
        mut is_admin: impl FnMut(UserId) -> Result<bool, E>,
    ) -> Result<bool, E> {
        let operation = entry.operation().to_owned();
        let mut is_changed = false;
        for change in &mut entry.changes {
            if let Change::DeleteCredential(user) = change {
                self.known_to.remove(user);
            }
            if let Change::PutCredential(credential) = change {
                if credential.known_to == KnownTo::Unrecorded {
                    credential.known_to =
                        self.derive(&operation, entry.by, credential, &mut is_admin)?;
                    is_changed |= credential.known_to != KnownTo::Unrecorded;
                }
                let known_to = credential.known_to.clone();
                self.known_to.insert(credential.user, known_to);
            }
        }
        Ok(is_changed)
    }

    fn derive<E>(
        &self,
        operation: &str,
        by: Option<UserId>,
        credential: &Credential,
        is_admin: &mut impl FnMut(UserId) -> Result<bool, E>,
    ) -> Result<KnownTo, E> {
        let before = || {
            let before = self.known_to.get(&credential.user);
            before.cloned().unwrap_or_default()
        };
        let mut by_sender = || {
            let is_mailed = credential.password.is_none();
            Ok(match by {
                None => KnownTo::Owner,
                Some(sender) if is_mailed && is_admin(sender)? => KnownTo::Owner,
                Some(sender) => KnownTo::by(sender, self.known_to.get(&sender)),
            })
        };
        Ok(match operation {
            // The temporary password stayed.
            "resend_user_invitation" if credential.password.is_some() => {
                let by_sender = by_sender()?;
                before().and(by_sender)
            }
            "create_user" | "resend_user_invitation" => by_sender()?,
            "accept_invitation" | "complete_password_reset" => KnownTo::Owner,
            // A link beside the password, if there is one.
            "reset_user_password" if credential.password.is_none() => KnownTo::Owner,
            "reset_user_password" => before(),
            "sign_in" => match before() {
                KnownTo::Users(users) => {
                    let mut are_admins = true;
                    for user in &users {
                        are_admins &= is_admin(*user)?;
                    }
                    if are_admins {
                        KnownTo::Owner
                    } else {
                        KnownTo::Users(users)
                    }
                }
                before @ (KnownTo::Unrecorded | KnownTo::Owner | KnownTo::Anyone) => before,
            },
            _ => KnownTo::Unrecorded,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::api_key::SecretHash;
    use crate::change::OneOperation;
    use crate::credential::{Link, LinkPurpose, PasswordHash};
    use crate::id::Revision;
    use crate::time::Timestamp;

    const ADMIN: u32 = 1;
    const MALLORY: u32 = 2;
    const BOSS: u32 = 3;
    const SECOND: u32 = 4;

    /// What each of these entries makes of who may know the last credential: operation, caller, person, and whether it puts a
    /// password or a link.
    fn after(entries: &[(&str, u32, u32, bool, bool)]) -> KnownTo {
        let mut knowers = Knowers::default();
        let mut last = KnownTo::Unrecorded;
        for (operation, by, user, has_password, has_link) in entries {
            let credential = Credential {
                user: UserId::new(*user),
                password: has_password.then(|| PasswordHash::new("hash".to_owned())),
                link: has_link.then_some(Link {
                    token: SecretHash([7; 32]),
                    purpose: LinkPurpose::Invitation,
                    until: Timestamp::from_millis(9),
                }),
                known_to: KnownTo::Unrecorded,
            };
            let mut entry = Entry::from(OneOperation {
                revision: Revision(1),
                at: Timestamp::from_millis(1),
                by: Some(UserId::new(*by)),
                key: None,
                operation: (*operation).to_owned(),
                batch: 1,
                changes: vec![Change::PutCredential(credential)],
            });
            let is_admin = |user| Ok::<_, Infallible>(user == UserId::new(ADMIN));
            let is_changed = knowers.note(&mut entry, is_admin).unwrap();
            let Some(Change::PutCredential(credential)) = entry.changes.pop() else {
                unreachable!("the entry puts a credential");
            };
            last = credential.known_to;
            assert_eq!(is_changed, last != KnownTo::Unrecorded);
        }
        last
    }

    fn users(numbers: &[u32]) -> KnownTo {
        KnownTo::Users(numbers.iter().map(|number| UserId::new(*number)).collect())
    }

    #[test]
    fn a_log_tells_who_may_know_the_passwords_that_it_put() {
        let by_mallory = ("create_user", MALLORY, BOSS, true, false);
        let by_admin = ("create_user", ADMIN, BOSS, true, false);
        let signed_in = ("sign_in", BOSS, BOSS, true, false);
        assert_eq!(after(&[by_mallory]), users(&[MALLORY]));
        assert_eq!(after(&[by_mallory, signed_in]), users(&[MALLORY]));
        assert_eq!(
            after(&[by_mallory, signed_in, signed_in]),
            users(&[MALLORY])
        );
        assert_eq!(after(&[by_admin]), users(&[ADMIN]));
        assert_eq!(after(&[by_admin, signed_in]), KnownTo::Owner);
        // A user who may act as the inviter knows it too.
        let second = ("create_user", BOSS, SECOND, true, false);
        let chain = [by_mallory, signed_in, second];
        assert_eq!(after(&chain), users(&[BOSS, MALLORY]));
        // A mailed link proves the address once it is used.
        let accepted = ("accept_invitation", BOSS, BOSS, true, false);
        let mailed = |by| ("create_user", by, BOSS, false, true);
        assert_eq!(after(&[mailed(MALLORY)]), users(&[MALLORY]));
        assert_eq!(after(&[mailed(ADMIN)]), KnownTo::Owner);
        assert_eq!(after(&[mailed(MALLORY), accepted]), KnownTo::Owner);
        let again = ("resend_user_invitation", ADMIN, BOSS, true, true);
        assert_eq!(after(&[by_mallory, again]), users(&[MALLORY, ADMIN]));
        let reset = ("reset_user_password", ADMIN, BOSS, true, true);
        let completed = ("complete_password_reset", BOSS, BOSS, true, false);
        let all = [by_mallory, signed_in, reset];
        assert_eq!(after(&all), users(&[MALLORY]));
        assert_eq!(
            after(&[by_mallory, signed_in, reset, completed]),
            KnownTo::Owner
        );
    }

    #[test]
    fn what_began_before_the_log_stays_unrecorded() {
        for operation in ["sign_in", "reset_user_password", "another_operation"] {
            let entry = (operation, BOSS, BOSS, true, false);
            assert_eq!(after(&[entry]), KnownTo::Unrecorded, "{operation}");
        }
        let again = ("resend_user_invitation", ADMIN, BOSS, true, true);
        assert_eq!(after(&[again]), KnownTo::Unrecorded);
    }
}
