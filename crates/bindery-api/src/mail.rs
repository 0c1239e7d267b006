//! Mail: invitations and links to choose a new password. Sent in the background, so that no answer waits for a mail server; what
//! can't be delivered is told to the log, without the link.

use std::fmt;

use bindery_core::credential::PASSWORD_RESET_SECONDS;
use bindery_core::text::Email;
use bindery_core::user::INVITATION_SECONDS;
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use tokio_util::task::TaskTracker;

use crate::secret::LinkToken;

/// How letters leave.
#[derive(Clone, Debug)]
pub struct MailSettings {
    /// `smtp://` or `smtps://`, with user, password, host and port; `?tls=required` for STARTTLS.
    pub smtp_url: String,
    /// The sender, like `Bindery <bindery@example.com>`.
    pub from: String,
}

/// Why a mail server can't be used. Never carries the URL, which has a password in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MailSettingsError {
    /// The URL is none of a mail server.
    #[error(
        "the SMTP URL can't be read ({0}); expected smtp://[user:password@]host[:port][?tls=required] or smtps://…"
    )]
    Url(String),
    /// The sender is no address.
    #[error("`{0}` is no sender; expected one like `Bindery <bindery@example.com>`")]
    From(String),
}

/// What a letter is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Letter {
    Invitation,
    PasswordReset,
}

/// Sends letters, or says in the log that it would have.
pub struct Mailer {
    server: Option<(AsyncSmtpTransport<Tokio1Executor>, Mailbox)>,
    /// Where clients reach this server, without a slash at the end.
    public_url: String,
    under_way: TaskTracker,
}

impl fmt::Debug for Mailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailer")
            .field("public_url", &self.public_url)
            .field("has_server", &self.server.is_some())
            .finish_non_exhaustive()
    }
}

impl Mailer {
    /// With a mail server, or without: then letters are only mentioned in the log. Links begin with `public_url`.
    pub fn new(
        settings: Option<&MailSettings>,
        public_url: &str,
    ) -> Result<Self, MailSettingsError> {
        let server = settings.map(|settings| {
            let from = settings.from.parse();
            let from = from.map_err(|_| MailSettingsError::From(settings.from.clone()))?;
            let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(&settings.smtp_url)
                .map_err(|error| MailSettingsError::Url(error.to_string()))?;
            Ok((transport.build(), from))
        });
        Ok(Self {
            server: server.transpose()?,
            public_url: public_url.trim_end_matches('/').to_owned(),
            under_way: TaskTracker::new(),
        })
    }

    /// Sends a letter in the background.
    pub(crate) fn send(&self, letter: Letter, to: &Email, account: &str, token: &LinkToken) {
        let Some((transport, from)) = &self.server else {
            tracing::info!(
                %to,
                ?letter,
                "a letter was not sent: no mail server is configured (--smtp-url)"
            );
            return;
        };
        let message = match self.write(letter, from, to, account, token) {
            Ok(message) => message,
            Err(error) => {
                tracing::error!(%to, ?letter, %error, "a letter can't be written");
                return;
            }
        };
        let (transport, to) = (transport.clone(), to.clone());
        self.under_way.spawn(async move {
            match transport.send(message).await {
                Ok(_) => tracing::info!(%to, ?letter, "a letter was sent"),
                // What a mail server says may repeat what it was sent, so only its code is told.
                Err(error) => {
                    let status = error.status().map(|code| code.to_string());
                    let kind = if error.is_timeout() {
                        "it took too long"
                    } else if error.is_response() {
                        "the server refused it"
                    } else {
                        "the server can't be reached"
                    };
                    tracing::error!(%to, ?letter, kind, status, "a letter was not sent");
                }
            }
        });
    }

    /// Waits until every letter under way has left or failed.
    pub(crate) async fn finish(&self) {
        self.under_way.close();
        self.under_way.wait().await;
    }

    fn write(
        &self,
        letter: Letter,
        from: &Mailbox,
        to: &Email,
        account: &str,
        token: &LinkToken,
    ) -> Result<Message, Box<dyn std::error::Error + Send + Sync>> {
        let (subject, text) = letter.text(&self.public_url, account, token);
        let message = Message::builder()
            .from(from.clone())
            .to(to.as_str().parse()?)
            .subject(subject)
            .header(ContentType::TEXT_PLAIN)
            .body(text)?;
        Ok(message)
    }
}

impl Letter {
    /// Subject and text. The token stands behind `#`, which browsers keep to themselves.
    fn text(self, public_url: &str, account: &str, token: &LinkToken) -> (String, String) {
        let token = token.reveal();
        match self {
            Self::Invitation => {
                let days = INVITATION_SECONDS / 86_400;
                (
                    format!("You are invited to {account}"),
                    format!(
                        "You are invited to {account}. To accept, choose a password here:\n\n\
                         {public_url}/welcome#invitation={token}\n\n\
                         The link works once, within {days} days. If you expected no invitation, do nothing.\n"
                    ),
                )
            }
            Self::PasswordReset => {
                let minutes = PASSWORD_RESET_SECONDS / 60;
                (
                    format!("A new password for {account}"),
                    format!(
                        "An administrator of {account} asks you to choose a new password here:\n\n\
                         {public_url}/welcome#password-reset={token}\n\n\
                         The link works once, within {minutes} minutes. Until then your old password stays good.\n"
                    ),
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(smtp_url: &str, from: &str) -> Option<MailSettingsError> {
        let settings = MailSettings {
            smtp_url: smtp_url.to_owned(),
            from: from.to_owned(),
        };
        Mailer::new(Some(&settings), "https://bindery.example.com").err()
    }

    #[test]
    fn bad_settings_are_named_and_a_password_in_them_is_not_repeated() {
        let from = "Bindery <bindery@example.com>";
        for good in [
            "smtp://127.0.0.1:2525",
            "smtps://ada:secret@mail.example.com",
            "smtp://ada:secret@mail.example.com:587?tls=required",
        ] {
            assert_eq!(settings(good, from), None, "{good}");
        }
        for bad in ["", "mail.example.com", "http://ada:secret@mail.example.com"] {
            let error = settings(bad, from).expect(bad).to_string();
            assert!(
                error.contains("SMTP URL") && !error.contains("secret"),
                "{error}"
            );
        }
        let error = settings("smtp://127.0.0.1", "nobody").expect("no address");
        assert_eq!(error, MailSettingsError::From("nobody".to_owned()));
    }

    #[test]
    fn a_letter_carries_its_link_behind_a_hash_and_says_how_long_it_works() {
        let token = LinkToken::generate().unwrap();
        for (letter, link, time) in [
            (Letter::Invitation, "/welcome#invitation=", "7 days"),
            (
                Letter::PasswordReset,
                "/welcome#password-reset=",
                "30 minutes",
            ),
        ] {
            let (_, text) = letter.text("https://b.example.com", "Acme", &token);
            let expected = format!("https://b.example.com{link}{}\n", token.reveal());
            assert!(text.contains(&expected) && text.contains(time), "{text}");
        }
    }
}
