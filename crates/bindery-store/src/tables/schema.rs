//! The tables, and the steps from each format to the next. Forward only: a step that was ever released stays as it is, and
//! a change of the tables is one more step.

/// The format that this version writes, and the newest that it reads.
pub(crate) const FORMAT: i32 = 3;

/// Each format with what makes it from the one before.
pub(crate) const STEPS: &[(i32, &str)] = &[(1, FORMAT_1), (2, FORMAT_2), (3, FORMAT_3)];

/// What is INTEGER fits into 32 bits with its sign, and BLOB is BYTEA on PostgreSQL.
///
/// - `account`: `latest` is the time of its last log entry, `audit_latest` the latest time in its audit log.
/// - `record`: what is there now, so that loading needn't replay the log.
/// - `issued`: the highest number ever given to each kind, since the thing that had it may be gone.
/// - `audit`: `latest` is the latest time so far, which never falls however the clock is set: it finds the first entry
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

/// - `base`: the revision after which the log begins, if it doesn't begin at the first; its time, and the account as it was.
/// - `base_record`, `base_issued`: what `record` and `issued` were then.
const FORMAT_3: &str = "
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_lead_to_the_format_one_by_one() {
        let formats: Vec<i32> = STEPS.iter().map(|(format, _)| *format).collect();
        assert_eq!(formats, (1..=FORMAT).collect::<Vec<_>>());
    }
}
