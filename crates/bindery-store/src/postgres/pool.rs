//! A few connections for many threads. A connection is made on demand, kept while it is valid, and dropped
//! when it broke or was left inside a transaction.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::address::Address;
use super::connection::Connection;
use crate::tables::Failure;

/// How long a thread waits for a connection.
const POOL_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) struct Pool {
    address: Arc<Address>,
    statement_timeout: Duration,
    connections_max: usize,
    held: Mutex<Connections>,
    returned: Condvar,
}

#[derive(Default)]
struct Connections {
    idle: Vec<Connection>,
    /// How many there are, including idle ones.
    open: usize,
}

/// A connection until it is dropped.
pub(super) struct Lease<'a> {
    pool: &'a Pool,
    /// `None` only while it is dropped.
    connection: Option<Connection>,
    /// Whether it was used before, and may have broken since.
    is_used: bool,
}

impl Pool {
    pub(super) fn new(
        address: Arc<Address>,
        statement_timeout: Duration,
        connections_max: usize,
    ) -> Self {
        Self {
            address,
            statement_timeout,
            connections_max,
            held: Mutex::default(),
            returned: Condvar::new(),
        }
    }

    /// Runs something that changes nothing, or has not yet.
    pub(super) fn read<T>(
        &self,
        mut work: impl FnMut(&mut Connection) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.start(&mut work).map(|(_, done)| done)
    }

    /// Runs the first step on a connection, and returns both. A connection that broke while idle, as all do
    /// when a database is restarted, is replaced once; so the step may run twice.
    pub(super) fn start<T>(
        &self,
        mut step: impl FnMut(&mut Connection) -> Result<T, Failure>,
    ) -> Result<(Lease<'_>, T), Failure> {
        let mut lease = self.take()?;
        match step(&mut lease) {
            Err(_) if lease.is_used && lease.is_lost() => {
                // The others have most likely broken with it.
                self.forget_idle();
                drop(lease);
                let mut lease = self.take()?;
                let done = step(&mut lease)?;
                Ok((lease, done))
            }
            Err(failure) => Err(failure),
            Ok(done) => Ok((lease, done)),
        }
    }

    fn take(&self) -> Result<Lease<'_>, Failure> {
        let held = self.held();
        let waited = self
            .returned
            .wait_timeout_while(held, POOL_TIMEOUT, |held| {
                held.idle.is_empty() && held.open >= self.connections_max
            });
        let (mut held, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let idle = held.idle.pop();
        if idle.is_none() {
            if held.open >= self.connections_max {
                let seconds = POOL_TIMEOUT.as_secs();
                let message = format!("no connection was free within {seconds} s");
                return Err(Failure::Database(message.into()));
            }
            held.open += 1;
        }
        drop(held);
        let is_used = idle.is_some();
        let mut lease = Lease {
            pool: self,
            connection: idle,
            is_used,
        };
        if lease.connection.is_none() {
            // If this fails, dropping the lease frees the place.
            let made = Connection::open(&self.address, self.statement_timeout, None)?;
            lease.connection = Some(made);
        }
        Ok(lease)
    }

    fn forget_idle(&self) {
        let mut held = self.held();
        held.open -= held.idle.len();
        let forgotten = std::mem::take(&mut held.idle);
        drop(held);
        drop(forgotten);
        self.returned.notify_all();
    }

    fn held(&self) -> MutexGuard<'_, Connections> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let reusable = self.connection.take().filter(Connection::is_reusable);
        let mut held = self.pool.held();
        match reusable {
            Some(connection) => held.idle.push(connection),
            None => held.open -= 1,
        }
        drop(held);
        self.pool.returned.notify_one();
    }
}

impl Deref for Lease<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
            .as_ref()
            .expect("it is there until it is dropped")
    }
}

impl DerefMut for Lease<'_> {
    fn deref_mut(&mut self) -> &mut Connection {
        self.connection
            .as_mut()
            .expect("it is there until it is dropped")
    }
}
