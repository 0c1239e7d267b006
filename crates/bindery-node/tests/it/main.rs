//! Promises of a loaded account, on a real store whose calls can be held, fail, or lose their response.

mod clock;
mod decisions;
mod diverged;
mod fallback;
mod faulty;
mod follow;
mod forgotten;
mod presence;
mod promises;
