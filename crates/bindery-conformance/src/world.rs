//! A small account with every kind of thing, and the entries that made it, for the checks.

use bindery_core::api_key::{ApiKey, KeyOwner, PreviousSecret, Secret, SecretHash};
use bindery_core::audit::{AuditEntry, AuditKind};
use bindery_core::change::{Change, Entry, OneOperation};
use bindery_core::credential::{Credential, KnownTo, Link, LinkPurpose, PasswordHash};
use bindery_core::given::{GivenAt, Giver};
use bindery_core::id::{
    AccountId, ApiKeyId, IdKey, OrganizationId, OrganizationMembershipId, ProjectId, Revision,
    RoleBindingId, RoleId, SpaceId, SpaceMembershipId, UserId,
};
use bindery_core::permission::{Permission, PermissionSet};
use bindery_core::place::{Account, Organization, Project, Restriction, Space, SpaceSettings};
use bindery_core::resource::Bindable;
use bindery_core::role::{AccountRole, OrganizationRole, Role, SpaceRole};
use bindery_core::role_binding::RoleBinding;
use bindery_core::text::{Description, Email, KeyName, Name, RoleName};
use bindery_core::time::Timestamp;
use bindery_core::user::{Identity, OrganizationMembership, SpaceMembership, Standing, User};

/// The time with this number; a larger number is later.
pub(crate) const fn moment(number: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + number)
}

pub(crate) fn account(number: u8) -> Account {
    Account {
        id: AccountId(number.into()),
        name: name(&format!("account {number}")),
        id_key: IdKey::new([number; 16]),
        created_at: moment(0),
        settings: bindery_core::place::AccountSettings::default(),
    }
}

/// The entry of this revision with these changes.
pub(crate) fn entry(revision: u64, changes: Vec<Change>) -> Entry {
    Entry::from(OneOperation {
        revision: Revision(revision),
        at: moment(i64::try_from(revision).expect("a small number")),
        by: Some(UserId::new(1)),
        key: Some(ApiKeyId::new(1)),
        operation: "create_something".to_owned(),
        batch: revision,
        changes,
    })
}

/// A history that puts, replaces and deletes every kind of thing, in the order of its revisions.
pub(crate) fn history() -> Vec<Entry> {
    let on_space = Bindable::Space(SpaceId::new(1));
    let on_project = Bindable::Project(ProjectId::new(1));
    let changes = vec![
        vec![
            user(1, "Ada@example.com"),
            key(1, KeyOwner::User(UserId::new(1))),
        ],
        vec![organization(1, "acme"), organization_membership(1, 1, 1)],
        vec![space(1, 1, "red"), space_membership(1, 1, 1)],
        vec![
            project(1, 1, "sonar"),
            project(2, 1, "vault"),
            restriction(2),
        ],
        vec![role(64, "Reader"), role(65, "Writer")],
        vec![user(2, "grace@example.com"), binding(1, 2, on_space, 64)],
        vec![bot(3, 2), key(2, KeyOwner::Service(UserId::new(3)))],
        vec![binding(2, 3, on_project, 65)],
        // Everything that can be replaced.
        vec![
            user(1, "ada@example.org"),
            organization(1, "acme & co"),
            space(1, 1, "crimson"),
        ],
        vec![
            project(1, 1, "radar"),
            role(64, "Auditor"),
            binding(1, 2, on_space, 65),
        ],
        vec![Change::PutAccount(Account {
            name: name("renamed"),
            ..account(1)
        })],
        // Everything that can be deleted.
        vec![organization(2, "globex"), organization_membership(2, 2, 2)],
        vec![
            space(2, 2, "blue"),
            space_membership(2, 2, 2),
            project(3, 2, "lab"),
            restriction(3),
        ],
        vec![role(66, "Passing"), binding(3, 1, on_project, 66)],
        vec![
            Change::DeleteRoleBinding(RoleBindingId::new(3)),
            Change::DeleteRole(RoleId::new(66)),
            Change::DeleteRestriction(ProjectId::new(3)),
            Change::DeleteProject(ProjectId::new(3)),
            Change::DeleteSpaceMembership(SpaceMembershipId::new(2)),
            Change::DeleteSpace(SpaceId::new(2)),
            Change::DeleteOrganizationMembership(OrganizationMembershipId::new(2)),
            Change::DeleteOrganization(OrganizationId::new(2)),
        ],
    ];
    (1..)
        .zip(changes)
        .map(|(revision, changes)| entry(revision, changes))
        .collect()
}

pub(crate) fn user(number: u32, email: &str) -> Change {
    let email = Email::parse(email).expect("an e-mail address");
    put_user(number, Identity::Human { email })
}

/// The same, invited until this time.
pub(crate) fn invited(number: u32, email: &str, until: i64) -> Change {
    let mut put = user(number, email);
    if let Change::PutUser(user) = &mut put {
        user.standing = Standing::Invited {
            until: moment(until),
        };
    }
    put
}

pub(crate) fn bot(number: u32, key: u32) -> Change {
    put_user(
        number,
        Identity::Bot {
            key: ApiKeyId::new(key),
        },
    )
}

fn put_user(number: u32, identity: Identity) -> Change {
    Change::PutUser(User {
        id: UserId::new(number),
        name: name(&format!("user {number}")),
        identity,
        account_role: AccountRole::Member,
        is_developer: true,
        standing: Standing::Active,
        created_at: moment(1),
        address_released_at: None,
    })
}

pub(crate) fn key(number: u32, owner: KeyOwner) -> Change {
    let hash = |half: u8| SecretHash([half.wrapping_add(number.to_le_bytes()[0]); 32]);
    Change::PutApiKey(ApiKey {
        id: ApiKeyId::new(number),
        name: KeyName::parse("a key").expect("a name"),
        description: Description::default(),
        owner,
        created_by: UserId::new(1),
        created_at: moment(1),
        expires_at: Some(moment(1_000_000)),
        is_revoked: false,
        secret: Secret {
            hash: hash(0),
            redacted: "ak-abc...xyz".to_owned(),
        },
        previous: Some(PreviousSecret {
            hash: hash(100),
            until: moment(1000),
        }),
        is_enforcement_point: true,
        is_sign_in: true,
        last_spaces: vec![SpaceId::new(1), SpaceId::new(2)],
        ends_with: None,
    })
}

/// The same key with these secrets.
pub(crate) fn key_with(number: u32, secret: SecretHash, previous: Option<SecretHash>) -> Change {
    let Change::PutApiKey(key) = key(number, KeyOwner::User(UserId::new(1))) else {
        unreachable!("a key is put")
    };
    Change::PutApiKey(ApiKey {
        secret: Secret {
            hash: secret,
            ..key.secret
        },
        previous: previous.map(|hash| PreviousSecret {
            hash,
            until: moment(1000),
        }),
        ..key
    })
}

/// A person's password and link.
pub(crate) fn credential(user: u32, password: &str, link: Option<SecretHash>) -> Credential {
    Credential {
        user: UserId::new(user),
        password: Some(PasswordHash::new(password.to_owned())),
        link: link.map(|token| Link {
            token,
            purpose: LinkPurpose::Invitation,
            until: moment(1000),
        }),
        known_to: KnownTo::Owner,
    }
}

pub(crate) fn organization(number: u32, called: &str) -> Change {
    Change::PutOrganization(Organization {
        id: OrganizationId::new(number),
        name: name(called),
        description: Description::default(),
        created_at: moment(1),
    })
}

fn organization_membership(number: u32, user: u32, organization: u32) -> Change {
    Change::PutOrganizationMembership(OrganizationMembership {
        id: OrganizationMembershipId::new(number),
        user: UserId::new(user),
        organization: OrganizationId::new(organization),
        role: OrganizationRole::Member,
        given_by: Giver::UNKNOWN,
        given_at: GivenAt::UNKNOWN,
    })
}

fn space(number: u32, organization: u32, called: &str) -> Change {
    Change::PutSpace(Space {
        id: SpaceId::new(number),
        organization: OrganizationId::new(organization),
        name: name(called),
        description: Description::default(),
        is_private: true,
        created_at: moment(1),
        settings: SpaceSettings::default(),
    })
}

fn space_membership(number: u32, user: u32, space: u32) -> Change {
    Change::PutSpaceMembership(SpaceMembership {
        id: SpaceMembershipId::new(number),
        user: UserId::new(user),
        space: SpaceId::new(space),
        role: SpaceRole::Member,
        given_by: Giver::UNKNOWN,
        given_at: GivenAt::UNKNOWN,
    })
}

fn project(number: u32, space: u32, called: &str) -> Change {
    Change::PutProject(Project {
        id: ProjectId::new(number),
        space: SpaceId::new(space),
        name: name(called),
        created_at: moment(1),
    })
}

fn restriction(project: u32) -> Change {
    Change::PutRestriction(Restriction {
        project: ProjectId::new(project),
        created_at: moment(1),
    })
}

pub(crate) fn role(number: u32, called: &str) -> Change {
    Change::PutRole(Role {
        id: RoleId::new(number),
        name: RoleName::parse(called).expect("a role name"),
        description: Description::default(),
        permissions: PermissionSet::of(&[Permission::ProjectRead]),
        created_at: moment(1),
        updated_at: moment(1),
    })
}

fn binding(number: u32, user: u32, resource: Bindable, role: u32) -> Change {
    Change::PutRoleBinding(RoleBinding {
        id: RoleBindingId::new(number),
        user: UserId::new(user),
        resource,
        role: RoleId::new(role),
        created_at: moment(1),
        updated_at: moment(1),
        given_by: Giver::UNKNOWN,
    })
}

fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

/// A request of this user for this operation, with every member filled.
pub(crate) fn audit(at: i64, user: u32, kind: AuditKind, operation: &str) -> AuditEntry {
    AuditEntry {
        user: UserId::new(user),
        address: "192.0.2.1".to_owned(),
        kind,
        operation: operation.to_owned(),
        text: Some("{\"name\":\"é\"}".to_owned()),
        variables: Some("{}".to_owned()),
        status: 201,
        problem: None,
        key: None,
        request: None,
        revision: None,
        at: moment(at),
    }
}
