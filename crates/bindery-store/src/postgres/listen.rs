//! Notifications of other nodes' appends: a separate connection that listens. It carries no data, and may
//! break.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bindery_core::id::AccountId;
use tokio::sync::mpsc;

use super::address::Address;
use super::connection::{Connection, WRITE_TIMEOUT};
use crate::Wake;
use crate::tables::Failure;

/// The pause before the next attempt to listen.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

pub(super) struct Listener {
    address: Arc<Address>,
    /// Distinguishes our own notifications from those of others.
    node: u64,
    ear: Mutex<Option<Ear>>,
}

struct Ear {
    connection: Connection,
    heard: mpsc::UnboundedReceiver<String>,
}

impl Listener {
    pub(super) fn new(address: Arc<Address>, node: u64) -> Self {
        Self {
            address,
            node,
            ear: Mutex::default(),
        }
    }

    /// The notification of an append: the account's number, and the node.
    pub(super) fn note(&self, account: AccountId) -> String {
        format!("{} {:x}", account.0, self.node)
    }

    /// [`crate::Store::watch`].
    pub(super) fn watch(&self, timeout: Duration) -> Wake {
        let until = Instant::now() + timeout;
        let mut ear = self.ear.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(listening) = ear.as_mut() else {
            *ear = self.begin(until);
            return Wake::Missed;
        };
        let mut accounts = BTreeSet::new();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Ear { connection, heard } = listening;
            let Some(note) = connection.listen(left, heard.recv()) else {
                break;
            };
            accounts.extend(self.account_of_another(&note));
            // All notifications that have arrived, so that each account is read once.
            while let Ok(note) = heard.try_recv() {
                accounts.extend(self.account_of_another(&note));
            }
            if !accounts.is_empty() {
                return Wake::Appended(accounts);
            }
        }
        if listening.connection.is_lost() {
            *ear = self.begin(until);
            return Wake::Missed;
        }
        Wake::Quiet
    }

    /// `None` after the timeout.
    fn begin(&self, until: Instant) -> Option<Ear> {
        loop {
            if let Ok(ear) = self.listen() {
                return Some(ear);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            std::thread::sleep(left.min(RETRY_PAUSE));
        }
    }

    fn listen(&self) -> Result<Ear, Failure> {
        let (say, heard) = mpsc::unbounded_channel();
        let mut connection = Connection::open(&self.address, WRITE_TIMEOUT, Some(&say))?;
        connection.batch("LISTEN bindery")?;
        Ok(Ear { connection, heard })
    }

    /// `None` for our own, and for unknown ones.
    fn account_of_another(&self, said: &str) -> Option<AccountId> {
        let (account, node) = said.split_once(' ')?;
        let node = u64::from_str_radix(node, 16).ok()?;
        let account = account.parse().ok()?;
        (node != self.node).then_some(AccountId(account))
    }
}
