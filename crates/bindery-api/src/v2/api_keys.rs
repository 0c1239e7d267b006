//! `/v2/api-keys`.

use bindery_core::api_key::ApiKey;
use bindery_core::command::api_keys::{RefreshApiKey, RevokeApiKey};
use bindery_core::query::{KeyFilter, KeyKind};

use crate::answer::Answer;
use crate::call::Call;
use crate::change::{Change, ChangeWithSecret};
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
            let why = "USER keys belong to no space; leave out `space_id`, or list SERVICE keys";
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
    let page = call.state.reader(call.admit()?).keys(&filter, slice)?;
    let listed = |key: &&ApiKey| {
        let last_used_at = call.account.last_use(key.id);
        ApiKeyListed::new(key, last_used_at, &call.state, space.is_none())
    };
    Answer::json(&ApiKeys {
        pagination: cursors.pagination(&page, |key| key.id),
        api_keys: page.items.iter().map(listed).collect(),
    })
}

/// A key of either kind: two commands, one operation.
pub(crate) async fn create(call: Call) -> Result<Answer, Problem> {
    let text = KeyText::new()?;
    let new = call
        .read_body(ApiKeyCreate::read)?
        .parse(text.secret(), call.ids())?;
    let (key, bot) = match new {
        NewKey::User(command) => (call.execute(command).await?, None),
        NewKey::Service(command) => {
            let places = command.organizations.clone();
            let (key, bot) = call.execute(command).await?;
            let state = call.account.snapshot();
            let (name, role) = (bot.name.as_str(), bot.account_role);
            let bot = BotUser::new(bot.id, name, role, &places, &state);
            (key, Some(bot))
        }
    };
    Answer::json(&ApiKeyCreated::new(&key, &text, bot, call.ids()))
}

impl ChangeWithSecret for RefreshApiKey {
    type Secret = KeyText;

    async fn parse(call: &Call) -> Result<(Self, KeyText), Problem> {
        let key = call.path_id("api_key_id")?;
        let body = if call.body.is_empty() {
            ApiKeyRefresh::default()
        } else {
            call.body()?
        };
        let text = KeyText::new()?;
        Ok((body.parse(key, text.secret())?, text))
    }

    fn render(call: &Call, key: &Self::Outcome, text: &KeyText) -> Result<Answer, Problem> {
        let last_used_at = call.account.last_use(key.id);
        Answer::json(&ApiKeyRefreshed::new(key, last_used_at, text, call.ids()))
    }
}

impl Change for RevokeApiKey {
    fn parse(call: &Call) -> Result<Self, Problem> {
        let key = call.path_id("api_key_id")?;
        Ok(Self { key })
    }
}
