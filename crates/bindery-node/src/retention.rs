//! How much of the logs is kept. What is older becomes the base that a log begins at; the newest state, and the numbers and
//! names in it, stay what they are.

use std::time::Duration;

use bindery_core::id::{AccountId, Revision};
use bindery_core::time::Timestamp;
use bindery_store::StoreError;

use crate::node::Node;

/// Entries that are younger than this are always kept: other nodes may not have read them yet. One that is further behind
/// loads the account anew, so this keeps that rare, and it is not what makes it right.
pub const LOG_AGE_MIN: Duration = Duration::from_hours(1);

/// How many entries are forgotten in one transaction: on SQLite, changes wait that long.
const FORGET_AT_ONCE: usize = 500;

/// What is kept of a log. An entry goes when nothing says that it stays; if nothing is said at all, all of them stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogRetention {
    /// Entries that are younger than this stay; [`LOG_AGE_MIN`] at least.
    pub age: Option<Duration>,
    /// So many of the newest stay.
    pub revisions: Option<u64>,
}

impl Node {
    /// Forgets what is to be forgotten of every account's log, at work here or not, a few entries at a time. Blocks.
    pub fn forget_logs(&self, retention: LogRetention) {
        if retention == LogRetention::default() {
            return;
        }
        // A clock that has run ahead makes everything old.
        if let Some(obstacle) = self.obstacle() {
            tracing::warn!(
                ?obstacle,
                "old log entries are kept until changes are possible again"
            );
            return;
        }
        let age = retention.age.unwrap_or(LOG_AGE_MIN).max(LOG_AGE_MIN);
        let age_ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        let before = self.clock().now().as_millis().saturating_sub(age_ms);
        let before = Timestamp::from_millis(before);
        let heads = match self.store().heads() {
            Ok(heads) => heads,
            Err(error) => {
                tracing::error!(%error, "old log entries were not forgotten");
                return;
            }
        };
        for (account, head) in heads {
            let kept = retention.revisions.unwrap_or(0);
            let until = Revision(head.revision.0.saturating_sub(kept));
            if let Err(error) = self.forget_log(account, until, before) {
                tracing::error!(%error, account = account.0, "old log entries were not forgotten");
            }
        }
    }

    fn forget_log(
        &self,
        account: AccountId,
        until: Revision,
        before: Timestamp,
    ) -> Result<(), StoreError> {
        let mut forgotten = 0;
        loop {
            let count = self
                .store()
                .forget_log(account, until, before, FORGET_AT_ONCE)?;
            forgotten += count;
            if count < FORGET_AT_ONCE {
                break;
            }
        }
        if forgotten > 0 {
            tracing::info!(
                account = account.0,
                forgotten,
                "old log entries are forgotten"
            );
        }
        Ok(())
    }
}
