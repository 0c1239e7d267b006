//! The fast path against the rule.

use super::*;
use crate::decision::{self, Facts, Principal};
use crate::permission::PermissionSet;
use crate::role::CUSTOM_FIRST;
use crate::time::Timestamp;

const USER: UserId = UserId::new(1);
const ORGANIZATION: OrganizationId = OrganizationId::new(2);
const SPACE: SpaceId = SpaceId::new(3);
const PROJECT: ProjectId = ProjectId::new(4);
const NOW: Timestamp = Timestamp::from_millis(100);
/// A custom role that has every permission that is asked for, and one that has none.
const FULL: RoleId = RoleId::new(CUSTOM_FIRST);
const EMPTY: RoleId = RoleId::new(CUSTOM_FIRST + 1);
/// A role that codes don't tell about.
const UNKNOWN: RoleId = RoleId::new(CUSTOM_FIRST + 2);

/// One user on one path of places.
#[derive(Clone, Copy, Debug)]
struct Small {
    principal: Option<Principal>,
    is_public: bool,
    is_restricted: bool,
    held: decision::Held,
}

impl Facts for Small {
    fn moment(&self) -> Timestamp {
        NOW
    }

    fn principal(&self, user: UserId) -> Option<Principal> {
        self.principal.filter(|_| user == USER)
    }

    fn place(&self, resource: Resource) -> Option<Place> {
        let space = SpacePlace {
            space: SPACE,
            organization: ORGANIZATION,
            is_public: self.is_public,
        };
        match resource {
            Resource::Account => Some(Place::Account),
            Resource::Organization(ORGANIZATION) => Some(Place::Organization(ORGANIZATION)),
            Resource::Space(SPACE) => Some(Place::Space(space)),
            Resource::Project(PROJECT) => Some(Place::Project(PROJECT, space, self.is_restricted)),
            Resource::Organization(_) | Resource::Space(_) | Resource::Project(_) => None,
        }
    }

    fn organization_role(&self, _: UserId, on: OrganizationId) -> Option<OrganizationRole> {
        self.held.organization.filter(|_| on == ORGANIZATION)
    }

    fn space_role(&self, _: UserId, on: SpaceId) -> Option<SpaceRole> {
        self.held.membership.filter(|_| on == SPACE)
    }

    fn bound_role(&self, _: UserId, on: Bindable) -> Option<RoleId> {
        match on {
            Bindable::Space(SPACE) => self.held.binding,
            Bindable::Project(PROJECT) => self.held.on_project,
            Bindable::Space(_) | Bindable::Project(_) => None,
        }
    }

    fn permissions(&self, role: RoleId) -> PermissionSet {
        match PredefinedRole::by_id(role) {
            Some(predefined) => predefined.permissions,
            None if role == FULL => Permission::ALL.into_iter().collect(),
            None => PermissionSet::EMPTY,
        }
    }
}

/// The same with codes, which are the numbers of the roles.
impl CodedFacts for Small {
    fn acting(self, user: UserId) -> Option<Acting> {
        let principal = Facts::acting(&self, user)?;
        Some(Acting {
            account_role: principal.account_role,
            is_human: principal.is_human,
            user,
            word: 0,
        })
    }

    fn place(self, resource: Resource) -> Option<Place> {
        Facts::place(&self, resource)
    }

    fn codes(self, user: UserId, _: u64, on: Ancestors) -> Codes {
        let code = |role: Option<RoleId>| role.map_or(0, RoleId::number);
        let organization = self.organization_role(user, on.organization);
        let membership = self.space_role(user, on.space);
        Codes {
            organization: code(organization.map(OrganizationRole::role)),
            membership: code(membership.map(SpaceRole::role)),
            binding: code(self.bound_role(user, Bindable::Space(on.space))),
            on_project: code(self.bound_role(user, Bindable::Project(on.project))),
        }
    }

    fn role(self, code: u32) -> RoleId {
        RoleId::new(code)
    }

    fn grants(self, code: u32, permission: Permission) -> Result<bool, AskState> {
        if code == UNKNOWN.number() {
            return Err(AskState);
        }
        Ok(self.permissions(RoleId::new(code)).contains(permission))
    }
}

/// None of these, then each of them.
fn or_none<T: Copy>(all: impl IntoIterator<Item = T>) -> Vec<Option<T>> {
    [None]
        .into_iter()
        .chain(all.into_iter().map(Some))
        .collect()
}

/// One permission for each row of answers that predefined roles and levels can give.
fn distinct_permissions() -> Vec<Permission> {
    let mut seen = Vec::new();
    let mut permissions = Vec::new();
    for permission in Permission::ALL {
        let kind = (
            PermissionWord::of(permission).0,
            permission.is_cut_by_restrictions(),
        );
        if !seen.contains(&kind) {
            seen.push(kind);
            permissions.push(permission);
        }
    }
    permissions
}

/// The principals that may act, by account role, people and bots.
fn principals() -> impl Iterator<Item = Principal> {
    AccountRole::ALL.into_iter().flat_map(|account_role| {
        [true, false].map(|is_human| Principal {
            account_role,
            is_human,
            is_active: true,
            until: None,
        })
    })
}

#[track_caller]
fn agree(facts: &Small, permission: Permission, resource: Resource) {
    let question = Question {
        principal: USER,
        permission,
        resource,
    };
    let by_rule = decision::decide(facts, &question);
    let decided = decide(*facts, &question);
    assert_eq!(decided, Ok(by_rule), "{question:?} {facts:?}");
    let is_allowed = allows(*facts, &question);
    let by_rule = Ok(by_rule.is_allowed());
    assert_eq!(is_allowed, by_rule, "{question:?} {facts:?}");
}

const RESOURCES: [Resource; 4] = [
    Resource::Account,
    Resource::Organization(ORGANIZATION),
    Resource::Space(SPACE),
    Resource::Project(PROJECT),
];

#[test]
fn the_fast_path_decides_as_the_rule_does_for_every_combination_of_roles() {
    let bound = || {
        let predefined = PredefinedRole::all().map(|(id, _)| id);
        // Roles of the same permissions are as good as each other, but for those that make admins.
        or_none(predefined.chain([FULL, EMPTY]))
    };
    let permissions = distinct_permissions();
    let member = Principal {
        account_role: AccountRole::Member,
        is_human: true,
        is_active: true,
        until: None,
    };
    let mut count = 0_u64;
    for organization in or_none(OrganizationRole::ALL) {
        for membership in or_none(SpaceRole::ALL) {
            for binding in bound() {
                for on_project in or_none([SpaceRole::Admin.role(), FULL, EMPTY]) {
                    for marks in 0..8_u8 {
                        let facts = Small {
                            principal: Some(Principal {
                                is_human: marks & 1 == 0,
                                ..member
                            }),
                            is_public: marks & 2 == 0,
                            is_restricted: marks & 4 == 0,
                            held: decision::Held {
                                organization,
                                membership,
                                binding,
                                on_project,
                            },
                        };
                        for permission in &permissions {
                            agree(&facts, *permission, Resource::Project(PROJECT));
                            count += 1;
                        }
                    }
                }
            }
        }
    }
    assert!(count > 100_000, "{count} combinations are too few");
}

#[test]
fn the_fast_path_decides_as_the_rule_does_on_every_level() {
    for principal in principals() {
        for organization in or_none(OrganizationRole::ALL) {
            for membership in or_none(SpaceRole::ALL) {
                for binding in or_none([SpaceRole::Admin.role(), FULL, EMPTY]) {
                    let facts = Small {
                        principal: Some(principal),
                        is_public: true,
                        is_restricted: true,
                        held: decision::Held {
                            organization,
                            membership,
                            binding,
                            on_project: Some(FULL),
                        },
                    };
                    for permission in distinct_permissions() {
                        for resource in RESOURCES {
                            agree(&facts, permission, resource);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn the_fast_path_decides_as_the_rule_does_of_who_and_what_is_not_there() {
    let admin = Principal {
        account_role: AccountRole::Admin,
        is_human: true,
        is_active: true,
        until: None,
    };
    let until = |millis| Principal {
        until: Some(Timestamp::from_millis(millis)),
        ..admin
    };
    let inactive = Principal {
        is_active: false,
        ..admin
    };
    let unknown = [
        Resource::Organization(OrganizationId::new(9)),
        Resource::Space(SpaceId::new(9)),
        Resource::Project(ProjectId::new(9)),
    ];
    for principal in or_none([admin, inactive, until(100), until(101)]) {
        let facts = Small {
            principal,
            is_public: true,
            is_restricted: false,
            held: decision::Held::default(),
        };
        for resource in RESOURCES.into_iter().chain(unknown) {
            for permission in Permission::ALL {
                agree(&facts, permission, resource);
            }
        }
    }
}

#[test]
fn the_fallback_of_a_role_is_a_step_behind_it() {
    for role in OrganizationRole::ALL {
        let behind = fallback(role.role().number());
        assert_eq!(role.in_public_spaces().role(), RoleId::new(behind));
    }
    let behind_none = AccountRole::Annotator;
    assert_eq!(behind_none.role(), RoleId::new(fallback(0)));
    assert!(behind_none.permissions().is_empty());
}

#[test]
fn what_predefined_roles_grant_is_what_their_sets_say() {
    for permission in Permission::ALL {
        for (id, role) in PredefinedRole::all() {
            let is_granted = PermissionWord::of(permission).is_granted_by(id.number());
            let has = role.permissions.contains(permission);
            assert_eq!(is_granted, has, "{} {permission:?}", role.name);
        }
        assert!(!PermissionWord::of(permission).is_granted_by(0));
        for level in [
            Level::Project,
            Level::Space,
            Level::Organization,
            Level::Account,
        ] {
            let means = PermissionWord::of(permission).means_something_on(level);
            assert_eq!(means, level.reaches(permission.lowest_level()));
        }
    }
}

#[test]
fn the_state_is_asked_exactly_where_an_unknown_code_is_on_the_way() {
    let held = |binding, on_project| decision::Held {
        binding,
        on_project,
        ..decision::Held::default()
    };
    let member = Principal {
        account_role: AccountRole::Member,
        is_human: true,
        is_active: true,
        until: None,
    };
    let ask = |held, resource| {
        let facts = Small {
            principal: Some(member),
            is_public: true,
            is_restricted: false,
            held,
        };
        let question = Question {
            principal: USER,
            permission: Permission::ProjectRead,
            resource,
        };
        let (decided, is_allowed) = (decide(facts, &question), allows(facts, &question));
        assert_eq!(decided.map(Decision::is_allowed), is_allowed);
        is_allowed
    };
    let (space, project) = (Resource::Space(SPACE), Resource::Project(PROJECT));
    let on_space = held(Some(UNKNOWN), Some(FULL));
    assert_eq!(
        [space, project].map(|on| ask(on_space, on)),
        [Err(AskState); 2]
    );
    let on_project = held(Some(FULL), Some(UNKNOWN));
    assert_eq!(ask(on_project, space), Ok(true));
    assert_eq!(ask(on_project, project), Err(AskState));
    assert_eq!(
        ask(on_project, Resource::Organization(ORGANIZATION)),
        Ok(false)
    );
}
