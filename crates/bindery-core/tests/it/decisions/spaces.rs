//! §4: roles in spaces, and the two slots of a seat.

use bindery_core::command::Assignment;
use bindery_core::command::organizations::AddOrganizationUser;
use bindery_core::command::role_bindings::CreateRoleBinding;
use bindery_core::command::spaces::AddSpaceUser;
use bindery_core::permission::{Permission, PermissionSet};
use bindery_core::refusal::{Invalid, Refusal};
use bindery_core::resource::{Bindable, Level};
use bindery_core::role::{OrganizationRole, SpaceRole};
use insta::assert_snapshot;

use super::{beyond, names};
use crate::world::World;

// §4 Space roles.

#[test]
fn a_space_admin_may_do_everything_at_or_below_the_space() {
    let world = World::parse(
        "
        acme/attic  private
        acme/attic/chest
        acme/attic/vault  restricted
        ada is Admin on acme/attic
        ",
    );
    for (place, level) in [
        ("acme/attic", Level::Space),
        ("acme/attic/chest", Level::Project),
        ("acme/attic/vault", Level::Project),
    ] {
        let allowed = world.allowed(&format!("ada {place}"));
        assert_eq!(allowed, PermissionSet::at_or_below(level), "{place}");
    }
    assert_snapshot!(world.ask("ada SPACE_DELETE acme/attic"), @"yes: admin of acme/attic");
    assert_snapshot!(world.ask("ada PROJECT_DELETE acme/attic/vault"), @"yes: admin of acme/attic");
    assert_eq!(world.allowed("ada acme"), PermissionSet::EMPTY);
}

#[test]
fn a_space_member_does_the_standard_work_and_no_administration() {
    let world = World::parse(
        "
        acme/red
        ada is Member on acme/red
        ",
    );
    let allowed = world.allowed("ada acme/red");
    assert_eq!(allowed.iter().count(), 107);
    assert_snapshot!(names(beyond(PermissionSet::at_or_below(Level::Space), allowed)), @"
    AGENT_ROLE_CREATE
    AGENT_ROLE_DELETE
    AGENT_ROLE_UPDATE
    DASHBOARD_RESTRICT
    DATA_FABRIC_CONNECTOR_CREATE
    DATA_FABRIC_CONNECTOR_DELETE
    DATA_FABRIC_CONNECTOR_UPDATE
    FILE_IMPORT_CREATE
    FILE_IMPORT_DELETE
    LLM_INTEGRATION_CREATE
    LLM_INTEGRATION_DELETE
    LLM_INTEGRATION_UPDATE
    ML_MODEL_CREATE
    ML_MODEL_DELETE
    PROJECT_DELETE
    PROJECT_RESTRICT
    PROJECT_SPAN_DELETE
    PROMPT_RESTRICT
    REMOTE_ENDPOINT_INTEGRATION_CREATE
    REMOTE_ENDPOINT_INTEGRATION_DELETE
    REMOTE_ENDPOINT_INTEGRATION_UPDATE
    ROLE_BINDING_CREATE
    ROLE_BINDING_DELETE
    ROLE_BINDING_READ
    SPACE_DELETE
    SPACE_UPDATE
    ");
    assert_snapshot!(world.ask("ada SERVICE_KEY_CREATE acme/red"), @"yes: Member on acme/red");
}

#[test]
fn a_space_reader_reads_everything_but_service_keys_and_role_bindings() {
    let world = World::parse(
        "
        acme/red/sonar
        ada is Read-only on acme/red
        ",
    );
    let reads = |level| -> PermissionSet {
        let is_read = |one: &Permission| {
            let name = one.name();
            name.ends_with("_READ") && !["SERVICE_KEY_READ", "ROLE_BINDING_READ"].contains(&name)
        };
        PermissionSet::at_or_below(level)
            .iter()
            .filter(is_read)
            .collect()
    };
    assert_eq!(world.allowed("ada acme/red"), reads(Level::Space));
    assert_eq!(world.allowed("ada acme/red").iter().count(), 30);
    assert_eq!(world.allowed("ada acme/red/sonar"), reads(Level::Project));
    assert_snapshot!(world.ask("ada SERVICE_KEY_READ acme/red"), @"no: nothing grants it");
    assert_snapshot!(world.ask("ada SERVICE_KEY_CREATE acme/red"), @"no: nothing grants it");
    assert_snapshot!(world.ask("ada ROLE_BINDING_READ acme/red"), @"no: nothing grants it");
    assert_snapshot!(world.ask("ada PROJECT_SPAN_READ acme/red/sonar"), @"yes: Read-only on acme/red");
}

#[test]
fn a_space_annotator_annotates_and_has_nothing_on_projects() {
    let world = World::parse(
        "
        acme/red/sonar
        ada is Annotator
        ada is Annotator on acme/red
        ",
    );
    assert_snapshot!(names(world.allowed("ada acme/red")), @"
    ANNOTATION_CONFIG_READ
    QUEUE_READ
    QUEUE_RECORD_ANNOTATE
    QUEUE_RECORD_READ
    SPACE_READ
    ");
    assert_snapshot!(world.ask("ada QUEUE_RECORD_ANNOTATE acme/red"), @"yes: Annotator on acme/red");
    assert_eq!(world.allowed("ada acme/red/sonar"), PermissionSet::EMPTY);
}

#[test]
fn a_space_role_holds_on_its_space_and_projects_and_never_up_or_beside() {
    let world = World::parse(
        "
        acme/red/sonar
        acme/blue/radar
        ada is Member on acme/red
        ",
    );
    assert_snapshot!(world.ask("ada SPACE_READ acme/red"), @"yes: Member on acme/red");
    assert_snapshot!(world.ask("ada PROJECT_UPDATE acme/red/sonar"), @"yes: Member on acme/red");
    for place in ["acme", "acme/blue", "acme/blue/radar"] {
        assert_eq!(
            world.allowed(&format!("ada {place}")),
            PermissionSet::EMPTY,
            "{place}"
        );
    }
}

#[test]
fn membership_and_binding_on_a_space_add_up() {
    let world = World::parse(
        "
        acme/red/sonar
        role Binder: ROLE_BINDING_CREATE, ROLE_BINDING_READ
        ada is Read-only on acme/red
        ada has Binder on acme/red
        bob is Read-only on acme/red
        eve has Binder on acme/red
        ",
    );
    for place in ["acme/red", "acme/red/sonar"] {
        let [ada, bob, eve] =
            ["ada", "bob", "eve"].map(|who| world.allowed(&format!("{who} {place}")));
        assert_eq!(ada, bob.union(eve), "{place}");
    }
    assert_snapshot!(world.ask("ada SPACE_READ acme/red"), @"yes: Read-only on acme/red");
    assert_snapshot!(world.ask("ada ROLE_BINDING_CREATE acme/red"), @"yes: Binder, bound on acme/red");
    assert_snapshot!(world.ask("ada ROLE_BINDING_CREATE acme/red/sonar"), @"yes: Binder, bound on acme/red");
    assert_snapshot!(world.ask("ada ROLE_BINDING_DELETE acme/red"), @"no: nothing grants it");
}

#[test]
fn whoever_has_a_membership_or_a_binding_is_a_member_of_the_space() {
    let world = World::parse(
        "
        acme/red
        acme/attic  private
        role Auditor: ROLE_BINDING_READ
        ada is Annotator on acme/attic
        bob has Auditor on acme/attic
        eve is Member of acme
        eve has Auditor on acme/red
        ",
    );
    assert!(world.sees("ada acme/attic"));
    assert!(world.sees("bob acme/attic"));
    assert!(world.sees("eve acme/red"));
    assert_snapshot!(world.ask("bob SPACE_READ acme/attic"), @"no: nothing grants it");
    assert_snapshot!(world.ask("eve SPACE_READ acme/red"), @"no: nothing grants it");
}

#[test]
fn account_annotators_hold_the_annotator_role_in_organizations_and_nobody_else_does() {
    let mut world = World::parse(
        "
        acme
        admin is Admin
        ann is Annotator
        mia is Member
        uma is Member - UI Only
        ",
    );
    for (who, role, expected) in [
        ("ann", OrganizationRole::Annotator, Ok(())),
        (
            "ann",
            OrganizationRole::ReadOnly,
            Err(Invalid::AnnotatorWithOtherRole),
        ),
        (
            "ann",
            OrganizationRole::Admin,
            Err(Invalid::AnnotatorWithOtherRole),
        ),
        ("mia", OrganizationRole::Member, Ok(())),
        (
            "mia",
            OrganizationRole::Annotator,
            Err(Invalid::AnnotatorRoleForOthers),
        ),
        (
            "uma",
            OrganizationRole::Annotator,
            Err(Invalid::AnnotatorRoleForOthers),
        ),
    ] {
        let command = AddOrganizationUser {
            organization: world.organization("acme"),
            user: world.user(who),
            role: Assignment::Predefined(role),
        };
        let expected = expected.map_err(Refusal::Invalid);
        assert_eq!(world.run("admin", &command), expected, "{who} {role:?}");
    }
}

#[test]
fn account_annotators_hold_the_annotator_role_in_spaces_and_nobody_else_does() {
    let mut world = World::parse(
        "
        acme/red
        role Auditor: ROLE_BINDING_READ
        admin is Admin
        ann is Annotator
        ann is Annotator of acme
        mia is Member of acme
        ",
    );
    let custom = Assignment::Custom(world.role("Auditor"));
    for (who, role, expected) in [
        ("ann", Assignment::Predefined(SpaceRole::Annotator), Ok(())),
        (
            "ann",
            Assignment::Predefined(SpaceRole::Member),
            Err(Invalid::AnnotatorWithOtherRole),
        ),
        ("ann", custom, Err(Invalid::AnnotatorWithOtherRole)),
        ("mia", Assignment::Predefined(SpaceRole::Admin), Ok(())),
        (
            "mia",
            Assignment::Predefined(SpaceRole::Annotator),
            Err(Invalid::AnnotatorRoleForOthers),
        ),
        ("mia", custom, Ok(())),
    ] {
        let command = AddSpaceUser {
            space: world.space("acme/red"),
            user: world.user(who),
            role,
        };
        let expected = expected.map_err(Refusal::Invalid);
        assert_eq!(world.run("admin", &command), expected, "{who} {role:?}");
    }
}

#[test]
fn role_bindings_take_annotators_like_anyone() {
    let mut world = World::parse(
        "
        acme/red/sonar
        admin is Admin
        ann is Annotator
        mia is Member
        ",
    );
    let on = Bindable::Space(world.space("acme/red"));
    for (who, role) in [("ann", "Member"), ("mia", "Annotator")] {
        let (user, role) = (world.user(who), world.role(role));
        assert_eq!(
            world.run("admin", &CreateRoleBinding { user, role, on }),
            Ok(())
        );
    }
    assert_snapshot!(world.ask("ann PROJECT_UPDATE acme/red/sonar"), @"yes: Member, bound on acme/red");
    assert_snapshot!(world.ask("mia QUEUE_READ acme/red"), @"yes: Annotator, bound on acme/red");
}

#[test]
fn a_predefined_role_given_in_a_space_ends_the_binding_there() {
    let mut world = World::parse(
        "
        acme/red
        role Binder: ROLE_BINDING_CREATE
        admin is Admin
        ada is Member of acme
        ada has Binder on acme/red
        bob is Read-only on acme/red
        ",
    );
    let command = AddSpaceUser {
        space: world.space("acme/red"),
        user: world.user("ada"),
        role: Assignment::Predefined(SpaceRole::ReadOnly),
    };
    assert_eq!(world.run("admin", &command), Ok(()));
    assert_eq!(world.allowed("ada acme/red"), world.allowed("bob acme/red"));
    assert_snapshot!(world.ask("ada ROLE_BINDING_CREATE acme/red"), @"no: nothing grants it");
}

#[test]
fn a_custom_role_given_in_a_space_ends_the_membership_there() {
    let mut world = World::parse(
        "
        acme/red
        role Auditor: SERVICE_KEY_READ
        role Binder: ROLE_BINDING_CREATE
        admin is Admin
        ada is Member of acme
        ada is Member on acme/red
        ada has Auditor on acme/red
        ",
    );
    let command = AddSpaceUser {
        space: world.space("acme/red"),
        user: world.user("ada"),
        role: Assignment::Custom(world.role("Binder")),
    };
    assert_eq!(world.run("admin", &command), Ok(()));
    assert_snapshot!(names(world.allowed("ada acme/red")), @"ROLE_BINDING_CREATE");
    assert_snapshot!(world.ask("ada ROLE_BINDING_CREATE acme/red"), @"yes: Binder, bound on acme/red");
}

#[test]
fn a_role_binding_made_on_a_space_leaves_the_membership_alone() {
    let mut world = World::parse(
        "
        acme/red
        role Binder: ROLE_BINDING_CREATE
        admin is Admin
        ada is Read-only on acme/red
        ",
    );
    let command = CreateRoleBinding {
        user: world.user("ada"),
        role: world.role("Binder"),
        on: Bindable::Space(world.space("acme/red")),
    };
    assert_eq!(world.run("admin", &command), Ok(()));
    assert_snapshot!(world.ask("ada SPACE_READ acme/red"), @"yes: Read-only on acme/red");
    assert_snapshot!(world.ask("ada ROLE_BINDING_CREATE acme/red"), @"yes: Binder, bound on acme/red");
}
