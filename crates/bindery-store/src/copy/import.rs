//! A new store from parts. It is not a store until it is finished: opening it earlier fails with a message. A
//! server that had the empty store open finds no account, since all its reads begin with the row of one.

use std::borrow::Cow;
use std::fmt;

use bindery_core::change::LogPosition;
use bindery_core::id::Revision;

use super::{BASE, Cell, LOG, Part, RECORD, SECRET, Sums};
use crate::StoreError;
use crate::tables::checksum::of_cells;
use crate::tables::known_to::NoteKnownTo;
use crate::tables::read::{decode_entry, put_batch};
use crate::tables::replay::{HeadRow, Replay};
use crate::tables::{Database, Failure, Rows, Value, bounded, kept, seal, secrets};

/// How many rows go into one transaction.
const COMMIT_ROWS: usize = 16 * 1024;

/// What a database does for an import besides running statements.
pub(crate) trait Target: Database {
    fn begin(&mut self) -> Result<(), Failure>;
    fn commit(&mut self) -> Result<(), Failure>;
    /// Commits, and makes it a store if it has this many accounts.
    fn finish(self: Box<Self>, accounts: i64) -> Result<(), Failure>;
}

/// A store in the making. Dropped before [`Import::finish`], it stays [`StoreError::Unfinished`].
pub struct Import {
    place: String,
    target: Box<dyn Target + Send>,
    accounts: Vec<PendingAccount>,
    /// Rows since the last commit.
    rows: usize,
    /// For a backup of version 1: the current account, replayed from the log.
    replay: Option<Replay>,
}

/// The row of an account, which is written last.
struct PendingAccount {
    part: Part,
    /// The end of its log, whose batch is not part of a copy.
    end: Option<LogPosition>,
    /// The sum of the base's rows, from the row of the base.
    base: i64,
    /// The sums of its rows, as they are written.
    sums: Sums,
}

impl PendingAccount {
    /// The sums that were copied with its rows. A backup of version 1 has none.
    fn copied(&self) -> Option<Sums> {
        match self.part.rows.first().map(Vec::as_slice) {
            Some([.., Cell::Integer(account), Cell::Integer(uses)])
                if !self.part.is_of_older_format =>
            {
                Some(Sums {
                    account: *account,
                    base: self.base,
                    uses: *uses,
                })
            }
            _ => None,
        }
    }
}

impl fmt::Debug for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Import").field(&self.place).finish()
    }
}

impl Import {
    pub(crate) fn begin(
        place: String,
        mut target: Box<dyn Target + Send>,
    ) -> Result<Self, StoreError> {
        target.begin().map_err(|failure| failure.at(&place))?;
        Ok(Self {
            place,
            target,
            accounts: Vec::new(),
            rows: 0,
            replay: None,
        })
    }

    /// Writes one more part.
    pub fn take(&mut self, part: &Part) -> Result<(), StoreError> {
        self.write(part).map_err(|failure| failure.at(&self.place))
    }

    fn write(&mut self, part: &Part) -> Result<(), Failure> {
        if part.table.begins_account() {
            self.finish_account()?;
            if part.is_of_older_format {
                self.replay = Some(Replay::begin(part.account, None)?);
            }
            self.accounts.push(PendingAccount {
                part: part.clone(),
                end: None,
                base: 0,
                sums: Sums::default(),
            });
            return Ok(());
        }
        let replayed = self.replay_part(part)?;
        let part = replayed.as_ref().unwrap_or(part);
        let mut sums = Sums::default();
        self.insert(part, &mut sums)?;
        self.write_secrets(part, &mut sums)?;
        if let Some(held) = self.accounts.last_mut() {
            held.sums.combine(sums);
        }
        self.note_base(part);
        self.note_end(part)?;
        self.wrote(part.rows.len())
    }

    /// Commits if there are enough rows.
    fn wrote(&mut self, rows: usize) -> Result<(), Failure> {
        self.rows += rows;
        if self.rows >= COMMIT_ROWS {
            self.target.commit()?;
            self.target.begin()?;
            self.rows = 0;
        }
        Ok(())
    }

    /// The part with givers added, if its backup has none: as in the migration from format 5.
    fn replay_part(&mut self, part: &Part) -> Result<Option<Part>, Failure> {
        let Some(replay) = &mut self.replay else {
            return Ok(None);
        };
        let mut part = part.clone();
        for row in &mut part.rows {
            if let (
                BASE,
                [
                    Cell::Integer(revision),
                    Cell::Integer(latest),
                    Cell::Bytes(body),
                    ..,
                ],
            ) = (part.table.code, &**row)
            {
                let base = HeadRow {
                    revision: *revision,
                    batch: None,
                    latest: *latest,
                    body,
                };
                *replay = Replay::begin(part.account, Some(base))?;
            }
            replay.take(part.table.code, row)?;
        }
        Ok(Some(part))
    }

    /// Finishes the previous account, which lacks only its own row. If its backup has no sums, it is compared
    /// with the log, and users who may know its passwords are recorded.
    fn finish_account(&mut self) -> Result<(), Failure> {
        let Some(replay) = self.replay.take() else {
            return Ok(());
        };
        self.finish_replay(replay)?;
        let account = self.accounts.last().map(|held| held.part.account);
        let Some(account) = account else {
            return Ok(());
        };
        let mut noting = NoteKnownTo::begin(account)?;
        while let Some(rows) = noting.step(&mut *self.target)? {
            self.wrote(rows)?;
        }
        if let Some(held) = self.accounts.last_mut() {
            held.sums.add(RECORD, noting.changed);
        }
        Ok(())
    }

    /// Compares the replayed log with the row of the account.
    fn finish_replay(&self, replay: Replay) -> Result<(), Failure> {
        let account = self.accounts.last();
        let row = account.and_then(|held| held.part.rows.first());
        match row.map(Vec::as_slice) {
            Some(
                [
                    Cell::Integer(revision),
                    Cell::Integer(latest),
                    Cell::Integer(audit_head),
                    Cell::Integer(newest_audit),
                    Cell::Bytes(body),
                    ..,
                ],
            ) => {
                let row = HeadRow {
                    revision: *revision,
                    batch: None,
                    latest: *latest,
                    body,
                };
                replay.finish(row, (*audit_head, *newest_audit))
            }
            _ => Ok(()),
        }
    }

    fn insert(&mut self, part: &Part, sums: &mut Sums) -> Result<(), Failure> {
        let table = part.table;
        let names = table.columns.iter().map(|(name, _)| *name);
        let first = [table.account].into_iter();
        let names: Vec<&str> = first.chain(names).chain(["checksum"]).collect();
        let into = format!("{} ({})", table.name, names.join(", "));
        let rows = kept_rows(&part.rows);
        let rows = rows.iter().map(|row| {
            let checksum = of_cells(table, part.account, row).stored();
            sums.add(table.code, checksum);
            let mut row: Vec<_> = row.iter().map(Cell::value).collect();
            row.push(Value::Integer(checksum));
            row
        });
        Rows {
            into: &into,
            or: "",
        }
        .insert(&mut *self.target, part.account, rows)
    }

    /// Secrets are derived from the records, and not part of a copy.
    fn write_secrets(&mut self, part: &Part, sums: &mut Sums) -> Result<(), Failure> {
        if part.table.code != RECORD {
            return Ok(());
        }
        let mut found = Vec::new();
        for row in &part.rows {
            if let [
                Cell::Integer(kind),
                Cell::Integer(number),
                _,
                Cell::Bytes(body),
            ] = &**row
            {
                found.extend(secrets::of_record(*kind, *number, body)?);
            }
        }
        let put = secrets::put(&mut *self.target, part.account, &found)?;
        sums.add(SECRET, put);
        Ok(())
    }

    fn note_base(&mut self, part: &Part) {
        let row = part.rows.first().map(Vec::as_slice);
        if part.table.code == BASE
            && let Some([.., Cell::Integer(content)]) = row
            && let Some(held) = self.accounts.last_mut()
        {
            held.base = *content;
        }
    }

    fn note_end(&mut self, part: &Part) -> Result<(), Failure> {
        let last = part.rows.last().map(Vec::as_slice);
        if part.table.code == LOG
            && let Some([Cell::Integer(revision), Cell::Bytes(body)]) = last
            && let Some(held) = self.accounts.last_mut()
        {
            let found = Revision(u64::try_from(*revision).unwrap_or_default());
            held.end = Some(decode_entry(found, found, body)?.position());
        }
        Ok(())
    }

    /// Makes it a store. When this returns, it is on the disk and complete.
    pub fn finish(mut self) -> Result<(), StoreError> {
        let place = std::mem::take(&mut self.place);
        self.end().map_err(|failure| failure.at(&place))
    }

    fn end(mut self) -> Result<(), Failure> {
        self.finish_account()?;
        self.target.commit()?;
        self.target.begin()?;
        let accounts = std::mem::take(&mut self.accounts);
        for held in &accounts {
            let PendingAccount { part, end, .. } = held;
            if let Some(copied) = held.copied() {
                held.sums.check(copied, part.account)?;
            }
            self.insert(part, &mut Sums::default())
                .map_err(|failure| match failure {
                    Failure::Taken(_) => Failure::Damaged(
                        "a server has created an account in it meanwhile".to_owned(),
                    ),
                    failure => failure,
                })?;
            if let Some(end) = end {
                put_batch(&mut *self.target, part.account, *end)?;
            }
            seal::seal(&mut *self.target, part.account, held.sums)?;
        }
        self.target.finish(bounded(accounts.len()))
    }
}

/// The rows with their texts as every database keeps them: an older audit log may have others.
fn kept_rows(rows: &[Vec<Cell>]) -> Cow<'_, [Vec<Cell>]> {
    let has_nul = |cell: &Cell| matches!(cell, Cell::Text(Some(text)) if text.contains('\0'));
    if !rows.iter().flatten().any(has_nul) {
        return rows.into();
    }
    let cell = |cell: &Cell| match cell {
        Cell::Text(Some(text)) => Cell::Text(Some(kept(text).into_owned())),
        Cell::Text(None) | Cell::Integer(_) | Cell::Bytes(_) => cell.clone(),
    };
    let rows = rows.iter().map(|row| row.iter().map(cell).collect());
    rows.collect()
}
