//! Explanations in sentences. Made only when somebody reads them.

use super::{
    Explanation, NoFallback, NoGrant, Outcome, Path, Sufficient, SufficientChange, SufficientGrant,
    Verdict, Way,
};
use crate::command::Context;
use crate::decision::{Decision, Grant, Question};
use crate::id::RoleId;
use crate::permission::Permission;
use crate::resource::{Level, Resource};
use crate::role::{PredefinedRole, SpaceRole};
use crate::state::State;
use crate::user::Identity;

/// Says one explanation.
#[derive(Clone, Copy, Debug)]
pub struct Words<'a> {
    pub(super) state: &'a State,
    pub(super) question: Question,
    /// Who reads it; nobody for whoever may see everything.
    reader: Option<&'a Context>,
}

impl<'a> Words<'a> {
    /// For whoever may see everything.
    pub fn new(state: &'a State, question: Question) -> Self {
        Self {
            state,
            question,
            reader: None,
        }
    }

    /// For this caller: names of what they can't see are left out.
    pub fn for_caller(state: &'a State, question: Question, context: &'a Context) -> Self {
        Self {
            state,
            question,
            reader: (!state.asks_about_everything(context)).then_some(context),
        }
    }

    /// Whether the reader may know which place that is.
    pub fn shows(&self, place: Resource) -> bool {
        self.reader
            .is_none_or(|reader| self.state.sees(reader, place))
    }

    /// Why the answer is as it is.
    pub fn verdict(&self, explanation: &Explanation) -> String {
        let decision = match explanation.verdict {
            Verdict::Decided(decision) => decision,
            Verdict::Absent(absence) => return self.absence(absence),
            Verdict::AllowedOutOfSight => {
                return format!(
                    "{} holds it by something above the {} that is not for this key to read",
                    self.who(),
                    self.level(),
                );
            }
        };
        match decision {
            Decision::Allowed(grant) => {
                let is_grant = |path: &&Path| path.outcome == Outcome::Allows(grant);
                let path = explanation.paths.iter().find(is_grant);
                path.map(|path| self.path(path)).unwrap_or_default()
            }
            Decision::Denied(lack) => self.lack(lack, &explanation.paths),
        }
    }

    /// One way, and what became of it.
    pub fn path(&self, path: &Path) -> String {
        let place = path.way.place();
        if path.outcome == Outcome::OutOfSight {
            return format!(
                "what is held on {} is not for this key to read",
                self.place(place)
            );
        }
        match path.way {
            Way::AccountAdmin => self.account_admin(path.outcome),
            Way::AccountRole | Way::OrganizationRole(_) => self.own_role(path),
            Way::OrganizationAdmin(_) | Way::SpaceAdmin(_) | Way::SpaceAdminByBinding(_) => {
                self.admin(path)
            }
            Way::SpaceMembership(_) | Way::SpaceBinding(_) => self.inherited(path),
            Way::PublicSpace(space, _) => self.public_space(space.into(), path.outcome),
            Way::ProjectBinding(_) => self.project_binding(path),
        }
    }

    fn account_admin(&self, outcome: Outcome) -> String {
        let who = self.who();
        match outcome {
            Outcome::Lacks(role) => {
                format!("{who} is no account admin, but has {}", self.role(role))
            }
            Outcome::Allows(_)
            | Outcome::Cut(..)
            | Outcome::NotHeld
            | Outcome::NoFallback(_)
            | Outcome::OutOfSight => {
                format!(
                    "{who} is account admin, who may do everything in the account, restricted projects included"
                )
            }
        }
    }

    /// The role on the account or the organization that was asked about.
    fn own_role(&self, path: &Path) -> String {
        let (who, place) = (self.who(), self.place(path.way.place()));
        let permission = self.permission();
        match (path.outcome, path.way) {
            (Outcome::Allows(Grant::AccountRole(role)), _) => {
                format!(
                    "{who} has {}, which grants {permission}",
                    self.role(role.role())
                )
            }
            (Outcome::Allows(Grant::OrganizationRole(_, role)), _) => format!(
                "{who} has {} in {place}, which grants {permission} there",
                self.role(role.role())
            ),
            (Outcome::Lacks(role), Way::AccountRole) => {
                format!("{} does not grant {permission}", self.role(role))
            }
            (Outcome::Lacks(role), _) => {
                format!(
                    "{}, held in {place}, does not grant {permission}",
                    self.role(role)
                )
            }
            _ => format!("{who} has no role in {place}"),
        }
    }

    fn admin(&self, path: &Path) -> String {
        let (who, place) = (self.who(), self.place(path.way.place()));
        let is_binding = matches!(path.way, Way::SpaceAdminByBinding(_));
        match (path.outcome, path.way) {
            (Outcome::Allows(_), Way::OrganizationAdmin(_)) => {
                format!(
                    "{who} is admin of {place}, who may do everything in it, private spaces and restricted projects included"
                )
            }
            (Outcome::Allows(_), _) if is_binding => format!(
                "{who} has {} bound on {place}, which makes them its admin, who may do everything in it, restricted projects \
                 included",
                self.role(SpaceRole::Admin.role())
            ),
            (Outcome::Allows(_), _) => format!(
                "{who} is admin of {place}, who may do everything in it, restricted projects included"
            ),
            (Outcome::Lacks(role), _) if is_binding => format!(
                "{who} has {} bound on {place}, which makes no one its admin",
                self.role(role)
            ),
            (Outcome::Lacks(role), _) => {
                format!(
                    "{who} is no admin of {place}, but has {} there",
                    self.role(role)
                )
            }
            (_, Way::OrganizationAdmin(_)) => format!("{who} has no role in {place}"),
            _ if is_binding => format!(
                "{who} has no binding of {} on {place}",
                self.role(SpaceRole::Admin.role())
            ),
            _ => format!("{who} is no admin of {place}"),
        }
    }

    /// A membership of the space, or a role bound on it.
    fn inherited(&self, path: &Path) -> String {
        let (who, place) = (self.who(), self.place(path.way.place()));
        let permission = self.permission();
        let is_binding = matches!(path.way, Way::SpaceBinding(_));
        let held = |role: RoleId| {
            let role = self.role(role);
            if is_binding {
                format!("{role}, bound to {who} on {place},")
            } else {
                format!("{role}, by {who}'s membership of {place},")
            }
        };
        match path.outcome {
            Outcome::Allows(grant) => {
                let role = grant.role();
                format!(
                    "{} grants {permission} in it{}",
                    held(role),
                    self.survives()
                )
            }
            Outcome::Cut(project, cut) => format!(
                "{} grants {permission} in it, and stops at {}, which is restricted",
                held(cut.role()),
                self.place(Resource::Project(project))
            ),
            Outcome::Lacks(role) => format!("{} does not grant {permission}", held(role)),
            Outcome::NotHeld | Outcome::NoFallback(_) | Outcome::OutOfSight if is_binding => {
                format!("no role is bound to {who} on {place}")
            }
            Outcome::NotHeld | Outcome::NoFallback(_) | Outcome::OutOfSight => {
                format!("{who} has no membership of {place}")
            }
        }
    }

    fn public_space(&self, space: Resource, outcome: Outcome) -> String {
        let (who, place) = (self.who(), self.place(space));
        let permission = self.permission();
        let counts = |role: RoleId| {
            format!(
                "{place} is public, and {who}'s role in its organization counts there as {}",
                self.role(role)
            )
        };
        match outcome {
            Outcome::Allows(grant) => {
                format!(
                    "{}, which grants {permission}{}",
                    counts(grant.role()),
                    self.survives()
                )
            }
            Outcome::Cut(project, cut) => format!(
                "{}, which grants {permission}, and stops at {}, which is restricted",
                counts(cut.role()),
                self.place(Resource::Project(project))
            ),
            Outcome::Lacks(role) => {
                format!("{}, which does not grant {permission}", counts(role))
            }
            Outcome::NoFallback(NoFallback::PrivateSpace) => {
                format!("{place} is private, so roles in its organization give nothing there")
            }
            Outcome::NoFallback(NoFallback::Bot) => format!(
                "{who} acts as a bot, and bots have nothing in public spaces that they were not given"
            ),
            Outcome::NoFallback(NoFallback::OwnRole) => format!(
                "{who} has a role of their own in {place}, which replaces what members of its organization have there"
            ),
            Outcome::NoFallback(NoFallback::NoMember) => {
                format!("{place} is public to members of its organization, and {who} is none")
            }
            Outcome::NotHeld | Outcome::OutOfSight => {
                format!("{who} has nothing there by a role in its organization")
            }
        }
    }

    fn project_binding(&self, path: &Path) -> String {
        let (who, place) = (self.who(), self.place(path.way.place()));
        let permission = self.permission();
        match path.outcome {
            Outcome::Allows(grant) => format!(
                "{}, bound to {who} on {place}, grants {permission}",
                self.role(grant.role())
            ),
            Outcome::Lacks(role) => format!(
                "{}, bound to {who} on {place}, does not grant {permission}",
                self.role(role)
            ),
            Outcome::Cut(..) | Outcome::NotHeld | Outcome::NoFallback(_) | Outcome::OutOfSight => {
                format!("no role is bound to {who} on {place}")
            }
        }
    }

    /// One grant that would be enough.
    pub fn sufficient(&self, grant: &SufficientGrant) -> String {
        let who = self.who();
        let granting = match grant.change {
            SufficientChange::Bind { on, role } => {
                let place = self.place(on.into());
                format!("bind {} to {who} on {place}", self.role(role))
            }
            SufficientChange::Rebind { on, from, to, .. } => format!(
                "give {who} {} instead of {} in the binding on {}",
                self.role(to),
                self.role(from),
                self.place(on.into())
            ),
            SufficientChange::Join { organization, role } => format!(
                "give {who} {} in {}",
                self.role(role.role()),
                self.place(organization.into())
            ),
        };
        let permission = self.permission();
        match grant.gained {
            0 | 1 => format!("{granting}: that brings {permission} and nothing else"),
            2 => format!("{granting}: that brings {permission} and one permission more"),
            gained => format!(
                "{granting}: that brings {permission} and {} permissions more",
                gained.saturating_sub(1)
            ),
        }
    }

    /// Why no grant would be enough.
    pub fn no_grant(&self, reason: NoGrant) -> String {
        let who = self.who();
        match reason {
            NoGrant::Principal => format!("no grant helps while {who} can't act"),
            NoGrant::Resource => format!("no grant helps where there is no such {}", self.level()),
            NoGrant::Level { lowest } => {
                format!("no grant helps here; ask about {}", levels_from(lowest))
            }
            NoGrant::AccountRole => "no grant helps: on the account only the role in the account counts, which a user gets \
                                     when they are created"
                .to_owned(),
            NoGrant::BotInOrganization => "no grant helps: a service key's roles in organizations are given when it is made"
                .to_owned(),
            NoGrant::Annotator => "no grant helps: an annotator of the account can only be annotator of an organization"
                .to_owned(),
        }
    }

    /// All of it, a line each.
    pub fn whole(&self, explanation: &Explanation) -> String {
        let word = if explanation.is_allowed() {
            "yes"
        } else {
            "no"
        };
        let mut lines = vec![format!("{word}: {}", self.verdict(explanation))];
        for path in &explanation.paths {
            let mark = match path.outcome {
                Outcome::Allows(_) => "allows",
                Outcome::Cut(..) => "cut",
                Outcome::Lacks(_) => "lacks it",
                Outcome::NotHeld | Outcome::NoFallback(_) => "nothing",
                Outcome::OutOfSight => "hidden",
            };
            lines.push(format!("  {mark:8}  {}", self.path(path)));
        }
        match &explanation.sufficient {
            Sufficient::Nothing => {}
            Sufficient::Any(grants) => lines.extend(
                grants
                    .iter()
                    .map(|grant| format!("  enough    {}", self.sufficient(grant))),
            ),
            Sufficient::None(reason) => {
                lines.push(format!("  enough    {}", self.no_grant(*reason)));
            }
            Sufficient::OutOfSight => {
                lines.push("  enough    roles are not for this key to read".to_owned());
            }
        }
        lines.join("\n")
    }

    /// What is said beside a grant on the space that the restriction of a project leaves.
    fn survives(&self) -> &'static str {
        let is_restricted = match self.question.resource {
            Resource::Project(id) => self.state.restriction(id).is_some(),
            Resource::Account | Resource::Organization(_) | Resource::Space(_) => false,
        };
        if is_restricted && self.question.permission == Permission::ProjectRestrict {
            ", the one right that a restriction leaves to roles held on the space"
        } else {
            ""
        }
    }

    pub(super) fn permission(&self) -> &'static str {
        self.question.permission.name()
    }

    pub(super) fn level(&self) -> &'static str {
        self.question.resource.level().noun()
    }

    pub(super) fn who(&self) -> String {
        let user = self.state.user(self.question.principal);
        match user.map(|user| (&user.identity, &user.name)) {
            None => "the subject".to_owned(),
            Some((Identity::Human { email }, _)) => email.to_string(),
            Some((Identity::Bot { .. }, name)) => format!("the service key `{name}`"),
        }
    }

    /// The name of a role. Roles that somebody holds are named to them; others are told only to whoever reads roles.
    pub(super) fn role(&self, id: RoleId) -> String {
        let predefined = PredefinedRole::by_id(id).map(|role| role.name);
        let custom = self.state.roles.get(&id).map(|role| role.name.as_str());
        match predefined.or(custom) {
            Some(name) => format!("the role `{name}`"),
            None => "a role that was deleted".to_owned(),
        }
    }

    pub(super) fn place(&self, place: Resource) -> String {
        let level = place.level().noun();
        let name = match place {
            Resource::Account => None,
            Resource::Organization(id) => self.state.organization(id).map(|one| one.name.as_str()),
            Resource::Space(id) => self.state.space(id).map(|one| one.name.as_str()),
            Resource::Project(id) => self.state.project(id).map(|one| one.name.as_str()),
        };
        // What the question names, whoever asked it knows.
        let is_known = place == self.question.resource;
        match name.filter(|_| is_known || self.shows(place)) {
            Some(name) => format!("the {level} `{name}`"),
            None => format!("the {level}"),
        }
    }
}

pub(super) const fn article(level: Level) -> &'static str {
    match level {
        Level::Account | Level::Organization => "an",
        Level::Space | Level::Project => "a",
    }
}

pub(super) const fn levels_from(lowest: Level) -> &'static str {
    match lowest {
        Level::Account => "the account",
        Level::Organization => "an organization or the account",
        Level::Space => "a space or what is above it",
        Level::Project => "a project or what is above it",
    }
}
