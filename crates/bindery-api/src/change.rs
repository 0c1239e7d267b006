//! An operation that changes something, in three steps: its request is read into a command, the account's writer executes the
//! command, and what came of it is rendered. Each step can be had without the others.

use std::future::Future;

use bindery_core::command::Command;

use crate::answer::{Answer, Answering};
use crate::call::Call;
use crate::problem::Problem;

/// A command that an operation is made of.
pub(crate) trait Change: Command<Outcome: Send> + Send + Sized + 'static {
    /// Reads the request.
    fn parse(call: &Call) -> Result<Self, Problem>;

    /// Writes the answer. Without a body, if the operation says nothing else.
    fn render(_: &Call, _: &Self::Outcome) -> Result<Answer, Problem> {
        Ok(Answer::empty())
    }
}

/// The same for a command with a secret: a key, a link or a password, which is kept as a hash, and which its client sees once.
pub(crate) trait ChangeWithSecret: Command<Outcome: Send> + Send + Sized + 'static {
    /// What is shown or sent.
    type Secret: Send + Sync;

    /// Reads the request, and makes the secret.
    fn parse(call: &Call) -> impl Future<Output = Result<(Self, Self::Secret), Problem>> + Send;

    /// Writes the answer.
    fn render(
        call: &Call,
        outcome: &Self::Outcome,
        secret: &Self::Secret,
    ) -> Result<Answer, Problem>;

    /// Sends the mail that belongs to the change.
    fn send_mail(_: &Call, _: &Self::Outcome, _: &Self::Secret) {}
}

/// Makes the change and answers it.
pub(crate) fn perform<C: Change>(call: Call) -> Answering {
    Box::pin(async move {
        let command = C::parse(&call)?;
        let outcome = call.execute(command).await?;
        C::render(&call, &outcome)
    })
}

/// Makes the change, sends its mail and answers it.
pub(crate) fn perform_with_secret<C: ChangeWithSecret>(call: Call) -> Answering {
    Box::pin(async move {
        let (command, secret) = C::parse(&call).await?;
        let outcome = call.execute(command).await?;
        C::send_mail(&call, &outcome, &secret);
        C::render(&call, &outcome, &secret)
    })
}
