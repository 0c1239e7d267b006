//! §6: restricted projects.

use bindery_core::permission::{Permission, PermissionSet};
use bindery_core::resource::Level;
use insta::assert_snapshot;

use super::names;
use crate::world::World;

// §6 Restricted projects.

#[test]
fn admins_of_account_organization_and_space_keep_a_restricted_project_whole() {
    let world = World::parse(
        "
        acme/red/vault  restricted
        bot crawler
        account_admin is Admin
        organization_admin is Admin of acme
        space_admin is Admin on acme/red
        bound_admin has Admin on acme/red
        crawler is Admin on acme/red
        ",
    );
    for who in [
        "account_admin",
        "organization_admin",
        "space_admin",
        "bound_admin",
        "crawler",
    ] {
        let allowed = world.allowed(&format!("{who} acme/red/vault"));
        assert_eq!(allowed, PermissionSet::at_or_below(Level::Project), "{who}");
    }
    assert_snapshot!(world.ask("account_admin PROJECT_READ acme/red/vault"), @"yes: account admin");
    assert_snapshot!(world.ask("organization_admin PROJECT_READ acme/red/vault"), @"yes: admin of acme");
    assert_snapshot!(world.ask("space_admin PROJECT_READ acme/red/vault"), @"yes: admin of acme/red");
    assert_snapshot!(world.ask("bound_admin PROJECT_READ acme/red/vault"), @"yes: admin of acme/red, by a binding");
    assert_snapshot!(world.ask("crawler PROJECT_READ acme/red/vault"), @"yes: admin of acme/red");
}

#[test]
fn admins_of_another_organization_or_space_never_had_a_restricted_project() {
    let world = World::parse(
        "
        acme/red/vault  restricted
        acme/blue
        ada is Admin of globex
        bob is Admin on acme/blue
        ",
    );
    assert_snapshot!(world.ask("ada PROJECT_READ acme/red/vault"), @"no: nothing grants it");
    assert_snapshot!(world.ask("bob PROJECT_READ acme/red/vault"), @"no: nothing grants it");
}

#[test]
fn a_space_role_reaches_open_projects_and_stops_at_a_restriction() {
    let world = World::parse(
        "
        acme/red/sonar
        acme/red/vault  restricted
        ada is Read-only on acme/red
        bob is Member on acme/red
        ann is Annotator on acme/red
        bot crawler
        crawler is Member on acme/red
        ",
    );
    assert_snapshot!(world.ask("ada PROJECT_READ acme/red/sonar"), @"yes: Read-only on acme/red");
    assert_snapshot!(world.ask("ada PROJECT_READ acme/red/vault"), @"no: restricted, and no binding on it");
    assert_snapshot!(world.cut("ada PROJECT_READ acme/red/vault"), @"Read-only");
    assert_snapshot!(world.ask("bob PROJECT_READ acme/red/vault"), @"no: restricted, and no binding on it");
    assert_snapshot!(world.cut("bob PROJECT_UPDATE acme/red/vault"), @"Member");
    assert_snapshot!(world.ask("bob PROJECT_DELETE acme/red/vault"), @"no: nothing grants it");
    assert_snapshot!(world.ask("ann PROJECT_READ acme/red/vault"), @"no: nothing grants it");
    for who in ["ada", "bob", "ann", "crawler"] {
        let allowed = world.allowed(&format!("{who} acme/red/vault"));
        assert_eq!(allowed, PermissionSet::EMPTY, "{who}");
    }
}

#[test]
fn a_role_bound_on_the_space_stops_at_a_restriction_whatever_it_contains() {
    let every_permission: Vec<&str> = Permission::ALL.into_iter().map(Permission::name).collect();
    let mut world = World::parse(&format!("role Everything: {}", every_permission.join(", ")));
    world.tell(
        "
        acme/red/vault  restricted
        ada has Everything on acme/red
        bob has Project Admin on acme/red
        eve has Read-only on acme/red
        ",
    );
    assert_eq!(
        world.allowed("ada acme/red"),
        PermissionSet::at_or_below(Level::Space)
    );
    assert_snapshot!(world.admin("ada acme/red"), @"no");
    assert_snapshot!(world.ask("ada PROJECT_READ acme/red/vault"), @"no: restricted, and no binding on it");
    assert_snapshot!(world.cut("ada PROJECT_READ acme/red/vault"), @"Everything, bound");
    assert_snapshot!(world.cut("bob PROJECT_DELETE acme/red/vault"), @"Project Admin, bound");
    assert_snapshot!(world.cut("eve PROJECT_READ acme/red/vault"), @"Read-only, bound");
    assert_eq!(world.allowed("eve acme/red/vault"), PermissionSet::EMPTY);
}

#[test]
fn the_fallback_stops_at_a_restriction() {
    let world = World::parse(
        "
        acme/red/sonar
        acme/red/vault  restricted
        mia is Member of acme
        ron is Read-only of acme
        ",
    );
    assert_snapshot!(world.ask("mia PROJECT_READ acme/red/sonar"), @"yes: Member on acme/red, public to acme");
    assert_snapshot!(world.ask("mia PROJECT_READ acme/red/vault"), @"no: restricted, and no binding on it");
    assert_snapshot!(world.cut("mia PROJECT_READ acme/red/vault"), @"Member, by fallback");
    assert_snapshot!(world.cut("ron PROJECT_READ acme/red/vault"), @"Read-only, by fallback");
    assert_eq!(world.allowed("mia acme/red/vault"), PermissionSet::EMPTY);
    assert_eq!(world.allowed("ron acme/red/vault"), PermissionSet::EMPTY);
}

#[test]
fn a_binding_on_a_restricted_project_grants_what_its_role_has_and_no_more() {
    let world = World::parse(
        "
        acme/red/vault  restricted
        ada is Member on acme/red
        ada has Project Viewer on acme/red/vault
        bob has Project Viewer on acme/red/vault
        bot crawler
        crawler has Project Editor on acme/red/vault
        eve is Member of acme
        eve has Project Viewer on acme/red/vault
        ",
    );
    assert_snapshot!(world.ask("ada PROJECT_READ acme/red/vault"), @"yes: Project Viewer, bound on acme/red/vault");
    assert_snapshot!(world.ask("ada PROJECT_UPDATE acme/red/vault"), @"no: restricted, and Project Viewer on it is not enough");
    assert_snapshot!(world.cut("ada PROJECT_UPDATE acme/red/vault"), @"Member");
    assert_snapshot!(world.cut("eve PROJECT_UPDATE acme/red/vault"), @"Member, by fallback");
    assert_snapshot!(world.ask("bob PROJECT_UPDATE acme/red/vault"), @"no: nothing grants it");
    assert_snapshot!(world.ask("crawler PROJECT_SPAN_CREATE acme/red/vault"), @"yes: Project Editor, bound on acme/red/vault");
    for who in ["ada", "eve"] {
        let allowed = world.allowed(&format!("{who} acme/red/vault"));
        assert_eq!(allowed, world.allowed("bob acme/red/vault"), "{who}");
    }
}

#[test]
fn a_restriction_touches_its_own_project_only() {
    let world = World::parse(
        "
        acme/red/sonar
        acme/red/vault  restricted
        ada is Member on acme/red
        bob has Project Viewer on acme/red
        ",
    );
    assert_snapshot!(world.ask("ada PROJECT_READ acme/red"), @"yes: Member on acme/red");
    assert_snapshot!(world.ask("ada PROJECT_READ acme/red/sonar"), @"yes: Member on acme/red");
    assert_snapshot!(world.ask("bob PROJECT_READ acme/red/sonar"), @"yes: Project Viewer, bound on acme/red");
}

#[test]
fn an_open_project_inherits_again() {
    let mut world = World::parse(
        "
        acme/red/vault  restricted
        ada is Read-only on acme/red
        bob is Member of acme
        ",
    );
    assert_snapshot!(world.ask("ada PROJECT_READ acme/red/vault"), @"no: restricted, and no binding on it");
    world.tell("acme/red/vault  open");
    assert_snapshot!(world.ask("ada PROJECT_READ acme/red/vault"), @"yes: Read-only on acme/red");
    assert_snapshot!(world.ask("bob PROJECT_READ acme/red/vault"), @"yes: Member on acme/red, public to acme");
    world.tell("acme/red/vault  restricted");
    assert_snapshot!(world.ask("ada PROJECT_READ acme/red/vault"), @"no: restricted, and no binding on it");
}

#[test]
fn who_may_restrict_on_the_space_may_still_lift_a_restriction_they_can_not_see_behind() {
    let world = World::parse(
        "
        acme/red/vault  restricted
        role Keeper: PROJECT_RESTRICT, PROJECT_READ, ROLE_BINDING_CREATE, ROLE_BINDING_READ
        ada has Keeper on acme/red
        bob has Project Admin on acme/red
        eve is Member on acme/red
        eve has Keeper on acme/red
        ",
    );
    assert_snapshot!(names(world.allowed("ada acme/red/vault")), @"PROJECT_RESTRICT");
    assert_snapshot!(names(world.allowed("bob acme/red/vault")), @"PROJECT_RESTRICT");
    assert_snapshot!(names(world.allowed("eve acme/red/vault")), @"PROJECT_RESTRICT");
    assert_snapshot!(world.ask("ada PROJECT_RESTRICT acme/red/vault"), @"yes: Keeper, bound on acme/red");
    assert_snapshot!(world.ask("ada PROJECT_READ acme/red/vault"), @"no: restricted, and no binding on it");
    assert_snapshot!(world.ask("ada ROLE_BINDING_CREATE acme/red/vault"), @"no: restricted, and no binding on it");
    assert!(!world.sees("ada acme/red/vault"));
}

#[test]
fn the_right_to_restrict_reaches_the_projects_of_its_space_only() {
    let world = World::parse(
        "
        acme/red
        acme/blue/vault  restricted
        role Keeper: PROJECT_RESTRICT
        ada has Keeper on acme/red
        bob is Member on acme/blue
        mia is Member of acme
        ",
    );
    for who in ["ada", "bob", "mia"] {
        let answer = world.ask(&format!("{who} PROJECT_RESTRICT acme/blue/vault"));
        assert_eq!(answer, "no: nothing grants it", "{who}");
    }
}
