//! What the audit log keeps of a request: its parameters and body, bounded, without anything that looks like
//! a key.

use std::borrow::Cow;

use bindery_node::NOTED_TEXT_MAX;

use crate::secret::{self, redact};

/// Bytes of a body that the audit log keeps.
pub(crate) const AUDITED_TEXT_MAX: usize = 16 * 1024;
/// Bytes of a body that are read for that: escapes may take six times the room.
const AUDITED_BYTES_READ: usize = 8 * AUDITED_TEXT_MAX;

/// A body for the audit log: cut to a bound, and without anything that looks like a key. Reads only the
/// beginning, so the cost does not depend on the size.
pub(crate) fn audited_text(body: &[u8]) -> Option<String> {
    if body.is_empty() {
        return None;
    }
    let is_whole = body.len() <= AUDITED_BYTES_READ;
    let text = String::from_utf8_lossy(&body[..body.len().min(AUDITED_BYTES_READ)]);
    // An escape could hide a key.
    let plain = unescape_letters(&text);
    let mut kept = redact(&plain).into_owned();
    if !is_whole {
        // The cut may have split a key.
        let end = kept
            .trim_end_matches(|c: char| c.is_ascii_alphanumeric())
            .len();
        if kept[..end].ends_with(secret::PREFIX) {
            kept.truncate(end);
        }
        kept.truncate(kept.floor_char_boundary(AUDITED_TEXT_MAX));
        kept.push('…');
        return Some(kept);
    }
    Some(cut(kept, AUDITED_TEXT_MAX))
}

/// Replaces JSON escapes of letters, digits and dashes, which are all characters of a key.
fn unescape_letters(text: &str) -> Cow<'_, str> {
    if !text.contains("\\u00") {
        return text.into();
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(place) = rest.find('\\') {
        let (before, escape) = rest.split_at(place);
        plain.push_str(before);
        let digits = escape.strip_prefix("\\u00").and_then(|rest| rest.get(..2));
        let code = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let letter = code
            .map(char::from)
            .filter(|c| c.is_ascii_alphanumeric() || *c == '-');
        let taken = if let Some(letter) = letter {
            plain.push(letter);
            "\\u0000".len()
        } else {
            // The backslash and the escaped character, which may be a backslash.
            let end = escape.chars().take(2).map(char::len_utf8).sum();
            plain.push_str(&escape[..end]);
            end
        };
        rest = &escape[taken..];
    }
    plain.push_str(rest);
    plain.into()
}

/// The text of an audit entry without a change.
pub(crate) fn noted(text: Option<String>) -> Option<String> {
    text.map(|text| cut(text, NOTED_TEXT_MAX))
}

/// Cuts between two characters, and marks the cut.
fn cut(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max));
        text.push('…');
    }
    text
}

/// Path and query parameters as JSON text; a repeated one is an array.
pub(crate) fn audited_variables<'a>(
    path: &'a [(&'static str, String)],
    query: impl Iterator<Item = (&'a str, &'a str)>,
) -> Option<String> {
    let path = path.iter().map(|(name, value)| (*name, value.as_str()));
    let mut variables = serde_json::Map::new();
    for (name, value) in path.chain(query) {
        let value = serde_json::Value::from(redact(value));
        match variables.get_mut(name) {
            None => {
                variables.insert(name.to_owned(), value);
            }
            Some(serde_json::Value::Array(values)) => values.push(value),
            Some(first) => *first = vec![first.take(), value].into(),
        }
    }
    (!variables.is_empty()).then(|| serde_json::Value::from(variables).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// This runs on the thread of the connection.
    #[test]
    fn what_the_audit_log_keeps_of_a_large_body_is_its_beginning() {
        let large = format!(r#"{{"context":[{}0]}}"#, "[0],".repeat(250_000));
        let kept = audited_text(large.as_bytes()).unwrap();
        assert_eq!(kept.len(), AUDITED_TEXT_MAX + "…".len());
        let key = format!("ak-{}", "x".repeat(40));
        for before in AUDITED_BYTES_READ - 50..AUDITED_BYTES_READ {
            // Redacted keys are shorter, so that even the end of what is read can be kept.
            let many = key.repeat(before / key.len());
            let text = format!(
                "{many}{}{key}{}",
                ".".repeat(before - many.len()),
                "y".repeat(99)
            );
            let kept = audited_text(text.as_bytes()).unwrap();
            assert!(
                !kept.contains("ak-x"),
                "{before}: {}",
                &kept[kept.len() - 60..]
            );
        }
        let escaped = r#"{"a":"\\u0061k-","b":"\u0022\u0061\u006B\u002dx"}"#;
        assert_eq!(
            audited_text(escaped.as_bytes()).as_deref(),
            Some(r#"{"a":"\\u0061k-","b":"\u0022ak-x"}"#)
        );
    }

    #[test]
    fn what_the_audit_log_keeps_is_bounded_and_without_keys() {
        let key = format!("ak-{}", "x".repeat(40));
        assert_eq!(audited_text(b""), None);
        let text = audited_text(format!(r#"{{"name":"{key}"}}"#).as_bytes());
        assert_eq!(text.as_deref(), Some(r#"{"name":"ak-..."}"#));
        let long = audited_text(&vec![b'x'; AUDITED_TEXT_MAX + 1]);
        assert_eq!(
            long.map(|text| text.len()),
            Some(AUDITED_TEXT_MAX + "…".len())
        );
        let escaped = format!(r#"{{"name":"\u0061k-{}"}}"#, "x".repeat(40));
        assert_eq!(
            audited_text(escaped.as_bytes()).as_deref(),
            Some(r#"{"name":"ak-..."}"#)
        );
        let at_the_edge = format!("{}{key}", "é".repeat(AUDITED_TEXT_MAX / 2 - 10));
        let kept = audited_text(at_the_edge.as_bytes()).unwrap_or_default();
        assert!(
            kept.ends_with("ak-...…") || kept.ends_with("ak-..."),
            "no part of a key is kept"
        );
        assert_eq!(
            noted(Some("é".repeat(2000))).map(|text| text.len()),
            Some(2048 + 3)
        );
        let path = [("user_id", key.clone())];
        let query = [
            ("status", "A"),
            ("limit", "2"),
            ("status", "B"),
            ("status", "C"),
        ];
        assert_eq!(
            audited_variables(&path, query.into_iter()).as_deref(),
            Some(r#"{"limit":"2","status":["A","B","C"],"user_id":"ak-..."}"#)
        );
        assert_eq!(audited_variables(&[], [].into_iter()), None);
    }
}
