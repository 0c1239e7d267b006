//! Pages: `limit`, opaque cursors, and the `pagination` member (`docs/rules/api.md` §5).
//!
//! A cursor is the last id of its page, with a check keyed by the account over operation, filters and id. A
//! forged or cut cursor, or one of another account or query, is refused and never reaches the lists.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bindery_core::id::{Id, IdKey};
use bindery_core::query::{Page, Slice};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;

use crate::problem::Problem;
use crate::query::Query;

pub(crate) const LIMIT_DEFAULT: usize = 50;
pub(crate) const LIMIT_MAX: usize = 100;

/// The last member of every list.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Pagination {
    has_more: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "CursorText")]
    next_cursor: Option<String>,
}

/// The `limit` of a list.
#[derive(Debug)]
pub(crate) enum LimitText {}

impl JsonSchema for LimitText {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        Cow::from("Limit")
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "integer",
            "minimum": 1,
            "maximum": LIMIT_MAX,
            "default": LIMIT_DEFAULT,
        })
    }
}

/// The text of a cursor.
#[derive(Debug)]
pub(crate) enum CursorText {}

impl JsonSchema for CursorText {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        Cow::from("Cursor")
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "cursor",
            "description": "Opaque. Sent only while there is more, and valid only with the same filters.",
        })
    }
}

/// What a cursor is bound to.
#[derive(Clone, Debug)]
pub(crate) struct Cursors<'a> {
    key: &'a IdKey,
    operation: &'a str,
    query: &'a Query,
}

impl<'a> Cursors<'a> {
    pub(crate) fn new(key: &'a IdKey, operation: &'a str, query: &'a Query) -> Self {
        Self {
            key,
            operation,
            query,
        }
    }

    /// The start and length of the requested page.
    pub(crate) fn slice<I: Id>(&self) -> Result<Slice<I>, Problem> {
        let after = self.after()?.map(u32::try_from).transpose();
        Ok(Slice {
            after: after.map_err(|_| Self::unreadable())?.map(I::from_number),
            limit: self.limit()?,
        })
    }

    /// The length of the requested page.
    pub(crate) fn limit(&self) -> Result<usize, Problem> {
        match self.query.one("limit")? {
            None => Ok(LIMIT_DEFAULT),
            Some(text) => text
                .parse()
                .ok()
                // One spelling for each number.
                .filter(|limit: &usize| limit.to_string() == text)
                .filter(|limit| (1..=LIMIT_MAX).contains(limit))
                .ok_or_else(|| {
                    Problem::field(
                        "limit",
                        format!("`{text}` is not a whole number from 1 to {LIMIT_MAX}"),
                    )
                }),
        }
    }

    /// The last number of the previous page.
    pub(crate) fn after(&self) -> Result<Option<u64>, Problem> {
        let cursor = self.query.one("cursor")?;
        cursor.map(|text| self.read(text)).transpose()
    }

    /// The `pagination` of this page; `id_of` returns the id of an item.
    pub(crate) fn pagination<T, I: Id>(
        &self,
        page: &Page<T>,
        id_of: impl Fn(&T) -> I,
    ) -> Pagination {
        let last = page.items.last().filter(|_| page.has_more);
        self.pagination_after(last.map(|last| u64::from(id_of(last).number())))
    }

    /// The `pagination` of a page that ends with `last` and has more pages after it.
    pub(crate) fn pagination_after(&self, last: Option<u64>) -> Pagination {
        let next_cursor = last.map(|last| self.write(last));
        // Some clients loop while there is a cursor, others while there is more: the two must agree.
        Pagination {
            has_more: next_cursor.is_some(),
            next_cursor,
        }
    }

    fn write(&self, last: u64) -> String {
        let mut bytes = last.to_be_bytes().to_vec();
        bytes.extend(self.check(last).to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn read(&self, text: &str) -> Result<u64, Problem> {
        let number = || {
            let bytes: [u8; 16] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
            let (number, check) = bytes.split_at(8);
            let number = u64::from_be_bytes(number.try_into().ok()?);
            (self.check(number).to_be_bytes() == check).then_some(number)
        };
        number().ok_or_else(Self::unreadable)
    }

    fn unreadable() -> Problem {
        Problem::field(
            "cursor",
            "is not a cursor of this list with these filters; take `pagination.next_cursor` as it is, \
             and keep the filters",
        )
    }

    fn check(&self, number: u64) -> u64 {
        let number = number.to_be_bytes();
        let mut parts: Vec<&[u8]> = vec![b"cursor", self.operation.as_bytes(), &number];
        let mut filters: Vec<(&str, &str)> = self.query.filters().collect();
        filters.sort_unstable();
        parts.extend(
            filters
                .iter()
                .flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]),
        );
        self.key.digest(&parts)
    }
}

#[cfg(test)]
mod tests {
    use bindery_core::id::UserId;

    use super::*;

    const KNOWN: [&str; 4] = ["limit", "cursor", "email", "status"];

    fn slice(query: &str, key: u8, operation: &str) -> Result<Slice<UserId>, Problem> {
        let query = Query::parse(query, &KNOWN).unwrap();
        Cursors::new(&IdKey::new([key; 16]), operation, &query).slice()
    }

    #[test]
    fn a_cursor_is_good_for_its_own_list_account_and_filters_only() {
        let query = Query::parse("email=x&status=ACTIVE&limit=2", &KNOWN).unwrap();
        let key = IdKey::new([1; 16]);
        let cursors = Cursors::new(&key, "list_users", &query);
        let page = Page {
            items: vec![UserId::new(3), UserId::new(70_000)],
            has_more: true,
        };
        let cursor = cursors.pagination(&page, |id| *id).next_cursor.unwrap();
        let good = format!("status=ACTIVE&email=x&limit=9&cursor={cursor}");
        assert_eq!(
            slice(&good, 1, "list_users").unwrap().after,
            Some(UserId::new(70_000))
        );
        assert!(slice(&good, 2, "list_users").is_err());
        assert!(slice(&good, 1, "list_roles").is_err());
        for other in [
            format!("email=x&cursor={cursor}"),
            format!("email=y&status=ACTIVE&cursor={cursor}"),
            format!("email=x&status=ACTIVE&cursor={}", &cursor[1..]),
            format!("email=x&status=ACTIVE&cursor=B{}", &cursor[1..]),
            format!("email=x&status=ACTIVE&cursor={cursor}AA"),
            "email=x&status=ACTIVE&cursor=".to_owned(),
            "email=x&status=ACTIVE&cursor=%00".to_owned(),
        ] {
            assert!(slice(&other, 1, "list_users").is_err(), "{other}");
        }
    }

    #[test]
    fn a_limit_is_a_whole_number_from_1_to_100() {
        for (query, expected) in [
            ("", Some(50)),
            ("limit=1", Some(1)),
            ("limit=100", Some(100)),
        ] {
            assert_eq!(
                slice(query, 1, "x").ok().map(|slice| slice.limit),
                expected,
                "{query}"
            );
        }
        for query in [
            "limit=0",
            "limit=101",
            "limit=",
            "limit=-1",
            "limit=1.0",
            "limit=1&limit=1",
            "limit=x",
        ] {
            assert!(slice(query, 1, "x").is_err(), "{query}");
        }
    }

    #[test]
    fn the_last_page_has_no_cursor() {
        let query = Query::default();
        let key = IdKey::new([1; 16]);
        let page = Page {
            items: vec![UserId::new(3)],
            has_more: false,
        };
        let pagination = Cursors::new(&key, "x", &query).pagination(&page, |id| *id);
        assert_eq!(
            serde_json::to_string(&pagination).unwrap(),
            r#"{"has_more":false}"#
        );
    }
}
