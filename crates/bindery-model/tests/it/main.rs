//! The engine against the naive model, on generated histories; one integration binary.

mod agreement;
mod determinism;
mod effect;
mod explanations;
mod index;
mod inquiry;
mod integrity;
mod lists;
mod planted;
mod play;
mod questions;
mod regressions;
mod replay;
mod runner;
mod walk;
