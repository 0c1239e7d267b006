//! `bindery account` and `bindery key`: for the owner of a store. A directory must not be in use by a server;
//! servers on a database see the changes like any other.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use bindery_api::KeyText;
use bindery_core::command::Caller;
use bindery_core::command::operator::{IssueUserKey, SetQuota};
use bindery_core::id::{AccountId, Id as _, UserId};
use bindery_core::quota::{QUOTAS, Quota, QuotaInfo, QuotaScope};
use bindery_core::state::State;
use bindery_core::text::{Email, KeyName};
use bindery_node::{Account, ExecuteError, Node, OpenError};
use bindery_store::StoreError;
use clap::Subcommand;

use crate::open::{self, Founder};
use crate::{repair_time, store};

#[derive(Debug, Subcommand)]
pub(crate) enum AccountCommand {
    /// Create an account with an admin, and show the admin's key once.
    Create {
        #[command(flatten)]
        store: store::Arguments,
        /// The name of the account.
        #[arg(long)]
        name: String,
        /// The admin's e-mail address.
        #[arg(long, value_name = "EMAIL", default_value = "admin@bindery.localhost")]
        admin_email: String,
    },
    /// List the accounts: number, revision and name.
    List {
        #[command(flatten)]
        store: store::Existing,
    },
    /// Show and set the quotas of an account: how much it, and one person in it, can make the server store.
    #[command(subcommand)]
    Quota(QuotaCommand),
    /// Set the time of an account back after a change was made with a clock that was ahead. Make a backup first.
    RepairTime(repair_time::Arguments),
}

#[derive(Debug, Subcommand)]
pub(crate) enum QuotaCommand {
    /// List the quotas: name, limit, and current use of totals.
    List {
        #[command(flatten)]
        store: store::Existing,
        /// The number of the account, as `bindery account list` shows it.
        #[arg(long, value_name = "NUMBER", default_value_t = 1)]
        account: u32,
    },
    /// Set a quota. A limit below the current use removes nothing.
    Set {
        #[command(flatten)]
        store: store::Existing,
        /// The number of the account, as `bindery account list` shows it.
        #[arg(long, value_name = "NUMBER", default_value_t = 1)]
        account: u32,
        /// The name of the quota, as `bindery account quota list` shows it.
        name: String,
        /// The new limit.
        limit: u64,
    },
    /// Reset a quota to its default.
    Reset {
        #[command(flatten)]
        store: store::Existing,
        /// The number of the account, as `bindery account list` shows it.
        #[arg(long, value_name = "NUMBER", default_value_t = 1)]
        account: u32,
        /// The name of the quota.
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Create an API key for a person, and show it once: for people who lost their key.
    Issue {
        #[command(flatten)]
        store: store::Existing,
        /// The person's e-mail address.
        #[arg(long)]
        email: String,
        /// The number of the account, as `bindery account list` shows it.
        #[arg(long, value_name = "NUMBER", default_value_t = 1)]
        account: u32,
        /// The name of the key.
        #[arg(long, default_value = "issued by the operator")]
        name: String,
        /// Mark the key as an enforcement point: a program with it may ask for a decision about anyone and
        /// anything in the account. The key may do no more than its person.
        #[arg(long)]
        enforcement_point: bool,
    },
}

pub(crate) fn run_account(command: &AccountCommand) -> Result<()> {
    match command {
        AccountCommand::Create {
            store,
            name,
            admin_email,
        } => {
            let node = open::node_to_change(store.open()?)?;
            let key = KeyText::generate().map_err(|error| anyhow!("no random numbers: {error}"))?;
            let founder = Founder::parse(name, "Admin", admin_email, key.clone())?;
            let account = open::found(
                &node,
                &open::runtime()?,
                open::next_account(&node)?,
                founder,
            )?;
            let AccountId(number) = account.id();
            say(&format!(
                "account {number}\nadmin key, shown this once and never again: {}",
                key.reveal()
            ))
        }
        AccountCommand::List { store } => {
            let store = store.open()?;
            let heads: BTreeMap<_, _> = store.heads()?.into_iter().collect();
            for account in store.accounts()? {
                let AccountId(number) = account.id;
                let revision = heads.get(&account.id).copied().unwrap_or_default().revision;
                say(&format!("{number}\t{revision}\t{}", account.name))?;
            }
            let damaged = store.damaged_accounts()?;
            if damaged.is_empty() {
                return Ok(());
            }
            let lines: Vec<String> = damaged.iter().map(ToString::to_string).collect();
            bail!("accounts that are not listed:\n  {}", lines.join("\n  "))
        }
        AccountCommand::Quota(command) => run_quota(command),
        AccountCommand::RepairTime(arguments) => repair_time::run(arguments),
    }
}

fn run_quota(command: &QuotaCommand) -> Result<()> {
    let (store, account, set) = match command {
        QuotaCommand::List { store, account } => (store, account, None),
        QuotaCommand::Set {
            store,
            account,
            name,
            limit,
        } => (store, account, Some((name, Some(*limit)))),
        QuotaCommand::Reset {
            store,
            account,
            name,
        } => (store, account, Some((name, None))),
    };
    let set = set
        .map(|(name, limit)| {
            let quota = Quota::named(name).with_context(|| {
                format!("there is no quota `{name}`; `bindery account quota list` lists them")
            })?;
            Ok::<_, anyhow::Error>(SetQuota { quota, limit })
        })
        .transpose()?;
    let store = store.open()?;
    let node = match set {
        Some(_) => open::node_to_change(store)?,
        None => open::node(store)?,
    };
    let account = find(&node, AccountId(*account))?;
    let Some(set) = set else {
        return list_quotas(&account);
    };
    let quota = set.quota;
    open::runtime()?.block_on(account.execute(set, Caller::Operator, None))?;
    say(&quota_line(&account.snapshot(), quota.info()))
}

fn list_quotas(account: &Account) -> Result<()> {
    let state = account.snapshot();
    for info in &QUOTAS {
        let used = match info.scope {
            QuotaScope::Account => state.quota_use(info.quota, UserId::NOBODY, state.latest()),
            QuotaScope::Members | QuotaScope::Person | QuotaScope::Member => None,
        };
        let used = used.map_or_else(|| "-".to_owned(), |used| used.to_string());
        say(&format!(
            "{}\tused {used}\t{}",
            quota_line(&state, info),
            info.counts
        ))?;
    }
    Ok(())
}

fn quota_line(state: &State, info: &QuotaInfo) -> String {
    let limits = &state.account().settings.quotas;
    let set = if limits.is_set(info.quota) {
        format!(" (default {})", info.default)
    } else {
        String::new()
    };
    format!("{}\t{}{set}", info.name, limits.limit(info.quota))
}

pub(crate) fn run_key(command: &KeyCommand) -> Result<()> {
    let KeyCommand::Issue {
        store,
        email,
        account,
        name,
        enforcement_point,
    } = command;
    let node = open::node_to_change(store.open()?)?;
    let account = find(&node, AccountId(*account))?;
    let key = KeyText::generate().map_err(|error| anyhow!("no random numbers: {error}"))?;
    let issue = IssueUserKey {
        email: Email::parse(email).map_err(|error| anyhow!("--email: {error}"))?,
        key_name: KeyName::parse(name).map_err(|error| anyhow!("--name {error}"))?,
        secret: key.secret(),
        is_enforcement_point: *enforcement_point,
    };
    match open::runtime()?.block_on(account.execute(issue, Caller::Operator, None)) {
        Ok(_) => say(key.reveal()),
        Err(ExecuteError::Refused(_)) => {
            bail!("no active user of this account has the address `{email}`")
        }
        Err(error) => Err(error.into()),
    }
}

fn find(node: &Node, id: AccountId) -> Result<Arc<Account>> {
    let AccountId(number) = id;
    node.load(id).map_err(|error| match error {
        OpenError::Store(StoreError::NoAccount(_)) => {
            anyhow!("there is no account {number}; `bindery account list` lists them")
        }
        error => error.into(),
    })
}

fn say(line: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{line}").context("stdout is closed")
}
