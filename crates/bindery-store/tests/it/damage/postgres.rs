//! A PostgreSQL database: its rows.

use ::postgres::types::Type;
use ::postgres::{Client, NoTls};
use bindery_store::postgres::{OpenError, PostgresStore};

use super::*;
use crate::postgres::Database;

/// A store with all kinds of content, and its earlier content.
pub(super) fn template() -> (Database, Content) {
    let database = Database::new();
    furnish(&database.open());
    let before = content(&mut connect(&database.url));
    go_on(&database.open());
    (database, before)
}

pub(super) fn connect(url: &str) -> Client {
    Client::connect(url, NoTls).unwrap()
}

pub(super) fn content(client: &mut Client) -> Content {
    TABLES.iter().map(|name| table(client, name)).collect()
}

pub(super) fn table(client: &mut Client, name: &'static str) -> Table {
    let select = client.prepare(&format!("SELECT * FROM {name}")).unwrap();
    let columns = select.columns().iter();
    let columns = columns.map(|column| column.name().to_owned()).collect();
    let rows = client.query(&select, &[]).unwrap();
    let rows = rows.iter().map(|row| {
        let cells = row.columns().iter().enumerate();
        cells
            .map(|(place, column)| match *column.type_() {
                Type::INT8 => Value::Integer(row.get(place)),
                Type::INT4 => Value::Integer(row.get::<_, i32>(place).into()),
                Type::BYTEA => Value::Blob(row.get(place)),
                _ => row
                    .get::<_, Option<String>>(place)
                    .map_or(Value::Null, Value::Text),
            })
            .collect()
    });
    Table::new(name, columns, rows.collect())
}

pub(super) fn literal(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Integer(number) => format!("'{number}'"),
        Value::Real(number) => number.to_string(),
        Value::Text(text) => format!("'{}'", text.replace('\'', "''")),
        Value::Blob(bytes) => {
            let mut hex = String::from("'\\x");
            for byte in bytes {
                let _ = write!(hex, "{byte:02x}");
            }
            hex + "'"
        }
    }
}

/// The statement that inserts rows into a table.
pub(super) fn insert(table: &str, rows: &[&Vec<Value>]) -> String {
    let mut sql = String::new();
    for row in rows {
        let values: Vec<String> = row.iter().map(literal).collect();
        let _ = write!(sql, "INSERT INTO {table} VALUES ({});", values.join(", "));
    }
    sql
}

/// The statement that deletes rows of a table, each once.
pub(super) fn delete(table: &Table, rows: &[&Vec<Value>]) -> String {
    let mut sql = String::new();
    for row in rows {
        let columns = table.columns.iter().zip(*row);
        let conditions: Vec<String> = columns
            .map(|(column, value)| format!("{column} IS NOT DISTINCT FROM {}", literal(value)))
            .collect();
        let (name, conditions) = (table.name, conditions.join(" AND "));
        let _ = write!(
            sql,
            "DELETE FROM {name} WHERE ctid IN (SELECT ctid FROM {name} WHERE {conditions} LIMIT 1);"
        );
    }
    sql
}

/// Replaces the content of the table, in one transaction; false if the database refuses it.
fn put(client: &mut Client, old: &Table, new: &Table) -> bool {
    let gone: Vec<_> = old
        .rows
        .iter()
        .filter(|row| !new.rows.contains(row))
        .collect();
    let come: Vec<_> = new
        .rows
        .iter()
        .filter(|row| !old.rows.contains(row))
        .collect();
    let sql = format!(
        "BEGIN; {} {} COMMIT",
        delete(old, &gone),
        insert(old.name, &come)
    );
    let is_put = client.batch_execute(&sql).is_ok();
    if !is_put {
        client.batch_execute("ROLLBACK").unwrap();
    }
    is_put
}

pub(super) fn snapshot(url: &str) -> Result<Snapshot, StoreError> {
    PostgresStore::snapshot(url).map_err(|error| match error {
        OpenError::Store(error) => error,
        OpenError::Address(error) => unreachable!("{error}"),
    })
}

/// The results of a server that has just started on the database; `list` is what it reads without indexes.
pub(super) fn answers_of(url: &str, list: &str) -> Vec<Told> {
    let mut answers = answers(&PostgresStore::open(url).unwrap());
    answers.push(listed(&PostgresStore::open(list).unwrap()));
    answers
}

#[test]
fn a_damaged_row_of_a_database_is_refused_or_harmless_and_verify_names_it() {
    let (database, before) = template();
    let url = &database.url;
    let mut client = connect(url);
    let right = answers_of(url, url);
    assert_eq!(verified(snapshot(url)), Vec::<String>::new());
    let now = content(&mut client);
    let (mut tally, mut seeds) = (Tally::default(), 0..);
    let count = count(40);
    while tally.damages < usize::try_from(count).unwrap() {
        let seed = seeds.next().unwrap();
        let damaged = damage(&now, &before, &mut Chance(seed));
        let old = now
            .iter()
            .find(|table| table.name == damaged.table.name)
            .unwrap();
        if !put(&mut client, old, &damaged.table) {
            continue;
        }
        let new = table(&mut client, old.name);
        if new == *old {
            continue;
        }
        let how = format!("seed {seed}: {}", damaged.how);
        let said = verified(snapshot(url));
        let is_named = check_named(&said, old, &new);
        tally.count(&how, &answers_of(url, url), &right, is_named);
        assert!(put(&mut client, &new, old), "{how}");
    }
    assert_eq!(answers_of(url, url), right, "it is as it was");
    let refused_min = tally.damages / 2;
    tally.close("PostgreSQL, rows", refused_min);
}
