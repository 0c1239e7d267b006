//! What fuzz targets call (`fuzz/`): each takes any bytes, and panics if a promise is broken. Nothing that ships calls it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::access::AccessWriter;
use crate::change::{Change, Entry};
use crate::id::{
    AccountId, AnyId, ApiKeyId, AuditLogId, Id, IdError, IdKey, Kind, OrganizationId,
    OrganizationMembershipId, ProjectId, Revision, RoleBindingId, RoleId, SpaceId,
    SpaceMembershipId, UserId,
};
use crate::place::{Account, AccountSettings};
use crate::state::{Loading, State};
use crate::text::{Description, Email, KeyName, Label, Name, RequestId, RoleName};
use crate::time::Timestamp;

const KEY: IdKey = IdKey::new([7; 16]);

/// A text that may be an id, or a name, or an address. It is what follows the first byte; behind an `i` it is a genuine id that is
/// edited: four bytes of its number, one that says the kind, then pairs of a place and the byte to put there.
///
/// # Panics
///
/// If an id is read in more than one spelling, a genuine one is not read, or a text that was accepted is not accepted again.
pub fn ids(bytes: &[u8]) {
    match bytes.split_first() {
        Some((b'i', rest)) => {
            if let Some((number, rest)) = rest.split_first_chunk() {
                edited_ids(u32::from_be_bytes(*number), rest);
            }
        }
        Some((_, rest)) => {
            let text = String::from_utf8_lossy(rest);
            read_as_every_id(&text);
            read_as_every_text(&text);
        }
        None => {}
    }
}

fn edited_ids(number: u32, bytes: &[u8]) {
    let Some((kind, edits)) = bytes.split_first() else {
        return;
    };
    let genuine = match kind % 10 {
        0 => genuine(UserId::new(number)),
        1 => genuine(RoleId::new(number)),
        2 => genuine(RoleBindingId::new(number)),
        3 => genuine(SpaceId::new(number)),
        4 => genuine(ProjectId::new(number)),
        5 => genuine(OrganizationId::new(number)),
        6 => genuine(ApiKeyId::new(number)),
        7 => genuine(AuditLogId::new(number)),
        8 => genuine(OrganizationMembershipId::new(number)),
        _ => genuine(SpaceMembershipId::new(number)),
    };
    let mut edited = genuine.into_bytes();
    for edit in edits.as_chunks().0 {
        let [place, byte]: [u8; 2] = *edit;
        match edited.get_mut(usize::from(place)) {
            Some(found) => *found = byte,
            None => edited.push(byte),
        }
    }
    read_as_every_id(&String::from_utf8_lossy(&edited));
}

/// The text of an id that was given out.
fn genuine<I: Id + Debug + PartialEq>(id: I) -> String {
    let text = KEY.encode(id);
    assert_eq!(KEY.parse::<I>(&text).ok(), Some(id), "{text}");
    let unpadded = text.trim_end_matches('=');
    assert_eq!(KEY.parse::<I>(unpadded).ok(), Some(id), "{unpadded}");
    text
}

fn read_as_every_id(text: &str) {
    read_as_id::<UserId>(text);
    read_as_id::<RoleId>(text);
    read_as_id::<RoleBindingId>(text);
    read_as_id::<SpaceId>(text);
    read_as_id::<ProjectId>(text);
    read_as_id::<OrganizationId>(text);
    read_as_id::<ApiKeyId>(text);
    read_as_id::<AuditLogId>(text);
    read_as_id::<OrganizationMembershipId>(text);
    read_as_id::<SpaceMembershipId>(text);
}

/// The fast way to read an id agrees with the general one, and an id that names something has one spelling, padded or not.
fn read_as_id<I: Id>(text: &str) {
    let any = KEY.parse_any(text);
    match KEY.parse::<I>(text) {
        Ok(id) => {
            let found = AnyId {
                kind: I::KIND,
                number: id.number(),
            };
            assert_eq!(any, Some(Ok(found)), "{text}");
            if id.number() != 0 {
                let genuine = KEY.encode(id);
                let spellings = [Some(genuine.clone()), alias(&genuine)];
                let mut spellings = spellings.iter().flatten();
                let is_one = spellings
                    .any(|spelling| text == spelling || text == spelling.trim_end_matches('='));
                assert!(is_one, "{text} is read as {genuine}");
            }
        }
        Err(error) => {
            let is_said = match (&error, any) {
                (IdError::Malformed { .. }, found) => found.is_none(),
                (IdError::OtherKind { .. }, Some(Ok(found))) => found.kind != I::KIND,
                (IdError::OtherKind { .. }, found) => found.is_some(),
            };
            assert!(is_said, "{text}: {error}");
            assert!(error.to_string().chars().count() < 400, "{error}");
        }
    }
}

/// The other spelling of a project's id.
fn alias(genuine: &str) -> Option<String> {
    let plain = String::from_utf8(STANDARD.decode(genuine).ok()?).ok()?;
    let rest = plain.strip_prefix("Model:")?;
    Some(STANDARD.encode(format!("Project:{rest}")))
}

macro_rules! assert_read_again {
    ($text:ident as $($type:ident)*) => {$(
        if let Ok(read) = $type::parse($text) {
            assert_eq!($type::parse(read.as_str()), Ok(read.clone()), "{:?}", $text);
            assert!(read.as_str().chars().count() <= $type::LENGTH_MAX);
        }
    )*};
}

fn read_as_every_text(text: &str) {
    assert_read_again!(text as Name RoleName KeyName Description Label Email);
    if let Some(id) = RequestId::parse(text) {
        assert_eq!(id.as_str(), text);
    }
}

/// What is stored as CBOR. The first byte says what: `e` for an entry of the log, `c` for a change, else current records, each
/// behind its length in two bytes.
///
/// # Panics
///
/// If something that is read is not the same when it is written and read again, or if current records make another state than
/// the changes that put them, or another index.
pub fn records(bytes: &[u8]) {
    match bytes.split_first() {
        Some((b'e', rest)) => entry(rest),
        Some((b'c', rest)) => {
            change(rest);
        }
        Some((_, rest)) => state(rest),
        None => {}
    }
}

fn entry(bytes: &[u8]) {
    let (read, written) = (Entry::decode(bytes), Entry::decode_as_written(bytes));
    assert_eq!(read.is_ok(), written.is_ok());
    for entry in read.into_iter().chain(written) {
        let stored = entry.encode();
        assert_eq!(Entry::decode_as_written(&stored).ok(), Some(entry.clone()));
        assert_nothing_else_is_read(&stored, |bytes| Entry::decode(bytes).is_ok());
        for change in entry.changes.iter().chain(&entry.before) {
            assert_survives(change);
        }
        let mut state = State::new(account());
        let before = state.before(&entry.changes);
        assert!(before.iter().all(|change| !change.is_delete()));
        state.advance(&entry);
        assert_eq!(state.position(), entry.position());
    }
}

fn change(bytes: &[u8]) -> Option<Change> {
    let change = Change::decode(bytes).ok()?;
    assert_survives(&change);
    let (kind, number) = change.key();
    let record = Change::decode_record(kind, number, bytes);
    assert_eq!(record.is_ok(), !change.is_delete());
    let another = Change::decode_record(kind, number.wrapping_add(1), bytes);
    assert!(another.is_err());
    Some(change)
}

fn assert_survives(change: &Change) {
    let stored = change.encode();
    assert_eq!(Change::decode(&stored).ok().as_ref(), Some(change));
    assert_nothing_else_is_read(&stored, |bytes| Change::decode(bytes).is_ok());
}

/// Neither a part of what is stored, nor more than it.
fn assert_nothing_else_is_read(stored: &[u8], is_read: impl Fn(&[u8]) -> bool) {
    let half = stored.len() / 2;
    for length in [half, stored.len().saturating_sub(1)] {
        let cut = stored.get(..length).unwrap_or_default();
        assert!(!is_read(cut), "the first {length} bytes of {stored:02x?}");
    }
    let longer = [stored, &[0]].concat();
    assert!(!is_read(&longer), "a byte more than {stored:02x?}");
}

/// The order in which a store loads its records: what something refers to comes before it.
const ORDER: [Kind; 11] = [
    Kind::User,
    Kind::ApiKey,
    Kind::Organization,
    Kind::OrganizationMembership,
    Kind::Space,
    Kind::SpaceMembership,
    Kind::Project,
    Kind::Restriction,
    Kind::Role,
    Kind::RoleBinding,
    Kind::Credential,
];

fn state(mut bytes: &[u8]) {
    // As the tables have them: each key once, and each natural key.
    let mut records: BTreeMap<(usize, u32), (Change, &[u8])> = BTreeMap::new();
    let mut natural_keys = BTreeSet::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
        let (stored, rest) = rest.split_at(length);
        bytes = rest;
        let Some(change) = change(stored).filter(|change| !change.is_delete()) else {
            continue;
        };
        let (kind, number) = change.key();
        let Some(place) = ORDER.iter().position(|one| *one == kind) else {
            continue;
        };
        let is_new = change
            .natural_key()
            .is_none_or(|key| natural_keys.insert((kind, key)));
        if is_new {
            records.entry((place, number)).or_insert((change, stored));
        }
    }
    let mut applied = State::new(account());
    let mut loading = Loading::new(account());
    for (change, stored) in records.values() {
        applied.apply(change);
        let (kind, number) = change.key();
        let taken = loading.take(kind, number, stored);
        assert!(taken.is_ok(), "{taken:?}: {change:?}");
    }
    let loaded = loading.finish(Revision(0).into(), applied.latest(), []);
    assert_eq!(loaded.difference(&applied), None);
    for (change, _) in records.values() {
        assert_eq!(loaded.record(change.key()).as_ref(), Some(change));
    }
    let index = AccessWriter::new(&loaded).index();
    assert_eq!(index.disagreement(&loaded), None);
}

fn account() -> Account {
    let name = Name::parse("fuzzing").expect("it is a name");
    Account {
        id: AccountId(1),
        name,
        id_key: KEY,
        created_at: Timestamp::from_millis(0),
        settings: AccountSettings::default(),
    }
}
