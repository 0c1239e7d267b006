//! §2 and §3: roles in the account and in organizations, and the fallback of public spaces.

use bindery_core::permission::PermissionSet;
use bindery_core::resource::Level;
use insta::assert_snapshot;

use super::names;
use crate::world::World;

// §2 Account roles.

#[test]
fn an_account_admin_may_do_everything_that_means_something_anywhere() {
    let world = World::parse(
        "
        acme/red/sonar
        acme/red/vault  restricted
        acme/attic  private
        ada is Admin
        ",
    );
    // The numbers of permissions at or below each level in `contract/permissions.tsv`.
    for (place, level, count) in [
        ("account", Level::Account, 151),
        ("acme", Level::Organization, 141),
        ("acme/red", Level::Space, 133),
        ("acme/attic", Level::Space, 133),
        ("acme/red/sonar", Level::Project, 33),
        ("acme/red/vault", Level::Project, 33),
    ] {
        let allowed = world.allowed(&format!("ada {place}"));
        assert_eq!(allowed, PermissionSet::at_or_below(level), "{place}");
        assert_eq!(allowed.iter().count(), count, "{place}");
    }
    assert_snapshot!(world.ask("ada USER_DELETE account"), @"yes: account admin");
    assert_snapshot!(world.ask("ada PROJECT_DELETE acme/red/vault"), @"yes: account admin");
}

#[test]
fn an_account_admin_is_one_whatever_lower_role_they_hold_besides() {
    let world = World::parse(
        "
        acme/attic/trunk
        acme/attic  private
        ada is Admin
        ada is Read-only of acme
        ",
    );
    assert_snapshot!(world.ask("ada PROJECT_DELETE acme/attic/trunk"), @"yes: account admin");
}

#[test]
fn an_account_member_reads_users_and_roles_and_that_is_all() {
    let world = World::parse(
        "
        acme/red/sonar
        ada is Member
        ",
    );
    assert_snapshot!(names(world.allowed("ada account")), @"
    ROLE_READ
    USER_READ
    ");
    assert_snapshot!(world.ask("ada USER_READ account"), @"yes: Member of the account");
    assert_snapshot!(world.ask("ada USER_CREATE account"), @"no: nothing grants it");
    assert_snapshot!(world.ask("ada ORGANIZATION_CREATE account"), @"no: nothing grants it");
    assert_snapshot!(world.ask("ada ORGANIZATION_READ acme"), @"no: nothing grants it");
    assert_snapshot!(world.ask("ada SPACE_READ acme/red"), @"no: nothing grants it");
    assert_snapshot!(world.ask("ada PROJECT_READ acme/red/sonar"), @"no: nothing grants it");
}

#[test]
fn a_ui_only_member_is_a_member() {
    let world = World::parse(
        "
        acme/red/sonar
        acme/blue/radar
        ada is Member - UI Only
        ada is Member of acme
        ada is Read-only on acme/blue
        bob is Member
        bob is Member of acme
        bob is Read-only on acme/blue
        ",
    );
    for place in [
        "account",
        "acme",
        "acme/red",
        "acme/red/sonar",
        "acme/blue",
        "acme/blue/radar",
    ] {
        let ada = world.allowed(&format!("ada {place}"));
        assert_eq!(ada, world.allowed(&format!("bob {place}")), "{place}");
    }
    assert_snapshot!(world.ask("ada USER_READ account"), @"yes: Member - UI Only of the account");
    assert_snapshot!(world.ask("ada PROJECT_CREATE acme/red"), @"yes: Member on acme/red, public to acme");
}

#[test]
fn an_account_annotator_has_nothing_at_account_level() {
    let world = World::parse(
        "
        acme/red/sonar
        ada is Annotator
        ada is Annotator of acme
        ",
    );
    assert_eq!(world.allowed("ada account"), PermissionSet::EMPTY);
    assert_snapshot!(world.ask("ada ROLE_READ account"), @"no: nothing grants it");
    assert_snapshot!(world.ask("ada QUEUE_RECORD_ANNOTATE acme/red"), @"yes: Annotator on acme/red, public to acme");
}

// §3 Organization roles.

#[test]
fn an_organization_admin_may_do_everything_in_it_private_and_restricted_places_included() {
    let world = World::parse(
        "
        acme/red/sonar
        acme/red/vault  restricted
        acme/attic  private
        acme/attic/chest  restricted
        ada is Admin of acme
        ",
    );
    for (place, level) in [
        ("acme", Level::Organization),
        ("acme/red", Level::Space),
        ("acme/red/sonar", Level::Project),
        ("acme/red/vault", Level::Project),
        ("acme/attic", Level::Space),
        ("acme/attic/chest", Level::Project),
    ] {
        let allowed = world.allowed(&format!("ada {place}"));
        assert_eq!(allowed, PermissionSet::at_or_below(level), "{place}");
    }
    assert_snapshot!(world.ask("ada ORGANIZATION_DELETE acme"), @"yes: admin of acme");
    assert_snapshot!(world.ask("ada SPACE_DELETE acme/attic"), @"yes: admin of acme");
    assert_snapshot!(world.ask("ada PROJECT_READ acme/red/vault"), @"yes: admin of acme");
}

#[test]
fn an_organization_admin_is_nobody_above_and_beside_the_organization() {
    let world = World::parse(
        "
        acme/red/sonar
        globex/lab/laser
        ada is Annotator
        ada is Admin of acme
        ",
    );
    for place in ["account", "globex", "globex/lab", "globex/lab/laser"] {
        assert_eq!(
            world.allowed(&format!("ada {place}")),
            PermissionSet::EMPTY,
            "{place}"
        );
    }
    assert_snapshot!(world.ask("ada USER_READ account"), @"no: nothing grants it");
    assert_snapshot!(world.ask("ada SPACE_READ account"), @"no: nothing grants it");
    assert_snapshot!(world.ask("ada SPACE_READ globex/lab"), @"no: nothing grants it");
}

#[test]
fn a_lower_role_on_a_space_takes_nothing_from_an_organization_admin() {
    let world = World::parse(
        "
        acme/red/vault  restricted
        role Auditor: ROLE_BINDING_READ
        ada is Admin of acme
        ada is Read-only on acme/red
        ada has Auditor on acme/red
        ada has Project Viewer on acme/red/vault
        ",
    );
    assert_snapshot!(world.ask("ada SPACE_DELETE acme/red"), @"yes: admin of acme");
    assert_snapshot!(world.ask("ada PROJECT_DELETE acme/red/vault"), @"yes: admin of acme");
}

#[test]
fn an_organization_member_reads_it_and_makes_spaces() {
    let world = World::parse("ada is Member of acme");
    assert_snapshot!(names(world.allowed("ada acme")), @"
    COST_CONFIG_READ
    ORGANIZATION_READ
    SPACE_CREATE
    ");
    assert_snapshot!(world.ask("ada SPACE_CREATE acme"), @"yes: Member of acme");
    assert_snapshot!(world.ask("ada ORGANIZATION_UPDATE acme"), @"no: nothing grants it");
}

#[test]
fn a_reader_of_an_organization_reads_it_and_makes_no_spaces() {
    let world = World::parse("ada is Read-only of acme");
    assert_snapshot!(names(world.allowed("ada acme")), @"
    COST_CONFIG_READ
    ORGANIZATION_READ
    ");
    assert_snapshot!(world.ask("ada COST_CONFIG_READ acme"), @"yes: Read-only of acme");
    assert_snapshot!(world.ask("ada SPACE_CREATE acme"), @"no: nothing grants it");
}

#[test]
fn an_annotator_of_an_organization_only_reads_it() {
    let world = World::parse(
        "
        ada is Annotator
        ada is Annotator of acme
        ",
    );
    assert_snapshot!(names(world.allowed("ada acme")), @"ORGANIZATION_READ");
    assert_snapshot!(world.ask("ada ORGANIZATION_READ acme"), @"yes: Annotator of acme");
}

#[test]
fn what_a_member_has_in_public_spaces_does_not_count_on_the_organization_itself() {
    let world = World::parse(
        "
        acme/red/sonar
        ada is Member of acme
        ",
    );
    assert_snapshot!(world.ask("ada SPACE_READ acme"), @"no: nothing grants it");
    assert_snapshot!(world.ask("ada PROJECT_READ acme"), @"no: nothing grants it");
}

#[test]
fn in_a_public_space_the_organization_role_stands_for_the_space_role_of_its_name() {
    let world = World::parse(
        "
        acme/red/sonar
        acme/blue/radar
        mia is Member of acme
        mia2 is Member on acme/blue
        ron is Read-only of acme
        ron2 is Read-only on acme/blue
        ann is Annotator of acme
        ann2 is Annotator on acme/blue
        ",
    );
    for (by_fallback, by_membership) in [("mia", "mia2"), ("ron", "ron2"), ("ann", "ann2")] {
        for (public, joined) in [
            ("acme/red", "acme/blue"),
            ("acme/red/sonar", "acme/blue/radar"),
        ] {
            let fallback = world.allowed(&format!("{by_fallback} {public}"));
            let membership = world.allowed(&format!("{by_membership} {joined}"));
            assert_eq!(fallback, membership, "{by_fallback} {public}");
        }
    }
    assert_snapshot!(world.ask("mia PROJECT_CREATE acme/red"), @"yes: Member on acme/red, public to acme");
    assert_snapshot!(world.ask("mia PROJECT_READ acme/red/sonar"), @"yes: Member on acme/red, public to acme");
    assert_snapshot!(world.ask("ron PROJECT_READ acme/red/sonar"), @"yes: Read-only on acme/red, public to acme");
    assert_snapshot!(world.ask("ron PROJECT_CREATE acme/red"), @"no: nothing grants it");
    assert_snapshot!(world.ask("ann QUEUE_READ acme/red"), @"yes: Annotator on acme/red, public to acme");
    assert_snapshot!(world.ask("ann PROJECT_READ acme/red/sonar"), @"no: nothing grants it");
}

#[test]
fn a_public_space_is_public_to_its_own_organization_only() {
    let world = World::parse(
        "
        acme/red/sonar
        globex/lab/laser
        ada is Member of globex
        bob is Member
        ",
    );
    assert_snapshot!(world.ask("ada SPACE_READ globex/lab"), @"yes: Member on globex/lab, public to globex");
    assert_snapshot!(world.ask("ada SPACE_READ acme/red"), @"no: nothing grants it");
    assert_snapshot!(world.ask("bob SPACE_READ acme/red"), @"no: nothing grants it");
}

#[test]
fn a_membership_of_the_space_replaces_the_fallback_also_when_it_is_lower() {
    let world = World::parse(
        "
        acme/red/sonar
        acme/blue
        ada is Member of acme
        ada is Read-only on acme/red
        bob is Read-only of acme
        bob is Member on acme/red
        ",
    );
    assert_snapshot!(world.ask("ada PROJECT_CREATE acme/red"), @"no: nothing grants it");
    assert_snapshot!(world.ask("ada PROJECT_UPDATE acme/red/sonar"), @"no: nothing grants it");
    assert_snapshot!(world.ask("ada PROJECT_READ acme/red/sonar"), @"yes: Read-only on acme/red");
    assert_snapshot!(world.ask("ada PROJECT_CREATE acme/blue"), @"yes: Member on acme/blue, public to acme");
    assert_snapshot!(world.ask("bob PROJECT_CREATE acme/red"), @"yes: Member on acme/red");
}

#[test]
fn a_small_custom_role_bound_on_a_public_space_replaces_the_fallback() {
    let world = World::parse(
        "
        acme/red/sonar
        role Auditor: ROLE_BINDING_READ
        ada is Member of acme
        ada has Auditor on acme/red
        ",
    );
    assert_snapshot!(names(world.allowed("ada acme/red")), @"ROLE_BINDING_READ");
    assert_snapshot!(world.ask("ada ROLE_BINDING_READ acme/red"), @"yes: Auditor, bound on acme/red");
    assert_snapshot!(world.ask("ada SPACE_READ acme/red"), @"no: nothing grants it");
    assert_snapshot!(world.ask("ada PROJECT_READ acme/red/sonar"), @"no: nothing grants it");
}

#[test]
fn a_bound_role_that_means_nothing_on_the_space_still_replaces_the_fallback() {
    let world = World::parse(
        "
        acme/red/sonar
        role Janitor: USER_DELETE
        ada is Member of acme
        ada has Janitor on acme/red
        ",
    );
    assert_eq!(world.allowed("ada acme/red"), PermissionSet::EMPTY);
    assert_eq!(world.allowed("ada acme/red/sonar"), PermissionSet::EMPTY);
}

#[test]
fn a_binding_on_a_project_leaves_the_fallback_alone() {
    let world = World::parse(
        "
        acme/red/sonar
        role Auditor: ROLE_BINDING_READ
        ada is Read-only of acme
        ada has Auditor on acme/red/sonar
        ",
    );
    assert_snapshot!(world.ask("ada PROJECT_READ acme/red/sonar"), @"yes: Read-only on acme/red, public to acme");
    assert_snapshot!(world.ask("ada ROLE_BINDING_READ acme/red/sonar"), @"yes: Auditor, bound on acme/red/sonar");
}

#[test]
fn the_fallback_is_back_when_the_explicit_roles_are_gone() {
    let mut world = World::parse(
        "
        acme/red
        role Auditor: ROLE_BINDING_READ
        ada is Member of acme
        ada is Read-only on acme/red
        ada has Auditor on acme/red
        ",
    );
    assert_snapshot!(world.ask("ada PROJECT_CREATE acme/red"), @"no: nothing grants it");
    world.tell("ada has nothing on acme/red");
    assert_snapshot!(world.ask("ada PROJECT_CREATE acme/red"), @"yes: Member on acme/red, public to acme");
}

#[test]
fn the_fallback_ends_and_changes_with_the_organization_role() {
    let mut world = World::parse(
        "
        acme/red
        ada is Member of acme
        ",
    );
    world.tell("ada is Read-only of acme");
    assert_snapshot!(world.ask("ada PROJECT_CREATE acme/red"), @"no: nothing grants it");
    assert_snapshot!(world.ask("ada SPACE_READ acme/red"), @"yes: Read-only on acme/red, public to acme");
    world.tell("ada has nothing on acme");
    assert_snapshot!(world.ask("ada SPACE_READ acme/red"), @"no: nothing grants it");
    assert_snapshot!(world.ask("ada ORGANIZATION_READ acme"), @"no: nothing grants it");
}

#[test]
fn bots_have_no_fallback() {
    let world = World::parse(
        "
        acme/red/sonar
        acme/blue/radar
        bot crawler
        bot reader
        crawler is Member of acme
        crawler is Member on acme/blue
        reader is Read-only of acme
        ",
    );
    assert_snapshot!(names(world.allowed("crawler acme")), @"
    COST_CONFIG_READ
    ORGANIZATION_READ
    SPACE_CREATE
    ");
    assert_snapshot!(names(world.allowed("reader acme")), @"
    COST_CONFIG_READ
    ORGANIZATION_READ
    ");
    assert_snapshot!(world.ask("crawler SPACE_CREATE acme"), @"yes: Member of acme");
    assert_snapshot!(world.ask("crawler SPACE_READ acme/red"), @"no: nothing grants it");
    assert_snapshot!(world.ask("crawler PROJECT_READ acme/red/sonar"), @"no: nothing grants it");
    assert_snapshot!(world.ask("reader SPACE_READ acme/red"), @"no: nothing grants it");
    assert_snapshot!(world.ask("crawler PROJECT_READ acme/blue/radar"), @"yes: Member on acme/blue");
}

#[test]
fn a_bot_that_is_organization_admin_is_one() {
    let world = World::parse(
        "
        acme/attic  private
        acme/attic/chest  restricted
        bot crawler
        crawler is Admin of acme
        ",
    );
    assert_snapshot!(world.ask("crawler SPACE_DELETE acme/attic"), @"yes: admin of acme");
    assert_snapshot!(world.ask("crawler PROJECT_DELETE acme/attic/chest"), @"yes: admin of acme");
}

#[test]
fn a_private_space_has_no_fallback() {
    let mut world = World::parse(
        "
        acme/attic  private
        acme/attic/chest
        mia is Member of acme
        ron is Read-only of acme
        ann is Annotator of acme
        bob is Member of acme
        bob is Read-only on acme/attic
        ",
    );
    for who in ["mia", "ron", "ann"] {
        assert_eq!(
            world.allowed(&format!("{who} acme/attic")),
            PermissionSet::EMPTY,
            "{who}"
        );
        assert_eq!(
            world.allowed(&format!("{who} acme/attic/chest")),
            PermissionSet::EMPTY,
            "{who}"
        );
    }
    assert_snapshot!(world.ask("mia SPACE_READ acme/attic"), @"no: nothing grants it");
    assert_snapshot!(world.ask("bob PROJECT_READ acme/attic/chest"), @"yes: Read-only on acme/attic");
    world.tell("acme/attic  public");
    assert_snapshot!(world.ask("mia SPACE_READ acme/attic"), @"yes: Member on acme/attic, public to acme");
    world.tell("acme/attic  private");
    assert_snapshot!(world.ask("mia SPACE_READ acme/attic"), @"no: nothing grants it");
}

#[test]
fn a_private_space_is_seen_by_its_members_and_by_admins_only() {
    let world = World::parse(
        "
        acme/attic  private
        acme/attic/chest
        role Auditor: ROLE_BINDING_READ
        account_admin is Admin
        organization_admin is Admin of acme
        space_admin is Admin on acme/attic
        bound_admin has Admin on acme/attic
        member is Read-only on acme/attic
        bound_member has Auditor on acme/attic
        outsider is Member of acme
        other_admin is Admin of globex
        guest has Project Viewer on acme/attic/chest
        ",
    );
    for who in [
        "account_admin",
        "organization_admin",
        "space_admin",
        "bound_admin",
        "member",
        "bound_member",
    ] {
        assert!(world.sees(&format!("{who} acme/attic")), "{who}");
    }
    for who in ["outsider", "other_admin", "guest", "nobody"] {
        assert!(!world.sees(&format!("{who} acme/attic")), "{who}");
    }
}
