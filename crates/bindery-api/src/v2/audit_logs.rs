//! `/v2/audit-logs`.

use std::sync::Arc;

use bindery_core::audit::AuditEntry;
use bindery_core::time::Timestamp;
use bindery_node::StoreCall;
use bindery_store::AuditQuery;

use crate::answer::Answer;
use crate::call::Call;
use crate::problem::Problem;
use crate::wire::audit_logs::{AuditLog, AuditLogs, NAME_LENGTH_MAX, NAMES_MAX, OPERATION_TYPES};
use crate::wire::moment;

/// The shown period if no `start_time` is given.
const WINDOW_MS: i64 = 30 * 24 * 60 * 60 * 1000;

pub(crate) async fn list(call: Call) -> Result<Answer, Problem> {
    let cursors = call.cursors();
    let limit = cursors.limit()?;
    let (from, to) = window(&call)?;
    let kind = call.query.choice("operation_type", &OPERATION_TYPES)?;
    let user = call.query_id("user_id")?;
    let operations = names(&call)?;
    let before = cursors.after()?;
    call.state.may_read_audit_logs(&call.admit()?)?;
    if kind == Some(None) {
        return page(&call, limit, &[]);
    }
    let query = AuditQuery {
        from,
        to,
        user,
        operations,
        kind: kind.flatten(),
        before,
        limit: limit + 1,
    };
    // Pending entries belong to the result.
    call.account.flush().await?;
    let (services, lane) = (Arc::clone(&call.services), call.lane);
    let read = move || page(&call, limit, &find(&call, &query)?);
    services.workers.run_on_store(lane, read).await?
}

/// One more than the page has shows that there is another page.
fn page(call: &Call, limit: usize, found: &[(u64, AuditEntry)]) -> Result<Answer, Problem> {
    let has_more = found.len() > limit;
    let page = &found[..limit.min(found.len())];
    let last = page.last().filter(|_| has_more).map(|(number, _)| *number);
    let logs = page
        .iter()
        .map(|(number, entry)| AuditLog::new(*number, entry.clone(), call.ids()));
    Answer::json(&AuditLogs {
        logs: logs.collect(),
        pagination: call.cursors().pagination_after(last),
    })
}

/// The start and end of the period, both included.
fn window(call: &Call) -> Result<(Timestamp, Timestamp), Problem> {
    let time = |name: &str| {
        let text = call.query.one(name)?;
        // A `+` before the offset that wasn't percent-encoded has become a space.
        let text = text.map(|text| match text.rsplit_once(' ') {
            Some((start, offset)) if start.contains('T') => format!("{start}+{offset}"),
            _ => text.to_owned(),
        });
        text.map(|text| moment(name, &text)).transpose()
    };
    let end = time("end_time")?;
    let to = end.unwrap_or(call.now);
    let from = time("start_time")?
        .unwrap_or_else(|| Timestamp::from_millis(to.as_millis().saturating_sub(WINDOW_MS)));
    // A period that begins in the future and has no end is empty, not wrong.
    if end.is_some_and(|end| from > end) {
        return Err(Problem::field("start_time", "is later than `end_time`"));
    }
    Ok((from, to))
}

fn names(call: &Call) -> Result<Vec<String>, Problem> {
    let names: Vec<String> = call
        .query
        .all("operation_name")
        .map(ToOwned::to_owned)
        .collect();
    if names.len() > NAMES_MAX {
        let why = format!(
            "stands {} times; at most {NAMES_MAX} are accepted",
            names.len()
        );
        return Err(Problem::field("operation_name", why));
    }
    for name in &names {
        let length = name.chars().count();
        if !(1..=NAME_LENGTH_MAX).contains(&length) {
            let why = format!("has {length} characters; 1 to {NAME_LENGTH_MAX} are accepted");
            return Err(Problem::field("operation_name", why));
        }
    }
    Ok(names)
}

fn find(call: &Call, query: &AuditQuery) -> Result<Vec<(u64, AuditEntry)>, Problem> {
    let node = &call.services.node;
    let found = node.store().audit(call.account.id(), query);
    let found = node.meters().watch(StoreCall::Audit, found);
    found.map_err(|error| {
        tracing::error!(%error, "the audit log can't be read");
        Problem::unreadable()
    })
}
