//! One connection, blocking. Each has its own small runtime that runs only while a caller waits for a
//! response. So there is no extra thread, every wait has an end, and statements can be sent without waiting
//! for earlier responses.

use std::cell::Cell;
use std::collections::HashMap;
use std::error::Error as StdError;
use std::pin::pin;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::future::join_all;
use futures_util::{StreamExt as _, TryFutureExt as _};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_postgres::error::{DbError, SqlState};

use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, Statement};

use super::address::Address;
use crate::Cause;
use crate::tables::{Database, Failure, Row, TakeRow, Value};

/// How long one host may take to accept a login.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a database may be silent before it counts as gone. Longer than the database's own timeout, so
/// that its error arrives if it can respond.
pub(super) const ANSWER_TIMEOUT: Duration = WRITE_TIMEOUT.saturating_add(ANSWER_MARGIN);
/// How much longer that is.
const ANSWER_MARGIN: Duration = Duration::from_secs(5);
/// The database's timeout for a statement that writes.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// The database's timeout for a statement that may read everything.
pub(super) const READ_TIMEOUT: Duration = Duration::from_mins(5);
/// How long a transaction waits for the account's row while another node writes.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
/// After this much silence of ours the database ends a transaction, so that a node that was paused or
/// partitioned in the middle of an append doesn't make the others wait.
const IDLE_TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);
/// How many statements a connection keeps prepared.
const STATEMENTS_MAX: usize = 64;

/// The state of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Good,
    /// It broke, or the database refuses to continue.
    Lost,
    /// It did not respond in time, and still could.
    Silent,
}

pub(super) struct Connection {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    client: Client,
    statements: HashMap<String, Statement>,
    health: Health,
    is_in_transaction: bool,
    /// How long it waits for a response.
    patience: Duration,
}

/// A statement of a group that is sent at once, with its parameters.
pub(super) struct Write {
    pub(super) sql: &'static str,
    pub(super) values: Vec<Box<dyn ToSql + Sync + Send>>,
}

/// How a commit failed.
#[derive(Debug)]
pub(super) enum CommitError {
    /// One of the statements before it, with this index, broke a constraint, so nothing was committed.
    Refused { index: usize, cause: Cause },
    /// Nothing was committed.
    Failed(Cause),
    /// It may have been committed.
    Unknown(Cause),
}

impl Connection {
    /// Connects to the first host that takes writes. Notifications go to `heard`.
    pub(super) fn open(
        address: &Address,
        statement_timeout: Duration,
        heard: Option<&mpsc::UnboundedSender<String>>,
    ) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::Database(error.into()))?;
        let mut refusals = Vec::new();
        for host in &address.hosts {
            match runtime.block_on(connect(host, address, statement_timeout, heard)) {
                Ok(client) => {
                    return Ok(Self {
                        runtime: Some(runtime),
                        client,
                        statements: HashMap::new(),
                        health: Health::Good,
                        is_in_transaction: false,
                        patience: statement_timeout.saturating_add(ANSWER_MARGIN),
                    });
                }
                Err(refusal) => refusals.push(format!("{}: {refusal}", named(host))),
            }
        }
        Err(Failure::Database(refusals.join("; ").into()))
    }

    /// Whether it can be used for something else now.
    pub(super) fn is_reusable(&self) -> bool {
        self.health == Health::Good && !self.is_in_transaction && !self.client.is_closed()
    }

    /// Whether it broke, so that another connection may work.
    pub(super) fn is_lost(&self) -> bool {
        self.health == Health::Lost
    }

    /// From now on, waits for the response to a statement with this timeout of the database.
    pub(super) fn wait_for_statements_of(&mut self, statement_timeout: Duration) {
        self.patience = statement_timeout.saturating_add(ANSWER_MARGIN);
    }

    /// Runs statements without parameters, one after the other.
    pub(super) fn batch(&mut self, sql: &str) -> Result<(), Failure> {
        let done = wait(
            self.runtime.as_ref(),
            self.patience,
            self.client.batch_execute(sql),
        );
        done.map_err(|error| self.failure(error))
    }

    /// Begins a transaction with this statement, and runs a query in it without waiting in between.
    pub(super) fn begin(
        &mut self,
        begin: &str,
        sql: &str,
        values: &[Value<'_>],
        take: TakeRow<'_>,
    ) -> Result<(), Failure> {
        let statement = self.prepare(sql)?;
        // Even if it fails: the response may be lost.
        self.is_in_transaction = true;
        let start = self.client.batch_execute(begin);
        let found = self.client.query_raw(&statement, values);
        let (started, found) = wait_for_all(self.runtime.as_ref(), self.patience, async {
            futures_util::future::join(start, found.and_then(collect)).await
        })
        .map_err(|error| self.failure(error))?;
        started.map_err(|error| self.failure(error.into()))?;
        let rows = found.map_err(|error| self.failure(error.into()))?;
        rows.iter().try_for_each(|row| take(row))
    }

    /// Ends a transaction with this statement.
    pub(super) fn end(&mut self, sql: &str) -> Result<(), Failure> {
        self.batch(sql)?;
        self.is_in_transaction = false;
        Ok(())
    }

    /// Sends these statements and the commit at once, and waits for all responses. The statement `then` is
    /// sent along after the commit; its result is ignored.
    ///
    /// A statement that fails rolls the whole transaction back: the commit after it is then a rollback.
    pub(super) fn commit(
        &mut self,
        writes: &[Write],
        then: Option<&str>,
    ) -> Result<(), CommitError> {
        let mut statements = Vec::with_capacity(writes.len());
        for write in writes {
            let prepared = self.prepare(write.sql);
            statements.push(prepared.map_err(|failure| CommitError::Failed(cause(failure)))?);
        }
        let client = &self.client;
        // Set if a statement fails before a response could have come: it was never sent, and without it the
        // commit must not be sent.
        let is_amiss = Cell::new(false);
        let sent = writes.iter().zip(&statements).map(|(write, statement)| {
            let values = write
                .values
                .iter()
                .map(|value| &**value as &(dyn ToSql + Sync));
            let answer = client.execute_raw(statement, values);
            answer.inspect_err(|_| is_amiss.set(true))
        });
        let is_sent = Cell::new(false);
        let commit = async {
            if is_amiss.get() {
                return Ok(());
            }
            is_sent.set(true);
            client.batch_execute("COMMIT").await
        };
        let then = async {
            if let Some(sql) = then.filter(|_| is_sent.get()) {
                // One poll sends it. Its response is read and ignored with that of the next statement.
                futures_util::future::poll_immediate(pin!(client.batch_execute(sql))).await;
            }
        };
        let committed = wait_for_all(self.runtime.as_ref(), self.patience, async {
            // Notices whether the connection has ended while the batch was made: one poll for the socket, one
            // for what was read.
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            // They are sent in the order of their first poll.
            let (written, committed, ()) =
                futures_util::future::join3(join_all(sent), commit, then).await;
            (written, committed)
        });
        let is_sent = is_sent.get();
        let (written, committed) = match committed {
            Ok(answers) => answers,
            Err(error) => return Err(CommitError::Unknown(cause(self.failure(error)))),
        };
        for (index, answer) in written.into_iter().enumerate() {
            let Err(error) = answer else { continue };
            // Only the database's own error for the statement shows that the commit failed too. A lost
            // response shows nothing, and an error in the name of a database that went away may not be its
            // own.
            let is_its_word = !is_sent || error.as_db_error().is_some_and(is_plain_refusal);
            let is_constraint = error.code().is_some_and(is_constraint);
            let cause = cause(self.failure(error.into()));
            return Err(match (is_its_word, is_constraint) {
                (false, _) => CommitError::Unknown(cause),
                (true, false) => CommitError::Failed(cause),
                (true, true) => CommitError::Refused { index, cause },
            });
        }
        if let Err(error) = committed {
            let is_undone = error
                .as_db_error()
                .is_some_and(|said| is_plain_refusal(said) && is_rolled_back(said.code()));
            let cause = cause(self.failure(error.into()));
            return Err(if is_undone {
                CommitError::Failed(cause)
            } else {
                CommitError::Unknown(cause)
            });
        }
        self.is_in_transaction = false;
        Ok(())
    }

    /// Runs the connection for a while without a statement: notifications go to the receiver that was given
    /// to `open`. Waits for `heard` at most that long.
    pub(super) fn listen<T>(
        &mut self,
        timeout: Duration,
        heard: impl Future<Output = Option<T>>,
    ) -> Option<T> {
        let runtime = self.runtime.as_ref()?;
        let waited = runtime.block_on(async { tokio::time::timeout(timeout, heard).await });
        if self.client.is_closed() {
            self.health = Health::Lost;
        }
        waited.ok().flatten()
    }

    fn prepare(&mut self, sql: &str) -> Result<Statement, Failure> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        if self.statements.len() >= STATEMENTS_MAX {
            self.statements.clear();
        }
        let prepared = wait(
            self.runtime.as_ref(),
            self.patience,
            self.client.prepare(sql),
        );
        let statement = prepared.map_err(|error| self.failure(error))?;
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    /// Records what a failure says about the connection.
    fn failure(&mut self, error: WaitError) -> Failure {
        let error = match error {
            WaitError::Silent => {
                self.health = Health::Silent;
                let seconds = self.patience.as_secs();
                return Failure::Database(format!("no answer within {seconds} s").into());
            }
            WaitError::Said(error) => error,
        };
        let code = error.code();
        let is_over = match error.as_db_error() {
            Some(said) => {
                !is_plain_refusal(said) || said.code() == &SqlState::READ_ONLY_SQL_TRANSACTION
            }
            None => error.is_closed() || self.client.is_closed() || is_io(&error),
        };
        let is_taken = code.is_some_and(is_constraint);
        if is_over {
            self.health = Health::Lost;
        }
        if code.is_some_and(is_damage) {
            return Failure::Damaged(one_line(&error));
        }
        let cause = Cause::from(one_line(&error));
        if is_taken {
            Failure::Taken(cause)
        } else {
            Failure::Database(cause)
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Closes the socket, and the database then rolls back; unlike a plain drop, this may happen
            // anywhere.
            runtime.shutdown_background();
        }
    }
}

impl Database for Connection {
    fn type_of_bytes(&self) -> &'static str {
        "BYTEA"
    }

    fn inspect(&mut self) -> Result<Vec<String>, Failure> {
        super::inspect::inspect(self)
    }

    fn recover(&mut self) -> Result<(), Failure> {
        self.batch("ROLLBACK TO SAVEPOINT look")
    }

    fn query(&mut self, sql: &str, values: &[Value<'_>], take: TakeRow<'_>) -> Result<(), Failure> {
        let statement = self.prepare(sql)?;
        let rows = wait(
            self.runtime.as_ref(),
            self.patience,
            self.client.query_raw(&statement, values),
        );
        let mut rows = Box::pin(rows.map_err(|error| self.failure(error))?);
        // Row by row: an account may be large.
        loop {
            let next = wait(self.runtime.as_ref(), self.patience, async {
                rows.next().await.transpose()
            });
            match next.map_err(|error| self.failure(error))? {
                Some(row) => take(&row)?,
                None => return Ok(()),
            }
        }
    }

    fn execute(&mut self, sql: &str, values: &[Value<'_>]) -> Result<usize, Failure> {
        let statement = self.prepare(sql)?;
        let done = wait(
            self.runtime.as_ref(),
            self.patience,
            self.client.execute_raw(&statement, values),
        );
        let touched = done.map_err(|error| self.failure(error))?;
        Ok(usize::try_from(touched).unwrap_or(usize::MAX))
    }
}

/// Why there is no response.
enum WaitError {
    Silent,
    Said(tokio_postgres::Error),
}

impl From<tokio_postgres::Error> for WaitError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Said(error)
    }
}

/// Waits for one response, with a timeout.
fn wait<T>(
    runtime: Option<&Runtime>,
    patience: Duration,
    answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, WaitError> {
    wait_for_all(runtime, patience, answer)?.map_err(WaitError::Said)
}

fn wait_for_all<T>(
    runtime: Option<&Runtime>,
    patience: Duration,
    answers: impl Future<Output = T>,
) -> Result<T, WaitError> {
    let runtime = runtime.expect("the runtime is there until the connection is dropped");
    runtime
        .block_on(async { tokio::time::timeout(patience, answers).await })
        .map_err(|_| WaitError::Silent)
}

async fn collect(
    rows: tokio_postgres::RowStream,
) -> Result<Vec<tokio_postgres::Row>, tokio_postgres::Error> {
    let mut rows = Box::pin(rows);
    let mut collected = Vec::new();
    while let Some(row) = rows.next().await {
        collected.push(row?);
    }
    Ok(collected)
}

async fn connect(
    host: &Config,
    address: &Address,
    statement_timeout: Duration,
    heard: Option<&mpsc::UnboundedSender<String>>,
) -> Result<Client, String> {
    let connected = async {
        let client = if let Some(tls) = &address.tls {
            let (client, connection) = host.connect(tls.clone()).await?;
            tokio::spawn(attend(connection, heard.cloned()));
            client
        } else {
            let (client, connection) = host.connect(NoTls).await?;
            tokio::spawn(attend(connection, heard.cloned()));
            client
        };
        client.batch_execute(&settings(statement_timeout)).await?;
        Ok::<Client, tokio_postgres::Error>(client)
    };
    match tokio::time::timeout(CONNECT_TIMEOUT, connected).await {
        Ok(Ok(client)) => Ok(client),
        Ok(Err(error)) => Err(one_line(&error)),
        Err(_) => Err(format!("no answer within {} s", CONNECT_TIMEOUT.as_secs())),
    }
}

/// Sends and receives until the connection ends.
async fn attend<S, T>(
    mut connection: tokio_postgres::Connection<S, T>,
    heard: Option<mpsc::UnboundedSender<String>>,
) where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    while let Some(Ok(message)) =
        std::future::poll_fn(|context| connection.poll_message(context)).await
    {
        if let (AsyncMessage::Notification(note), Some(heard)) = (message, &heard) {
            let _ = heard.send(note.payload().to_owned());
        }
    }
}

/// The settings of each connection. Changes of an account are acknowledged, so a database that may lose the
/// last commits in a crash must not do that here; one that waits for a standby still does.
fn settings(statement_timeout: Duration) -> String {
    format!(
        "SET statement_timeout = {}; SET lock_timeout = {};
        SET idle_in_transaction_session_timeout = {};
        SELECT set_config('synchronous_commit', 'on', false)
        WHERE current_setting('synchronous_commit') = 'off'",
        statement_timeout.as_millis(),
        LOCK_TIMEOUT.as_millis(),
        IDLE_TRANSACTION_TIMEOUT.as_millis(),
    )
}

fn named(host: &Config) -> String {
    let hosts = host.get_hosts().iter().map(|host| match host {
        tokio_postgres::config::Host::Tcp(name) => name.clone(),
        tokio_postgres::config::Host::Unix(path) => path.display().to_string(),
    });
    let ports = host.get_ports().iter();
    let named: Vec<String> = hosts
        .zip(ports)
        .map(|(host, port)| format!("`{host}:{port}`"))
        .collect();
    named.join(",")
}

/// An error with its causes, without the details that PostgreSQL adds: they quote rows.
fn one_line(error: &tokio_postgres::Error) -> String {
    if let Some(said) = error.as_db_error() {
        return format!(
            "{} ({})",
            said.message().replace('\n', " "),
            said.code().code()
        );
    }
    let mut line = error.to_string();
    let mut source = StdError::source(error);
    while let Some(reason) = source {
        line = format!("{line}: {reason}");
        source = reason.source();
    }
    line.replace('\n', " ")
}

fn cause(failure: Failure) -> Cause {
    match failure {
        Failure::Database(cause) | Failure::Taken(cause) => cause,
        other => other.at("the database").into(),
    }
}

/// A statement was refused, and the session continues: it was not ended, nor did a proxy report a lost
/// server.
fn is_plain_refusal(said: &DbError) -> bool {
    let code = said.code().code();
    said.parsed_severity() == Some(tokio_postgres::error::Severity::Error)
        && !code.starts_with("08")
        && !code.starts_with("57P")
        && said.code() != &SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN
}

/// A commit that is refused in this way has been rolled back: a constraint, a conflict, a deadlock.
fn is_rolled_back(code: &SqlState) -> bool {
    is_constraint(code) || code.code().starts_with("40")
}

/// The written data breaks a rule of the tables, and would again: a constraint, or a value that no column can
/// hold.
fn is_constraint(code: &SqlState) -> bool {
    code.code().starts_with("23") || code.code().starts_with("22")
}

/// The database reports a damaged table or index.
fn is_damage(code: &SqlState) -> bool {
    code == &SqlState::DATA_CORRUPTED || code == &SqlState::INDEX_CORRUPTED
}

fn is_io(error: &tokio_postgres::Error) -> bool {
    let mut source = StdError::source(error);
    while let Some(reason) = source {
        if reason.is::<std::io::Error>() {
            return true;
        }
        source = reason.source();
    }
    false
}

impl Row for tokio_postgres::Row {
    fn integer(&self, column: usize) -> Result<i64, Failure> {
        let Integer(number) = self.try_get(column).map_err(|error| damage(&error))?;
        Ok(number)
    }

    fn text(&self, column: usize) -> Result<Option<&str>, Failure> {
        self.try_get(column).map_err(|error| damage(&error))
    }

    fn bytes(&self, column: usize) -> Result<&[u8], Failure> {
        self.try_get(column).map_err(|error| damage(&error))
    }
}

/// A column with another type than ours.
fn damage(error: &tokio_postgres::Error) -> Failure {
    Failure::Damaged(one_line(error))
}

/// A number of any width.
#[derive(Debug)]
struct Integer(i64);

impl<'a> FromSql<'a> for Integer {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Self(match *ty {
            Type::INT4 => i32::from_sql(ty, raw)?.into(),
            _ => i64::from_sql(ty, raw)?,
        }))
    }

    fn accepts(ty: &Type) -> bool {
        matches!(*ty, Type::INT4 | Type::INT8)
    }
}

impl ToSql for Value<'_> {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        match self {
            Self::Integer(number) if *ty == Type::INT4 => i32::try_from(*number)?.to_sql(ty, out),
            Self::Integer(number) => number.to_sql(ty, out),
            Self::Text(text) => text.to_sql(ty, out),
            Self::Bytes(bytes) => bytes.to_sql(ty, out),
        }
    }

    fn accepts(ty: &Type) -> bool {
        matches!(*ty, Type::INT4 | Type::INT8 | Type::TEXT | Type::BYTEA)
    }

    to_sql_checked!();
}
