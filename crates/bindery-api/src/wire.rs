//! The wire types: separate structs, so that the domain can be renamed without any effect on clients.
//!
//! Requests are closed; responses have every member that the contract marks *always*.

use bindery_core::text::{Description, Name};
use bindery_core::time::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Serialize, Serializer};

use crate::problem::Problem;

pub(crate) mod api_keys;
pub(crate) mod assignment;
pub(crate) mod audit_logs;
pub(crate) mod authzen;
pub(crate) mod enforcement_points;
pub(crate) mod explanations;
pub(crate) mod organizations;
pub(crate) mod projects;
pub(crate) mod quotas;
pub(crate) mod resource_restrictions;
pub(crate) mod role_bindings;
pub(crate) mod roles;
pub(crate) mod schema;
pub(crate) mod sign_in;
pub(crate) mod spaces;
pub(crate) mod users;

/// A time as it is written: RFC 3339, UTC, milliseconds, `Z`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment(pub(crate) Timestamp);

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let moment = jiff::Timestamp::from_millisecond(self.0.as_millis())
            .map_err(|_| serde::ser::Error::custom("a moment beyond the calendar"))?;
        serializer.collect_str(&moment.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"))
    }
}

/// Parses a time: with `Z` or an offset, or with no zone at all, which means UTC (`docs/rules/api.md` §4).
pub(crate) fn moment(name: &str, text: &str) -> Result<Timestamp, Problem> {
    let civil = || {
        let text = text.strip_suffix('Z').unwrap_or(text);
        let civil = text.parse::<DateTime>().ok();
        civil.filter(|_| !text.contains('['))
    };
    let with_zone = text.parse::<jiff::Timestamp>().ok();
    let moment = with_zone.or_else(|| {
        let civil = civil()?;
        match TimeZone::UTC.to_timestamp(civil) {
            Ok(moment) => Some(moment),
            // Some write "never" as the last day of the year 9999.
            Err(_) if civil.year() == 9999 => Some(jiff::Timestamp::MAX),
            Err(_) => None,
        }
    });
    // A date alone, or one without its separators, is ambiguous.
    let is_whole = text.len() >= "2026-05-18T12:00:00".len()
        && text.as_bytes().get(4) == Some(&b'-')
        && text.as_bytes().get(13) == Some(&b':');
    moment
        .filter(|_| is_whole)
        // A parsed time can be written again: the calendar ends within its last second.
        .map(|moment| {
            moment
                .as_millisecond()
                .min(jiff::Timestamp::MAX.as_second() * 1000)
        })
        .map(Timestamp::from_millis)
        .ok_or_else(|| {
            Problem::field(
                name,
                format!("`{text}` is not a time like `2026-05-18T12:00:00Z`"),
            )
        })
}

/// A name of a user, organization, space or project.
pub(crate) fn name(text: &str) -> Result<Name, Problem> {
    Name::parse(text).map_err(|error| Problem::field("name", error))
}

/// A description; empty means none.
pub(crate) fn description(text: &str) -> Result<Description, Problem> {
    Description::parse(text).map_err(|error| Problem::field("description", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_moments_of_the_calendar_are_read() {
        for text in [
            "9999-12-31T23:59:59.999Z",
            "9999-12-31T23:59:59.999999",
            "9999-12-30T22:00:00.500Z",
        ] {
            let moment = moment("expires_at", text).unwrap();
            let written = serde_json::to_string(&Moment(moment)).unwrap();
            assert!(written.starts_with(r#""9999-12-30T2"#), "{text}: {written}");
        }
    }

    #[test]
    fn a_moment_is_read_in_every_form_that_clients_send() {
        for text in [
            "2026-05-18T12:00:00Z",
            "2026-05-18T12:00:00.000Z",
            "2026-05-18T12:00:00+00:00",
            "2026-05-18T12:00:00+0000",
            "2026-05-18T14:00:00.000000000+02:00",
            "2026-05-18T12:00:00",
            "2026-05-18T12:00:00.000000",
            "2026-05-18 12:00:00",
        ] {
            let moment = moment("expires_at", text).unwrap();
            assert_eq!(
                serde_json::to_string(&Moment(moment)).unwrap(),
                r#""2026-05-18T12:00:00.000Z""#,
                "{text}"
            );
        }
        for text in [
            "",
            "tomorrow",
            "1747569600",
            "2026-13-01T00:00:00Z",
            "2026-05-18T25:00:00Z",
            "2026-05-18",
            "20260518T120000Z",
            "2026-05-18T12:00:00[Asia/Tokyo]",
            "9998-13-31T23:59:59.999Z",
        ] {
            assert!(moment("expires_at", text).is_err(), "{text}");
        }
    }
}
