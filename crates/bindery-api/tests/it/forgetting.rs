//! Truncation of the audit log, beside other work of a server.

use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bindery_core::id::AccountId;
use bindery_core::time::Timestamp;
use bindery_store::sqlite::SqliteStore;
use bindery_store::{Layer, Store, StoreError};
use serde_json::json;

use crate::personas::Builder;
use crate::served::Served;

/// A store with an endless number of old audit entries.
#[derive(Debug)]
struct Bottomless {
    inner: SqliteStore,
    forgotten: mpsc::Sender<usize>,
}

impl Layer for Bottomless {
    fn below(&self) -> &dyn Store {
        &self.inner
    }

    fn forget_audit(&self, _: AccountId, _: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let _ = self.forgotten.send(limit);
        Ok(limit)
    }
}

#[test]
fn a_server_stops_however_much_of_the_audit_log_is_still_to_be_forgotten() {
    let builder = Builder::new();
    let clock_ms = builder.served.now_ms();
    let directory = builder.served.stop();
    let (forgotten, forgets) = mpsc::channel();
    let inner = SqliteStore::open(directory.path()).unwrap();
    let store = Arc::new(Bottomless { inner, forgotten });
    let served = Served::over(store, directory, clock_ms, |options| {
        options.audit_retention = Some(Duration::from_secs(1));
    });
    for _ in 0..3 {
        assert!(forgets.recv().unwrap() > 0);
    }
    let (stopped, stops) = mpsc::channel();
    thread::spawn(move || stopped.send(served.stop()));
    assert!(
        stops.recv_timeout(Duration::from_mins(2)).is_ok(),
        "it still removes entries"
    );
}

#[test]
fn a_page_of_the_audit_log_whose_rest_was_forgotten_meanwhile_is_the_last() {
    let builder = Builder::new();
    for name in ["a", "b", "c"] {
        builder.ask("POST", "/v2/organizations", &json!({"name": name}));
    }
    let key = Some(builder.admin_key.as_str());
    let list = "/v2/audit-logs?operation_name=create_organization&start_time=2026-01-01T00:00:00Z";
    let first = format!("{list}&limit=2");
    let (status, page) = builder.served.send(key, "GET", &first, None);
    assert_eq!((status, page["logs"].as_array().unwrap().len()), (200, 2));
    let cursor = page["pagination"]["next_cursor"].as_str().unwrap();
    builder.served.wait_seconds(10 * 24 * 3600);
    let served = builder.served.again(|options| {
        options.audit_retention = Some(Duration::from_hours(24));
    });
    let is_forgotten = (0..10_000).any(|_| {
        let (_, page) = served.send(key, "GET", list, None);
        page["logs"] == json!([])
    });
    assert!(is_forgotten);
    let (status, rest) = served.send(key, "GET", &format!("{first}&cursor={cursor}"), None);
    assert_eq!((status, &rest["logs"]), (200, &json!([])), "{rest}");
    assert_eq!(rest["pagination"], json!({"has_more": false}));
}
