//! `/v2/api-keys`.

use bindery_core::api_key::ApiKey;
use bindery_core::command::api_keys::RevokeApiKey;
use bindery_core::query::{KeyFilter, KeyKind};

use crate::call::{Answer, Call};
use crate::problem::Problem;
use crate::secret::KeyText;
use crate::wire::api_keys::{
    ApiKeyCreate, ApiKeyCreated, ApiKeyListed, ApiKeyRefresh, ApiKeyRefreshed, ApiKeys, BotUser,
    KEY_TYPES, NewKey, STATUSES,
};

pub(crate) fn list(call: &Call) -> Result<Answer, Problem> {
    let space = call.query_id("space_id")?;
    let kind = match (call.query.choice("key_type", &KEY_TYPES)?, space) {
        (Some(KeyKind::User), Some(_)) => {
            let why = "USER keys belong to no space; leave out `space_id`, or ask for SERVICE keys";
            return Err(Problem::field("key_type", why));
        }
        (Some(kind), _) => kind,
        (None, None) => KeyKind::User,
        (None, Some(_)) => KeyKind::Service,
    };
    let is_revoked = call.query.choice("status", &STATUSES)?.unwrap_or(false);
    let filter = KeyFilter {
        kind,
        is_revoked,
        space,
        user: call.query_id("user_id")?,
    };
    let cursors = call.cursors();
    let slice = cursors.slice()?;
    let page = call.state.keys(&call.admit()?, &filter, slice)?;
    let listed = |key: &&ApiKey| {
        let last_used_at = call.account.last_use(key.id);
        ApiKeyListed::new(key, last_used_at, &call.state, space.is_none())
    };
    Answer::json(&ApiKeys {
        pagination: cursors.pagination(&page, |key| key.id),
        api_keys: page.items.iter().map(listed).collect(),
    })
}

pub(crate) async fn refresh(call: Call) -> Result<Answer, Problem> {
    let key = call.path_id("api_key_id")?;
    let body = if call.body.is_empty() {
        ApiKeyRefresh::default()
    } else {
        call.body()?
    };
    let text = new_text()?;
    let key = call.execute(body.parse(key, text.secret())?).await?;
    let last_used_at = call.account.last_use(key.id);
    let answer = ApiKeyRefreshed::new(&key, last_used_at, &text, call.ids());
    Answer::json(&answer)
}

pub(crate) async fn revoke(call: Call) -> Result<Answer, Problem> {
    let key = call.path_id("api_key_id")?;
    call.execute(RevokeApiKey { key }).await?;
    Ok(Answer::empty())
}

pub(crate) async fn create(call: Call) -> Result<Answer, Problem> {
    let body = call.read_body(ApiKeyCreate::read)?;
    let text = new_text()?;
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

pub(crate) fn new_text() -> Result<KeyText, Problem> {
    KeyText::generate().map_err(|error| {
        tracing::error!(%error, "the system gives no random numbers");
        Problem::internal()
    })
}
