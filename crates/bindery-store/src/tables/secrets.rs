//! Where a secret leads, and who has an address, before it is known which account is meant: so that no account need be loaded
//! for whoever has nothing to do with it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bindery_core::api_key::SecretHash;
use bindery_core::change::Change;
use bindery_core::credential::Credential;
use bindery_core::id::{AccountId, Kind, Revision};
use bindery_core::text::Email;

use super::read::decode_record;
use super::{Database, Failure, Value, bounded, number};
use crate::Owner;
use crate::record::number_of;

/// How many secrets one statement looks for. Always the same number, so that it is prepared once.
const SECRETS_AT_ONCE: usize = 64;

static FIND: LazyLock<String> = LazyLock::new(|| {
    let places: Vec<String> = (1..=SECRETS_AT_ONCE)
        .map(|place| format!("${place}"))
        .collect();
    format!(
        "SELECT secret.hash, account.id, account.revision
        FROM secret JOIN account ON account.id = secret.account
        WHERE secret.hash IN ({}) ORDER BY account.id DESC",
        places.join(", ")
    )
});

/// The secrets of the record that is put or deleted; `None` for what never has any.
pub(crate) fn of(change: &Change) -> Option<Vec<&SecretHash>> {
    match change {
        Change::PutApiKey(key) => {
            let previous = key.previous.as_ref().map(|previous| &previous.hash);
            let mut hashes = vec![&key.secret.hash];
            hashes.extend(previous.filter(|hash| **hash != key.secret.hash));
            Some(hashes)
        }
        Change::PutCredential(credential) => {
            Some(credential.link.iter().map(|link| &link.token).collect())
        }
        Change::DeleteCredential(_) => Some(Vec::new()),
        _ => None,
    }
}

/// [`crate::Store::owners`]. One that stands in two accounts leads to the older one.
pub(crate) fn owners(
    database: &mut dyn Database,
    secrets: &[SecretHash],
) -> Result<Vec<Option<Owner>>, Failure> {
    let mut found = BTreeMap::new();
    for some in secrets.chunks(SECRETS_AT_ONCE) {
        // The places that are left look for the first one again.
        let filled = some.iter().chain(std::iter::repeat(&some[0]));
        let values: Vec<Value<'_>> = filled
            .take(SECRETS_AT_ONCE)
            .map(|SecretHash(hash)| Value::Bytes(hash))
            .collect();
        database.query(&FIND, &values, &mut |row| {
            let hash: [u8; 32] = row
                .bytes(0)?
                .try_into()
                .map_err(|_| Failure::Damaged("a hash of a secret has another length".into()))?;
            let owner = Owner {
                account: AccountId(number(row, 1)?),
                revision: Revision(number(row, 2)?),
            };
            found.insert(SecretHash(hash), owner);
            Ok(())
        })?;
    }
    Ok(secrets.iter().map(|one| found.get(one).copied()).collect())
}

/// [`crate::Store::credentials`]. The kinds are written out, so that the database sees which index is meant.
pub(crate) fn credentials(
    database: &mut dyn Database,
    email: &Email,
    limit: usize,
) -> Result<Vec<(AccountId, Credential)>, Failure> {
    let mut found = Vec::new();
    database.query(
        "SELECT credential.account, credential.number, credential.body
        FROM record AS person JOIN record AS credential
            ON credential.account = person.account AND credential.kind = 14
                AND credential.number = person.number
        WHERE person.kind = 0 AND person.natural_key = $1
        ORDER BY credential.account LIMIT $2",
        &[
            Value::Text(Some(&email.folded())),
            Value::Integer(bounded(limit)),
        ],
        &mut |row| {
            let change = decode_record(Kind::Credential, number(row, 1)?, row.bytes(2)?)?;
            if let Change::PutCredential(credential) = change {
                found.push((AccountId(number(row, 0)?), credential));
            }
            Ok(())
        },
    )?;
    Ok(found)
}

/// Writes down where the secrets of all records lead: for a store from before that was kept, and for one that got its records in
/// another way than by appends.
pub(crate) fn fill(database: &mut dyn Database) -> Result<(), Failure> {
    database.execute("DELETE FROM secret", &[])?;
    for kind in [Kind::ApiKey, Kind::Credential] {
        let stored = number_of(kind).map_or(-1, i64::from);
        let mut found: Vec<(i64, i64, SecretHash)> = Vec::new();
        let sql = "SELECT account, number, body FROM record WHERE kind = $1";
        database.query(sql, &[Value::Integer(stored)], &mut |row| {
            let change = decode_record(kind, number(row, 1)?, row.bytes(2)?)?;
            for hash in of(&change).unwrap_or_default() {
                found.push((row.integer(0)?, row.integer(1)?, *hash));
            }
            Ok(())
        })?;
        for (account, number, SecretHash(hash)) in &found {
            database.execute(
                "INSERT INTO secret (account, kind, number, hash) VALUES ($1, $2, $3, $4)",
                &[
                    Value::Integer(*account),
                    Value::Integer(stored),
                    Value::Integer(*number),
                    Value::Bytes(hash),
                ],
            )?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kinds_that_are_written_out_are_the_right_ones() {
        assert_eq!(number_of(Kind::User), Some(0));
        assert_eq!(number_of(Kind::Credential), Some(14));
    }
}
