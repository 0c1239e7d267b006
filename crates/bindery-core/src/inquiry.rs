//! Inquiries: questions that somebody asks about somebody else, or about themselves, and who may ask them.
//!
//! An answer tells what its subject holds. So nobody gets one about things that they could not look up by themselves:
//!
//! 1. Everyone may ask about themselves: a person by their own keys, a service key about its own bot.
//! 2. Account admins and enforcement points ([`crate::command::enforcement_points`]) may ask about everybody and everything.
//! 3. Whoever may read the subject (a person: `USER_READ` on the account; a bot: its key, `docs/rules/authorization.md` §8) and
//!    the role bindings of the resource (`ROLE_BINDING_READ` on it) may ask about the two.
//!
//! Everything else is refused alike, whether subject and resource are there, hidden or absent.

use crate::api_key::{ApiKey, KeyOwner};
use crate::attribute::Attributes;
use crate::command::{Caller, Context};
use crate::decision::Question;
use crate::id::{Id as _, UserId};
use crate::permission::Permission;
use crate::refusal::{Forbidden, Refusal};
use crate::resource::Resource;
use crate::state::State;
use crate::user::Identity;

mod search;

pub use search::{Found, SubjectKind};

/// What is asked. Every part may name nothing; the answer is no then.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Inquiry<'a> {
    /// About whom; [`UserId::NOBODY`] for a name that means nobody.
    pub subject: UserId,
    /// What they would do; `None` for a name that means nothing.
    pub permission: Option<Permission>,
    /// On what; a number that nothing has for a name that means nothing.
    pub resource: Resource,
    /// What conditions are told.
    pub attributes: Attributes<'a>,
}

impl Inquiry<'_> {
    /// The question, if there is such a permission.
    pub fn question(&self) -> Option<Question> {
        Some(Question {
            principal: self.subject,
            permission: self.permission?,
            resource: self.resource,
        })
    }
}

impl State {
    /// Refuses a caller who may not ask about this subject and resource.
    pub fn authorize_inquiry(
        &self,
        context: &Context,
        subject: UserId,
        resource: Resource,
    ) -> Result<(), Refusal> {
        if self.may_ask(context, subject, resource) {
            return Ok(());
        }
        Err(Refusal::Forbidden(Forbidden::NotYoursToAsk))
    }

    /// Whether the caller may ask about this subject and resource.
    pub fn may_ask(&self, context: &Context, subject: UserId, resource: Resource) -> bool {
        is_about_oneself(context, subject)
            || self.asks_about_everything(context)
            || (self.reads_bindings_on(context, resource) && self.reads_subject(context, subject))
    }

    /// Whether the caller may ask about everybody and everything: account admins, and keys that are marked for it.
    pub fn asks_about_everything(&self, context: &Context) -> bool {
        let is_marked = match context.caller {
            Caller::Key { key, .. } => self
                .api_key(key)
                .is_some_and(|key| key.is_enforcement_point && key.is_alive(context.now)),
            Caller::Operator | Caller::Person(_) => false,
        };
        is_marked || self.is_account_admin(context)
    }

    pub(crate) fn reads_bindings_on(&self, context: &Context, resource: Resource) -> bool {
        self.allows(context, Permission::RoleBindingRead, resource)
    }

    /// Whether the caller may read this user, human or bot, who isn't gone.
    fn reads_subject(&self, context: &Context, subject: UserId) -> bool {
        let Some(user) = self.user(subject) else {
            return false;
        };
        match user.identity {
            Identity::Human { .. } => self.reader(*context).visible_user(subject).is_ok(),
            Identity::Bot { key } => self
                .api_key(key)
                .is_some_and(|key| self.reads_service_key(context, key)),
        }
    }

    /// Whether the caller may read this service key: account admins, who made it, and whoever holds `SERVICE_KEY_READ` in a
    /// space that it is bound to (`docs/rules/authorization.md` §10).
    pub(crate) fn reads_service_key(&self, context: &Context, key: &ApiKey) -> bool {
        if let KeyOwner::User(_) = key.owner {
            return false;
        }
        key.created_by == context.user()
            || self.is_account_admin(context)
            || self
                .spaces_of_key(key)
                .into_iter()
                .any(|space| self.allows(context, Permission::ServiceKeyRead, space))
    }
}

fn is_about_oneself(context: &Context, subject: UserId) -> bool {
    subject != UserId::NOBODY && subject == context.user()
}
