//! The one transaction that changes anything, in two round trips for any size. The first takes the account's
//! row, the second writes everything, each table in one statement, and commits.

use std::collections::BTreeMap;
use std::time::Duration;

use bindery_core::api_key::SecretHash;
use bindery_core::change::{Change, Entry, LogPosition};
use bindery_core::id::{AccountId, ApiKeyId, Id as _, Kind, Revision};
use bindery_core::time::Timestamp;
use tokio_postgres::types::ToSql;

use super::address::Address;
use super::connection::{CommitError, Connection, READ_TIMEOUT, Write};
use super::pool::Pool;
use crate::tables::append::{issued, last_uses, missed, refuse, stored, taken};
use crate::tables::checksum::{self, NO_REVISION};
use crate::tables::read::{HEAD, Head, head};
use crate::tables::{Failure, batch_of, bounded, kept, secrets, time_repair};
use crate::{AppendError, Batch, RepairedTime, StoreError, TimeRepairOrder};

/// Explicit, since a database may have another default. Under a stricter level, a transaction that waited for
/// the row would be refused; under this one each statement sees what was committed before it.
pub(super) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// Each connection is set up like this; it is repeated since a pooler may have switched connections.
const BEGIN_DURABLE: &str = "BEGIN ISOLATION LEVEL READ COMMITTED;
    SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'";

/// [`crate::Store::append`]. A connection that is left inside the transaction is closed, which rolls it back.
pub(super) fn append(
    pool: &Pool,
    place: &str,
    account: AccountId,
    known: LogPosition,
    note: &str,
    decide: &mut dyn FnMut(&[Entry]) -> Batch,
) -> Result<Revision, AppendError> {
    let begun = pool.start(|connection| take_row(connection, account));
    let (mut lease, old) = begun.map_err(|failure| refuse(failure, place))?;
    let batch = missed(&mut *lease, place, account, known, &old).and_then(|appended| {
        let batch = decide(&appended);
        batch.check(account, old.position.revision)?;
        Ok(batch)
    });
    let batch = match batch {
        Ok(batch) if !batch.is_empty() => batch,
        // Nothing was written, whether or not the connection survives.
        nothing => {
            let _ = lease.end("ROLLBACK");
            return nothing.map(|_| old.position.revision);
        }
    };
    let records = Records::of(&batch)?;
    let writes = writes(account, &batch, &records, &old)?;
    let notify = (!batch.entries.is_empty()).then(|| notify(note));
    match lease.commit(&writes, notify.as_deref()) {
        Ok(()) => Ok(old.after(&batch).position.revision),
        Err(CommitError::Unknown(cause)) => Err(AppendError::Unknown(cause)),
        Err(CommitError::Failed(cause)) => Err(AppendError::Unavailable(cause)),
        Err(CommitError::Refused { index, cause }) => {
            let is_of_records = writes[index].sql == PUT_RECORDS;
            drop(lease);
            let found = is_of_records.then(|| records.find_taken(pool, account));
            Err(match found.flatten() {
                Some((kind, key)) => taken(kind, &key),
                None => AppendError::Contradiction(cause.to_string()),
            })
        }
    }
}

/// How long the database waits for the next statement of a repair: states of large accounts are built in
/// between.
const REPAIR_IDLE_TIMEOUT: Duration = Duration::from_mins(10);

/// [`super::PostgresStore::repair_time`]. A connection that is left inside the transaction is closed, which
/// rolls it back.
pub(super) fn repair_time(
    address: &Address,
    place: &str,
    account: AccountId,
    note: &str,
    order: TimeRepairOrder<'_>,
) -> Result<RepairedTime, StoreError> {
    let at = |failure: Failure| failure.at(place);
    let mut connection = Connection::open(address, READ_TIMEOUT, None).map_err(at)?;
    let idle_ms = REPAIR_IDLE_TIMEOUT.as_millis();
    let settings = format!("SET idle_in_transaction_session_timeout = {idle_ms}");
    connection.batch(&settings).map_err(at)?;
    take_row(&mut connection, account).map_err(at)?;
    let (repaired, batch) = time_repair::rewrite(&mut connection, account, order).map_err(at)?;
    if batch.is_empty() {
        connection.end("ROLLBACK").map_err(at)?;
        return Ok(repaired);
    }
    let unavailable = |error: AppendError| StoreError::Unavailable(error.into());
    let old = head(&mut connection, account).map_err(at)?;
    let records = Records::of(&batch).map_err(unavailable)?;
    let writes = writes(account, &batch, &records, &old).map_err(unavailable)?;
    let committed = connection.commit(&writes, Some(&notify(note)));
    committed.map_err(|error| {
        StoreError::Unavailable(match error {
            CommitError::Refused { cause, .. } | CommitError::Failed(cause) => cause,
            CommitError::Unknown(cause) => {
                format!("it is unknown whether the repair was committed ({cause}); run it again")
                    .into()
            }
        })
    })?;
    Ok(repaired)
}

/// Notifies other nodes of an append. In a separate transaction that waits for no disk and no standby: the
/// database serializes transactions that notify in the whole cluster, so commits of other accounts would wait
/// for the disk one after the other. A notification that is lost in a crash is replaced by the next poll.
fn notify(note: &str) -> String {
    // Sent as one string, which makes it a transaction: if it fails, which no one reads, nothing stays open.
    format!("SET LOCAL synchronous_commit = off; SELECT pg_notify('bindery', '{note}')")
}

/// Begins a transaction and takes the account's row, which no other node has until it ends.
pub(super) fn take_row(connection: &mut Connection, account: AccountId) -> Result<Head, Failure> {
    let mut head = None;
    let sql = format!("{HEAD} FOR UPDATE");
    connection.begin(BEGIN_DURABLE, &sql, &[account.into()], &mut |row| {
        head = Some(Head::read(account, row)?);
        Ok(())
    })?;
    if head.is_none() {
        connection.end("ROLLBACK")?;
    }
    head.ok_or(Failure::NoAccount(account))
}

const DELETE_RECORDS: &str = "
    DELETE FROM record USING UNNEST($2::BIGINT[], $3::BIGINT[]) AS gone (kind, number)
    WHERE record.account = $1 AND record.kind = gone.kind AND record.number = gone.number";

/// Clears the natural keys that change, so that two rows can exchange theirs in one statement.
const FREE_KEYS: &str = "
    UPDATE record SET natural_key = NULL
    FROM UNNEST($2::BIGINT[], $3::BIGINT[], $4::TEXT[]) AS new (kind, number, natural_key)
    WHERE record.account = $1 AND record.kind = new.kind AND record.number = new.number
        AND record.natural_key <> new.natural_key";

const PUT_RECORDS: &str = "
    INSERT INTO record (account, kind, number, natural_key, body, checksum)
    SELECT $1, new.* FROM UNNEST($2::BIGINT[], $3::BIGINT[], $4::TEXT[], $5::BYTEA[], $6::BIGINT[]) AS new
    ON CONFLICT (account, kind, number)
    DO UPDATE SET natural_key = excluded.natural_key, body = excluded.body,
        checksum = excluded.checksum";

/// Before the rows themselves are written: removes replaced and deleted ones from the content, and adds the
/// new ones.
const CHANGE_CONTENT: &str = "
    UPDATE account SET content = content # $2 # COALESCE((
        SELECT BIT_XOR(record.checksum) FROM record
        JOIN UNNEST($3::BIGINT[], $4::BIGINT[]) AS changed (kind, number)
            ON record.kind = changed.kind AND record.number = changed.number
        WHERE record.account = $1
    ), 0) # COALESCE((
        SELECT BIT_XOR(secret.checksum) FROM secret
        JOIN UNNEST($5::BIGINT[], $6::BIGINT[]) AS changed (kind, number)
            ON secret.kind = changed.kind AND secret.number = changed.number
        WHERE secret.account = $1
    ), 0) # COALESCE((
        SELECT BIT_XOR(new.checksum # COALESCE(issued.checksum, 0))
        FROM UNNEST($7::BIGINT[], $8::BIGINT[], $9::BIGINT[]) AS new (kind, number, checksum)
        LEFT JOIN issued ON issued.account = $1 AND issued.kind = new.kind
        WHERE issued.number IS NULL OR issued.number < new.number
    ), 0)
    WHERE id = $1";

const DELETE_SECRETS: &str = "
    DELETE FROM secret USING UNNEST($2::BIGINT[], $3::BIGINT[]) AS old (kind, number)
    WHERE secret.account = $1 AND secret.kind = old.kind AND secret.number = old.number";

const PUT_SECRETS: &str = "
    INSERT INTO secret (account, kind, number, hash, checksum)
    SELECT $1, new.* FROM UNNEST($2::BIGINT[], $3::BIGINT[], $4::BYTEA[], $5::BIGINT[]) AS new";

type Values = Vec<Box<dyn ToSql + Sync + Send>>;

fn writes(
    account: AccountId,
    batch: &Batch,
    records: &Records,
    old: &Head,
) -> Result<Vec<Write>, AppendError> {
    let mut writes = Vec::new();
    let AccountId(number) = account;
    let mut write = |sql, columns: Values| {
        let mut values: Values = vec![Box::new(i64::from(number))];
        values.extend(columns);
        writes.push(Write { sql, values });
    };
    write_entries(account, &batch.entries, records, &mut write)?;
    records.write(account, &mut write);
    write_audit(account, batch, old, &mut write);
    write_uses(account, batch, &mut write);
    let new = old.after(batch);
    // The commit is sent along, so a row that isn't where it was must be an error: NULL is not allowed as a
    // revision.
    write(
        "UPDATE account SET revision = CASE WHEN revision = $2 THEN $3::BIGINT END, batch = $4,
            latest = $5, audit_head = $6, newest_audit = $7, body = $8, checksum = $9
        WHERE id = $1",
        vec![
            Box::new(bounded(old.position.revision.0)),
            Box::new(bounded(new.position.revision.0)),
            Box::new(batch_of(new.position)),
            Box::new(new.latest.as_millis()),
            Box::new(bounded(new.audit)),
            Box::new(new.audit_latest.as_millis()),
            Box::new(new.body.clone()),
            Box::new(new.checksum(account).stored()),
        ],
    );
    Ok(writes)
}

/// Adds one statement with its columns.
type WriteTo<'a> = &'a mut dyn FnMut(&'static str, Values);

/// The log, its effect on the account's content, and the last issued numbers.
fn write_entries(
    account: AccountId,
    entries: &[Entry],
    records: &Records,
    write: WriteTo<'_>,
) -> Result<(), AppendError> {
    if entries.is_empty() {
        return Ok(());
    }
    let logged: Vec<_> = entries
        .iter()
        .map(|entry| (bounded(entry.revision.0), entry.encode()))
        .collect();
    write(
        "INSERT INTO log (account, revision, body, checksum)
            SELECT $1, new.* FROM UNNEST($2::BIGINT[], $3::BYTEA[], $4::BIGINT[]) AS new",
        vec![
            column(&logged, |(revision, _)| *revision),
            column(&logged, |(_, body)| body.clone()),
            column(&logged, |(revision, body)| {
                checksum::of_log(account, *revision, body).stored()
            }),
        ],
    );
    let issued: Vec<_> = issued(entries)?
        .into_iter()
        .map(|(kind, number)| (i64::from(kind), i64::from(number)))
        .collect();
    let of_issued =
        |(kind, number): &(i64, i64)| checksum::of_issued(account, *kind, *number).stored();
    write(
        CHANGE_CONTENT,
        vec![
            Box::new(records.content(account)),
            column(records.keys(), |(kind, _)| i64::from(*kind)),
            column(records.keys(), |(_, number)| i64::from(*number)),
            column(records.secrets.keys(), |(kind, _)| i64::from(*kind)),
            column(records.secrets.keys(), |(_, number)| i64::from(*number)),
            column(&issued, |(kind, _)| *kind),
            column(&issued, |(_, number)| *number),
            column(&issued, of_issued),
        ],
    );
    write(
        "INSERT INTO issued (account, kind, number, checksum)
            SELECT $1, new.* FROM UNNEST($2::BIGINT[], $3::BIGINT[], $4::BIGINT[]) AS new
            ON CONFLICT (account, kind)
            DO UPDATE SET number = excluded.number, checksum = excluded.checksum
                WHERE issued.number < excluded.number",
        vec![
            column(&issued, |(kind, _)| *kind),
            column(&issued, |(_, number)| *number),
            column(&issued, of_issued),
        ],
    );

    Ok(())
}

fn write_audit(account: AccountId, batch: &Batch, old: &Head, write: WriteTo<'_>) {
    if batch.audit.is_empty() {
        return;
    }
    let audited: Vec<_> = old.audited(&batch.audit).collect();
    let owned = |text: Option<&str>| text.map(|text| kept(text).into_owned());
    write(
            "INSERT INTO audit (account, number, user_number, at, newest, status, kind, operation,
                address, text, variables, problem, key_number, request, revision, checksum)
            SELECT $1, new.* FROM UNNEST($2::BIGINT[], $3::BIGINT[], $4::BIGINT[], $5::BIGINT[],
                $6::BIGINT[], $7::TEXT[], $8::TEXT[], $9::TEXT[], $10::TEXT[], $11::TEXT[], $12::TEXT[],
                $13::BIGINT[], $14::TEXT[], $15::BIGINT[], $16::BIGINT[]) AS new",
            vec![
                column(&audited, |(number, ..)| *number),
                column(&audited, |(.., entry)| i64::from(entry.user.number())),
                column(&audited, |(.., entry)| entry.at.as_millis()),
                column(&audited, |(_, latest, _)| latest.as_millis()),
                column(&audited, |(.., entry)| i64::from(entry.status)),
                column(&audited, |(.., entry)| entry.kind.name()),
                column(&audited, |(.., entry)| kept(&entry.operation).into_owned()),
                column(&audited, |(.., entry)| kept(&entry.address).into_owned()),
                column(&audited, |(.., entry)| owned(entry.text.as_deref())),
                column(&audited, |(.., entry)| owned(entry.variables.as_deref())),
                column(&audited, |(.., entry)| owned(entry.problem.as_deref())),
                column(&audited, |(.., entry)| {
                    entry.key.map_or(0, |key| i64::from(key.number()))
                }),
                column(&audited, |(.., entry)| {
                    entry.request.as_ref().map(|request| request.as_str().to_owned())
                }),
                column(&audited, |(.., entry)| {
                    entry.revision.map_or(NO_REVISION, |revision| bounded(revision.0))
                }),
                column(&audited, |(number, latest, entry)| {
                    checksum::of_audit(account, (*number, *latest), entry).stored()
                }),
            ],
        );
}

fn write_uses(account: AccountId, batch: &Batch, write: WriteTo<'_>) {
    if batch.uses.is_empty() {
        return;
    }
    let uses = last_uses(&batch.uses);
    let of_use = |(key, at): (&ApiKeyId, &Timestamp)| {
        checksum::of_key_use(account, key.number().into(), at.as_millis()).stored()
    };
    write(
            "UPDATE account SET uses = uses # COALESCE((
                SELECT BIT_XOR(new.checksum # COALESCE(key_use.checksum, 0))
                FROM UNNEST($2::BIGINT[], $3::BIGINT[], $4::BIGINT[]) AS new (key_number, at, checksum)
                LEFT JOIN key_use ON key_use.account = $1 AND key_use.key_number = new.key_number
                WHERE key_use.at IS NULL OR key_use.at < new.at
            ), 0)
            WHERE id = $1",
            vec![
                column(&uses, |(key, _)| i64::from(key.number())),
                column(&uses, |(_, at)| at.as_millis()),
                column(&uses, of_use),
            ],
        );
    write(
            "INSERT INTO key_use (account, key_number, at, checksum)
            SELECT $1, new.* FROM UNNEST($2::BIGINT[], $3::BIGINT[], $4::BIGINT[]) AS new
            ON CONFLICT (account, key_number)
            DO UPDATE SET at = excluded.at, checksum = excluded.checksum WHERE key_use.at < excluded.at",
            vec![
                column(&uses, |(key, _)| i64::from(key.number())),
                column(&uses, |(_, at)| at.as_millis()),
                column(&uses, of_use),
            ],
        );
}

/// A parameter with one value of each row.
fn column<'a, R, V>(
    rows: impl IntoIterator<Item = R>,
    value: impl Fn(R) -> V,
) -> Box<dyn ToSql + Sync + Send + 'a>
where
    V: ToSql + Sync + Send + 'a,
{
    Box::new(rows.into_iter().map(value).collect::<Vec<V>>())
}

/// The effect of a whole batch on the current records. Written at once, not change by change: a name that
/// moves from one record to another is never in two places.
#[derive(Default)]
struct Records {
    puts: BTreeMap<(u8, u32), Put>,
    deletes: Vec<(u8, u32)>,
    /// The secrets of each record that can have any.
    secrets: BTreeMap<(u8, u32), Vec<SecretHash>>,
}

struct Put {
    kind: Kind,
    natural_key: Option<String>,
    body: Vec<u8>,
}

impl Put {
    fn checksum(&self, account: AccountId, (kind, number): (u8, u32)) -> i64 {
        let key = (kind.into(), number.into());
        checksum::of_record(account, key, self.natural_key.as_deref(), &self.body).stored()
    }
}

fn checksum_of_secret(
    account: AccountId,
    (kind, number): (u8, u32),
    SecretHash(hash): &SecretHash,
) -> i64 {
    checksum::of_secret(account, (kind.into(), number.into()), hash).stored()
}

impl Records {
    fn of(batch: &Batch) -> Result<Self, AppendError> {
        let mut last: BTreeMap<(u8, u32), &Change> = BTreeMap::new();
        let mut records = Self::default();
        for change in batch.entries.iter().flat_map(|entry| &entry.changes) {
            if let Change::PutAccount(_) = change {
                // It is in the account's row.
                continue;
            }
            let (kind, number) = change.key();
            last.insert((stored(kind)?, number), change);
        }
        for (key, change) in last {
            if let Some(secrets) = secrets::of(change) {
                let secrets = secrets.into_iter().copied().collect();
                records.secrets.insert(key, secrets);
            }
            if change.is_delete() {
                records.deletes.push(key);
                continue;
            }
            let put = Put {
                kind: change.key().0,
                natural_key: change.natural_key(),
                body: change.encode(),
            };
            records.puts.insert(key, put);
        }
        Ok(records)
    }

    /// Every record that is put or deleted.
    fn keys(&self) -> impl Iterator<Item = &(u8, u32)> {
        self.puts.keys().chain(&self.deletes)
    }

    /// The combined checksums of the records and secrets that are written.
    fn content(&self, account: AccountId) -> i64 {
        let records = self.puts.iter();
        let records = records.map(|(key, put)| put.checksum(account, *key));
        let secrets = self.each_secret();
        let secrets = secrets.map(|(key, secret)| checksum_of_secret(account, *key, secret));
        records.chain(secrets).fold(0, |content, one| content ^ one)
    }

    fn each_secret(&self) -> impl Iterator<Item = (&(u8, u32), &SecretHash)> {
        let of = self.secrets.iter();
        of.flat_map(|(key, secrets)| secrets.iter().map(move |secret| (key, secret)))
    }

    fn write(&self, account: AccountId, write: &mut impl FnMut(&'static str, Values)) {
        if !self.deletes.is_empty() {
            let numbers = vec![
                column(&self.deletes, |(kind, _)| i64::from(*kind)),
                column(&self.deletes, |(_, number)| i64::from(*number)),
            ];
            write(DELETE_RECORDS, numbers);
        }
        self.write_secrets(account, write);
        if self.puts.is_empty() {
            return;
        }
        let keyed = self.puts.values().filter(|put| put.natural_key.is_some());
        if keyed.count() > 1 {
            write(FREE_KEYS, self.columns());
        }
        let mut columns = self.columns();
        columns.push(column(self.puts.values(), |put| put.body.clone()));
        columns.push(column(&self.puts, |(key, put)| put.checksum(account, *key)));
        write(PUT_RECORDS, columns);
    }

    fn write_secrets(&self, account: AccountId, write: &mut impl FnMut(&'static str, Values)) {
        if self.secrets.is_empty() {
            return;
        }
        let numbers = vec![
            column(self.secrets.keys(), |(kind, _)| i64::from(*kind)),
            column(self.secrets.keys(), |(_, number)| i64::from(*number)),
        ];
        write(DELETE_SECRETS, numbers);
        let each = || self.each_secret();
        if each().next().is_some() {
            let columns = vec![
                column(each(), |((kind, _), _)| i64::from(*kind)),
                column(each(), |((_, number), _)| i64::from(*number)),
                column(each(), |(_, SecretHash(hash))| hash.to_vec()),
                column(each(), |(key, secret)| {
                    checksum_of_secret(account, *key, secret)
                }),
            ];
            write(PUT_SECRETS, columns);
        }
    }

    fn columns(&self) -> Values {
        vec![
            column(self.puts.keys(), |(kind, _)| i64::from(*kind)),
            column(self.puts.keys(), |(_, number)| i64::from(*number)),
            column(self.puts.values(), |put| put.natural_key.clone()),
        ]
    }

    /// The natural key that conflicts: PostgreSQL names it only in translated messages. `None` if there is no
    /// conflict any more.
    fn find_taken(&self, pool: &Pool, account: AccountId) -> Option<(Kind, String)> {
        let mut seen = BTreeMap::new();
        for ((stored, number), put) in &self.puts {
            let Some(key) = &put.natural_key else {
                continue;
            };
            if seen.insert((stored, key), number).is_some() {
                return Some((put.kind, key.clone()));
            }
        }
        pool.read(|connection| self.find_holder(connection, account))
            .ok()?
    }

    fn find_holder(
        &self,
        connection: &mut Connection,
        account: AccountId,
    ) -> Result<Option<(Kind, String)>, Failure> {
        use crate::tables::{Database as _, Value};
        for ((stored, number), put) in &self.puts {
            let Some(key) = &put.natural_key else {
                continue;
            };
            let mut is_taken = false;
            connection.query(
                "SELECT number FROM record WHERE account = $1 AND kind = $2 AND natural_key = $3",
                &[
                    account.into(),
                    Value::Integer((*stored).into()),
                    Value::Text(Some(key)),
                ],
                &mut |row| {
                    let holder = row.integer(0)?;
                    let is_given_up = u32::try_from(holder).is_ok_and(|holder| {
                        self.puts.contains_key(&(*stored, holder))
                            || self.deletes.contains(&(*stored, holder))
                    });
                    is_taken = holder != i64::from(*number) && !is_given_up;
                    Ok(())
                },
            )?;
            if is_taken {
                return Ok(Some((put.kind, key.clone())));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::sync::mpsc;

    use super::super::address::Address;
    use super::super::connection::WRITE_TIMEOUT;
    use super::*;
    use crate::tables::Database as _;

    #[test]
    fn a_notification_that_fails_leaves_a_connection_that_commits() {
        let server = std::env::var("BINDERY_TEST_POSTGRES").expect(
            "BINDERY_TEST_POSTGRES names no PostgreSQL server to test with: `cargo xtask test` starts one",
        );
        let address = Arc::new(Address::parse(&server).expect("a URL"));
        let pool_address = Arc::clone(&address);
        let pool = Pool::new(address, WRITE_TIMEOUT, 1);
        // Longer than a notification may be.
        let refused = notify(&"1".repeat(10_000));
        for _ in 0..3 {
            let begun =
                pool.start(|connection| connection.begin(BEGIN, "SELECT 1", &[], &mut |_| Ok(())));
            let (mut lease, ()) = begun.expect("the connection is good");
            let committed = lease.commit(&[], Some(&refused));
            assert!(committed.is_ok(), "{committed:?}");
        }
        // One that succeeds is sent on the same connection, and changes still wait for the disk.
        let (say, mut heard) = mpsc::unbounded_channel();
        let listening = Connection::open(&pool_address, WRITE_TIMEOUT, Some(&say));
        let mut listening = listening.expect("the server of the tests");
        listening
            .batch("LISTEN bindery")
            .expect("nothing is needed for that");
        let begun =
            pool.start(|connection| connection.begin(BEGIN, "SELECT 1", &[], &mut |_| Ok(())));
        let (mut lease, ()) = begun.expect("the connection is good");
        let committed = lease.commit(&[], Some(&notify("7 said")));
        assert!(committed.is_ok(), "{committed:?}");
        let mut settings = Vec::new();
        let asked = lease.query(
            "SELECT current_setting('synchronous_commit')",
            &[],
            &mut |row| {
                settings.push(row.text(0)?.map(str::to_owned));
                Ok(())
            },
        );
        assert!(asked.is_ok(), "{asked:?}");
        assert_eq!(settings, [Some("on".to_owned())]);
        // Others notify as well, on the server of all tests.
        let mut notes =
            std::iter::from_fn(|| listening.listen(Duration::from_secs(10), heard.recv()));
        assert!(notes.any(|note| note == "7 said"));
    }
}
