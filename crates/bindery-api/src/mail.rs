//! E-mail: invitations, and links to choose a new password. Sent in the background, so that no response waits
//! for a mail server. A failure is logged, without the link. A few are sent at once, each with a timeout.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bindery_core::credential::PASSWORD_RESET_SECONDS;
use bindery_core::text::Email;
use bindery_core::user::INVITATION_SECONDS;
use hyper::Uri;
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::public_url::is_this_machine;
use crate::secret::LinkToken;

/// How many e-mails are sent at once.
const AT_ONCE_MAX: usize = 4;
/// How many may wait for their turn; more are dropped, and the log says so.
const WAITING_MAX: usize = 10_000;
/// How long sending one may take, from its turn on. The mail library has a timeout for connecting only. Each
/// e-mail has a connection of its own, which is closed on a timeout, so that the next e-mail is not taken for
/// the rest of this one.
const LETTER_TIMEOUT: Duration = Duration::from_mins(1);

/// How e-mail is sent.
#[derive(Clone, Debug)]
pub struct MailSettings {
    /// `smtp://` or `smtps://`, with user, password, host and port. Another machine is reached over TLS (with
    /// `smtp://` by STARTTLS), unless the URL ends in `?tls=none`.
    pub smtp_url: String,
    /// The sender, like `Bindery <bindery@example.com>`.
    pub from: String,
}

/// Why a mail server can't be used. Never contains the URL, which has a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MailSettingsError {
    /// The URL is not one of a mail server.
    #[error(
        "the SMTP URL can't be read ({0}); expected smtp://[user:password@]host[:port][?tls=required|none] or smtps://…"
    )]
    Url(String),
    /// The sender is not an address.
    #[error("`{0}` is no sender; expected one like `Bindery <bindery@example.com>`")]
    From(String),
}

/// The kind of e-mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Letter {
    Invitation,
    PasswordReset,
}

/// Sends e-mail, or logs that it would have.
pub struct Mailer {
    server: Option<(AsyncSmtpTransport<Tokio1Executor>, Mailbox)>,
    /// Where clients reach this server, without a slash at the end.
    public_url: String,
    turns: Arc<Semaphore>,
    letter_timeout: Duration,
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
    /// Creates a mailer. Without a mail server, e-mails are only logged. Links begin with `public_url`.
    pub fn new(
        settings: Option<&MailSettings>,
        public_url: &str,
    ) -> Result<Self, MailSettingsError> {
        let server = settings.map(|settings| {
            let from = settings.from.parse();
            let from = from.map_err(|_| MailSettingsError::From(settings.from.clone()))?;
            let transport =
                AsyncSmtpTransport::<Tokio1Executor>::from_url(&guarded(&settings.smtp_url))
                    .map_err(|error| MailSettingsError::Url(error.to_string()))?;
            Ok((transport.build(), from))
        });
        Ok(Self {
            server: server.transpose()?,
            public_url: public_url.trim_end_matches('/').to_owned(),
            turns: Arc::new(Semaphore::new(AT_ONCE_MAX)),
            letter_timeout: LETTER_TIMEOUT,
            under_way: TaskTracker::new(),
        })
    }

    /// Sends an e-mail in the background.
    pub(crate) fn send(&self, letter: Letter, to: &Email, account: &str, token: &LinkToken) {
        let Some((transport, from)) = &self.server else {
            tracing::info!(
                %to,
                ?letter,
                "an e-mail was not sent: no mail server is configured (--smtp-url)"
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
        if self.under_way.len() >= WAITING_MAX {
            tracing::error!(%to, ?letter, "an e-mail was not sent: too many are waiting for the mail server");
            return;
        }
        let (transport, to) = (transport.clone(), to.clone());
        let (turns, timeout) = (Arc::clone(&self.turns), self.letter_timeout);
        self.under_way.spawn(async move {
            let Ok(_turn) = turns.acquire_owned().await else {
                return;
            };
            match tokio::time::timeout(timeout, transport.send(message)).await {
                Ok(Ok(_)) => tracing::info!(%to, ?letter, "an e-mail was sent"),
                Err(_) => {
                    let kind = "it took too long";
                    tracing::error!(%to, ?letter, kind, "an e-mail was not sent");
                }
                // A mail server may repeat what it was sent, so only its code is logged.
                Ok(Err(error)) => {
                    let status = error.status().map(|code| code.to_string());
                    let kind = if error.is_timeout() {
                        "it took too long"
                    } else if error.is_response() {
                        "the server refused it"
                    } else {
                        "the server can't be reached"
                    };
                    tracing::error!(%to, ?letter, kind, status, "an e-mail was not sent");
                }
            }
        });
    }

    /// Waits until every e-mail was sent or has failed.
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
        // As an address: nothing in it is parsed as a name.
        let to: Address = to.as_str().parse()?;
        let message = Message::builder()
            .from(from.clone())
            .to(to.into())
            .subject(subject)
            .header(ContentType::TEXT_PLAIN)
            .body(text)?;
        Ok(message)
    }
}

/// The URL with TLS added where it doesn't say and the mail server is another machine. E-mails carry links
/// that admit people, and the URL may carry a password.
fn guarded(smtp_url: &str) -> Cow<'_, str> {
    let (place, query) = smtp_url.split_once('?').unwrap_or((smtp_url, ""));
    if query == "tls=none" {
        return place.into();
    }
    let uri: Option<Uri> = place.parse().ok();
    let is_here = uri.is_some_and(|uri| uri.host().is_some_and(is_this_machine));
    let is_plain = smtp_url.starts_with("smtp://") && query.is_empty();
    if is_plain && !is_here {
        format!("{place}?tls=required").into()
    } else {
        smtp_url.into()
    }
}

impl Letter {
    /// Subject and text. The token comes after `#`, which browsers don't send.
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
    use tokio::net::TcpListener;
    use tokio::sync::watch;

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
            "smtp://ada:secret@mail.example.com:587?tls=none",
        ] {
            assert_eq!(settings(good, from), None, "{good}");
        }
        for bad in [
            "",
            "mail.example.com",
            "http://ada:secret@mail.example.com",
            "smtp://ada:secret@mail.example.com?tls=perhaps",
        ] {
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
    fn a_mail_server_on_another_machine_is_spoken_to_over_tls_unless_the_url_says_none() {
        for (url, expected) in [
            (
                "smtp://mail.example.com",
                "smtp://mail.example.com?tls=required",
            ),
            (
                "smtp://ada:se%3Fret@10.0.0.1:25",
                "smtp://ada:se%3Fret@10.0.0.1:25?tls=required",
            ),
            (
                "smtp://localhost.example.com?",
                "smtp://localhost.example.com?tls=required",
            ),
            (
                "smtp://mail.example.com?tls=none",
                "smtp://mail.example.com",
            ),
            (
                "smtp://mail.example.com?tls=opportunistic",
                "smtp://mail.example.com?tls=opportunistic",
            ),
            ("smtp://127.0.0.1:2525", "smtp://127.0.0.1:2525"),
            ("smtp://ada:secret@localhost", "smtp://ada:secret@localhost"),
            ("smtp://[::1]:25", "smtp://[::1]:25"),
            ("smtps://mail.example.com", "smtps://mail.example.com"),
        ] {
            assert_eq!(guarded(url), expected, "{url}");
        }
    }

    /// A mailer for a server that accepts connections and never responds, and how many it has accepted.
    async fn silent_server() -> (Mailer, watch::Receiver<usize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let settings = MailSettings {
            smtp_url: format!("smtp://{}", listener.local_addr().unwrap()),
            from: "Bindery <bindery@example.com>".to_owned(),
        };
        let (taken, seen) = watch::channel(0);
        tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                open.push(stream);
                taken.send_replace(open.len());
            }
        });
        let mailer = Mailer::new(Some(&settings), "https://bindery.example.com").unwrap();
        (mailer, seen)
    }

    fn send(mailer: &Mailer, letters: usize) {
        let to = Email::parse("ada@example.com").unwrap();
        for _ in 0..letters {
            let token = LinkToken::generate().unwrap();
            mailer.send(Letter::Invitation, &to, "Acme", &token);
        }
    }

    #[tokio::test]
    async fn a_mail_server_that_does_not_respond_times_out() {
        let (mailer, mut seen) = silent_server().await;
        let mailer = Mailer {
            letter_timeout: Duration::from_millis(50),
            ..mailer
        };
        send(&mailer, 2);
        seen.wait_for(|taken| *taken > 0).await.unwrap();
        let finished = tokio::time::timeout(Duration::from_mins(2), mailer.finish());
        assert_eq!(finished.await, Ok(()));
    }

    #[tokio::test]
    async fn few_e_mails_are_sent_at_once() {
        let (mailer, mut seen) = silent_server().await;
        send(&mailer, 5 * AT_ONCE_MAX);
        seen.wait_for(|taken| *taken >= AT_ONCE_MAX).await.unwrap();
        // Long enough for one more connection to show up.
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        assert_eq!(*seen.borrow(), AT_ONCE_MAX);
        assert_eq!(mailer.under_way.len(), 5 * AT_ONCE_MAX);
    }

    #[test]
    fn an_e_mail_goes_to_one_address_whatever_that_looks_like() {
        let settings = MailSettings {
            smtp_url: "smtp://127.0.0.1".to_owned(),
            from: "Bindery <bindery@example.com>".to_owned(),
        };
        let mailer = Mailer::new(Some(&settings), "https://bindery.example.com").unwrap();
        let from: Mailbox = settings.from.parse().unwrap();
        let token = LinkToken::generate().unwrap();
        for text in [
            "ada@example.com",
            "o'brien+x@example.com",
            "a&b=c%25@example.com",
        ] {
            let to = Email::parse(text).unwrap();
            let message = mailer.write(Letter::Invitation, &from, &to, "Acme", &token);
            let message = message.unwrap();
            let sent_to: Vec<String> = message
                .envelope()
                .to()
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(sent_to, [text]);
        }
    }

    #[test]
    fn the_name_of_an_account_adds_no_header() {
        let settings = MailSettings {
            smtp_url: "smtp://127.0.0.1".to_owned(),
            from: "Bindery <bindery@example.com>".to_owned(),
        };
        let mailer = Mailer::new(Some(&settings), "https://bindery.example.com").unwrap();
        let from: Mailbox = settings.from.parse().unwrap();
        let to = Email::parse("ada@example.com").unwrap();
        let token = LinkToken::generate().unwrap();
        // Names with line ends are refused earlier; nothing here relies on it.
        for account in [
            "Acme\r\nBcc: eve@example.com",
            "Acme\nBcc: eve@example.com",
            "Acme, \u{e9}\u{4e2d}",
        ] {
            let message = mailer.write(Letter::PasswordReset, &from, &to, account, &token);
            let bytes = message.unwrap().formatted();
            let text = String::from_utf8_lossy(&bytes);
            let head = text.split("\r\n\r\n").next().unwrap();
            assert!(!head.lines().any(|line| line.starts_with("Bcc")), "{head}");
        }
    }

    #[test]
    fn an_e_mail_has_its_link_behind_a_hash_and_says_how_long_it_works() {
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
