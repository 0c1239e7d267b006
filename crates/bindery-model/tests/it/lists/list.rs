//! Every list operation as one value: a page from the engine, everything from the model.

use bindery_core::command::Context;
use bindery_core::id::{Id, OrganizationId, SpaceId, UserId};
use bindery_core::query::{
    KeyFilter, KeyKind, Page, ProjectFilter, Reader, Slice, Substring, UserFilter,
};
use bindery_core::refusal::Refusal;
use bindery_core::resource::BindableKind;
use bindery_core::user::UserStatus;
use bindery_model::model::Model;

use crate::questions::ever;

/// The list; filters as in a request.
#[derive(Clone, Debug)]
pub(super) enum List {
    RoleBindings(BindableKind, Option<UserId>),
    Roles(Option<bool>),
    Restrictions,
    Users {
        email: &'static str,
        statuses: &'static [UserStatus],
    },
    Organizations {
        name: &'static str,
    },
    Spaces {
        of: Option<OrganizationId>,
        name: &'static str,
    },
    Projects {
        space: Option<SpaceId>,
        space_name: &'static str,
        name: &'static str,
    },
    Keys(KeyFilter),
    EnforcementPoints,
}

const USER_FILTERS: [(&str, &[UserStatus]); 5] = [
    ("", &[]),
    ("sEr-1", &[]),
    ("nowhere", &[]),
    ("@", &[UserStatus::Active]),
    ("", &[UserStatus::Invited, UserStatus::Expired]),
];

const PROJECT_FILTERS: [(&str, &str); 4] = [("", ""), ("", "T 1"), ("e 1", ""), ("2", "3")];

impl List {
    /// Everything that can be listed after this history, by family, including unknown ids.
    pub(super) fn families(model: &Model) -> Vec<Vec<Self>> {
        let organizations = all_or_one::<OrganizationId>(model);
        let spaces = all_or_one::<SpaceId>(model);
        let users = all_or_one::<UserId>(model);
        let bindings = |kind| users.iter().map(move |of| Self::RoleBindings(kind, *of));
        let spaces_of = |of: &Option<OrganizationId>| {
            let of = *of;
            ["", "1", "sPaCe"].map(|name| Self::Spaces { of, name })
        };
        let projects_of = |space: &Option<SpaceId>| {
            let space = *space;
            PROJECT_FILTERS.map(|(space_name, name)| Self::Projects {
                space,
                space_name,
                name,
            })
        };
        let users_with = |(email, statuses)| Self::Users { email, statuses };
        vec![
            bindings(BindableKind::Space).collect(),
            bindings(BindableKind::Project).collect(),
            [None, Some(true), Some(false)].map(Self::Roles).to_vec(),
            vec![Self::Restrictions],
            USER_FILTERS.map(users_with).to_vec(),
            ["", "N 1", "nothing"]
                .map(|name| Self::Organizations { name })
                .to_vec(),
            organizations.iter().flat_map(spaces_of).collect(),
            spaces.iter().flat_map(projects_of).collect(),
            keys(&users, &spaces),
            vec![Self::EnforcementPoints],
        ]
    }

    /// A page, as numbers.
    pub(super) fn page(
        &self,
        reader: &Reader<'_>,
        after: Option<u32>,
        limit: usize,
    ) -> Result<Page<u32>, Refusal> {
        Ok(match self {
            Self::RoleBindings(kind, of) => {
                let page = reader.role_bindings(*kind, *of, slice(after, limit))?;
                numbers(&page, |binding| binding.id)
            }
            Self::Roles(is_predefined) => {
                let page = reader.roles(*is_predefined, slice(after, limit))?;
                numbers(&page, |role| role.id())
            }
            Self::Restrictions => {
                let page = reader.restrictions(slice(after, limit));
                numbers(&page, |restriction| restriction.project)
            }
            Self::Users { email, statuses } => {
                let filter = UserFilter {
                    email: Substring::new(email),
                    statuses: statuses.to_vec(),
                };
                let page = reader.users(&filter, slice(after, limit))?;
                numbers(&page, |user| user.id)
            }
            Self::Organizations { name } => {
                let page = reader.organizations(&Substring::new(name), slice(after, limit));
                numbers(&page, |organization| organization.id)
            }
            Self::Spaces { of, name } => {
                let name = Substring::new(name);
                let page = reader.spaces(*of, &name, slice(after, limit))?;
                numbers(&page, |space| space.id)
            }
            Self::Projects {
                space,
                space_name,
                name,
            } => {
                let filter = ProjectFilter {
                    space: *space,
                    space_name: Substring::new(space_name),
                    name: Substring::new(name),
                };
                let page = reader.projects(&filter, slice(after, limit))?;
                numbers(&page, |project| project.id)
            }
            Self::Keys(filter) => {
                let page = reader.keys(filter, slice(after, limit))?;
                numbers(&page, |key| key.id)
            }
            Self::EnforcementPoints => {
                let page = reader.enforcement_points(slice(after, limit))?;
                numbers(&page, |key| key.id)
            }
        })
    }

    /// All of it, as numbers.
    pub(super) fn whole(&self, model: &Model, context: &Context) -> Result<Vec<u32>, Refusal> {
        Ok(match self {
            Self::RoleBindings(kind, of) => whole(&model.list_role_bindings(context, *kind, *of)?),
            Self::Roles(is_predefined) => whole(&model.list_roles(context, *is_predefined)?),
            Self::Restrictions => whole(&model.list_restrictions(context)),
            Self::Users { email, statuses } => whole(&model.list_users(context, email, statuses)?),
            Self::Organizations { name } => whole(&model.list_organizations(context, name)),
            Self::Spaces { of, name } => whole(&model.list_spaces(context, *of, name)?),
            Self::Projects {
                space,
                space_name,
                name,
            } => whole(&model.list_projects(context, *space, space_name, name)?),
            Self::Keys(filter) => whole(&model.list_keys(context, filter)?),
            Self::EnforcementPoints => whole(&model.list_enforcement_points(context)?),
        })
    }
}

/// Of both kinds, revoked or not, of everyone, and in every space: of everyone or of one who changes from
/// space to space.
fn keys(users: &[Option<UserId>], spaces: &[Option<SpaceId>]) -> Vec<List> {
    let mut lists = Vec::new();
    for kind in [KeyKind::User, KeyKind::Service] {
        for is_revoked in [false, true] {
            let mut add = |space, user| {
                lists.push(List::Keys(KeyFilter {
                    kind,
                    is_revoked,
                    space,
                    user,
                }));
            };
            for user in users {
                add(None, *user);
            }
            for (space, user) in spaces.iter().zip(users.iter().cycle()).skip(1) {
                add(*space, None);
                add(*space, *user);
            }
        }
    }
    lists
}

/// No filter, or one of the ids that were ever issued.
fn all_or_one<I: Id>(model: &Model) -> Vec<Option<I>> {
    let given = ever::<I>(model).into_iter().map(Some);
    std::iter::once(None).chain(given).collect()
}

fn slice<I: Id>(after: Option<u32>, limit: usize) -> Slice<I> {
    Slice {
        after: after.map(I::from_number),
        limit,
    }
}

fn numbers<T, I: Id>(page: &Page<T>, id: impl Fn(&T) -> I) -> Page<u32> {
    Page {
        items: page.items.iter().map(|item| id(item).number()).collect(),
        has_more: page.has_more,
    }
}

fn whole<I: Id>(ids: &[I]) -> Vec<u32> {
    ids.iter().map(|id| id.number()).collect()
}
