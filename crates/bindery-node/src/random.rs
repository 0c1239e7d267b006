//! The source of batch numbers: the system, or a test.

use std::fmt;
use std::io;
use std::sync::Arc;

/// Generates random numbers. Cheap to clone.
#[derive(Clone)]
pub struct Random(Arc<dyn Fn() -> io::Result<u64> + Send + Sync>);

impl Random {
    /// The system's generator.
    pub(crate) fn system() -> Self {
        Self::new(|| getrandom::u64().map_err(|error| io::Error::other(error.to_string())))
    }

    /// Numbers from `next`. No two batches may get the same one: it is how a writer recognizes its own batch
    /// in the log.
    pub fn new(next: impl Fn() -> io::Result<u64> + Send + Sync + 'static) -> Self {
        Self(Arc::new(next))
    }

    /// The number of a new batch.
    pub(crate) fn batch(&self) -> io::Result<u64> {
        (self.0)()
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Random(..)")
    }
}
