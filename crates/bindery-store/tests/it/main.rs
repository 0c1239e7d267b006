//! The stores from outside: the suite that all of them pass, and the tests of each one.

#[cfg(all(feature = "postgres", feature = "sqlite"))]
mod copy;
#[cfg(feature = "sqlite")]
mod damage;
mod entries;
#[cfg(all(feature = "postgres", feature = "sqlite"))]
mod format;
mod fuzzing;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(all(feature = "postgres", feature = "sqlite"))]
mod time_repair;
#[cfg(all(feature = "postgres", feature = "sqlite"))]
mod whole;
