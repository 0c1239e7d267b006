//! Who gave a role that somebody holds, and when. Roles given before format 6 may have no such record.

use minicbor::{Decode, Decoder, Encode, Encoder};

use crate::command::Caller;
use crate::id::{Id as _, UserId};
use crate::time::{PackedTime, Timestamp};

/// Who gave a role: a user (a bot included), the operator of the installation, or nobody knows. It takes four bytes, since there
/// can be millions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Giver(u32);

impl Giver {
    /// There is no record.
    pub const UNKNOWN: Self = Self(0);
    /// The operator of the installation.
    pub const OPERATOR: Self = Self(u32::MAX);

    /// The user, if it was one.
    pub fn user(self) -> Option<UserId> {
        (self != Self::UNKNOWN && self != Self::OPERATOR).then(|| UserId::from_number(self.0))
    }

    /// The giver of what an entry of the log gives. `None` is the operator.
    pub fn by(user: Option<UserId>) -> Self {
        user.map_or(Self::OPERATOR, |user| Self(user.number()))
    }
}

impl Default for Giver {
    fn default() -> Self {
        Self::UNKNOWN
    }
}

impl From<Caller> for Giver {
    fn from(caller: Caller) -> Self {
        Self::by(match caller {
            Caller::Operator => None,
            Caller::Person(user) | Caller::Key { user, .. } => Some(user),
        })
    }
}

impl std::fmt::Debug for Giver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self::UNKNOWN => f.write_str("Giver::UNKNOWN"),
            Self::OPERATOR => f.write_str("Giver::OPERATOR"),
            Self(number) => write!(f, "Giver({number})"),
        }
    }
}

impl<C> Encode<C> for Giver {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.u32(self.0)?.ok()
    }

    // An unknown giver is left out, so a record of format 5 keeps its bytes.
    fn is_nil(&self) -> bool {
        *self == Self::UNKNOWN
    }
}

impl<'b, C> Decode<'b, C> for Giver {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        if d.datatype()? == minicbor::data::Type::Null {
            d.null()?;
            return Ok(Self::UNKNOWN);
        }
        d.u32().map(Self)
    }

    fn nil() -> Option<Self> {
        Some(Self::UNKNOWN)
    }
}

/// When a role was given, where that is known. Six bytes, like [`Giver`] for their number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct GivenAt(PackedTime);

impl GivenAt {
    /// There is no record.
    pub const UNKNOWN: Self = Self(PackedTime::EARLIEST);

    /// The moment, if it is known.
    pub fn moment(self) -> Option<Timestamp> {
        (self != Self::UNKNOWN).then(|| self.0.unpack())
    }
}

impl Default for GivenAt {
    fn default() -> Self {
        Self::UNKNOWN
    }
}

impl From<Timestamp> for GivenAt {
    fn from(moment: Timestamp) -> Self {
        Self(PackedTime::pack(moment))
    }
}

impl std::fmt::Debug for GivenAt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.moment() {
            Some(moment) => write!(f, "GivenAt({})", moment.as_millis()),
            None => f.write_str("GivenAt::UNKNOWN"),
        }
    }
}

impl<C> Encode<C> for GivenAt {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        match self.moment() {
            Some(moment) => e.i64(moment.as_millis())?.ok(),
            None => e.null()?.ok(),
        }
    }

    fn is_nil(&self) -> bool {
        *self == Self::UNKNOWN
    }
}

impl<'b, C> Decode<'b, C> for GivenAt {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        if d.datatype()? == minicbor::data::Type::Null {
            d.null()?;
            return Ok(Self::UNKNOWN);
        }
        Ok(Timestamp::from_millis(d.i64()?).into())
    }

    fn nil() -> Option<Self> {
        Some(Self::UNKNOWN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ApiKeyId;

    #[test]
    fn a_giver_is_a_user_the_operator_or_unknown() {
        let user = UserId::from_number(7);
        let key = ApiKeyId::from_number(3);
        for (giver, expected) in [
            (Giver::from(Caller::Key { user, key }), Some(user)),
            (Giver::from(Caller::Person(user)), Some(user)),
            (Giver::from(Caller::Operator), None),
            (Giver::UNKNOWN, None),
        ] {
            assert_eq!(giver.user(), expected, "{giver:?}");
            let bytes = minicbor::to_vec(giver).unwrap();
            assert_eq!(minicbor::decode::<Giver>(&bytes).unwrap(), giver);
        }
        assert_ne!(Giver::OPERATOR, Giver::UNKNOWN);
        for at in [
            GivenAt::UNKNOWN,
            Timestamp::from_millis(0).into(),
            Timestamp::from_millis(-1).into(),
            Timestamp::from_millis(1_800_000_000_123).into(),
        ] {
            let bytes = minicbor::to_vec(at).unwrap();
            assert_eq!(minicbor::decode::<GivenAt>(&bytes).unwrap(), at);
        }
    }
}
