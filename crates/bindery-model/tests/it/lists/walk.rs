//! Walks: a caller reads a list page by page while commands run in between.

use std::collections::BTreeSet;

use bindery_core::command::{Caller, Context};
use bindery_core::id::{ApiKeyId, Id as _, UserId};
use bindery_core::query::Page;
use bindery_core::refusal::Refusal;
use bindery_core::state::State;
use proptest::prelude::prop_assert;
use proptest::test_runner::{TestCaseError, TestCaseResult};

use super::list::List;
use crate::play::Play;

/// One caller on their way through one list.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    pub(super) list: List,
    pub(super) caller: UserId,
    pub(super) limit: usize,
    /// The content of the pages so far.
    pub(super) seen: Vec<u32>,
    /// Pages so far.
    pub(super) pages: usize,
    /// What the caller may see at every moment since the first page.
    throughout: BTreeSet<u32>,
    /// What the caller may see at some moment since the first page.
    sometime: BTreeSet<u32>,
}

/// The state of the walk after a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    GoesOn,
    /// The last page was read.
    Arrived,
    /// The caller may not read the list (any more).
    Refused,
}

/// Returns pages.
pub(super) type Pager = dyn Fn(&Walk, &State, &Context) -> Result<Page<u32>, Refusal>;

/// As the engine does.
pub(super) fn page(walk: &Walk, state: &State, context: &Context) -> Result<Page<u32>, Refusal> {
    walk.list
        .page(&state.reader(*context), walk.after(), walk.limit)
}

impl Walk {
    /// Before its first page.
    pub(super) fn new(list: List, caller: UserId, limit: usize) -> Self {
        Self {
            list,
            caller,
            limit,
            seen: Vec::new(),
            pages: 0,
            throughout: BTreeSet::new(),
            sometime: BTreeSet::new(),
        }
    }

    /// The cursor.
    pub(super) fn after(&self) -> Option<u32> {
        self.seen.last().copied()
    }

    fn context(&self, play: &Play) -> Context {
        Context {
            caller: Caller::Key {
                user: self.caller,
                key: ApiKeyId::NOBODY,
            },
            now: play.now,
        }
    }

    /// A command has run: what may be seen now counts, also between the pages.
    pub(super) fn look(&mut self, play: &Play) {
        let visible = self.list.whole(&play.model, &self.context(play));
        let visible: BTreeSet<u32> = visible.into_iter().flatten().collect();
        if self.pages == 0 {
            self.throughout.clone_from(&visible);
        } else {
            self.throughout.retain(|number| visible.contains(number));
        }
        self.sometime.extend(visible);
    }

    /// Reads the next page: it must be exactly the next part of the model's list, and the whole must keep the
    /// promise.
    pub(super) fn step(&mut self, play: &Play, pager: &Pager) -> Result<Progress, TestCaseError> {
        let context = self.context(play);
        let page = pager(self, &play.state, &context);
        let expected = self.list.whole(&play.model, &context).map(|whole| {
            let rest = whole.iter().filter(|number| Some(**number) > self.after());
            let mut items: Vec<u32> = rest.copied().collect();
            let has_more = items.len() > self.limit;
            items.truncate(self.limit);
            Page { items, has_more }
        });
        prop_assert!(
            page == expected,
            "the engine hands out {page:?}, the model {expected:?}, to {self:?} after\n{}",
            play.transcript
        );
        self.pages += 1;
        let Ok(page) = page else {
            return Ok(Progress::Refused);
        };
        self.seen.extend(page.items);
        if page.has_more {
            return Ok(Progress::GoesOn);
        }
        self.check(play)?;
        Ok(Progress::Arrived)
    }

    /// The promise of a walk, whatever happened meanwhile.
    fn check(&self, play: &Play) -> TestCaseResult {
        let seen: BTreeSet<u32> = self.seen.iter().copied().collect();
        let tell = |what| format!("{what}: {self:?} after\n{}", play.transcript);
        prop_assert!(
            self.seen.is_sorted_by(|one, next| one < next),
            "{}",
            tell("out of order or twice")
        );
        prop_assert!(
            self.throughout.is_subset(&seen),
            "{}",
            tell("there all the time and not on any page")
        );
        prop_assert!(
            seen.is_subset(&self.sometime),
            "{}",
            tell("on a page and never visible")
        );
        Ok(())
    }
}
