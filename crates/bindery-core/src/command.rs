//! Commands: wishes that become changes or refusals.
//!
//! Every command authorizes, looks up, checks and returns changes, in that order and visible in one place
//! (`docs/rules/authorization.md` §9). Authorization happens here, at the same revision as the change, so there is no gap
//! between checking and acting.

use crate::change::Change;
use crate::decision::{Decision, Grant, Question, admin_over, decide};
use crate::given::Giver;
use crate::id::{ApiKeyId, Id as _, Kind, RoleId, UserId};
use crate::permission::Permission;
use crate::refusal::{Forbidden, Refusal};
use crate::resource::Resource;
use crate::role::AccountRole;
use crate::state::State;
use crate::time::Timestamp;
use crate::user::{Identity, Standing, User};

mod any;
pub mod api_keys;
mod cascade;
pub mod credentials;
pub mod enforcement_points;
mod kept;
pub mod operator;
pub mod organizations;
pub mod projects;
mod proofs;
pub mod resource_restrictions;
pub mod role_bindings;
pub mod roles;
mod seats;
pub mod spaces;
pub mod users;

pub use any::{AnyCommand, WithCommand};
pub(crate) use cascade::shorten_what_ends_with;

/// On whose behalf something happens, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// Who asks.
    pub caller: Caller,
    /// The moment it counts as asked at.
    pub now: Timestamp,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Caller {
    /// Whoever owns the data directory: may do what stands in [`operator`], nothing else.
    Operator,
    /// A person who has proved who they are with a link or a password: may do what stands in [`credentials`], nothing
    /// else.
    Person(UserId),
    /// A request with an API key.
    Key {
        /// The user that the key acts for.
        user: UserId,
        /// The key.
        key: ApiKeyId,
    },
}

impl Context {
    /// The user on whose behalf it happens; nobody for the operator.
    pub fn user(&self) -> UserId {
        match self.caller {
            Caller::Operator => UserId::NOBODY,
            Caller::Person(user) | Caller::Key { user, .. } => user,
        }
    }

    /// The same, as the giver of a role.
    pub(crate) fn giver(&self) -> Giver {
        self.caller.into()
    }
}

/// What a command came to: what changes, and what the caller is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided<T> {
    /// Empty if everything already is as wished.
    pub changes: Vec<Change>,
    /// What the answer is made of: the state after this command and before any later one.
    pub outcome: T,
}

impl<T> Decided<T> {
    /// Nothing needs to change.
    pub(crate) fn unchanged(outcome: T) -> Self {
        Self {
            changes: Vec::new(),
            outcome,
        }
    }
}

/// A wish to change something.
pub trait Command {
    /// What the caller is told when it is done.
    type Outcome;
    /// Its operation id in the API, for the log and the audit.
    const OPERATION: &str;
    /// What it counts for by the day, beside what its changes show.
    const COUNTS: Counts = Counts::Nothing;

    /// Whether this caller is let in at all; everything else is [`Command::execute`]'s.
    fn admit(&self, state: &State, context: &Context) -> Result<(), Refusal> {
        state.admit(context)
    }

    /// Decides it on this state. A function of its arguments alone.
    fn execute(&self, state: &State, context: &Context) -> Result<Decided<Self::Outcome>, Refusal>;
}

/// What a command counts for by the day ([`crate::quota`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counts {
    /// Nothing but what its changes show.
    Nothing,
    /// A person added, or a mail sent to one.
    Invitation,
    /// A key created or refreshed.
    Key,
}

/// A role in a request: one of the enum of its level, or a role of the account by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assignment<R> {
    /// `{"type":"PREDEFINED","name":…}`.
    Predefined(R),
    /// `{"type":"CUSTOM","id":…}`.
    Custom(RoleId),
}

/// What every command and query leans on.
impl State {
    /// Decides a command: lets the caller in, executes, then ends credentials that an inviter knows where the command gives more than
    /// the inviter could give.
    pub fn execute<C: Command>(
        &self,
        command: &C,
        context: &Context,
    ) -> Result<Decided<C::Outcome>, Refusal> {
        command.admit(self, context)?;
        let mut decided = command.execute(self, context)?;
        proofs::end_outgrown(self, context, &mut decided.changes);
        self.check_quotas(context, &decided.changes)?;
        if cfg!(debug_assertions) {
            kept::assert_kept(self, &decided.changes);
        }
        Ok(decided)
    }

    /// Whether a caller with a key may use the API at all: the key is alive and theirs, its user active, and a human has developer
    /// access (`docs/rules/authorization.md` §2).
    pub fn admit(&self, context: &Context) -> Result<(), Refusal> {
        let Caller::Key { user, key } = context.caller else {
            return Err(Refusal::Unauthenticated);
        };
        // Of its own user: a number of either that was given again, since a log had lost its end, makes nobody somebody else.
        let is_alive = self
            .api_key(key)
            .is_some_and(|key| key.principal() == user && key.is_alive(context.now));
        let user = self
            .user(user)
            .filter(|user| user.standing == Standing::Active && is_alive);
        match user {
            None => Err(Refusal::Unauthenticated),
            Some(user) if user.is_human() && !user.is_developer => {
                Err(Refusal::Forbidden(Forbidden::NoDeveloperAccess))
            }
            Some(_) => Ok(()),
        }
    }

    /// Answers a question from the entities. An account at work has an access index for the present.
    pub fn decide(&self, question: &Question, now: Timestamp) -> Decision {
        decide(&self.at(now), question)
    }

    /// Whether the caller may use the permission on the resource.
    pub(crate) fn allows(
        &self,
        context: &Context,
        permission: Permission,
        resource: impl Into<Resource>,
    ) -> bool {
        let question = Question {
            principal: context.user(),
            permission,
            resource: resource.into(),
        };
        self.decide(&question, context.now).is_allowed()
    }

    /// Refuses a caller who may not use the permission on the resource.
    pub(crate) fn authorize(
        &self,
        context: &Context,
        permission: Permission,
        resource: impl Into<Resource>,
    ) -> Result<(), Refusal> {
        let resource = resource.into();
        if self.allows(context, permission, resource) {
            return Ok(());
        }
        Err(Refusal::Forbidden(Forbidden::Permission(
            permission,
            resource.level(),
        )))
    }

    /// The grant that makes the caller an admin over the resource, if they are one (`docs/rules/authorization.md` §7).
    pub(crate) fn admin_grant(
        &self,
        context: &Context,
        resource: impl Into<Resource>,
    ) -> Option<Grant> {
        admin_over(&self.at(context.now), context.user(), resource.into())
    }

    /// Whether the caller is account admin.
    pub(crate) fn is_account_admin(&self, context: &Context) -> bool {
        self.admin_grant(context, Resource::Account).is_some()
    }

    /// The user with this id unless they are gone.
    pub(crate) fn live_user(&self, id: UserId) -> Result<&User, Refusal> {
        self.user(id)
            .map(AsRef::as_ref)
            .filter(|user| user.standing != Standing::Inactive)
            .ok_or(Refusal::NotFound(Kind::User))
    }

    /// The person with this id unless they are gone; bots are managed with their keys.
    pub(crate) fn live_human(&self, id: UserId) -> Result<&User, Refusal> {
        match self.live_user(id)? {
            user @ User {
                identity: Identity::Human { .. },
                ..
            } => Ok(user),
            User {
                identity: Identity::Bot { .. },
                ..
            } => Err(Refusal::NotFound(Kind::User)),
        }
    }

    /// The account role of the caller.
    pub(crate) fn account_role(&self, context: &Context) -> Option<AccountRole> {
        self.user(context.user()).map(|user| user.account_role)
    }
}
