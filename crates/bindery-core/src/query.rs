//! What a caller may see: single things (`query/reader.rs`) and pages of them (`query/lists.rs`), each decided by the same rule as
//! every answer. Today's rights decide, whatever revision the data is of.
//!
//! Pages go by id, which is the order of creation, so they are stable while things come and go between them.

use imbl::OrdMap;

use crate::api_key::SecretHash;
use crate::command::{Caller, Context};
use crate::id::{Id, SpaceId, UserId};
use crate::listing::Candidates;
pub use crate::listing::KeyKind;
use crate::refusal::{Forbidden, Refusal};
use crate::state::State;
use crate::time::Timestamp;
use crate::user::UserStatus;

mod data;
mod lists;
mod reach;
mod reader;

pub use data::Data;
pub use reader::Reader;

/// A part of a list: the things, and whether there are more behind them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// At most as many as were asked for.
    pub items: Vec<T>,
    /// Whether another page follows.
    pub has_more: bool,
}

/// Where a page begins and how long it is.
#[derive(Clone, Copy, Debug)]
pub struct Slice<I> {
    /// The last id of the page before.
    pub after: Option<I>,
    /// How many at the most.
    pub limit: usize,
}

impl<I: Id> Slice<I> {
    fn page<T>(self, all: impl Iterator<Item = T>) -> Page<T> {
        let mut items: Vec<T> = all.take(self.limit.saturating_add(1)).collect();
        let has_more = items.len() > self.limit;
        items.truncate(self.limit);
        debug_assert!(
            !has_more || items.len() == self.limit,
            "a page that is followed by another one is full"
        );
        Page { items, has_more }
    }

    fn candidates<'a>(self) -> Candidates<'a, I>
    where
        I: 'a,
    {
        Candidates::behind(self.after.unwrap_or(I::NOBODY))
    }

    fn of<V: Clone>(self, things: &OrdMap<I, V>) -> impl Iterator<Item = (&I, &V)> {
        let first = I::from_number(self.after.map_or(0, |id| id.number().saturating_add(1)));
        things.range(first..)
    }
}

/// Who it is that shows a key.
impl State {
    /// The caller behind a key's hash at `now`: an unknown, revoked or ended key, or one whose user is not active, is nobody
    /// (`docs/rules/api.md` §2).
    pub fn authenticate(&self, hash: &SecretHash, now: Timestamp) -> Option<Caller> {
        let key = self.api_key(*self.keys_by_secret.get(hash)?)?;
        let user = self.user(key.principal())?;
        let is_good = key.accepts(hash, now) && user.status(now) == Some(UserStatus::Active);
        is_good.then_some(Caller::Key {
            user: user.id,
            key: key.id,
        })
    }
}

impl State {
    /// Refuses whoever may not read the audit log: it is for account admins, where it is switched on.
    pub fn may_read_audit_logs(&self, context: &Context) -> Result<(), Refusal> {
        if !self.is_account_admin(context) {
            return Err(Refusal::Forbidden(Forbidden::NotAccountAdmin));
        }
        if !self.account().settings.audit_logging {
            return Err(Refusal::Forbidden(Forbidden::AuditLogsOff));
        }
        Ok(())
    }
}

/// Which users are wanted.
#[derive(Clone, Debug, Default)]
pub struct UserFilter {
    /// Part of the address.
    pub email: Substring,
    /// One of these; any, if empty.
    pub statuses: Vec<UserStatus>,
}

/// Which keys are wanted.
#[derive(Clone, Copy, Debug)]
pub struct KeyFilter {
    /// Keys of people, or of bots.
    pub kind: KeyKind,
    /// The revoked ones, or the ones that are valid now; expired keys are neither.
    pub is_revoked: bool,
    /// With a place in this space.
    pub space: Option<SpaceId>,
    /// Made by this user; without a space, absent means the caller.
    pub user: Option<UserId>,
}

/// Which projects are wanted; every part must hold.
#[derive(Clone, Debug, Default)]
pub struct ProjectFilter {
    /// In this space.
    pub space: Option<SpaceId>,
    /// In a space with this in its name.
    pub space_name: Substring,
    /// With this in their own name.
    pub name: Substring,
}

/// A filter on names: a part of them, ignoring case; the empty one matches all (`docs/rules/api.md` §5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Substring(String);

impl Substring {
    /// The longest filter, in code points.
    pub const LENGTH_MAX: usize = 255;

    /// Folds the case once, for all comparisons.
    pub fn new(text: &str) -> Self {
        Self(text.to_lowercase())
    }

    /// Whether it leaves nothing out.
    pub fn is_everything(&self) -> bool {
        self.0.is_empty()
    }

    fn matches(&self, folded: &str) -> bool {
        self.is_everything() || folded.contains(&self.0)
    }
}
