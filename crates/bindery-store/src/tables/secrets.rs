//! Finds the account of a secret, and the people with an address, before an account is known. So no account
//! is loaded for a stranger.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use bindery_core::api_key::SecretHash;
use bindery_core::change::Change;
use bindery_core::credential::Credential;
use bindery_core::id::{AccountId, Kind, Revision};
use bindery_core::text::Email;
use bindery_core::user::Standing;

use super::checksum::{self, Checksum};
use super::read::{decode_kind, decode_record};
use super::{Database, Failure, Rows, TakeRow, Value, bounded, number};
use crate::Owner;
use crate::copy::ROWS_MAX;
use crate::record::number_of;

/// How many secrets one statement looks for. Always the same number, so that it is prepared once.
const SECRETS_AT_ONCE: usize = 64;

const WRONG_LENGTH: &str = "a hash of a secret has another length";

static FIND: LazyLock<String> = LazyLock::new(|| {
    let places: Vec<String> = (1..=SECRETS_AT_ONCE)
        .map(|place| format!("${place}"))
        .collect();
    format!(
        "SELECT secret.hash, secret.account, COALESCE(account.revision, 0), secret.kind, secret.number,
            secret.checksum
        FROM secret LEFT JOIN account ON account.id = secret.account
        WHERE secret.hash IN ({}) ORDER BY secret.account DESC",
        places.join(", ")
    )
});

/// The secrets of the record that is put or deleted; `None` for records that never have any.
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

/// [`crate::Store::owners`]. A secret in two accounts leads to the older one. A secret also leads to an
/// account whose row is missing: loading it reports the damage, while `None` would be a wrong result.
pub(crate) fn owners(
    database: &mut dyn Database,
    secrets: &[SecretHash],
) -> Result<Vec<Option<Owner>>, Failure> {
    let mut found = BTreeMap::new();
    for some in secrets.chunks(SECRETS_AT_ONCE) {
        // The remaining places look for the first one again.
        let filled = some.iter().chain(std::iter::repeat(&some[0]));
        let values: Vec<Value<'_>> = filled
            .take(SECRETS_AT_ONCE)
            .map(|SecretHash(hash)| Value::Bytes(hash))
            .collect();
        database.query(&FIND, &values, &mut |row| {
            let account = AccountId(number(row, 1)?);
            let key = (row.integer(3)?, row.integer(4)?);
            if checksum::of_secret(account, key, row.bytes(0)?).stored() != row.integer(5)? {
                // Skipped, since the query has other secrets too. Loading its account reports the damage.
                return Ok(());
            }
            let hash: [u8; 32] = row
                .bytes(0)?
                .try_into()
                .map_err(|_| Failure::Damaged(WRONG_LENGTH.into()))?;
            let owner = Owner {
                account,
                revision: Revision(number(row, 2)?),
            };
            found.insert(SecretHash(hash), owner);
            Ok(())
        })?;
    }
    Ok(secrets.iter().map(|one| found.get(one).copied()).collect())
}

/// [`crate::Store::credentials`]. The kinds are literals, so that the database uses the right index.
pub(crate) fn credentials(
    database: &mut dyn Database,
    email: &Email,
    account: Option<AccountId>,
    limit: usize,
) -> Result<Vec<(AccountId, Credential)>, Failure> {
    let mut found = Vec::new();
    let (least, most) = account.map_or((0, u32::MAX), |AccountId(number)| (number, number));
    database.query(
        "SELECT credential.account, credential.number, credential.body, credential.natural_key,
            credential.checksum, person.body, person.natural_key, person.checksum
        FROM record AS person JOIN record AS credential
            ON credential.account = person.account AND credential.kind = 14
                AND credential.number = person.number
        WHERE person.kind = 0 AND person.natural_key = $1 AND person.account >= $2 AND person.account <= $3
        ORDER BY credential.account LIMIT $4",
        &[
            Value::Text(Some(&email.folded())),
            Value::Integer(least.into()),
            Value::Integer(most.into()),
            Value::Integer(bounded(limit)),
        ],
        &mut |row| {
            let account = AccountId(number(row, 0)?);
            let person = row.integer(1)?;
            let proof = checksum::of_record(account, (14, person), row.text(3)?, row.bytes(2)?);
            let address = checksum::of_record(account, (0, person), row.text(6)?, row.bytes(5)?);
            let is_whole = (proof.stored(), address.stored()) == (row.integer(4)?, row.integer(7)?);
            // A damaged index leads to people with other addresses.
            if !is_whole || row.text(6)? != Some(&*email.folded()) {
                // No one signs in with it; in other accounts they may. Loading this one reports the damage.
                return Ok(());
            }
            let put = decode_record(Kind::Credential, number(row, 1)?, row.bytes(2)?)?;
            let user = decode_record(Kind::User, number(row, 1)?, row.bytes(5)?)?;
            if let (Change::PutCredential(credential), Change::PutUser(user)) = (put, user) {
                let place = match user.standing {
                    Standing::Active | Standing::Inactive => None,
                    Standing::Invited { until } => Some(Reverse(until)),
                };
                found.push((place, account, credential));
            }
            Ok(())
        },
    )?;
    found.sort_by_key(|(place, account, _)| (*place, *account));
    let found = found.into_iter();
    Ok(found
        .map(|(_, account, credential)| (account, credential))
        .collect())
}

/// Writes the secrets of all records: for a store of a format without them.
pub(crate) fn fill(database: &mut dyn Database) -> Result<(), Failure> {
    database.execute("DELETE FROM secret", &[])?;
    let mut accounts = Vec::new();
    database.query("SELECT id FROM account ORDER BY id", &[], &mut |row| {
        accounts.push(AccountId(number(row, 0)?));
        Ok(())
    })?;
    for account in accounts {
        let found = of_records(database, account)?;
        let rows = found.iter().map(|(kind, number, SecretHash(hash))| {
            [
                Value::Integer(*kind),
                Value::Integer(*number),
                Value::Bytes(hash),
            ]
        });
        // The table as it was in format 3.
        Rows {
            into: "secret (account, kind, number, hash)",
            or: "",
        }
        .insert(database, account, rows)?;
    }
    Ok(())
}

/// Replaces the secrets of an account. Returns their combined checksums.
pub(crate) fn write_anew(database: &mut dyn Database, account: AccountId) -> Result<i64, Failure> {
    database.execute("DELETE FROM secret WHERE account = $1", &[account.into()])?;
    let found = of_records(database, account)?;
    put(database, account, &found)
}

/// Passes each secret of an account to `take`, a few at a time, so that every statement is short: kind,
/// number, hash and checksum. A row with an unreadable key is passed as well, and reading continues after the
/// last readable key.
pub(crate) fn each(
    database: &mut dyn Database,
    account: AccountId,
    take: TakeRow<'_>,
) -> Result<(), Failure> {
    let mut after = (-1, -1, Vec::new());
    loop {
        let (mut rows, mut next) = (0, None);
        database.query(
            "SELECT kind, number, hash, checksum FROM secret
            WHERE account = $1 AND (kind, number, hash) > ($2, $3, $4)
            ORDER BY kind, number, hash LIMIT $5",
            &[
                account.into(),
                Value::Integer(after.0),
                Value::Integer(after.1),
                Value::Bytes(&after.2),
                Value::Integer(bounded(ROWS_MAX)),
            ],
            &mut |row| {
                rows += 1;
                if let (Ok(kind), Ok(number), Ok(hash)) =
                    (row.integer(0), row.integer(1), row.bytes(2))
                {
                    next = Some((kind, number, hash.to_vec()));
                }
                take(row)
            },
        )?;
        match next {
            Some(next) if rows == ROWS_MAX => after = next,
            _ => return Ok(()),
        }
    }
}

/// The combined checksums of an account's secrets. Each is checked.
pub(crate) fn content(database: &mut dyn Database, account: AccountId) -> Result<i64, Failure> {
    let mut content = 0;
    each(database, account, &mut |row| {
        let key = (row.integer(0).unwrap_or(-1), row.integer(1).unwrap_or(-1));
        let expected = || -> Result<Checksum, Failure> {
            let key = (row.integer(0)?, row.integer(1)?);
            Ok(checksum::of_secret(account, key, row.bytes(2)?))
        };
        content ^= checksum::check_row(expected(), row.integer(3), || {
            checksum::name_of("secret", account, key.0, key.1)
        })?;
        Ok(())
    })?;
    Ok(content)
}

/// The first record of an account whose secrets lead elsewhere, in words.
pub(crate) fn misleading(
    database: &mut dyn Database,
    account: AccountId,
) -> Result<Option<String>, Failure> {
    let expected: BTreeSet<Secret> = of_records(database, account)?.into_iter().collect();
    let mut found = BTreeSet::new();
    each(database, account, &mut |row| {
        let hash = row.bytes(2)?.try_into();
        let hash = hash.map_err(|_| Failure::Damaged(WRONG_LENGTH.into()))?;
        found.insert((row.integer(0)?, row.integer(1)?, SecretHash(hash)));
        Ok(())
    })?;
    let Some((kind, number, _)) = expected.symmetric_difference(&found).next() else {
        return Ok(None);
    };
    let noun = decode_kind(*kind)?.noun();
    let what = format!("the secrets of {noun} {number} lead elsewhere than the records say");
    Ok(Some(what))
}

/// The secrets of an account's records.
fn of_records(database: &mut dyn Database, account: AccountId) -> Result<Vec<Secret>, Failure> {
    let mut found = Vec::new();
    for kind in [Kind::ApiKey, Kind::Credential] {
        let stored = number_of(kind).map_or(-1, i64::from);
        let mut after = -1;
        loop {
            let mut rows = 0;
            database.query(
                "SELECT number, body FROM record WHERE account = $1 AND kind = $2 AND number > $3
                ORDER BY number LIMIT $4",
                &[
                    account.into(),
                    Value::Integer(stored),
                    Value::Integer(after),
                    Value::Integer(bounded(ROWS_MAX)),
                ],
                &mut |row| {
                    rows += 1;
                    after = row.integer(0)?;
                    found.extend(of_record(stored, after, row.bytes(1)?)?);
                    Ok(())
                },
            )?;
            if rows < ROWS_MAX {
                break;
            }
        }
    }
    Ok(found)
}

/// The stored kind and number of a record, and a secret of it.
pub(crate) type Secret = (i64, i64, SecretHash);

/// The secrets of a record, if its kind has any.
pub(crate) fn of_record(stored: i64, number: i64, body: &[u8]) -> Result<Vec<Secret>, Failure> {
    let kind = [Kind::ApiKey, Kind::Credential]
        .into_iter()
        .find(|kind| number_of(*kind).map(i64::from) == Some(stored));
    let Some(kind) = kind else {
        return Ok(Vec::new());
    };
    let is_damaged = |_| Failure::Damaged(format!("{} {number} can't be", kind.noun()));
    let number_of_record = u32::try_from(number).map_err(is_damaged)?;
    let change = decode_record(kind, number_of_record, body)?;
    let secrets = of(&change).unwrap_or_default();
    Ok(secrets
        .into_iter()
        .map(|secret| (stored, number, *secret))
        .collect())
}

/// Writes secrets that were not there before. Returns their combined checksums.
pub(crate) fn put(
    database: &mut dyn Database,
    account: AccountId,
    secrets: &[Secret],
) -> Result<i64, Failure> {
    let mut content = 0;
    let rows = secrets.iter().map(|(kind, number, SecretHash(hash))| {
        let checksum = checksum::of_secret(account, (*kind, *number), hash);
        content ^= checksum.stored();
        [
            Value::Integer(*kind),
            Value::Integer(*number),
            Value::Bytes(hash),
            Value::Integer(checksum.stored()),
        ]
    });
    Rows {
        into: "secret (account, kind, number, hash, checksum)",
        or: "",
    }
    .insert(database, account, rows)?;
    Ok(content)
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
