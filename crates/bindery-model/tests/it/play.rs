//! Plays a history: each command runs on the engine and on the model, side by side.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bindery_core::access::AccessWriter;
use bindery_core::change::{Change, Entry, OneOperation};
use bindery_core::command::AnyCommand;
use bindery_core::command::{Caller, Context};
use bindery_core::id::Kind;
use bindery_core::refusal::Refusal;
use bindery_core::state::State;
use bindery_core::time::Timestamp;
use bindery_model::history::{History, START};
use bindery_model::model::Model;
use proptest::test_runner::TestCaseResult;

/// Both sides after some commands, and their history.
#[derive(Debug)]
pub(crate) struct Play {
    pub(crate) state: State,
    /// The index, updated change by change.
    pub(crate) access: AccessWriter,
    pub(crate) model: Model,
    /// The time of the last command.
    pub(crate) now: Timestamp,
    /// The log.
    pub(crate) entries: Vec<Entry>,
    /// The current records, as a store folds them.
    pub(crate) records: BTreeMap<(Kind, u32), Change>,
    /// The commands and their results, a line each.
    pub(crate) transcript: String,
}

/// One command and its result on both sides.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    pub(crate) context: &'a Context,
    pub(crate) command: &'a AnyCommand,
    /// The engine before the command.
    pub(crate) before: &'a State,
    /// The result of the engine.
    pub(crate) engine: &'a Result<Vec<Change>, Refusal>,
    /// The result of the model.
    pub(crate) model: &'a Result<(), Refusal>,
}

impl Play {
    /// Plays the whole history.
    pub(crate) fn of(history: &History) -> Self {
        let mut play = Self::new(history);
        play.run(history, |_, _| Ok(()))
            .expect("nothing was checked");
        play
    }

    /// An empty account.
    pub(crate) fn new(history: &History) -> Self {
        let state = State::new(history.account());
        Self {
            access: AccessWriter::new(&state),
            state,
            model: Model::new(history.account()),
            now: START,
            entries: Vec::new(),
            records: BTreeMap::new(),
            transcript: String::new(),
        }
    }

    /// Plays the history, and checks after each command.
    pub(crate) fn run(
        &mut self,
        history: &History,
        mut check: impl FnMut(&Self, &Turn<'_>) -> TestCaseResult,
    ) -> TestCaseResult {
        let (context, command) = history.founding();
        self.take(&context, &command, &mut check)?;
        for (step, serial) in history.steps.iter().zip(1..) {
            let now = Timestamp::from_millis(self.now.as_millis() + i64::from(step.wait_ms));
            let (context, command) = step.resolve(&self.model, now, serial);
            self.take(&context, &command, &mut check)?;
        }
        Ok(())
    }

    fn take(
        &mut self,
        context: &Context,
        command: &AnyCommand,
        check: &mut impl FnMut(&Self, &Turn<'_>) -> TestCaseResult,
    ) -> TestCaseResult {
        let before = self.state.clone();
        let engine = command.run_on(&before, context);
        let model = self.model.run(context, command);
        self.now = context.now;
        self.tell(context, command, &engine);
        if let Ok(changes) = &engine {
            self.advance(context, command, changes);
        }
        let turn = Turn {
            context,
            command,
            before: &before,
            engine: &engine,
            model: &model,
        };
        check(self, &turn)
    }

    fn advance(&mut self, context: &Context, command: &AnyCommand, changes: &[Change]) {
        if changes.is_empty() {
            return;
        }
        let (by, key) = match context.caller {
            Caller::Operator => (None, None),
            Caller::Person(user) => (Some(user), None),
            Caller::Key { user, key } => (Some(user), Some(key)),
        };
        let revision = self.state.revision().next();
        let entry = Entry::from(OneOperation {
            revision,
            at: context.now,
            by,
            key,
            operation: command.operation().to_owned(),
            batch: revision.0,
            changes: changes.to_vec(),
        });
        let mut touched = Vec::new();
        self.state.advance_noting(&entry, &mut touched);
        self.access.advance(&self.state, &touched, || {});
        for change in changes {
            fold(&mut self.records, change);
        }
        self.entries.push(entry);
    }

    fn tell(
        &mut self,
        context: &Context,
        command: &AnyCommand,
        engine: &Result<Vec<Change>, Refusal>,
    ) {
        let caller = match context.caller {
            Caller::Operator => "operator".to_owned(),
            Caller::Person(user) => format!("{user:?} in person"),
            Caller::Key { user, key } => format!("{user:?} {key:?}"),
        };
        let at = context.now.as_millis() - START.as_millis();
        let outcome = match engine {
            Ok(changes) => format!("{} changes", changes.len()),
            Err(refusal) => format!("{refusal:?}"),
        };
        // Writing to a string can't fail.
        let _ = writeln!(
            self.transcript,
            "  {at} ms, {caller}: {command:?} => {outcome}"
        );
    }
}

/// What a store does with a change: it replaces or removes the record of its key.
pub(crate) fn fold(records: &mut BTreeMap<(Kind, u32), Change>, change: &Change) {
    if change.is_delete() {
        records.remove(&change.key());
    } else {
        records.insert(change.key(), change.clone());
    }
}
