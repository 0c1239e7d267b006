//! Finds the caller of a request by its key, and takes from the caller's rate limits.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bindery_core::api_key::SecretHash;
use bindery_core::command::{Caller, Context};
use bindery_core::time::Timestamp;
use bindery_node::{Account, ClientNetwork};
use hyper::header::{self, HeaderMap};

use super::Server;
use crate::connection_table::Connection;
use crate::freshness::{self, Frame};
use crate::operations::Route;
use crate::problem::Problem;
use crate::rate::Limited;
use crate::secret::KeyText;
use crate::turns::Lane;

/// A caller with a valid key.
pub(super) struct Known {
    pub(super) account: Arc<Account>,
    pub(super) caller: Caller,
    /// The key, its person and its account, for limits.
    pub(super) lane: Lane,
}

/// The key in `Authorization: Bearer <key>`, if it has the form of a key.
pub(super) fn presented(headers: &HeaderMap) -> Option<SecretHash> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else {
        return None;
    };
    let (scheme, key) = value.to_str().ok()?.split_once(' ')?;
    let is_bearer = scheme.eq_ignore_ascii_case("Bearer");
    let key = is_bearer.then(|| KeyText::parse(key.trim()).ok())?;
    key.map(|key| key.hash())
}

impl Server {
    /// The caller, if the key is valid. Rate limits are taken before a request waits for a revision, a turn
    /// or a load: those of a person and account once they are known, and that of the client address without a
    /// valid key.
    pub(super) async fn identify(
        &self,
        key: Option<&SecretHash>,
        client: IpAddr,
        route: &Route,
        headers: &HeaderMap,
        connection: &Connection,
        frame: &Frame,
    ) -> Result<Option<Known>, Problem> {
        let node = &self.services.node;
        let is_change = matches!(route, Route::Found(operation, _) if operation.takes_key() && operation.is_change());
        let took = |account: &Account, caller| {
            let state = account.snapshot();
            let context = Context {
                caller,
                now: Timestamp::from_millis(0),
            };
            let person = state.person_behind(context.user());
            let taken = self
                .rates
                .take(account.id(), person, is_change, Instant::now());
            taken.map(|()| person)
        };
        let limited = |limited: Limited| {
            self.services.counts.limited(limited.bucket);
            Problem::rate_limited(limited)
        };
        let network = ClientNetwork::of(client);
        let here = key.and_then(|key| node.authenticate(key, node.clock().now()));
        let mut person = None;
        match &here {
            Some((account, caller)) => person = Some(took(account, *caller).map_err(limited)?),
            None => self
                .rates
                .allow_lookup(client, Instant::now())
                .map_err(limited)?,
        }
        let wanted = freshness::wanted(headers);
        let mut known = here;
        if let Ok(Some(revision)) = wanted {
            let waits = &self.services.revision_waits;
            // Meanwhile it may be closed to make room for others, like a connection in the middle of a body.
            connection.begin_waiting();
            Box::pin(freshness::wait(node, waits, key, revision, network)).await?;
            connection.end_waiting().map_err(Problem::leaving)?;
            // A change up to that revision may have ended the key.
            known = None;
        }
        if let (Some(key), None) = (key, &known) {
            known = Box::pin(node.admit(key, node.clock().now(), network)).await?;
        }
        let Some((account, caller)) = known else {
            let taken = self.rates.take_address(client, Instant::now());
            taken.map_err(limited)?;
            return Ok(None);
        };
        // After the wait: a response never names a lower revision than its request asked for.
        frame.answer_at(account.snapshot().revision());
        let person = match person {
            Some(person) => person,
            None => took(&account, caller).map_err(limited)?,
        };
        wanted?;
        Ok(Some(Known {
            lane: Lane::of(account.id(), person, caller),
            account,
            caller,
        }))
    }
}
