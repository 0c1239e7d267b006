//! Background tasks of a server: tidying up, removing old entries, unloading idle accounts, serving metrics.

use std::sync::Arc;
use std::time::Duration;

use bindery_core::id::AccountId;
use bindery_core::time::Timestamp;
use bindery_node::{LogRetention, StoreCall};
use tokio::net::TcpListener;
use tokio::time::MissedTickBehavior;

use super::Server;
use crate::metrics::{self, Metrics};

/// How often old entries are looked for.
const FORGET_INTERVAL: Duration = Duration::from_hours(1);
/// How many of them are removed in one transaction: changes wait that long.
const FORGET_AT_ONCE: usize = 2_000;
/// The pause before the next transaction.
const FORGET_PAUSE: Duration = Duration::from_millis(20);

/// How often idle accounts are looked for, at least.
const EVICT_INTERVAL_MAX: Duration = Duration::from_mins(1);

/// How often state about clients is tidied up.
const TIDY_INTERVAL: Duration = Duration::from_mins(1);

impl Server {
    pub(super) async fn keep_tidy(&self) {
        let mut interval = tokio::time::interval(TIDY_INTERVAL);
        loop {
            interval.tick().await;
            self.rates.tidy();
            self.services.attempts.tidy();
            self.services
                .searches
                .tidy(self.services.node.clock().now());
        }
    }

    /// Unloads idle accounts, and drops their kept searches.
    pub(super) async fn keep_accounts_few(&self) {
        let Some(idle) = self.accounts_idle else {
            return;
        };
        let mut interval = tokio::time::interval((idle / 4).min(EVICT_INTERVAL_MAX));
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            let evicted = self.services.node.evict_idle(idle).await;
            if !evicted.is_empty() {
                tracing::info!(accounts = evicted.len(), "idle accounts were unloaded");
            }
            self.services.searches.forget(&evicted);
        }
    }

    pub(super) async fn tell_metrics(&self, listener: Option<TcpListener>) {
        let Some(listener) = listener else {
            return;
        };
        let metrics = Metrics {
            node: Arc::clone(&self.services.node),
            counts: Arc::clone(&self.services.counts),
            connections: Arc::clone(&self.connections),
            request_memory: Arc::clone(&self.request_memory),
            answer_memory: Arc::clone(&self.answer_memory),
            services: Arc::clone(&self.services),
        };
        metrics::serve(listener, metrics).await;
    }

    pub(super) async fn keep_audit_short(&self) {
        let Some(retention) = self.audit_retention else {
            return;
        };
        let mut interval = tokio::time::interval(FORGET_INTERVAL);
        loop {
            interval.tick().await;
            // If the clock has run ahead, everything looks old.
            if let Some(obstacle) = self.services.node.obstacle() {
                tracing::warn!(
                    ?obstacle,
                    "old audit entries are kept until changes are possible again"
                );
                continue;
            }
            // Only in the store: no account is loaded for it.
            let node = Arc::clone(&self.services.node);
            let heads = move || node.meters().watch(StoreCall::Heads, node.store().heads());
            match tokio::task::spawn_blocking(heads).await {
                Ok(Ok(accounts)) => {
                    for (account, _) in accounts {
                        self.forget(account, retention).await;
                    }
                }
                Ok(Err(error)) => tracing::error!(%error, "old audit entries were not removed"),
                Err(error) => tracing::error!(%error, "old audit entries were not removed"),
            }
        }
    }

    /// Removes an account's audit entries that are older than `retention`: a few at a time, with a pause in
    /// between.
    async fn forget(&self, account: AccountId, retention: Duration) {
        let node = &self.services.node;
        let retention_ms = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
        let before = node.clock().now().as_millis().saturating_sub(retention_ms);
        let before = Timestamp::from_millis(before);
        let mut forgotten = 0;
        loop {
            let node = Arc::clone(node);
            let some = move || {
                let some = node.store().forget_audit(account, before, FORGET_AT_ONCE);
                node.meters().watch(StoreCall::Audit, some)
            };
            match tokio::task::spawn_blocking(some).await {
                Ok(Ok(0)) => break,
                Ok(Ok(count)) => forgotten += count,
                Ok(Err(error)) => {
                    tracing::error!(%error, "old audit entries were not removed");
                    break;
                }
                Err(error) => {
                    tracing::error!(%error, "old audit entries were not removed");
                    break;
                }
            }
            // Changes that have waited go first.
            tokio::time::sleep(FORGET_PAUSE).await;
        }
        if forgotten > 0 {
            let AccountId(account) = account;
            tracing::info!(account, forgotten, "old audit entries were removed");
        }
    }

    pub(super) async fn keep_logs_short(&self) {
        let retention = self.log_retention;
        if retention == LogRetention::default() {
            return;
        }
        let mut interval = tokio::time::interval(FORGET_INTERVAL);
        loop {
            interval.tick().await;
            let node = Arc::clone(&self.services.node);
            let forgetting = tokio::task::spawn_blocking(move || node.forget_logs(retention));
            if let Err(error) = forgetting.await {
                tracing::error!(%error, "old log entries were not removed");
            }
        }
    }
}
