//! Explanations on the wire: the result of each way, as ids for programs and a sentence for people.

use bindery_core::command::Context;
use bindery_core::decision::{Decision, Lack, Question};
use bindery_core::explain::{
    Absence, Explanation, NoFallback, Outcome, Path, Sufficient, SufficientChange, SufficientGrant,
    Verdict, Way, Words,
};
use bindery_core::id::{
    OrganizationMembershipId, ProjectId, RoleBindingId, RoleId, SpaceMembershipId, UserId,
};
use bindery_core::resource::{Bindable, Level, Resource};
use bindery_core::role::{AnyRole, PredefinedRole};
use bindery_core::state::State;
use schemars::JsonSchema;
use serde::Serialize;

use super::schema::{FreeText, IdText, choice_text};

/// The ways, by name.
const PATHS: [(&str, ()); 10] = [
    ("account_admin", ()),
    ("account_role", ()),
    ("organization_admin", ()),
    ("organization_role", ()),
    ("space_admin", ()),
    ("space_admin_binding", ()),
    ("space_membership", ()),
    ("space_binding", ()),
    ("public_space", ()),
    ("project_binding", ()),
];

/// Reasons of a deny, and of an allow that may not be shown, by name.
const LACKS: [(&str, ()); 11] = [
    ("unknown_action", ()),
    ("unknown_resource", ()),
    ("unknown_subject", ()),
    ("subject_deleted", ()),
    ("subject_invited", ()),
    ("key_revoked", ()),
    ("key_ended", ()),
    ("wrong_level", ()),
    ("restricted", ()),
    ("nothing_held", ()),
    ("hidden", ()),
];

const OUTCOMES: [(&str, ()); 6] = [
    ("allowed", ()),
    ("cut", ()),
    ("lacking", ()),
    ("not_held", ()),
    ("no_fallback", ()),
    ("hidden", ()),
];

/// Operations that grant.
const CHANGES: [(&str, ()); 3] = [
    ("create_role_binding", ()),
    ("update_role_binding", ()),
    ("add_organization_user", ()),
];

choice_text! { PathText of PATHS }
choice_text! { OutcomeText of OUTCOMES }
choice_text! { ChangeText of CHANGES }

/// The reason, and what would be enough.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Reasons {
    reason: Reason,
    /// Each is enough alone; none gives less on the resource without taking something away.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    smallest_grants: Vec<GrantTold>,
    /// Why no grant would be enough.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "FreeText")]
    no_grant: Option<String>,
}

/// A decision and everything that was looked at.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Explained {
    decision: bool,
    /// Every way in order of precedence; the first that allows it is the reason. None if something else
    /// decides it.
    paths: Vec<PathTold>,
    #[serde(flatten)]
    reasons: Reasons,
}

/// Why the decision is as it is.
#[derive(Debug, Serialize, JsonSchema)]
struct Reason {
    #[schemars(with = "ReasonText")]
    code: &'static str,
    #[schemars(with = "FreeText")]
    text: String,
    #[serde(flatten)]
    held: Holding,
}

/// One way, and its result.
#[derive(Debug, Serialize, JsonSchema)]
struct PathTold {
    #[schemars(with = "PathText")]
    path: &'static str,
    #[schemars(with = "OutcomeText")]
    outcome: &'static str,
    #[schemars(with = "FreeText")]
    text: String,
    #[serde(flatten)]
    held: Holding,
}

/// What is held, where, and what cuts it.
#[derive(Debug, Default, Serialize, JsonSchema)]
struct Holding {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Place")]
    held_on: Option<Place>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "FreeText")]
    role_name: Option<String>,
    /// Of roles that can be read and bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "IdText<RoleId>")]
    role_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "IdText<RoleBindingId>")]
    role_binding_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "IdText<SpaceMembershipId>")]
    space_membership_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "IdText<OrganizationMembershipId>")]
    organization_membership_id: Option<String>,
    /// The project whose restriction cuts it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "IdText<ProjectId>")]
    restricted_project_id: Option<String>,
}

/// A resource, in AuthZEN's terms.
#[derive(Debug, Serialize, JsonSchema)]
struct Place {
    #[schemars(with = "FreeText")]
    r#type: &'static str,
    #[schemars(with = "FreeText")]
    id: String,
}

/// A grant that would be enough: an operation of this API, and its arguments.
#[derive(Debug, Serialize, JsonSchema)]
struct GrantTold {
    #[schemars(with = "ChangeText")]
    operation: &'static str,
    #[schemars(with = "IdText<UserId>")]
    user_id: String,
    on: Place,
    /// The binding to change.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "IdText<RoleBindingId>")]
    role_binding_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "IdText<RoleId>")]
    role_id: Option<String>,
    #[schemars(with = "FreeText")]
    role_name: String,
    /// How many permissions it adds on that resource, including this one.
    permissions_gained: u32,
    #[schemars(with = "FreeText")]
    text: String,
}

/// What a reason can be: a way that allows it, or what was missing.
#[derive(Debug)]
enum ReasonText {}

impl JsonSchema for ReasonText {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ReasonText".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        super::schema::choices(&[&PATHS[..], &LACKS[..]].concat())
    }
}

impl Reasons {
    /// For an unknown action.
    pub(crate) fn unknown_action() -> Self {
        Self {
            reason: Reason {
                code: "unknown_action",
                text: "there is no such action; actions are permissions, like PROJECT_READ"
                    .to_owned(),
                held: Holding::default(),
            },
            smallest_grants: Vec::new(),
            no_grant: None,
        }
    }

    pub(crate) fn new(explanation: &Explanation, teller: &Teller<'_>) -> Self {
        let (smallest_grants, no_grant) = match &explanation.sufficient {
            Sufficient::Nothing => (Vec::new(), None),
            Sufficient::Any(grants) => (
                grants.iter().map(|grant| teller.grant(grant)).collect(),
                None,
            ),
            Sufficient::None(reason) => (Vec::new(), Some(teller.words.no_grant(*reason))),
            Sufficient::OutOfSight => {
                let why = "smallest grants are shown only to callers who may read roles";
                (Vec::new(), Some(why.to_owned()))
            }
        };
        Self {
            reason: teller.reason(explanation),
            smallest_grants,
            no_grant,
        }
    }
}

impl Explained {
    pub(crate) fn new(explanation: &Explanation, teller: &Teller<'_>) -> Self {
        Self {
            decision: explanation.is_allowed(),
            paths: explanation
                .paths
                .iter()
                .map(|path| teller.path(path))
                .collect(),
            reasons: Reasons::new(explanation, teller),
        }
    }

    /// For an unknown action.
    pub(crate) fn unknown_action() -> Self {
        Self {
            decision: false,
            paths: Vec::new(),
            reasons: Reasons::unknown_action(),
        }
    }
}

/// Renders one question for one caller.
#[derive(Debug)]
pub(crate) struct Teller<'a> {
    state: &'a State,
    question: Question,
    words: Words<'a>,
}

impl<'a> Teller<'a> {
    pub(crate) fn new(state: &'a State, question: Question, context: &'a Context) -> Self {
        Self {
            state,
            question,
            words: Words::for_caller(state, question, context),
        }
    }

    fn reason(&self, explanation: &Explanation) -> Reason {
        let is_reason = |path: &&Path| match explanation.verdict {
            Verdict::Decided(Decision::Allowed(grant)) => path.outcome == Outcome::Allows(grant),
            Verdict::Decided(Decision::Denied(Lack::Restriction(project, cut))) => {
                path.outcome == Outcome::Cut(project, cut)
            }
            _ => false,
        };
        let path = explanation.paths.iter().find(is_reason);
        let code = match explanation.verdict {
            Verdict::Decided(Decision::Allowed(_)) => {
                path.map_or("hidden", |path| name_of(path.way))
            }
            Verdict::Decided(Decision::Denied(lack)) => match lack {
                Lack::Principal => "unknown_subject",
                Lack::Resource => "unknown_resource",
                Lack::Level { .. } => "wrong_level",
                Lack::Restriction(..) => "restricted",
                Lack::Grant => "nothing_held",
            },
            Verdict::Absent(absence) => match absence {
                Absence::Unknown => "unknown_subject",
                Absence::Gone => "subject_deleted",
                Absence::Invited | Absence::InvitationLapsed => "subject_invited",
                Absence::KeyRevoked => "key_revoked",
                Absence::KeyEnded => "key_ended",
            },
            Verdict::AllowedOutOfSight => "hidden",
        };
        Reason {
            code,
            text: self.words.verdict(explanation),
            held: path.map(|path| self.held(path)).unwrap_or_default(),
        }
    }

    fn path(&self, path: &Path) -> PathTold {
        PathTold {
            path: name_of(path.way),
            outcome: match path.outcome {
                Outcome::Allows(_) => "allowed",
                Outcome::Cut(..) => "cut",
                Outcome::Lacks(_) => "lacking",
                Outcome::NotHeld => "not_held",
                Outcome::NoFallback(
                    NoFallback::PrivateSpace
                    | NoFallback::Bot
                    | NoFallback::OwnRole
                    | NoFallback::NoMember,
                ) => "no_fallback",
                Outcome::OutOfSight => "hidden",
            },
            text: self.words.path(path),
            held: self.held(path),
        }
    }

    fn held(&self, path: &Path) -> Holding {
        let place = path.way.place();
        let (role, cut_by) = match path.outcome {
            Outcome::Allows(grant) => (grant.role(), None),
            Outcome::Cut(project, cut) => (cut.role(), Some(project)),
            Outcome::Lacks(role) => (role, None),
            Outcome::NotHeld | Outcome::NoFallback(_) | Outcome::OutOfSight => {
                return Holding {
                    held_on: self.shown(place),
                    ..Holding::default()
                };
            }
        };
        let (ids, user) = (self.state.ids(), self.question.principal);
        let mut held = Holding {
            held_on: self.shown(place),
            role_name: Some(self.role_name(role)),
            role_id: self.role_id(role),
            restricted_project_id: cut_by.map(|project| ids.encode(project)),
            ..Holding::default()
        };
        let binding = |on| self.state.role_binding_on(on, user);
        match path.way {
            Way::AccountAdmin | Way::AccountRole => {}
            Way::OrganizationAdmin(id) | Way::OrganizationRole(id) | Way::PublicSpace(_, id) => {
                let membership = self.state.organization_membership(id, user);
                held.organization_membership_id = membership.map(|one| ids.encode(one.id));
            }
            Way::SpaceAdmin(id) | Way::SpaceMembership(id) => {
                let membership = self.state.space_membership(id, user);
                held.space_membership_id = membership.map(|one| ids.encode(one.id));
            }
            Way::SpaceAdminByBinding(id) | Way::SpaceBinding(id) => {
                held.role_binding_id = binding(Bindable::Space(id)).map(|one| ids.encode(one.id));
            }
            Way::ProjectBinding(id) => {
                held.role_binding_id = binding(Bindable::Project(id)).map(|one| ids.encode(one.id));
            }
        }
        held
    }

    fn grant(&self, grant: &SufficientGrant) -> GrantTold {
        let ids = self.state.ids();
        let (operation, on, role, binding) = match grant.change {
            SufficientChange::Bind { on, role } => ("create_role_binding", on.into(), role, None),
            SufficientChange::Rebind {
                binding, on, to, ..
            } => ("update_role_binding", on.into(), to, Some(binding)),
            SufficientChange::Join { organization, role } => (
                "add_organization_user",
                organization.into(),
                role.role(),
                None,
            ),
        };
        GrantTold {
            operation,
            user_id: ids.encode(self.question.principal),
            on: self.place(on),
            role_binding_id: binding.map(|binding| ids.encode(binding)),
            role_id: self.role_id(role),
            role_name: self.role_name(role),
            permissions_gained: grant.gained,
            text: self.words.sufficient(grant),
        }
    }

    fn role_name(&self, role: RoleId) -> String {
        let predefined = PredefinedRole::by_id(role).map(|role| role.name);
        let custom = self.state.role(role);
        let name = predefined.or_else(|| custom.map(AnyRole::name));
        name.unwrap_or_default().to_owned()
    }

    fn role_id(&self, role: RoleId) -> Option<String> {
        let role = self.state.role(role)?;
        Some(self.state.ids().encode(role.id()))
    }

    /// The place, unless the caller may not know it.
    fn shown(&self, place: Resource) -> Option<Place> {
        let is_known = place == self.question.resource || self.words.shows(place);
        is_known.then(|| self.place(place))
    }

    fn place(&self, place: Resource) -> Place {
        let ids = self.state.ids();
        let (level, id) = match place {
            Resource::Account => (Level::Account, "account".to_owned()),
            Resource::Organization(id) => (Level::Organization, ids.encode(id)),
            Resource::Space(id) => (Level::Space, ids.encode(id)),
            Resource::Project(id) => (Level::Project, ids.encode(id)),
        };
        Place {
            r#type: level.noun(),
            id,
        }
    }
}

const fn name_of(way: Way) -> &'static str {
    match way {
        Way::AccountAdmin => "account_admin",
        Way::AccountRole => "account_role",
        Way::OrganizationAdmin(_) => "organization_admin",
        Way::OrganizationRole(_) => "organization_role",
        Way::SpaceAdmin(_) => "space_admin",
        Way::SpaceAdminByBinding(_) => "space_admin_binding",
        Way::SpaceMembership(_) => "space_membership",
        Way::SpaceBinding(_) => "space_binding",
        Way::PublicSpace(..) => "public_space",
        Way::ProjectBinding(_) => "project_binding",
    }
}
