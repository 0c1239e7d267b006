//! What makes the checksums of rows that are already there: on the way to format 6, and at the end of an import.

use std::fmt::Write as _;

use std::collections::BTreeMap;

use bindery_core::change::{Change, Entry};
use bindery_core::credential::Knowers;
use bindery_core::id::{AccountId, Id as _, Kind, Revision, UserId};
use bindery_core::role::AccountRole;

use super::checksum::{Checksum, of_account, of_base, of_cells, of_log};
use super::read::{decode_entry, decode_record};
use super::{Database, Failure, Value, number, secrets};
use crate::copy::{self, ACCOUNT, BASE, Cell, SECRET, Sums, TABLES, Table};
use crate::record::number_of;

/// How many rows get their checksums in one statement.
const ROWS_AT_ONCE: usize = 64;
/// How much of a log is read at once.
const LOG_PAGE: i64 = 1000;

/// Gives every row its checksum, and every account and base the sum of its rows: for a store of format 5. Before that it notes in
/// records who gave each role and when, and who may know each password, as far as the log tells.
pub(crate) fn fill(database: &mut dyn Database) -> Result<(), Failure> {
    for account in accounts(database)? {
        note_from_log(database, account)?;
        let mut sums = Sums::default();
        for table in &TABLES {
            if table.code != ACCOUNT && table.code != BASE {
                add_checksums(database, account, table, &mut sums)?;
            }
        }
        sums.add(SECRET, secrets::write_anew(database, account)?);
        seal(database, account, sums)?;
    }
    Ok(())
}

fn accounts(database: &mut dyn Database) -> Result<Vec<AccountId>, Failure> {
    let mut accounts = Vec::new();
    database.query("SELECT id FROM account ORDER BY id", &[], &mut |row| {
        accounts.push(AccountId(number(row, 0)?));
        Ok(())
    })?;
    Ok(accounts)
}

/// Writes the sums of an account's rows and of its base's, and the checksums of the rows that have them.
pub(crate) fn seal(
    database: &mut dyn Database,
    account: AccountId,
    sums: Sums,
) -> Result<(), Failure> {
    seal_base(database, account, sums.base)?;
    seal_account(database, account, sums.account)?;
    database.execute(
        "UPDATE account SET uses = $1, oldest_audit = COALESCE(
            (SELECT MIN(number) FROM audit WHERE account = $2), audit_head + 1)
        WHERE id = $2",
        &[Value::Integer(sums.uses), account.into()],
    )?;
    Ok(())
}

fn seal_account(
    database: &mut dyn Database,
    account: AccountId,
    content: i64,
) -> Result<(), Failure> {
    let mut checksum = None;
    database.query(
        "SELECT revision, batch, latest, audit_head, newest_audit, body FROM account WHERE id = $1",
        &[account.into()],
        &mut |row| {
            checksum = Some(of_account(
                account,
                (row.integer(0)?, row.integer(1)?),
                row.integer(2)?,
                (row.integer(3)?, row.integer(4)?),
                row.bytes(5)?,
            ));
            Ok(())
        },
    )?;
    let checksum = checksum.ok_or(Failure::NoAccount(account))?;
    database.execute(
        "UPDATE account SET content = $1, checksum = $2 WHERE id = $3",
        &[
            Value::Integer(content),
            Value::Integer(checksum.stored()),
            account.into(),
        ],
    )?;
    Ok(())
}

fn seal_base(database: &mut dyn Database, account: AccountId, content: i64) -> Result<(), Failure> {
    let mut checksum = None;
    database.query(
        "SELECT revision, batch, newest_change, body FROM base WHERE account = $1",
        &[account.into()],
        &mut |row| {
            checksum = Some(of_base(
                account,
                (row.integer(0)?, row.integer(1)?),
                row.integer(2)?,
                content,
                row.bytes(3)?,
            ));
            Ok(())
        },
    )?;
    if let Some(checksum) = checksum {
        database.execute(
            "UPDATE base SET content = $1, checksum = $2 WHERE account = $3",
            &[
                Value::Integer(content),
                Value::Integer(checksum.stored()),
                account.into(),
            ],
        )?;
        database.execute(
            "UPDATE account SET base_checksum = $1 WHERE id = $2",
            &[Value::Integer(checksum.stored()), account.into()],
        )?;
    }
    Ok(())
}

/// Gives the rows of one table their checksums.
fn add_checksums(
    database: &mut dyn Database,
    account: AccountId,
    table: &'static Table,
    sums: &mut Sums,
) -> Result<(), Failure> {
    copy::each_page(database, account, table, &mut |database, rows| {
        for some in rows.chunks(ROWS_AT_ONCE) {
            let mut values = Vec::new();
            for row in some {
                for cell in &row[..table.key] {
                    if let Cell::Integer(number) = cell {
                        values.push(Value::Integer(*number));
                    }
                }
                let checksum = of_cells(table, account, row);
                values.push(Value::Integer(checksum.stored()));
                sums.add(table.code, checksum.stored());
            }
            values.push(account.into());
            database.execute(&statement(table, some.len()), &values)?;
        }
        Ok(())
    })
}

fn statement(table: &Table, rows: usize) -> String {
    let mut sql = format!(
        "UPDATE {} SET checksum = new.column{} FROM (VALUES ",
        table.name,
        table.key + 1
    );
    let mut place = 1;
    for row in 0..rows {
        sql.push_str(if row == 0 { "(" } else { ", (" });
        for column in 0..=table.key {
            let comma = if column == 0 { "" } else { ", " };
            let _ = write!(sql, "{comma}CAST(${place} AS BIGINT)");
            place += 1;
        }
        sql.push(')');
    }
    let _ = write!(sql, ") AS new WHERE {}.account = ${place}", table.name);
    for (place, (key, _)) in table.columns[..table.key].iter().enumerate() {
        let _ = write!(sql, " AND {}.{key} = new.column{}", table.name, place + 1);
    }
    sql
}

/// Notes in the current records who gave each role and when, and who may know each password or link. A record is what the last entry
/// that puts it has put, so one that isn't what this entry has put belongs to a later one, or was changed before the log began.
///
/// Who may know a credential depends on earlier entries, so an entry that puts one is written anew with it. Returns by what all this
/// changes the checksums of the records, combined.
pub(crate) fn note_from_log(
    database: &mut dyn Database,
    account: AccountId,
) -> Result<i64, Failure> {
    let mut knowers = Knowers::default();
    let mut admins = BTreeMap::new();
    let (mut after, mut changed) = (-1, 0);
    loop {
        let (mut entries, last) = page_of_log(database, account, after)?;
        for (written, entry) in &mut entries {
            let is_admin = |user| match admins.get(&user) {
                Some(known) => Ok::<_, Failure>(*known),
                None => {
                    let found = is_admin(database, account, user)?;
                    admins.insert(user, found);
                    Ok(found)
                }
            };
            if knowers.note(entry, is_admin)? {
                write_entry(database, account, entry)?;
            }
            let pairs = written.changes.iter().zip(&entry.changes);
            for (old, new) in pairs.filter(|(old, new)| old != new) {
                let (kind, number) = new.key();
                let kind = number_of(kind).map_or(-1, i64::from);
                let key = (kind, i64::from(number));
                let (written, body) = (old.encode(), new.encode());
                let checksum = checksum_of(account, key, new, &body);
                let updated = database.execute(
                    "UPDATE record SET body = $1, checksum = $2
                    WHERE account = $3 AND kind = $4 AND number = $5 AND body = $6",
                    &[
                        Value::Bytes(&body),
                        Value::Integer(checksum.stored()),
                        account.into(),
                        Value::Integer(key.0),
                        Value::Integer(key.1),
                        Value::Bytes(&written),
                    ],
                )?;
                if updated > 0 {
                    let before = checksum_of(account, key, old, &written);
                    changed ^= before.stored() ^ checksum.stored();
                }
            }
        }
        match last {
            Some(last) => after = last,
            None => return Ok(changed),
        }
    }
}

/// Whether a user is a person and account admin. No operation changes the account role of a user who can act, and a deleted one keeps it,
/// so the current record tells what it was.
fn is_admin(
    database: &mut dyn Database,
    account: AccountId,
    user: UserId,
) -> Result<bool, Failure> {
    let kind = number_of(Kind::User).map_or(-1, i64::from);
    let mut is_admin = false;
    database.query(
        "SELECT body FROM record WHERE account = $1 AND kind = $2 AND number = $3",
        &[
            account.into(),
            Value::Integer(kind),
            Value::Integer(user.number().into()),
        ],
        &mut |row| {
            let record = decode_record(Kind::User, user.number(), row.bytes(0)?)?;
            if let Change::PutUser(user) = record {
                is_admin = user.is_human() && user.account_role == AccountRole::Admin;
            }
            Ok(())
        },
    )?;
    Ok(is_admin)
}

fn write_entry(
    database: &mut dyn Database,
    account: AccountId,
    entry: &Entry,
) -> Result<(), Failure> {
    let revision = i64::try_from(entry.revision.0).unwrap_or(i64::MAX);
    let body = entry.encode();
    let checksum = of_log(account, revision, &body);
    database.execute(
        "UPDATE log SET body = $1, checksum = $2 WHERE account = $3 AND revision = $4",
        &[
            Value::Bytes(&body),
            Value::Integer(checksum.stored()),
            account.into(),
            Value::Integer(revision),
        ],
    )?;
    Ok(())
}

fn checksum_of(account: AccountId, key: (i64, i64), record: &Change, body: &[u8]) -> Checksum {
    super::checksum::of_record(account, key, record.natural_key().as_deref(), body)
}

/// Entries of formats before 6 with and without what follows from them, and the last revision of the page.
#[expect(clippy::type_complexity, reason = "said once")]
fn page_of_log(
    database: &mut dyn Database,
    account: AccountId,
    after: i64,
) -> Result<(Vec<(Entry, Entry)>, Option<i64>), Failure> {
    let mut entries = Vec::new();
    let mut last = None;
    database.query(
        "SELECT revision, body FROM log WHERE account = $1 AND revision > $2 ORDER BY revision LIMIT $3",
        &[account.into(), Value::Integer(after), Value::Integer(LOG_PAGE)],
        &mut |row| {
            let revision = row.integer(0)?;
            last = Some(revision);
            let found = Revision(u64::try_from(revision).unwrap_or_default());
            let entry = decode_entry(found, found, row.bytes(1)?)?;
            let written = Entry::decode_as_written(row.bytes(1)?);
            let written = written.map_err(|error| Failure::Damaged(error.to_string()))?;
            entries.push((written, entry));
            Ok(())
        },
    )?;
    Ok((entries, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_whose_rows_are_told_apart_by_numbers_get_their_checksums_by_them() {
        for table in &TABLES {
            let key = &table.columns[..table.key];
            assert!(
                key.iter()
                    .all(|(_, column)| *column == copy::Column::Integer)
            );
        }
        let log = copy::table_of(copy::LOG).unwrap();
        assert_eq!(
            statement(log, 2),
            "UPDATE log SET checksum = new.column2 FROM (VALUES (CAST($1 AS BIGINT), CAST($2 AS BIGINT)), \
            (CAST($3 AS BIGINT), CAST($4 AS BIGINT))) AS new WHERE log.account = $5 AND log.revision = new.column1"
        );
        assert!(copy::table_of(copy::RECORD).is_some());
    }
}
