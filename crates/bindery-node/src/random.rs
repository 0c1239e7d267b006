//! Where the numbers of batches come from: the system, or a test.

use std::fmt;
use std::io;
use std::sync::Arc;

/// Gives random numbers. Cheap to clone.
#[derive(Clone)]
pub struct Random(Arc<dyn Fn() -> io::Result<u64> + Send + Sync>);

impl Random {
    /// The system's.
    pub(crate) fn system() -> Self {
        Self::new(|| getrandom::u64().map_err(|error| io::Error::other(error.to_string())))
    }

    /// Those that `next` gives. No two batches may ever get the same: it is how a writer knows its own among the others'.
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
