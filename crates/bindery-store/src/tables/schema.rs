//! The tables, and the steps from each format to the next. Forward only: a step that was ever released stays as it is, and
//! a change of the tables is one more step.

use super::{Database, Failure, read, seal, secrets};

/// The format of stores that this version writes, and the newest that it reads. Older ones are brought to it when a server starts on
/// them; there is no way back.
pub const FORMAT: i32 = 6;

/// Each format with what makes it from the one before.
pub(crate) const STEPS: &[(i32, &str)] = &[
    (1, FORMAT_1),
    (2, FORMAT_2),
    (3, FORMAT_3),
    (4, FORMAT_4),
    (5, FORMAT_5),
    (6, FORMAT_6),
];

/// What of a step takes more than SQL: run after the step with its number, or after all steps, in the same transaction. It may ask
/// for nothing that the tables didn't have by then.
pub(crate) const FILLS: &[(i32, Fill)] =
    &[(3, secrets::fill), (5, read::fill_batches), (6, seal::fill)];

pub(crate) type Fill = fn(&mut dyn Database) -> Result<(), Failure>;

/// What is INTEGER fits into 32 bits with its sign, and BLOB is BYTEA on PostgreSQL.
///
/// - `account`: `latest` is the time of its last log entry, `audit_latest` (later `latest_audit`) the latest time in its audit log.
/// - `record`: what is there now, so that loading needn't replay the log.
/// - `issued`: the highest number ever given to each kind, since the thing that had it may be gone.
/// - `audit`: `latest` (later `newest`) is the latest time so far, which never falls however the clock is set: it finds the first entry
///   of a span of time without reading the older ones.
const FORMAT_1: &str = "
    CREATE TABLE account (
        id BIGINT NOT NULL,
        revision BIGINT NOT NULL,
        latest BIGINT NOT NULL,
        audit_head BIGINT NOT NULL,
        audit_latest BIGINT NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (id)
    );
    CREATE TABLE log (
        account BIGINT NOT NULL,
        revision BIGINT NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (account, revision)
    );
    CREATE TABLE record (
        account BIGINT NOT NULL,
        kind INTEGER NOT NULL,
        number BIGINT NOT NULL,
        natural_key TEXT,
        body BLOB NOT NULL,
        PRIMARY KEY (account, kind, number),
        UNIQUE (account, kind, natural_key)
    );
    CREATE TABLE issued (
        account BIGINT NOT NULL,
        kind INTEGER NOT NULL,
        number BIGINT NOT NULL,
        PRIMARY KEY (account, kind)
    );
    CREATE TABLE audit (
        account BIGINT NOT NULL,
        number BIGINT NOT NULL,
        user_number BIGINT NOT NULL,
        at BIGINT NOT NULL,
        latest BIGINT NOT NULL,
        status INTEGER NOT NULL,
        kind TEXT NOT NULL,
        operation TEXT NOT NULL,
        address TEXT NOT NULL,
        text TEXT,
        variables TEXT,
        PRIMARY KEY (account, number)
    );
    CREATE INDEX audit_by_user ON audit (account, user_number, number);
    CREATE INDEX audit_by_time ON audit (account, latest, number);
";

/// - `key_use`: when a key was last used, about; beside the log, since no decision depends on it.
const FORMAT_2: &str = "
    CREATE TABLE key_use (
        account BIGINT NOT NULL,
        key_number BIGINT NOT NULL,
        at BIGINT NOT NULL,
        PRIMARY KEY (account, key_number)
    );
";

/// - `secret`: which account and record a secret belongs to, of a key or a link, as its hash. Follows from the records, and is
///   written with them.
/// - `record_of_person`: who has this address, in whatever account.
const FORMAT_3: &str = "
    CREATE TABLE secret (
        account BIGINT NOT NULL,
        kind INTEGER NOT NULL,
        number BIGINT NOT NULL,
        hash BLOB NOT NULL,
        PRIMARY KEY (account, kind, number, hash)
    );
    CREATE INDEX secret_by_hash ON secret (hash);
    CREATE INDEX record_of_person ON record (natural_key) WHERE kind = 0;
";

/// - `base`: the revision after which the log begins, if it doesn't begin at the first; its time, and the account as it was.
/// - `base_record`, `base_issued`: what `record` and `issued` were then.
const FORMAT_4: &str = "
    CREATE TABLE base (
        account BIGINT NOT NULL,
        revision BIGINT NOT NULL,
        latest BIGINT NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (account)
    );
    CREATE TABLE base_record (
        account BIGINT NOT NULL,
        kind INTEGER NOT NULL,
        number BIGINT NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (account, kind, number)
    );
    CREATE TABLE base_issued (
        account BIGINT NOT NULL,
        kind INTEGER NOT NULL,
        number BIGINT NOT NULL,
        PRIMARY KEY (account, kind)
    );
";

/// - `latest_audit` is what was `audit_latest`, and `latest_change` what was `latest`: a server of an older version that still runs
///   doesn't know them, and is kept from writing entries and bases without their batch.
/// - `batch`: that of the entry which brought the account, or its base, to its revision; 0 where nobody knows. Follows from the
///   log, as far as that goes back.
const FORMAT_5: &str = "
    ALTER TABLE account RENAME COLUMN audit_latest TO latest_audit;
    ALTER TABLE base RENAME COLUMN latest TO latest_change;
    ALTER TABLE account ADD COLUMN batch BIGINT NOT NULL DEFAULT 0;
    ALTER TABLE base ADD COLUMN batch BIGINT NOT NULL DEFAULT 0;
";

/// - `checksum`: of the whole row; of an account's row without the next four, which are compared with what they tell of. See
///   `checksum.rs`.
/// - `content`: the checksums of what belongs to the account, or to its base, combined; `uses`: of its rows in `key_use`.
/// - `base_checksum`: of the row of its base; 0 while there is none.
/// - `oldest_audit`: every audit entry from this number on is there.
/// - `newest_audit` is what was `latest_audit`, `newest_change` what was `latest_change`, and `newest` of an audit entry what was its
///   `latest`: a server of an older version that still runs doesn't know them. So it can't write rows without their checksums, and can't
///   delete audit entries without a note in `oldest_audit`.
/// - `audit`: `problem` is what the type of the answer's problem ends with, `key_number` is 0 without a key, and `revision` is -1 where
///   nobody wrote it down.
const FORMAT_6: &str = "
    ALTER TABLE account RENAME COLUMN latest_audit TO newest_audit;
    ALTER TABLE base RENAME COLUMN latest_change TO newest_change;
    ALTER TABLE audit RENAME COLUMN latest TO newest;
    ALTER TABLE audit ADD COLUMN problem TEXT;
    ALTER TABLE audit ADD COLUMN key_number BIGINT NOT NULL DEFAULT 0;
    ALTER TABLE audit ADD COLUMN request TEXT;
    ALTER TABLE audit ADD COLUMN revision BIGINT NOT NULL DEFAULT -1;
    ALTER TABLE account ADD COLUMN content BIGINT NOT NULL DEFAULT 0;
    ALTER TABLE account ADD COLUMN uses BIGINT NOT NULL DEFAULT 0;
    ALTER TABLE account ADD COLUMN base_checksum BIGINT NOT NULL DEFAULT 0;
    ALTER TABLE account ADD COLUMN oldest_audit BIGINT NOT NULL DEFAULT 1;
    ALTER TABLE account ADD COLUMN checksum BIGINT NOT NULL DEFAULT 0;
    ALTER TABLE base ADD COLUMN content BIGINT NOT NULL DEFAULT 0;
    ALTER TABLE base ADD COLUMN checksum BIGINT NOT NULL DEFAULT 0;
    ALTER TABLE base_record ADD COLUMN checksum BIGINT NOT NULL DEFAULT 0;
    ALTER TABLE base_issued ADD COLUMN checksum BIGINT NOT NULL DEFAULT 0;
    ALTER TABLE log ADD COLUMN checksum BIGINT NOT NULL DEFAULT 0;
    ALTER TABLE record ADD COLUMN checksum BIGINT NOT NULL DEFAULT 0;
    ALTER TABLE issued ADD COLUMN checksum BIGINT NOT NULL DEFAULT 0;
    ALTER TABLE audit ADD COLUMN checksum BIGINT NOT NULL DEFAULT 0;
    ALTER TABLE key_use ADD COLUMN checksum BIGINT NOT NULL DEFAULT 0;
    ALTER TABLE secret ADD COLUMN checksum BIGINT NOT NULL DEFAULT 0;
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_lead_to_the_format_one_by_one() {
        let formats: Vec<i32> = STEPS.iter().map(|(format, _)| *format).collect();
        assert_eq!(formats, (1..=FORMAT).collect::<Vec<_>>());
        for (format, _) in FILLS {
            assert!(formats.contains(format), "{format}");
        }
    }
}
