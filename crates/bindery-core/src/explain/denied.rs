//! Why the answer is no, in one sentence that is understood by itself: it names the rule that somebody didn't think of, where there
//! is one, and not just that nothing was found.

use super::words::{Words, article, levels_from};
use super::{Absence, NoFallback, Outcome, Path, Way};
use crate::decision::{CutGrant, Lack};
use crate::id::RoleId;
use crate::permission::Permission;
use crate::resource::{Level, Resource};
use crate::role::{OrganizationRole, SpaceRole};

/// What is held on the way down to a space or project, as far as it may be told; none of it grants.
struct Met<'a> {
    paths: &'a [Path],
    organization: Resource,
    space: Resource,
    /// The role in the organization.
    in_organization: Option<RoleId>,
    fallback: Outcome,
}

impl Words<'_> {
    pub(super) fn lack(&self, lack: Lack, paths: &[Path]) -> String {
        let permission = self.permission();
        match lack {
            Lack::Principal => self.absence(Absence::Unknown),
            Lack::Resource => {
                let level = self.level();
                format!(
                    "there is no such {level} in this account, or it is not visible to this key"
                )
            }
            Lack::Level { lowest } => format!(
                "{permission} means nothing on {} {}, whatever role contains it: it is asked about {}",
                article(self.question.resource.level()),
                self.level(),
                levels_from(lowest),
            ),
            Lack::Restriction(project, cut) => {
                self.restricted(Resource::Project(project), cut, paths)
            }
            Lack::Grant => self.nothing_grants(paths),
        }
    }

    pub(super) fn absence(&self, absence: Absence) -> String {
        let who = self.who();
        match absence {
            Absence::Unknown => "there is no such subject in this account".to_owned(),
            Absence::Gone => {
                format!("{who} was deleted, and nothing of theirs counts any more, keys included")
            }
            Absence::Invited => {
                format!("{who} has not accepted the invitation yet, and may do nothing before that")
            }
            Absence::InvitationLapsed => {
                format!("{who} did not accept the invitation in time, and has to be invited again")
            }
            Absence::KeyRevoked => format!("{who} was revoked, and may do nothing any more"),
            Absence::KeyEnded => format!("{who} has expired, and may do nothing any more"),
        }
    }

    fn restricted(&self, project: Resource, cut: CutGrant, paths: &[Path]) -> String {
        let who = self.who();
        let cut = match cut {
            CutGrant::SpaceMembership(role) => {
                let role = self.role(role.role());
                format!("{role}, which {who} has by membership of its space,")
            }
            CutGrant::RoleBinding(role) => {
                format!("{}, bound to {who} on its space,", self.role(role))
            }
            CutGrant::PublicSpace(role) => {
                let role = self.role(role.role());
                format!("{role}, which members of its organization have in its public space,")
            }
        };
        let on_it = paths
            .iter()
            .find_map(|path| match (path.way, path.outcome) {
                (Way::ProjectBinding(_), Outcome::Lacks(role)) => Some(role),
                _ => None,
            });
        let on_it = on_it.map_or(String::new(), |role| {
            let (role, permission) = (self.role(role), self.permission());
            format!(", and {role}, which is bound on the project, does not grant {permission}")
        });
        format!(
            "{} is restricted, so that only admins and roles bound on the project itself get in; {cut} does not{on_it}",
            self.place(project)
        )
    }

    fn nothing_grants(&self, paths: &[Path]) -> String {
        let (who, permission) = (self.who(), self.permission());
        let place = self.place(self.question.resource);
        for path in paths {
            match (path.way, path.outcome) {
                // Nothing is said about what the reader may not read.
                (_, Outcome::OutOfSight) => break,
                (Way::AccountRole, Outcome::Lacks(role)) => {
                    return format!(
                        "{who} has {}, which does not grant {permission}; on the account itself, roles held in organizations, \
                         spaces and projects do not count",
                        self.role(role)
                    );
                }
                (Way::OrganizationRole(_), Outcome::Lacks(role)) => {
                    return format!(
                        "{who} has {} in {place}, which does not grant {permission}; on the organization itself, roles held in \
                         its spaces and projects do not count",
                        self.role(role)
                    );
                }
                (Way::OrganizationRole(_), Outcome::NotHeld) => {
                    return format!(
                        "{who} has no role in {place}; on the organization itself, roles held in others, or in its spaces and \
                         projects, do not count"
                    );
                }
                (Way::PublicSpace(space, organization), fallback) => {
                    let is_hidden = |path: &Path| path.outcome == Outcome::OutOfSight;
                    if paths.iter().any(is_hidden) {
                        break;
                    }
                    let met = Met::new(paths, organization.into(), space.into(), fallback);
                    if let Some(told) = self.met(&met) {
                        return told;
                    }
                }
                _ => {}
            }
        }
        format!("nothing that {who} holds grants {permission} on {place}")
    }

    fn met(&self, met: &Met<'_>) -> Option<String> {
        let (who, permission) = (self.who(), self.permission());
        let place = self.place(self.question.resource);
        let space = self.place(met.space);
        let organization = self.place(met.organization);
        let elsewhere = match self.question.resource.level() {
            Level::Space => "; what is held on projects in it does not count on the space itself",
            Level::Account | Level::Organization | Level::Project => "",
        };
        let own = self.own(met, &place);
        // Would members of the organization have it, if the fallback weren't kept from this one?
        let kept = met
            .in_organization
            .zip(met.fallback_role(self.question.permission));
        match (met.fallback, kept) {
            (Outcome::NoFallback(NoFallback::OwnRole), Some((_, fallback))) => Some(format!(
                "{who} has {own}, and that does not grant {permission}; a role of one's own in {space} replaces {}, which members \
                 of {organization} have there otherwise",
                self.role(fallback.role())
            )),
            (Outcome::NoFallback(NoFallback::PrivateSpace), Some((role, _)))
                if !met.is_seated() =>
            {
                let why = format!(
                    "{space} is private, so that {} in {organization} gives nothing in it",
                    self.role(role)
                );
                Some(if own.is_empty() {
                    format!("{why}, and {who} has no role of their own there{elsewhere}")
                } else {
                    format!("{who} has {own}, and that does not grant {permission}; {why}")
                })
            }
            (Outcome::NoFallback(NoFallback::Bot), Some((role, _))) => {
                let why = format!(
                    "service keys have in public spaces only what they were given there themselves, so that {} in {organization} \
                     gives nothing in {space}",
                    self.role(role)
                );
                Some(if own.is_empty() {
                    format!("{why}, and {who} has no role of its own there{elsewhere}")
                } else {
                    format!("{who} has {own}, and that does not grant {permission}; {why}")
                })
            }
            _ if !own.is_empty() => Some(format!(
                "all that {who} has on {place} is {}, and that does not grant {permission}",
                self.own(met, "it")
            )),
            (Outcome::NoFallback(_), None) => match met.in_organization {
                Some(role) => Some(format!(
                    "all that {who} has on the way to {place} is {} in {organization}, and that does not grant {permission} in its \
                     spaces{elsewhere}",
                    self.role(role)
                )),
                None if self.question.resource == met.space => Some(format!(
                    "{who} has no role in {organization} or in {space}, and roles elsewhere do not count there{elsewhere}"
                )),
                None => Some(format!(
                    "{who} has no role in {organization}, in {space} or on {place}, and roles elsewhere do not count there"
                )),
            },
            _ => None,
        }
    }

    /// The roles that count on the resource, which is called `here`, and don't grant.
    fn own(&self, met: &Met<'_>, here: &str) -> String {
        let named = |place: Resource| {
            if place == self.question.resource {
                here.to_owned()
            } else {
                self.place(place)
            }
        };
        let held = met.paths.iter().filter_map(|path| {
            let Outcome::Lacks(role) = path.outcome else {
                return None;
            };
            let role = self.role(role);
            match path.way {
                Way::SpaceMembership(id) => {
                    Some(format!("{role} as a member of {}", named(id.into())))
                }
                Way::SpaceBinding(id) => Some(format!("{role} bound on {}", named(id.into()))),
                Way::ProjectBinding(id) => Some(format!("{role} bound on {}", named(id.into()))),
                Way::PublicSpace(space, organization) => Some(format!(
                    "{role}, which members of {} have in {}, since it is public",
                    self.place(organization.into()),
                    self.place(space.into())
                )),
                Way::AccountAdmin
                | Way::AccountRole
                | Way::OrganizationAdmin(_)
                | Way::OrganizationRole(_)
                | Way::SpaceAdmin(_)
                | Way::SpaceAdminByBinding(_) => None,
            }
        });
        held.collect::<Vec<String>>().join(" and ")
    }
}

impl<'a> Met<'a> {
    fn new(paths: &'a [Path], organization: Resource, space: Resource, fallback: Outcome) -> Self {
        let in_organization = paths
            .iter()
            .find_map(|path| match (path.way, path.outcome) {
                (Way::OrganizationAdmin(_), Outcome::Lacks(role)) => Some(role),
                _ => None,
            });
        Self {
            paths,
            organization,
            space,
            in_organization,
            fallback,
        }
    }

    /// What the role in the organization is in its public spaces, if that has the permission.
    fn fallback_role(&self, permission: Permission) -> Option<SpaceRole> {
        let role = OrganizationRole::from_role(self.in_organization?)?.in_public_spaces();
        role.permissions().contains(permission).then_some(role)
    }

    /// Whether a role is held in the space itself.
    fn is_seated(&self) -> bool {
        self.paths.iter().any(|path| {
            matches!(path.way, Way::SpaceMembership(_) | Way::SpaceBinding(_))
                && matches!(path.outcome, Outcome::Lacks(_))
        })
    }
}
