//! Every list, read page by page, has exactly what the model lists, in its order, with and without commands
//! in between.

use std::cell::Cell;

use bindery_core::command::{Caller, Context};
use bindery_core::id::{ApiKeyId, Id as _, UserId};
use bindery_core::query::Page;
use bindery_core::resource::BindableKind;
use bindery_core::role::AccountRole;
use bindery_core::user::{Identity, User};
use bindery_model::history::History;
use bindery_model::model::Model;
use proptest::test_runner::TestCaseResult;

use crate::planted::assert_caught;
use crate::play::Play;
use crate::questions::ever;
use crate::runner::check;
use list::List;
use walk::{Pager, Progress, Walk, page};

mod list;
mod past;
mod walk;

const PAGE_SIZES: [usize; 5] = [1, 2, 3, 7, 100];

/// Walks that begin after each command. Enough that most histories have some of each family, caller and page
/// size.
const BEGINNING: usize = 12;

#[test]
fn every_list_followed_page_by_page_is_the_models() {
    let walks = Cell::new(0_u64);
    check(64, 1..120, |history| {
        let play = Play::of(history);
        let lists: Vec<List> = List::families(&play.model).into_iter().flatten().collect();
        for caller in ever::<UserId>(&play.model) {
            for list in &lists {
                for limit in PAGE_SIZES {
                    let mut walk = Walk::new(list.clone(), caller, limit);
                    walk.look(&play);
                    while walk.step(&play, &page)? == Progress::GoesOn {}
                    walks.set(walks.get() + 1);
                }
            }
        }
        Ok(())
    });
    println!("{} lists followed", walks.get());
}

#[test]
fn what_is_there_throughout_a_walk_is_met_once_while_commands_run_between_the_pages() {
    let tally = Tally::default();
    check(640, 1..120, |history| {
        let mut draw = Draw(history.steps.len());
        let beginning = |model: &Model| (0..BEGINNING).map(|_| draw.walk(model)).collect();
        walk_amid(history, beginning, &page, &tally)
    });
    println!("{tally:?}");
}

/// How much was walked.
#[derive(Debug, Default)]
struct Tally {
    pages: Cell<u64>,
    arrived: Cell<u64>,
    /// Finished walks of two pages or more, with a command between them.
    across_commands: Cell<u64>,
    refused: Cell<u64>,
    /// Finished walks, by caller.
    admins: Cell<u64>,
    members: Cell<u64>,
    outsiders: Cell<u64>,
    bots: Cell<u64>,
}

impl Tally {
    fn count(&self, walk: &Walk, play: &Play, progress: Progress) {
        let add = |cell: &Cell<u64>| cell.set(cell.get() + 1);
        add(&self.pages);
        match progress {
            Progress::GoesOn => return,
            Progress::Refused => return add(&self.refused),
            Progress::Arrived => add(&self.arrived),
        }
        if walk.pages > 1 {
            add(&self.across_commands);
        }
        let Some(user) = play.model.user(walk.caller) else {
            return;
        };
        let mut memberships = play.model.organization_memberships.iter();
        let is_member = memberships.any(|one| one.user == user.id);
        match (&user.identity, user.account_role) {
            (Identity::Bot { .. }, _) => add(&self.bots),
            (Identity::Human { .. }, AccountRole::Admin) => add(&self.admins),
            (Identity::Human { .. }, _) if is_member => add(&self.members),
            (Identity::Human { .. }, _) => add(&self.outsiders),
        }
    }
}

/// Plays the history; after each command some walks begin, and unfinished ones read their next page.
fn walk_amid(
    history: &History,
    mut beginning: impl FnMut(&Model) -> Vec<Walk>,
    pager: &Pager,
    tally: &Tally,
) -> TestCaseResult {
    let mut walks: Vec<Walk> = Vec::new();
    let mut play = Play::new(history);
    play.run(history, |play, _| {
        walks.extend(beginning(&play.model));
        for walk in &mut walks {
            walk.look(play);
        }
        step_all(&mut walks, play, pager, tally)
    })?;
    while !walks.is_empty() {
        step_all(&mut walks, &play, pager, tally)?;
    }
    Ok(())
}

fn step_all(walks: &mut Vec<Walk>, play: &Play, pager: &Pager, tally: &Tally) -> TestCaseResult {
    let mut going_on = Vec::new();
    for mut walk in walks.drain(..) {
        let progress = walk.step(play, pager)?;
        tally.count(&walk, play, progress);
        if progress == Progress::GoesOn {
            going_on.push(walk);
        }
    }
    *walks = going_on;
    Ok(())
}

/// Draws walks, the same ones for the same history.
struct Draw(usize);

impl Draw {
    fn walk(&mut self, model: &Model) -> Walk {
        let mut families = List::families(model);
        let lists = families.swap_remove(self.below(families.len()));
        let list = lists[self.below(lists.len())].clone();
        let callers = ever::<UserId>(model);
        let caller = callers[self.below(callers.len())];
        Walk::new(list, caller, PAGE_SIZES[self.below(PAGE_SIZES.len())])
    }

    /// A step of Knuth's MMIX generator; its upper half is random enough for this.
    fn below(&mut self, count: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % count
    }
}

#[test]
fn a_planted_cursor_that_repeats_the_last_is_caught() {
    assert_pager_caught(&|walk, state, context| {
        let after = walk.after().map(|number| number - 1);
        walk.list.page(&state.reader(*context), after, walk.limit)
    });
}

#[test]
fn a_planted_cursor_that_skips_one_is_caught() {
    assert_pager_caught(&|walk, state, context| {
        let after = walk.after().map(|number| number + 1);
        walk.list.page(&state.reader(*context), after, walk.limit)
    });
}

/// Only changes between the pages show it.
#[test]
fn a_planted_cursor_that_counts_what_was_read_is_caught() {
    assert_pager_caught(&|walk, state, context| {
        let whole = walk.list.page(&state.reader(*context), None, usize::MAX)?;
        let mut items = whole.items;
        items.drain(..walk.seen.len().min(items.len()));
        let has_more = items.len() > walk.limit;
        items.truncate(walk.limit);
        Ok(Page { items, has_more })
    });
}

#[test]
fn a_planted_page_that_is_filtered_after_it_was_cut_is_caught() {
    assert_pager_caught(&|walk, state, context| {
        let by_founder = Context {
            caller: Caller::Key {
                user: UserId::new(1),
                key: ApiKeyId::NOBODY,
            },
            ..*context
        };
        let visible = walk
            .list
            .page(&state.reader(*context), None, usize::MAX)?
            .items;
        let mut page = walk
            .list
            .page(&state.reader(by_founder), walk.after(), walk.limit)?;
        page.items.retain(|number| visible.contains(number));
        Ok(page)
    });
}

/// Some lists of everyone, one item a page. They depend on the model alone, so that histories shrink well.
fn plain_walks(model: &Model) -> Vec<Walk> {
    let lists = [
        List::RoleBindings(BindableKind::Space, None),
        List::Organizations { name: "" },
        List::Spaces { of: None, name: "" },
    ];
    let of_user = |user: &User| lists.clone().map(|list| Walk::new(list, user.id, 1));
    model.users.iter().flat_map(of_user).collect()
}

fn assert_pager_caught(pager: &Pager) {
    assert_caught(|history| walk_amid(history, plain_walks, pager, &Tally::default()));
}
