//! One request to one operation, authenticated: what a handler parses from, asks with, and answers through.

use std::any::TypeId;
use std::borrow::Cow;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bindery_core::command::{Caller, Command, Context};
use bindery_core::id::{Id, IdKey, Revision};
use bindery_core::state::State;
use bindery_core::text::RequestId;
use bindery_core::time::Timestamp;
use bindery_core::user::User;
use bindery_node::{Account, Audit, ClientNetwork, ExecuteError, NOTED_TEXT_MAX, Node};
use bytes::Bytes;
use hyper::StatusCode;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::attempts::Attempts;
use crate::authzen::{Aliases, Kept, Names};
use crate::hot::{Asking, Form};
use crate::json;
use crate::mail::{Letter, Mailer};
use crate::metrics::Counts;
use crate::operations::Operation;
use crate::page::Cursors;
use crate::password::Passwords;
use crate::problem::{self, Problem};
use crate::public_url::PublicUrl;
use crate::query::Query;
use crate::secret::{self, LinkToken, redact};
use crate::turns::{Lane, Turnstile};
use crate::workers::Workers;

/// How long anyone waits for a commit.
pub(crate) const EXECUTE_TIMEOUT: Duration = Duration::from_secs(30);

/// A handler: from a call to its answer.
#[derive(Clone, Copy)]
pub(crate) enum Handler {
    /// Answers from the snapshot at once.
    Reads(fn(&Call) -> Result<Answer, Problem>),
    /// Answers from the snapshot on a worker: lists, searches and explanations, which look at much of it.
    Searches(fn(&Call) -> Result<Answer, Problem>),
    /// Decides: on the hot path where it can, and from the snapshot where not. What is allowed and what not stands in no audit
    /// log; that someone asked who may not, or asked for reasons, does.
    Decides(Form, fn(&Call) -> Result<Decided, Problem>),
    /// Answers from the store.
    Waits(fn(Call) -> Answering),
    /// Waits for a commit.
    Changes(fn(Call) -> Answering),
    /// For whoever has no key, and proves themselves in another way.
    Open(fn(OpenCall) -> Answering),
    /// For everyone: about this server, and nothing about its accounts.
    Public(fn(&PublicCall) -> Result<Answer, Problem>),
}

/// What comes of a request for decisions.
pub(crate) enum Decided {
    /// They are made.
    Told(Answer),
    /// Their reasons are asked for, which takes a look at much of the snapshot.
    Explains(fn(&Call) -> Result<Answer, Problem>),
}

/// What of an answered request for decisions is for the audit log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Noted {
    /// Nothing: there are too many of them.
    #[default]
    Nothing,
    /// Its reasons were asked for: as much as of any read.
    Read,
    /// In it, something was asked that is not the caller's to ask: as much as of any refusal.
    Refusal,
}

/// An answer under way.
pub(crate) type Answering = Pin<Box<dyn Future<Output = Result<Answer, Problem>> + Send>>;

/// What handlers use beside the account they are asked about.
#[derive(Debug)]
pub(crate) struct Services {
    pub(crate) node: Arc<Node>,
    pub(crate) mailer: Mailer,
    pub(crate) passwords: Passwords,
    pub(crate) attempts: Attempts,
    pub(crate) aliases: Aliases,
    pub(crate) searches: Kept,
    pub(crate) counts: Arc<Counts>,
    /// What takes long runs here, apart from connections.
    pub(crate) workers: Workers,
    /// Turns to send a large body.
    pub(crate) bodies: Turnstile,
    /// Who waits for a revision.
    pub(crate) revision_waits: Turnstile,
}

/// Bytes of a body that is read into a command or query on the thread of its connection.
const INLINE_BODY_MAX: usize = 8 * 1024;
/// Bytes of a body of plain questions that is answered there: some 150 of them.
pub(crate) const INLINE_QUESTIONS_MAX: usize = 32 * 1024;

impl Services {
    /// What a client sees of a failed command, which is counted.
    pub(crate) fn problem(&self, error: ExecuteError) -> Problem {
        let is_refused = matches!(error, ExecuteError::Refused(_));
        let problem = Problem::from(error);
        if is_refused {
            self.counts.refused(problem.status());
        }
        problem
    }
}

/// One request that anyone may make.
#[derive(Debug)]
pub(crate) struct PublicCall {
    /// Where this server is reached, if its operator says so.
    pub(crate) public_url: Option<PublicUrl>,
}

/// One request without a key.
#[derive(Debug)]
pub(crate) struct OpenCall {
    pub(crate) operation: &'static Operation,
    pub(crate) services: Arc<Services>,
    pub(crate) now: Timestamp,
    pub(crate) client: IpAddr,
    pub(crate) address: String,
    pub(crate) request: Option<RequestId>,
    /// Where it comes from, for its share of lookups.
    pub(crate) network: ClientNetwork,
    pub(crate) path: Vec<(&'static str, String)>,
    pub(crate) body: Bytes,
    /// The revision of the account that it turns out to be about, for the frame.
    pub(crate) answered_at: Arc<OnceLock<Revision>>,
}

impl OpenCall {
    /// The body.
    pub(crate) fn body<T: DeserializeOwned + 'static>(&self) -> Result<T, Problem> {
        self.operation.check_body::<T>();
        json::parse(&self.body)
    }

    /// A parameter of the path, decoded.
    pub(crate) fn path_text(&self, name: &str) -> &str {
        value_of(&self.path, name)
    }

    /// Path and body carry secrets: neither is kept.
    pub(crate) fn audit(&self) -> Audit {
        Audit {
            address: self.address.clone(),
            text: None,
            variables: None,
            request: self.request.clone(),
            success: self.operation.success,
            refused: problem::refused_as,
        }
    }
}

fn value_of<'a>(path: &'a [(&'static str, String)], name: &str) -> &'a str {
    let found = path.iter().find(|(key, _)| *key == name);
    found.map(|(_, value)| value.as_str()).unwrap_or_default()
}

/// One request with a key.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) operation: &'static Operation,
    pub(crate) services: Arc<Services>,
    pub(crate) account: Arc<Account>,
    pub(crate) caller: Caller,
    /// Where it waits if it takes long.
    pub(crate) lane: Lane,
    pub(crate) state: Arc<State>,
    /// The revision of the state that a worker took instead, for the frame: of an answer and of a refusal.
    pub(crate) decided_at: Arc<OnceLock<Revision>>,
    pub(crate) now: Timestamp,
    pub(crate) address: String,
    pub(crate) request: Option<RequestId>,
    pub(crate) path: Vec<(&'static str, String)>,
    pub(crate) query: Query,
    pub(crate) body: Bytes,
}

/// What is answered; the status is the operation's unless it says otherwise.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: Option<StatusCode>,
    pub(crate) json: Option<Vec<u8>>,
    /// The type of the body, to compare with what is described.
    pub(crate) of: Option<TypeId>,
    /// The revision that it was answered at, where that need not be the snapshot's.
    pub(crate) revision: Option<Revision>,
    /// What of it the audit log has, if it is decisions.
    pub(crate) noted: Noted,
}

impl Answer {
    /// The operation's success with this body.
    pub(crate) fn json<T: Serialize + 'static>(body: &T) -> Result<Self, Problem> {
        let json = serde_json::to_vec(body).map_err(|error| {
            tracing::error!(%error, "an answer can't be written as JSON");
            Problem::internal()
        })?;
        Ok(Self {
            status: None,
            json: Some(json),
            of: Some(TypeId::of::<T>()),
            revision: None,
            noted: Noted::Nothing,
        })
    }

    /// Decisions of the hot path.
    pub(crate) fn decisions(form: Form, json: Vec<u8>, revision: Revision) -> Self {
        Self {
            status: None,
            json: Some(json),
            of: Some(form.answer_type()),
            revision: Some(revision),
            noted: Noted::Nothing,
        }
    }

    /// The operation's success without a body.
    pub(crate) const fn empty() -> Self {
        Self {
            status: None,
            json: None,
            of: None,
            revision: None,
            noted: Noted::Nothing,
        }
    }

    /// The same, with the revision that it was answered at in a header.
    pub(crate) fn at(self, revision: Revision) -> Self {
        Self {
            revision: Some(revision),
            ..self
        }
    }

    /// The same decisions, of which the audit log has this.
    pub(crate) fn noted(self, noted: Noted) -> Self {
        Self { noted, ..self }
    }

    /// The same with another status of success.
    pub(crate) fn with_status(self, status: StatusCode) -> Self {
        Self {
            status: Some(status),
            ..self
        }
    }
}

impl Call {
    /// Has the operation's handler answer. What takes long runs on workers, in the call's lane.
    pub(crate) async fn answer(self) -> Result<Answer, Problem> {
        let operation = self.operation;
        let is_large = self.body.len() > INLINE_BODY_MAX;
        let answer = match operation.handler {
            Handler::Reads(handler) => handler(&self),
            Handler::Decides(form, handler) if is_large => {
                self.on_worker(move |call| call.decide(form, handler)).await
            }
            Handler::Decides(_, handler) => match handler(&self)? {
                Decided::Told(answer) => Ok(answer),
                Decided::Explains(handler) => self.on_worker(handler).await,
            },
            Handler::Searches(handler) => self.on_worker(handler).await,
            Handler::Waits(handler) => {
                let (services, lane) = (Arc::clone(&self.services), self.lane);
                services.workers.drive(lane, handler(self)).await?
            }
            // By itself: what is begun is brought to its end, letters included, also when the client hangs up.
            Handler::Changes(handler) => {
                let (services, lane) = (Arc::clone(&self.services), self.lane);
                let changing = async move {
                    if is_large {
                        services.workers.drive(lane, handler(self)).await?
                    } else {
                        handler(self).await
                    }
                };
                tokio::spawn(changing).await.map_err(|error| {
                    tracing::error!(%error, "a handler did not come to its end");
                    Problem::internal()
                })?
            }
            Handler::Open(_) | Handler::Public(_) => Err(Problem::internal()),
        }?;
        operation.check_answer(&answer);
        Ok(answer)
    }

    /// Runs a handler on a worker, on the newest state when its turn comes: the turn may be long in coming, and the caller may no
    /// longer ask by then.
    async fn on_worker(
        mut self,
        handler: impl FnOnce(&Self) -> Result<Answer, Problem> + Send + 'static,
    ) -> Result<Answer, Problem> {
        let (services, lane) = (Arc::clone(&self.services), self.lane);
        let work = move || {
            self.state = self.account.snapshot();
            let _ = self.decided_at.set(self.state.revision());
            self.now = self.services.node.clock().now().max(self.state.latest());
            handler(&self)
        };
        services.workers.run(lane, work).await?
    }

    /// Decides a large batch: as on the hot path if its items are plain, else as `handler` does, reasons included.
    fn decide(
        &self,
        form: Form,
        handler: fn(&Self) -> Result<Decided, Problem>,
    ) -> Result<Answer, Problem> {
        let asking = Asking {
            account: &self.account,
            state: &self.state,
            aliases: &self.services.aliases,
            counts: &self.services.counts,
            context: self.context(),
        };
        if self.query.pairs().next().is_none()
            && let Some(json) = asking.answer(form, &self.body)
        {
            return Ok(Answer::decisions(form, json, self.state.revision()));
        }
        match handler(self)? {
            Decided::Told(answer) => Ok(answer),
            Decided::Explains(handler) => handler(self),
        }
    }

    /// On whose behalf, and when.
    pub(crate) fn context(&self) -> Context {
        Context {
            caller: self.caller,
            now: self.now,
        }
    }

    /// What names on the AuthZEN endpoints mean.
    pub(crate) fn names(&self) -> Names<'_> {
        Names {
            aliases: &self.services.aliases,
            state: &self.state,
        }
    }

    /// Reads and writes the account's ids.
    pub(crate) fn ids(&self) -> &IdKey {
        self.state.ids()
    }

    /// A parameter of the path, decoded.
    pub(crate) fn path_text(&self, name: &str) -> &str {
        value_of(&self.path, name)
    }

    /// An id in the path.
    pub(crate) fn path_id<I: Id>(&self, name: &str) -> Result<I, Problem> {
        self.id(name, self.path_text(name))
    }

    /// An id in a field or parameter.
    pub(crate) fn id<I: Id>(&self, name: &str, text: &str) -> Result<I, Problem> {
        self.ids()
            .parse(text)
            .map_err(|error| Problem::field(name, error))
    }

    /// An id in a query parameter that may be absent.
    pub(crate) fn query_id<I: Id>(&self, name: &str) -> Result<Option<I>, Problem> {
        self.query
            .one(name)?
            .map(|text| self.id(name, text))
            .transpose()
    }

    /// The body.
    pub(crate) fn body<T: DeserializeOwned + 'static>(&self) -> Result<T, Problem> {
        self.operation.check_body::<T>();
        json::parse(&self.body)
    }

    /// The body, read by `read`.
    pub(crate) fn read_body<T: 'static>(
        &self,
        read: impl FnOnce(&[u8]) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        self.operation.check_body::<T>();
        read(&self.body)
    }

    /// The paging of a list.
    pub(crate) fn cursors(&self) -> Cursors<'_> {
        Cursors::new(self.ids(), self.operation.id, &self.query)
    }

    /// Lets the caller in to read; commands let them in by themselves.
    pub(crate) fn admit(&self) -> Result<Context, Problem> {
        let context = self.context();
        self.state.admit(&context)?;
        Ok(context)
    }

    /// Decides and commits a command; when this returns, it is durable and every reader sees it.
    pub(crate) async fn execute<C>(&self, command: C) -> Result<C::Outcome, Problem>
    where
        C: Command + Send + 'static,
        C::Outcome: Send,
    {
        let executed = self
            .account
            .execute(command, self.caller, Some(self.audit()));
        match tokio::time::timeout(EXECUTE_TIMEOUT, executed).await {
            Ok(outcome) => outcome.map_err(|error| self.services.problem(error)),
            Err(_) => Err(Problem::outcome_unknown()),
        }
    }

    /// Sends a letter with a link to a person of this account.
    pub(crate) fn send(&self, letter: Letter, to: &User, token: &LinkToken) {
        if let Some(email) = to.email() {
            let account = self.state.account().name.as_str();
            self.services.mailer.send(letter, email, account, token);
        }
    }

    /// What the audit log keeps of the request.
    pub(crate) fn audit(&self) -> Audit {
        Audit {
            address: self.address.clone(),
            text: audited_text(&self.body),
            variables: audited_variables(&self.path, self.query.pairs()),
            request: self.request.clone(),
            success: self.operation.success,
            refused: problem::refused_as,
        }
    }
}

/// Bytes of a body that the audit log keeps.
pub(crate) const AUDITED_TEXT_MAX: usize = 16 * 1024;
/// Bytes of a body that are looked at for that: escapes may take six times the room.
const AUDITED_BYTES_READ: usize = 8 * AUDITED_TEXT_MAX;

/// A body as the audit log keeps it: cut to a bound, and without anything that looks like a key. Costs the same for a body of any
/// size: only its beginning is looked at.
pub(crate) fn audited_text(body: &[u8]) -> Option<String> {
    if body.is_empty() {
        return None;
    }
    let is_whole = body.len() <= AUDITED_BYTES_READ;
    let text = String::from_utf8_lossy(&body[..body.len().min(AUDITED_BYTES_READ)]);
    // An escape could spell a key so that it isn't recognised.
    let plain = unescape_letters(&text);
    let mut kept = redact(&plain).into_owned();
    if !is_whole {
        // The cut may have gone through a key.
        let end = kept
            .trim_end_matches(|c: char| c.is_ascii_alphanumeric())
            .len();
        if kept[..end].ends_with(secret::PREFIX) {
            kept.truncate(end);
        }
        kept.truncate(kept.floor_char_boundary(AUDITED_TEXT_MAX));
        kept.push('…');
        return Some(kept);
    }
    Some(cut(kept, AUDITED_TEXT_MAX))
}

/// The text with letters, digits and dashes as themselves where JSON escapes spell them, which are all that a key has.
fn unescape_letters(text: &str) -> Cow<'_, str> {
    if !text.contains("\\u00") {
        return text.into();
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(place) = rest.find('\\') {
        let (before, escape) = rest.split_at(place);
        plain.push_str(before);
        let digits = escape.strip_prefix("\\u00").and_then(|rest| rest.get(..2));
        let code = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let letter = code
            .map(char::from)
            .filter(|c| c.is_ascii_alphanumeric() || *c == '-');
        let taken = if let Some(letter) = letter {
            plain.push(letter);
            "\\u0000".len()
        } else {
            // The backslash and what it escapes, which may be a backslash.
            let end = escape.chars().take(2).map(char::len_utf8).sum();
            plain.push_str(&escape[..end]);
            end
        };
        rest = &escape[taken..];
    }
    plain.push_str(rest);
    plain.into()
}

/// What a note keeps of a text.
pub(crate) fn noted(text: Option<String>) -> Option<String> {
    text.map(|text| cut(text, NOTED_TEXT_MAX))
}

/// Cuts between two characters, and says so.
fn cut(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max));
        text.push('…');
    }
    text
}

/// Path and query parameters as JSON text; one that repeats is an array.
pub(crate) fn audited_variables<'a>(
    path: &'a [(&'static str, String)],
    query: impl Iterator<Item = (&'a str, &'a str)>,
) -> Option<String> {
    let path = path.iter().map(|(name, value)| (*name, value.as_str()));
    let mut variables = serde_json::Map::new();
    for (name, value) in path.chain(query) {
        let value = serde_json::Value::from(redact(value));
        match variables.get_mut(name) {
            None => {
                variables.insert(name.to_owned(), value);
            }
            Some(serde_json::Value::Array(values)) => values.push(value),
            Some(first) => *first = vec![first.take(), value].into(),
        }
    }
    (!variables.is_empty()).then(|| serde_json::Value::from(variables).to_string())
}

#[cfg(test)]
mod tests {
    use bindery_core::command::operator::Bootstrap;
    use bindery_core::id::{AccountId, ApiKeyId, UserId};
    use bindery_core::place::{self, AccountSettings};
    use bindery_core::text::{Email, KeyName, Name};
    use bindery_node::Clock;
    use bindery_store::sqlite::SqliteStore;
    use futures_util::FutureExt as _;

    use super::*;
    use crate::operations::OPERATIONS;
    use crate::secret::KeyText;
    use crate::turns::{Bound, Bounds};

    /// Otherwise a client that asks for many of them at once takes every processor from those who ask for none.
    #[tokio::test]
    async fn reasons_wait_for_their_turn_as_searches_do_and_decisions_do_not() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(directory.path()).unwrap();
        let node = Arc::new(Node::open(Arc::new(store), Clock::system()).unwrap());
        let account = place::Account {
            id: AccountId(1),
            name: Name::parse("main").unwrap(),
            id_key: IdKey::new([1; 16]),
            created_at: node.clock().now(),
            settings: AccountSettings::default(),
        };
        let account = node.create_account(&account).unwrap();
        let one_at_a_time = Bounds(
            [Bound {
                running: 1,
                waiting: 100,
            }; 4],
        );
        let services = Arc::new(Services {
            node: Arc::clone(&node),
            mailer: Mailer::new(None, "http://127.0.0.1").unwrap(),
            passwords: Passwords::new(),
            attempts: Attempts::new(),
            aliases: Aliases::default(),
            searches: Kept::default(),
            counts: Arc::new(Counts::new()),
            workers: Workers::new("test", 1, one_at_a_time),
            bodies: Turnstile::new(one_at_a_time),
            revision_waits: Turnstile::new(one_at_a_time),
        });
        let call = |operation: &str, options: &str| {
            let mut operations = OPERATIONS.iter();
            let body = format!(
                r#"{{"subject":{{"type":"user","id":"x"}},"action":{{"name":"x"}},"resource":{{"type":"space","id":"x"}}{options}}}"#
            );
            Call {
                operation: operations.find(|one| one.id == operation).unwrap(),
                services: Arc::clone(&services),
                account: Arc::clone(&account),
                caller: Caller::Key {
                    user: UserId::new(1),
                    key: ApiKeyId::new(1),
                },
                lane: Lane([1, 1, 1]),
                state: account.snapshot(),
                decided_at: Arc::default(),
                now: node.clock().now(),
                address: String::new(),
                request: None,
                path: Vec::new(),
                query: Query::default(),
                body: Bytes::from(body),
            }
        };
        let turn = services.workers.occupy(Lane([2, 2, 2])).await;
        let explains = r#","options":{"explain":true}"#;
        let large = format!(r#","context":{{"x":"{}"}}"#, "x".repeat(INLINE_BODY_MAX));
        let waiting = [
            call("access_evaluation", explains),
            call("access_evaluations", explains),
            call("explain_access", ""),
            call("search_action", ""),
            call("access_evaluation", &large),
            call("access_evaluations", &large),
        ];
        let mut waiting = waiting.map(|call| Box::pin(call.answer()));
        for answer in &mut waiting {
            assert!(answer.now_or_never().is_none());
        }
        let list = call("list_spaces", "");
        let listed_at = Arc::clone(&list.decided_at);
        let mut list = Box::pin(list.answer());
        assert!((&mut list).now_or_never().is_none());
        for decides in ["access_evaluation", "access_evaluations"] {
            let answered = call(decides, "").answer().now_or_never();
            assert_eq!(answered.unwrap().unwrap_err().status(), 401);
        }
        // The account was empty, and whoever has their turn is answered as things are by then.
        let founding = Bootstrap {
            name: Name::parse("Root").unwrap(),
            email: Email::parse("root@example.com").unwrap(),
            key_name: KeyName::parse("first").unwrap(),
            secret: KeyText::generate().unwrap().secret(),
        };
        let founded = account.execute(founding, Caller::Operator, None).await;
        assert!(founded.is_ok());
        drop(turn);
        for answer in waiting {
            assert_eq!(answer.await.unwrap().revision, Some(Revision(1)));
        }
        assert!(list.await.is_ok());
        // The answer names the revision that it is of, not the one at which it began to wait.
        assert_eq!(listed_at.get(), Some(&Revision(1)));
    }

    /// The text of a body is looked at on the thread of its connection.
    #[test]
    fn what_the_audit_log_keeps_of_a_large_body_is_its_beginning() {
        let large = format!(r#"{{"context":[{}0]}}"#, "[0],".repeat(250_000));
        let kept = audited_text(large.as_bytes()).unwrap();
        assert_eq!(kept.len(), AUDITED_TEXT_MAX + "…".len());
        let key = format!("ak-{}", "x".repeat(40));
        for before in AUDITED_BYTES_READ - 50..AUDITED_BYTES_READ {
            // Keys shrink, so that even the end of what is read can come into what is kept.
            let many = key.repeat(before / key.len());
            let text = format!(
                "{many}{}{key}{}",
                ".".repeat(before - many.len()),
                "y".repeat(99)
            );
            let kept = audited_text(text.as_bytes()).unwrap();
            assert!(
                !kept.contains("ak-x"),
                "{before}: {}",
                &kept[kept.len() - 60..]
            );
        }
        let escaped = r#"{"a":"\\u0061k-","b":"\u0022\u0061\u006B\u002dx"}"#;
        assert_eq!(
            audited_text(escaped.as_bytes()).as_deref(),
            Some(r#"{"a":"\\u0061k-","b":"\u0022ak-x"}"#)
        );
    }

    #[test]
    fn what_the_audit_log_keeps_is_bounded_and_without_keys() {
        let key = format!("ak-{}", "x".repeat(40));
        assert_eq!(audited_text(b""), None);
        let text = audited_text(format!(r#"{{"name":"{key}"}}"#).as_bytes());
        assert_eq!(text.as_deref(), Some(r#"{"name":"ak-..."}"#));
        let long = audited_text(&vec![b'x'; AUDITED_TEXT_MAX + 1]);
        assert_eq!(
            long.map(|text| text.len()),
            Some(AUDITED_TEXT_MAX + "…".len())
        );
        let escaped = format!(r#"{{"name":"\u0061k-{}"}}"#, "x".repeat(40));
        assert_eq!(
            audited_text(escaped.as_bytes()).as_deref(),
            Some(r#"{"name":"ak-..."}"#)
        );
        let at_the_edge = format!("{}{key}", "é".repeat(AUDITED_TEXT_MAX / 2 - 10));
        let kept = audited_text(at_the_edge.as_bytes()).unwrap_or_default();
        assert!(
            kept.ends_with("ak-...…") || kept.ends_with("ak-..."),
            "no part of a key stays"
        );
        assert_eq!(
            noted(Some("é".repeat(2000))).map(|text| text.len()),
            Some(2048 + 3)
        );
        let path = [("user_id", key.clone())];
        let query = [
            ("status", "A"),
            ("limit", "2"),
            ("status", "B"),
            ("status", "C"),
        ];
        assert_eq!(
            audited_variables(&path, query.into_iter()).as_deref(),
            Some(r#"{"limit":"2","status":["A","B","C"],"user_id":"ak-..."}"#)
        );
        assert_eq!(audited_variables(&[], [].into_iter()), None);
    }
}
