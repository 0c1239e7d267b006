//! Accepting connections and serving each of them, until the server stops.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_io_timeout::TimeoutStream;

use super::{Server, new_request_id};
use crate::unreadable::Explained;

impl Server {
    /// Serves connections until `stop` resolves, then lets requests under way finish.
    pub async fn serve(mut self, listener: TcpListener, stop: impl Future<Output = ()>) {
        let metrics = self.metrics.take();
        let server = Arc::new(self);
        let graceful = GracefulShutdown::new();
        let places = Arc::clone(&server.places);
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
        tokio::pin!(stop);
        loop {
            let accepted = tokio::select! {
                accepted = accept(&listener, &places) => accepted,
                () = &mut stop => break,
            };
            let (stream, peer, place) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file handles, most often: a short rest, and the backlog is still there.
                    tracing::warn!(%error, "a connection can't be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let one = Arc::clone(&server);
            let service = service_fn(move |request| {
                let server = Arc::clone(&one);
                async move { Ok::<_, Infallible>(server.respond(request, peer).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(server.limits.header_timeout)
                .serve_connection(
                    TokioIo::new(bounded_writes(stream, server.limits.write_timeout)),
                    service,
                );
            let connection = graceful.watch(connection);
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a connection ended early");
                }
                drop(place);
            });
        }
        drop(listener);
        if tokio::time::timeout(server.limits.drain_timeout, graceful.shutdown())
            .await
            .is_err()
        {
            tracing::warn!("some connections did not finish in time and are cut");
        }
        // What workers still run may hold the last of an account, whose pending audit entries are written when it is let go.
        let services = Arc::clone(&server.services);
        let _ = tokio::task::spawn_blocking(move || {
            services.workers.close();
            services.passwords.close();
        })
        .await;
        chores.abort();
        // It holds accounts too, and whoever lets go of one last waits for its writer.
        let _ = chores.await;
        let letters = server.services.mailer.finish();
        if tokio::time::timeout(server.limits.drain_timeout, letters)
            .await
            .is_err()
        {
            tracing::warn!("some letters were not sent in time");
        }
    }
}

/// The same stream for as long as its client takes what it asked for, with a body in every refusal.
fn bounded_writes(
    stream: TcpStream,
    timeout: Duration,
) -> Explained<Pin<Box<TimeoutStream<TcpStream>>>> {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(timeout));
    Explained::new(Box::pin(stream), new_request_id)
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(places)
        .acquire_owned()
        .await
        .map_err(std::io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    // Small answers shall not wait for more to come.
    stream.set_nodelay(true)?;
    Ok((stream, peer, place))
}
