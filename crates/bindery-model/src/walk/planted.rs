//! Earlier, wrong rules, to show that the walk finds what was wrong with them.

use bindery_core::api_key::ApiKey;
use bindery_core::change::Change;
use bindery_core::command::{Assignment, Context};
use bindery_core::credential::{Credential, KnownTo};
use bindery_core::id::{Kind, RoleBindingId};
use bindery_core::refusal::{Forbidden, Refusal};
use bindery_core::resource::Bindable;
use bindery_core::role_binding::RoleBinding;
use bindery_core::state::State;

use bindery_core::command::AnyCommand;

/// A planted mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// A temporary password stays valid whatever its person is given.
    KnownPasswordsStay,
    /// The right to bind roles replaces what a user holds.
    AddingReplaces,
    /// A service key makes keys that never expire.
    MadeKeysOutlive,
    /// Revoking a service key leaves what it made.
    MadeKeysSurvive,
}

impl Planted {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::KnownPasswordsStay,
        Self::AddingReplaces,
        Self::MadeKeysOutlive,
        Self::MadeKeysSurvive,
    ];

    /// What a server with this mistake decides.
    pub(super) fn instead(
        self,
        state: &State,
        context: &Context,
        command: &AnyCommand,
        decided: Result<Vec<Change>, Refusal>,
    ) -> Result<Vec<Change>, Refusal> {
        match (self, decided) {
            (Self::KnownPasswordsStay, Ok(changes)) => {
                Ok(changes.into_iter().map(forget_who_knows).collect())
            }
            (Self::AddingReplaces, Err(Refusal::Forbidden(Forbidden::TakesAway))) => {
                Ok(replace(state, context, command))
            }
            (Self::MadeKeysOutlive, Ok(changes))
                if matches!(command, AnyCommand::CreateServiceKey(_)) && is_bot(state, context) =>
            {
                Ok(changes.into_iter().map(without_end).collect())
            }
            (Self::MadeKeysSurvive, Ok(changes)) => Ok(revoke_alone(state, command, changes)),
            (_, decided) => decided,
        }
    }
}

fn is_bot(state: &State, context: &Context) -> bool {
    state
        .user(context.user())
        .is_some_and(|user| !user.is_human())
}

fn revoke_alone(state: &State, command: &AnyCommand, mut changes: Vec<Change>) -> Vec<Change> {
    if let AnyCommand::RevokeApiKey(revoke) = command {
        let bot = state.api_key(revoke.key).map(|key| key.principal());
        changes.retain(|change| {
            let is_key = matches!(change, Change::PutApiKey(key) if key.id == revoke.key);
            let is_bot = matches!(change, Change::PutUser(user) if Some(user.id) == bot);
            is_key || is_bot
        });
    }
    changes
}

fn forget_who_knows(change: Change) -> Change {
    let Change::PutCredential(credential) = change else {
        return change;
    };
    Change::PutCredential(Credential {
        known_to: KnownTo::Owner,
        ..credential
    })
}

fn without_end(change: Change) -> Change {
    let Change::PutApiKey(key) = change else {
        return change;
    };
    Change::PutApiKey(ApiKey {
        expires_at: None,
        ..key
    })
}

fn replace(state: &State, context: &Context, command: &AnyCommand) -> Vec<Change> {
    let mut wanted = None;
    if let AnyCommand::AddSpaceUser(command) = command
        && let Assignment::Custom(role) = command.role
    {
        wanted = Some((command.user, command.space, role));
    }
    if let AnyCommand::CreateRoleBinding(command) = command
        && let Bindable::Space(space) = command.on
    {
        wanted = Some((command.user, space, command.role));
    }
    let Some((user, space, role)) = wanted else {
        return Vec::new();
    };
    let resource = Bindable::Space(space);
    let highest = state.issued().find(|(kind, _)| *kind == Kind::RoleBinding);
    let fresh = RoleBindingId::new(highest.map_or(1, |(_, number)| number + 1));
    let old = state.role_binding_on(resource, user);
    let mut changes = vec![Change::PutRoleBinding(RoleBinding {
        id: old.map_or(fresh, |old| old.id),
        user,
        resource,
        role,
        created_at: context.now,
        updated_at: context.now,
        given_by: context.caller.into(),
    })];
    if let (AnyCommand::AddSpaceUser(_), Some(seat)) =
        (command, state.space_membership(space, user))
    {
        changes.push(Change::DeleteSpaceMembership(seat.id));
    }
    changes
}
