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
use bindery_core::id::UserId;
use bindery_core::text::Email;
use bindery_node::Account;

use crate::call::{Answer, EXECUTE_TIMEOUT, OpenCall};
use crate::client_address::household;
use crate::password::Password;
use crate::problem::Problem;
use crate::rate::Rate;
use crate::secret::LinkToken;
use crate::v2::api_keys::new_text;
use crate::wire::sign_in::{PasswordChoice, SignInRequest, SignedIn};

/// How many accounts are tried for one address; someone who is in more of them signs in by link.
const ACCOUNTS_MAX: usize = 4;

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
    let (account, user, token) = linked(&call)?;
    let password = chosen(&call).await?;
    let text = new_text()?;
    let command = AcceptInvitation {
        token,
        password,
        secret: text.secret(),
    };
    let (user, key) = execute(&call, &account, user, command).await?;
    let state = account.snapshot();
    let answer = SignedIn::new(&user, key.as_ref(), &text, state.ids(), call.now);
    Answer::json(&answer)
}

pub(crate) async fn complete_password_reset(call: OpenCall) -> Result<Answer, Problem> {
    let (account, user, token) = linked(&call)?;
    let password = chosen(&call).await?;
    execute(
        &call,
        &account,
        user,
        CompletePasswordReset { token, password },
    )
    .await?;
    Ok(Answer::empty())
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
        secret: text.secret(),
    };
    let (user, key) = execute(&call, &account, user, command).await?;
    let state = account.snapshot();
    let answer = SignedIn::new(&user, key.as_ref(), &text, state.ids(), call.now);
    Answer::json(&answer)
}

/// The account and person of the link in the path. A link that nobody has costs no hash.
fn linked(call: &OpenCall) -> Result<(Arc<Account>, UserId, SecretHash), Problem> {
    let token = LinkToken::hash_of(call.path_text("token"));
    token
        .and_then(|token| {
            call.services
                .node
                .accounts()
                .into_iter()
                .find_map(|account| {
                    let user = account.snapshot().user_of_link(&token)?;
                    Some((account, user, token))
                })
        })
        .ok_or_else(Problem::dead_link)
}

/// The password of the body, hashed.
async fn chosen(call: &OpenCall) -> Result<PasswordHash, Problem> {
    let body: PasswordChoice = call.body()?;
    let password = Password::choose("password", &body.password)?;
    call.services.passwords.hash(password).await
}

/// Whose password this is. One verification at the least, so that an unknown address takes as long as a known one.
async fn verify(
    call: &OpenCall,
    email: &Email,
    offered: Password,
) -> Result<(Arc<Account>, UserId, PasswordHash), Problem> {
    let mut candidates = Vec::new();
    for account in call.services.node.accounts() {
        let state = account.snapshot();
        let user = state.user_by_email(email).map(|user| user.id);
        let credential = user.and_then(|user| state.credential(user));
        let hash = credential.and_then(|credential| credential.password.clone());
        if let (Some(user), Some(hash)) = (user, hash) {
            candidates.push((account, user, hash));
        }
    }
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
            return Ok((account, user, hash));
        }
    }
    Err(Problem::sign_in_refused())
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
    match tokio::time::timeout(EXECUTE_TIMEOUT, executed).await {
        Ok(outcome) => outcome.map_err(|error| match Problem::from(error) {
            // Between verifying and deciding, somebody else was faster.
            problem if problem.status() == 401 => Problem::sign_in_refused(),
            problem => problem,
        }),
        Err(_) => Err(Problem::outcome_unknown()),
    }
}
