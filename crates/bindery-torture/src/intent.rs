//! The requests of clients, and the correct response on a state, by the commands and queries of the product
//! itself. Other tests check those; here only the state that they used matters.

use bindery_core::change::Change;
use bindery_core::command::organizations::{CreateOrganization, DeleteOrganization};
use bindery_core::command::role_bindings::{
    CreateRoleBinding, DeleteRoleBinding, UpdateRoleBinding,
};
use bindery_core::command::roles::{CreateRole, DeleteRole, UpdateRole};
use bindery_core::command::spaces::CreateSpace;
use bindery_core::command::{Command, Context, Decided};
use bindery_core::decision::Question;
use bindery_core::id::{Id as _, OrganizationId, ProjectId, RoleBindingId, RoleId, UserId};
use bindery_core::permission::{Permission, PermissionSet};
use bindery_core::query::{Slice, Substring};
use bindery_core::refusal::Refusal;
use bindery_core::resource::{Bindable, BindableKind, Resource};
use bindery_core::role::AnyRole;
use bindery_core::role_binding::RoleBinding;
use bindery_core::state::State;
use bindery_core::text::{Description, Name, RoleName};

/// The page size of lists: more than this run ever has.
pub(crate) const LIST_MAX: usize = 100;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Intent {
    /// `PATCH` of a role binding.
    GiveRole {
        binding: RoleBindingId,
        role: RoleId,
    },
    Bind {
        user: UserId,
        project: ProjectId,
        role: RoleId,
    },
    Unbind(RoleBindingId),
    MakeRole {
        name: String,
        /// A unique text that identifies the request.
        tag: String,
        permission: Permission,
    },
    ChangeRole {
        role: RoleId,
        tag: String,
        permission: Permission,
    },
    DropRole(RoleId),
    MakeOrganization {
        name: String,
        tag: String,
    },
    MakeSpace {
        organization: OrganizationId,
        name: String,
    },
    /// With all its spaces.
    DropOrganization(OrganizationId),

    SeeBinding(RoleBindingId),
    ListBindings(BindableKind),
    ListRoles,
    ListOrganizations,
    May {
        user: UserId,
        permission: Permission,
        project: ProjectId,
    },
}

impl Intent {
    pub(crate) fn is_change(&self) -> bool {
        !matches!(
            self,
            Self::SeeBinding(_)
                | Self::ListBindings(_)
                | Self::ListRoles
                | Self::ListOrganizations
                | Self::May { .. }
        )
    }

    /// Its changes to this state, and its response; a query changes nothing.
    pub(crate) fn meet(
        &self,
        state: &State,
        context: &Context,
    ) -> Result<(Vec<Change>, String), Refusal> {
        let run = Meeting { state, context };
        match self {
            Self::GiveRole { binding, role } => run.execute(
                &UpdateRoleBinding {
                    binding: *binding,
                    role: *role,
                },
                shown_binding,
            ),
            Self::Bind {
                user,
                project,
                role,
            } => run.execute(
                &CreateRoleBinding {
                    user: *user,
                    role: *role,
                    on: Bindable::Project(*project),
                },
                shown_binding,
            ),
            Self::Unbind(binding) => {
                run.execute(&DeleteRoleBinding { binding: *binding }, |()| gone())
            }
            Self::MakeRole {
                name,
                tag,
                permission,
            } => run.execute(
                &CreateRole {
                    name: role_name(name),
                    description: description(tag),
                    permissions: PermissionSet::of(&[*permission]),
                },
                |role| shown_role(AnyRole::Custom(role)),
            ),
            Self::ChangeRole {
                role,
                tag,
                permission,
            } => run.execute(
                &UpdateRole {
                    role: *role,
                    name: None,
                    description: Some(description(tag)),
                    permissions: Some(PermissionSet::of(&[*permission])),
                },
                |role| shown_role(AnyRole::Custom(role)),
            ),
            Self::DropRole(role) => run.execute(&DeleteRole { role: *role }, |()| gone()),
            Self::MakeOrganization { name, tag } => run.execute(
                &CreateOrganization {
                    name: self::name(name),
                    description: description(tag),
                },
                |made| shown_organization(made.id, made.name.as_str(), made.description.as_str()),
            ),
            Self::MakeSpace { organization, name } => run.execute(
                &CreateSpace {
                    name: self::name(name),
                    organization: *organization,
                    description: Description::default(),
                    is_private: false,
                },
                |made| format!("space {} {}", made.id.number(), made.name),
            ),
            Self::DropOrganization(organization) => run.execute(
                &DeleteOrganization {
                    organization: *organization,
                },
                |()| gone(),
            ),
            Self::SeeBinding(_)
            | Self::ListBindings(_)
            | Self::ListRoles
            | Self::ListOrganizations
            | Self::May { .. } => Ok((Vec::new(), self.look(state, context)?)),
        }
    }

    fn look(&self, state: &State, context: &Context) -> Result<String, Refusal> {
        Ok(match self {
            Self::SeeBinding(binding) => {
                shown_binding(&state.reader(*context).visible_role_binding(*binding)?)
            }
            Self::ListBindings(kind) => {
                let page = state.reader(*context).role_bindings(*kind, None, all())?;
                shown_list(page.items.iter().map(shown_binding))
            }
            Self::ListRoles => {
                let page = state.reader(*context).roles(Some(false), all())?;
                shown_list(page.items.iter().map(|role| shown_role_of(*role)))
            }
            Self::ListOrganizations => {
                let page = state
                    .reader(*context)
                    .organizations(&Substring::new(""), all());
                shown_list(page.items.iter().map(|one| {
                    shown_organization(one.id, one.name.as_str(), one.description.as_str())
                }))
            }
            Self::May {
                user,
                permission,
                project,
            } => {
                let question = Question {
                    principal: *user,
                    permission: *permission,
                    resource: Resource::Project(*project),
                };
                let decision = state.decide(&question, context.now);
                decision.is_allowed().to_string()
            }
            _ => String::new(),
        })
    }
}

struct Meeting<'a> {
    state: &'a State,
    context: &'a Context,
}

impl Meeting<'_> {
    fn execute<C: Command>(
        &self,
        command: &C,
        shown: impl Fn(&C::Outcome) -> String,
    ) -> Result<(Vec<Change>, String), Refusal> {
        let Decided { changes, outcome } = self.state.execute(command, self.context)?;
        let told = shown(&outcome);
        Ok((changes, told))
    }
}

fn all<I>() -> Slice<I> {
    Slice {
        after: None,
        limit: LIST_MAX,
    }
}

/// The response after a deletion.
pub(crate) fn gone() -> String {
    "gone".to_owned()
}

pub(crate) fn shown_list(lines: impl Iterator<Item = String>) -> String {
    lines.collect::<Vec<_>>().join("\n")
}

fn shown_binding(binding: &RoleBinding) -> String {
    let kind = match binding.resource {
        Bindable::Space(_) => "SPACE",
        Bindable::Project(_) => "PROJECT",
    };
    let binding = ShownBinding {
        id: binding.id,
        role: binding.role,
        user: binding.user,
        kind,
        resource: binding.resource.number(),
        updated_at_ms: binding.updated_at.as_millis(),
    };
    binding.to_string()
}

/// A binding as it is compared.
pub(crate) struct ShownBinding<'a> {
    pub(crate) id: RoleBindingId,
    pub(crate) role: RoleId,
    pub(crate) user: UserId,
    pub(crate) kind: &'a str,
    pub(crate) resource: u32,
    pub(crate) updated_at_ms: i64,
}

impl std::fmt::Display for ShownBinding<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "binding {}: role {} for user {} on {} {}, {}",
            self.id.number(),
            self.role.number(),
            self.user.number(),
            self.kind,
            self.resource,
            self.updated_at_ms
        )
    }
}

fn shown_role_of(role: AnyRole<'_>) -> String {
    shown_role(role)
}

fn shown_role(role: AnyRole<'_>) -> String {
    let (description, updated_at_ms) = match role {
        AnyRole::Custom(role) => (role.description.to_string(), role.updated_at.as_millis()),
        AnyRole::Predefined(..) => (String::new(), 0),
    };
    let permissions: Vec<&str> = role.permissions().iter().map(Permission::name).collect();
    let role = ShownRole {
        id: role.id(),
        name: role.name(),
        description: &description,
        permissions: &permissions,
        updated_at_ms,
    };
    role.to_string()
}

/// A custom role as it is compared.
pub(crate) struct ShownRole<'a> {
    pub(crate) id: RoleId,
    pub(crate) name: &'a str,
    pub(crate) description: &'a str,
    pub(crate) permissions: &'a [&'a str],
    pub(crate) updated_at_ms: i64,
}

impl std::fmt::Display for ShownRole<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "role {} {} ({}): {}, {}",
            self.id.number(),
            self.name,
            self.description,
            self.permissions.join(" "),
            self.updated_at_ms
        )
    }
}

pub(crate) fn shown_organization(id: OrganizationId, name: &str, description: &str) -> String {
    format!("organization {} {name} ({description})", id.number())
}

fn role_name(text: &str) -> RoleName {
    RoleName::parse(text).expect("the names of this crate are names")
}

fn name(text: &str) -> Name {
    Name::parse(text).expect("the names of this crate are names")
}

fn description(text: &str) -> Description {
    Description::parse(text).expect("the tags of this crate are descriptions")
}
