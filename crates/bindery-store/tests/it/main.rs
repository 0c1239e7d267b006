//! The stores from outside: the suite that all of them pass, and what is a matter of each one's own.

mod entries;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;
