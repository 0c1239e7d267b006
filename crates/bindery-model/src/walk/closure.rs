//! What others gave the attacker, with everything that follows from it.
//!
//! The closure has permissions on places. It only grows within an episode, since the attacker may have passed
//! on what it had. After each call of an administrator, and never after one of the attacker, it adds:
//!
//! - what the attacker's own users have on each place: mallory, people whose e-mail the attacker reads (as if
//!   they had signed in), bots that it made, and service keys that it stole. A gift to one of them is a gift
//!   to the attacker.
//!
//! People that the attacker can act as only because it knows a proof, such as a temporary password, add
//! nothing: everything that they hold must be in the closure already.
//!
//! From that follows, by documented rules:
//!
//! - `ROLE_BINDING_CREATE` on a space or project: everything there and below, since it assigns any role;
//! - everything on a place: everything below it;
//! - on a project what is given on its space, unless it is restricted and `PROJECT_RESTRICT` is not given;
//! - a space that the attacker made: everything in it;
//! - `SPACE_UPDATE` on a space: the default rights that the own users' organization roles give in public
//!   spaces.

use std::collections::BTreeMap;

use bindery_core::change::Change;
use bindery_core::permission::{Permission, PermissionSet};
use bindery_core::resource::{Level, Resource};

use super::{Walk, as_active, rights};

/// Permissions on places.
#[derive(Default)]
pub(super) struct Closure(BTreeMap<Resource, PermissionSet>);

impl Closure {
    pub(super) fn on(&self, place: Resource) -> PermissionSet {
        self.0.get(&place).copied().unwrap_or_default()
    }

    fn add(&mut self, place: Resource, permissions: PermissionSet) {
        let all = self.on(place).union(permissions);
        self.0.insert(place, all);
    }

    fn add_all(&mut self, place: Resource) {
        self.add(place, PermissionSet::at_or_below(place.level()));
    }

    fn has_all(&self, place: Resource) -> bool {
        let all = PermissionSet::at_or_below(place.level());
        let asked: PermissionSet = super::ASKED.into_iter().collect();
        asked
            .intersection(all)
            .difference(self.on(place))
            .is_empty()
    }
}

impl Walk {
    /// Adds what the attacker's own users hold.
    pub(super) fn absorb(&mut self) {
        let own: Vec<_> = self.attacker.own.iter().copied().collect();
        for user in own {
            let state = as_active(&self.state, user);
            for on in self.things.resources(&state) {
                let held = rights(&state, user, on, self.now);
                self.closure.add(on, held);
            }
        }
        self.expand(&[]);
    }

    /// Adds what follows, after changes that the attacker made.
    pub(super) fn expand(&mut self, by_attacker: &[Change]) {
        for change in by_attacker {
            if let Change::PutSpace(space) = change
                && !self.attacker.seen_spaces.contains(&space.id)
            {
                self.closure.add_all(space.id.into());
            }
        }
        self.attacker.seen_spaces.extend(&self.things.spaces);
        let state = self.state.clone();
        // From top to bottom, so that one pass is enough.
        for on in self.things.resources(&state) {
            match on {
                Resource::Account | Resource::Organization(_) => {}
                Resource::Space(id) => {
                    let Some(space) = state.space(id) else {
                        continue;
                    };
                    if self.closure.has_all(space.organization.into()) {
                        self.closure.add_all(on);
                    }
                    if self.closure.on(on).contains(Permission::SpaceUpdate) {
                        for user in &self.attacker.own {
                            let seat = state.organization_membership(space.organization, *user);
                            if let Some(seat) = seat {
                                let role = seat.role.in_public_spaces();
                                self.closure.add(
                                    on,
                                    role.permissions()
                                        .intersection(PermissionSet::at_or_below(Level::Space)),
                                );
                            }
                        }
                    }
                }
                Resource::Project(id) => {
                    let Some(space) = state.project(id).map(|project| project.space) else {
                        continue;
                    };
                    let on_space = self.closure.on(space.into());
                    let given = self.closure.on(on).union(on_space);
                    if state.restriction(id).is_none()
                        || given.contains(Permission::ProjectRestrict)
                    {
                        self.closure.add(
                            on,
                            on_space.intersection(PermissionSet::at_or_below(Level::Project)),
                        );
                    }
                    if self.closure.has_all(space.into()) {
                        self.closure.add_all(on);
                    }
                }
            }
            if matches!(on, Resource::Space(_) | Resource::Project(_))
                && self.closure.on(on).contains(Permission::RoleBindingCreate)
            {
                self.closure.add_all(on);
            }
        }
    }
}
