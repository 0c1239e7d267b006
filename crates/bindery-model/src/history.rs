//! Histories: an account founded, then wishes in their order, each of them picked from what is there when its turn comes.
//!
//! A wish names things by small numbers, [`Pick`]s, that are resolved against the model when the step is taken. So ids are usually
//! good ones, sometimes those of something deleted or never made, and a history that shrinks stays a sensible one.

use std::fmt;

use bindery_core::api_key::{Secret, SecretHash};
use bindery_core::command::operator::Bootstrap;
use bindery_core::command::{Caller, Context};
use bindery_core::id::{AccountId, Id, IdKey};
use bindery_core::place::{Account, AccountSettings};
use bindery_core::text::{Email, KeyName, Name};
use bindery_core::time::Timestamp;

use crate::model::Model;
use bindery_core::command::AnyCommand;

mod resolve;
mod strategy;
mod wish;

pub use strategy::histories;
pub use wish::{
    EmailPick, Expiry, InvitationPick, KeyPlace, LinkPick, NamePick, OnPick, RolePick, SpaceChange,
    UserPick, Wish,
};

/// When every history begins: the first moment of 2026.
pub const START: Timestamp = Timestamp::from_millis(1_767_225_600_000);

/// An account and what was wished in it, in order. The account is founded before the first step.
#[derive(Clone)]
pub struct History {
    /// What its operator has set.
    pub settings: AccountSettings,
    /// What was wished.
    pub steps: Vec<Step>,
}

/// One wish: of whom, and how long after the one before.
#[derive(Clone)]
pub struct Step {
    /// Whose wish it is.
    pub caller: CallerPick,
    /// Time since the step before, in milliseconds.
    pub wait_ms: u32,
    /// What is wished.
    pub wish: Wish,
}

/// Picks one thing of a kind: most numbers one that is there, some one that is gone or never was.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Pick(pub u8);

/// Picks a caller: first the keys of account admins, then any key that may use the API, then any key at all, and the operator.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CallerPick(pub u8);

impl Pick {
    /// Numbers below pick something that is there.
    const THERE: u8 = 244;
    /// Numbers below pick any number that was ever given, dead or alive.
    const EVER: u8 = 250;
    /// Numbers below pick a number that was never given; the rest what an unreadable id means.
    const NEVER: u8 = 253;

    /// The id it means among those that are `there`, with numbers up to `issued` ever given.
    fn among<I: Id>(self, there: &[I], issued: u32) -> I {
        match self.0 {
            n if n < Self::THERE => self.of(there).unwrap_or(I::NOBODY),
            n if n < Self::EVER => I::from_number(1 + u32::from(n) % issued.max(1)),
            n if n < Self::NEVER => I::from_number(issued + 1),
            _ => I::NOBODY,
        }
    }

    /// One of these, if there is one.
    fn of<T: Copy>(self, things: &[T]) -> Option<T> {
        let place = usize::from(self.0).checked_rem(things.len())?;
        things.get(place).copied()
    }
}

impl CallerPick {
    /// Numbers below pick a key of an account admin.
    const ADMIN: u8 = 140;
    /// Numbers below pick a key that is let in.
    const ADMITTED: u8 = 246;
    /// Numbers below pick any key; the rest is the operator.
    const ANY: u8 = 254;
}

impl History {
    /// The account before anyone is in it.
    #[expect(clippy::missing_panics_doc, reason = "the texts are good ones")]
    pub fn account(&self) -> Account {
        Account {
            id: AccountId(1),
            name: Name::parse("history").expect("a name"),
            id_key: IdKey::new([7; 16]),
            created_at: START,
            settings: self.settings.clone(),
        }
    }

    /// The command that founds it.
    #[expect(clippy::missing_panics_doc, reason = "the texts are good ones")]
    pub fn founding(&self) -> (Context, AnyCommand) {
        let context = Context {
            caller: Caller::Operator,
            now: START,
        };
        let command = Bootstrap {
            name: Name::parse("Ada").expect("a name"),
            email: Email::parse("ada@example.com").expect("an address"),
            key_name: KeyName::parse("first").expect("a name"),
            secret: secret(0),
        };
        (context, AnyCommand::Bootstrap(command))
    }

    /// How many commands it has, the founding one included.
    pub fn length(&self) -> usize {
        self.steps.len() + 1
    }
}

impl Step {
    /// Who asks for what at `now`, in the account as it is. `serial` is the place of the step in its history, and makes names
    /// and secrets that nothing else has.
    pub fn resolve(&self, model: &Model, now: Timestamp, serial: u32) -> (Context, AnyCommand) {
        resolve::resolve(self, model, now, serial)
    }
}

/// A secret like no other in the history.
fn secret(serial: u32) -> Secret {
    let mut hash = [0; 32];
    hash[..4].copy_from_slice(&serial.to_be_bytes());
    Secret {
        hash: SecretHash(hash),
        redacted: format!("ak-000...{serial:03}"),
    }
}

impl fmt::Debug for Pick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for CallerPick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            caller,
            wait_ms,
            wish,
        } = self;
        write!(f, "[{caller:?} +{wait_ms}] {wish:?}")
    }
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}", self.settings)?;
        for step in &self.steps {
            writeln!(f, "{step:?}")?;
        }
        Ok(())
    }
}
