//! `bindery check` and `bindery explain`: questions to a running server, for people at a terminal and for
//! scripts.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use bindery_api::{KeyText, PublicUrl};
use bindery_core::id::{IdKey, Kind};
use serde_json::{Value, json};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// The API key. It is not an argument: everyone on the machine can read those.
const KEY_VARIABLE: &str = "BINDERY_API_KEY";
/// How long a response may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The exit status of a deny.
const DENIED: u8 = 1;
const NO_ANSWER: u8 = 2;

/// Reasons that mean that the question was not understood: a typing error must not look like a denial.
const UNDECIDED: [&str; 3] = ["unknown_action", "unknown_subject", "unknown_resource"];

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The subject: an e-mail address, or the id of a user or service key; TYPE:ID for a type that the server
    /// has an alias for.
    subject: String,
    /// A permission, like `PROJECT_READ`.
    permission: String,
    /// The resource: the id of an organization, space or project, or `account`; TYPE:ID for a type that the
    /// server has an alias for.
    resource: String,
    /// The URL of the server. The API key comes from `BINDERY_API_KEY`.
    #[arg(
        long,
        value_name = "URL",
        env = "BINDERY_URL",
        default_value = "http://127.0.0.1:8080"
    )]
    url: String,
    /// Print the server's response unchanged.
    #[arg(long)]
    json: bool,
    /// Send the key to another machine over http, where others on the way can read it.
    #[arg(long)]
    unencrypted: bool,
}

/// `bindery check`.
pub(crate) fn check(arguments: &Arguments) -> ExitCode {
    end(arguments, |arguments| {
        let mut body = arguments.question();
        body["options"] = json!({"explain": true});
        let answer = arguments.post("/access/v1/evaluation", &body)?;
        let reason = answer["context"]["reason"].clone();
        let words = verdict(&answer, &reason["text"]);
        Ok(Told {
            answer,
            reason,
            words,
        })
    })
}

/// `bindery explain`.
pub(crate) fn explain(arguments: &Arguments) -> ExitCode {
    end(arguments, |arguments| {
        let answer = arguments.post("/bindery/v1/explain", &arguments.question())?;
        let (reason, words) = (answer["reason"].clone(), told(&answer));
        Ok(Told {
            answer,
            reason,
            words,
        })
    })
}

/// A response, the reason in it, and the text for a terminal.
struct Told {
    answer: Value,
    reason: Value,
    words: String,
}

/// Sends the question, prints the result, and returns the exit status.
fn end(arguments: &Arguments, ask: impl FnOnce(&Arguments) -> Result<Told>) -> ExitCode {
    let asked = ask(arguments).and_then(|told| {
        let is_allowed = told.answer["decision"].as_bool();
        let is_allowed = is_allowed.context("the answer has no decision: is this Bindery?")?;
        let code = told.reason["code"].as_str().unwrap_or_default();
        let is_decided = is_allowed || !UNDECIDED.contains(&code);
        if arguments.json || is_decided {
            let line = if arguments.json {
                told.answer.to_string()
            } else {
                told.words
            };
            writeln!(std::io::stdout(), "{}", printable(&line)).context("stdout is closed")?;
        }
        if !is_decided {
            let why = told.reason["text"].as_str().unwrap_or_default();
            bail!("not decided: {why}; check the spelling");
        }
        Ok(is_allowed)
    });
    match asked {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(DENIED),
        Err(error) => {
            let _ = writeln!(
                std::io::stderr(),
                "bindery: {}",
                printable(&format!("{error:#}"))
            );
            ExitCode::from(NO_ANSWER)
        }
    }
}

impl Arguments {
    fn question(&self) -> Value {
        let (subject_type, subject) = named(&self.subject, "user");
        let (resource_type, resource) = named(&self.resource, "project");
        json!({
            "subject": {"type": subject_type, "id": subject},
            "action": {"name": self.permission},
            "resource": {"type": resource_type, "id": resource},
        })
    }

    fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let url = PublicUrl::parse(&self.url)
            .map_err(|error| anyhow!("--url: `{}` is none: {error}", self.url))?;
        if !url.is_confidential() && !self.unencrypted {
            bail!(
                "--url: a key is sent to another machine over https only; --unencrypted sends it where everyone on the way can \
                 read it"
            );
        }
        let key = key()?;
        let mut response = agent(&url)
            .post(format!("{url}{path}"))
            .header("Authorization", format!("Bearer {}", key.reveal()))
            .send_json(body)
            .with_context(|| format!("no answer from {url}"))?;
        let status = response.status().as_u16();
        let answer: Value = response
            .body_mut()
            .read_json()
            .with_context(|| format!("{url} answered {status} without JSON: is this Bindery?"))?;
        if status != 200 {
            let detail = answer["detail"].as_str().unwrap_or_default();
            bail!("{url} answered {status}: {detail}");
        }
        Ok(answer)
    }
}

fn agent(url: &PublicUrl) -> ureq::Agent {
    let mut config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        // The key goes to no other server.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_global(Some(TIMEOUT));
    if url.as_str().starts_with("https://") {
        let found = rustls_native_certs::load_native_certs().certs;
        let trusted = found
            .iter()
            .map(|one| Certificate::from_der(one).to_owned());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        config = config.tls_config(
            TlsConfig::builder()
                .root_certs(RootCerts::from(trusted))
                .unversioned_rustls_crypto_provider(provider)
                .build(),
        );
    } else {
        // To this machine, never through a proxy.
        config = config.proxy(None);
    }
    config.build().into()
}

fn key() -> Result<KeyText> {
    let text = std::env::var(KEY_VARIABLE)
        .map_err(|_| anyhow!("set {KEY_VARIABLE} to the API key to ask with"))?;
    // Messages never contain the key.
    KeyText::parse(text.trim()).map_err(|error| anyhow!("{KEY_VARIABLE}: {error}"))
}

/// The type and id that a word means: an id has its own kind.
fn named<'a>(word: &'a str, otherwise: &'a str) -> (&'a str, &'a str) {
    let is_word = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    if let Some((kind, id)) = word.split_once(':').filter(|(kind, _)| is_word(kind)) {
        return (kind, id);
    }
    if word == "account" {
        return ("account", word);
    }
    // Any key can read the kind.
    let id = IdKey::new([0; 16]).parse_any(word).and_then(Result::ok);
    let kind = match id.map(|id| id.kind) {
        Some(Kind::User) => "user",
        Some(Kind::ApiKey) => "service_key",
        Some(Kind::Organization) => "organization",
        Some(Kind::Space) => "space",
        Some(Kind::Project) => "project",
        _ => otherwise,
    };
    (kind, word)
}

fn verdict(answer: &Value, reason: &Value) -> String {
    let word = if answer["decision"] == true {
        "yes"
    } else {
        "no"
    };
    format!(
        "{word}: {}",
        reason.as_str().unwrap_or("no reason was given")
    )
}

fn told(answer: &Value) -> String {
    let mut lines = vec![verdict(answer, &answer["reason"]["text"])];
    let mut add = |mark: &str, text: &Value| {
        if let Some(text) = text.as_str() {
            lines.push(format!("  {mark:8}  {text}"));
        }
    };
    for path in answer["paths"].as_array().into_iter().flatten() {
        let mark = match path["outcome"].as_str().unwrap_or_default() {
            "allowed" => "allows",
            "cut" => "cut",
            "lacking" => "lacks it",
            "hidden" => "hidden",
            _ => "nothing",
        };
        add(mark, &path["text"]);
    }
    let grants = answer["smallest_grants"].as_array();
    for grant in grants.into_iter().flatten() {
        add("enough", &grant["text"]);
    }
    add("enough", &answer["no_grant"]);
    lines.join("\n")
}

/// Removes everything that a terminal would not just show.
fn printable(text: &str) -> String {
    let shown = |c: char| {
        if c.is_control() && c != '\n' {
            char::REPLACEMENT_CHARACTER
        } else {
            c
        }
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_says_its_kind_by_itself() {
        for (word, otherwise, expected) in [
            ("ada@example.com", "user", ("user", "ada@example.com")),
            ("account", "project", ("account", "account")),
            ("VXNlcjoxOmFiY2Q=", "user", ("user", "VXNlcjoxOmFiY2Q=")),
            (
                "QXBpS2V5OjE6YWJjZA==",
                "user",
                ("service_key", "QXBpS2V5OjE6YWJjZA=="),
            ),
            ("U3BhY2U6MTphYmNk", "project", ("space", "U3BhY2U6MTphYmNk")),
            (
                "TW9kZWw6MTphYmNk",
                "project",
                ("project", "TW9kZWw6MTphYmNk"),
            ),
            ("record:record-1", "project", ("record", "record-1")),
            ("service_key:x", "user", ("service_key", "x")),
            ("nonsense", "project", ("project", "nonsense")),
            (":x", "user", ("user", ":x")),
        ] {
            assert_eq!(named(word, otherwise), expected, "{word}");
        }
    }

    #[test]
    fn nothing_that_a_server_sends_moves_the_cursor() {
        assert_eq!(printable("a\u{1b}[2Jb\nc\r"), "a\u{fffd}[2Jb\nc\u{fffd}");
    }
}
