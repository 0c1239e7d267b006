//! One request to one operation: what a handler parses, runs and renders with.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bindery_core::command::{Caller, Command, Context};
use bindery_core::id::{Id, IdKey, Revision};
use bindery_core::state::State;
use bindery_core::text::RequestId;
use bindery_core::time::Timestamp;
use bindery_core::user::User;
use bindery_node::{Account, Audit, ClientNetwork};
use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::aliases::Aliases;
use crate::answer::{Answer, Answering};
use crate::audited::{audited_text, audited_variables};
use crate::counts::Counts;
use crate::json;
use crate::mail::Letter;
use crate::operation::{Handler, Operation, Runs};
use crate::page::Cursors;
use crate::problem::{self, Problem};
use crate::public_url::PublicUrl;
use crate::query::Query;
use crate::secret::LinkToken;
use crate::services::Services;
use crate::turns::Lane;

/// How long a request waits for a commit.
pub(crate) const EXECUTE_TIMEOUT: Duration = Duration::from_secs(30);

/// A request that needs no proof.
#[derive(Debug)]
pub(crate) struct PublicCall {
    /// The public URL of this server, if the operator has set one.
    pub(crate) public_url: Option<PublicUrl>,
}

/// A request without a key.
#[derive(Debug)]
pub(crate) struct OpenCall {
    pub(crate) operation: &'static Operation,
    pub(crate) services: Arc<Services>,
    pub(crate) now: Timestamp,
    pub(crate) client: IpAddr,
    pub(crate) address: String,
    pub(crate) request: Option<RequestId>,
    /// The client's network, for its share of lookups.
    pub(crate) network: ClientNetwork,
    pub(crate) path: Vec<(&'static str, String)>,
    pub(crate) body: Bytes,
    /// The revision of the account that the request turns out to be about.
    pub(crate) answered_at: Arc<OnceLock<Revision>>,
}

impl OpenCall {
    /// Parses the body.
    pub(crate) fn body<T: DeserializeOwned + 'static>(&self) -> Result<T, Problem> {
        self.operation.check_body::<T>();
        json::parse(&self.body)
    }

    /// A parameter of the path, decoded.
    pub(crate) fn path_text(&self, name: &str) -> &str {
        value_of(&self.path, name)
    }

    /// Path and body have secrets: neither is kept.
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

/// A request with a key.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) operation: &'static Operation,
    pub(crate) services: Arc<Services>,
    pub(crate) account: Arc<Account>,
    pub(crate) caller: Caller,
    /// Where it waits if it takes long.
    pub(crate) lane: Lane,
    /// Whether it runs on a worker already.
    pub(crate) is_on_worker: bool,
    pub(crate) state: Arc<State>,
    /// The revision of the newer state that a worker used, of a result and of a refusal.
    pub(crate) decided_at: Arc<OnceLock<Revision>>,
    pub(crate) now: Timestamp,
    pub(crate) address: String,
    pub(crate) request: Option<RequestId>,
    pub(crate) path: Vec<(&'static str, String)>,
    pub(crate) query: Query,
    pub(crate) body: Bytes,
}

/// What the hot path of an operation works with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asking<'a> {
    pub(crate) account: &'a Account,
    /// The account's newest state, which says who may ask.
    pub(crate) state: &'a State,
    pub(crate) aliases: &'a Aliases,
    pub(crate) counts: &'a Counts,
    pub(crate) context: Context,
}

/// Runs a handler in a task of its own, so that it completes even if its client hangs up.
pub(crate) async fn to_its_end(
    work: impl Future<Output = Result<Answer, Problem>> + Send + 'static,
) -> Result<Answer, Problem> {
    tokio::spawn(work).await.unwrap_or_else(|error| {
        tracing::error!(%error, "a handler did not finish");
        Err(Problem::internal())
    })
}

/// Larger bodies are parsed on a worker, not on the thread of the connection.
const INLINE_BODY_MAX: usize = 8 * 1024;

impl Call {
    /// Runs the operation's handler where its row says.
    pub(crate) async fn answer(self) -> Result<Answer, Problem> {
        let operation = self.operation;
        let Handler::WithKey(handler) = operation.handler else {
            return Err(Problem::internal());
        };
        let is_large = self.body.len() > INLINE_BODY_MAX;
        let answer = match operation.runs {
            Runs::OnConnection if is_large => self.on_worker(Self::answer_large).await?,
            Runs::OnConnection => handler(self).await?,
            Runs::OnWorker => self.on_worker(handler).await?,
            Runs::ToItsEnd => {
                let (services, lane) = (Arc::clone(&self.services), self.lane);
                let changing = async move {
                    if is_large {
                        services.workers.drive(lane, handler(self)).await?
                    } else {
                        handler(self).await
                    }
                };
                to_its_end(changing).await?
            }
        };
        operation.check_answer(&answer);
        Ok(answer)
    }

    /// Runs a handler on a worker, in the call's lane. It uses the newest state when its turn comes: the wait
    /// may be long, and the caller's rights may have changed.
    pub(crate) async fn on_worker<A>(
        mut self,
        handler: impl FnOnce(Self) -> A + Send + 'static,
    ) -> Result<Answer, Problem>
    where
        A: Future<Output = Result<Answer, Problem>> + Send,
    {
        if self.is_on_worker {
            // It has its turn already. Waiting for another one could deadlock: other requests may hold theirs
            // and wait too.
            return handler(self).await;
        }
        self.is_on_worker = true;
        let (services, lane) = (Arc::clone(&self.services), self.lane);
        let work = async move {
            self.state = self.account.snapshot();
            let _ = self.decided_at.set(self.state.revision());
            self.now = self.services.node.clock().now().max(self.state.latest());
            handler(self).await
        };
        services.workers.drive(lane, work).await?
    }

    /// Uses the hot path if it can, else the handler.
    fn answer_large(self) -> Answering {
        if let (Some(hot_path), None) = (self.operation.hot_path, self.query.pairs().next())
            && let Some(answer) = hot_path(&self.asking(), &self.body)
        {
            return Box::pin(std::future::ready(Ok(answer)));
        }
        match self.operation.handler {
            Handler::WithKey(handler) => handler(self),
            Handler::WithProof(_) | Handler::ForAnyone(_) => {
                Box::pin(std::future::ready(Err(Problem::internal())))
            }
        }
    }

    /// The caller, the time and the request, for the core.
    pub(crate) fn context(&self) -> Context {
        Context {
            caller: self.caller,
            now: self.now,
        }
    }

    /// The key that parses and writes the account's ids.
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

    /// An id in an optional query parameter.
    pub(crate) fn query_id<I: Id>(&self, name: &str) -> Result<Option<I>, Problem> {
        self.query
            .one(name)?
            .map(|text| self.id(name, text))
            .transpose()
    }

    /// Parses the body.
    pub(crate) fn body<T: DeserializeOwned + 'static>(&self) -> Result<T, Problem> {
        self.operation.check_body::<T>();
        json::parse(&self.body)
    }

    /// Parses the body with `read`.
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

    /// Admits the caller for reads; commands do this themselves.
    pub(crate) fn admit(&self) -> Result<Context, Problem> {
        let context = self.context();
        self.state.admit(&context)?;
        Ok(context)
    }

    /// Decides and commits a command. When this returns, it is durable and every reader sees it.
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

    /// Sends an e-mail with a link to a person of this account.
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

#[cfg(test)]
mod tests {
    use bindery_core::command::operator::Bootstrap;
    use bindery_core::id::{AccountId, ApiKeyId, UserId};
    use bindery_core::place::{self, AccountSettings};
    use bindery_core::text::{Email, KeyName, Name};
    use bindery_node::{Clock, Node};
    use bindery_store::sqlite::SqliteStore;
    use futures_util::FutureExt as _;

    use super::*;
    use crate::attempts::Attempts;
    use crate::kept_searches::KeptSearches;
    use crate::mail::Mailer;
    use crate::operations::OPERATIONS;
    use crate::password::Passwords;
    use crate::secret::KeyText;
    use crate::turns::{Bound, Bounds, Turnstile};
    use crate::workers::Workers;

    /// Otherwise a client that requests many reasons at once takes every processor.
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
            searches: KeptSearches::default(),
            counts: Arc::new(Counts::new(OPERATIONS.len())),
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
                is_on_worker: false,
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
        let large_and_explains = format!("{explains}{large}");
        let waiting = [
            call("access_evaluation", explains),
            call("access_evaluations", explains),
            call("explain_access", ""),
            call("search_action", ""),
            call("access_evaluation", &large),
            call("access_evaluations", &large),
            // Large, and with reasons: one turn is enough for both.
            call("access_evaluation", &large_and_explains),
            call("access_evaluations", &large_and_explains),
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
        // The account was empty; the request that gets its turn now sees the new state.
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
        // The response names the revision of its data, not the one at which it began to wait.
        assert_eq!(listed_at.get(), Some(&Revision(1)));
    }
}
