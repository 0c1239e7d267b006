//! Pages of a search. The first page finds everything; what doesn't fit is kept, and the pages behind it are parts of that: they go
//! on at the revision of the first, whatever changes meanwhile, and each result is in exactly one of them.
//!
//! A token says where a page begins, with a check keyed by the account over caller, operation, request, revision and what was
//! found. One that was forged, cut, or made for somebody or something else never reaches what is kept. What is kept is bounded,
//! for each key and each account by itself, so that nobody's searches push out another account's.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bindery_core::attribute::{Attribute, Members};
use bindery_core::command::Caller;
use bindery_core::id::{AccountId, Id as _, IdKey, Revision};
use bindery_core::inquiry::Found;
use bindery_core::resource::Resource;
use bindery_core::time::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::problem::Problem;

/// The most results of a page, and as many as there are in one whose limit isn't said.
pub(crate) const LIMIT_MAX: usize = 1000;
/// How long a search is kept after its last page, in seconds.
const KEPT_SECONDS: u64 = 600;
/// Searches that are kept for one key at once; the one that was used longest ago goes first.
const KEPT_OF_CALLER_MAX: usize = 16;
/// Searches that are kept for one account at once.
const KEPT_OF_ACCOUNT_MAX: usize = 256;
/// Results that are kept for one account at once, eight bytes each at the most; the newest search is kept whatever its size.
const RESULTS_OF_ACCOUNT_MAX: usize = 4_000_000;

/// What a request is, beside where its page begins: whoever sends the same has the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SearchKey {
    caller: (u32, u32),
    operation: &'static str,
    /// SHA-256 of everything in the body but `page.token` and `page.limit`.
    request: [u8; 32],
}

/// A search at its revision.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    pub(crate) found: Arc<Found>,
    pub(crate) revision: Revision,
}

/// Where a page of a search begins, and what comes after it.
#[derive(Debug)]
pub(crate) struct SearchPage {
    pub(crate) search: Search,
    pub(crate) first: usize,
    pub(crate) count: usize,
    /// Empty at the end.
    pub(crate) next_token: String,
}

/// Searches whose pages are not all read.
#[derive(Debug, Default)]
pub(crate) struct Kept(Mutex<BTreeMap<AccountId, OfAccount>>);

#[derive(Debug, Default)]
struct OfAccount {
    searches: Vec<Keeping>,
}

#[derive(Debug)]
struct Keeping {
    key: SearchKey,
    /// Of what was found: the same request at the same revision finds something else once a key has ended.
    content: u64,
    search: Search,
    used_at: Timestamp,
}

/// What a token says once its check was right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    revision: Revision,
    content: u64,
    first: u64,
}

impl SearchKey {
    pub(crate) fn new(caller: Caller, operation: &'static str, body: &Members) -> Self {
        let caller = match caller {
            Caller::Key { user, key } => (user.number(), key.number()),
            Caller::Operator | Caller::Person(_) => (0, 0),
        };
        Self {
            caller,
            operation,
            request: digest(body),
        }
    }

    fn check(&self, ids: &IdKey, place: Place) -> u64 {
        let (user, key) = self.caller;
        ids.digest(&[
            b"search token",
            self.operation.as_bytes(),
            &user.to_be_bytes(),
            &key.to_be_bytes(),
            &self.request,
            &place.revision.0.to_be_bytes(),
            &place.content.to_be_bytes(),
            &place.first.to_be_bytes(),
        ])
    }

    fn write(&self, ids: &IdKey, place: Place) -> String {
        let words = [
            place.revision.0,
            place.content,
            place.first,
            self.check(ids, place),
        ];
        let bytes: Vec<u8> = words.into_iter().flat_map(u64::to_be_bytes).collect();
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn read(&self, ids: &IdKey, token: &str) -> Option<Place> {
        let bytes: [u8; 32] = URL_SAFE_NO_PAD.decode(token).ok()?.try_into().ok()?;
        let word = |place: usize| {
            let bytes: [u8; 8] = bytes.get(place * 8..place * 8 + 8)?.try_into().ok()?;
            Some(u64::from_be_bytes(bytes))
        };
        let place = Place {
            revision: Revision(word(0)?),
            content: word(1)?,
            first: word(2)?,
        };
        (self.check(ids, place) == word(3)?).then_some(place)
    }
}

impl Kept {
    /// The first page of a search, which is kept if there are more.
    pub(crate) fn begin(
        &self,
        account: AccountId,
        ids: &IdKey,
        key: SearchKey,
        search: Search,
        limit: Option<usize>,
        now: Timestamp,
    ) -> SearchPage {
        let content = content(ids, &search.found);
        let page = page(ids, &key, content, search, 0, limit);
        if !page.next_token.is_empty() {
            let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let of_account = accounts.entry(account).or_default();
            of_account.keep(Keeping {
                key,
                content,
                search: page.search.clone(),
                used_at: now,
            });
        }
        page
    }

    /// The page that this token is for.
    pub(crate) fn go_on(
        &self,
        account: AccountId,
        ids: &IdKey,
        key: SearchKey,
        token: &str,
        limit: Option<usize>,
        now: Timestamp,
    ) -> Result<SearchPage, Problem> {
        let place = key.read(ids, token).ok_or_else(|| {
            Problem::field(
                "page.token",
                "is not a token of this search; take `page.next_token` as it is, and change nothing but `page.limit`",
            )
        })?;
        let found = {
            let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let of_account = accounts.get_mut(&account);
            of_account.and_then(|of_account| of_account.find(&key, place, now))
        };
        let search = found.ok_or_else(|| {
            Problem::field(
                "page.token",
                format!("its search is no longer kept (it is for {KEPT_SECONDS} s after a page); begin anew, without `page.token`"),
            )
        })?;
        let first = usize::try_from(place.first).unwrap_or(usize::MAX);
        Ok(page(ids, &key, place.content, search, first, limit))
    }

    /// Forgets what nobody has asked for in a while.
    pub(crate) fn tidy(&self, now: Timestamp) {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        accounts.retain(|_, of_account| {
            of_account.forget(now);
            !of_account.searches.is_empty()
        });
    }
}

impl OfAccount {
    fn keep(&mut self, keeping: Keeping) {
        self.forget(keeping.used_at);
        let is_same = |one: &Keeping| {
            one.key == keeping.key
                && one.search.revision == keeping.search.revision
                && one.content == keeping.content
        };
        self.searches.retain(|one| !is_same(one));
        let caller = keeping.key.caller;
        self.searches.push(keeping);
        let of_caller = |one: &Keeping| one.key.caller == caller;
        while self.searches.iter().filter(|one| of_caller(one)).count() > KEPT_OF_CALLER_MAX {
            self.drop_first(of_caller);
        }
        while self.searches.len() > 1
            && (self.searches.len() > KEPT_OF_ACCOUNT_MAX
                || self.results() > RESULTS_OF_ACCOUNT_MAX)
        {
            self.drop_first(|_| true);
        }
    }

    /// The one that was used longest ago stands first.
    fn drop_first(&mut self, which: impl Fn(&Keeping) -> bool) {
        if let Some(place) = self.searches.iter().position(which) {
            self.searches.remove(place);
        }
    }

    fn results(&self) -> usize {
        self.searches.iter().map(|one| one.search.found.len()).sum()
    }

    fn find(&mut self, key: &SearchKey, place: Place, now: Timestamp) -> Option<Search> {
        self.forget(now);
        let found = self.searches.iter().position(|one| {
            one.key == *key && one.search.revision == place.revision && one.content == place.content
        })?;
        let mut keeping = self.searches.remove(found);
        keeping.used_at = now.max(keeping.used_at);
        let search = keeping.search.clone();
        self.searches.push(keeping);
        Some(search)
    }

    fn forget(&mut self, now: Timestamp) {
        self.searches
            .retain(|one| now < one.used_at.plus_seconds(KEPT_SECONDS));
    }
}

fn page(
    ids: &IdKey,
    key: &SearchKey,
    content: u64,
    search: Search,
    first: usize,
    limit: Option<usize>,
) -> SearchPage {
    let total = search.found.len();
    let rest = total.saturating_sub(first);
    let count = rest.min(limit.unwrap_or(LIMIT_MAX).min(LIMIT_MAX));
    let next_token = if count < rest {
        let place = Place {
            revision: search.revision,
            content,
            first: u64::try_from(first + count).unwrap_or(u64::MAX),
        };
        key.write(ids, place)
    } else {
        String::new()
    };
    SearchPage {
        search,
        first,
        count,
        next_token,
    }
}

/// Tells one result from another.
fn content(ids: &IdKey, found: &Found) -> u64 {
    let mut bytes = Vec::new();
    match found {
        Found::Users(users) => {
            for user in users {
                bytes.extend(user.number().to_be_bytes());
            }
        }
        Found::ServiceKeys(keys) => {
            for key in keys {
                bytes.extend(key.number().to_be_bytes());
            }
        }
        Found::Resources(resources) => {
            for resource in resources {
                let number = match resource {
                    Resource::Account => 0,
                    Resource::Organization(id) => id.number(),
                    Resource::Space(id) => id.number(),
                    Resource::Project(id) => id.number(),
                };
                bytes.extend(number.to_be_bytes());
            }
        }
        Found::Permissions(permissions) => {
            for permission in permissions {
                bytes.extend(permission.name().as_bytes());
                bytes.push(0);
            }
        }
    }
    ids.digest(&[b"search content", &bytes])
}

/// A digest of a body without `page.token` and `page.limit`. Every value is told with its kind and length, so that no two bodies
/// meet; the order of members means nothing.
fn digest(body: &Members) -> [u8; 32] {
    let mut hasher = Sha256::new();
    let page = match body.get("page") {
        Some(Attribute::Members(page)) => Some(page),
        _ => None,
    };
    let of_page = page.into_iter().flatten();
    let of_page = of_page.filter(|(name, _)| !matches!(name.as_str(), "token" | "limit"));
    let others = body.iter().filter(|(name, _)| *name != "page");
    // Also where there is no `page` at all, as in the request for the first one.
    add_members(&mut hasher, of_page);
    add_members(&mut hasher, others);
    hasher.finalize().into()
}

fn add_members<'a>(
    hasher: &mut Sha256,
    members: impl Iterator<Item = (&'a String, &'a Attribute)> + Clone,
) {
    hasher.update(count(members.clone().count()));
    for (name, value) in members {
        add_text(hasher, name);
        add(hasher, value);
    }
}

fn add(hasher: &mut Sha256, value: &Attribute) {
    match value {
        Attribute::Null => hasher.update(b"n"),
        Attribute::Bool(value) => hasher.update([b'b', u8::from(*value)]),
        Attribute::Integer(value) => {
            hasher.update(b"i");
            hasher.update(value.to_be_bytes());
        }
        Attribute::Float(value) => {
            hasher.update(b"f");
            hasher.update(value.to_bits().to_be_bytes());
        }
        Attribute::Text(text) => {
            hasher.update(b"t");
            add_text(hasher, text);
        }
        Attribute::List(items) => {
            hasher.update(b"l");
            hasher.update(count(items.len()));
            for item in items {
                add(hasher, item);
            }
        }
        Attribute::Members(members) => {
            hasher.update(b"m");
            add_members(hasher, members.iter());
        }
    }
}

fn add_text(hasher: &mut Sha256, text: &str) {
    hasher.update(count(text.len()));
    hasher.update(text);
}

fn count(number: usize) -> [u8; 8] {
    u64::try_from(number).unwrap_or(u64::MAX).to_be_bytes()
}
