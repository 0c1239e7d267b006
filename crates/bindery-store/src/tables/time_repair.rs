//! Sets the time of one account back, in one transaction that the caller begins and ends. The core decides
//! what moves where ([`TimeRepair`]); here are the rows.
//!
//! Everything that is read is checked first, so that nothing damaged gets a new checksum. What is written is
//! replayed before the caller commits it.
//!
//! Servers with the loaded account notice: each rewritten entry gets another batch, the last one always, so
//! the position that they know is not in the log any more. They reload the account, as after a restore.

use std::num::NonZeroU64;

use bindery_core::change::{Change, Entry, Origin, Part};
use bindery_core::id::{AccountId, Revision};
use bindery_core::rules::RulesVersion;
use bindery_core::state::State;
use bindery_core::time::Timestamp;
use bindery_core::time_repair::{End, TimeRepair};

use super::checksum::{self, of_cells};
use super::read::{self, Head, changes_since, decode_account, decode_kind, decode_record};
use super::{Database, Failure, Rows, Value, audit, base, batch_of, bounded, seal};
use crate::copy::{self, AUDIT, BASE_RECORD, Cell, KEY_USE, RECORD, Table};
use crate::{Batch, Cause};

/// How many entries of a log are read at once.
const LOG_PAGE: usize = 1000;
/// How many rows of numbers are written in one statement.
const ROWS_AT_ONCE: usize = 64;

/// What a repair did, or what it would do.
#[derive(Clone, Debug)]
pub struct RepairedTime {
    /// Nothing is later than this now.
    pub latest: Timestamp,
    /// The previous time of the account's last entry.
    pub newest: Timestamp,
    /// The first entry that was ahead, or that follows one.
    pub first_entry: Option<Revision>,
    /// How many entries were changed.
    pub entries: u64,
    /// How many entries the log has.
    pub entries_total: u64,
    /// How many of the current records were changed.
    pub records: u64,
    /// How many records of the base snapshot were changed.
    pub base_records: u64,
    /// How many audit entries were changed.
    pub audit: u64,
    /// How many last uses of keys were changed.
    pub key_uses: u64,
    /// The expiries of keys, invitations and links to check.
    pub ends: Vec<End>,
    /// The revision that records the repair; absent if nothing is ahead.
    pub revision: Option<Revision>,
    /// The account after the repair.
    pub state: State,
}

/// The parameters of a repair.
pub struct TimeRepairOrder<'a> {
    /// Nothing is later than this afterwards.
    pub latest: Timestamp,
    /// A random number for the entries that are written.
    pub batch: NonZeroU64,
    /// Called with the number of rows written so far. If it fails, nothing is changed.
    pub written: &'a mut dyn FnMut(u64) -> Result<(), Cause>,
}

impl std::fmt::Debug for TimeRepairOrder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TimeRepairOrder")
            .field("latest", &self.latest)
            .finish_non_exhaustive()
    }
}

/// Describes a repair. The caller holds a transaction that sees one moment.
pub(crate) fn plan(
    database: &mut dyn Database,
    account: AccountId,
    latest: Timestamp,
) -> Result<RepairedTime, Failure> {
    let mut rewriting = Rewriting {
        database,
        account,
        order: None,
        rows: 0,
    };
    let (repaired, _) = rewriting.run(latest)?;
    Ok(repaired)
}

/// Writes the repaired rows. The caller holds the account's row, appends the returned batch, and commits. An
/// empty batch means that nothing is to be repaired, and nothing was written.
pub(crate) fn rewrite(
    database: &mut dyn Database,
    account: AccountId,
    order: TimeRepairOrder<'_>,
) -> Result<(RepairedTime, Batch), Failure> {
    let latest = order.latest;
    let mut rewriting = Rewriting {
        database,
        account,
        order: Some(order),
        rows: 0,
    };
    rewriting.run(latest)
}

/// The current account, and where its entries begin to be ahead.
struct Found {
    head: Head,
    state: State,
    /// Where the log begins.
    base: Revision,
    first_entry: Option<Revision>,
    /// The state before that; absent if the base is ahead already.
    before: Option<State>,
}

struct Rewriting<'d, 'o> {
    database: &'d mut dyn Database,
    account: AccountId,
    /// Absent if nothing is written.
    order: Option<TimeRepairOrder<'o>>,
    /// How many rows were written.
    rows: u64,
}

impl Rewriting<'_, '_> {
    fn run(&mut self, latest: Timestamp) -> Result<(RepairedTime, Batch), Failure> {
        let found = find(self.database, self.account, latest)?;
        let newest = found.head.latest;
        let uses = self.key_uses(latest)?;
        let mut repaired = RepairedTime {
            latest,
            newest,
            first_entry: found.first_entry,
            entries: 0,
            entries_total: found.head.position.revision.0.saturating_sub(found.base.0),
            records: 0,
            base_records: 0,
            audit: 0,
            key_uses: count(uses.len()),
            ends: Vec::new(),
            revision: None,
            state: found.state.clone(),
        };
        let is_ahead = found.before.is_none()
            || found.first_entry.is_some()
            || found.head.audit_latest > latest
            || !uses.is_empty();
        if !is_ahead {
            return Ok((repaired, Batch::default()));
        }
        let repair = TimeRepair::new(latest, newest, found.before.clone());
        let unmarked = self.base(&repair, &found, &mut repaired)?;
        self.log(&repair, &found, &mut repaired)?;
        let content = self.records(&repair, &mut repaired)?;
        self.audit(&repair, &found.head, &mut repaired)?;
        let uses_changed = self.write_key_uses(&uses, latest)?;
        self.head(&repair, &found.head, content, uses_changed)?;
        if self.order.is_some() {
            // Replays what was written: if anything is wrong with it, it is never committed.
            find(self.database, self.account, latest)?;
        }
        let entry = self.record_repair(&repair, &found, unmarked, &mut repaired);
        Ok((
            repaired,
            Batch {
                entries: vec![entry],
                ..Batch::default()
            },
        ))
    }

    /// Repairs the base. Returns the records that servers don't notice otherwise: those of a base without a
    /// recorded batch, which a server can't tell from the repaired one.
    fn base(
        &mut self,
        repair: &TimeRepair,
        found: &Found,
        repaired: &mut RepairedTime,
    ) -> Result<Vec<Change>, Failure> {
        let Some(mut row) = base::find_checked(self.database, self.account)? else {
            return Ok(Vec::new());
        };
        let is_ahead = found.before.is_none();
        let is_last = row.position.revision == found.head.position.revision;
        if !is_ahead && !is_last {
            return Ok(Vec::new());
        }
        let (mut unmarked, had_no_batch) = (Vec::new(), row.position.batch.is_none());
        if is_ahead {
            let table = table_of(BASE_RECORD)?;
            let changed = self.each_record(table, repair, &mut |record| {
                if had_no_batch && let Some(current) = repaired.state.record(record.key()) {
                    unmarked.push(repair.record(&current));
                }
            })?;
            repaired.base_records = changed.count;
            row.content ^= changed.content;
            row.latest = repair.instant(row.latest);
            let entity = decode_account(self.account.0, &row.body)?;
            row.body = repair.record(&Change::PutAccount(entity)).encode();
        }
        if let Some(order) = &self.order {
            row.position.batch = Some(order.batch);
            let revision = Some(row.position.revision);
            if !base::put(self.database, self.account, revision, &row)? {
                return Err(moved(self.account));
            }
            self.wrote(1)?;
        }
        Ok(unmarked)
    }

    /// Writes the entries that are ahead, and those that follow them; the last one in any case.
    fn log(
        &mut self,
        repair: &TimeRepair,
        found: &Found,
        repaired: &mut RepairedTime,
    ) -> Result<(), Failure> {
        let last = found.head.position.revision;
        let first = found.first_entry.unwrap_or(last);
        let batch = self.order.as_ref().map_or(0, |order| order.batch.get());
        let mut known = Revision(first.0.saturating_sub(1)).max(found.base);
        while known < last {
            let entries = changes_since(self.database, self.account, known.into(), LOG_PAGE)?;
            let Some(newest) = entries.last() else { break };
            known = newest.revision;
            let mut rows = Vec::new();
            for entry in &entries {
                let is_ahead = found
                    .first_entry
                    .is_some_and(|first| first <= entry.revision);
                let new = if is_ahead {
                    repaired.entries += 1;
                    repair.entry(entry, batch)
                } else {
                    Entry {
                        batch,
                        ..entry.clone()
                    }
                };
                rows.push((bounded(new.revision.0), new.encode()));
            }
            if self.order.is_some() {
                self.write_entries(&rows)?;
            }
        }
        Ok(())
    }

    fn write_entries(&mut self, rows: &[(i64, Vec<u8>)]) -> Result<(), Failure> {
        let account = self.account;
        let values = rows.iter().map(|(revision, body)| {
            let checksum = checksum::of_log(account, *revision, body);
            [
                Value::Integer(*revision),
                Value::Bytes(body),
                Value::Integer(checksum.stored()),
            ]
        });
        Rows {
            into: "log (account, revision, body, checksum)",
            or: " ON CONFLICT (account, revision)
            DO UPDATE SET body = excluded.body, checksum = excluded.checksum",
        }
        .insert(self.database, account, values)?;
        self.wrote(rows.len())
    }

    /// Repairs the current records. Returns the change of the account's content.
    fn records(
        &mut self,
        repair: &TimeRepair,
        repaired: &mut RepairedTime,
    ) -> Result<i64, Failure> {
        let mut state = repaired.state.clone();
        let changed = self.each_record(table_of(RECORD)?, repair, &mut |record| {
            state.apply(record);
        })?;
        state.apply(&repair.record(&Change::PutAccount(state.account().clone())));
        repaired.state = state;
        repaired.records = changed.count;
        Ok(changed.content)
    }

    /// Passes each changed record, repaired, to `take`, and writes it.
    fn each_record(
        &mut self,
        table: &'static Table,
        repair: &TimeRepair,
        take: &mut dyn FnMut(&Change),
    ) -> Result<Changed, Failure> {
        let (account, writes) = (self.account, self.order.is_some());
        let mut changed = Changed::default();
        let (rows, order) = (&mut self.rows, &mut self.order);
        let after = vec![-1; table.key];
        copy::each_checked_page(
            self.database,
            account,
            table,
            after,
            &mut |database, page| {
                let mut new = Vec::new();
                for cells in page {
                    let (old, place) = record_of(cells)?;
                    let repaired = repair.record(&old);
                    if repaired == old {
                        continue;
                    }
                    let mut repaired_cells = cells.clone();
                    if let Some(Cell::Bytes(body)) = repaired_cells.get_mut(place) {
                        *body = repaired.encode();
                    }
                    changed.count += 1;
                    changed.content ^= of_cells(table, account, cells).stored();
                    changed.content ^= of_cells(table, account, &repaired_cells).stored();
                    take(&repaired);
                    new.push(repaired_cells);
                }
                if writes && !new.is_empty() {
                    write_records(database, account, table, &new)?;
                    wrote(rows, order, new.len())?;
                }
                Ok(())
            },
        )?;
        Ok(changed)
    }

    /// Repairs audit entries: from the first one that is ahead on, since the latest time so far never falls.
    fn audit(
        &mut self,
        repair: &TimeRepair,
        head: &Head,
        repaired: &mut RepairedTime,
    ) -> Result<(), Failure> {
        if repair.instant(head.audit_latest) == head.audit_latest {
            return Ok(());
        }
        let (account, table) = (self.account, table_of(AUDIT)?);
        let writes = self.order.is_some();
        let (oldest, newest) = audit::check_ends(self.database, account)?;
        let ahead = repaired.latest.just_after();
        let first = audit::first_since(self.database, account, ahead, (oldest, newest))?;
        let (rows, order) = (&mut self.rows, &mut self.order);
        let after = vec![first.saturating_sub(1)];
        copy::each_checked_page(
            self.database,
            account,
            table,
            after,
            &mut |database, page| {
                let mut new = Vec::new();
                for cells in page {
                    let mut cells = cells.clone();
                    // The time of the entry, and the latest one up to it.
                    for cell in cells.get_mut(2..4).unwrap_or_default() {
                        if let Cell::Integer(at) = cell {
                            *at = repair.instant(Timestamp::from_millis(*at)).as_millis();
                        }
                    }
                    let checksum = of_cells(table, account, &cells).stored();
                    new.push((numbers(&cells), checksum));
                }
                repaired.audit += count(new.len());
                if !writes {
                    return Ok(());
                }
                for some in new.chunks(ROWS_AT_ONCE) {
                    let mut values = vec![account.into()];
                    for (cells, checksum) in some {
                        // Number, time, latest time.
                        values
                            .extend([cells[0], cells[2], cells[3], *checksum].map(Value::Integer));
                    }
                    let columns = &["at", "newest", "checksum"];
                    seal::update(database, table, (columns, None), some.len(), &values)?;
                    wrote(rows, order, some.len())?;
                }
                Ok(())
            },
        )?;
        audit::check_found(account, repaired.audit, (first, newest))
    }

    /// The last uses of keys that are ahead.
    fn key_uses(&mut self, latest: Timestamp) -> Result<Vec<(i64, i64)>, Failure> {
        use bindery_core::id::Id as _;
        let uses = read::key_uses(self.database, self.account)?;
        let ahead = uses.into_iter().filter(|(_, at)| *at > latest);
        Ok(ahead
            .map(|(key, at)| (i64::from(key.number()), at.as_millis()))
            .collect())
    }

    /// Returns the change of the sum of the uses.
    fn write_key_uses(&mut self, uses: &[(i64, i64)], latest: Timestamp) -> Result<i64, Failure> {
        let (account, table) = (self.account, table_of(KEY_USE)?);
        let at = latest.as_millis();
        let mut changed = 0;
        for some in uses.chunks(ROWS_AT_ONCE) {
            let mut values = vec![account.into()];
            for (key, old) in some {
                let new = checksum::of_key_use(account, *key, at).stored();
                changed ^= checksum::of_key_use(account, *key, *old).stored() ^ new;
                values.extend([*key, at, new].map(Value::Integer));
            }
            if self.order.is_some() {
                let columns = &["at", "checksum"];
                seal::update(self.database, table, (columns, None), some.len(), &values)?;
                self.wrote(some.len())?;
            }
        }
        Ok(changed)
    }

    fn head(
        &mut self,
        repair: &TimeRepair,
        old: &Head,
        content: i64,
        uses: i64,
    ) -> Result<(), Failure> {
        let Some(order) = &self.order else {
            return Ok(());
        };
        let entity = decode_account(self.account.0, &old.body)?;
        let mut position = old.position;
        // Before the first entry there is none with a batch.
        if position.revision > Revision(0) {
            position.batch = Some(order.batch);
        }
        let new = Head {
            position,
            latest: repair.instant(old.latest),
            audit: old.audit,
            audit_latest: repair.instant(old.audit_latest),
            content: old.content ^ content,
            body: repair.record(&Change::PutAccount(entity)).encode(),
        };
        let mut sum_of_uses = 0;
        let sql = "SELECT uses FROM account WHERE id = $1";
        self.database
            .query(sql, &[self.account.into()], &mut |row| {
                sum_of_uses = row.integer(0)?;
                Ok(())
            })?;
        let touched = self.database.execute(
            "UPDATE account SET batch = $1, latest = $2, newest_audit = $3, body = $4, content = $5, uses = $6,
                checksum = $7
            WHERE id = $8 AND revision = $9",
            &[
                Value::Integer(batch_of(new.position)),
                Value::Integer(new.latest.as_millis()),
                Value::Integer(new.audit_latest.as_millis()),
                Value::Bytes(&new.body),
                Value::Integer(new.content),
                Value::Integer(sum_of_uses ^ uses),
                Value::Integer(new.checksum(self.account).stored()),
                self.account.into(),
                Value::Integer(bounded(new.position.revision.0)),
            ],
        )?;
        if touched != 1 {
            return Err(moved(self.account));
        }
        self.wrote(1)
    }

    /// The entry that records the repair.
    fn record_repair(
        &self,
        repair: &TimeRepair,
        found: &Found,
        unmarked: Vec<Change>,
        repaired: &mut RepairedTime,
    ) -> Entry {
        let moved = repair.ends(&found.state, &repaired.state);
        let mut changes = TimeRepair::last_changes(&repaired.state, &moved);
        // First, so that what follows from the repair comes last.
        changes.splice(0..0, unmarked);
        let revision = found.head.position.revision.next();
        let entry = Entry {
            revision,
            at: repaired.latest,
            by: None,
            key: None,
            batch: self.order.as_ref().map_or(0, |order| order.batch.get()),
            parts: vec![Part::of(TimeRepair::OPERATION, &changes)],
            before: repaired.state.before(&changes),
            changes,
            origin: Origin::OPERATOR,
            plan: None,
            rules: RulesVersion::CURRENT,
        };
        repaired.state.advance(&entry);
        repaired.ends = repair.ends(&found.state, &repaired.state);
        repaired.revision = Some(revision);
        entry
    }

    fn wrote(&mut self, rows: usize) -> Result<(), Failure> {
        wrote(&mut self.rows, &mut self.order, rows)
    }
}

/// How many records change, and the change of the content of the account or of its base.
#[derive(Clone, Copy, Debug, Default)]
struct Changed {
    count: u64,
    content: i64,
}

/// Reads an account, and refuses one that is damaged or disagrees with its log.
fn find(
    database: &mut dyn Database,
    account: AccountId,
    latest: Timestamp,
) -> Result<Found, Failure> {
    let head = read::head(database, account)?;
    let state = read::load(database, account)?;
    let base = base::load(database, account)?;
    let is_base_ahead = base.latest() > latest || has_base_ahead(database, account, latest)?;
    let mut before = (!is_base_ahead).then(|| base.clone());
    let mut first_entry = None;
    let base_revision = base.revision();
    let mut made = base;
    while made.revision() < head.position.revision {
        let entries = changes_since(database, account, made.position(), LOG_PAGE)?;
        if entries.is_empty() {
            break;
        }
        for entry in &entries {
            let is_ahead = is_base_ahead || TimeRepair::is_entry_ahead(entry, latest);
            if first_entry.is_none() && is_ahead {
                first_entry = Some(entry.revision);
                before = before.map(|_| made.clone());
            }
            made.advance(entry);
        }
    }
    if first_entry.is_none() {
        before = before.map(|_| made.clone());
    }
    if let Some(difference) = state.difference(&made) {
        let what = read::difference_in_words(difference);
        return Err(Failure::Damaged(format!("account {}: {what}", account.0)));
    }
    Ok(Found {
        head,
        state,
        base: base_revision,
        first_entry,
        before,
    })
}

fn has_base_ahead(
    database: &mut dyn Database,
    account: AccountId,
    latest: Timestamp,
) -> Result<bool, Failure> {
    let (mut is_ahead, table) = (false, table_of(BASE_RECORD)?);
    let after = vec![-1; table.key];
    copy::each_checked_page(database, account, table, after, &mut |_, page| {
        for cells in page {
            is_ahead |= TimeRepair::is_record_ahead(&record_of(cells)?.0, latest);
        }
        Ok(())
    })?;
    Ok(is_ahead)
}

/// The record of a row of `record` or `base_record`, and the column of its body, which is the last one.
fn record_of(cells: &[Cell]) -> Result<(Change, usize), Failure> {
    if let [
        Cell::Integer(kind),
        Cell::Integer(number),
        ..,
        Cell::Bytes(body),
    ] = cells
    {
        let is_out_of_range = |_| Failure::Damaged(format!("{number} is out of range"));
        let number = u32::try_from(*number).map_err(is_out_of_range)?;
        let record = decode_record(decode_kind(*kind)?, number, body)?;
        return Ok((record, cells.len() - 1));
    }
    Err(Failure::Damaged("a row that is no record".to_owned()))
}

/// Replaces rows of `record` or `base_record` with the same key.
fn write_records(
    database: &mut dyn Database,
    account: AccountId,
    table: &Table,
    rows: &[Vec<Cell>],
) -> Result<(), Failure> {
    let names = table.columns.iter().map(|(name, _)| *name);
    let names: Vec<&str> = names.chain(["checksum"]).collect();
    let into = format!("{} (account, {})", table.name, names.join(", "));
    let rows = rows.iter().map(|cells| {
        let checksum = of_cells(table, account, cells).stored();
        let mut values: Vec<_> = cells.iter().map(Cell::value).collect();
        values.push(Value::Integer(checksum));
        values
    });
    Rows {
        into: &into,
        or: " ON CONFLICT (account, kind, number)
        DO UPDATE SET body = excluded.body, checksum = excluded.checksum",
    }
    .insert(database, account, rows)
}

fn numbers(cells: &[Cell]) -> Vec<i64> {
    let number = |cell: &Cell| match cell {
        Cell::Integer(number) => *number,
        Cell::Text(_) | Cell::Bytes(_) => 0,
    };
    cells.iter().map(number).collect()
}

fn table_of(code: u8) -> Result<&'static Table, Failure> {
    let missing = || Failure::Damaged(format!("there is no table {code}"));
    copy::table_of(code).ok_or_else(missing)
}

fn wrote(
    rows: &mut u64,
    order: &mut Option<TimeRepairOrder<'_>>,
    count_of_rows: usize,
) -> Result<(), Failure> {
    *rows += count(count_of_rows);
    match order {
        Some(order) => (order.written)(*rows).map_err(Failure::Database),
        None => Ok(()),
    }
}

fn count(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}

/// Can't happen while the account's row is held.
fn moved(AccountId(account): AccountId) -> Failure {
    Failure::Database(format!("account {account} has changed meanwhile; try again").into())
}
