//! Users: create, update, delete (`docs/rules/operations.md`, users).

use super::{Assignment, Command, Context, Counts, Decided, cascade};
use crate::api_key::SecretHash;
use crate::change::Change;
use crate::credential::{Credential, KnownTo, Link, LinkPurpose, PasswordHash};
use crate::id::{Kind, UserId};
use crate::permission::Permission;
use crate::refusal::{Conflict, Forbidden, Invalid, Refusal, Unprocessable};
use crate::resource::{Level, Resource};
use crate::role::AccountRole;
use crate::state::State;
use crate::text::{Email, Name};
use crate::time::Timestamp;
use crate::user::{INVITATION_SECONDS, Identity, Standing, User, UserStatus};

/// Invites or adds a person, by their e-mail address.
#[derive(Clone, Debug)]
pub struct CreateUser {
    /// What they are called.
    pub name: Name,
    /// Their identity.
    pub email: Email,
    /// Their role in the account.
    pub role: Assignment<AccountRole>,
    /// Whether they must accept first.
    pub invitation: Invitation,
    /// Overrides what the role gives; account admins only.
    pub is_developer: Option<bool>,
}

impl State {
    /// Refuses whoever may not create users at all, whatever their role is to be.
    pub fn may_create_users(&self, context: &Context) -> Result<(), Refusal> {
        let is_member = matches!(
            self.account_role(context),
            Some(AccountRole::Member | AccountRole::MemberUiOnly)
        );
        if self.is_account_admin(context) {
            Ok(())
        } else if is_member && self.is_bot(context) {
            // A person would outlive the service key.
            Err(Refusal::Forbidden(Forbidden::BotMakesPeople))
        } else if is_member {
            Ok(())
        } else {
            Err(Refusal::Forbidden(Forbidden::NotYourRoleToGive))
        }
    }

    /// Who may know an invitation that the caller sends. A link is mailed, and an account admin vouches for its address; a service
    /// key vouches for nothing once it has expired.
    pub(super) fn known_to_sender(&self, context: &Context, is_link: bool) -> KnownTo {
        if is_link && self.is_account_admin(context) && !self.is_bot(context) {
            return KnownTo::Owner;
        }
        let sender = context.user();
        KnownTo::by(sender, self.credential(sender).map(|own| &own.known_to))
    }

    /// Whether the caller is a service key.
    pub(super) fn is_bot(&self, context: &Context) -> bool {
        self.user(context.user())
            .is_some_and(|user| !user.is_human())
    }
}

/// How a person comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invitation {
    /// Active at once.
    None,
    /// Invited, until they accept by the link whose token has this hash.
    Link(SecretHash),
    /// Invited, until they sign in with this password and choose their own.
    TemporaryPassword(PasswordHash),
}

/// What became of [`CreateUser`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CreatedUser {
    /// A new user or a new invitation.
    Created(User),
    /// The invitation was open already; nothing changed.
    AlreadyInvited(User),
}

impl Command for CreateUser {
    type Outcome = CreatedUser;
    const OPERATION: &str = "create_user";
    const COUNTS: Counts = Counts::Invitation;

    fn execute(&self, state: &State, context: &Context) -> Result<Decided<CreatedUser>, Refusal> {
        let role = self.authorize(state, context)?;
        let holder = state.users_by_email.get(self.email.folded().as_str());
        let holder = holder.and_then(|id| state.user(*id));
        let (id, created_at) = match holder.map(|user| (user, user.status(context.now))) {
            None => (state.numbers().next(), context.now),
            Some((_, None)) => return Err(Refusal::Conflict(Conflict::EmailInactive)),
            Some((_, Some(UserStatus::Active))) => {
                return Err(Refusal::Conflict(Conflict::EmailActive));
            }
            Some((user, Some(UserStatus::Invited))) => {
                return match self.invitation {
                    Invitation::None => Err(Refusal::Conflict(Conflict::EmailInvited)),
                    Invitation::Link(_) | Invitation::TemporaryPassword(_) => Ok(
                        Decided::unchanged(CreatedUser::AlreadyInvited(user.as_ref().clone())),
                    ),
                };
            }
            Some((user, Some(UserStatus::Expired))) => {
                // Whoever invites may come to know the way in, so nobody invites to more than they can give.
                let is_given = cascade::holds_anything(state, user.id)
                    || !is_for_members(user.account_role)
                    || user.is_developer != user.account_role.is_developer_by_default();
                if is_given && !state.is_account_admin(context) {
                    return Err(Refusal::Forbidden(Forbidden::NotYourInvitation));
                }
                (user.id, user.created_at)
            }
        };
        let until = context.now.plus_seconds(INVITATION_SECONDS);
        let user = User {
            id,
            name: self.name.clone(),
            identity: Identity::Human {
                email: self.email.clone(),
            },
            account_role: role,
            is_developer: self.is_developer.unwrap_or(role.is_developer_by_default()),
            standing: match self.invitation {
                Invitation::None => Standing::Active,
                Invitation::Link(_) | Invitation::TemporaryPassword(_) => {
                    Standing::Invited { until }
                }
            },
            created_at,
            address_released_at: None,
        };
        let mut changes = Vec::new();
        // Annotators hold annotator roles and nobody else does: who comes back as the other sort starts with nothing.
        let was_annotator = holder.map(|old| old.account_role == AccountRole::Annotator);
        if was_annotator.is_some_and(|was| was != (role == AccountRole::Annotator)) {
            cascade::holdings(state, user.id, &mut changes);
        }
        changes.push(Change::PutUser(user.clone()));
        changes.extend(self.credential(state, context, user.id, until));
        Ok(Decided {
            changes,
            outcome: CreatedUser::Created(user),
        })
    }
}

impl CreateUser {
    /// What the person proves themselves with at first; what an invitation that lapsed left behind goes.
    fn credential(
        &self,
        state: &State,
        context: &Context,
        user: UserId,
        until: Timestamp,
    ) -> Option<Change> {
        let (password, link) = match &self.invitation {
            Invitation::None => {
                return state
                    .credential(user)
                    .map(|_| Change::DeleteCredential(user));
            }
            Invitation::Link(token) => {
                let link = Link {
                    token: *token,
                    purpose: LinkPurpose::Invitation,
                    until,
                };
                (None, Some(link))
            }
            Invitation::TemporaryPassword(hash) => (Some(hash.clone()), None),
        };
        Some(Change::PutCredential(Credential {
            user,
            known_to: state.known_to_sender(context, link.is_some()),
            password,
            link,
        }))
    }

    /// Admins give any role, members only `MEMBER` and `ANNOTATOR`, others none (`docs/rules/authorization.md` §10).
    fn authorize(&self, state: &State, context: &Context) -> Result<AccountRole, Refusal> {
        state.may_create_users(context)?;
        let is_admin = state.is_account_admin(context);
        if state.is_bot(context) && matches!(self.invitation, Invitation::TemporaryPassword(_)) {
            return Err(Refusal::Forbidden(Forbidden::BotGetsPassword));
        }
        if !is_admin && self.is_developer.is_some() {
            return Err(Refusal::Forbidden(Forbidden::NotAccountAdmin));
        }
        match self.role {
            Assignment::Custom(_) => Err(Refusal::Unprocessable(Unprocessable::CustomRole(
                Level::Account,
            ))),
            Assignment::Predefined(role) if is_admin || is_for_members(role) => Ok(role),
            Assignment::Predefined(_) => Err(Refusal::Forbidden(Forbidden::NotYourRoleToGive)),
        }
    }
}

/// The account roles that members may give.
const fn is_for_members(role: AccountRole) -> bool {
    matches!(role, AccountRole::Member | AccountRole::Annotator)
}

/// Renames a person, or lets them use the API or not.
#[derive(Clone, Debug)]
pub struct UpdateUser {
    /// Whom.
    pub user: UserId,
    /// A new name.
    pub name: Option<Name>,
    /// Developer access; account admins only.
    pub is_developer: Option<bool>,
}

impl Command for UpdateUser {
    type Outcome = User;
    const OPERATION: &str = "update_user";

    fn execute(&self, state: &State, context: &Context) -> Result<Decided<User>, Refusal> {
        let old = state.reader(*context).visible_user(self.user)?;
        if self.name.is_some() {
            state.authorize(context, Permission::UserUpdate, Resource::Account)?;
        }
        if self.is_developer.is_some() && !state.is_account_admin(context) {
            return Err(Refusal::Forbidden(Forbidden::NotAccountAdmin));
        }
        if self.is_developer == Some(false) && self.user == context.user() {
            return Err(Refusal::Invalid(Invalid::SwitchesOneselfOff));
        }
        if self.is_developer == Some(false) {
            state.keeps_an_admin_without(old)?;
        }
        let user = User {
            name: self.name.clone().unwrap_or_else(|| old.name.clone()),
            is_developer: self.is_developer.unwrap_or(old.is_developer),
            ..old.clone()
        };
        if user == *old {
            return Ok(Decided::unchanged(user));
        }
        Ok(Decided {
            changes: vec![Change::PutUser(user.clone())],
            outcome: user,
        })
    }
}

impl State {
    /// Refuses to let the last person go who leads the account. Only a service key that is admin gets this far: people who are
    /// don't do it to themselves.
    fn keeps_an_admin_without(&self, user: &User) -> Result<(), Refusal> {
        let is_led = || {
            let mut users = self.users.values();
            users.any(|other| other.id != user.id && leads(other))
        };
        if leads(user) && !is_led() {
            return Err(Refusal::Invalid(Invalid::LastAdmin));
        }
        Ok(())
    }
}

/// A person who is account admin and may use the API.
fn leads(user: &User) -> bool {
    user.standing == Standing::Active
        && user.account_role == AccountRole::Admin
        && user.is_developer
        && user.is_human()
}

/// Ends a person's access for good, with everything they hold. Service keys they made stay.
#[derive(Clone, Debug)]
pub struct DeleteUser {
    /// Whom.
    pub user: UserId,
}

impl Command for DeleteUser {
    type Outcome = ();
    const OPERATION: &str = "delete_user";

    fn execute(&self, state: &State, context: &Context) -> Result<Decided<()>, Refusal> {
        // Whoever may not delete users gets no difference between gone and never there.
        if !state.allows(context, Permission::UserDelete, Resource::Account) {
            state.reader(*context).visible_user(self.user)?;
            state.authorize(context, Permission::UserDelete, Resource::Account)?;
        }
        let user = state
            .user(self.user)
            .filter(|user| user.is_human())
            .ok_or(Refusal::NotFound(Kind::User))?;
        if self.user == context.user() {
            return Err(Refusal::Invalid(Invalid::DeletesOneself));
        }
        if user.standing == Standing::Inactive {
            return Ok(Decided::unchanged(()));
        }
        state.keeps_an_admin_without(user)?;
        let mut changes = Vec::new();
        cascade::holdings(state, self.user, &mut changes);
        for key in state.valid_user_keys_of(self.user) {
            cascade::revoke(key, &mut changes);
        }
        let user = User {
            standing: Standing::Inactive,
            ..user.as_ref().clone()
        };
        changes.push(Change::PutUser(user));
        if state.credential(self.user).is_some() {
            changes.push(Change::DeleteCredential(self.user));
        }
        Ok(Decided {
            changes,
            outcome: (),
        })
    }
}

/// Frees the address of a deleted person: a new person can be added with it, who inherits nothing. The old one is still found by
/// their id. Account admins only.
#[derive(Clone, Debug)]
pub struct ReleaseAddress {
    /// Which.
    pub email: Email,
}

impl Command for ReleaseAddress {
    type Outcome = User;
    const OPERATION: &str = "release_address";

    fn execute(&self, state: &State, context: &Context) -> Result<Decided<User>, Refusal> {
        if !state.is_account_admin(context) {
            return Err(Refusal::Forbidden(Forbidden::NotAccountAdmin));
        }
        let user = state
            .user_by_email(&self.email)
            .ok_or(Refusal::NotFound(Kind::User))?;
        if user.standing != Standing::Inactive {
            return Err(Refusal::Conflict(Conflict::EmailHeld));
        }
        let user = User {
            address_released_at: Some(context.now),
            ..user.clone()
        };
        Ok(Decided {
            changes: vec![Change::PutUser(user.clone())],
            outcome: user,
        })
    }
}
