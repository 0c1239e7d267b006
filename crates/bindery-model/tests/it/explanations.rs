//! An explanation agrees with the decision, its smallest grants are enough and smallest, and it reveals
//! nothing that its reader may not read elsewhere.

use std::cell::Cell;

use bindery_core::change::Change;
use bindery_core::command::organizations::AddOrganizationUser;
use bindery_core::command::role_bindings::{CreateRoleBinding, UpdateRoleBinding};
use bindery_core::command::{Assignment, Caller, Command, Context};
use bindery_core::decision::{Decision, Lack, Question};
use bindery_core::explain::{
    Explanation, NoGrant, Outcome, Sufficient, SufficientChange, Verdict, Words, explain,
};
use bindery_core::id::{ApiKeyId, Id as _, OrganizationId, ProjectId, RoleId, SpaceId, UserId};
use bindery_core::permission::{Permission, PermissionSet};
use bindery_core::resource::{Bindable, Resource};
use bindery_core::role::{AccountRole, OrganizationRole, PredefinedRole};
use bindery_core::state::State;
use bindery_core::user::Standing;
use bindery_model::history::History;
use bindery_model::model::Model;
use proptest::prelude::{prop_assert, prop_assert_eq};
use proptest::test_runner::{TestCaseError, TestCaseResult};

use crate::inquiry::callers;
use crate::play::Play;
use crate::questions::{ends_of_bots, every_question, permissions};
use crate::runner::{break_it, check_until, seed};

#[test]
fn an_explanation_says_what_the_decision_says() {
    let asked = Cell::new(0_u64);
    check_until(
        || asked.get() > 100_000,
        256,
        1..200,
        |history| {
            let play = Play::of(history);
            let mut moments = vec![play.now];
            moments.extend(ends_of_bots(&play.model).into_iter().map(|(_, end)| end));
            for question in every_question(&play.model, &permissions(history)) {
                for now in moments.iter().copied().take(2) {
                    let decision = play.state.decide(&question, now);
                    let (explained, paths) = explain(&play.state.at(now), &question);
                    prop_assert_eq!(explained, decision, "{:?}\n{}", question, play.transcript);
                    let first = paths.iter().find_map(|path| match path.outcome {
                        Outcome::Allows(grant) => Some(Decision::Allowed(grant)),
                        _ => None,
                    });
                    prop_assert_eq!(first.is_some(), decision.is_allowed());
                    prop_assert_eq!(first.unwrap_or(decision), decision);
                    asked.set(asked.get() + 1);
                }
            }
            Ok(())
        },
    );
    println!("{asked:?} explanations");
}

/// How much was tried.
#[derive(Debug, Default)]
struct Tally {
    bound: Cell<u64>,
    rebound: Cell<u64>,
    joined: Cell<u64>,
    none: Cell<u64>,
    ties: Cell<u64>,
}

impl Tally {
    fn is_rich(&self) -> bool {
        [
            &self.bound,
            &self.rebound,
            &self.joined,
            &self.none,
            &self.ties,
        ]
        .into_iter()
        .all(|cell| cell.get() > 20)
    }
}

fn add(cell: &Cell<u64>) {
    cell.set(cell.get() + 1);
}

#[test]
fn what_is_called_enough_is_enough_and_nothing_smaller_is() {
    let tally = Tally::default();
    check_until(
        || tally.is_rich(),
        96,
        1..160,
        |history| check_sufficient(history, &tally, &|_| true),
    );
    println!("{tally:?}");
}

#[test]
fn a_smallest_grant_that_overlooks_custom_roles_is_caught() {
    let is_predefined = |role: RoleId| PredefinedRole::by_id(role).is_some();
    // Its shortest form depends on the picked questions, so it only counts that it is found.
    let found = break_it(seed(), 500, 1..60, |history| {
        check_sufficient(history, &Tally::default(), &is_predefined)
    });
    assert!(found.is_some(), "a mistake that nothing shows");
}

/// `finds` plants a mistake: only grants with such roles are found.
fn check_sufficient(
    history: &History,
    tally: &Tally,
    finds: &dyn Fn(RoleId) -> bool,
) -> TestCaseResult {
    let play = Play::of(history);
    let Some(admin) = admin(&play.model) else {
        return Ok(());
    };
    let context = Context {
        caller: Caller::Key {
            user: admin,
            key: ApiKeyId::NOBODY,
        },
        now: play.now,
    };
    let asked = permissions(history);
    let is_bound = |question: &Question| match question.resource {
        Resource::Space(id) => play
            .model
            .binding_on(question.principal, Bindable::Space(id))
            .is_some(),
        Resource::Project(id) => play
            .model
            .binding_on(question.principal, Bindable::Project(id))
            .is_some(),
        Resource::Account | Resource::Organization(_) => false,
    };
    let mut of_kind: [Vec<Question>; 4] = Default::default();
    for question in every_question(&play.model, &asked) {
        let kind = match play.state.decide(&question, play.now) {
            Decision::Allowed(_) => continue,
            Decision::Denied(Lack::Grant | Lack::Restriction(..)) if is_bound(&question) => 0,
            Decision::Denied(Lack::Restriction(..)) => 1,
            Decision::Denied(Lack::Grant) => 2,
            Decision::Denied(_) => 3,
        };
        of_kind[kind].push(question);
    }
    // A few of each kind, from all over the account: each one needs a trial of every role.
    let some = of_kind.iter().flat_map(|kind| {
        let step = (kind.len() / 5).max(1);
        kind.iter().copied().step_by(step).take(5)
    });
    for question in some {
        let trial = Trial {
            state: &play.state,
            context: &context,
            question,
        };
        let explanation = play.state.explain(&question, play.now);
        trial
            .check(&explanation.sufficient, tally, finds)
            .map_err(|error| {
                TestCaseError::fail(format!(
                    "{question:?}: {:?}\n{error}\nafter\n{}",
                    explanation.sufficient, play.transcript
                ))
            })?;
    }
    Ok(())
}

fn admin(model: &Model) -> Option<UserId> {
    let mut users = model.users.iter();
    let admin = users.find(|user| {
        user.account_role == AccountRole::Admin
            && user.standing == Standing::Active
            && user.is_human()
    });
    admin.map(|user| user.id)
}

/// One question, and changes by an account admin that could allow it.
struct Trial<'a> {
    state: &'a State,
    context: &'a Context,
    question: Question,
}

impl Trial<'_> {
    fn check(
        &self,
        sufficient: &Sufficient,
        tally: &Tally,
        finds: &dyn Fn(RoleId) -> bool,
    ) -> TestCaseResult {
        let before = self.allowed(self.state);
        // The fewest new permissions of any single change on the resource that takes nothing away.
        let fewest = self
            .every_change()
            .into_iter()
            .filter_map(|change| self.after(change))
            .map(|after| self.allowed(&after))
            .filter(|after| after.contains(self.question.permission))
            .filter(|after| before.intersection(*after) == before)
            .map(|after| gained(before, after))
            .min();
        match sufficient {
            Sufficient::Nothing | Sufficient::OutOfSight => {
                prop_assert!(false, "it is denied, and everything may be read");
            }
            Sufficient::None(_) => {
                add(&tally.none);
                prop_assert_eq!(fewest, None, "a change would be enough");
            }
            Sufficient::Any(grants) => {
                prop_assert!(!grants.is_empty() && grants.len() <= Sufficient::SHOWN_MAX);
                if grants.len() > 1 {
                    add(&tally.ties);
                }
                let grants = grants.iter().filter(|grant| match grant.change {
                    SufficientChange::Bind { role, .. }
                    | SufficientChange::Rebind { to: role, .. } => finds(role),
                    SufficientChange::Join { .. } => true,
                });
                let mut found = None;
                for grant in grants {
                    let after = self.after(grant.change);
                    prop_assert!(after.is_some(), "{:?} is refused", grant);
                    let after = after.map(|after| self.allowed(&after)).unwrap_or_default();
                    prop_assert!(after.contains(self.question.permission), "{:?}", grant);
                    prop_assert_eq!(before.intersection(after), before, "{:?}", grant);
                    prop_assert_eq!(grant.gained, gained(before, after), "{:?}", grant);
                    found = Some(grant.gained);
                    add(match grant.change {
                        SufficientChange::Bind { .. } => &tally.bound,
                        SufficientChange::Rebind { .. } => &tally.rebound,
                        SufficientChange::Join { .. } => &tally.joined,
                    });
                }
                prop_assert_eq!(found, fewest, "the fewest that a change brings");
            }
        }
        Ok(())
    }

    fn every_change(&self) -> Vec<SufficientChange> {
        let predefined = PredefinedRole::all().map(|(id, _)| id);
        let custom = (64..200).map(RoleId::from_number);
        let roles: Vec<RoleId> = predefined
            .chain(custom)
            .filter(|role| self.state.role(*role).is_some())
            .collect();
        let user = self.question.principal;
        let bind = |on: Bindable| -> Vec<SufficientChange> {
            let old = self.state.role_binding_on(on, user);
            let change = |role: &RoleId| match old {
                None => SufficientChange::Bind { on, role: *role },
                Some(old) => SufficientChange::Rebind {
                    binding: old.id,
                    on,
                    from: old.role,
                    to: *role,
                },
            };
            roles.iter().map(change).collect()
        };
        let join = |organization: OrganizationId| {
            OrganizationRole::ALL.map(|role| SufficientChange::Join { organization, role })
        };
        match self.question.resource {
            Resource::Organization(id) => join(id).to_vec(),
            Resource::Space(id) => bind(Bindable::Space(id)),
            Resource::Project(id) => bind(Bindable::Project(id)),
            // Nothing can be bound on the account, and nothing below it grants anything on it.
            Resource::Account => {
                let mut below = join(OrganizationId::new(1)).to_vec();
                below.extend(bind(Bindable::Space(SpaceId::new(1))));
                below.extend(bind(Bindable::Project(ProjectId::new(1))));
                below
            }
        }
    }

    /// The state after the admin made this change; `None` if it is refused.
    fn after(&self, change: SufficientChange) -> Option<State> {
        let user = self.question.principal;
        match change {
            SufficientChange::Bind { on, role } => self.run(&CreateRoleBinding { user, role, on }),
            SufficientChange::Rebind { binding, to, .. } => {
                self.run(&UpdateRoleBinding { binding, role: to })
            }
            SufficientChange::Join { organization, role } => self.run(&AddOrganizationUser {
                organization,
                user,
                role: Assignment::Predefined(role),
            }),
        }
    }

    fn run(&self, command: &impl Command) -> Option<State> {
        let changes: Vec<Change> = command.execute(self.state, self.context).ok()?.changes;
        let mut after = self.state.clone();
        for change in &changes {
            after.apply(change);
        }
        Some(after)
    }

    fn allowed(&self, state: &State) -> PermissionSet {
        let may = |permission: &Permission| {
            let question = Question {
                permission: *permission,
                ..self.question
            };
            state.decide(&question, self.context.now).is_allowed()
        };
        Permission::ALL.into_iter().filter(may).collect()
    }
}

fn gained(before: PermissionSet, after: PermissionSet) -> u32 {
    let gained = after.iter().filter(|one| !before.contains(*one));
    u32::try_from(gained.count()).unwrap_or(u32::MAX)
}

#[test]
fn no_reader_of_an_explanation_sees_what_they_may_not_read() {
    let (told, hidden) = (Cell::new(0_u64), Cell::new(0_u64));
    let seen_enough = || told.get() > 10_000 && hidden.get() > 200;
    check_until(seen_enough, 96, 1..160, |history| {
        let play = Play::of(history);
        let mut asked = permissions(history);
        asked.truncate(5);
        let questions: Vec<Question> = every_question(&play.model, &asked).collect();
        for (context, place) in callers(&play).iter().zip(0..) {
            for question in questions.iter().skip(place % 7).step_by(7) {
                if !play
                    .state
                    .may_ask(context, question.principal, question.resource)
                {
                    continue;
                }
                let explanation = play.state.explain_to(context, question);
                let decision = play.state.decide(question, play.now);
                prop_assert_eq!(explanation.is_allowed(), decision.is_allowed());
                add(&told);
                if !play.model.asks_about_everything(context) {
                    check_hidden(&play, context, question, &explanation, &hidden)?;
                }
            }
        }
        Ok(())
    });
    println!("{told:?} explanations told, {hidden:?} with something hidden");
}

fn check_hidden(
    play: &Play,
    context: &Context,
    question: &Question,
    explanation: &Explanation,
    hidden: &Cell<u64>,
) -> TestCaseResult {
    let (state, model) = (&play.state, &play.model);
    let is_oneself = question.principal == context.user();
    if is_oneself {
        let sees = match question.resource {
            Resource::Account => true,
            Resource::Organization(id) => {
                model.is_organization_visible(context.user(), id, context.now)
            }
            Resource::Space(id) => model.is_space_visible(context.user(), id, context.now),
            Resource::Project(id) => model.is_project_visible(context.user(), id, context.now),
        };
        if sees || explanation.is_allowed() {
            return Ok(());
        }
        // Exactly the same text as for one that never existed.
        let never = Question {
            resource: match question.resource {
                Resource::Account => Resource::Account,
                Resource::Organization(_) => OrganizationId::NOBODY.into(),
                Resource::Space(_) => SpaceId::NOBODY.into(),
                Resource::Project(_) => ProjectId::NOBODY.into(),
            },
            ..*question
        };
        let words = |question: &Question, explanation: &Explanation| {
            Words::for_caller(state, *question, context).whole(explanation)
        };
        let of_never = state.explain_to(context, &never);
        prop_assert_eq!(words(question, explanation), words(&never, &of_never));
        prop_assert_eq!(
            &explanation.sufficient,
            &Sufficient::None(NoGrant::Resource)
        );
        prop_assert!(explanation.paths.is_empty());
        add(hidden);
        return Ok(());
    }
    let reads = |place: Resource| {
        let reads = Question {
            principal: context.user(),
            permission: Permission::RoleBindingRead,
            resource: place,
        };
        place == Resource::Account || model.may(&reads, context.now)
    };
    for path in &explanation.paths {
        let is_hidden = path.outcome == Outcome::OutOfSight;
        prop_assert_eq!(is_hidden, !reads(path.way.place()), "{:?}", path);
        if is_hidden {
            add(hidden);
        }
    }
    if let Verdict::Decided(Decision::Allowed(grant)) = explanation.verdict {
        let shown = explanation
            .paths
            .iter()
            .any(|path| path.outcome == Outcome::Allows(grant));
        prop_assert!(shown, "{:?}", explanation);
    }
    if let Verdict::Decided(Decision::Denied(Lack::Restriction(_, cut))) = explanation.verdict {
        let shown = explanation
            .paths
            .iter()
            .any(|path| matches!(path.outcome, Outcome::Cut(_, one) if one == cut));
        prop_assert!(shown, "{:?}", explanation);
    }
    Ok(())
}
