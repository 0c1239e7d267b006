//! What a page of each list costs in a small and in a big account: `cargo bench -p bindery-core --bench lists`.
//!
//! It prints a row for each list, caller and place of the page, and marks those that cost more than [`RATIO_MAX`] times as
//! much in the big account. Filters that match nothing look at everything they leave out, and stand apart. It only
//! reports: how long something takes fails no build. A plain loop does the timing, since it is the ratio of two times that is
//! wanted, and none of the usual harnesses gives that.

#![expect(clippy::print_stdout, reason = "a bench reports")]
#![expect(
    clippy::unwrap_used,
    reason = "the accounts are made of good texts, and each list is there"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use bindery_core::command::{Caller, Context};
use bindery_core::id::{ApiKeyId, Id, UserId};
use bindery_core::query::{KeyFilter, KeyKind, Page, ProjectFilter, Slice, Substring, UserFilter};
use bindery_core::refusal::Refusal;
use bindery_core::resource::BindableKind;
use bindery_core::state::State;

use world::{BIG, BIG_SPACE, CLOSED, NOW, PERSONAS, SMALL, SOMEBODY, Size, build};

mod world;

const PAGE: usize = 100;
const RATIO_MAX: f64 = 5.0;

/// A list to measure.
struct List {
    name: &'static str,
    page: Pager,
}

/// A page from behind a cursor, as the numbers of ids.
type Pager = fn(&State, &Context, Option<u32>, usize) -> Result<Vec<u32>, Refusal>;

const LISTS: [List; 16] = [
    List {
        name: "role bindings on spaces",
        page: |state, context, after, limit| {
            let kind = BindableKind::Space;
            let page = state
                .reader(*context)
                .role_bindings(kind, None, slice(after, limit))?;
            Ok(numbers(&page, |binding| binding.id))
        },
    },
    List {
        name: "role bindings on projects",
        page: |state, context, after, limit| {
            let kind = BindableKind::Project;
            let page = state
                .reader(*context)
                .role_bindings(kind, None, slice(after, limit))?;
            Ok(numbers(&page, |binding| binding.id))
        },
    },
    List {
        name: "role bindings of one user",
        page: |state, context, after, limit| {
            let (kind, of) = (BindableKind::Space, Some(SOMEBODY));
            let page = state
                .reader(*context)
                .role_bindings(kind, of, slice(after, limit))?;
            Ok(numbers(&page, |binding| binding.id))
        },
    },
    List {
        name: "roles",
        page: |state, context, after, limit| {
            let page = state.reader(*context).roles(None, slice(after, limit))?;
            Ok(numbers(&page, |role| role.id()))
        },
    },
    List {
        name: "restrictions",
        page: |state, context, after, limit| {
            let page = state.reader(*context).restrictions(slice(after, limit));
            Ok(numbers(&page, |restriction| restriction.project))
        },
    },
    List {
        name: "users",
        page: |state, context, after, limit| users(state, context, "", after, limit),
    },
    List {
        name: "users, half match",
        page: |state, context, after, limit| users(state, context, "1", after, limit),
    },
    List {
        name: "organizations",
        page: |state, context, after, limit| Ok(organizations(state, context, "", after, limit)),
    },
    List {
        name: "spaces",
        page: |state, context, after, limit| spaces(state, context, "", after, limit),
    },
    List {
        name: "spaces of an organization",
        page: |state, context, after, limit| {
            let any = Substring::default();
            let page = state
                .reader(*context)
                .spaces(Some(CLOSED), &any, slice(after, limit))?;
            Ok(numbers(&page, |space| space.id))
        },
    },
    List {
        name: "projects",
        page: |state, context, after, limit| projects(state, context, "", after, limit),
    },
    List {
        name: "projects, half match",
        page: |state, context, after, limit| projects(state, context, "1", after, limit),
    },
    List {
        name: "projects of a space",
        page: |state, context, after, limit| {
            let filter = ProjectFilter {
                space: Some(BIG_SPACE),
                ..ProjectFilter::default()
            };
            let page = state
                .reader(*context)
                .projects(&filter, slice(after, limit))?;
            Ok(numbers(&page, |project| project.id))
        },
    },
    List {
        name: "own user keys",
        page: |state, context, after, limit| {
            let filter = key_filter(KeyKind::User);
            let page = state.reader(*context).keys(&filter, slice(after, limit))?;
            Ok(numbers(&page, |key| key.id))
        },
    },
    List {
        name: "own service keys",
        page: |state, context, after, limit| {
            let filter = key_filter(KeyKind::Service);
            let page = state.reader(*context).keys(&filter, slice(after, limit))?;
            Ok(numbers(&page, |key| key.id))
        },
    },
    List {
        name: "service keys of a space",
        page: |state, context, after, limit| {
            let filter = KeyFilter {
                space: Some(BIG_SPACE),
                ..key_filter(KeyKind::Service)
            };
            let page = state.reader(*context).keys(&filter, slice(after, limit))?;
            Ok(numbers(&page, |key| key.id))
        },
    },
];

/// Nothing has this in its name, and everything has to be looked at to know.
const NOWHERE: &str = "nowhere";

const FILTERED_TO_NOTHING: [List; 4] = [
    List {
        name: "users",
        page: |state, context, after, limit| users(state, context, NOWHERE, after, limit),
    },
    List {
        name: "organizations",
        page: |state, context, after, limit| {
            Ok(organizations(state, context, NOWHERE, after, limit))
        },
    },
    List {
        name: "spaces",
        page: |state, context, after, limit| spaces(state, context, NOWHERE, after, limit),
    },
    List {
        name: "projects",
        page: |state, context, after, limit| projects(state, context, NOWHERE, after, limit),
    },
];

fn main() {
    // `cargo test --all-targets` runs benches too, to see that they start.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let small = build_loudly("small", SMALL);
    let big = build_loudly("big", BIG);
    println!("\na page of {PAGE}; the fastest of {BATCHES} batches of {BATCH:?} or one page");
    let over = print_table(&LISTS, &small, &big, Some(RATIO_MAX));
    println!(
        "\nfilters that match nothing: they cost what they look at, and count for nothing here"
    );
    print_table(&FILTERED_TO_NOTHING, &small, &big, None);
    println!("\nover {RATIO_MAX} (filters that match nothing apart): {over}");
}

fn build_loudly(name: &str, size: Size) -> State {
    #[expect(clippy::disallowed_methods, reason = "a bench has a clock")]
    let started = Instant::now();
    let state = build(size);
    println!("{name}: {size:?}, built in {:.1?}", started.elapsed());
    state
}

/// Prints a row a measurement, and tells how many ratios are over the bound, if there is one.
fn print_table(lists: &[List], small: &State, big: &State, bound: Option<f64>) -> usize {
    println!(
        "{:<27} {:<21} {:<6} {:>11} {:>10} {:>10} {:>7}",
        "list", "caller", "page", "items", "small", "big", "ratio"
    );
    let mut over = 0;
    for list in lists {
        for (persona, user) in PERSONAS {
            let context = Context {
                caller: Caller::Key {
                    user,
                    key: ApiKeyId::NOBODY,
                },
                now: NOW,
            };
            for (place, is_middle) in [("first", false), ("middle", true)] {
                let measured = |state| measure(list, state, &context, is_middle);
                let (Some(small), Some(big)) = (measured(small), measured(big)) else {
                    continue;
                };
                let ratio = big.time.as_secs_f64() / small.time.as_secs_f64();
                let is_over = bound.is_some_and(|bound| ratio > bound);
                let mark = if is_over { "  OVER" } else { "" };
                over += usize::from(is_over);
                println!(
                    "{:<27} {persona:<21} {place:<6} {:>11} {:>10} {:>10} {ratio:>6.1}x{mark}",
                    list.name,
                    format!("{}/{}", small.items, big.items),
                    format!("{:.1?}", small.time),
                    format!("{:.1?}", big.time),
                );
            }
        }
    }
    over
}

struct Measured {
    items: usize,
    time: Duration,
}

const BATCHES: usize = 15;
const BATCH: Duration = Duration::from_millis(2);

/// The time of a page in the fastest of some batches, since all else is the machine's doing; nothing if the caller is refused, or there is no page in the middle.
fn measure(list: &List, state: &State, context: &Context, is_middle: bool) -> Option<Measured> {
    let whole = (list.page)(state, context, None, usize::MAX - 1).ok()?;
    let after = if is_middle {
        // As far in as a full page allows.
        let place = (whole.len() / 2).min(whole.len().checked_sub(PAGE + 1)?);
        Some(whole[place])
    } else {
        None
    };
    let page = || (list.page)(state, context, black_box(after), PAGE).unwrap();
    let items = page().len();
    let pages = BATCH.as_nanos() / time(1, page).as_nanos().max(1) + 1;
    let pages = u32::try_from(pages).unwrap();
    let time = (0..BATCHES).map(|_| time(pages, page)).min()?;
    Some(Measured { items, time })
}

/// The time of one of so many pages.
fn time(pages: u32, page: impl Fn() -> Vec<u32>) -> Duration {
    #[expect(clippy::disallowed_methods, reason = "a bench has a clock")]
    let started = Instant::now();
    for _ in 0..pages {
        black_box(page());
    }
    started.elapsed() / pages
}

fn users(
    state: &State,
    context: &Context,
    email: &str,
    after: Option<u32>,
    limit: usize,
) -> Result<Vec<u32>, Refusal> {
    let filter = UserFilter {
        email: Substring::new(email),
        statuses: Vec::new(),
    };
    let page = state.reader(*context).users(&filter, slice(after, limit))?;
    Ok(numbers(&page, |user| user.id))
}

fn organizations(
    state: &State,
    context: &Context,
    name: &str,
    after: Option<u32>,
    limit: usize,
) -> Vec<u32> {
    let page = state
        .reader(*context)
        .organizations(&Substring::new(name), slice(after, limit));
    numbers(&page, |organization| organization.id)
}

fn spaces(
    state: &State,
    context: &Context,
    name: &str,
    after: Option<u32>,
    limit: usize,
) -> Result<Vec<u32>, Refusal> {
    let page = state
        .reader(*context)
        .spaces(None, &Substring::new(name), slice(after, limit))?;
    Ok(numbers(&page, |space| space.id))
}

fn projects(
    state: &State,
    context: &Context,
    name: &str,
    after: Option<u32>,
    limit: usize,
) -> Result<Vec<u32>, Refusal> {
    let filter = ProjectFilter {
        name: Substring::new(name),
        ..ProjectFilter::default()
    };
    let page = state
        .reader(*context)
        .projects(&filter, slice(after, limit))?;
    Ok(numbers(&page, |project| project.id))
}

fn key_filter(kind: KeyKind) -> KeyFilter {
    KeyFilter {
        kind,
        is_revoked: false,
        space: None,
        user: None::<UserId>,
    }
}

fn slice<I: Id>(after: Option<u32>, limit: usize) -> Slice<I> {
    Slice {
        after: after.map(I::from_number),
        limit,
    }
}

fn numbers<T, I: Id>(page: &Page<T>, id: impl Fn(&T) -> I) -> Vec<u32> {
    page.items.iter().map(|item| id(item).number()).collect()
}
