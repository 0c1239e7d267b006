//! Accepts connections and serves them until the server stops.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::Server;
use crate::connection_table::Open;
use crate::http1::{Timeouts, first_request, http1};

/// How long to wait if the system has no room for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

impl Server {
    /// Serves connections until `stop` resolves, then lets running requests finish.
    pub async fn serve(mut self, listener: TcpListener, stop: impl Future<Output = ()>) {
        let metrics = self.metrics.take();
        let server = Arc::new(self);
        let graceful = GracefulShutdown::new();
        let stopping = CancellationToken::new();
        let chores = tokio::spawn({
            let server = Arc::clone(&server);
            async move {
                tokio::join!(
                    server.services.node.keep_notes(),
                    Arc::clone(&server.services.node).follow(),
                    server.keep_tidy(),
                    server.keep_audit_short(),
                    server.keep_logs_short(),
                    server.keep_accounts_few(),
                    server.tell_metrics(metrics),
                )
            }
        });
        let mut stop = pin!(stop);
        loop {
            let (stream, peer) = tokio::select! {
                accepted = server.accept(&listener) => accepted,
                () = &mut stop => break,
            };
            let is_trusted = server.is_trusted_proxy(peer);
            let Some(open) = server.connections.open(peer.ip(), is_trusted) else {
                server.refused_connection();
                continue;
            };
            let task =
                Arc::clone(&server).serve_one(stream, open, graceful.watcher(), stopping.clone());
            tokio::spawn(task);
        }
        drop(listener);
        stopping.cancel();
        if tokio::time::timeout(server.limits.drain_timeout, graceful.shutdown())
            .await
            .is_err()
        {
            tracing::warn!("some connections did not finish in time and are closed");
        }
        // Workers may hold the last handle of an account, whose pending audit entries are written when it is
        // dropped.
        let services = Arc::clone(&server.services);
        let _ = tokio::task::spawn_blocking(move || {
            services.workers.close();
            services.passwords.close();
        })
        .await;
        chores.abort();
        // It holds accounts too, and dropping the last handle of one waits for its writer.
        let _ = chores.await;
        let letters = server.services.mailer.finish();
        if tokio::time::timeout(server.limits.drain_timeout, letters)
            .await
            .is_err()
        {
            tracing::warn!("some e-mails were not sent in time");
        }
    }

    /// The next connection. If the system has no handle for it, the longest idle one is closed.
    async fn accept(&self, listener: &TcpListener) -> (TcpStream, SocketAddr) {
        loop {
            self.connections.room().await;
            let accepted = listener.accept().await.and_then(|(stream, peer)| {
                // Small responses must not wait for more data.
                stream.set_nodelay(true)?;
                Ok((stream, peer))
            });
            match accepted {
                Ok(accepted) => return accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection can't be accepted");
                    self.connections.evict_one();
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Serves one connection until it ends or must be closed.
    async fn serve_one(
        self: Arc<Self>,
        stream: TcpStream,
        open: Open,
        watcher: Watcher,
        stopping: CancellationToken,
    ) {
        let connection = Arc::clone(&open);
        let timeouts = Timeouts {
            header: self.limits.header_timeout,
            write: self.limits.write_timeout,
        };
        let first = first_request(stream, &connection, &self.request_memory, timeouts);
        let stream = tokio::select! {
            first = first => match first {
                Some(stream) => stream,
                None => return,
            },
            () = connection.evicted() => return,
            () = stopping.cancelled() => return,
        };
        let service = {
            let (server, connection) = (self, Arc::clone(&connection));
            service_fn(move |request: Request<Incoming>| {
                let room = connection.begin_request();
                let (server, connection) = (Arc::clone(&server), Arc::clone(&connection));
                let (mut head, body) = request.into_parts();
                // Boxed: hyper reserves room for one with each connection, including idle ones.
                Box::pin(async move {
                    let room = match (room, connection.held_back_until()) {
                        (Ok(()), Some(until)) => {
                            server.services.counts.held_back();
                            connection.hold_back(until).await
                        }
                        (room, _) => room,
                    };
                    if room.is_err() {
                        connection.close_after_answer();
                    }
                    let answer = server.respond(&mut head, body, &connection, room).await;
                    connection.end_request();
                    Ok::<_, Infallible>(answer)
                })
            })
        };
        let serving = http1(timeouts.header).serve_connection(TokioIo::new(stream), service);
        let mut serving = pin!(watcher.watch(serving));
        tokio::select! {
            ended = &mut serving => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended early");
                }
            }
            // No request begins on it any more.
            () = connection.evicted() => {}
        }
        drop(open);
    }
}
