//! `/bindery/v1/invitations`, `/password-resets` and `/sign-in`: for people without a key. Their link or
//! password is checked here, and again by the command, at the revision of the change.

use std::sync::Arc;

use bindery_core::api_key::SecretHash;
use bindery_core::command::credentials::{AcceptInvitation, CompletePasswordReset, SignIn};
use bindery_core::command::{Caller, Command};
use bindery_core::credential::PasswordHash;
use bindery_core::id::{AccountId, UserId};
use bindery_core::text::Email;
use bindery_core::user::User;
use bindery_node::{Account, StoreCall};

use crate::answer::Answer;
use crate::attempts::{Attempt, Candidate};
use crate::call::{EXECUTE_TIMEOUT, OpenCall};
use crate::password::{Password, Waiting};
use crate::problem::Problem;
use crate::secret::{KeyText, LinkToken};
use crate::wire::sign_in::{
    PasswordChanged, PasswordChoice, PasswordReset, SignInRequest, SignedIn,
};

/// How many accounts are tried for one address; a person in more of them names the account, or uses a link.
const ACCOUNTS_MAX: usize = 4;
/// In how many accounts an address is looked up: not everyone in them has a password.
const ACCOUNTS_SEEN_MAX: usize = 64;

pub(crate) async fn accept_invitation(call: OpenCall) -> Result<Answer, Problem> {
    let (account, user, token) = linked(&call).await?;
    let body: PasswordChoice = call.body()?;
    let password = chosen(&call, &account, user, &body.password).await?;
    let text = KeyText::new()?;
    let command = AcceptInvitation {
        token,
        password,
        secret: text.secret(),
    };
    let (user, key) = execute(&call, &account, user, command).await?;
    remember(&call, &account, &user);
    let state = account.snapshot();
    let answer = SignedIn::new(&user, key.as_ref(), None, &text, state.ids(), call.now);
    Answer::json(&answer)
}

pub(crate) async fn complete_password_reset(call: OpenCall) -> Result<Answer, Problem> {
    let (account, user, token) = linked(&call).await?;
    let body: PasswordReset = call.body()?;
    let command = CompletePasswordReset {
        token,
        password: chosen(&call, &account, user, &body.password).await?,
        end_keys: body.end_keys,
    };
    let living = execute(&call, &account, user, command).await?;
    let state = account.snapshot();
    if let Some(user) = state.user(user) {
        remember(&call, &account, user);
    }
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
        // A temporary password is known to the person who handed it over.
        let why = "is the password that you have; choose another";
        return Err(Problem::field("new_password", why));
    }
    if body.end_keys && new_password.is_none() {
        let why = "ends keys together with the password; send `new_password` too";
        return Err(Problem::field("end_keys", why));
    }
    let offered = Password::offered(&body.password).ok_or_else(Problem::sign_in_refused)?;
    let attempt = call.services.attempts.take_for(&email, call.client)?;
    let account = body.account.map(AccountId);
    let verified = verify(&call, &email, account, offered, &attempt).await;
    let (account, user, verified) = verified.inspect_err(|problem| {
        // Each has cost hashes, which bounds their number; a full queue refuses any number.
        if problem.status() == 401 {
            tracing::warn!(address = call.address, "a sign-in was refused");
        }
    })?;
    let new_password = match new_password {
        Some(password) => {
            let waiting = Waiting::Person(account.id(), user);
            Some(call.services.passwords.hash(waiting, password).await?)
        }
        None => None,
    };
    let text = KeyText::new()?;
    let command = SignIn {
        verified,
        new_password,
        end_keys: body.end_keys,
        secret: text.secret(),
    };
    let (user, key, living) = execute(&call, &account, user, command).await?;
    remember(&call, &account, &user);
    let state = account.snapshot();
    let answer = SignedIn::new(&user, key.as_ref(), living, &text, state.ids(), call.now);
    Answer::json(&answer)
}

/// Remembers that this person proved who they are from this client address.
fn remember(call: &OpenCall, account: &Account, user: &User) {
    if let Some(email) = user.email() {
        let person = (account.id(), user.id);
        call.services.attempts.remember(email, person, call.client);
    }
}

/// The account and person of the link in the path. An unknown link costs no hash.
async fn linked(call: &OpenCall) -> Result<(Arc<Account>, UserId, SecretHash), Problem> {
    call.services.attempts.take_from(call.client)?;
    let token = LinkToken::hash_of(call.path_text("token")).ok_or_else(Problem::expired_link)?;
    let node = &call.services.node;
    let account = node
        .account_of_secret(&token, call.now, call.network)
        .await?;
    let account = account.ok_or_else(Problem::expired_link)?;
    let user = account.snapshot().user_of_link(&token);
    let user = user.ok_or_else(Problem::expired_link)?;
    Ok((account, user, token))
}

/// The password of a body, hashed.
async fn chosen(
    call: &OpenCall,
    account: &Account,
    user: UserId,
    password: &str,
) -> Result<PasswordHash, Problem> {
    let password = Password::choose("password", password)?;
    let waiting = Waiting::Person(account.id(), user);
    call.services.passwords.hash(waiting, password).await
}

/// Finds the person with this password, in this account or in any. The work is the same for every address,
/// known or not, for any number of accounts, and for any password. The store has the hashes; an account is
/// loaded only for a correct password.
async fn verify(
    call: &OpenCall,
    email: &Email,
    account: Option<AccountId>,
    offered: Password,
    attempt: &Attempt,
) -> Result<(Arc<Account>, UserId, PasswordHash), Problem> {
    let (node, attempts) = (&call.services.node, &call.services.attempts);
    let (mut candidates, accounts) = candidates(call, email.clone(), account).await?;
    // In the background.
    drop(attempts.recall(node, email, &candidates));
    attempt.choose(&mut candidates);
    candidates.truncate(ACCOUNTS_MAX);
    let hashes = candidates.iter().map(|(.., hash)| hash.clone()).collect();
    let count = accounts.clamp(1, ACCOUNTS_MAX);
    let passwords = &call.services.passwords;
    let found = passwords.find(attempt.waiting, offered, hashes, count);
    let found = found.await?;
    let found = found.map(|place| candidates.swap_remove(place));
    let (account, user, hash) = found.ok_or_else(Problem::sign_in_refused)?;
    let account = node.wake(account, call.now).await?;
    Ok((account, user, hash))
}

/// Everyone with this address and a password, active people first, and in how many accounts they could be.
async fn candidates(
    call: &OpenCall,
    email: Email,
    account: Option<AccountId>,
) -> Result<(Vec<Candidate>, usize), Problem> {
    let services = Arc::clone(&call.services);
    let known = tokio::task::spawn_blocking(move || {
        let (node, attempts) = (&services.node, &services.attempts);
        let known = node.store().credentials(&email, account, ACCOUNTS_SEEN_MAX);
        let known = node.meters().watch(StoreCall::Lookup, known)?;
        // Accounts are only added: once there are enough, their number is not read any more.
        let accounts = match attempts.accounts() {
            enough if enough >= ACCOUNTS_MAX => enough,
            _ => {
                let heads = node
                    .meters()
                    .watch(StoreCall::Heads, node.store().heads())?;
                attempts.have_accounts(heads.len())
            }
        };
        Ok::<_, bindery_store::StoreError>((known, accounts))
    });
    let known = known.await.map_err(|error| {
        tracing::error!(%error, "a look-up of a person did not finish");
        Problem::internal()
    })?;
    let (known, accounts) = known.map_err(|error| {
        tracing::error!(%error, "the people with an address can't be read");
        Problem::unreadable()
    })?;
    let with_password = known
        .into_iter()
        .filter_map(|(account, known)| Some((account, known.user, known.password?)));
    Ok((with_password.collect(), accounts))
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
    // The revision at which it was made, or a later one.
    let _ = call.answered_at.set(account.snapshot().revision());
    match executed {
        Ok(outcome) => outcome.map_err(|error| match call.services.problem(error) {
            // Another request was faster between the check and the decision.
            problem if problem.status() == 401 => Problem::sign_in_refused(),
            problem => problem,
        }),
        Err(_) => Err(Problem::outcome_unknown()),
    }
}
