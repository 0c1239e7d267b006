//! Every list, followed page by page, holds exactly what the model lists, in its order.

use std::cell::Cell;

use bindery_core::command::{Caller, Context};
use bindery_core::id::{ApiKeyId, Id, OrganizationId, SpaceId, UserId};
use bindery_core::query::{Page, ProjectFilter, Slice, Substring, UserFilter};
use bindery_core::refusal::Refusal;
use bindery_core::resource::BindableKind;
use bindery_core::role::AnyRole;
use proptest::prelude::{prop_assert, prop_assert_eq};
use proptest::test_runner::{TestCaseError, TestCaseResult};

use crate::play::Play;
use crate::questions::ever;
use crate::runner::check;

const PAGE_SIZES: [usize; 4] = [1, 2, 3, 100];

#[test]
fn every_list_followed_page_by_page_is_the_models() {
    let lists = Cell::new(0_u64);
    check(48, 1..120, |history| {
        let play = Play::of(history);
        for user in ever::<UserId>(&play.model) {
            let context = Context {
                caller: Caller::Key {
                    user,
                    key: ApiKeyId::NOBODY,
                },
                now: play.now,
            };
            let lister = Lister {
                play: &play,
                context,
                lists: &lists,
            };
            lister.check_all()?;
        }
        Ok(())
    });
    println!("{} lists followed", lists.get());
}

/// Everything that one caller can list.
struct Lister<'a> {
    play: &'a Play,
    context: Context,
    lists: &'a Cell<u64>,
}

impl Lister<'_> {
    fn check_all(&self) -> TestCaseResult {
        let (state, model, context) = (&self.play.state, &self.play.model, &self.context);
        for kind in [BindableKind::Space, BindableKind::Project] {
            let everyone = ever::<UserId>(model).into_iter().map(Some);
            for of in std::iter::once(None).chain(everyone) {
                self.compare(&model.list_role_bindings(context, kind, of), |slice| {
                    let page = state.role_bindings(context, kind, of, slice)?;
                    Ok(ids(page, |binding| binding.id))
                })?;
            }
        }
        for is_predefined in [None, Some(true), Some(false)] {
            self.compare(&model.list_roles(context, is_predefined), |slice| {
                let page = state.roles(context, is_predefined, slice)?;
                Ok(ids(page, AnyRole::id))
            })?;
        }
        self.compare(&Ok(model.list_restrictions(context)), |slice| {
            Ok(ids(state.restrictions(context, slice), |one| one.project))
        })?;
        self.compare(&model.list_users(context), |slice| {
            let page = state.users(context, &UserFilter::default(), slice)?;
            Ok(ids(page, |user| user.id))
        })?;
        let any = Substring::default();
        self.compare(&Ok(model.list_organizations(context)), |slice| {
            let page = state.organizations(context, &any, slice);
            Ok(ids(page, |organization| organization.id))
        })?;
        let organizations = ever::<OrganizationId>(model).into_iter().map(Some);
        for of in std::iter::once(None).chain(organizations) {
            self.compare(&model.list_spaces(context, of), |slice| {
                let page = state.spaces(context, of, &any, slice)?;
                Ok(ids(page, |space| space.id))
            })?;
        }
        let spaces = ever::<SpaceId>(model).into_iter().map(Some);
        for space in std::iter::once(None).chain(spaces) {
            let filter = ProjectFilter {
                space,
                ..ProjectFilter::default()
            };
            self.compare(&model.list_projects(context, space), |slice| {
                let page = state.projects(context, &filter, slice)?;
                Ok(ids(page, |project| project.id))
            })?;
        }
        Ok(())
    }

    fn compare<I: Id>(
        &self,
        by_model: &Result<Vec<I>, Refusal>,
        page: impl Fn(Slice<I>) -> Result<Page<I>, Refusal>,
    ) -> TestCaseResult {
        for limit in PAGE_SIZES {
            let followed = follow(limit, &page)?;
            prop_assert_eq!(
                &followed,
                by_model,
                "engine left, model right; {:?} in pages of {}, after\n{}",
                self.context,
                limit,
                self.play.transcript
            );
            self.lists.set(self.lists.get() + 1);
        }
        Ok(())
    }
}

/// All pages, one after the other; each full unless it is the last.
fn follow<I: Id>(
    limit: usize,
    page: impl Fn(Slice<I>) -> Result<Page<I>, Refusal>,
) -> Result<Result<Vec<I>, Refusal>, TestCaseError> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let Page { items, has_more } = match page(Slice { after, limit }) {
            Ok(page) => page,
            Err(refusal) => return Ok(Err(refusal)),
        };
        prop_assert!(items.len() <= limit);
        prop_assert!(!has_more || items.len() == limit, "a short page");
        // A page behind a full one is there for something.
        prop_assert!(after.is_none() || !items.is_empty(), "an empty page");
        all.extend(items);
        if !has_more {
            return Ok(Ok(all));
        }
        after = all.last().copied();
    }
}

fn ids<T, I>(page: Page<T>, id: impl Fn(T) -> I) -> Page<I> {
    Page {
        items: page.items.into_iter().map(id).collect(),
        has_more: page.has_more,
    }
}
