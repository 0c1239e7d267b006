//! The simulated store passes the suite of every store, so what is found on it is found on a store.

use bindery_conformance::{conformance, forgetting};
use bindery_sim::calm_store;

#[test]
fn the_simulated_store_keeps_to_what_every_store_promises() {
    conformance(calm_store);
    forgetting(calm_store);
}
