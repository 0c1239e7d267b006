//! The tables, and the migrations from each format to the next. Forward only: a released migration never
//! changes, and a change of the tables is a new one.

use super::{Database, Failure, read, seal, secrets};

/// The format of stores that this version writes, and the newest that it reads. A server migrates an older
/// store when it starts; this can't be undone.
pub const FORMAT: i32 = 6;

/// Each format with the statements that migrate the previous one.
pub(crate) const STEPS: &[(i32, &str)] = &[
    (1, FORMAT_1),
    (2, FORMAT_2),
    (3, FORMAT_3),
    (4, FORMAT_4),
    (5, FORMAT_5),
    (6, FORMAT_6),
];

/// The parts of a migration that need more than SQL: run after the step with its number, or after all steps,
/// in the same transaction. They may only use what the tables had at that step.
pub(crate) const FILLS: &[(i32, Fill)] =
    &[(3, secrets::fill), (5, read::fill_batches), (6, seal::fill)];

pub(crate) type Fill = fn(&mut dyn Database) -> Result<(), Failure>;

/// INTEGER fits into 32 bits with its sign, and BLOB is BYTEA on PostgreSQL.
///
/// - `account`: `latest` is the time of its last log entry, `audit_latest` (later `latest_audit`) the latest
///   time in its audit log.
/// - `record`: the current records, so that loading needn't replay the log.
/// - `issued`: the highest number ever issued to each kind, since the thing with that number may be deleted.
/// - `audit`: `latest` (later `newest`) is the latest time so far, which never falls, even if the clock is
///   set: it finds the first entry of a period without reading older ones.
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

/// - `key_use`: the approximate last use of a key; not in the log, since no decision depends on it.
const FORMAT_2: &str = "
    CREATE TABLE key_use (
        account BIGINT NOT NULL,
        key_number BIGINT NOT NULL,
        at BIGINT NOT NULL,
        PRIMARY KEY (account, key_number)
    );
";

/// - `secret`: the account and record of a secret of a key or a link, as its hash. Derived from the records,
///   and written with them.
/// - `record_of_person`: the people with an address, in any account.
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

/// - `base`: the revision after which the log begins, if it doesn't begin at the first; its time, and the
///   account at that revision.
/// - `base_record`, `base_issued`: the content of `record` and `issued` at that revision.
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

/// - `latest_audit` was `audit_latest`, and `latest_change` was `latest`: a running server of an older
///   version doesn't know them, and so can't write entries and bases without their batch.
/// - `batch`: that of the entry which made the current revision of the account, or its base; 0 if unknown.
///   Derived from the log, as far as it goes back.
const FORMAT_5: &str = "
    ALTER TABLE account RENAME COLUMN audit_latest TO latest_audit;
    ALTER TABLE base RENAME COLUMN latest TO latest_change;
    ALTER TABLE account ADD COLUMN batch BIGINT NOT NULL DEFAULT 0;
    ALTER TABLE base ADD COLUMN batch BIGINT NOT NULL DEFAULT 0;
";

/// - `checksum`: of the whole row; for an account's row without the next four columns, which are compared
///   with what they describe. See `checksum.rs`.
/// - `content`: the combined checksums of what belongs to the account, or to its base; `uses`: of its rows in
///   `key_use`.
/// - `base_checksum`: of the row of its base; 0 while there is none.
/// - `oldest_audit`: every audit entry from this number on exists.
/// - `newest_audit` was `latest_audit`, `newest_change` was `latest_change`, and `newest` of an audit entry
///   was its `latest`: a running server of an older version doesn't know them. So it can't write rows without
///   their checksums, and can't delete audit entries without updating `oldest_audit`.
/// - `audit`: `problem` is the end of the problem's type, `key_number` is 0 without a key, and `revision` is
///   -1 if it is unknown.
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
