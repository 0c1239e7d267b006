//! Who may ask about which subject, and the marks of enforcement points (`docs/authzen.md`).

use bindery_core::api_key::ApiKey;
use bindery_core::command::enforcement_points::{MarkEnforcementPoint, UnmarkEnforcementPoint};
use bindery_core::command::{Caller, Context};
use bindery_core::id::{ApiKeyId, Kind, UserId};
use bindery_core::permission::Permission;
use bindery_core::refusal::{Conflict, Forbidden, Refusal, Unprocessable};
use bindery_core::resource::Resource;
use bindery_core::user::Identity;

use super::Model;

impl Model {
    pub(super) fn mark_enforcement_point(
        &mut self,
        context: &Context,
        command: &MarkEnforcementPoint,
    ) -> Result<(), Refusal> {
        self.find_for_admin(context, command.key)?;
        let is_revoked = self
            .api_keys
            .iter()
            .any(|key| key.id == command.key && key.is_revoked);
        if is_revoked {
            return Err(Refusal::Unprocessable(Unprocessable::KeyRevoked));
        }
        if !self.is_key_alive(command.key, context.now) {
            return Err(Refusal::Unprocessable(Unprocessable::KeyExpired));
        }
        let has_mark = |key: &ApiKey| key.id == command.key && key.is_enforcement_point;
        if !self.api_keys.iter().any(has_mark) && self.is_key_known(command.key, context.now) {
            return Err(Refusal::Conflict(Conflict::KeyMayBeKnown));
        }
        self.set_mark(command.key, true);
        Ok(())
    }

    pub(super) fn unmark_enforcement_point(
        &mut self,
        context: &Context,
        command: &UnmarkEnforcementPoint,
    ) -> Result<(), Refusal> {
        self.find_for_admin(context, command.key)?;
        self.set_mark(command.key, false);
        Ok(())
    }

    /// Keys with the mark; 403 unless the caller is account admin.
    pub fn list_enforcement_points(&self, context: &Context) -> Result<Vec<ApiKeyId>, Refusal> {
        if !self.is_account_admin(context.user(), context.now) {
            return Err(Refusal::Forbidden(Forbidden::NotAccountAdmin));
        }
        let mut ids = Vec::new();
        for key in &self.api_keys {
            if key.is_enforcement_point {
                ids.push(key.id);
            }
        }
        Ok(ids)
    }

    /// 403 unless the caller is account admin, for any key; then 404.
    fn find_for_admin(&self, context: &Context, key: ApiKeyId) -> Result<(), Refusal> {
        if !self.is_account_admin(context.user(), context.now) {
            return Err(Refusal::Forbidden(Forbidden::NotAccountAdmin));
        }
        match self.api_key(key) {
            Some(_) => Ok(()),
            None => Err(Refusal::NotFound(Kind::ApiKey)),
        }
    }

    fn set_mark(&mut self, id: ApiKeyId, mark: bool) {
        for key in self.api_keys.iter_mut().filter(|key| key.id == id) {
            key.is_enforcement_point = mark;
        }
    }

    /// Account admins, and keys with the mark.
    pub fn asks_about_everything(&self, context: &Context) -> bool {
        if self.is_account_admin(context.user(), context.now) {
            return true;
        }
        match context.caller {
            Caller::Key { key, .. } => {
                self.is_key_alive(key, context.now)
                    && self
                        .api_key(key)
                        .is_some_and(|key| key.is_enforcement_point)
            }
            Caller::Operator | Caller::Person(_) => false,
        }
    }

    /// About oneself; about everything, for those above; otherwise if the caller can read both the subject
    /// and the bindings of the resource.
    pub fn may_ask(&self, context: &Context, subject: UserId, resource: Resource) -> bool {
        if subject == context.user() && self.user(subject).is_some() {
            return true;
        }
        if self.asks_about_everything(context) {
            return true;
        }
        let reads_bindings = self.can(context, Permission::RoleBindingRead, resource);
        let Some(user) = self.user(subject) else {
            return false;
        };
        let reads_subject = match user.identity {
            Identity::Human { .. } => self.is_user_visible(context.user(), subject, context.now),
            Identity::Bot { key } => match self.api_key(key) {
                Some(key) => self.reads_key(context, key),
                None => false,
            },
        };
        reads_subject && reads_bindings
    }
}
