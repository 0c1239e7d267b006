//! A state from its records. For a large account, one thread reads them while another decodes and inserts
//! them, so that both together take as long as the slower one.

use std::mem::replace;
use std::panic::resume_unwind;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, Builder, Scope, ScopedJoinHandle};

use bindery_core::change::LogPosition;
use bindery_core::id::{AccountId, Kind};
use bindery_core::place::Account;
use bindery_core::state::{Loading, State};
use bindery_core::time::Timestamp;

use super::checksum::{self, Checksum};
use super::read::{decode_kind, not_the_record};
use super::{Database, Failure, Row, Value, number};
use crate::record::KINDS;

/// How many bytes of records one thread passes to the other at once; a smaller account is inserted by the
/// reading thread.
const PART_OCTETS: usize = 64 << 10;
/// How many parts may wait, which take some six mebibytes. The reader is ahead where inserting is slow,
/// mostly for people, and the other thread catches up elsewhere.
const PARTS_MAX: usize = 64;

/// About the overhead of a record.
const RECORD_OCTETS: usize = 32;

/// The checksum that the row of a record should have: from its account, kind and number, and the rest of the
/// row.
type OfRecord = fn(AccountId, (i64, i64), &dyn Row) -> Result<Checksum, Failure>;

/// The tables of records and issued numbers.
pub(crate) struct Source {
    /// Reads the number, body and checksum of each record of a kind, and what else its checksum covers.
    pub(crate) records: &'static str,
    /// The checksum that such a row should have.
    pub(crate) record: OfRecord,
    /// Reads the kind, number and checksum of each last issued number.
    pub(crate) numbers: &'static str,
    /// The checksum that such a row should have.
    pub(crate) issued: fn(AccountId, i64, i64) -> Checksum,
    /// The names of both tables, for messages.
    pub(crate) tables: [&'static str; 2],
}

/// The state of this position and time from the records, and the combined checksums of all its rows.
pub(crate) fn fold(
    database: &mut dyn Database,
    entity: Account,
    (position, latest): (LogPosition, Timestamp),
    source: &Source,
) -> Result<(State, i64), Failure> {
    let account = entity.id;
    let (loading, records) = thread::scope(|scope| {
        let mut filing = Filing::new(scope, entity);
        let read = read_all(database, account, source, &mut filing);
        // What was read before a failure comes first: if it is damaged, that is the error.
        let loading = filing.finish()?;
        read.map(|content| (loading, content))
    })?;
    let (issued, numbers) = issued(database, account, source)?;
    let state = loading.finish(position, latest, issued);
    Ok((state, records ^ numbers))
}

fn read_all(
    database: &mut dyn Database,
    account: AccountId,
    source: &Source,
    filing: &mut Filing<'_, '_>,
) -> Result<i64, Failure> {
    let mut content = 0;
    for (kind, stored) in KINDS {
        let mut last = None;
        database.query(
            source.records,
            &[account.into(), Value::Integer(stored.into())],
            &mut |row| {
                let table = source.tables[0];
                let kind_stored = stored.into();
                let number_stored = row.integer(0).map_err(|failure| {
                    checksum::unreadable(failure, || {
                        let AccountId(account) = account;
                        format!(
                            "a row of a {} of account {account} in table `{table}`",
                            kind.noun()
                        )
                    })
                })?;
                // A row that is read twice would remove itself from the content.
                if last.is_some_and(|last| last >= number_stored) {
                    return Err(misordered(table, account, (kind, number_stored)));
                }
                last = Some(number_stored);
                content ^= checksum::check_row(
                    (source.record)(account, (kind_stored, number_stored), row),
                    row.integer(2),
                    || checksum::name_of(table, account, kind_stored, number_stored),
                )?;
                filing.take(kind, number(row, 0)?, row.bytes(1)?)
            },
        )?;
    }
    Ok(content)
}

/// The database returned duplicates although the rows are sorted by a unique key.
#[cold]
fn misordered(table: &str, AccountId(account): AccountId, (kind, number): (Kind, i64)) -> Failure {
    let noun = kind.noun();
    Failure::Damaged(format!(
        "{noun} {number} of account {account} is in table `{table}` twice, or an index of the table is damaged: rebuild it (`REINDEX`)"
    ))
}

fn issued(
    database: &mut dyn Database,
    account: AccountId,
    source: &Source,
) -> Result<(Vec<(Kind, u32)>, i64), Failure> {
    let mut issued = Vec::new();
    let mut content = 0;
    database.query(source.numbers, &[account.into()], &mut |row| {
        let kind = row.integer(0).unwrap_or(-1);
        let expected = row
            .integer(0)
            .and_then(|kind| Ok((source.issued)(account, kind, row.integer(1)?)));
        content ^= checksum::check_row(expected, row.integer(2), || {
            let AccountId(account) = account;
            let table = source.tables[1];
            format!("the row of kind {kind} of account {account} in table `{table}`")
        })?;
        issued.push((decode_kind(kind)?, number(row, 1)?));
        Ok(())
    })?;
    Ok((issued, content))
}

/// Records as they are stored, in loading order.
struct Part {
    /// What each is, and where its bytes end.
    records: Vec<(Kind, u32, usize)>,
    octets: Vec<u8>,
}

impl Part {
    fn new() -> Self {
        Self {
            records: Vec::with_capacity(PART_OCTETS / RECORD_OCTETS),
            octets: Vec::with_capacity(PART_OCTETS + PART_OCTETS / 16),
        }
    }

    fn file(&self, loading: &mut Loading) -> Result<(), Failure> {
        let mut begin = 0;
        for (kind, number, end) in &self.records {
            let body = &self.octets[begin..*end];
            let taken = loading.take(*kind, *number, body);
            taken.map_err(|error| not_the_record(*kind, *number, &error))?;
            begin = *end;
        }
        Ok(())
    }
}

/// Where records go after reading.
struct Filing<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    /// The records that were not passed on yet.
    part: Part,
    by: By<'scope>,
}

/// Which thread decodes and inserts.
enum By<'scope> {
    /// The reading thread, while there are only a few. It begins with the account.
    Reader(Account),
    /// The same for any number, since the system has no other thread.
    ReaderAlone(Box<Loading>),
    /// Another thread.
    Other {
        parts: SyncSender<Part>,
        thread: ScopedJoinHandle<'scope, Result<Loading, Failure>>,
    },
}

impl<'scope, 'env> Filing<'scope, 'env> {
    fn new(scope: &'scope Scope<'scope, 'env>, entity: Account) -> Self {
        Self {
            scope,
            part: Part::new(),
            by: By::Reader(entity),
        }
    }

    /// Takes one more. A failure means that reading on is useless; [`Filing::finish`] has the reason.
    fn take(&mut self, kind: Kind, number: u32, body: &[u8]) -> Result<(), Failure> {
        let Part { records, octets } = &mut self.part;
        octets.extend_from_slice(body);
        records.push((kind, number, octets.len()));
        if octets.len() < PART_OCTETS {
            return Ok(());
        }
        let part = replace(&mut self.part, Part::new());
        if let By::Reader(entity) = &self.by {
            self.by = begin(self.scope, entity);
        }
        match &mut self.by {
            By::ReaderAlone(loading) => part.file(loading),
            By::Other { parts, .. } if parts.send(part).is_ok() => Ok(()),
            By::Other { .. } | By::Reader(_) => {
                Err(Failure::Damaged("what was read before is".to_owned()))
            }
        }
    }

    /// Everything, inserted.
    fn finish(self) -> Result<Loading, Failure> {
        let mut loading = match self.by {
            By::Reader(entity) => Loading::new(entity),
            By::ReaderAlone(loading) => *loading,
            By::Other { parts, thread } => {
                drop(parts);
                thread.join().unwrap_or_else(|panic| resume_unwind(panic))?
            }
        };
        self.part.file(&mut loading)?;
        Ok(loading)
    }
}

fn begin<'scope>(scope: &'scope Scope<'scope, '_>, entity: &Account) -> By<'scope> {
    let (parts, waiting) = sync_channel::<Part>(PARTS_MAX);
    let mut loading = Loading::new(entity.clone());
    let begun = Builder::new().spawn_scoped(scope, move || {
        for part in waiting {
            part.file(&mut loading)?;
        }
        Ok(loading)
    });
    match begun {
        Ok(thread) => By::Other { parts, thread },
        Err(_) => By::ReaderAlone(Box::new(Loading::new(entity.clone()))),
    }
}

#[cfg(test)]
mod tests {
    use bindery_core::change::Change;
    use bindery_core::given::Giver;
    use bindery_core::id::{IdKey, ProjectId, Revision, RoleBindingId, RoleId, UserId};
    use bindery_core::place::AccountSettings;
    use bindery_core::resource::Bindable;
    use bindery_core::role_binding::RoleBinding;
    use bindery_core::text::Name;

    use super::super::TakeRow;
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1);

    /// Records of a kind, and then optionally the end of the connection.
    struct Stored {
        bodies: Vec<Vec<u8>>,
        ends: Option<usize>,
    }

    struct Record<'a>(u32, &'a [u8]);

    impl Database for Stored {
        fn query(
            &mut self,
            sql: &str,
            values: &[Value<'_>],
            take: TakeRow<'_>,
        ) -> Result<(), Failure> {
            let is_of_bindings = matches!(values.last(), Some(Value::Integer(2)));
            if sql != "records" || !is_of_bindings {
                return Ok(());
            }
            for (number, body) in (1..).zip(&self.bodies) {
                take(&Record(number, body))?;
                if self.ends == usize::try_from(number).ok() {
                    return Err(Failure::Database("gone".into()));
                }
            }
            Ok(())
        }

        fn execute(&mut self, _: &str, _: &[Value<'_>]) -> Result<usize, Failure> {
            Ok(0)
        }
    }

    impl Row for Record<'_> {
        fn integer(&self, column: usize) -> Result<i64, Failure> {
            let number = i64::from(self.0);
            Ok(if column == 2 {
                checksum::of_issued(AccountId(1), 2, number).stored()
            } else {
                number
            })
        }

        fn text(&self, _: usize) -> Result<Option<&str>, Failure> {
            Ok(None)
        }

        fn bytes(&self, _: usize) -> Result<&[u8], Failure> {
            Ok(self.1)
        }
    }

    fn account() -> Account {
        Account {
            id: AccountId(1),
            name: Name::parse("Acme").unwrap(),
            id_key: IdKey::new([7; 16]),
            created_at: NOW,
            settings: AccountSettings::default(),
        }
    }

    fn binding(number: u32) -> Change {
        Change::PutRoleBinding(RoleBinding {
            id: RoleBindingId::new(number),
            user: UserId::new(number.wrapping_mul(0x9e37_79b1) % 1_000 + 1),
            resource: Bindable::Project(ProjectId::new(number)),
            role: RoleId::new(64),
            created_at: NOW,
            updated_at: NOW,
            given_by: Giver::UNKNOWN,
        })
    }

    /// More than may wait.
    const COUNT: u32 = 250_000;

    fn stored(count: u32) -> Stored {
        Stored {
            bodies: (1..=count).map(|number| binding(number).encode()).collect(),
            ends: None,
        }
    }

    fn folded(stored: &mut Stored) -> Result<State, Failure> {
        fold(stored, account(), (Revision(9).into(), NOW), &SOURCE).map(|(state, _)| state)
    }

    /// Without checks: the fake rows have no checksums.
    const SOURCE: Source = Source {
        records: "records",
        record: |account, (kind, number), _| Ok(checksum::of_issued(account, kind, number)),
        numbers: "numbers",
        issued: checksum::of_issued,
        tables: ["record", "issued"],
    };

    #[test]
    fn many_records_are_the_state_that_they_are_one_by_one() {
        for count in [0, 1, 3_000, COUNT] {
            let records = (1..=count).map(binding);
            let expected = State::load(account(), Revision(9).into(), NOW, [], records);
            assert!(
                folded(&mut stored(count)).unwrap() == expected,
                "{count} records"
            );
        }
    }

    #[test]
    fn the_first_damage_is_reported_wherever_it_is_and_whatever_comes_after() {
        for (count, damaged) in [(1, 1), (COUNT, 1), (COUNT, 9_000), (COUNT, COUNT)] {
            for ends in [None, Some(damaged), Some(damaged + 1)] {
                let mut stored = stored(count);
                let at = usize::try_from(damaged).unwrap() - 1;
                stored.bodies[at] = binding(count + 1).encode();
                stored
                    .bodies
                    .last_mut()
                    .unwrap()
                    .truncate(if damaged == count { 99 } else { 3 });
                stored.ends = ends.and_then(|end| usize::try_from(end).ok());
                let expected = format!(
                    "{} {damaged} holds something else",
                    Kind::RoleBinding.noun()
                );
                match folded(&mut stored) {
                    Err(Failure::Damaged(why)) => assert_eq!(why, expected),
                    other => panic!("{damaged} of {count}: {:?}", other.map(|_| ())),
                }
            }
        }
    }

    #[test]
    fn a_connection_that_ends_is_no_damage() {
        for (count, end) in [(3, 2), (COUNT, 2), (COUNT, 100_000)] {
            let mut stored = stored(count);
            stored.ends = Some(end);
            assert!(matches!(folded(&mut stored), Err(Failure::Database(_))));
        }
    }
}
