//! `/v2/api-keys`.

use crate::call::{Answer, Call};
use crate::problem::Problem;
use crate::secret::KeyText;
use crate::wire::api_keys::{ApiKeyCreate, ApiKeyCreated, BotUser, NewKey};

pub(crate) async fn create(call: Call) -> Result<Answer, Problem> {
    let body: ApiKeyCreate = call.body()?;
    let text = KeyText::generate().map_err(|error| {
        tracing::error!(%error, "the system gives no random numbers");
        Problem::internal()
    })?;
    match body.parse(text.secret(), call.ids())? {
        NewKey::User(command) => {
            let key = call.execute(command).await?;
            Answer::json(&ApiKeyCreated::new(&key, &text, None, call.ids()))
        }
        NewKey::Service(command) => {
            let places = command.organizations.clone();
            let (key, bot) = call.execute(command).await?;
            let state = call.account.snapshot();
            let bot = BotUser::new(bot.id, bot.name.as_str(), bot.account_role, &places, &state);
            Answer::json(&ApiKeyCreated::new(&key, &text, Some(bot), call.ids()))
        }
    }
}
