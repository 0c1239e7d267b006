//! Cursors, page tokens, and the other short texts of a request.

use std::collections::BTreeSet;

use bindery_core::attribute::Members;
use bindery_core::command::Caller;
use bindery_core::id::{AccountId, ApiKeyId, Id as _, Revision, UserId};
use bindery_core::inquiry::Found;
use bindery_core::time::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::audited::audited_variables;
use crate::kept_searches::{Keeper, KeptSearches, Search, SearchKey};
use crate::operations::OPERATIONS;
use crate::page::Cursors;
use crate::query::Query;
use crate::secret::{KeyText, LinkToken, redact};
use crate::wire::{Moment, moment};

use super::{KEY, assert_without_keys};

/// The first byte says what follows.
/// * `c`: a cursor: eight bytes of its number, then edits.
/// * `s`: pages of a search: how many results, how many on a page, which page, then edits of its token.
/// * `q`: the id of an operation, a line end, and the query of a URL.
/// * else a text that may be a time, a key or the token of a link.
///
/// An edit is a position and the byte to put there.
///
/// # Panics
///
/// If a cursor or token is accepted that was not issued, or was issued for another list. If pages don't have
/// each result once, or if a parsed value changes when it is written and parsed again.
pub fn tokens(bytes: &[u8]) {
    match bytes.split_first() {
        Some((b'c', rest)) => {
            if let Some((number, edits)) = rest.split_first_chunk() {
                edited_cursor(u64::from_be_bytes(*number), edits);
            }
        }
        Some((b's', rest)) => {
            if let Some((numbers, edits)) = rest.split_first_chunk() {
                edited_page_token(*numbers, edits);
            }
        }
        Some((b'q', rest)) => query(&String::from_utf8_lossy(rest)),
        Some((_, rest)) => text(&String::from_utf8_lossy(rest)),
        None => {}
    }
}

fn edited(genuine: &str, edits: &[u8]) -> String {
    let mut text = genuine.as_bytes().to_vec();
    for edit in edits.as_chunks().0 {
        let [place, byte]: [u8; 2] = *edit;
        match text.get_mut(usize::from(place)) {
            Some(found) => *found = byte,
            None => text.push(byte),
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// The cursor of a page that ends with this number.
fn cursor_of(last: u64, operation: &str, query: &Query) -> String {
    let pagination = Cursors::new(&KEY, operation, query).pagination_after(Some(last));
    let pagination = serde_json::to_value(pagination).expect("it can be written");
    let cursor = pagination["next_cursor"].as_str();
    cursor.expect("there is more").to_owned()
}

fn edited_cursor(last: u64, edits: &[u8]) {
    const KNOWN: [&str; 2] = ["cursor", "name"];
    let genuine = cursor_of(last, "list_spaces", &Query::default());
    let after = |cursor: &str, operation: &str, filter: &str| {
        let cursor = utf8_percent_encode(cursor, NON_ALPHANUMERIC);
        let query = Query::parse(&format!("cursor={cursor}{filter}"), &KNOWN);
        let query = query.expect("it is a query");
        let after = Cursors::new(&KEY, operation, &query).after();
        after.ok().flatten()
    };
    assert_eq!(after(&genuine, "list_spaces", ""), Some(last));
    assert_eq!(after(&genuine, "list_projects", ""), None);
    assert_eq!(after(&genuine, "list_spaces", "&name=x"), None);
    let edited = edited(&genuine, edits);
    let found = after(&edited, "list_spaces", "");
    assert_eq!(found, (edited == genuine).then_some(last), "{edited}");
}

fn edited_page_token([results, limit, page]: [u8; 3], edits: &[u8]) {
    let kept = KeptSearches::default();
    let caller = Caller::Key {
        user: UserId::new(1),
        key: ApiKeyId::new(1),
    };
    let keeper = |operation| Keeper {
        kept: &kept,
        account: AccountId(1),
        ids: &KEY,
        key: SearchKey::new(caller, operation, &Members::new()),
        now: Timestamp::from_millis(0),
    };
    let search = |revision| Search {
        found: Found::Users((1..=results.into()).map(UserId::new).collect()).into(),
        revision: Revision(revision),
    };
    let limit = Some(usize::from(limit));
    let keeper_here = keeper("search_subject");
    let mut current = keeper_here.begin(search(1), limit);
    let (mut met, mut pages) = (BTreeSet::new(), 0_u8);
    loop {
        let Found::Users(users) = &*current.search.found else {
            unreachable!("users were searched");
        };
        for user in &users[current.first..current.first + current.count] {
            assert!(met.insert(user.number()), "{user:?} is on two pages");
        }
        let token = current.next_token;
        if pages == page && !token.is_empty() {
            let edited = edited(&token, edits);
            let found = keeper_here.go_on(&edited, limit, |_| true, || search(1));
            assert_eq!(found.is_ok(), edited == token, "{edited}");
            let elsewhere = keeper("search_action").go_on(&token, limit, |_| true, || search(1));
            assert!(elsewhere.is_err(), "it is good for another search");
        }
        pages = pages.saturating_add(1);
        if token.is_empty() {
            assert_eq!(met.len(), usize::from(results));
            return;
        }
        // The token of a page without results leads to itself.
        if limit == Some(0) {
            return;
        }
        let next = keeper_here.go_on(&token, limit, |_| true, || search(1));
        current = next.expect("it was given out");
    }
}

fn query(bytes: &str) {
    let (operation, text) = bytes.split_once('\n').unwrap_or((bytes, ""));
    let Some(operation) = OPERATIONS.iter().find(|one| one.id == operation) else {
        return;
    };
    let Ok(query) = Query::parse(text, operation.query) else {
        return;
    };
    let written: Vec<String> = query
        .pairs()
        .map(|(name, value)| {
            let value = utf8_percent_encode(value, NON_ALPHANUMERIC);
            format!("{name}={value}")
        })
        .collect();
    let again = Query::parse(&written.join("&"), operation.query);
    let again = again.expect("it was read before");
    assert!(again.pairs().eq(query.pairs()), "{text}");
    let cursors = Cursors::new(&KEY, operation.id, &query);
    if let Ok(Some(last)) = cursors.after() {
        let genuine = cursor_of(last, operation.id, &query);
        assert_eq!(query.one("cursor").ok().flatten(), Some(genuine.as_str()));
    }
    if let Ok(limit) = cursors.limit() {
        assert!((1..=crate::page::LIMIT_MAX).contains(&limit), "{limit}");
    }
    for name in operation.query {
        let _ = (query.flag(name), query.substring(name));
        if let Ok(Some(value)) = query.one(name) {
            moment_is_read_again(value);
        }
    }
    if let Some(kept) = audited_variables(&[], query.pairs()) {
        assert_without_keys(&kept);
    }
}

fn moment_is_read_again(text: &str) {
    if let Ok(read) = moment("at", text) {
        let written = serde_json::to_value(Moment(read)).expect("what is read can be written");
        let written = written.as_str().expect("it is a text");
        let again = moment("at", written).expect("what is written can be read");
        assert_eq!(again, read, "{text}, {written}");
    }
}

fn text(text: &str) {
    moment_is_read_again(text);
    if let Ok(key) = KeyText::parse(text) {
        assert_eq!(key.reveal(), text);
        let secret = key.secret();
        assert!(secret.redacted.len() < 16, "{}", secret.redacted);
    }
    if LinkToken::hash_of(text).is_some() {
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    }
    let redacted = redact(text);
    assert_without_keys(&redacted);
    assert_eq!(redact(&redacted), redacted);
}
