//! How new a response is. Each response has the revision of its data. A request can ask for data at least as
//! new as an earlier response, from any server. A server that can't reach its store says how far it may be
//! behind.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bindery_core::api_key::SecretHash;
use bindery_core::command::Context;
use bindery_core::id::Revision;
use bindery_core::time::Timestamp;
use bindery_node::{ClientNetwork, Node};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use crate::operation::Operation;
use crate::problem::Problem;
use crate::turns::{Bound, Bounds, Lane, Turnstile};

/// In a response: the revision of the account that it is based on. After a change: one that includes the
/// change.
const REVISION: HeaderName = HeaderName::from_static("bindery-revision");
/// In a request: the lowest revision that the response may be based on.
const AT_LEAST: HeaderName = HeaderName::from_static("bindery-at-least");
/// In a response: seconds since this server last knew everything in its store; only while the store is
/// unreachable.
const STALENESS: HeaderName = HeaderName::from_static("bindery-staleness");

/// How long a request waits for a revision.
const AT_LEAST_TIMEOUT: Duration = Duration::from_secs(5);
/// Which part of all connections may wait for a revision at once: of all clients, of an account, of a person
/// and of a key.
const WAITING_SHARES: [usize; 4] = [2, 8, 16, 32];
/// From here on the store counts as unreachable.
pub(crate) const STALE_AFTER: Duration = Duration::from_secs(2);

/// What the frame around a response learns while it is made.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    body_read: AtomicBool,
    /// 0 while there is none.
    revision: AtomicU64,
    operation: OnceLock<&'static Operation>,
}

impl Frame {
    /// The whole body was read.
    pub(crate) fn has_read_body(&self) {
        self.body_read.store(true, Ordering::Relaxed);
    }

    /// Whether the whole body was read.
    pub(crate) fn is_body_read(&self) -> bool {
        self.body_read.load(Ordering::Relaxed)
    }

    /// Sets the revision of the data.
    pub(crate) fn answer_at(&self, revision: Revision) {
        self.revision.store(revision.0, Ordering::Relaxed);
    }

    /// The revision of the data, once it is known.
    pub(crate) fn revision(&self) -> Option<Revision> {
        let revision = Revision(self.revision.load(Ordering::Relaxed));
        (revision != Revision(0)).then_some(revision)
    }

    /// Sets the operation of the request.
    pub(crate) fn reaches(&self, operation: &'static Operation) {
        let _ = self.operation.set(operation);
    }

    /// The operation, if the request has one.
    pub(crate) fn operation(&self) -> Option<&'static Operation> {
        self.operation.get().copied()
    }

    /// Writes the headers that say how new the response is.
    pub(crate) fn say(&self, staleness: Duration, headers: &mut HeaderMap) {
        let revision = self.revision.load(Ordering::Relaxed);
        if revision > 0 {
            headers.insert(REVISION, HeaderValue::from(revision));
        }
        if staleness > STALE_AFTER {
            headers.insert(STALENESS, HeaderValue::from(staleness.as_secs()));
        }
    }
}

/// The lowest revision that the response may be based on.
pub(crate) fn wanted(headers: &HeaderMap) -> Result<Option<Revision>, Problem> {
    let mut values = headers.get_all(AT_LEAST).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default();
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(revision) if is_plain && values.next().is_none() => Ok(Some(Revision(revision))),
        _ => Err(Problem::field(
            "Bindery-At-Least",
            "send one whole number, the `Bindery-Revision` of an earlier answer",
        )),
    }
}

/// The turns to wait for a revision: a request gets one at once, or is refused.
pub(crate) fn waits(connections_max: usize) -> Turnstile {
    Turnstile::new(Bounds(WAITING_SHARES.map(|share| Bound {
        running: (connections_max / share).max(1),
        waiting: 0,
    })))
}

/// Waits until the key's account has the revision, within bounds. An unknown key is not an error here.
pub(crate) async fn wait(
    node: &Arc<Node>,
    waits: &Turnstile,
    key: Option<&SecretHash>,
    revision: Revision,
    network: ClientNetwork,
) -> Result<(), Problem> {
    let Some(key) = key else {
        return Ok(());
    };
    let Some((account, caller)) = node.admit(key, node.clock().now(), network).await? else {
        return Ok(());
    };
    let state = account.snapshot();
    if state.revision() >= revision {
        return Ok(());
    }
    let context = Context {
        caller,
        now: Timestamp::from_millis(0),
    };
    let person = state.person_behind(context.user());
    drop(state);
    let turn = waits.try_enter(Lane::of(account.id(), person, caller));
    let turn = turn.map_err(Problem::too_many_wait_for_revisions)?;
    let reached = tokio::time::timeout(AT_LEAST_TIMEOUT, account.reach(revision)).await;
    drop(turn);
    reached.map_err(|_| Problem::revision_not_reached(revision, account.snapshot().revision()))
}

#[cfg(test)]
mod tests {
    use bindery_core::command::Caller;
    use bindery_core::command::operator::Bootstrap;
    use bindery_core::id::{AccountId, IdKey};
    use bindery_core::place::{self, AccountSettings};
    use bindery_core::text::{Email, KeyName, Name};
    use bindery_node::Clock;
    use bindery_store::sqlite::SqliteStore;
    use futures_util::FutureExt as _;

    use super::*;
    use crate::secret::KeyText;

    fn of(values: &[&'static str]) -> Result<Option<u64>, ()> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AT_LEAST, HeaderValue::from_static(value));
        }
        let wanted = wanted(&headers).map_err(|_| ())?;
        Ok(wanted.map(|Revision(revision)| revision))
    }

    #[test]
    fn a_wanted_revision_is_one_whole_number() {
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&["0"]), Ok(Some(0)));
        assert_eq!(of(&["18446744073709551615"]), Ok(Some(u64::MAX)));
        for bad in [
            "",
            "-1",
            "+1",
            "1.0",
            " ",
            "1,2",
            "x",
            "18446744073709551616",
        ] {
            assert_eq!(of(&[bad]), Err(()), "{bad}");
        }
        assert_eq!(of(&["1", "1"]), Err(()));
    }

    #[tokio::test]
    async fn how_many_requests_of_a_key_wait_for_a_revision_is_bounded() {
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
        let text = KeyText::generate().unwrap();
        let founding = Bootstrap {
            name: Name::parse("Root").unwrap(),
            email: Email::parse("root@example.com").unwrap(),
            key_name: KeyName::parse("first").unwrap(),
            secret: text.secret(),
        };
        account
            .execute(founding, Caller::Operator, None)
            .await
            .unwrap();
        let here = account.snapshot().revision();
        // Two for a key.
        let waits = waits(64);
        let network = ClientNetwork::of("198.51.100.7".parse().unwrap());
        let hash = text.hash();
        let wait = |revision| wait(&node, &waits, Some(&hash), revision, network);
        let later = Revision(here.0 + 1);
        let mut waiting = [Box::pin(wait(later)), Box::pin(wait(later))];
        for one in &mut waiting {
            assert!(one.now_or_never().is_none());
        }
        let refused = wait(later).now_or_never().unwrap().unwrap_err();
        assert_eq!(refused.status(), 503);
        assert!(refused.detail().contains("of this key"), "{refused:?}");
        assert!(wait(here).await.is_ok(), "it is there");
        drop(waiting);
        assert_eq!(waits.running(), 0);
        assert!(wait(later).now_or_never().is_none());
    }
}
