//! The comparison can fail: with a mistake planted between the state and the decision, or between a command
//! and its changes, it finds a short history that shows the mistake.

#![expect(
    clippy::print_stdout,
    reason = "the history that was found is worth reading"
)]

use std::collections::BTreeMap;

use bindery_core::change::Change;
use bindery_core::command::AnyCommand;
use bindery_core::decision::{Facts, Place, Principal, decide};
use bindery_core::id::{OrganizationId, RoleId, SpaceId, UserId};
use bindery_core::permission::{Permission, PermissionSet};
use bindery_core::resource::{Bindable, Resource};
use bindery_core::role::{OrganizationRole, SpaceRole};
use bindery_core::state::State;
use bindery_core::time::Timestamp;
use bindery_model::history::History;
use proptest::prelude::prop_assert;
use proptest::test_runner::TestCaseResult;

use crate::play::{Play, fold};
use crate::questions::every_question;
use crate::runner::{Counterexample, break_it, seed};

const CASES: u32 = 2000;
const LENGTH_MAX: usize = 8;
/// Shrinking stops where no single step can be removed, which need not be the shortest: the best of a few
/// counts.
const ATTEMPTS: u64 = 6;

/// Enough to find the mistakes below.
const ASKED: [Permission; 4] = [
    Permission::ProjectRead,
    Permission::SpaceRead,
    Permission::ProjectCreate,
    Permission::DatasetRead,
];

#[derive(Clone, Copy, Debug)]
enum Mistake {
    IgnoresRestrictions,
    GivesBotsTheFallback,
    AddsTheFallbackToABinding,
}

#[test]
fn a_planted_ignored_restriction_is_caught() {
    assert_caught(|history| check_decisions(history, Mistake::IgnoresRestrictions));
}

#[test]
fn a_planted_fallback_for_bots_is_caught() {
    assert_caught(|history| check_decisions(history, Mistake::GivesBotsTheFallback));
}

#[test]
fn a_planted_fallback_beside_an_explicit_role_is_caught() {
    assert_caught(|history| check_decisions(history, Mistake::AddsTheFallbackToABinding));
}

#[test]
fn a_planted_forgotten_cascade_is_caught() {
    assert_caught(|history| {
        let mut records = BTreeMap::new();
        Play::new(history).run(history, |play, turn| {
            let changes = turn.engine.iter().flatten();
            for change in changes.filter(|change| !is_forgotten(turn.command, change)) {
                fold(&mut records, change);
            }
            prop_assert!(
                records
                    .values()
                    .filter(|one| !matches!(one, Change::PutAccount(_)))
                    .eq(&play.model.records()),
                "the records differ after\n{}",
                play.transcript
            );
            Ok(())
        })
    });
}

/// Leaving an organization leaves the bindings in its spaces and projects.
fn is_forgotten(command: &AnyCommand, change: &Change) -> bool {
    matches!(command, AnyCommand::RemoveOrganizationUser(_))
        && matches!(change, Change::DeleteRoleBinding(_))
}

/// A history must break the property, and the shortest must be short.
pub(crate) fn assert_caught(property: impl Fn(&History) -> TestCaseResult) {
    let seed = seed();
    let shortest = (0..ATTEMPTS)
        .map(|attempt| {
            let found = break_it(seed.wrapping_add(attempt), CASES, 1..60, &property);
            found.expect("a mistake that nothing shows")
        })
        .min_by_key(|found| found.history.length());
    let Counterexample { history, reason } = shortest.expect("one of a few");
    let length = history.length();
    println!("caught by {length} commands: {reason}");
    assert!(
        length <= LENGTH_MAX,
        "BINDERY_SEED={seed}: {length} commands: {reason}"
    );
}

fn check_decisions(history: &History, mistake: Mistake) -> TestCaseResult {
    let play = Play::of(history);
    let facts = Mistaken {
        state: &play.state,
        moment: play.now,
        mistake,
    };
    for question in every_question(&play.model, &ASKED) {
        let by_mistake = decide(&facts, &question).is_allowed();
        let by_model = play.model.may(&question, play.now);
        prop_assert!(
            by_mistake == by_model,
            "{question:?} is answered {by_mistake}, after\n{}",
            play.transcript
        );
    }
    Ok(())
}

/// The facts of a state, one of them wrong.
struct Mistaken<'a> {
    state: &'a State,
    moment: Timestamp,
    mistake: Mistake,
}

impl Facts for Mistaken<'_> {
    fn moment(&self) -> Timestamp {
        self.moment
    }

    fn principal(&self, user: UserId) -> Option<Principal> {
        let principal = self.state.principal(user)?;
        let is_human = match self.mistake {
            Mistake::GivesBotsTheFallback => true,
            Mistake::IgnoresRestrictions | Mistake::AddsTheFallbackToABinding => principal.is_human,
        };
        Some(Principal {
            is_human,
            ..principal
        })
    }

    fn place(&self, resource: Resource) -> Option<Place> {
        match (self.mistake, self.state.place(resource)?) {
            (Mistake::IgnoresRestrictions, Place::Project(project, space, _)) => {
                Some(Place::Project(project, space, false))
            }
            (_, place) => Some(place),
        }
    }

    fn organization_role(&self, user: UserId, on: OrganizationId) -> Option<OrganizationRole> {
        self.state.organization_role(user, on)
    }

    /// Adding the default role is like a membership that no one gave.
    fn space_role(&self, user: UserId, on: SpaceId) -> Option<SpaceRole> {
        let membership = self.state.space_role(user, on);
        let Mistake::AddsTheFallbackToABinding = self.mistake else {
            return membership;
        };
        let Some(Place::Space(place)) = self.state.place(on.into()) else {
            return membership;
        };
        let role = self.state.organization_role(user, place.organization);
        let is_human = self.state.principal(user).is_some_and(|one| one.is_human);
        membership.or(role
            .filter(|_| place.is_public && is_human)
            .map(OrganizationRole::in_public_spaces))
    }

    fn bound_role(&self, user: UserId, on: Bindable) -> Option<RoleId> {
        self.state.bound_role(user, on)
    }

    fn permissions(&self, role: RoleId) -> PermissionSet {
        self.state.permissions(role)
    }
}
