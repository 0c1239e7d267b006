//! `bindery account repair-time`: sets the time of an account back after a change was made with a clock that was ahead.

use std::io::Write as _;
use std::num::NonZeroU64;

use anyhow::{Context as _, Result, anyhow, bail};
use bindery_core::api_key::ApiKey;
use bindery_core::credential::LinkPurpose;
use bindery_core::id::{AccountId, ApiKeyId, UserId};
use bindery_core::state::State;
use bindery_core::time::Timestamp;
use bindery_core::time_repair::{End, EndOf};
use bindery_node::{CLOCK_AHEAD_MAX, Clock};
use bindery_store::{RepairedTime, StoreError, TimeRepairOrder};

use crate::hold::Hold;
use crate::store::{self, Place};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    store: store::Existing,
    /// The number of the account, as `bindery account list` shows it.
    #[arg(long, value_name = "NUMBER")]
    account: u32,
    /// Set everything later than this to this, for example 2026-11-29T12:00:00Z [default: now]
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    latest: Option<Timestamp>,
    /// Show what would be done and change nothing. A server may be using the store.
    #[arg(long)]
    dry_run: bool,
}

fn instant(text: &str) -> Result<Timestamp, String> {
    let parsed = text.parse::<jiff::Timestamp>();
    parsed
        .map(|at| Timestamp::from_millis(at.as_millisecond()))
        .map_err(|_| "expected a date, a time and a zone, like 2026-11-29T12:00:00Z".to_owned())
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let account = AccountId(arguments.account);
    let place = arguments.store.place()?;
    let now = Clock::system().now();
    let latest = arguments.latest.unwrap_or(now);
    let mut snapshot = place.snapshot()?;
    let found = snapshot.account(account).map_err(|error| match error {
        StoreError::NoAccount(AccountId(number)) => {
            anyhow!("there is no account {number}; `bindery account list` shows which there are")
        }
        other => other.into(),
    })?;
    check_latest(latest, now, found.created_at)?;
    check_clock(&place, latest)?;
    let repaired = if arguments.dry_run {
        snapshot.plan_time_repair(account, latest)?
    } else {
        drop(snapshot);
        let batch = getrandom::u64().map_err(|error| anyhow!("no random numbers: {error}"))?;
        let mut hold = Hold::from_environment();
        let order = TimeRepairOrder {
            latest,
            batch: NonZeroU64::new(batch).unwrap_or(NonZeroU64::MIN),
            written: &mut |rows| Ok(hold.at(rows)?),
        };
        place.repair_time(account, order)?
    };
    let text = report(account, &repaired, arguments.dry_run);
    write!(std::io::stdout(), "{text}").context("stdout is closed")
}

fn check_latest(latest: Timestamp, now: Timestamp, created_at: Timestamp) -> Result<()> {
    if latest > now {
        bail!(
            "--latest is in the future: the clock of this machine says {}",
            shown(now)
        );
    }
    // An account created with the wrong clock has no such limit.
    if latest < created_at && created_at <= now {
        bail!(
            "--latest is before the account was created, at {}; choose the time at which the clock went wrong, or a later one",
            shown(created_at)
        );
    }
    Ok(())
}

fn check_clock(place: &Place, latest: Timestamp) -> Result<()> {
    let Some(database) = place.database_time()? else {
        return Ok(());
    };
    if latest > database.plus_seconds(CLOCK_AHEAD_MAX.as_secs()) {
        bail!(
            "the clock of this machine is ahead of the database's, which says {}; set the clock right first",
            shown(database)
        );
    }
    Ok(())
}

fn report(AccountId(account): AccountId, repaired: &RepairedTime, is_dry_run: bool) -> String {
    let latest = shown(repaired.latest);
    let Some(revision) = repaired.revision else {
        return format!("account {account}: nothing is later than {latest}; nothing is changed\n");
    };
    let newest = shown(repaired.newest);
    let mut lines = vec![format!(
        "account {account}: the last change was at {newest}; what is later than {latest} is set to that"
    )];
    let from = repaired
        .first_entry
        .map_or_else(String::new, |first| format!(", from revision {first} on"));
    let RepairedTime {
        entries,
        entries_total,
        ..
    } = repaired;
    lines.push(format!("log entries\t{entries} of {entries_total}{from}"));
    for (what, count) in [
        ("records", repaired.records),
        ("records of the base snapshot", repaired.base_records),
        ("audit entries", repaired.audit),
        ("last uses of keys", repaired.key_uses),
        (
            "expiries to check",
            repaired.ends.len().try_into().unwrap_or(u64::MAX),
        ),
    ] {
        lines.push(format!("{what}\t{count}"));
    }
    lines.extend(
        repaired
            .ends
            .iter()
            .map(|end| end_line(end, &repaired.state)),
    );
    lines.push(if is_dry_run {
        "dry run: nothing is changed".to_owned()
    } else {
        format!("done: revision {revision} records it")
    });
    lines.push(String::new());
    lines.join("\n")
}

fn end_line(end: &End, state: &State) -> String {
    let what = match end.of {
        EndOf::Key(id) => format!("API key {}", key_in_words(state, id)),
        EndOf::PreviousSecret(id) => format!("old secret of API key {}", key_in_words(state, id)),
        EndOf::Invitation(user) => format!("invitation of {}", person(state, user)),
        EndOf::Link(user, purpose) => {
            let purpose = match purpose {
                LinkPurpose::Invitation => "invitation",
                LinkPurpose::PasswordReset => "password reset",
            };
            format!("{purpose} link of {}", person(state, user))
        }
    };
    let after = shown(end.after);
    if !end.has_moved() {
        return format!("{what}\tcounted as expired, and works again until {after}");
    }
    let before = end.before.map_or_else(|| "never".to_owned(), shown);
    format!("{what}\texpired {before}, now {after}")
}

fn key_in_words(state: &State, id: ApiKeyId) -> String {
    let id_text = state.ids().encode(id);
    match state.api_key(id) {
        None => id_text,
        Some(key) => {
            let ApiKey { name, secret, .. } = key.as_ref();
            format!(
                "{id_text} \"{name}\" ({}) of {}",
                secret.redacted,
                person(state, key.principal())
            )
        }
    }
}

fn person(state: &State, id: UserId) -> String {
    match state.user(id) {
        None => state.ids().encode(id),
        Some(user) => match user.email() {
            Some(email) => email.to_string(),
            None => format!("bot \"{}\"", user.name),
        },
    }
}

fn shown(at: Timestamp) -> String {
    let at = jiff::Timestamp::from_millisecond(at.as_millis());
    // Far from every year with four digits.
    at.map_or_else(|_| "a time out of range".to_owned(), |at| at.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_instant_is_between_the_making_of_the_account_and_now() {
        let at = Timestamp::from_millis;
        let check = |latest, created_at| check_latest(at(latest), at(100), at(created_at));
        assert!(check(100, 50).is_ok() && check(50, 50).is_ok());
        assert!(check(101, 50).is_err() && check(49, 50).is_err());
        // Created with the clock that was ahead.
        assert!(check(10, 101).is_ok());
    }

    #[test]
    fn an_instant_has_a_zone() {
        assert_eq!(
            instant("1970-01-01T01:00:00+01:00"),
            Ok(Timestamp::from_millis(0))
        );
        assert!(instant("2026-11-29T12:00:00").is_err());
    }
}
