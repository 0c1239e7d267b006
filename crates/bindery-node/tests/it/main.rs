//! Promises of an account at work, on a real store whose calls can be held up, made to fail, or made to lose their answer.

mod clock;
mod decisions;
mod diverged;
mod fallback;
mod faulty;
mod follow;
mod forgotten;
mod presence;
mod promises;
