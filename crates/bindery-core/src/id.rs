//! Ids: dense numbers inside, `base64("Kind:number:check")` outside (`docs/rules/api.md` §3).
//!
//! A check value keyed by the account makes ids impossible to count through and needs no storage. Text that
//! has the right form but the wrong check parses to number 0, which no thing ever has: every lookup then
//! answers exactly as it does for something absent, and nobody has to remember a special case.
//!
//! The check is `SipHash-2-4` of seven octets: six of the number, the lowest first, and one that says the kind. What comes out,
//! taken for a fraction of 2^64, is written with four digits in base 62. Seven octets are all that one block holds, and fewer than
//! anything else that this key hashes ([`IdKey::digest`]).

mod letters;

use std::hash::Hasher as _;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use minicbor::{Decode, Encode};
use siphasher::sip::SipHasher24;

use letters::Start;

/// What an id names; the first part of its text. The order is for ever: checks are made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Kind {
    /// A human or bot user.
    #[n(0)]
    User,
    /// A predefined or custom role.
    #[n(1)]
    Role,
    /// A role binding.
    #[n(2)]
    RoleBinding,
    /// A space.
    #[n(3)]
    Space,
    /// A project; its ids say `Model`.
    #[n(4)]
    Project,
    /// An organization.
    #[n(5)]
    Organization,
    /// An API key.
    #[n(6)]
    ApiKey,
    /// An entry of the audit log.
    #[n(7)]
    AuditLog,
    /// A user's role in an organization.
    #[n(8)]
    OrganizationMembership,
    /// A user's predefined role in a space.
    #[n(9)]
    SpaceMembership,
    /// A dashboard: a legal kind of which nothing exists here.
    #[n(10)]
    Dashboard,
    /// A prompt: a legal kind of which nothing exists here.
    #[n(11)]
    Prompt,
    /// A project's restriction; it has its project's number and no id of its own outside.
    #[n(12)]
    Restriction,
    /// The account itself; never shown.
    #[n(13)]
    Account,
    /// What a person proves themselves with; it has its user's number, and is never shown.
    #[n(14)]
    Credential,
}

impl Kind {
    /// The kinds whose ids are read and written outside.
    const PUBLIC: [Self; 12] = [
        Self::User,
        Self::Role,
        Self::RoleBinding,
        Self::Space,
        Self::Project,
        Self::Organization,
        Self::ApiKey,
        Self::AuditLog,
        Self::OrganizationMembership,
        Self::SpaceMembership,
        Self::Dashboard,
        Self::Prompt,
    ];

    /// The kind as it stands in an id's text.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::Role => "Role",
            Self::RoleBinding => "RoleBinding",
            Self::Space => "Space",
            Self::Project => "Model",
            Self::Organization => "Organization",
            Self::ApiKey => "ApiKey",
            Self::AuditLog => "AuditLog",
            Self::OrganizationMembership => "AccountOrganizationMember",
            Self::SpaceMembership => "SpaceMember",
            Self::Dashboard => "Dashboard",
            Self::Prompt => "Prompt",
            Self::Restriction => "Restriction",
            Self::Account => "Account",
            Self::Credential => "Credential",
        }
    }

    /// The kind in a sentence for people.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Role => "role",
            Self::RoleBinding => "role binding",
            Self::Space => "space",
            Self::Project => "project",
            Self::Organization => "organization",
            Self::ApiKey => "API key",
            Self::AuditLog => "audit log entry",
            Self::OrganizationMembership => "organization membership",
            Self::SpaceMembership => "space membership",
            Self::Dashboard => "dashboard",
            Self::Prompt => "prompt",
            Self::Restriction => "restriction",
            Self::Account => "account",
            Self::Credential => "credential",
        }
    }

    /// Its place above, and its number in what is stored.
    #[expect(clippy::as_conversions, reason = "a fieldless enum's own discriminant")]
    const fn number(self) -> u8 {
        self as u8
    }

    fn from_tag(tag: &str) -> Option<Self> {
        match tag {
            // Samples of both spellings exist; the newer one is `Model`.
            "Project" => Some(Self::Project),
            _ => Self::PUBLIC.into_iter().find(|kind| kind.tag() == tag),
        }
    }
}

/// A typed id: one newtype per [`Kind`] over a dense number.
pub trait Id: Copy + Ord + std::fmt::Debug {
    /// The kind of thing that this id names.
    const KIND: Kind;
    /// Never given to anything: what an unreadable or tampered id means.
    const NOBODY: Self;
    /// The id with this number.
    fn from_number(number: u32) -> Self;
    /// Dense from 1 within an account and kind.
    fn number(self) -> u32;
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident $kind:ident)*) => {$(
        $(#[$doc])*
        ///
        /// Dense from 1, never reused, meaningless in any other account.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
        #[cbor(transparent)]
        pub struct $name(#[n(0)] u32);

        impl Id for $name {
            const KIND: Kind = Kind::$kind;
            const NOBODY: Self = Self(0);
            fn from_number(number: u32) -> Self {
                Self(number)
            }
            fn number(self) -> u32 {
                self.0
            }
        }

        impl $name {
            /// The id with this number, in constants.
            pub const fn new(number: u32) -> Self {
                Self(number)
            }
        }
    )*};
}

ids! {
    /// A user of one account, human or bot.
    UserId User
    /// A role; numbers up to [`crate::role::CUSTOM_FIRST`] are kept for predefined ones.
    RoleId Role
    /// A role binding.
    RoleBindingId RoleBinding
    /// A space.
    SpaceId Space
    /// A project.
    ProjectId Project
    /// An organization.
    OrganizationId Organization
    /// An API key.
    ApiKeyId ApiKey
    /// An entry of the audit log, as clients name it; stores count them in 64 bits.
    AuditLogId AuditLog
    /// A user's role in an organization.
    OrganizationMembershipId OrganizationMembership
    /// A user's predefined role in a space.
    SpaceMembershipId SpaceMembership
}

/// An account of this installation. Dense from 1; never shown to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct AccountId(#[n(0)] pub u32);

/// A place in the one order of an account's changes: 1, 2, 3, …; 0 is the empty account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Revision(#[n(0)] pub u64);

impl Revision {
    /// The revision after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl std::fmt::Display for Revision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a text is no id of the wanted kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not base64 of `Kind:number…`.
    #[error("`{text}` is not an id; an id is base64 of `{}:<number>:<check>`, as this API returned it", wanted.tag())]
    Malformed {
        /// What was sent, cut to a readable length.
        text: String,
        /// What was expected.
        wanted: Kind,
    },
    /// An id, but of another kind of thing.
    #[error("`{text}` is the id of a {found}; the id of a {} is expected", wanted.noun())]
    OtherKind {
        /// What was sent, cut to a readable length.
        text: String,
        /// The kind it names.
        found: String,
        /// What was expected.
        wanted: Kind,
    },
}

/// A parsed id of any public kind: the kind, and a number that is 0 when the check was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnyId {
    /// What the id names.
    pub kind: Kind,
    /// Its number; 0 names nothing.
    pub number: u32,
}

/// The secret of an account that its ids are checked with.
#[derive(Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct IdKey(#[cbor(n(0), with = "minicbor::bytes")] [u8; 16]);

impl std::fmt::Debug for IdKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IdKey(..)")
    }
}

/// Padding is always written, and not asked for on input: some clients strip it.
const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Digits in base 62. The last two stand only for what six bits could be besides.
const BASE62: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz??";

impl IdKey {
    /// A key from 16 random bytes.
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The public text of `id`, padded base64.
    pub fn encode<I: Id>(&self, id: I) -> String {
        self.encode_number(I::KIND, u64::from(id.number()))
    }

    /// The public text of the id of this kind and number, for kinds whose numbers outgrow 32 bits.
    pub fn encode_number(&self, kind: Kind, number: u64) -> String {
        ENGINE.encode(self.plain(kind, number))
    }

    /// Reads an id of kind `I`. A wrong check, or a number that was never issued, is no error: it yields an id
    /// that names nothing.
    #[inline]
    pub fn parse<I: Id>(&self, text: &str) -> Result<I, IdError> {
        match self.parse_genuine(text) {
            Some(genuine) => Ok(genuine),
            None => self.parse_other(text),
        }
    }

    #[cold]
    #[inline(never)]
    fn parse_other<I: Id>(&self, text: &str) -> Result<I, IdError> {
        let malformed = || IdError::Malformed {
            text: shorten(text),
            wanted: I::KIND,
        };
        let found = self.parse_any(text).ok_or_else(malformed)?;
        match found {
            Ok(id) if id.kind == I::KIND => Ok(I::from_number(id.number)),
            Ok(id) => Err(IdError::OtherKind {
                text: shorten(text),
                found: id.kind.noun().to_owned(),
                wanted: I::KIND,
            }),
            Err(tag) => Err(IdError::OtherKind {
                text: shorten(text),
                found: tag,
                wanted: I::KIND,
            }),
        }
    }

    /// Reads an id of any kind: `None` if it is no id at all, `Err` with the tag of a kind unknown here.
    pub fn parse_any(&self, text: &str) -> Option<Result<AnyId, String>> {
        let bytes = ENGINE.decode(text).ok()?;
        let plain = String::from_utf8(bytes).ok()?;
        let mut parts = plain.splitn(3, ':');
        let tag = parts.next()?;
        let digits = parts.next()?;
        let is_tag = !tag.is_empty() && tag.bytes().all(|byte| byte.is_ascii_alphabetic());
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !is_tag || !is_number {
            return None;
        }
        let Some(kind) = Kind::from_tag(tag) else {
            return Some(Err(shorten(tag)));
        };
        let number = digits.parse::<u32>().unwrap_or(0);
        let canonical = self.plain(kind, u64::from(number));
        // Compared without the tag, so that the alias of a kind is as good as its name.
        let genuine = canonical.split_once(':').map(|(_, rest)| rest)
            == plain.split_once(':').map(|(_, rest)| rest);
        Some(Ok(AnyId {
            kind,
            number: if genuine { number } else { 0 },
        }))
    }

    /// Reads an id as it was given out, which nearly all are, in far fewer instructions than the general way takes, and allocates
    /// nothing. Anything else, numbers from 10^8 on included, is `None`: what is wrong with it, that way tells.
    #[inline]
    fn parse_genuine<I: Id>(&self, text: &str) -> Option<I> {
        let start = const { Start::of(I::KIND.tag()) };
        let (octets, count) = start.read_behind(text.as_bytes())?;
        // `digits:` and four octets of the check, in the lower octets.
        let digits = count.checked_sub(5)?;
        let number = number(low_word(octets >> 40), digits)?;
        let sent = low_word(octets) & 0xff_ffff_ffff;
        let check = u32::from_be_bytes(self.check(I::KIND, u64::from(number)));
        let is_genuine = sent == u64::from(b':') << 32 | u64::from(check);
        is_genuine.then(|| I::from_number(number))
    }

    /// A keyed 64-bit digest of `parts`, length-prefixed so that no two lists of parts meet.
    pub fn digest(&self, parts: &[&[u8]]) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        for part in parts {
            hasher.write_usize(part.len());
            hasher.write(part);
        }
        hasher.finish()
    }

    fn plain(&self, kind: Kind, number: u64) -> String {
        let mut text = format!("{}:{number}:", kind.tag());
        text.extend(self.check(kind, number).map(char::from));
        text
    }

    /// Four digits of what the file's head says.
    #[inline]
    fn check(&self, kind: Kind, number: u64) -> [u8; 4] {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        hasher.write_u32(u32::try_from(number & 0xffff_ffff).unwrap_or_default());
        hasher.write_u16(u16::try_from(number >> 32 & 0xffff).unwrap_or_default());
        hasher.write_u8(kind.number());
        let mut fraction = hasher.finish();
        [(); 4].map(|()| {
            let [digit, behind] = split(u128::from(fraction).wrapping_mul(62));
            fraction = behind;
            let digit = usize::try_from(digit).unwrap_or_default();
            BASE62.get(digit).copied().unwrap_or(b'0')
        })
    }
}

/// The number that one to eight digits are, the last in the lowest octet; `None` if they aren't, or begin with zero.
#[inline]
fn number(digits: u64, count: u32) -> Option<u32> {
    let bits = count.wrapping_mul(8);
    if !matches!(count, 1..=8) {
        return None;
    }
    let zeros = 0x3030_3030_3030_3030 >> u64::BITS.wrapping_sub(bits);
    let values = digits ^ zeros;
    // The highest bit of an octet is set where it is no digit.
    let beyond = values | values.wrapping_add(0x7676_7676_7676_7676);
    if beyond & 0x8080_8080_8080_8080 != 0 || values >> bits.wrapping_sub(8) == 0 {
        return None;
    }
    // Two halves at a time: what the upper one counts for takes the place of what it stood for.
    let pairs = values.wrapping_sub((values >> 8 & 0x00ff_00ff_00ff_00ff).wrapping_mul(0xf6));
    let fours = pairs.wrapping_sub((pairs >> 16 & 0xffff_0000_ffff).wrapping_mul(0xff9c));
    let number = fours.wrapping_sub((fours >> 32).wrapping_mul(0xffff_d8f0));
    u32::try_from(number & 0xffff_ffff).ok()
}

/// The upper and the lower half.
#[inline]
fn split(number: u128) -> [u64; 2] {
    [low_word(number >> 64), low_word(number)]
}

#[inline]
#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "the lower half is what is asked for"
)]
const fn low_word(number: u128) -> u64 {
    number as u64
}

/// Keeps what a client sent readable in a message.
fn shorten(text: &str) -> String {
    const SHOWN_MAX: usize = 80;
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: IdKey = IdKey::new([7; 16]);
    const OTHER: IdKey = IdKey::new([8; 16]);

    fn base64(plain: &str) -> String {
        ENGINE.encode(plain)
    }

    #[test]
    fn an_id_survives_the_trip_and_says_what_it_names() {
        let text = KEY.encode(RoleBindingId::new(1));
        let plain = String::from_utf8(ENGINE.decode(&text).unwrap()).unwrap();
        assert!(
            plain.starts_with("RoleBinding:1:") && plain.len() == 18,
            "{plain}"
        );
        assert_eq!(KEY.parse(&text), Ok(RoleBindingId::new(1)));
        assert_eq!(
            KEY.parse(text.trim_end_matches('=')),
            Ok(RoleBindingId::new(1))
        );
        let project = KEY.encode(ProjectId::new(121));
        let plain = String::from_utf8(ENGINE.decode(&project).unwrap()).unwrap();
        assert!(plain.starts_with("Model:121:"), "{plain}");
        let alias = base64(&plain.replace("Model", "Project"));
        assert_eq!(KEY.parse(&alias), Ok(ProjectId::new(121)));
    }

    /// Clients keep ids: one that reads otherwise some day is one that they have lost.
    #[test]
    fn ids_stay_what_they_are() {
        for (kind, number, expected) in [
            (Kind::User, 1, "User:1:kdCv"),
            (Kind::Project, 4_294_967_295, "Model:4294967295:EfW5"),
            (
                Kind::SpaceMembership,
                99_999_999,
                "SpaceMember:99999999:BqH8",
            ),
            (Kind::AuditLog, 1 << 40, "AuditLog:1099511627776:agBx"),
        ] {
            assert_eq!(KEY.plain(kind, number), expected);
        }
    }

    #[test]
    fn both_ways_of_reading_an_id_agree() {
        fn check<I: Id + PartialEq>() {
            let mut number = 1_u32;
            while number < u32::MAX / 7 {
                for number in [number - 1, number, number + 1] {
                    let id = I::from_number(number);
                    let text = KEY.encode(id);
                    for text in [text.as_str(), text.trim_end_matches('=')] {
                        let quick = (1..100_000_000).contains(&number).then_some(id);
                        assert_eq!(KEY.parse_genuine(text), quick, "{id:?}");
                        assert_eq!(KEY.parse_other(text), Ok(id), "{id:?}");
                        assert_eq!(OTHER.parse_genuine::<I>(text), None, "{id:?}");
                        assert_eq!(OTHER.parse_other(text), Ok(I::NOBODY), "{id:?}");
                    }
                }
                number = number * 7 / 2 + 1;
            }
        }
        check::<UserId>();
        check::<RoleId>();
        check::<RoleBindingId>();
        check::<SpaceId>();
        check::<ProjectId>();
        check::<OrganizationId>();
        check::<ApiKeyId>();
        check::<AuditLogId>();
        check::<OrganizationMembershipId>();
        check::<SpaceMembershipId>();
    }

    #[test]
    fn digits_are_read_as_the_library_reads_them() {
        for text in [
            "1", "9", "10", "99", "123", "4567", "98765", "123456", "7654321", "99999999", "0",
            "01", "00000000", "1a", "a1", "1:", "/1", "1/", ":1", " 1", "+1", "-1", "1234567:",
            "\u{7f}1", "1\u{e9}",
        ] {
            let digits = text
                .bytes()
                .fold(0, |word, octet| word << 8 | u64::from(octet));
            let expected = text.parse::<u32>().ok();
            let expected = expected.filter(|_| !text.starts_with(['0', '+']));
            let count = u32::try_from(text.len()).unwrap();
            assert_eq!(number(digits, count), expected, "{text}");
        }
        assert_eq!(number(0, 0), None);
        assert_eq!(number(u64::from_be_bytes(*b"12345678"), 9), None);
    }

    #[test]
    fn an_id_that_was_never_issued_names_nobody() {
        let good = KEY.encode(UserId::new(42));
        let plain = String::from_utf8(ENGINE.decode(&good).unwrap()).unwrap();
        let check = plain.rsplit(':').next().unwrap();
        for text in [
            base64("User:42"),
            base64("User:42:"),
            base64("User:42:aBcD"),
            base64(&format!("User:43:{check}")),
            base64(&format!("User:042:{check}")),
            base64(&format!("User:42:{check}x")),
            base64(&format!("User:42:{check}:")),
            base64("User:99999999999"),
            base64("User:4294967296:aaaa"),
            OTHER.encode(UserId::new(42)),
        ] {
            assert_eq!(KEY.parse::<UserId>(&text), Ok(UserId::NOBODY), "{text}");
        }
        let zero = KEY.encode(UserId::NOBODY);
        assert_eq!(KEY.parse::<UserId>(&zero), Ok(UserId::NOBODY));
    }

    #[test]
    fn what_is_no_id_is_refused_with_the_kind_that_was_expected() {
        for text in [
            "",
            "x",
            "ada@example.com",
            "User:42:aBcD",
            "=",
            "VXNlcg==",
            "\u{fffd}",
        ] {
            let refused = KEY.parse::<UserId>(text);
            assert!(
                matches!(refused, Err(IdError::Malformed { .. })),
                "{text}: {refused:?}"
            );
        }
        for text in [
            base64("User:-1:aaaa"),
            base64("User::aaaa"),
            base64(":1:aaaa"),
            base64("U s:1"),
        ] {
            let refused = KEY.parse::<UserId>(&text);
            assert!(
                matches!(refused, Err(IdError::Malformed { .. })),
                "{text}: {refused:?}"
            );
        }
        let space = KEY.encode(SpaceId::new(1));
        let message = KEY.parse::<RoleId>(&space).unwrap_err().to_string();
        assert_eq!(
            message,
            format!("`{space}` is the id of a space; the id of a role is expected")
        );
        let widget = base64("Widget:1:aaaa");
        let message = KEY.parse::<RoleId>(&widget).unwrap_err().to_string();
        assert_eq!(
            message,
            format!("`{widget}` is the id of a Widget; the id of a role is expected")
        );
    }
}
