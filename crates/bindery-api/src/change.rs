//! An operation that changes something, in three steps: parse the request into a command, let the account's
//! writer execute it, render the outcome. Each step can be used alone.

use std::future::Future;

use bindery_core::command::{AnyCommand, Command};

use crate::answer::{Answer, Answering};
use crate::call::Call;
use crate::problem::Problem;

/// The command of an operation.
pub(crate) trait Change: Command<Outcome: Send> + Into<AnyCommand> + Send + 'static {
    /// Parses the request.
    fn parse(call: &Call) -> Result<Self, Problem>;

    /// Renders the outcome. By default the response has no body.
    fn render(_: &Call, _: &Self::Outcome) -> Result<Answer, Problem> {
        Ok(Answer::empty())
    }
}

/// The same for a command with a secret: a key, a link or a password. The store keeps its hash. A key
/// or password is in the response once; a link is in the e-mail only.
pub(crate) trait ChangeWithSecret:
    Command<Outcome: Send> + Into<AnyCommand> + Send + 'static
{
    /// What is shown or sent.
    type Secret: Send + Sync;

    /// Parses the request, and generates the secret.
    fn parse(call: &Call) -> impl Future<Output = Result<(Self, Self::Secret), Problem>> + Send;

    /// Renders the outcome.
    fn render(
        call: &Call,
        outcome: &Self::Outcome,
        secret: &Self::Secret,
    ) -> Result<Answer, Problem>;

    /// Sends the e-mail of the change.
    fn send_mail(_: &Call, _: &Self::Outcome, _: &Self::Secret) {}
}

/// Makes the change and renders it.
pub(crate) fn perform<C: Change>(call: Call) -> Answering {
    Box::pin(async move {
        let command = C::parse(&call)?;
        let outcome = call.execute(command).await?;
        C::render(&call, &outcome)
    })
}

/// Makes the change, sends its e-mail and renders it.
pub(crate) fn perform_with_secret<C: ChangeWithSecret>(call: Call) -> Answering {
    Box::pin(async move {
        let (command, secret) = C::parse(&call).await?;
        let outcome = call.execute(command).await?;
        C::send_mail(&call, &outcome, &secret);
        C::render(&call, &outcome, &secret)
    })
}
