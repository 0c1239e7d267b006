//! How much of the logs is kept. Older entries move into the base snapshot at which a log begins. The newest
//! state, its numbers and names do not change.

use std::time::Duration;

use bindery_core::id::{AccountId, Revision};
use bindery_core::time::Timestamp;
use bindery_store::StoreError;

use crate::node::Node;

/// Younger entries are always kept, since other nodes may not have read them yet. A node that is further
/// behind reloads the account, so this bound keeps reloads rare; correctness does not depend on it.
pub const LOG_AGE_MIN: Duration = Duration::from_hours(1);

/// How many entries are truncated in one transaction: on SQLite, changes wait that long.
const FORGET_AT_ONCE: usize = 500;

/// Which entries of a log are kept. An entry is removed if no setting keeps it; without settings all are
/// kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogRetention {
    /// Keeps entries younger than this; [`LOG_AGE_MIN`] at least.
    pub age: Option<Duration>,
    /// Keeps this many of the newest entries.
    pub revisions: Option<u64>,
}

impl Node {
    /// Truncates the logs of all accounts, loaded or not, a few entries at a time. Blocks.
    pub fn forget_logs(&self, retention: LogRetention) {
        if retention == LogRetention::default() {
            return;
        }
        // If the clock has run ahead, everything looks old.
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
                tracing::error!(%error, "old log entries were not removed");
                return;
            }
        };
        for (account, head) in heads {
            let kept = retention.revisions.unwrap_or(0);
            let until = Revision(head.revision.0.saturating_sub(kept));
            if let Err(error) = self.forget_log(account, until, before) {
                tracing::error!(%error, account = account.0, "old log entries were not removed");
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
                "old log entries are removed"
            );
        }
        Ok(())
    }
}
