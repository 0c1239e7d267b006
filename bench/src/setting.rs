//! What most parts measure on: the company in memory, its index, and the questions.

use std::time::Instant;

use anyhow::{Result, ensure};
use bindery_core::access::{AccessIndex, AccessWriter};
use bindery_core::state::State;

use crate::changes::{NOW, state};
use crate::machine::resident;
use crate::questions::{Asked, questions};
use crate::say;
use crate::world::World;

pub(crate) struct Setting {
    pub(crate) world: World,
    pub(crate) state: State,
    pub(crate) writer: AccessWriter,
    pub(crate) index: AccessIndex,
    pub(crate) questions: Vec<Asked>,
    /// By how much the memory of the process grew with the state, in octets.
    pub(crate) state_resident: Option<u64>,
}

impl Setting {
    pub(crate) fn new(world: World) -> Result<Self> {
        let begun = Instant::now();
        let before = resident();
        let state = state(&world)?;
        let state_resident = grown(before, resident());
        say(&format!("state: {:.1} s", begun.elapsed().as_secs_f64()));
        let begun = Instant::now();
        let writer = AccessWriter::new(&state);
        say(&format!("index: {:.1} s", begun.elapsed().as_secs_f64()));
        let begun = Instant::now();
        let questions = questions(&world, &state);
        say(&format!(
            "questions: {:.1} s",
            begun.elapsed().as_secs_f64()
        ));
        let index = writer.index();
        let setting = Self {
            world,
            state,
            writer,
            index,
            questions,
            state_resident,
        };
        setting.check()?;
        Ok(setting)
    }

    /// The index answers every question as the state does.
    fn check(&self) -> Result<()> {
        for asked in &self.questions {
            let decided = self.index.decide(&asked.question, NOW);
            let is_allowed = decided.map(|(decision, _)| decision.is_allowed());
            ensure!(
                is_allowed == Some(asked.is_allowed),
                "the index says {is_allowed:?} to {asked:?}"
            );
        }
        Ok(())
    }

    /// Some of the questions: others for every number, until all have had their turn.
    pub(crate) fn window(&self, number: usize, length: usize) -> &[Asked] {
        let windows = self.questions.len() / length;
        let begin = number % windows * length;
        &self.questions[begin..begin + length]
    }

    /// Octets for each role that somebody holds.
    pub(crate) fn per_held(&self, octets: u64) -> f64 {
        octets as f64 / self.world.held.len() as f64
    }
}

pub(crate) fn grown(before: Option<u64>, after: Option<u64>) -> Option<u64> {
    Some(after?.saturating_sub(before?))
}
