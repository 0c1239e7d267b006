//! How often each draft occurs, and with which picks. Drafts that affect decisions are frequent, and those
//! that end something rare, so that histories grow.

use std::ops::Range;

use bindery_core::permission::Permission;
use bindery_core::place::AccountSettings;
use bindery_core::quota::QuotaLimits;
use bindery_core::role::AccountRole;
use proptest::bool::weighted;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{BoxedStrategy, Just, Strategy, any, prop_oneof};
use proptest::sample::select;

use super::{
    CallerPick, Draft, EmailPick, Expiry, History, InvitationPick, KeyPlace, LinkPick, NamePick,
    OnPick, Pick, RolePick, SpaceChange, Step, UserPick,
};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// The most frequent permissions of custom roles: those that commands and lists check.
const ASKED_FOR: [Permission; 20] = [
    Permission::ProjectRead,
    Permission::ProjectRestrict,
    Permission::RoleBindingCreate,
    Permission::RoleBindingRead,
    Permission::RoleBindingDelete,
    Permission::SpaceRead,
    Permission::ServiceKeyCreate,
    Permission::ServiceKeyRead,
    Permission::ServiceKeyRevoke,
    Permission::ProjectCreate,
    Permission::ProjectUpdate,
    Permission::ProjectDelete,
    Permission::SpaceUpdate,
    Permission::SpaceDelete,
    Permission::SpaceCreate,
    Permission::OrganizationRead,
    Permission::UserRead,
    Permission::UserDelete,
    Permission::RoleRead,
    Permission::DatasetRead,
];

/// Histories with this many commands, including the founding one. In the first quarter the founder builds up
/// the account, so that later commands have something to work with.
pub fn histories(length: Range<usize>) -> impl Strategy<Value = History> {
    let length = length.start.saturating_sub(1)..length.end.saturating_sub(1);
    let built = length.start / 4..length.end / 4 + 1;
    let lived = length.start - built.start..length.end - built.end + 1;
    (settings(), vec(building_step(), built), vec(step(), lived)).prop_map(
        |(settings, built, lived)| {
            let steps = built.into_iter().chain(lived).collect();
            History { settings, steps }
        },
    )
}

fn building_step() -> impl Strategy<Value = Step> {
    building_draft().prop_map(|draft| Step {
        caller: CallerPick(0),
        wait_ms: 0,
        draft,
    })
}

fn building_draft() -> impl Strategy<Value = Draft> {
    let fresh = NamePick::Fresh;
    prop_oneof![
        3 => Just(Draft::CreateOrganization { name: fresh }),
        5 => (pick(), any::<bool>()).prop_map(move |(organization, is_private)| {
            Draft::CreateSpace { name: fresh, organization, is_private }
        }),
        6 => pick().prop_map(move |space| Draft::CreateProject { name: fresh, space }),
        7 => account_role().prop_map(|role| Draft::CreateUser {
            email: EmailPick::Fresh,
            role: Some(role),
            invitation: InvitationPick::None,
            is_developer: None,
        }),
        6 => pick().prop_map(|user| Draft::IssueUserKey {
            user,
            is_enforcement_point: false,
        }),
        7 => (pick(), pick(), role()).prop_map(|(organization, user, role)| {
            Draft::AddOrganizationUser { organization, user, role }
        }),
        3 => permissions().prop_map(move |permissions| Draft::CreateRole { name: fresh, permissions }),
    ]
}

fn settings() -> impl Strategy<Value = AccountSettings> {
    let developer_access = prop_oneof![9 => Just(true), 1 => Just(false)];
    let key_lifetime_max_seconds = prop_oneof![3 => Just(None), 1 => Just(Some(7 * DAY))];
    (developer_access, key_lifetime_max_seconds).prop_map(
        |(developer_access, key_lifetime_max_seconds)| AccountSettings {
            developer_access,
            audit_logging: true,
            key_lifetime_max_seconds,
            quotas: QuotaLimits::default(),
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let wait_ms = prop_oneof![
        6 => Just(0_u64),
        3 => 1..MINUTE * 1000,
        3 => 1..HOUR * 1000,
        1 => 1..2 * DAY * 1000,
    ];
    (any::<u8>(), wait_ms, draft()).prop_map(|(caller, wait_ms, draft)| Step {
        caller: CallerPick(caller),
        wait_ms: u32::try_from(wait_ms).unwrap_or(u32::MAX),
        draft,
    })
}

fn draft() -> impl Strategy<Value = Draft> {
    let user = || {
        prop_oneof![
            1 => Just(Draft::Bootstrap),
            24 => (pick(), weighted(0.1)).prop_map(|(user, is_enforcement_point)| {
                Draft::IssueUserKey { user, is_enforcement_point }
            }),
            30 => (email(), option::weighted(0.97, account_role()), invitation(), is_developer())
                .prop_map(|(email, role, invitation, is_developer)| Draft::CreateUser {
                    email, role, invitation, is_developer,
                }),
            7 => (pick(), option::of(name()), is_developer())
                .prop_map(|(user, name, is_developer)| Draft::UpdateUser {
                    user, name, is_developer,
                }),
            2 => pick().prop_map(|user| Draft::DeleteUser { user }),
            3 => pick().prop_map(|user| Draft::ReleaseAddress { user }),
            2 => (any::<u8>(), option::weighted(0.6, 0..12_u64))
                .prop_map(|(quota, limit)| Draft::SetQuota { quota, limit }),
        ]
    };
    prop_oneof![
        13 => user(),
        14 => organization_draft(),
        25 => space_draft(),
        16 => project_draft(),
        24 => role_draft(),
        14 => key_draft(),
        9 => credential_draft(),
    ]
}

fn organization_draft() -> BoxedStrategy<Draft> {
    prop_oneof![
        10 => name().prop_map(|name| Draft::CreateOrganization { name }),
        4 => (pick(), option::of(name()))
            .prop_map(|(organization, name)| Draft::UpdateOrganization { organization, name }),
        1 => pick().prop_map(|organization| Draft::DeleteOrganization { organization }),
        40 => (pick(), pick(), role()).prop_map(|(organization, user, role)| {
            Draft::AddOrganizationUser { organization, user, role }
        }),
        6 => (pick(), user())
            .prop_map(|(organization, user)| Draft::RemoveOrganizationUser { organization, user }),
    ]
    .boxed()
}

fn space_draft() -> BoxedStrategy<Draft> {
    prop_oneof![
        18 => (name(), pick(), any::<bool>()).prop_map(|(name, organization, is_private)| {
            Draft::CreateSpace { name, organization, is_private }
        }),
        10 => (pick(), option::weighted(0.2, name()), space_change())
            .prop_map(|(space, name, change)| Draft::UpdateSpace { space, name, change }),
        2 => pick().prop_map(|space| Draft::DeleteSpace { space }),
        30 => (pick(), user(), role())
            .prop_map(|(space, user, role)| Draft::AddSpaceUser { space, user, role }),
        6 => (pick(), user()).prop_map(|(space, user)| Draft::RemoveSpaceUser { space, user }),
    ]
    .boxed()
}

fn project_draft() -> BoxedStrategy<Draft> {
    prop_oneof![
        20 => (name(), pick()).prop_map(|(name, space)| Draft::CreateProject { name, space }),
        5 => (pick(), name()).prop_map(|(project, name)| Draft::UpdateProject { project, name }),
        3 => pick().prop_map(|project| Draft::DeleteProject { project }),
        18 => pick().prop_map(|project| Draft::CreateResourceRestriction { project }),
        6 => pick().prop_map(|project| Draft::DeleteResourceRestriction { project }),
    ]
    .boxed()
}

fn role_draft() -> BoxedStrategy<Draft> {
    prop_oneof![
        16 => (name(), permissions())
            .prop_map(|(name, permissions)| Draft::CreateRole { name, permissions }),
        7 => (pick(), option::weighted(0.3, name()), option::weighted(0.8, permissions())).prop_map(
            |(role, name, permissions)| Draft::UpdateRole { role, name, permissions },
        ),
        4 => pick().prop_map(|role| Draft::DeleteRole { role }),
        44 => (pick(), pick(), on())
            .prop_map(|(user, role, on)| Draft::CreateRoleBinding { user, role, on }),
        12 => (pick(), pick())
            .prop_map(|(binding, role)| Draft::UpdateRoleBinding { binding, role }),
        7 => pick().prop_map(|binding| Draft::DeleteRoleBinding { binding }),
    ]
    .boxed()
}

fn key_draft() -> BoxedStrategy<Draft> {
    // The account role of a key is mostly MEMBER; two of the roles are refused.
    let role = prop_oneof![
        10 => Just(Some(AccountRole::Member)),
        2 => Just(Some(AccountRole::Admin)),
        1 => option::of(account_role()),
    ];
    let grace_seconds = prop_oneof![2 => Just(0), 1 => 1..=DAY];
    prop_oneof![
        8 => expiry().prop_map(|expiry| Draft::CreateUserKey { expiry }),
        40 => (role, few(key_place()), expiry()).prop_map(|(account_role, places, expiry)| {
            Draft::CreateServiceKey { account_role, places, expiry }
        }),
        10 => (pick(), expiry(), grace_seconds).prop_map(|(key, expiry, grace_seconds)| {
            Draft::RefreshApiKey { key, expiry, grace_seconds }
        }),
        8 => pick().prop_map(|key| Draft::RevokeApiKey { key }),
        8 => pick().prop_map(|key| Draft::MarkEnforcementPoint { key }),
        2 => pick().prop_map(|key| Draft::UnmarkEnforcementPoint { key }),
    ]
    .boxed()
}

fn key_place() -> impl Strategy<Value = KeyPlace> + Clone {
    let role_there = prop_oneof![
        20 => any::<u8>().prop_map(RolePick::Fitting),
        1 => any::<u8>().prop_map(RolePick::Any),
        1 => pick().prop_map(RolePick::Custom),
    ];
    (pick(), role_there, few((pick(), role()))).prop_map(|(organization, role, spaces)| KeyPlace {
        organization,
        role,
        spaces,
    })
}

/// One, sometimes two.
fn few<S: Strategy + Clone>(one: S) -> impl Strategy<Value = Vec<S::Value>> + Clone {
    prop_oneof![3 => vec(one.clone(), 1), 1 => vec(one, 2)]
}

fn pick() -> impl Strategy<Value = Pick> + Clone {
    any::<u8>().prop_map(Pick)
}

fn user() -> impl Strategy<Value = UserPick> {
    prop_oneof![5 => pick().prop_map(UserPick::Member), 1 => pick().prop_map(UserPick::Any)]
}

fn on() -> impl Strategy<Value = OnPick> {
    prop_oneof![
        pick().prop_map(OnPick::Space),
        pick().prop_map(OnPick::Project)
    ]
}

fn role() -> impl Strategy<Value = RolePick> + Clone {
    prop_oneof![
        12 => any::<u8>().prop_map(RolePick::Fitting),
        1 => any::<u8>().prop_map(RolePick::Any),
        3 => pick().prop_map(RolePick::Custom),
    ]
}

fn name() -> impl Strategy<Value = NamePick> {
    prop_oneof![9 => Just(NamePick::Fresh), 1 => pick().prop_map(NamePick::Taken)]
}

fn email() -> impl Strategy<Value = EmailPick> {
    prop_oneof![5 => Just(EmailPick::Fresh), 1 => pick().prop_map(EmailPick::Taken)]
}

fn account_role() -> impl Strategy<Value = AccountRole> {
    prop_oneof![
        5 => Just(AccountRole::Member),
        2 => Just(AccountRole::Annotator),
        1 => Just(AccountRole::MemberUiOnly),
        1 => Just(AccountRole::Admin),
    ]
}

fn invitation() -> impl Strategy<Value = InvitationPick> {
    prop_oneof![
        3 => Just(InvitationPick::None),
        1 => Just(InvitationPick::Link),
        1 => Just(InvitationPick::TemporaryPassword),
    ]
}

fn link() -> impl Strategy<Value = LinkPick> {
    prop_oneof![6 => Just(LinkPick::Own), 1 => pick().prop_map(LinkPick::Any)]
}

fn credential_draft() -> BoxedStrategy<Draft> {
    prop_oneof![
        3 => pick().prop_map(|user| Draft::ResendInvitation { user }),
        2 => pick().prop_map(|user| Draft::RenewTemporaryPassword { user }),
        4 => pick().prop_map(|user| Draft::ResetPassword { user }),
        5 => link().prop_map(|link| Draft::AcceptInvitation { link }),
        5 => (link(), weighted(0.2)).prop_map(|(link, end_keys)| {
            Draft::CompletePasswordReset { link, end_keys }
        }),
        6 => (weighted(0.85), any::<bool>(), weighted(0.2)).prop_map(
            |(is_right, has_new_password, end_keys)| Draft::SignIn {
                is_right, has_new_password, end_keys,
            },
        ),
    ]
    .boxed()
}

fn is_developer() -> impl Strategy<Value = Option<bool>> {
    prop_oneof![3 => Just(None), 2 => Just(Some(true)), 1 => Just(Some(false))]
}

fn space_change() -> impl Strategy<Value = SpaceChange> {
    prop_oneof![
        5 => any::<bool>().prop_map(SpaceChange::Privacy),
        1 => Just(SpaceChange::Color),
        1 => any::<bool>().prop_map(SpaceChange::Integration),
    ]
}

fn expiry() -> impl Strategy<Value = Expiry> {
    prop_oneof![
        6 => Just(Expiry::Absent),
        2 => (HOUR..4 * DAY).prop_map(Expiry::In),
        1 => (4 * DAY..30 * DAY).prop_map(Expiry::In),
        2 => (0..DAY).prop_map(Expiry::BeforeTheOld),
        1 => Just(Expiry::Now),
    ]
}

fn permissions() -> impl Strategy<Value = Vec<Permission>> {
    prop_oneof![
        5 => vec(select(&ASKED_FOR[..]), 1..=5),
        3 => vec(select(&Permission::ALL[..]), 1..=12),
        1 => Just(Permission::ALL.to_vec()),
    ]
}
