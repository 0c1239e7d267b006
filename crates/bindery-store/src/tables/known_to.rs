//! Finds out from the log who may know each password: in the migration to format 6, and in the restore of a
//! backup of version 1.

use std::collections::BTreeMap;

use bindery_core::change::{Change, Entry};
use bindery_core::credential::{Credential, Knowers};
use bindery_core::id::{AccountId, Id as _, Kind, Revision, UserId};
use bindery_core::role::AccountRole;

use super::checksum::{of_log, of_record};
use super::read::{decode_entry, decode_record};
use super::{Database, Failure, Value, check_touched};
use crate::copy::{self, Cell, LOG, Table};
use crate::record::number_of;

/// How many records are written in one step.
const ROWS_OF_STEP: usize = 64;

/// Records in credentials of formats before 6 who may know them, as far as the log shows it. That depends on
/// earlier entries. So an entry that puts a credential is rewritten with it, and so is the record that the
/// last of them has put.
///
/// Works in steps of one page, so that an import can commit in between.
pub(crate) struct NoteKnownTo {
    account: AccountId,
    log: &'static Table,
    /// The last key of the log that was read; absent at the end of the log.
    after: Option<Vec<i64>>,
    knowers: Knowers,
    admins: BTreeMap<UserId, bool>,
    /// The last credential of each person.
    current: BTreeMap<UserId, Credential>,
    /// The change in the sum of the checksums of the records.
    pub(crate) changed: i64,
}

impl NoteKnownTo {
    pub(crate) fn begin(account: AccountId) -> Result<Self, Failure> {
        let log = copy::table_of(LOG);
        let log = log.ok_or_else(|| Failure::Damaged("there is no table of the log".to_owned()))?;
        Ok(Self {
            account,
            log,
            after: Some(vec![-1; log.key]),
            knowers: Knowers::default(),
            admins: BTreeMap::new(),
            current: BTreeMap::new(),
            changed: 0,
        })
    }

    /// Runs the next step. Returns how many rows it has written; `None` if everything is done.
    pub(crate) fn step(&mut self, database: &mut dyn Database) -> Result<Option<usize>, Failure> {
        if self.after.is_some() {
            let rows = copy::next_page(database, self.account, self.log, &mut self.after)?;
            return self.note(database, &rows).map(Some);
        }
        let mut written = 0;
        while written < ROWS_OF_STEP {
            let Some((_, credential)) = self.current.pop_first() else {
                break;
            };
            self.changed ^= write_credential(database, self.account, credential)?;
            written += 1;
        }
        Ok((written > 0).then_some(written))
    }

    /// Records it in some entries. Returns how many were rewritten.
    fn note(&mut self, database: &mut dyn Database, rows: &[Vec<Cell>]) -> Result<usize, Failure> {
        let (account, admins) = (self.account, &mut self.admins);
        let mut written = 0;
        for row in rows {
            let not_read = || Failure::Damaged("a row of the log has other columns".to_owned());
            let [Cell::Integer(revision), Cell::Bytes(body)] = &**row else {
                return Err(not_read());
            };
            let revision = Revision(u64::try_from(*revision).map_err(|_| not_read())?);
            let mut entry = decode_entry(revision, revision, body)?;
            let is_admin = |user| {
                if let Some(known) = admins.get(&user) {
                    return Ok::<_, Failure>(*known);
                }
                let found = is_admin(database, account, user)?;
                admins.insert(user, found);
                Ok(found)
            };
            if self.knowers.note(&mut entry, is_admin)? {
                write_entry(database, account, &entry)?;
                written += 1;
            }
            for change in entry.changes {
                if let Change::PutCredential(credential) = change {
                    self.current.insert(credential.user, credential);
                } else if let Change::DeleteCredential(user) = change {
                    self.current.remove(&user);
                }
            }
        }
        Ok(written)
    }
}

/// Writes the record of a credential if it has changed. Returns the change in the sum of the checksums.
fn write_credential(
    database: &mut dyn Database,
    account: AccountId,
    credential: Credential,
) -> Result<i64, Failure> {
    let user = credential.user.number();
    let record = Change::PutCredential(credential);
    let kind = number_of(Kind::Credential).map_or(-1, i64::from);
    let key = (kind, i64::from(user));
    let mut before = None;
    database.query(
        "SELECT body, checksum FROM record WHERE account = $1 AND kind = $2 AND number = $3",
        &[account.into(), Value::Integer(key.0), Value::Integer(key.1)],
        &mut |row| {
            let found = decode_record(Kind::Credential, user, row.bytes(0)?)?;
            before = Some((found, row.integer(1)?));
            Ok(())
        },
    )?;
    let (found, before) = before.ok_or_else(|| {
        let what = format!(
            "the credential of user {user} is missing in account {}",
            account.0
        );
        Failure::Damaged(what)
    })?;
    if found == record {
        return Ok(0);
    }
    let body = record.encode();
    let checksum = of_record(account, key, record.natural_key().as_deref(), &body).stored();
    let touched = database.execute(
        "UPDATE record SET body = $1, checksum = $2 WHERE account = $3 AND kind = $4 AND number = $5",
        &[
            Value::Bytes(&body),
            Value::Integer(checksum),
            account.into(),
            Value::Integer(key.0),
            Value::Integer(key.1),
        ],
    )?;
    check_touched("record", 1, touched)?;
    Ok(before ^ checksum)
}

/// Whether a user is a person and account admin. No operation changes the account role of a user who can act,
/// and a deleted one keeps it, so the current record shows what it was.
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
    let touched = database.execute(
        "UPDATE log SET body = $1, checksum = $2 WHERE account = $3 AND revision = $4",
        &[
            Value::Bytes(&body),
            Value::Integer(checksum.stored()),
            account.into(),
            Value::Integer(revision),
        ],
    )?;
    check_touched("log", 1, touched)
}
