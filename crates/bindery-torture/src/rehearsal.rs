//! One fault alone, before the random ones: the primary crashes while a change is on its way to the standby,
//! and comes back without the standby.

use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};
use serde_json::json;

use crate::database::Cluster;
use crate::nodes::Node;
use crate::process::{signal, until};

const TIMEOUT: Duration = Duration::from_secs(30);

/// Whether the change is acknowledged only once the standby has it, although the primary shows it before.
pub(crate) fn the_standby_is_waited_for(cluster: &Cluster, node: &Node) -> Result<bool> {
    let primary = cluster.primary();
    let before = primary.head()?;
    let standby = cluster.standby().everything();
    signal("STOP", &standby);
    let waited = thread::scope(|scope| {
        let asked = scope.spawn(|| node.post("/v2/organizations", &json!({"name": "rehearsal"})));
        let is_waiting = || {
            let asked = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
            Ok(!primary.client()?.query(asked, &[])?.is_empty())
        };
        let crashed = until("a change waits for the standby", TIMEOUT, is_waiting)
            .and_then(|()| {
                primary.service.kill();
                primary.service.want()?;
                cluster.wait_until_ready()?;
                until("the primary shows the change", TIMEOUT, || {
                    Ok(primary.head()? > before)
                })
            })
            .and_then(|()| {
                until("the server tells, or waits again", TIMEOUT, || {
                    Ok(asked.is_finished() || is_waiting()?)
                })
            });
        let is_waited_for = !asked.is_finished();
        signal("CONT", &standby);
        let answer = asked.join().map_err(|_| anyhow!("a client has panicked"))?;
        crashed?;
        answer?;
        Ok(is_waited_for)
    });
    cluster.wait_for_standby()?;
    waited
}
