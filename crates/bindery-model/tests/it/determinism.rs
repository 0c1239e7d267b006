//! A command is a function of the state and its context, and a refused one changes nothing.

use proptest::prelude::prop_assert_eq;

use crate::play::Play;
use crate::runner::check;

#[test]
fn the_same_command_on_the_same_state_yields_the_same_changes() {
    check(96, 1..200, |history| {
        Play::new(history).run(history, |play, turn| {
            let again = turn.command.run_on(turn.before, turn.context);
            prop_assert_eq!(&again, turn.engine, "\n{}", play.transcript);
            Ok(())
        })
    });
}

#[test]
fn a_refused_command_leaves_the_model_as_it_was() {
    check(96, 1..200, |history| {
        let mut known = Vec::new();
        Play::new(history).run(history, |play, turn| {
            let records = play.model.records();
            if turn.model.is_err() {
                prop_assert_eq!(&records, &known, "\n{}", play.transcript);
            }
            known = records;
            Ok(())
        })
    });
}
