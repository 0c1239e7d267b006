//! How big the company is.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::row::Goal;

/// Ten thousand, a million or ten million roles held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
pub(crate) enum Size {
    S,
    M,
    L,
}

impl Size {
    pub(crate) const ALL: [Self; 3] = [Self::S, Self::M, Self::L];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::S => "S",
            Self::M => "M",
            Self::L => "L",
        }
    }

    pub(crate) const fn users(self) -> u32 {
        match self {
            Self::S => 1_000,
            Self::M => 100_000,
            Self::L => 1_000_000,
        }
    }

    pub(crate) const fn organizations(self) -> u32 {
        self.spaces() / 50
    }

    pub(crate) const fn spaces(self) -> u32 {
        match self {
            Self::S => 100,
            Self::M => 2_000,
            Self::L => 10_000,
        }
    }

    pub(crate) const fn projects(self) -> u32 {
        10 * self.spaces()
    }

    /// How many questions there are: enough that what they ask about falls out of the caches.
    pub(crate) const fn questions(self) -> usize {
        match self {
            Self::S => 1 << 16,
            Self::M => 1 << 18,
            Self::L => 1 << 20,
        }
    }

    /// A goal that is set for the largest size only: the memory counts there, and nowhere else.
    pub(crate) const fn at_large(self, goal: Goal) -> Goal {
        match self {
            Self::L => goal,
            Self::S | Self::M => Goal::Open,
        }
    }
}
