//! The engine and the naive model agree on every command, every record and every question.

#![expect(clippy::print_stdout, reason = "the numbers say what was tested")]

use std::cell::RefCell;
use std::collections::BTreeMap;

use bindery_core::change::Change;
use bindery_core::decision::{CutGrant, Decision, Grant, Lack, Question};
use bindery_core::id::Id as _;
use bindery_core::id::{Kind, RoleId};
use bindery_core::refusal::Refusal;
use bindery_core::resource::Bindable;
use bindery_core::role::CUSTOM_FIRST;
use bindery_core::role_binding::RoleBinding;
use bindery_core::time::Timestamp;
use bindery_core::user::Identity;
use bindery_model::model::Model;
use proptest::prelude::{prop_assert, prop_assert_eq};
use proptest::test_runner::{TestCaseError, TestCaseResult};

use crate::play::{Play, Turn};
use crate::questions::{ends_of_bots, every_question, permissions};
use crate::runner::check_until;

const CASES: u32 = 768;

#[test]
fn the_engine_agrees_with_the_naive_model() {
    let tally = RefCell::new(Tally::default());
    let seen_enough = || tally.borrow().is_rich();
    check_until(seen_enough, CASES, 1..200, |history| {
        let asked = permissions(history);
        let mut play = Play::new(history);
        play.run(history, |play, turn| {
            tally.borrow_mut().count_turn(turn);
            check_turn(play, turn)
        })?;
        tally.borrow_mut().count_world(&play.model);
        let mut moments = vec![(None, play.now)];
        for (bot, end) in ends_of_bots(&play.model) {
            moments.push((Some(bot), end));
        }
        let questions: Vec<Question> = every_question(&play.model, &asked).collect();
        for (only, now) in moments {
            for question in &questions {
                if only.is_none_or(|bot| bot == question.principal) {
                    tally
                        .borrow_mut()
                        .count(check_question(&play, question, now)?);
                }
            }
        }
        Ok(())
    });
    tally.into_inner().print();
}

/// The same refusal or none, and afterwards the same records and numbers.
pub(crate) fn check_turn(play: &Play, turn: &Turn<'_>) -> TestCaseResult {
    let engine = turn.engine.as_ref().map(|_| ()).map_err(|refusal| *refusal);
    prop_assert_eq!(
        engine,
        *turn.model,
        "engine left, model right, after\n{}",
        play.transcript
    );
    // The account itself is not a record of the model.
    let records = play.records.values();
    let records = records.filter(|one| !matches!(one, Change::PutAccount(_)));
    let records: Vec<Change> = records.cloned().collect();
    prop_assert_eq!(
        &records,
        &play.model.records(),
        "engine left, model right, after\n{}",
        play.transcript
    );
    prop_assert_eq!(
        play.state.account(),
        &play.model.account,
        "{}",
        play.transcript
    );
    let mut issued = play.model.issued.clone();
    issued.sort_unstable();
    // Restrictions and credentials have no number of their own; the store issues the number of the account.
    let issued_by_engine: Vec<(Kind, u32)> = play
        .state
        .issued()
        .filter(|(kind, _)| !matches!(kind, Kind::Restriction | Kind::Credential | Kind::Account))
        .collect();
    prop_assert_eq!(issued_by_engine, issued, "{}", play.transcript);
    Ok(())
}

/// The index, the entities and the model give the same decision; the first two also the same reason.
fn check_question(
    play: &Play,
    question: &Question,
    now: Timestamp,
) -> Result<Decision, TestCaseError> {
    // The index does not accept a clock that was set back, so only later times are tested.
    let by_entities = play.state.decide(question, now);
    let by_index = if now < play.state.latest() {
        by_entities
    } else {
        let decided = play.access.index().decide(question, now);
        prop_assert_eq!(
            decided.map(|(_, revision)| revision),
            Some(play.state.revision())
        );
        decided.map_or(by_entities, |(decision, _)| decision)
    };
    prop_assert!(
        by_index == by_entities,
        "{question:?} at {now:?}: the index says {by_index:?}, the entities {by_entities:?}, after\n{}",
        play.transcript
    );
    let by_model = play.model.may(question, now);
    prop_assert!(
        by_index.is_allowed() == by_model,
        "{question:?} at {now:?}: the engine says {by_index:?}, the model {by_model}, after\n{}",
        play.transcript
    );
    Ok(by_index)
}

/// Counts of everything in all cases, so that a test of nothing is noticed.
#[derive(Debug, Default)]
struct Tally {
    questions: u64,
    allowed: u64,
    commands: u64,
    succeeded: u64,
    without_change: u64,
    refused: BTreeMap<&'static str, u64>,
    /// Tried and succeeded, by command.
    by_command: BTreeMap<&'static str, (u64, u64)>,
    /// Decisions by their reason.
    reasons: BTreeMap<&'static str, u64>,
    /// Things that existed at the end.
    worlds: BTreeMap<&'static str, u64>,
}

impl Tally {
    fn count_turn(&mut self, turn: &Turn<'_>) {
        self.commands += 1;
        let (tried, succeeded) = self.by_command.entry(turn.command.name()).or_default();
        *tried += 1;
        match turn.engine {
            Ok(changes) => {
                self.succeeded += 1;
                *succeeded += 1;
                self.without_change += u64::from(changes.is_empty());
            }
            Err(refusal) => {
                let status = match refusal {
                    Refusal::Unauthenticated => "401",
                    Refusal::Forbidden(_) => "403",
                    Refusal::NotFound(_) => "404",
                    Refusal::Invalid(_) => "400",
                    Refusal::Conflict(_) => "409",
                    Refusal::Unprocessable(_) => "422",
                    Refusal::Quota(_) => "quota",
                };
                *self.refused.entry(status).or_default() += 1;
            }
        }
    }

    fn count_world(&mut self, model: &Model) {
        let mut note = |what, number: usize| {
            *self.worlds.entry(what).or_default() += number as u64;
        };
        let is_custom = |role: RoleId| role.number() >= CUSTOM_FIRST;
        let bindings = |wanted: &dyn Fn(&RoleBinding) -> bool| {
            model.role_bindings.iter().filter(|one| wanted(one)).count()
        };
        note("users", model.users.len());
        note(
            "bots",
            model
                .users
                .iter()
                .filter(|user| matches!(user.identity, Identity::Bot { .. }))
                .count(),
        );
        note("organizations", model.organizations.len());
        note(
            "organization memberships",
            model.organization_memberships.len(),
        );
        note(
            "private spaces",
            model.spaces.iter().filter(|space| space.is_private).count(),
        );
        note(
            "public spaces",
            model
                .spaces
                .iter()
                .filter(|space| !space.is_private)
                .count(),
        );
        note("space memberships", model.space_memberships.len());
        note("projects", model.projects.len());
        note("restrictions", model.restrictions.len());
        note("custom roles", model.roles.len());
        note(
            "space bindings",
            bindings(&|one| matches!(one.resource, Bindable::Space(_))),
        );
        note(
            "project bindings",
            bindings(&|one| matches!(one.resource, Bindable::Project(_))),
        );
        note(
            "bindings of custom roles",
            bindings(&|one| is_custom(one.role)),
        );
        note("keys", model.api_keys.len());
    }

    fn count(&mut self, decision: Decision) {
        self.questions += 1;
        self.allowed += u64::from(decision.is_allowed());
        let reason = match decision {
            Decision::Allowed(Grant::AccountAdmin) => "yes: account admin",
            Decision::Allowed(Grant::AccountRole(_)) => "yes: account role",
            Decision::Allowed(Grant::OrganizationAdmin(_)) => "yes: organization admin",
            Decision::Allowed(Grant::OrganizationRole(..)) => "yes: organization role",
            Decision::Allowed(Grant::SpaceAdmin(_)) => "yes: space admin",
            Decision::Allowed(Grant::SpaceAdminByBinding(..)) => "yes: space admin by binding",
            Decision::Allowed(Grant::SpaceMembership(..)) => "yes: space membership",
            Decision::Allowed(Grant::PublicSpace(..)) => "yes: public space",
            Decision::Allowed(Grant::RoleBinding(Bindable::Space(_), ..)) => "yes: space binding",
            Decision::Allowed(Grant::RoleBinding(Bindable::Project(_), ..)) => {
                "yes: project binding"
            }
            Decision::Denied(Lack::Principal) => "no: principal",
            Decision::Denied(Lack::Resource) => "no: resource",
            Decision::Denied(Lack::Level { .. }) => "no: level",
            Decision::Denied(Lack::Restriction(_, CutGrant::SpaceMembership(_))) => {
                "no: restriction cut a membership"
            }
            Decision::Denied(Lack::Restriction(_, CutGrant::RoleBinding(..))) => {
                "no: restriction cut a binding"
            }
            Decision::Denied(Lack::Restriction(_, CutGrant::PublicSpace(_))) => {
                "no: restriction cut the fallback"
            }
            Decision::Denied(Lack::Grant) => "no: grant",
        };
        *self.reasons.entry(reason).or_default() += 1;
    }

    fn print(&self) {
        println!(
            "{CASES} histories: {} commands, {} succeeded ({}%), {} of them without a change; refused {:?}",
            self.commands,
            self.succeeded,
            self.succeeded * 100 / self.commands.max(1),
            self.without_change,
            self.refused,
        );
        for (command, (tried, succeeded)) in &self.by_command {
            println!("  {command}: {succeeded} of {tried}");
        }
        println!(
            "{} questions, {} allowed; by reason:",
            self.questions, self.allowed
        );
        for (reason, number) in &self.reasons {
            println!("  {reason}: {number}");
        }
        println!("at the ends of the histories: {:?}", self.worlds);
    }

    /// Every command has succeeded, every reason has occurred, and there was enough of everything.
    fn is_rich(&self) -> bool {
        self.questions >= 100_000
            && self.succeeded * 3 >= self.commands
            && self.by_command.len() == 40
            && self
                .by_command
                .values()
                .all(|(_, succeeded)| *succeeded > 0)
            && self.reasons.len() == 17
            && self.refused.len() == 7
    }
}
