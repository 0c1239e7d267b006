//! `/bindery/v1/invitations`, `/password-resets` and `/sign-in`: for people who have no key. What they prove themselves with is
//! checked here, and again by the command, at the revision of the change.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bindery_core::api_key::SecretHash;
use bindery_core::command::credentials::{AcceptInvitation, CompletePasswordReset, SignIn};
use bindery_core::command::{Caller, Command};
use bindery_core::credential::PasswordHash;
use bindery_core::id::{AccountId, UserId};
use bindery_core::text::Email;
use bindery_node::{Account, Node, StoreCall};

use crate::call::{Answer, EXECUTE_TIMEOUT, OpenCall};
use crate::client_address::household;
use crate::password::Password;
use crate::problem::Problem;
use crate::rate::Rate;
use crate::secret::LinkToken;
use crate::v2::api_keys::new_text;
use crate::wire::sign_in::{
    PasswordChanged, PasswordChoice, PasswordReset, SignInRequest, SignedIn,
};

/// How many accounts are tried for one address; someone who is in more of them signs in by link.
const ACCOUNTS_MAX: usize = 4;
/// In how many an address is looked for: not everyone in them has a password.
const ACCOUNTS_SEEN_MAX: usize = 64;

/// How often anyone may try to get in. Each attempt costs a password's hash.
#[derive(Debug)]
pub(crate) struct Attempts {
    by_email: Rate<String>,
    by_address: Rate<IpAddr>,
}

impl Attempts {
    /// Ten at once for an e-mail address, then one in 30 s; a hundred from an IP address (of IPv6, from all with the same first half:
    /// so many a customer has), then one a second.
    pub(crate) fn new() -> Self {
        let burst = |attempts| NonZeroU32::new(attempts).unwrap_or(NonZeroU32::MIN);
        Self {
            by_email: Rate::refilling(burst(10), Duration::from_secs(30)),
            by_address: Rate::refilling(burst(100), Duration::from_secs(1)),
        }
    }

    /// An attempt from this IP address; taken before anything is read.
    pub(crate) fn take_from(&self, address: IpAddr) -> Result<(), Problem> {
        self.by_address
            .take(&household(address))
            .map_err(Problem::too_many_sign_ins)
    }

    /// An attempt on behalf of this e-mail address.
    fn take_for(&self, email: &Email) -> Result<(), Problem> {
        self.by_email
            .take(&email.folded())
            .map_err(Problem::too_many_sign_ins)
    }

    /// Forgets whoever hasn't tried for a while.
    pub(crate) fn tidy(&self) {
        self.by_email.tidy();
        self.by_address.tidy();
    }
}

pub(crate) async fn accept_invitation(call: OpenCall) -> Result<Answer, Problem> {
    let (account, user, token) = linked(&call).await?;
    let body: PasswordChoice = call.body()?;
    let password = chosen(&call, &body.password).await?;
    let text = new_text()?;
    let command = AcceptInvitation {
        token,
        password,
        secret: text.secret(),
    };
    let (user, key) = execute(&call, &account, user, command).await?;
    let state = account.snapshot();
    let answer = SignedIn::new(&user, key.as_ref(), None, &text, state.ids(), call.now);
    Answer::json(&answer)
}

pub(crate) async fn complete_password_reset(call: OpenCall) -> Result<Answer, Problem> {
    let (account, user, token) = linked(&call).await?;
    let body: PasswordReset = call.body()?;
    let command = CompletePasswordReset {
        token,
        password: chosen(&call, &body.password).await?,
        end_keys: body.end_keys,
    };
    let living = execute(&call, &account, user, command).await?;
    Answer::json(&PasswordChanged {
        living_keys: living.into(),
    })
}

pub(crate) async fn sign_in(call: OpenCall) -> Result<Answer, Problem> {
    let body: SignInRequest = call.body()?;
    let email = Email::parse(&body.email).map_err(|error| Problem::field("email", error))?;
    let new_password = body.new_password.as_deref();
    let new_password = new_password.map(|text| Password::choose("new_password", text));
    let new_password = new_password.transpose()?;
    if body.new_password.as_ref() == Some(&body.password) {
        // A temporary one is known to whoever handed it over.
        let why = "is the password that you have; choose another";
        return Err(Problem::field("new_password", why));
    }
    if body.end_keys && new_password.is_none() {
        let why = "ends keys together with the password; send `new_password` too";
        return Err(Problem::field("end_keys", why));
    }
    let offered = Password::offered(&body.password).ok_or_else(Problem::sign_in_refused)?;
    call.services.attempts.take_for(&email)?;
    let verified = verify(&call, &email, offered).await;
    let (account, user, verified) = verified.inspect_err(|problem| {
        let status = problem.status();
        tracing::warn!(address = call.address, status, "a sign-in was refused");
    })?;
    let new_password = match new_password {
        Some(password) => Some(call.services.passwords.hash(password).await?),
        None => None,
    };
    let text = new_text()?;
    let command = SignIn {
        verified,
        new_password,
        end_keys: body.end_keys,
        secret: text.secret(),
    };
    let (user, key, living) = execute(&call, &account, user, command).await?;
    let state = account.snapshot();
    let answer = SignedIn::new(&user, key.as_ref(), living, &text, state.ids(), call.now);
    Answer::json(&answer)
}

/// The account and person of the link in the path. A link that nobody has costs no hash.
async fn linked(call: &OpenCall) -> Result<(Arc<Account>, UserId, SecretHash), Problem> {
    let token = LinkToken::hash_of(call.path_text("token")).ok_or_else(Problem::dead_link)?;
    let node = &call.services.node;
    let account = node
        .account_of_secret(&token, call.now, call.network)
        .await?;
    let account = account.ok_or_else(Problem::dead_link)?;
    let user = account.snapshot().user_of_link(&token);
    let user = user.ok_or_else(Problem::dead_link)?;
    Ok((account, user, token))
}

/// The password of a body, hashed.
async fn chosen(call: &OpenCall, password: &str) -> Result<PasswordHash, Problem> {
    let password = Password::choose("password", password)?;
    call.services.passwords.hash(password).await
}

/// Whose password this is. One verification at the least, so that an unknown address takes as long as a known one; for the same
/// reason the store is asked what people prove themselves with, and only whoever has is worth loading an account.
async fn verify(
    call: &OpenCall,
    email: &Email,
    offered: Password,
) -> Result<(Arc<Account>, UserId, PasswordHash), Problem> {
    let node = &call.services.node;
    let candidates = candidates(node, email.clone()).await?;
    if candidates.is_empty() {
        call.services.passwords.verify(offered, None).await?;
        return Err(Problem::sign_in_refused());
    }
    for (account, user, hash) in candidates.into_iter().take(ACCOUNTS_MAX) {
        if call
            .services
            .passwords
            .verify(offered.clone(), Some(&hash))
            .await?
        {
            let account = node.wake(account, call.now).await?;
            return Ok((account, user, hash));
        }
    }
    Err(Problem::sign_in_refused())
}

/// Everyone with this address who has a password.
async fn candidates(
    node: &Arc<Node>,
    email: Email,
) -> Result<Vec<(AccountId, UserId, PasswordHash)>, Problem> {
    let asked = Arc::clone(node);
    let known = tokio::task::spawn_blocking(move || {
        let known = asked.store().credentials(&email, ACCOUNTS_SEEN_MAX);
        asked.meters().watch(StoreCall::Lookup, known)
    });
    let known = known.await.map_err(|error| {
        tracing::error!(%error, "a look for a person did not come to its end");
        Problem::internal()
    })?;
    let known = known.map_err(|error| {
        tracing::error!(%error, "who has an address can't be read");
        Problem::unreadable()
    })?;
    let with_password = known
        .into_iter()
        .filter_map(|(account, known)| Some((account, known.user, known.password?)));
    Ok(with_password.collect())
}

async fn execute<C>(
    call: &OpenCall,
    account: &Account,
    user: UserId,
    command: C,
) -> Result<C::Outcome, Problem>
where
    C: Command + Send + 'static,
    C::Outcome: Send,
{
    let caller = Caller::Person(user);
    let executed = account.execute(command, caller, Some(call.audit()));
    let executed = tokio::time::timeout(EXECUTE_TIMEOUT, executed).await;
    // The one at which it was made, or a later one.
    let _ = call.answered_at.set(account.snapshot().revision());
    match executed {
        Ok(outcome) => outcome.map_err(|error| match call.services.problem(error) {
            // Between verifying and deciding, somebody else was faster.
            problem if problem.status() == 401 => Problem::sign_in_refused(),
            problem => problem,
        }),
        Err(_) => Err(Problem::outcome_unknown()),
    }
}
