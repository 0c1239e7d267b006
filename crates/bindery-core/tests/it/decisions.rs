//! Who may do what, sentence by sentence of `docs/rules/authorization.md` §2 to §7. Every expectation was written from
//! the contract; where one fails, the contract is right.

use bindery_core::permission::{Permission, PermissionSet};

mod bindings;
mod restrictions;
mod roles_of_accounts_and_organizations;
mod spaces;
mod steps;

/// A set as one name a line, sorted.
fn names(set: PermissionSet) -> String {
    let names: Vec<&str> = set.iter().map(Permission::name).collect();
    names.join("\n")
}

/// What the whole has and the part has not.
fn beyond(whole: PermissionSet, part: PermissionSet) -> PermissionSet {
    whole.iter().filter(|one| !part.contains(*one)).collect()
}
