//! Writes backups of version 1, as the code of commit f7a5747 did.

use rusqlite::Connection;
use rusqlite::types::Value as Sql;
use sha2::{Digest as _, Sha256};

/// The tables of a backup of version 1, in order: the code, the name, the column of the account, the key, the
/// other columns.
const TABLES_OF_VERSION_1: [(u8, &str, &str, &str, &str); 9] = [
    (
        1,
        "account",
        "id",
        "",
        "revision, latest, audit_head, latest_audit, body",
    ),
    (2, "base", "account", "", "revision, latest_change, body"),
    (3, "base_record", "account", "kind, number", "body"),
    (4, "base_issued", "account", "kind", "number"),
    (5, "log", "account", "revision", "body"),
    (6, "record", "account", "kind, number", "natural_key, body"),
    (7, "issued", "account", "kind", "number"),
    (
        8,
        "audit",
        "account",
        "number",
        "user_number, at, latest, status, kind, operation, address, text, variables",
    ),
    (9, "key_use", "account", "key_number", "at"),
];
/// The most rows of a frame.
const ROWS_OF_FRAME: usize = 512;

/// The backup of a file of format 5, as the code of commit f7a5747 made it.
pub(super) fn backup_of(file: &Connection) -> Vec<u8> {
    let mut bytes = b"bindery backup\r\n".to_vec();
    bytes.extend(1_u32.to_be_bytes());
    let mut frames = 0_u64;
    let accounts = rows(file, "SELECT id FROM account ORDER BY id");
    for account in accounts.iter().map(|row| &row[0]) {
        let Sql::Integer(account) = account else {
            unreachable!("{account:?}")
        };
        for (code, table, of, key, others) in TABLES_OF_VERSION_1 {
            let order = if key.is_empty() { of } else { key };
            let comma = if key.is_empty() { "" } else { "," };
            let sql = format!(
                "SELECT {key}{comma} {others} FROM {table} WHERE {of} = {account} ORDER BY {order}"
            );
            for rows in rows(file, &sql).chunks(ROWS_OF_FRAME) {
                put_frame(&mut bytes, code, &payload(*account, rows));
                frames += 1;
            }
        }
    }
    put_frame(&mut bytes, 0, &frames.to_be_bytes());
    let digest = Sha256::digest(&bytes);
    bytes.extend(digest);
    bytes
}

fn rows(file: &Connection, sql: &str) -> Vec<Vec<Sql>> {
    let mut statement = file.prepare(sql).unwrap();
    let columns = statement.column_count();
    let rows = statement.query_map([], |row| {
        (0..columns).map(|column| row.get(column)).collect()
    });
    rows.unwrap().map(Result::unwrap).collect()
}

fn payload(account: i64, rows: &[Vec<Sql>]) -> Vec<u8> {
    let mut encoder = minicbor::Encoder::new(Vec::new());
    encoder.i64(account).unwrap();
    encoder.u64(rows.len().try_into().unwrap()).unwrap();
    for cell in rows.iter().flatten() {
        match cell {
            Sql::Integer(number) => encoder.i64(*number).unwrap(),
            Sql::Text(text) => encoder.str(text).unwrap(),
            Sql::Null => encoder.null().unwrap(),
            Sql::Blob(bytes) => encoder.bytes(bytes).unwrap(),
            Sql::Real(_) => unreachable!("no column has fractions"),
        };
    }
    encoder.into_writer()
}

fn put_frame(bytes: &mut Vec<u8>, code: u8, payload: &[u8]) {
    bytes.push(code);
    let length: u32 = payload.len().try_into().unwrap();
    bytes.extend(length.to_be_bytes());
    bytes.extend_from_slice(payload);
    let check = Sha256::digest(&*bytes);
    bytes.extend_from_slice(&check[..8]);
}
