//! Invitations, passwords and signing in: links are sent on behalf of an admin, and used by whoever they were sent to
//! (`docs/rules/operations.md`, users).

use super::operator::user_key;
use super::{Caller, Command, Context, Counts, Decided, cascade, proofs};
use crate::api_key::{ApiKey, Secret, SecretHash};
use crate::change::Change;
use crate::credential::{
    Credential, KnownTo, Link, LinkPurpose, PASSWORD_RESET_SECONDS, PasswordHash, SIGN_IN_SECONDS,
};
use crate::id::{Kind, UserId};
use crate::permission::Permission;
use crate::refusal::{Forbidden, Invalid, Refusal};
use crate::resource::Resource;
use crate::state::State;
use crate::text::KeyName;
use crate::user::{INVITATION_SECONDS, Standing, User, UserStatus};

/// How many keys from signing in a person has at once.
pub const SIGN_INS_MAX: usize = 100;

/// Sends an invitation again, with a new link and the whole time to accept it. The link or temporary password from before ends.
#[derive(Clone, Debug)]
pub struct ResendInvitation {
    /// To whom.
    pub user: UserId,
    /// The new link's token, hashed.
    pub token: SecretHash,
}

impl Command for ResendInvitation {
    type Outcome = User;
    const OPERATION: &str = "resend_user_invitation";
    const COUNTS: Counts = Counts::Invitation;

    fn execute(&self, state: &State, context: &Context) -> Result<Decided<User>, Refusal> {
        let user = state.reader(*context).visible_user(self.user)?;
        state.authorize(context, Permission::UserCreate, Resource::Account)?;
        if user.status(context.now) != Some(UserStatus::Invited) {
            return Err(Refusal::Invalid(Invalid::NotInvited));
        }
        let until = context.now.plus_seconds(INVITATION_SECONDS);
        let user = User {
            standing: Standing::Invited { until },
            ..user.clone()
        };
        let link = Link {
            token: self.token,
            purpose: LinkPurpose::Invitation,
            until,
        };
        Ok(Decided {
            changes: vec![
                Change::PutUser(user.clone()),
                Change::PutCredential(Credential {
                    link: Some(link),
                    known_to: state.known_to_sender(context, true),
                    ..Credential::none(user.id)
                }),
            ],
            outcome: user,
        })
    }
}

/// Gives an invited person a temporary password, and the whole time to use it. The link or temporary password from before ends. For
/// servers without mail, where an invitation can't be sent again.
#[derive(Clone, Debug)]
pub struct RenewTemporaryPassword {
    /// To whom.
    pub user: UserId,
    /// The new password, hashed.
    pub password: PasswordHash,
}

impl State {
    /// The invited person to whom the caller may give a temporary password.
    pub fn check_temporary_password(
        &self,
        context: &Context,
        user: UserId,
    ) -> Result<&User, Refusal> {
        let user = self.reader(*context).visible_user(user)?;
        self.authorize(context, Permission::UserCreate, Resource::Account)?;
        if self.is_bot(context) {
            return Err(Refusal::Forbidden(Forbidden::BotGetsPassword));
        }
        if user.status(context.now) != Some(UserStatus::Invited) {
            return Err(Refusal::Invalid(Invalid::NotInvited));
        }
        Ok(user)
    }
}

impl Command for RenewTemporaryPassword {
    type Outcome = User;
    const OPERATION: &str = "renew_temporary_password";

    fn execute(&self, state: &State, context: &Context) -> Result<Decided<User>, Refusal> {
        let user = state.check_temporary_password(context, self.user)?;
        let until = context.now.plus_seconds(INVITATION_SECONDS);
        let user = User {
            standing: Standing::Invited { until },
            ..user.clone()
        };
        Ok(Decided {
            changes: vec![
                Change::PutUser(user.clone()),
                Change::PutCredential(Credential {
                    password: Some(self.password.clone()),
                    known_to: state.known_to_sender(context, false),
                    ..Credential::none(user.id)
                }),
            ],
            outcome: user,
        })
    }
}

/// Sends a link to choose a new password; the old password works until it is used.
#[derive(Clone, Debug)]
pub struct ResetPassword {
    /// To whom.
    pub user: UserId,
    /// The link's token, hashed.
    pub token: SecretHash,
}

impl Command for ResetPassword {
    type Outcome = User;
    const OPERATION: &str = "reset_user_password";
    const COUNTS: Counts = Counts::Invitation;

    fn execute(&self, state: &State, context: &Context) -> Result<Decided<User>, Refusal> {
        let user = state.reader(*context).visible_user(self.user)?;
        state.authorize(context, Permission::UserUpdate, Resource::Account)?;
        if user.status(context.now) != Some(UserStatus::Active) {
            return Err(Refusal::Invalid(Invalid::NotActive));
        }
        let link = Link {
            token: self.token,
            purpose: LinkPurpose::PasswordReset,
            until: context.now.plus_seconds(PASSWORD_RESET_SECONDS),
        };
        Ok(Decided {
            changes: vec![put_link(state, user.id, link)],
            outcome: user.clone(),
        })
    }
}

/// Accepts an invitation by its link: the person is active from here on, with the password they chose.
#[derive(Clone, Debug)]
pub struct AcceptInvitation {
    /// The link's token, hashed.
    pub token: SecretHash,
    /// The password they chose.
    pub password: PasswordHash,
    /// The secret of their first key, if they get one.
    pub secret: Secret,
}

impl Command for AcceptInvitation {
    type Outcome = (User, Option<ApiKey>);
    const OPERATION: &str = "accept_invitation";

    fn admit(&self, _: &State, context: &Context) -> Result<(), Refusal> {
        person(context).map(|_| ())
    }

    fn execute(&self, state: &State, context: &Context) -> Result<Decided<Self::Outcome>, Refusal> {
        let user = linked(state, context, &self.token, LinkPurpose::Invitation)?;
        if user.status(context.now) != Some(UserStatus::Invited)
            || !proofs::is_good_for(state, user, context.now)
        {
            return Err(Refusal::NotFound(Kind::Credential));
        }
        // Who used the link has proved the address.
        let known_to = KnownTo::Owner;
        Ok(welcome(
            state,
            context,
            user,
            &self.password,
            known_to,
            &self.secret,
        ))
    }
}

/// Chooses a new password by a link. Keys from signing in with the old one end. Other keys of the person, and the service keys that
/// the person made, live on, unless an inviter may have made them, or the person ends them.
#[derive(Clone, Debug)]
pub struct CompletePasswordReset {
    /// The link's token, hashed.
    pub token: SecretHash,
    /// The password they chose.
    pub password: PasswordHash,
    /// Whether all keys of the person end, and the service keys that they made.
    pub end_keys: bool,
}

/// Keys that still work after a person has chosen a new password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LivingKeys {
    /// User keys, without the one that signing in returns.
    pub user_keys: usize,
    /// Service keys that the person made.
    pub service_keys: usize,
}

impl Command for CompletePasswordReset {
    type Outcome = LivingKeys;
    const OPERATION: &str = "complete_password_reset";

    fn admit(&self, _: &State, context: &Context) -> Result<(), Refusal> {
        person(context).map(|_| ())
    }

    fn execute(&self, state: &State, context: &Context) -> Result<Decided<LivingKeys>, Refusal> {
        let user = linked(state, context, &self.token, LinkPurpose::PasswordReset)?;
        if user.standing != Standing::Active {
            return Err(Refusal::NotFound(Kind::Credential));
        }
        let mut changes = vec![set_password(user.id, &self.password, KnownTo::Owner)];
        let was_known = state
            .credential(user.id)
            .is_some_and(|credential| credential.known_to.is_known_to_others());
        // The link proves the address. If others knew the password, nothing before it did.
        let ends = if self.end_keys || was_known {
            Ends::AllKeys
        } else {
            Ends::SignIns
        };
        let outcome = end_keys(state, context, user.id, ends, &mut changes);
        Ok(Decided { changes, outcome })
    }
}

/// Signs in with a password, for a key that works for some hours. Whoever was invited with a temporary password chooses their
/// own, and is active from here on; whoever chooses another one is out wherever they had come in with the one before.
#[derive(Clone, Debug)]
pub struct SignIn {
    /// The hash that the password was verified against.
    pub verified: PasswordHash,
    /// In the place of a temporary password.
    pub new_password: Option<PasswordHash>,
    /// Whether a new password ends all keys of the person, and the service keys that they made.
    pub end_keys: bool,
    /// The secret of the key that they get.
    pub secret: Secret,
}

impl Command for SignIn {
    /// The person, the key, and the keys that live on if the password is a new one.
    type Outcome = (User, Option<ApiKey>, Option<LivingKeys>);
    const OPERATION: &str = "sign_in";

    fn admit(&self, _: &State, context: &Context) -> Result<(), Refusal> {
        person(context).map(|_| ())
    }

    fn execute(&self, state: &State, context: &Context) -> Result<Decided<Self::Outcome>, Refusal> {
        let user = state.live_human(person(context)?);
        let user = user.map_err(|_: Refusal| Refusal::Unauthenticated)?;
        let credential = state.credential(user.id);
        // Since it was verified it may have been replaced.
        if credential.and_then(|credential| credential.password.as_ref()) != Some(&self.verified) {
            return Err(Refusal::Unauthenticated);
        }
        match (user.status(context.now), &self.new_password) {
            (Some(UserStatus::Invited), Some(chosen)) => {
                if !proofs::is_good_for(state, user, context.now) {
                    return Err(Refusal::Unauthenticated);
                }
                // Whoever knew the temporary password may be the one who chose this one.
                let known_to = proofs::known_after_welcome(state, user, credential, context.now);
                let Decided { changes, outcome } =
                    welcome(state, context, user, chosen, known_to, &self.secret);
                let (user, key) = outcome;
                let living = living_keys(state, context, user.id, Ends::SignIns);
                Ok(Decided {
                    changes,
                    outcome: (user, key, Some(living)),
                })
            }
            (Some(UserStatus::Invited), None) => Err(Refusal::Invalid(Invalid::TemporaryPassword)),
            (Some(UserStatus::Active), new_password) => {
                if !proofs::may_sign_in(state, user, context.now) {
                    return Err(Refusal::Unauthenticated);
                }
                let key = first_key(state, context, user, &self.secret)
                    .ok_or(Refusal::Forbidden(Forbidden::NoDeveloperAccess))?;
                let mut changes = Vec::new();
                let mut living = None;
                if let Some(chosen) = new_password {
                    let known_to = credential.map_or(KnownTo::Owner, |old| old.known_to.clone());
                    changes.push(set_password(user.id, chosen, known_to));
                    let ends = if self.end_keys {
                        Ends::AllKeys
                    } else {
                        Ends::SignIns
                    };
                    living = Some(end_keys(state, context, user.id, ends, &mut changes));
                }
                changes.push(Change::PutApiKey(key.clone()));
                Ok(Decided {
                    changes,
                    outcome: (user.clone(), Some(key), living),
                })
            }
            (Some(UserStatus::Expired) | None, _) => Err(Refusal::Unauthenticated),
        }
    }
}

/// The person who has proved to be there.
fn person(context: &Context) -> Result<UserId, Refusal> {
    match context.caller {
        Caller::Person(user) => Ok(user),
        Caller::Operator | Caller::Key { .. } => Err(Refusal::Unauthenticated),
    }
}

/// The person of a link, if it is theirs, meant for this, and still good.
fn linked<'a>(
    state: &'a State,
    context: &Context,
    token: &SecretHash,
    purpose: LinkPurpose,
) -> Result<&'a User, Refusal> {
    let user = person(context)?;
    let link = state
        .credential(user)
        .and_then(|credential| credential.link);
    link.filter(|link| link.token == *token && link.purpose == purpose && context.now < link.until)
        .ok_or(Refusal::NotFound(Kind::Credential))?;
    state
        .live_human(user)
        .map_err(|_: Refusal| Refusal::NotFound(Kind::Credential))
}

/// An invited person becomes active.
fn welcome(
    state: &State,
    context: &Context,
    user: &User,
    password: &PasswordHash,
    known_to: KnownTo,
    secret: &Secret,
) -> Decided<(User, Option<ApiKey>)> {
    let user = User {
        standing: Standing::Active,
        ..user.clone()
    };
    let key = first_key(state, context, &user, secret);
    let mut changes = vec![
        Change::PutUser(user.clone()),
        set_password(user.id, password, known_to),
    ];
    changes.extend(key.clone().map(Change::PutApiKey));
    Decided {
        changes,
        outcome: (user, key),
    }
}

/// A key for a person who has just proved to be there, if they may use the API (`docs/rules/authorization.md` §2).
fn first_key(state: &State, context: &Context, user: &User, secret: &Secret) -> Option<ApiKey> {
    let settings = &state.account().settings;
    if !user.is_developer || !settings.developer_access {
        return None;
    }
    let seconds = settings
        .key_lifetime_max_seconds
        .map_or(SIGN_IN_SECONDS, |max| max.min(SIGN_IN_SECONDS));
    let name = KeyName::parse("sign-in").ok()?;
    // One that has ended is made good again, so that signing in every day doesn't leave a key a day. With as many valid ones as
    // there may be, the oldest one ends.
    let keys = state.valid_user_keys_of(user.id);
    let sign_ins: Vec<&ApiKey> = keys.filter(|key| key.is_sign_in).collect();
    let ended = sign_ins.iter().find(|key| !key.is_alive(context.now));
    let oldest = sign_ins.iter().min_by_key(|key| (key.created_at, key.id));
    let again = ended.or_else(|| oldest.filter(|_| sign_ins.len() >= SIGN_INS_MAX));
    let id = again.map_or_else(|| state.numbers().next(), |key| key.id);
    Some(ApiKey {
        expires_at: Some(context.now.plus_seconds(seconds)),
        is_sign_in: true,
        ..user_key(user.id, id, &name, secret, context.now)
    })
}

/// Which keys end with a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    /// Those from signing in with it.
    SignIns,
    /// All user keys of the person, and the service keys that the person made.
    AllKeys,
}

/// Ends keys of a person, and counts those that live on.
fn end_keys(
    state: &State,
    context: &Context,
    user: UserId,
    ends: Ends,
    changes: &mut Vec<Change>,
) -> LivingKeys {
    for key in state.valid_user_keys_of(user) {
        if key.is_sign_in && key.is_alive(context.now) {
            changes.push(Change::PutApiKey(ApiKey {
                expires_at: Some(context.now),
                previous: None,
                ..key.clone()
            }));
        } else if !key.is_sign_in && ends != Ends::SignIns {
            cascade::revoke(key, changes);
        }
    }
    if ends == Ends::AllKeys {
        cascade::revoke_service_keys_of(state, user, changes);
    }
    living_keys(state, context, user, ends)
}

/// Counts the keys of a person that are alive once these have ended.
fn living_keys(state: &State, context: &Context, user: UserId, ends: Ends) -> LivingKeys {
    let user_keys = state.valid_user_keys_of(user);
    let user_keys = user_keys
        .filter(|key| key.is_alive(context.now) && !key.is_sign_in && ends == Ends::SignIns);
    let service_keys = state.valid_service_keys_of(user);
    let service_keys =
        service_keys.filter(|key| key.is_alive(context.now) && ends != Ends::AllKeys);
    LivingKeys {
        user_keys: user_keys.count(),
        service_keys: service_keys.count(),
    }
}

/// Puts a link beside the password that is there.
pub(super) fn put_link(state: &State, user: UserId, link: Link) -> Change {
    let credential = state.credential(user);
    let credential = credential.cloned().unwrap_or(Credential::none(user));
    Change::PutCredential(Credential {
        link: Some(link),
        ..credential
    })
}

/// A new password; the link is used up.
fn set_password(user: UserId, password: &PasswordHash, known_to: KnownTo) -> Change {
    Change::PutCredential(Credential {
        password: Some(password.clone()),
        known_to,
        ..Credential::none(user)
    })
}
