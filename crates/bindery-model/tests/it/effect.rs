//! The definition of effects against what is promised of them: on generated histories, and on one small account.

use std::cell::Cell;
use std::collections::BTreeSet;

use bindery_core::command::{Caller, Context};
use bindery_core::effect::{
    AffectedPair, Effect, Fate, Opened, Passing, Row, Rows, Scope, Size, Thing,
};
use bindery_core::id::{ApiKeyId, Id as _, ProjectId, SpaceId, UserId};
use bindery_core::permission::Permission;
use bindery_core::place::AccountSettings;
use bindery_core::resource::Resource;
use bindery_core::role::AccountRole;
use bindery_core::state::State;
use bindery_core::time::Timestamp;
use bindery_core::user::Standing;
use bindery_model::effect::{Affected, Comparison, Side};
use bindery_model::history::{
    CallerPick, Draft, EmailPick, Expiry, History, InvitationPick, KeyPlace, NamePick, Pick,
    RolePick, SpaceChange, Step,
};
use proptest::prelude::{prop_assert, prop_assert_eq};
use proptest::test_runner::TestCaseResult;

use crate::play::Play;
use crate::runner::check_until;

/// Two states of one history, and the moments at which they stood.
struct Sides {
    before: (State, Timestamp),
    after: (State, Timestamp),
}

impl Sides {
    /// Some point of the history and its end.
    fn of(history: &History) -> Self {
        let (mut play, mut turns) = (Play::new(history), 0);
        let middle = history.steps.len() / 2;
        let mut before = None;
        play.run(history, |play, _| {
            if turns <= middle {
                before = Some((play.state.clone(), play.now));
            }
            turns += 1;
            Ok(())
        })
        .expect("nothing was checked");
        Self {
            before: before.expect("a history has a first turn"),
            after: (play.state, play.now),
        }
    }

    fn comparison(&self) -> Comparison<'_> {
        Comparison {
            before: side(&self.before),
            after: side(&self.after),
        }
    }
}

fn side((state, moment): &(State, Timestamp)) -> Side<'_> {
    Side {
        state,
        moment: *moment,
    }
}

#[test]
fn rows_and_passing_things_have_every_affected_pair_once() {
    let (rows, nested, passing) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let has_seen_all = || rows.get() > 0 && nested.get() > 0 && passing.get() > 0;
    check_until(has_seen_all, 24, 1..60, |history| {
        let sides = Sides::of(history);
        let affected = sides.comparison().affected();
        let effect = affected.effect();
        let (lasting, others) = split(&sides, &affected.pairs);
        prop_assert_eq!(effect.total(), lasting.len() as u64);
        prop_assert_eq!(effect.passing.pairs(), others as u64);
        prop_assert!(!effect.has_others, "nothing was hidden");
        let mut leaves = Vec::new();
        open_all(&affected, &effect.rows, &mut leaves)?;
        leaves.sort_unstable();
        prop_assert_eq!(leaves, lasting);
        let is_nested = |row: &&Row| matches!(row.scope, Scope::Within(_));
        let shown = effect.rows.shown();
        rows.set(rows.get() + shown.len());
        nested.set(nested.get() + shown.iter().filter(is_nested).count());
        passing.set(passing.get() + effect.passing.shown().len());
        Ok(())
    });
}

/// The pairs whose user and place are there on both sides, and how many others there are.
fn split(sides: &Sides, pairs: &[AffectedPair]) -> (Vec<AffectedPair>, usize) {
    let has = |state: &State, pair: &AffectedPair| {
        let user = state.user(pair.user);
        let is_user_there = user.is_some_and(|user| user.standing != Standing::Inactive);
        is_user_there && state.place(pair.place).is_some()
    };
    let is_lasting = |pair: &&AffectedPair| has(&sides.before.0, pair) && has(&sides.after.0, pair);
    let lasting: Vec<AffectedPair> = pairs.iter().filter(is_lasting).copied().collect();
    let others = pairs.len() - lasting.len();
    (lasting, others)
}

/// Opens rows down to their pairs, and holds each row to what it opens into.
fn open_all(
    affected: &Affected<'_>,
    rows: &Rows,
    leaves: &mut Vec<AffectedPair>,
) -> TestCaseResult {
    prop_assert_eq!(rows.rest(), None, "a small account has few rows");
    for row in rows.shown() {
        let before = leaves.len();
        match (row.scope, affected.open(row)) {
            (Scope::On(_), Opened::Pairs(pairs)) => {
                prop_assert!(pairs.is_sorted(), "pairs go by user and place: {:?}", pairs);
                leaves.extend(pairs);
            }
            (Scope::Within(place), Opened::Rows(rows)) => {
                let is_lower = rows.shown().len() > 1;
                prop_assert!(is_lower, "{:?} is not the lowest place of {:?}", place, row);
                open_all(affected, &rows, leaves)?;
            }
            (_, opened) => prop_assert!(false, "{:?} opens into {:?}", row, opened),
        }
        prop_assert_eq!(row.size, size(&leaves[before..]), "of {:?}", row);
        let is_of_row = |pair: &AffectedPair| pair.signature == row.signature;
        prop_assert!(leaves[before..].iter().all(is_of_row), "{:?}", row);
    }
    Ok(())
}

fn size(pairs: &[AffectedPair]) -> Size {
    let users: BTreeSet<UserId> = pairs.iter().map(|pair| pair.user).collect();
    let places: BTreeSet<Resource> = pairs.iter().map(|pair| pair.place).collect();
    Size {
        pairs: pairs.len() as u64,
        users: users.len() as u64,
        places: places.len() as u64,
    }
}

#[test]
fn the_way_back_takes_what_the_way_there_gave() {
    let affected = Cell::new(0);
    check_until(
        || affected.get() > 0,
        24,
        1..60,
        |history| {
            let sides = Sides::of(history);
            let there = sides.comparison();
            let back = Comparison {
                before: there.after,
                after: there.before,
            };
            let there = there.affected().pairs;
            let reversed = |pair: &AffectedPair| AffectedPair {
                signature: pair.signature.reversed(),
                ..*pair
            };
            let expected: Vec<AffectedPair> = there.iter().map(reversed).collect();
            prop_assert_eq!(back.affected().pairs, expected);
            affected.set(affected.get() + there.len());
            Ok(())
        },
    );
}

#[test]
fn a_reader_is_shown_what_they_may_ask_about_and_whether_that_is_all() {
    let (shown, hidden) = (Cell::new(0), Cell::new(0));
    let has_seen_both = || shown.get() > 0 && hidden.get() > 0;
    check_until(has_seen_both, 12, 1..60, |history| {
        let sides = Sides::of(history);
        let comparison = sides.comparison();
        let all = comparison.affected();
        for user in comparison.users() {
            let reader = Context {
                caller: Caller::Key {
                    user,
                    key: ApiKeyId::NOBODY,
                },
                now: sides.after.1,
            };
            let (before, after) = (&sides.before.0, &sides.after.0);
            let visible = comparison.affected_for(&reader);
            for pair in &all.pairs {
                let may_ask = before.may_ask(&reader, pair.user, pair.place)
                    || after.may_ask(&reader, pair.user, pair.place);
                prop_assert_eq!(
                    visible.pairs.contains(pair),
                    may_ask,
                    "{:?} {:?}",
                    user,
                    pair
                );
            }
            let is_all = visible.pairs == all.pairs;
            prop_assert_eq!(visible.effect().has_others, !is_all);
            if after.asks_about_everything(&reader) {
                prop_assert!(is_all, "something is kept from an account admin");
            }
            shown.set(shown.get() + visible.pairs.len());
            hidden.set(hidden.get() + all.pairs.len() - visible.pairs.len());
        }
        Ok(())
    });
}

/// An organization with a public space of two projects; the founder, who is account admin, and a member of the organization.
fn furnishing() -> Vec<Draft> {
    let project = Draft::CreateProject {
        name: NamePick::Fresh,
        space: Pick(0),
    };
    vec![
        Draft::CreateUser {
            email: EmailPick::Fresh,
            role: Some(AccountRole::Member),
            invitation: InvitationPick::None,
            is_developer: None,
        },
        Draft::CreateOrganization {
            name: NamePick::Fresh,
        },
        Draft::AddOrganizationUser {
            organization: Pick(0),
            user: Pick(1),
            role: RolePick::Fitting(1),
        },
        Draft::CreateSpace {
            name: NamePick::Fresh,
            organization: Pick(0),
            is_private: false,
        },
        project.clone(),
        project,
    ]
}

const FOUNDER: UserId = UserId::new(1);
const MEMBER: UserId = UserId::new(2);
const SPACE: SpaceId = SpaceId::new(1);
const PROJECTS: [ProjectId; 2] = [ProjectId::new(1), ProjectId::new(2)];

/// The small account before and after the founder's draft.
fn sides_of(draft: Draft) -> Sides {
    let play = |wishes: Vec<Draft>| {
        let steps = wishes.into_iter().map(|draft| Step {
            caller: CallerPick(0),
            wait_ms: 1,
            draft,
        });
        let history = History {
            settings: AccountSettings::default(),
            steps: steps.collect(),
        };
        let mut play = Play::new(&history);
        let all_done = play.run(&history, |_, turn| {
            prop_assert!(turn.engine.is_ok(), "{:?}: {:?}", turn.command, turn.engine);
            Ok(())
        });
        assert!(all_done.is_ok(), "{all_done:?}");
        (play.state, play.now)
    };
    let mut wishes = furnishing();
    let before = play(wishes.clone());
    wishes.push(draft);
    Sides {
        before,
        after: play(wishes),
    }
}

fn effect_of(draft: Draft) -> Effect {
    sides_of(draft).comparison().affected().effect()
}

#[test]
fn a_restriction_takes_from_the_member_what_the_space_gave_them_on_the_project() {
    let effect = effect_of(Draft::CreateResourceRestriction { project: Pick(0) });
    let [row] = effect.rows.shown() else {
        unreachable!("{effect:?}")
    };
    assert_eq!(row.scope, Scope::On(PROJECTS[0].into()));
    assert_eq!((row.size.pairs, row.size.users), (1, 1));
    assert!(row.signature.lost().contains(Permission::ProjectRead));
    assert!(row.signature.gained().is_empty());
    assert_eq!(effect.passing.pairs(), 0);
}

#[test]
fn a_space_that_becomes_private_opens_into_its_projects() {
    let sides = sides_of(Draft::UpdateSpace {
        space: Pick(0),
        name: None,
        change: SpaceChange::Privacy(true),
    });
    let affected = sides.comparison().affected();
    let effect = affected.effect();
    // More is lost on the space than means anything on a project.
    let [projects, space] = effect.rows.shown() else {
        unreachable!("{effect:?}")
    };
    assert_eq!(space.scope, Scope::On(SPACE.into()));
    assert!(space.signature.lost().contains(Permission::SpaceRead));
    assert!(!projects.signature.lost().contains(Permission::SpaceRead));
    assert_eq!(projects.scope, Scope::Within(SPACE.into()));
    let two = Size {
        pairs: 2,
        users: 1,
        places: 2,
    };
    assert_eq!(projects.size, two);
    let Opened::Rows(rows) = affected.open(projects) else {
        unreachable!("{projects:?}")
    };
    let scopes: Vec<Scope> = rows.shown().iter().map(|row| row.scope).collect();
    assert_eq!(scopes, PROJECTS.map(|project| Scope::On(project.into())));
    let pairs = PROJECTS.map(|project| AffectedPair {
        user: MEMBER,
        place: project.into(),
        signature: projects.signature,
    });
    for (row, pair) in rows.shown().iter().zip(pairs) {
        assert_eq!(affected.open(row), Opened::Pairs(vec![pair]));
    }
}

#[test]
fn a_deleted_space_is_counted_by_thing_and_not_in_the_total() {
    let effect = effect_of(Draft::DeleteSpace { space: Pick(0) });
    assert_eq!(effect.total(), 0);
    let place = |place: Resource| Passing {
        thing: Thing::Place(place),
        fate: Fate::Disappears,
        // The founder and the member.
        pairs: 2,
    };
    let [one, other] = PROJECTS.map(|project| place(project.into()));
    assert_eq!(effect.passing.shown(), [place(SPACE.into()), one, other]);
}

#[test]
fn a_deleted_user_is_counted_by_thing_and_not_in_the_total() {
    let effect = effect_of(Draft::DeleteUser { user: Pick(1) });
    assert_eq!(effect.total(), 0);
    let gone = Passing {
        thing: Thing::User(MEMBER),
        fate: Fate::Disappears,
        // The account, the organization, the space and its projects.
        pairs: 5,
    };
    assert_eq!(effect.passing.shown(), [gone]);
}

#[test]
fn a_key_that_expires_between_two_moments_loses_what_it_had() {
    let sides = sides_of(Draft::CreateServiceKey {
        account_role: Some(AccountRole::Member),
        places: vec![KeyPlace {
            organization: Pick(0),
            role: RolePick::Fitting(1),
            spaces: vec![(Pick(0), RolePick::Fitting(1))],
        }],
        expiry: Expiry::In(60),
    });
    let (state, now) = &sides.after;
    let comparison = |after: Timestamp| Comparison {
        before: side(&sides.after),
        after: Side {
            state,
            moment: after,
        },
    };
    let earlier = comparison(now.plus_seconds(59)).affected();
    assert_eq!(earlier.effect(), Effect::default());
    let later = comparison(now.plus_seconds(60)).affected();
    let bot = UserId::new(3);
    assert!(later.pairs.iter().all(|pair| pair.user == bot));
    let on_project = |pair: &&AffectedPair| pair.place == Resource::Project(PROJECTS[0]);
    let lost = later.pairs.iter().find(on_project).expect("a pair");
    assert!(lost.signature.lost().contains(Permission::ProjectRead));
    // The bot is still there: its pairs are in the total.
    assert_eq!(later.effect().total(), later.pairs.len() as u64);
}

#[test]
fn a_member_is_shown_their_own_loss_and_that_there_is_more() {
    let sides = sides_of(Draft::DeleteOrganization {
        organization: Pick(0),
    });
    let comparison = sides.comparison();
    let reader = |user| Context {
        caller: Caller::Key {
            user,
            key: ApiKeyId::NOBODY,
        },
        now: sides.after.1,
    };
    let to_member = comparison.affected_for(&reader(MEMBER));
    assert!(to_member.pairs.iter().all(|pair| pair.user == MEMBER));
    assert!(!to_member.pairs.is_empty());
    assert!(to_member.effect().has_others);
    let to_founder = comparison.affected_for(&reader(FOUNDER));
    assert_eq!(to_founder.effect(), comparison.affected().effect());
    assert!(!to_founder.effect().has_others);
}

#[test]
fn a_state_differs_in_nothing_from_itself_at_the_same_moment() {
    let sides = sides_of(Draft::DeleteUser { user: Pick(1) });
    let after = side(&sides.after);
    let same = Comparison {
        before: after,
        after,
    };
    assert_eq!(same.affected().pairs, []);
}
