//! `bindery serve`.

use std::future::Future;
use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use bindery_api::{
    Aliases, KeyText, Limits, MailSettings, Mailer, Network, Options, PublicUrl, RateLimits, Server,
};
use bindery_core::id::{AccountId, Revision};
use bindery_node::{LogRetention, Node};
use clap::ValueEnum;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::connections::ConnectionArguments;
use crate::open::{self, Founder};
use crate::store;

/// The key that a first start gives the admin, instead of making one.
const ADMIN_KEY_VARIABLE: &str = "BINDERY_ADMIN_KEY";

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    store: store::Arguments,
    /// Where to listen; port 0 picks a free one. A port alone, like `:8081`, is one of this machine only
    /// (127.0.0.1).
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: String,
    /// How long the head or the body of a request may take to arrive, a response may stay unread, and a
    /// connection may idle.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    request_timeout: u64,
    #[command(flatten)]
    connections: ConnectionArguments,
    /// The form of the log on stderr.
    #[arg(long, value_enum, default_value_t = LogForm::Human)]
    log: LogForm,
    /// Requests a second by one person, with all their keys and service keys together; as many may arrive at
    /// once. More get 429. The default is above what an honest client sends, including a busy enforcement
    /// point.
    #[arg(long, value_name = "REQUESTS", default_value_t = RateLimits::PERSON, value_parser = rate_limit)]
    rate_limit: NonZeroU32,
    /// Changes a second among them.
    #[arg(long, value_name = "REQUESTS", default_value_t = RateLimits::CHANGES, value_parser = rate_limit)]
    rate_limit_changes: NonZeroU32,
    /// Requests a second to one account.
    #[arg(long, value_name = "REQUESTS", default_value_t = RateLimits::ACCOUNT, value_parser = rate_limit)]
    rate_limit_account: NonZeroU32,
    /// Requests a second without a valid key from one client address (IPv6: from one /64 network).
    #[arg(long, value_name = "REQUESTS", default_value_t = RateLimits::ADDRESS, value_parser = rate_limit)]
    rate_limit_address: NonZeroU32,
    /// Whether the audit log has reads, too; refused requests and changes are always in it.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    audit_reads: bool,
    /// How many days audit entries are kept; 0 keeps them forever.
    #[arg(long, value_name = "DAYS", default_value_t = 400, value_parser = clap::value_parser!(u64).range(0..=36_500))]
    audit_retention_days: u64,
    /// How many days changes are kept in the log, as history [default: forever, without this and the next].
    /// Current data never depends on it. Changes of the last hour, and those that either option keeps, are
    /// kept.
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u64).range(1..=36_500))]
    log_retention_days: Option<u64>,
    /// How many of an account's last changes are kept in the log.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    log_retention_revisions: Option<u64>,
    /// How many seconds a server that can't reach its store goes on responding from memory [default: forever]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(2..))]
    staleness_limit: Option<u64>,
    /// How many accounts, the oldest first, are loaded before the server listens; the others are loaded on
    /// first use.
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    accounts_preloaded: usize,
    /// Unload accounts idle for this many minutes; they are loaded again on next use [default: never]
    #[arg(long, value_name = "MINUTES", value_parser = clap::value_parser!(u64).range(1..=525_600))]
    accounts_idle_minutes: Option<u64>,
    /// Where `GET /metrics` is served, for Prometheus and without a key; nowhere by default. It shows how
    /// busy each account number is.
    #[arg(long, value_name = "ADDR")]
    metrics_listen: Option<String>,
    /// Where clients and people reach this server, like `https://bindery.example.com`. Links in e-mails begin
    /// with it, by default with the address it listens on; AuthZEN metadata are served only if it is given.
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// Reverse proxies in front, as addresses or networks, like `10.0.0.0/8,::1`. The client address is the
    /// last `X-Forwarded-For` entry added by one of them; it is used in the audit log and for limits. By
    /// default the header is ignored.
    #[arg(long, value_name = "NETWORKS", value_delimiter = ',')]
    trusted_proxies: Vec<Network>,
    /// A JSON file with other names for types, ids and actions on the AuthZEN endpoints (docs/authzen.md). None by default.
    #[arg(long, value_name = "FILE")]
    aliases: Option<PathBuf>,
    /// The mail server for invitations and password resets: smtp://[user:password@]host[:port] or smtps://….
    /// Another machine is reached over TLS (smtp:// by STARTTLS), unless the URL ends in ?tls=none. Without
    /// one, e-mails are only mentioned in the log.
    #[arg(
        long,
        value_name = "URL",
        env = "BINDERY_SMTP_URL",
        hide_env_values = true
    )]
    smtp_url: Option<String>,
    /// The sender of e-mails, like `Bindery <bindery@example.com>`.
    #[arg(
        long,
        value_name = "SENDER",
        default_value = "Bindery <bindery@localhost>"
    )]
    mail_from: String,
    /// The name of the account that a first start creates; people see it in e-mails.
    #[arg(long, value_name = "NAME", default_value = "Bindery")]
    account_name: String,
    /// The e-mail address of the admin that a first start creates.
    #[arg(long, value_name = "EMAIL", default_value = "admin@bindery.localhost")]
    admin_email: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogForm {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    start_log(arguments.log);
    let given_key = admin_key_from_environment()?;
    let runtime = open::runtime()?;
    let stop = stop_signal(&runtime)?;
    let listener = runtime.block_on(bind("--listen", &arguments.listen))?;
    let address = listener
        .local_addr()
        .context("the listener has no address")?;
    let metrics = arguments.metrics_listen.as_deref();
    let metrics = metrics.map(|listen| runtime.block_on(bind("--metrics-listen", listen)));
    let metrics = metrics.transpose()?;
    if let Some(metrics) = &metrics {
        let address = metrics
            .local_addr()
            .context("the listener has no address")?;
        tracing::info!(%address, "metrics are served");
    }
    let options = Options {
        metrics,
        ..options(arguments, address)?
    };
    let node = Arc::new(node(&runtime, arguments, given_key.as_ref())?);
    writeln!(std::io::stdout(), "listening on http://{address}").context("stdout is closed")?;
    serve_until_stopped(&runtime, node, listener, options, stop);
    Ok(())
}

/// The accounts of the store, loaded on demand; at least one exists.
fn node(runtime: &Runtime, arguments: &Arguments, given_key: Option<&KeyText>) -> Result<Node> {
    let store = arguments.store.open()?;
    let node = open::node(store)?;
    for error in node.store().damaged_accounts()? {
        tracing::error!(%error, "an account is damaged and can't be loaded; the others are served");
    }
    // Servers that share a new database may start at once.
    let is_others = |made: &Result<()>| made.as_ref().is_err_and(open::others_were_first);
    let mut made = make_first_account(&node, runtime, arguments, given_key);
    if is_others(&made) {
        made = make_first_account(&node, runtime, arguments, given_key);
    }
    if !is_others(&made) {
        made?;
    }
    load_first(&node, arguments.accounts_preloaded)?;
    Ok(node)
}

/// Loads some accounts, the oldest first, so that their first users don't wait. A server with a single
/// account that can't be loaded would be useless, and doesn't start.
fn load_first(node: &Node, count: usize) -> Result<()> {
    let heads = node.store().heads()?;
    for (id, _) in heads.iter().take(count) {
        match node.load(*id) {
            Ok(_) => {}
            Err(error) if heads.len() == 1 => return Err(error.into()),
            Err(error) => {
                tracing::error!(%error, account = id.0, "the account can't be loaded yet");
            }
        }
    }
    Ok(())
}

fn rate_limit(text: &str) -> Result<NonZeroU32, String> {
    let limit = text.parse::<NonZeroU32>();
    limit.map_err(|_| {
        "it takes a whole number from 1 to 4294967295; leave the option out for the default"
            .to_owned()
    })
}

fn options(arguments: &Arguments, address: SocketAddr) -> Result<Options> {
    let timeout = Duration::from_secs(arguments.request_timeout);
    let settings = arguments.smtp_url.as_ref().map(|smtp_url| MailSettings {
        smtp_url: smtp_url.clone(),
        from: arguments.mail_from.clone(),
    });
    let public_url = arguments.public_url.as_deref().map(|url| {
        PublicUrl::parse(url).map_err(|error| anyhow!("--public-url: `{url}` is none: {error}"))
    });
    let public_url = public_url.transpose()?;
    if let Some(url) = public_url.as_ref().filter(|url| !url.serves_metadata()) {
        tracing::warn!(
            "AuthZEN metadata is not served: it takes a --public-url with https and without a path, and this is `{url}`"
        );
    }
    let links_begin_with = public_url
        .as_ref()
        .map_or_else(|| format!("http://{address}"), ToString::to_string);
    Ok(Options {
        limits: Limits {
            header_timeout: timeout,
            body_timeout: timeout,
            write_timeout: timeout,
            ..arguments.connections.limits()?
        },
        rate_limits: RateLimits {
            person: arguments.rate_limit,
            changes: arguments.rate_limit_changes,
            account: arguments.rate_limit_account,
            address: arguments.rate_limit_address,
            ..RateLimits::default()
        },
        audits_reads: arguments.audit_reads,
        audit_retention: (arguments.audit_retention_days > 0)
            .then(|| Duration::from_secs(arguments.audit_retention_days * 86_400)),
        log_retention: LogRetention {
            age: arguments
                .log_retention_days
                .map(|days| Duration::from_secs(days * 86_400)),
            revisions: arguments.log_retention_revisions,
        },
        staleness_max: arguments.staleness_limit.map(Duration::from_secs),
        accounts_idle: arguments
            .accounts_idle_minutes
            .map(|minutes| Duration::from_secs(minutes * 60)),
        metrics: None,
        mailer: Mailer::new(settings.as_ref(), &links_begin_with)?,
        public_url,
        aliases: aliases(arguments.aliases.as_deref())?,
        trusted_proxies: arguments.trusted_proxies.clone(),
    })
}

fn aliases(file: Option<&Path>) -> Result<Aliases> {
    let Some(file) = file else {
        return Ok(Aliases::default());
    };
    let name = file.display();
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("--aliases: `{name}` can't be read"))?;
    Aliases::parse(&text).map_err(|error| anyhow!("--aliases: `{name}`: {error}"))
}

/// Serves until `stop` resolves, lets running requests finish, and leaves everything committed.
pub(crate) fn serve_until_stopped(
    runtime: &Runtime,
    node: Arc<Node>,
    listener: TcpListener,
    options: Options,
    stop: impl Future<Output = ()>,
) {
    let server = Server::new(Arc::clone(&node), options);
    runtime.block_on(server.serve(listener, stop));
    // Dropping the last handle of an account waits for its writer: nothing that was queued is lost.
    drop(node);
    tracing::info!("stopped");
}

/// Resolves on SIGTERM or SIGINT. They are caught from the call on, before the server prints that it serves.
/// So a reader of that line can already stop it cleanly.
pub(crate) fn stop_signal(runtime: &Runtime) -> Result<impl Future<Output = ()> + use<>> {
    let _inside = runtime.enter();
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM can't be caught")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT can't be caught")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: no new connections; requests under way finish");
    })
}

/// Listens where this option says.
#[expect(
    clippy::unused_async,
    reason = "a listener is made inside of its runtime"
)]
pub(crate) async fn bind(option: &str, listen: &str) -> Result<TcpListener> {
    // A port alone opens nothing to other machines: they have to be meant.
    let whole = match listen.strip_prefix(':') {
        Some(port) => format!("127.0.0.1:{port}"),
        None => listen.to_owned(),
    };
    let address: SocketAddr = whole.parse().map_err(|_| {
        anyhow!(
            "{option} takes an address and a port, like 127.0.0.1:8080, 0.0.0.0:8080 for all addresses of this machine, or :8080 \
             for 127.0.0.1; `{listen}` is none of them"
        )
    })?;
    listen_on(address).map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            anyhow!("{address} is taken by another program; choose another address with {option}")
        }
        _ => anyhow!("{address} can't be listened on: {error}"),
    })
}

/// Clients that the system lets wait to be accepted; one that comes beyond them tries again a second later.
const BACKLOG: u32 = 4096;

fn listen_on(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A restart needn't wait for the connections of the process before.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn admin_key_from_environment() -> Result<Option<KeyText>> {
    match std::env::var(ADMIN_KEY_VARIABLE) {
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(anyhow!("{ADMIN_KEY_VARIABLE}: not text")),
        // The key itself never comes into a message.
        Ok(text) => match KeyText::parse(&text) {
            Ok(key) => Ok(Some(key)),
            Err(error) => Err(anyhow!("{ADMIN_KEY_VARIABLE}: {error}")),
        },
    }
}

/// On a first start, the account and its admin; afterwards nothing.
fn make_first_account(
    node: &Node,
    runtime: &Runtime,
    arguments: &Arguments,
    given_key: Option<&KeyText>,
) -> Result<()> {
    let heads = node.store().heads()?;
    // The first change of an account is the one that gives it its admin.
    let unfinished = match heads.first() {
        Some((id, head)) if head.revision == Revision(0) => match node.load(*id) {
            Ok(account) if account.snapshot().revision() == Revision(0) => Some(account),
            Ok(_) => None,
            Err(error) if heads.len() == 1 => return Err(error.into()),
            // Its row may be damaged, which keeps the others from nothing.
            Err(error) => {
                tracing::error!(%error, account = id.0, "failed to load an account");
                None
            }
        },
        _ => None,
    };
    if !heads.is_empty() && unfinished.is_none() {
        if given_key.is_some() {
            tracing::info!("{ADMIN_KEY_VARIABLE} is not used: the account has an admin already");
        }
        return Ok(());
    }
    let is_made = given_key.is_none();
    let key = match given_key {
        Some(key) => key.clone(),
        None => KeyText::generate().map_err(|error| anyhow!("no random numbers: {error}"))?,
    };
    let founder = Founder::parse(
        &arguments.account_name,
        "Admin",
        &arguments.admin_email,
        key.clone(),
    )?;
    match unfinished {
        Some(account) => open::admit_founder(&account, runtime, founder)?,
        None => {
            // The first one, not the next: another server may have made it since the store was found empty.
            open::found(node, runtime, AccountId(1), founder)?;
        }
    }
    if is_made {
        show_key_once(arguments.log, &key)?;
    }
    Ok(())
}

/// To stderr, past the log: stdout has its one line, and what the log writes may be kept.
fn show_key_once(form: LogForm, key: &KeyText) -> Result<()> {
    let key = key.reveal();
    let mut stderr = std::io::stderr();
    match form {
        LogForm::Human => {
            writeln!(stderr, "admin key, shown this once and never again: {key}")
        }
        LogForm::Json => {
            writeln!(
                stderr,
                r#"{{"message":"admin key, shown this once and never again","key":"{key}"}}"#
            )
        }
    }
    .context("the admin key can't be shown: stderr is closed")
}

/// The log goes to stderr; `RUST_LOG` chooses how much of it.
pub(crate) fn start_log(form: LogForm) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"))
        // Whatever else is asked for: it would write down what statements carry, people and hashes of keys.
        .add_directive(
            "tokio_postgres::query=info"
                .parse()
                .expect("a target with a level"),
        );
    let log = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_env_filter(filter);
    match form {
        LogForm::Human => log.with_target(false).init(),
        LogForm::Json => log.json().init(),
    }
}
