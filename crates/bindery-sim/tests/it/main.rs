//! The simulation as part of the suite: some thousand seeds, the mistakes that it has to find, and the seeds that once failed.

mod planted;
mod seeds;
mod store;
