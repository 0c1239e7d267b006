//! The start of every account of a run: founded and filled, the same each time, so that there is something to
//! change.

use std::sync::OnceLock;

use bindery_core::api_key::{Secret, SecretHash};
use bindery_core::change::{Entry, OneOperation};
use bindery_core::command::AnyCommand;
use bindery_core::command::api_keys::{CreateServiceKey, KeyOrganization, KeySpace};
use bindery_core::command::operator::{Bootstrap, IssueUserKey};
use bindery_core::command::organizations::{AddOrganizationUser, CreateOrganization};
use bindery_core::command::projects::CreateProject;
use bindery_core::command::resource_restrictions::CreateResourceRestriction;
use bindery_core::command::role_bindings::CreateRoleBinding;
use bindery_core::command::roles::CreateRole;
use bindery_core::command::spaces::{AddSpaceUser, CreateSpace};
use bindery_core::command::users::{CreateUser, Invitation};
use bindery_core::command::{Assignment, Caller, Context};
use bindery_core::id::{
    AccountId, ApiKeyId, IdKey, OrganizationId, ProjectId, RoleId, SpaceId, UserId,
};
use bindery_core::permission::{Permission, PermissionSet};
use bindery_core::place::{Account, AccountSettings};
use bindery_core::resource::Bindable;
use bindery_core::role::{AccountRole, CUSTOM_FIRST, OrganizationRole, SpaceRole};
use bindery_core::text::{Description, Email, KeyName, Name, RoleName};
use bindery_core::time::Timestamp;

use crate::database::Ledger;

/// The time at which every run begins: the start of 2026.
pub(crate) const START: Timestamp = Timestamp::from_millis(1_767_225_600_000);

/// How many accounts exist from the beginning.
pub(crate) const FOUNDED: u32 = 2;

/// An empty account.
pub(crate) fn account(number: u32) -> Account {
    Account {
        id: AccountId(number),
        name: name("account"),
        id_key: IdKey::new([7; 16]),
        created_at: START,
        settings: AccountSettings::default(),
    }
}

/// The command that founds an account.
pub(crate) fn bootstrap(secret: Secret) -> Bootstrap {
    Bootstrap {
        name: name("Ada"),
        email: email("ada@example.com"),
        key_name: key_name("first"),
        secret,
    }
}

/// A founded account.
pub(crate) fn ledger(number: u32) -> Ledger {
    static FIRST: OnceLock<Ledger> = OnceLock::new();
    static SECOND: OnceLock<Ledger> = OnceLock::new();
    let ledger = match number {
        1 => FIRST.get_or_init(|| founded(1)),
        _ => SECOND.get_or_init(|| founded(2)),
    };
    ledger.clone()
}

fn founded(number: u32) -> Ledger {
    let mut ledger = Ledger::new(account(number));
    let commands = commands(number);
    for (revision, (caller, command)) in (1..).zip(commands) {
        let context = Context { caller, now: START };
        let decided = command.run_on(&ledger.state, &context);
        let entry = Entry::from(OneOperation {
            revision: bindery_core::id::Revision(revision),
            at: START,
            by: None,
            key: None,
            operation: command.operation().to_owned(),
            batch: 0,
            changes: decided.expect("nothing conflicts"),
        });
        let batch = bindery_store::Batch {
            entries: vec![entry],
            ..Default::default()
        };
        ledger.check(&batch).expect("nothing conflicts");
        ledger.commit(&batch, 0);
    }
    ledger.history.clear();
    // Leaked once per account in this process, so that all runs share it.
    ledger.founding = std::mem::take(&mut ledger.entries).leak();
    ledger
}

fn commands(number: u32) -> Vec<(Caller, AnyCommand)> {
    let first = u64::from(number) * 1000;
    let mut commands = people(first);
    commands.extend(places().into_iter().map(|command| (ADA, command)));
    commands.push((ADA, service_key(first + 500)));
    commands
}

/// The admin who founds the account, with their first key.
const ADA: Caller = Caller::Key {
    user: UserId::new(1),
    key: ApiKeyId::new(1),
};

fn people(first_secret: u64) -> Vec<(Caller, AnyCommand)> {
    let founding = bootstrap(secret(first_secret));
    let mut commands = vec![(Caller::Operator, AnyCommand::Bootstrap(founding))];
    for (serial, (who, role)) in (first_secret + 1..).zip([
        ("bob", AccountRole::Admin),
        ("cid", AccountRole::Member),
        ("dot", AccountRole::Member),
        ("eve", AccountRole::Annotator),
    ]) {
        let email = email(&format!("{who}@example.com"));
        let user = CreateUser {
            name: name(who),
            email: email.clone(),
            role: Assignment::Predefined(role),
            invitation: Invitation::None,
            is_developer: Some(true),
        };
        let key = IssueUserKey {
            email,
            key_name: key_name("issued"),
            secret: secret(serial),
            is_enforcement_point: false,
        };
        commands.push((ADA, AnyCommand::CreateUser(user)));
        commands.push((Caller::Operator, AnyCommand::IssueUserKey(key)));
    }
    commands
}

fn places() -> Vec<AnyCommand> {
    let mut commands = Vec::new();
    for organization in 1..=2 {
        commands.push(AnyCommand::CreateOrganization(CreateOrganization {
            name: name(&format!("organization {organization}")),
            description: Description::default(),
        }));
    }
    for (space, organization, is_private) in [(1, 1, true), (2, 1, false), (3, 2, true)] {
        commands.push(AnyCommand::CreateSpace(CreateSpace {
            name: name(&format!("space {space}")),
            organization: OrganizationId::new(organization),
            description: Description::default(),
            is_private,
        }));
        commands.push(AnyCommand::CreateProject(CreateProject {
            name: name(&format!("project {space}")),
            space: SpaceId::new(space),
        }));
    }
    commands.push(AnyCommand::CreateRole(CreateRole {
        name: RoleName::parse("reader").expect("a name"),
        description: Description::default(),
        permissions: PermissionSet::of(&[Permission::ProjectRead, Permission::RoleBindingRead]),
    }));
    for (organization, user, role) in [
        (1, 3, OrganizationRole::Admin),
        (1, 4, OrganizationRole::Member),
        (2, 4, OrganizationRole::Member),
    ] {
        commands.push(AnyCommand::AddOrganizationUser(AddOrganizationUser {
            organization: OrganizationId::new(organization),
            user: UserId::new(user),
            role: Assignment::Predefined(role),
        }));
    }
    commands.push(AnyCommand::AddSpaceUser(AddSpaceUser {
        space: SpaceId::new(1),
        user: UserId::new(4),
        role: Assignment::Predefined(SpaceRole::Member),
    }));
    for on in [
        Bindable::Space(SpaceId::new(3)),
        Bindable::Project(ProjectId::new(1)),
    ] {
        commands.push(AnyCommand::CreateRoleBinding(CreateRoleBinding {
            user: UserId::new(4),
            role: RoleId::new(CUSTOM_FIRST),
            on,
        }));
    }
    commands.push(AnyCommand::CreateResourceRestriction(
        CreateResourceRestriction {
            project: ProjectId::new(2),
        },
    ));
    commands
}

fn service_key(serial: u64) -> AnyCommand {
    AnyCommand::CreateServiceKey(CreateServiceKey {
        name: key_name("service"),
        description: Description::default(),
        expires_at: None,
        account_role: Assignment::Predefined(AccountRole::Member),
        organizations: vec![KeyOrganization {
            organization: OrganizationId::new(2),
            role: Assignment::Predefined(OrganizationRole::Member),
            spaces: vec![KeySpace {
                space: SpaceId::new(3),
                role: Assignment::Predefined(SpaceRole::Admin),
            }],
        }],
        secret: secret(serial),
    })
}

/// A unique secret.
pub(crate) fn secret(serial: u64) -> Secret {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&serial.to_be_bytes());
    Secret {
        hash: SecretHash(hash),
        redacted: format!("ak-000...{:03}", serial % 1000),
    }
}

pub(crate) fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

pub(crate) fn key_name(text: &str) -> KeyName {
    KeyName::parse(text).expect("a name")
}

pub(crate) fn email(text: &str) -> Email {
    Email::parse(text).expect("an address")
}
