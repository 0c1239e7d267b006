//! Pages of a search. The first page finds everything; what doesn't fit is kept, and later pages are parts of
//! it. They stay at the revision of the first page, even if something changes meanwhile, and each result is
//! on exactly one page.
//!
//! A token says where a page begins. Its check is keyed by the account and covers caller, operation, request,
//! revision and results. A forged or cut token, or one of another caller or request, never reaches the kept
//! results. They are bounded for each key and each account separately, so no account's searches evict
//! another's.

use std::collections::{BTreeMap, BTreeSet};
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

/// The most results of a page, and the default.
pub(crate) const LIMIT_MAX: usize = 1000;
/// How long a search is kept after its last page, in seconds.
const KEPT_SECONDS: u64 = 600;
/// Searches kept for one key at once; the least recently used goes first.
const KEPT_OF_CALLER_MAX: usize = 16;
/// Searches kept for one account at once.
const KEPT_OF_ACCOUNT_MAX: usize = 256;
/// Results kept for one account at once, at most eight bytes each; the newest search is kept at any size.
const RESULTS_OF_ACCOUNT_MAX: usize = 4_000_000;

/// Identifies a request, without the place of its page. Equal requests have equal keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SearchKey {
    caller: (u32, u32),
    operation: &'static str,
    /// SHA-256 of everything in the body except `page.token` and `page.limit`.
    request: [u8; 32],
    /// How often the log was rolled back: after that, the same numbers name other things. Not part of tokens.
    divergences: u64,
}

/// A search at its revision.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    pub(crate) found: Arc<Found>,
    pub(crate) revision: Revision,
}

/// Where a page of a search begins, and what follows.
#[derive(Debug)]
pub(crate) struct SearchPage {
    pub(crate) search: Search,
    pub(crate) first: usize,
    pub(crate) count: usize,
    /// Empty at the end.
    pub(crate) next_token: String,
}

/// The kept searches, as one request sees them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keeper<'a> {
    pub(crate) kept: &'a KeptSearches,
    pub(crate) account: AccountId,
    pub(crate) ids: &'a IdKey,
    pub(crate) key: SearchKey,
    pub(crate) now: Timestamp,
}

/// Searches with pages left to read.
#[derive(Debug, Default)]
pub(crate) struct KeptSearches(Mutex<BTreeMap<AccountId, OfAccount>>);

#[derive(Debug, Default)]
struct OfAccount {
    searches: Vec<Keeping>,
}

#[derive(Debug)]
struct Keeping {
    key: SearchKey,
    /// A digest of the results: the same request at the same revision has other results once a key has
    /// expired.
    content: u64,
    search: Search,
    used_at: Timestamp,
}

/// The content of a token with a correct check.
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
            divergences: 0,
        }
    }

    pub(crate) fn since(self, divergences: u64) -> Self {
        Self {
            divergences,
            ..self
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

impl Keeper<'_> {
    /// The first page of a search, which is kept if there are more.
    pub(crate) fn begin(&self, search: Search, limit: Option<usize>) -> SearchPage {
        let content = content(self.ids, &search.found);
        self.page(content, search, 0, limit)
    }

    /// The page of this token. `again` runs the search again if it isn't kept.
    pub(crate) fn go_on(
        &self,
        token: &str,
        limit: Option<usize>,
        may_still_ask: impl FnOnce(&Found) -> bool,
        again: impl FnOnce() -> Search,
    ) -> Result<SearchPage, Problem> {
        let place = self.key.read(self.ids, token).ok_or_else(|| {
            Problem::field(
                "page.token",
                "is not a token of this search; take `page.next_token` as it is, and change nothing but `page.limit`",
            )
        })?;
        let found = self.kept.find(self, place);
        // A caller who may now ask about less starts again.
        let found = found.filter(|search| may_still_ask(&search.found));
        let search = found
            .or_else(|| {
                let search = again();
                let is_same = search.revision == place.revision
                    && content(self.ids, &search.found) == place.content;
                is_same.then_some(search)
            })
            .ok_or_else(|| {
                Problem::field(
                    "page.token",
                    format!(
                        "there were changes, and its search is no longer kept (it is for {KEPT_SECONDS} s after a page, by the \
                         server that began it, and as long as you may ask as much); start the search again, without `page.token`"
                    ),
                )
            })?;
        let first = usize::try_from(place.first).unwrap_or(usize::MAX);
        Ok(self.page(place.content, search, first, limit))
    }

    /// A part of the search, which is kept if more pages follow.
    fn page(&self, content: u64, search: Search, first: usize, limit: Option<usize>) -> SearchPage {
        let total = search.found.len();
        let rest = total.saturating_sub(first);
        let count = rest.min(limit.unwrap_or(LIMIT_MAX).min(LIMIT_MAX));
        let mut next_token = String::new();
        if count < rest {
            let place = Place {
                revision: search.revision,
                content,
                first: u64::try_from(first + count).unwrap_or(u64::MAX),
            };
            next_token = self.key.write(self.ids, place);
            self.kept.keep(self, content, search.clone());
        }
        SearchPage {
            search,
            first,
            count,
            next_token,
        }
    }
}

impl KeptSearches {
    fn keep(&self, keeper: &Keeper<'_>, content: u64, search: Search) {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_account = accounts.entry(keeper.account).or_default();
        of_account.keep(Keeping {
            key: keeper.key,
            content,
            search,
            used_at: keeper.now,
        });
    }

    fn find(&self, keeper: &Keeper<'_>, place: Place) -> Option<Search> {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        accounts
            .get_mut(&keeper.account)?
            .find(&keeper.key, place, keeper.now)
    }

    /// Drops the searches of these accounts.
    pub(crate) fn forget(&self, accounts: &BTreeSet<AccountId>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|account, _| !accounts.contains(account));
    }

    /// Drops expired searches.
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

    /// Drops the least recently used one, which comes first.
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

/// A digest of the results.
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

/// A digest of a body without `page.token` and `page.limit`. Every value is hashed with its type and length,
/// so different bodies never give the same input; the order of members does not matter.
fn digest(body: &Members) -> [u8; 32] {
    let mut hasher = Sha256::new();
    let page = match body.get("page") {
        Some(Attribute::Members(page)) => Some(page),
        _ => None,
    };
    let of_page = page.into_iter().flatten();
    let of_page = of_page.filter(|(name, _)| !matches!(name.as_str(), "token" | "limit"));
    let others = body.iter().filter(|(name, _)| *name != "page");
    // Also if there is no `page`, as in the request for the first one.
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

#[cfg(test)]
mod tests {
    use bindery_core::change::{Entry, OneOperation};
    use bindery_core::command::Context;
    use bindery_core::decision::Question;
    use bindery_core::id::{ApiKeyId, UserId};
    use bindery_core::inquiry::SubjectKind;
    use bindery_core::permission::Permission;
    use bindery_core::resource::Level;
    use bindery_core::state::State;
    use bindery_model::history::{History, START, histories};
    use bindery_model::model::Model;
    use proptest::test_runner::{Config, RngSeed, TestRunner};

    use super::*;

    fn keeper<'a>(
        kept: &'a KeptSearches,
        account: u32,
        ids: &'a IdKey,
        key: SearchKey,
    ) -> Keeper<'a> {
        Keeper {
            kept,
            account: AccountId(account),
            ids,
            key,
            now: START,
        }
    }

    /// A search that must not run.
    fn elsewhere() -> Search {
        Search {
            found: Found::Users(Vec::new()).into(),
            revision: Revision(u64::MAX),
        }
    }

    const LIMITS: [usize; 7] = [1, 2, 3, 5, 7, 40, LIMIT_MAX];

    /// A search of one caller, read page by page.
    struct Walk {
        key: SearchKey,
        limit: usize,
        token: String,
        met: Vec<u64>,
        /// All results at the revision of the first page.
        expected: Vec<u64>,
        revision: Revision,
        pages: usize,
    }

    #[test]
    fn pages_while_changes_go_on_are_the_brute_force_at_the_first_ones_revision() {
        let seed = std::env::var("BINDERY_SEED").ok();
        let seed = seed.and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| getrandom::u64().unwrap());
        let mut runner = TestRunner::new(Config {
            cases: 96,
            failure_persistence: None,
            rng_seed: RngSeed::Fixed(seed),
            ..Config::default()
        });
        let tally = std::cell::Cell::new((0_usize, 0_usize));
        let outcome = runner.run(&histories(1..120), |history| {
            let (walked, across) = walk_amid(&history);
            let (all, all_across) = tally.get();
            tally.set((all + walked, all_across + across));
            Ok(())
        });
        assert!(outcome.is_ok(), "BINDERY_SEED={seed}: {outcome:?}");
        let (walked, across) = tally.get();
        println!("{walked} searches read to their end, {across} of them across changes");
        assert!(walked > 2000 && across > 200);
    }

    /// Plays a history. After each command a search begins, and each unfinished one reads its next page.
    fn walk_amid(history: &History) -> (usize, usize) {
        let kept = KeptSearches::default();
        let mut state = State::new(history.account());
        let mut model = Model::new(history.account());
        let mut now = START;
        let mut walks: Vec<Walk> = Vec::new();
        let (mut walked, mut across) = (0, 0);
        let founding = history.founding();
        let steps = std::iter::once(None).chain(history.steps.iter().map(Some));
        for (step, serial) in steps.zip(0_u32..) {
            let (context, command) = match step {
                None => founding.clone(),
                Some(step) => {
                    now = Timestamp::from_millis(now.as_millis() + i64::from(step.wait_ms));
                    step.resolve(&model, now, serial)
                }
            };
            let changes = command.run_on(&state, &context).unwrap_or_default();
            let _ = model.run(&context, &command);
            if !changes.is_empty() {
                let entry = Entry::from(OneOperation {
                    revision: state.revision().next(),
                    at: now,
                    by: None,
                    key: None,
                    operation: command.operation().to_owned(),
                    batch: 0,
                    changes,
                });
                state.advance(&entry);
            }
            let draw = usize::try_from(serial).unwrap() + history.steps.len();
            // Fewer than are kept for one caller.
            if walks.len() < KEPT_OF_CALLER_MAX {
                walks.push(begin(&kept, &state, &model, now, draw));
            }
            let (done, under_way) = walks.into_iter().partition(|walk| walk.token.is_empty());
            walks = under_way;
            for walk in &mut walks {
                go_on(&kept, &state, walk);
            }
            walked += finish(done, &mut across);
        }
        while let Some(mut walk) = walks.pop() {
            while !walk.token.is_empty() {
                go_on(&kept, &state, &mut walk);
            }
            walked += finish(vec![walk], &mut across);
        }
        (walked, across)
    }

    fn finish(done: Vec<Walk>, across: &mut usize) -> usize {
        let count = done.len();
        for walk in done {
            assert_eq!(walk.met, walk.expected, "limit {}", walk.limit);
            *across += usize::from(walk.pages > 1);
        }
        count
    }

    fn begin(
        kept: &KeptSearches,
        state: &State,
        model: &Model,
        now: Timestamp,
        draw: usize,
    ) -> Walk {
        // The founder and all others in turn.
        let keys: Vec<&bindery_core::api_key::ApiKey> = model.api_keys.iter().collect();
        let place = if draw.is_multiple_of(3) { 0 } else { draw };
        let key = keys.get(place % keys.len().max(1)).copied();
        let caller = key.map_or(Caller::Operator, |key| Caller::Key {
            user: key.principal(),
            key: key.id,
        });
        let context = Context { caller, now };
        let permission = [
            Permission::ProjectRead,
            Permission::SpaceRead,
            Permission::UserRead,
        ][draw % 3];
        let operation = ["users", "keys", "projects", "permissions"][draw % 4];
        let subject = model.users.get(draw % model.users.len().max(1));
        let subject = subject.map_or(UserId::NOBODY, |user| user.id);
        let resource = model
            .projects
            .get(draw % model.projects.len().max(1))
            .map_or(Resource::Account, |project| project.id.into());
        let found = match operation {
            "users" | "keys" => {
                let kind = if operation == "users" {
                    SubjectKind::User
                } else {
                    SubjectKind::ServiceKey
                };
                let users = state.users_of(permission, resource, now);
                state.askable_subjects(&context, kind, resource, users)
            }
            "projects" => {
                let resources = state.resources_of(subject, permission, Level::Project, now);
                state.askable_resources(&context, subject, resources)
            }
            _ => state.askable_permissions(&context, subject, resource),
        };
        let may = |subject, permission, resource| {
            let question = Question {
                principal: subject,
                permission,
                resource,
            };
            model.may(&question, now) && model.may_ask(&context, subject, resource)
        };
        let expected: Vec<u64> = match operation {
            "users" => {
                let all = model.users.iter().map(|user| user.id);
                let all = all.filter(|user| may(*user, permission, resource));
                all.map(|user| user.number().into()).collect()
            }
            "keys" => {
                let all = model.api_keys.iter().filter(|key| {
                    let bot = key.principal();
                    state.key_of_bot(bot) == Some(key.id) && may(bot, permission, resource)
                });
                all.map(|key| key.id.number().into()).collect()
            }
            "projects" => {
                let all = model.projects.iter().map(|project| project.id);
                let all = all.filter(|project| may(subject, permission, (*project).into()));
                all.map(|project| project.number().into()).collect()
            }
            _ => {
                let all = Permission::ALL.into_iter().zip(0_u64..);
                let all = all.filter(|(permission, _)| may(subject, *permission, resource));
                all.map(|(_, place)| place).collect()
            }
        };
        let limit = LIMITS[draw % LIMITS.len()];
        // A different request for each walk.
        let body = Members::from([(
            "walk".to_owned(),
            Attribute::Integer(i128::try_from(draw).unwrap()),
        )]);
        let key = SearchKey::new(caller, operation, &body);
        let search = Search {
            found: found.into(),
            revision: state.revision(),
        };
        let page = keeper(kept, 1, state.ids(), key).begin(search, Some(limit));
        Walk {
            key,
            limit,
            token: page.next_token.clone(),
            met: numbers(&page),
            expected,
            revision: state.revision(),
            pages: 1,
        }
    }

    fn go_on(kept: &KeptSearches, state: &State, walk: &mut Walk) {
        let limit = Some(walk.limit);
        let keeper = keeper(kept, 1, state.ids(), walk.key);
        let page = keeper.go_on(&walk.token, limit, |_| true, elsewhere);
        let page = page.unwrap();
        assert_eq!(page.search.revision, walk.revision);
        assert!(page.count > 0 && page.count <= walk.limit);
        walk.met.extend(numbers(&page));
        walk.token = page.next_token;
        walk.pages += 1;
    }

    fn numbers(page: &SearchPage) -> Vec<u64> {
        let all: Vec<u64> = match &*page.search.found {
            Found::Users(users) => users.iter().map(|user| user.number().into()).collect(),
            Found::ServiceKeys(keys) => keys.iter().map(|key| key.number().into()).collect(),
            Found::Resources(resources) => resources
                .iter()
                .map(|resource| match resource {
                    Resource::Project(id) => id.number().into(),
                    _ => 0,
                })
                .collect(),
            Found::Permissions(permissions) => permissions
                .iter()
                .map(|one| {
                    let place = Permission::ALL.iter().position(|other| other == one);
                    u64::try_from(place.unwrap()).unwrap()
                })
                .collect(),
        };
        all[page.first..page.first + page.count].to_vec()
    }

    #[test]
    fn bodies_are_the_same_request_only_if_they_say_the_same() {
        let read = |text: &str| digest(&crate::json::parse_open(text.as_bytes()).unwrap());
        let same = [
            r#"{"a":"x","b":1}"#,
            r#" {"b":1, "\u0061":"x"} "#,
            r#"{"a":"x","b":1,"page":{}}"#,
            r#"{"a":"x","b":1,"page":{"token":"t","limit":3}}"#,
        ];
        for text in same {
            assert_eq!(read(text), read(same[0]), "{text}");
        }
        let different = [
            same[0],
            "{}",
            r#"{"a":"x"}"#,
            r#"{"a":"x1","b":1}"#,
            r#"{"ax":"","b":1}"#,
            // Without lengths, the text between the two would look like a part of them.
            r#"{"at":"","b":1}"#,
            r#"{"a":"t","b":1}"#,
            r#"{"a":"x","b":"1"}"#,
            r#"{"a":"x","b":1.5}"#,
            r#"{"a":"x","b":true}"#,
            r#"{"a":"x","b":[1]}"#,
            r#"{"a":"x","b":[]}"#,
            r#"{"a":"x","b":{}}"#,
            r#"{"a":"x","b":[[],1]}"#,
            r#"{"a":"x","b":[[1]]}"#,
            r#"{"a":"x","b":{"c":1}}"#,
            r#"{"a":"x","b":1,"c":null}"#,
            r#"{"a":"x","b":1,"token":"t"}"#,
            r#"{"a":"x","b":1,"page":{"properties":{}}}"#,
        ];
        for (place, one) in different.iter().enumerate() {
            for other in &different[place + 1..] {
                assert_ne!(read(one), read(other), "{one} {other}");
            }
        }
    }

    #[test]
    fn what_was_found_before_the_store_had_lost_it_is_not_read_on() {
        let (kept, ids) = (KeptSearches::default(), IdKey::new([1; 16]));
        let key = SearchKey::new(Caller::Operator, "search", &Members::new());
        let search = Search {
            found: Found::Users((1..4).map(UserId::new).collect()).into(),
            revision: Revision(1),
        };
        let page = keeper(&kept, 1, &ids, key).begin(search, Some(1));
        let go_on = |divergences| {
            let keeper = keeper(&kept, 1, &ids, key.since(divergences));
            keeper.go_on(&page.next_token, Some(1), |_| true, elsewhere)
        };
        assert!(go_on(0).is_ok());
        assert!(go_on(1).is_err());
    }

    #[test]
    fn one_account_never_pushes_out_anothers_searches() {
        let kept = KeptSearches::default();
        let ids = IdKey::new([1; 16]);
        let begin = |account: u32, key: u32, number: i128, results: u32| {
            let body = Members::from([("n".to_owned(), Attribute::Integer(number))]);
            let caller = Caller::Key {
                user: UserId::new(1),
                key: ApiKeyId::new(key),
            };
            let key = SearchKey::new(caller, "search", &body);
            let search = Search {
                found: Found::Users((0..results).map(UserId::new).collect()).into(),
                revision: Revision(1),
            };
            let page = keeper(&kept, account, &ids, key).begin(search, Some(1));
            (key, page.next_token)
        };
        let is_kept = |account: u32, (key, token): &(SearchKey, String)| {
            let keeper = keeper(&kept, account, &ids, *key);
            keeper.go_on(token, Some(1), |_| true, elsewhere).is_ok()
        };
        let mine = begin(1, 1, 0, 3);
        for key in 0..400 {
            begin(2, key, 0, 3);
        }
        assert!(is_kept(1, &mine));
        assert!(!is_kept(2, &mine), "nor is that of another account");
        // An account has a bound for all of its searches; the newest is kept at any size.
        let huge = begin(1, 2, 0, u32::try_from(RESULTS_OF_ACCOUNT_MAX).unwrap() + 1);
        assert!(is_kept(1, &huge) && !is_kept(1, &mine));
        let small = begin(1, 1, 1, 3);
        assert!(is_kept(1, &small) && !is_kept(1, &huge));
        let searches: usize = {
            let accounts = kept.0.lock().unwrap();
            accounts.values().map(|of| of.searches.len()).sum()
        };
        assert_eq!(searches, KEPT_OF_ACCOUNT_MAX + 1);
        kept.tidy(START.plus_seconds(KEPT_SECONDS));
        assert!(kept.0.lock().unwrap().is_empty());
    }
}
