//! From a store to loaded accounts, and the first account of an empty store.

use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use bindery_api::KeyText;
use bindery_core::command::Caller;
use bindery_core::command::operator::Bootstrap;
use bindery_core::id::{AccountId, IdKey};
use bindery_core::place::{Account as AccountRecord, AccountSettings};
use bindery_core::text::{Email, KeyName, Name};
use bindery_node::{Account, CLOCK_AHEAD_MAX, Clock, ExecuteError, Node, Obstacle, OpenError};
use bindery_store::{Store, StoreError};
use tokio::runtime::Runtime;

/// The accounts of a store, each loaded on demand.
pub(crate) fn node(store: Arc<dyn Store>) -> Result<Node> {
    Ok(Node::open(store, Clock::system())?)
}

/// The same for a command that changes something: it fails first if the clock is ahead of the database's.
pub(crate) fn node_to_change(store: Arc<dyn Store>) -> Result<Node> {
    let node = node(store)?;
    if node.obstacle() == Some(Obstacle::ClockAhead) {
        let minutes = CLOCK_AHEAD_MAX.as_secs() / 60;
        bail!(
            "the clock of this machine is ahead of the database's by more than {minutes} minutes; set the clock right first"
        );
    }
    Ok(node)
}

/// The threads that serve.
pub(crate) fn runtime() -> Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the system can't start threads to serve with")
}

/// The first admin of an account.
#[derive(Debug)]
pub(crate) struct Founder {
    pub(crate) account: Name,
    pub(crate) name: Name,
    pub(crate) email: Email,
    pub(crate) key: KeyText,
}

impl Founder {
    pub(crate) fn parse(account: &str, name: &str, email: &str, key: KeyText) -> Result<Self> {
        Ok(Self {
            account: Name::parse(account).map_err(|error| anyhow!("the account's name {error}"))?,
            name: Name::parse(name).map_err(|error| anyhow!("the admin's name {error}"))?,
            email: Email::parse(email).map_err(|error| anyhow!("the admin's e-mail: {error}"))?,
            key,
        })
    }
}

/// The number of the next account.
pub(crate) fn next_account(node: &Node) -> Result<AccountId> {
    let heads = node.store().heads()?;
    let AccountId(last) = heads.last().map_or(AccountId(0), |(id, _)| *id);
    let next = last.checked_add(1);
    let next = next.context("there is no number left for another account; `bindery verify` says whether a row is damaged")?;
    Ok(AccountId(next))
}

/// Creates the account with this number, and its admin. Fails if another process has created it.
pub(crate) fn found(
    node: &Node,
    runtime: &Runtime,
    id: AccountId,
    founder: Founder,
) -> Result<Arc<Account>> {
    let mut id_key = [0; 16];
    getrandom::fill(&mut id_key).map_err(|error| anyhow!("no random numbers: {error}"))?;
    let account = node.create_account(&AccountRecord {
        id,
        name: founder.account.clone(),
        id_key: IdKey::new(id_key),
        created_at: node.clock().now(),
        settings: AccountSettings::default(),
    })?;
    admit_founder(&account, runtime, founder)?;
    Ok(account)
}

/// Gives an empty account its admin, even one whose creation was interrupted.
pub(crate) fn admit_founder(account: &Account, runtime: &Runtime, founder: Founder) -> Result<()> {
    let bootstrap = Bootstrap {
        name: founder.name,
        email: founder.email,
        key_name: KeyName::parse("first admin key").map_err(|error| anyhow!("{error}"))?,
        secret: founder.key.secret(),
    };
    runtime.block_on(account.execute(bootstrap, Caller::Operator, None))?;
    Ok(())
}

/// Whether creating an account or its admin failed because another server on the same database had just done
/// it.
pub(crate) fn others_were_first(error: &anyhow::Error) -> bool {
    let exists = matches!(
        error.downcast_ref(),
        Some(OpenError::Store(StoreError::AccountExists(_)))
    );
    let has_admin = matches!(error.downcast_ref(), Some(ExecuteError::Refused(_)));
    exists || has_admin
}
