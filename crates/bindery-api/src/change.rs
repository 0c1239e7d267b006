//! An operation that changes something, in three steps: its request is read into a command, the account's writer executes the
//! command, and what came of it is rendered. Each step can be had without the others.

use std::future::Future;

use bindery_core::api_key::{Secret, SecretHash};
use bindery_core::command::Command;
use bindery_core::credential::PasswordHash;

use crate::answer::{Answer, Answering};
use crate::call::Call;
use crate::password::Password;
use crate::problem::Problem;
use crate::secret::{KeyText, LinkToken};

/// A command that an operation is made of.
pub(crate) trait Change: Command<Outcome: Send> + Send + Sized + 'static {
    /// Makes what takes long: the hash of a password.
    fn prepare(_: &Call) -> impl Future<Output = Result<Secrets, Problem>> + Send {
        std::future::ready(Ok(Secrets::default()))
    }

    /// Reads the request. What must be kept secret is made on the way.
    fn parse(call: &Call, secrets: &mut Secrets) -> Result<Self, Problem>;

    /// Writes the answer, with the secrets that it alone shows. Without a body, if the operation says nothing else.
    fn render(_: &Call, _: &Self::Outcome, _: &Secrets) -> Result<Answer, Problem> {
        Ok(Answer::empty())
    }

    /// Sends the mail that belongs to the change.
    fn send_mail(_: &Call, _: &Self::Outcome, _: &Secrets) {}
}

/// What is made for a command and kept as a hash. The client sees it once.
#[derive(Debug, Default)]
pub(crate) struct Secrets {
    key: Option<KeyText>,
    link: Option<LinkToken>,
    password: Option<(Password, PasswordHash)>,
}

impl Secrets {
    /// With a temporary password and its hash.
    pub(crate) fn with_password(password: Password, hash: PasswordHash) -> Self {
        Self {
            password: Some((password, hash)),
            ..Self::default()
        }
    }

    /// A new key.
    pub(crate) fn make_key(&mut self) -> Result<Secret, Problem> {
        let text = KeyText::new()?;
        Ok(self.key.insert(text).secret())
    }

    /// A new link.
    pub(crate) fn make_link(&mut self) -> Result<SecretHash, Problem> {
        Ok(self.link.insert(LinkToken::generate()?).hash())
    }

    /// The hash of the temporary password that was prepared.
    pub(crate) fn password_hash(&self) -> Result<PasswordHash, Problem> {
        let (_, hash) = self.password.as_ref().ok_or_else(Problem::internal)?;
        Ok(hash.clone())
    }

    /// The key that was made.
    pub(crate) fn key(&self) -> Result<&KeyText, Problem> {
        self.key.as_ref().ok_or_else(Problem::internal)
    }

    /// The link that was made, if there is one.
    pub(crate) fn link(&self) -> Option<&LinkToken> {
        self.link.as_ref()
    }

    /// The temporary password that was made, if there is one.
    pub(crate) fn password(&self) -> Option<&Password> {
        self.password.as_ref().map(|(password, _)| password)
    }
}

/// Makes the change and answers it.
pub(crate) fn perform<C: Change>(call: Call) -> Answering {
    Box::pin(async move {
        let mut secrets = C::prepare(&call).await?;
        let command = C::parse(&call, &mut secrets)?;
        let outcome = call.execute(command).await?;
        C::send_mail(&call, &outcome, &secrets);
        C::render(&call, &outcome, &secrets)
    })
}
