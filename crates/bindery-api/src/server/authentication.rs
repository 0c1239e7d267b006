//! Who makes a request: the key that it comes with, and what their requests are limited to.

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

/// Who asks, with a good key.
pub(super) struct Known {
    pub(super) account: Arc<Account>,
    pub(super) caller: Caller,
    /// Of the key, of the person behind it, and of the account: their limits count.
    pub(super) lane: Lane,
}

/// What a request shows of who makes it: the key in `Authorization: Bearer <key>`, if it has the form of one.
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
    /// Who asks, if the key is good. Rate limits are taken before a request waits for a revision, a turn or a load: those of a person and account as soon as
    /// they are known, and without a good key that of the client address.
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
            // It may be closed to make room for others, as one that is in the middle of a body.
            connection.begin_waiting();
            Box::pin(freshness::wait(node, waits, key, revision, network)).await?;
            connection.end_waiting().map_err(Problem::leaving)?;
            // What has come with that revision may have ended the key.
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
        // Not before the wait: an answer names no revision below the one that its request wants.
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
