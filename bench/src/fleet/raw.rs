//! What durable changes are compared with: octets appended to a file and brought to the disk, and one transaction for each change.

use std::fs::File as Handle;
use std::io::Write as _;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use anyhow::{Result, anyhow};
use postgres::{Client, NoTls};

/// About what a change adds to a log.
const RECORD: [u8; 200] = [7; 200];

/// One file that many clients append to, who go on when what they wrote is on the disk.
pub(super) struct File {
    handle: Handle,
    clients: usize,
}

impl File {
    pub(super) fn new(directory: &Path, clients: usize) -> Result<Self> {
        let path = directory.join("appended");
        let handle = Handle::options().create(true).append(true).open(path)?;
        Ok(Self { handle, clients })
    }

    /// Each client appends and waits for the disk by itself. Appends a second.
    pub(super) fn each_by_itself(&self, count: usize) -> Result<f64> {
        let begun = Instant::now();
        thread::scope(|scope| {
            let clients: Vec<_> = (0..self.clients)
                .map(|_| {
                    scope.spawn(|| {
                        for _ in 0..count {
                            (&self.handle).write_all(&RECORD)?;
                            self.handle.sync_data()?;
                        }
                        Ok::<(), std::io::Error>(())
                    })
                })
                .collect();
            for client in clients {
                client
                    .join()
                    .map_err(|_| anyhow!("a client has panicked"))??;
            }
            Ok(self.rate(count, begun))
        })
    }

    /// One thread appends what has gathered, waits for the disk once, and tells everyone. Appends a second.
    pub(super) fn in_groups(&self, count: usize) -> Result<f64> {
        let begun = Instant::now();
        thread::scope(|scope| {
            let (queue, waiting) = mpsc::channel::<mpsc::Sender<()>>();
            for _ in 0..self.clients {
                let queue = queue.clone();
                scope.spawn(move || {
                    let (say, done) = mpsc::channel();
                    for _ in 0..count {
                        if queue.send(say.clone()).is_err() || done.recv().is_err() {
                            return;
                        }
                    }
                });
            }
            drop(queue);
            while let Ok(first) = waiting.recv() {
                let group: Vec<_> = std::iter::once(first).chain(waiting.try_iter()).collect();
                (&self.handle).write_all(&RECORD.repeat(group.len()))?;
                self.handle.sync_data()?;
                for client in group {
                    // Whoever has gone needs no answer.
                    let _ = client.send(());
                }
            }
            Ok(self.rate(count, begun))
        })
    }

    fn rate(&self, count: usize, begun: Instant) -> f64 {
        (self.clients * count) as f64 / begun.elapsed().as_secs_f64()
    }
}

/// What a change of one account takes when each is a transaction of its own: the account's row is taken, then everything is
/// written, as a server writes it.
pub(super) struct Transactions {
    url: String,
    clients: usize,
}

impl Transactions {
    pub(super) fn new(url: &str, clients: usize) -> Result<Self> {
        Client::connect(url, NoTls)?.batch_execute(
            "CREATE TABLE account (id BIGINT PRIMARY KEY, revision BIGINT NOT NULL);
            INSERT INTO account VALUES (1, 0);
            CREATE TABLE log (account BIGINT, revision BIGINT, body BYTEA NOT NULL, PRIMARY KEY (account, revision));
            CREATE TABLE audit (account BIGINT, number BIGINT, text TEXT, PRIMARY KEY (account, number));
            CREATE TABLE record (account BIGINT, number BIGINT, body BYTEA NOT NULL, PRIMARY KEY (account, number));",
        )?;
        Ok(Self {
            url: url.to_owned(),
            clients,
        })
    }

    /// Each client makes so many on a connection of its own. Changes a second.
    pub(super) fn one_each(&self, count: usize) -> Result<f64> {
        let connect = |_| Client::connect(&self.url, NoTls);
        let connected: Vec<Client> = (0..self.clients).map(connect).collect::<Result<_, _>>()?;
        let begun = Instant::now();
        thread::scope(|scope| {
            let clients: Vec<_> = connected
                .into_iter()
                .zip(1..)
                .map(|(client, number)| scope.spawn(move || change(client, number, count)))
                .collect();
            for client in clients {
                client
                    .join()
                    .map_err(|_| anyhow!("a client has panicked"))??;
            }
            Ok((self.clients * count) as f64 / begun.elapsed().as_secs_f64())
        })
    }
}

fn change(mut client: Client, number: i64, count: usize) -> Result<()> {
    let take = client.prepare("SELECT revision FROM account WHERE id = 1 FOR UPDATE")?;
    // In one statement, so that everything goes in one round trip and the commit in another: fewer than most programs need.
    let write = client.prepare(
        "WITH logged AS (INSERT INTO log VALUES (1, $1, $2)),
            audited AS (INSERT INTO audit VALUES (1, $1, $3)),
            kept AS (INSERT INTO record VALUES (1, $4, $2)
                ON CONFLICT (account, number) DO UPDATE SET body = excluded.body)
        UPDATE account SET revision = $1 WHERE id = 1",
    )?;
    let text = "x".repeat(RECORD.len());
    for _ in 0..count {
        let mut transaction = client.transaction()?;
        let revision: i64 = transaction.query_one(&take, &[])?.get(0);
        let next = revision + 1;
        transaction.execute(&write, &[&next, &RECORD.as_slice(), &text, &number])?;
        transaction.commit()?;
    }
    Ok(())
}
