//! Histories: an account is founded, then drafts of commands follow in order. Each draft is resolved when its
//! turn comes.
//!
//! A draft names things by small numbers, [`Pick`]s, that are resolved against the model at that step. So ids
//! usually exist, sometimes belong to something deleted or never made, and a history that proptest shrinks
//! still makes sense.

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

mod draft;
mod resolve;
mod strategy;

pub use draft::{
    Draft, EmailPick, Expiry, InvitationPick, KeyPlace, LinkPick, NamePick, OnPick, RolePick,
    SpaceChange, UserPick,
};
pub use strategy::histories;

/// The time at which every history begins: the start of 2026.
pub const START: Timestamp = Timestamp::from_millis(1_767_225_600_000);

/// An account and the drafts of its commands, in order. The account is founded before the first step.
#[derive(Clone)]
pub struct History {
    /// The settings of the operator.
    pub settings: AccountSettings,
    /// The steps.
    pub steps: Vec<Step>,
}

/// One draft, its caller, and its time.
#[derive(Clone)]
pub struct Step {
    /// The caller.
    pub caller: CallerPick,
    /// Time since the previous step, in milliseconds.
    pub wait_ms: u32,
    /// The draft.
    pub draft: Draft,
}

/// Picks one thing of a kind: most numbers pick one that exists, some one that is deleted or never existed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Pick(pub u8);

/// Picks a caller: first the keys of account admins, then any key that may use the API, then any key at all,
/// and the operator.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CallerPick(pub u8);

impl Pick {
    /// Numbers below pick something that exists.
    const THERE: u8 = 244;
    /// Numbers below pick any number that was ever issued.
    const EVER: u8 = 250;
    /// Numbers below pick a number that was never issued; the rest is what an unreadable id parses to.
    const NEVER: u8 = 253;

    /// The id among those that exist (`there`), with numbers up to `issued` ever issued.
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
    /// Numbers below pick a valid key.
    const ADMITTED: u8 = 246;
    /// Numbers below pick any key; the rest is the operator.
    const ANY: u8 = 254;
}

impl History {
    /// The empty account.
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

    /// How many commands it has, including the founding one.
    pub fn length(&self) -> usize {
        self.steps.len() + 1
    }
}

impl Step {
    /// The caller and the command at `now`, in the current account. `serial` is the index of the step in its
    /// history, and makes unique names and secrets.
    pub fn resolve(&self, model: &Model, now: Timestamp, serial: u32) -> (Context, AnyCommand) {
        resolve::resolve(self, model, now, serial)
    }
}

/// A unique secret in the history.
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
            draft,
        } = self;
        write!(f, "[{caller:?} +{wait_ms}] {draft:?}")
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
