//! `/v2/api-keys`.

use bindery_core::api_key::ApiKey;
use bindery_core::command::api_keys::{
    CreateUserKey, KeyOrganization, RefreshApiKey, RevokeApiKey,
};
use bindery_core::command::{Command, Context, Counts, Decided};
use bindery_core::query::{KeyFilter, KeyKind};
use bindery_core::refusal::Refusal;
use bindery_core::state::State;
use bindery_core::user::User;

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

/// The outcome of a new key: the key, and for a service key its bot and the bot's memberships.
#[derive(Debug)]
pub(crate) struct NewKeyMade {
    pub(crate) key: ApiKey,
    pub(crate) bot: Option<(User, Vec<KeyOrganization>)>,
}

/// Two commands of the core, one operation.
impl Command for NewKey {
    type Outcome = NewKeyMade;
    const OPERATION: &str = CreateUserKey::OPERATION;
    const COUNTS: Counts = CreateUserKey::COUNTS;

    fn admit(&self, state: &State, context: &Context) -> Result<(), Refusal> {
        match self {
            Self::User(command) => command.admit(state, context),
            Self::Service(command) => command.admit(state, context),
        }
    }

    fn execute(&self, state: &State, context: &Context) -> Result<Decided<NewKeyMade>, Refusal> {
        match self {
            Self::User(command) => {
                let Decided { changes, outcome } = command.execute(state, context)?;
                let outcome = NewKeyMade {
                    key: outcome,
                    bot: None,
                };
                Ok(Decided { changes, outcome })
            }
            Self::Service(command) => {
                let Decided { changes, outcome } = command.execute(state, context)?;
                let (key, bot) = outcome;
                let outcome = NewKeyMade {
                    key,
                    bot: Some((bot, command.organizations.clone())),
                };
                Ok(Decided { changes, outcome })
            }
        }
    }
}

impl ChangeWithSecret for NewKey {
    type Secret = KeyText;

    async fn parse(call: &Call) -> Result<(Self, KeyText), Problem> {
        let body = call.read_body(ApiKeyCreate::read)?;
        let text = KeyText::new()?;
        Ok((body.parse(text.secret(), call.ids())?, text))
    }

    fn render(call: &Call, created: &Self::Outcome, text: &KeyText) -> Result<Answer, Problem> {
        let NewKeyMade { key, bot } = created;
        let bot = bot.as_ref().map(|(bot, places)| {
            let state = call.account.snapshot();
            BotUser::new(bot.id, bot.name.as_str(), bot.account_role, places, &state)
        });
        Answer::json(&ApiKeyCreated::new(key, text, bot, call.ids()))
    }
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
