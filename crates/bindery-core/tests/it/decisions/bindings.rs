//! §5: roles and bindings.

use bindery_core::command::role_bindings::CreateRoleBinding;
use bindery_core::id::{Id as _, Kind, RoleId};
use bindery_core::permission::PermissionSet;
use bindery_core::refusal::Refusal;
use bindery_core::resource::{Bindable, Level};
use bindery_core::role::PredefinedRole;
use insta::assert_snapshot;

use super::{beyond, names};
use crate::world::World;

// §5 Roles and bindings.

#[test]
fn a_custom_role_is_good_everywhere_in_the_account_and_counts_only_where_it_is_bound() {
    let world = World::parse(
        "
        acme/red/sonar
        acme/blue
        globex/lab/laser
        role Auditor: PROJECT_READ
        ada has Auditor on acme/red
        ada has Auditor on globex/lab/laser
        ",
    );
    assert_snapshot!(world.ask("ada PROJECT_READ acme/red/sonar"), @"yes: Auditor, bound on acme/red");
    assert_snapshot!(world.ask("ada PROJECT_READ globex/lab/laser"), @"yes: Auditor, bound on globex/lab/laser");
    assert_snapshot!(world.ask("ada PROJECT_READ globex/lab"), @"no: nothing grants it");
    assert_snapshot!(world.ask("ada PROJECT_READ acme/blue"), @"no: nothing grants it");
}

#[test]
fn permissions_of_a_level_above_the_binding_never_match() {
    let world = World::parse(
        "
        acme/red/sonar
        role Mixed: USER_DELETE, ORGANIZATION_READ, SPACE_READ, PROJECT_READ
        ada is Annotator
        ada has Mixed on acme/red
        bob is Annotator
        bob has Mixed on acme/red/sonar
        ",
    );
    assert_snapshot!(names(world.allowed("ada acme/red")), @"
    PROJECT_READ
    SPACE_READ
    ");
    assert_snapshot!(names(world.allowed("bob acme/red/sonar")), @"PROJECT_READ");
    assert_snapshot!(world.ask("ada USER_DELETE account"), @"no: nothing grants it");
    assert_snapshot!(world.ask("ada USER_DELETE acme/red"), @"no: means nothing below the account");
    assert_snapshot!(world.ask("ada ORGANIZATION_READ acme"), @"no: nothing grants it");
    assert_snapshot!(world.ask("ada ORGANIZATION_READ acme/red"), @"no: means nothing below an organization");
    assert_snapshot!(world.ask("bob SPACE_READ acme/red"), @"no: nothing grants it");
    assert_snapshot!(world.ask("bob SPACE_READ acme/red/sonar"), @"no: means nothing below a space");
}

#[test]
fn a_changed_role_counts_at_once_and_a_deleted_one_grants_nothing() {
    let mut world = World::parse(
        "
        acme/red/sonar
        role Auditor: PROJECT_READ
        ada has Auditor on acme/red
        bob has Auditor on acme/red/sonar
        ",
    );
    world.tell("role Auditor: PROJECT_UPDATE");
    assert_snapshot!(world.ask("ada PROJECT_READ acme/red/sonar"), @"no: nothing grants it");
    assert_snapshot!(world.ask("ada PROJECT_UPDATE acme/red/sonar"), @"yes: Auditor, bound on acme/red");
    assert_snapshot!(world.ask("bob PROJECT_UPDATE acme/red/sonar"), @"yes: Auditor, bound on acme/red/sonar");
    world.tell("role Auditor deleted");
    assert_snapshot!(world.ask("ada PROJECT_UPDATE acme/red/sonar"), @"no: nothing grants it");
    assert_snapshot!(world.ask("bob PROJECT_UPDATE acme/red/sonar"), @"no: nothing grants it");
}

#[test]
fn a_user_has_one_binding_on_a_resource_so_another_role_replaces_the_first() {
    let mut world = World::parse(
        "
        acme/red/sonar
        ada has Project Admin on acme/red/sonar
        ",
    );
    assert_snapshot!(world.ask("ada PROJECT_DELETE acme/red/sonar"), @"yes: Project Admin, bound on acme/red/sonar");
    world.tell("ada has Project Viewer on acme/red/sonar");
    assert_snapshot!(world.ask("ada PROJECT_DELETE acme/red/sonar"), @"no: nothing grants it");
    assert_snapshot!(world.ask("ada PROJECT_READ acme/red/sonar"), @"yes: Project Viewer, bound on acme/red/sonar");
    world.tell("ada has nothing on acme/red/sonar");
    assert_snapshot!(world.ask("ada PROJECT_READ acme/red/sonar"), @"no: nothing grants it");
}

#[test]
fn seven_predefined_roles_can_be_bound_and_those_of_account_and_organization_can_not() {
    let mut world = World::parse(
        "
        acme/red
        admin is Admin
        ada is Member
        ",
    );
    let on = Bindable::Space(world.space("acme/red"));
    let user = world.user("ada");
    let refused = Err(Refusal::NotFound(Kind::Role));
    let mut bindable = Vec::new();
    for (role, predefined) in PredefinedRole::all() {
        match world.run("admin", &CreateRoleBinding { user, role, on }) {
            Ok(()) => bindable.push(predefined.name),
            result => assert_eq!(result, refused, "{}", predefined.name),
        }
        world.tell("ada has nothing on acme/red");
    }
    assert_snapshot!(bindable.join("\n"), @"
    Admin
    Member
    Read-only
    Annotator
    Project Viewer
    Project Editor
    Project Admin
    ");
    let role = RoleId::NOBODY;
    assert_eq!(
        world.run("admin", &CreateRoleBinding { user, role, on }),
        refused
    );
}

#[test]
fn whoever_is_bound_to_admin_on_a_space_is_its_admin() {
    let world = World::parse(
        "
        acme/attic  private
        acme/attic/vault  restricted
        acme/blue
        ada has Admin on acme/attic
        bot crawler
        crawler has Admin on acme/attic
        ",
    );
    for who in ["ada", "crawler"] {
        let on_space = world.allowed(&format!("{who} acme/attic"));
        assert_eq!(on_space, PermissionSet::at_or_below(Level::Space), "{who}");
        let on_project = world.allowed(&format!("{who} acme/attic/vault"));
        assert_eq!(
            on_project,
            PermissionSet::at_or_below(Level::Project),
            "{who}"
        );
        assert_eq!(world.allowed(&format!("{who} acme")), PermissionSet::EMPTY);
        assert_eq!(
            world.allowed(&format!("{who} acme/blue")),
            PermissionSet::EMPTY
        );
    }
    assert_snapshot!(world.ask("ada SPACE_DELETE acme/attic"), @"yes: admin of acme/attic, by a binding");
    assert_snapshot!(world.ask("ada PROJECT_READ acme/attic/vault"), @"yes: admin of acme/attic, by a binding");
}

#[test]
fn a_space_role_bound_on_a_project_counts_there_and_makes_nobody_admin() {
    let world = World::parse(
        "
        acme/red/sonar
        acme/red/radar
        ada has Admin on acme/red/sonar
        bob has Read-only on acme/red/sonar
        ",
    );
    assert_eq!(
        world.allowed("ada acme/red/sonar"),
        PermissionSet::at_or_below(Level::Project)
    );
    assert_snapshot!(world.ask("ada PROJECT_DELETE acme/red/sonar"), @"yes: Admin, bound on acme/red/sonar");
    assert_snapshot!(world.admin("ada acme/red/sonar"), @"no");
    assert_eq!(world.allowed("ada acme/red"), PermissionSet::EMPTY);
    assert_eq!(world.allowed("ada acme/red/radar"), PermissionSet::EMPTY);
    assert_snapshot!(world.ask("bob PROJECT_READ acme/red/sonar"), @"yes: Read-only, bound on acme/red/sonar");
    assert_snapshot!(world.ask("bob PROJECT_READ acme/red"), @"no: nothing grants it");
}

#[test]
fn a_project_role_bound_on_a_space_counts_on_it_and_on_its_projects() {
    let world = World::parse(
        "
        acme/red/sonar
        acme/red/radar
        acme/blue/laser
        ada has Project Viewer on acme/red
        ",
    );
    assert_snapshot!(world.ask("ada PROJECT_READ acme/red/sonar"), @"yes: Project Viewer, bound on acme/red");
    assert_snapshot!(world.ask("ada PROJECT_READ acme/red/radar"), @"yes: Project Viewer, bound on acme/red");
    assert_snapshot!(world.ask("ada PROJECT_READ acme/red"), @"yes: Project Viewer, bound on acme/red");
    assert_snapshot!(world.ask("ada SPACE_READ acme/red"), @"no: nothing grants it");
    assert_snapshot!(world.ask("ada PROJECT_READ acme/blue/laser"), @"no: nothing grants it");
}

#[test]
fn bindings_have_no_role_ceiling() {
    let mut world = World::parse(
        "
        acme/red/sonar
        acme/blue
        role Binder: ROLE_BINDING_CREATE
        ada has Binder on acme/red
        bob is Member
        ",
    );
    let admin = world.role("Admin");
    let bob_as_admin = |world: &World, path| CreateRoleBinding {
        user: world.user("bob"),
        role: admin,
        on: Bindable::Space(world.space(path)),
    };
    assert_eq!(world.run("ada", &bob_as_admin(&world, "acme/red")), Ok(()));
    assert_snapshot!(world.ask("bob SPACE_DELETE acme/red"), @"yes: admin of acme/red, by a binding");
    assert_snapshot!(world.ask("ada SPACE_DELETE acme/red"), @"no: nothing grants it");
    // The right ends with its resource.
    let elsewhere = world.run("ada", &bob_as_admin(&world, "acme/blue"));
    assert!(
        matches!(elsewhere, Err(Refusal::Forbidden(_))),
        "{elsewhere:?}"
    );
}

#[test]
fn a_binding_never_reaches_above_or_beside_its_resource() {
    let world = World::parse(
        "
        acme/red/sonar
        acme/red/radar
        acme/blue/laser
        ada has Admin on acme/red
        bob has Project Admin on acme/red/sonar
        ",
    );
    for question in ["ada acme", "ada acme/blue", "ada acme/blue/laser"] {
        assert_eq!(world.allowed(question), PermissionSet::EMPTY, "{question}");
    }
    for question in [
        "bob acme",
        "bob acme/red",
        "bob acme/red/radar",
        "bob acme/blue",
    ] {
        assert_eq!(world.allowed(question), PermissionSet::EMPTY, "{question}");
    }
}

#[test]
fn a_project_viewer_reads() {
    let world = World::parse("ada has Project Viewer on acme/red/sonar");
    assert_snapshot!(names(world.allowed("ada acme/red/sonar")), @"
    CUSTOM_METRIC_READ
    MONITOR_READ
    PROJECT_EVAL_TASK_READ
    PROJECT_READ
    PROJECT_SPAN_READ
    TRACE_VIEW_READ
    ");
}

#[test]
fn a_project_editor_is_a_viewer_who_writes_spans_annotates_and_manages_evaluation_tasks() {
    let world = World::parse(
        "
        ada has Project Editor on acme/red/sonar
        bob has Project Viewer on acme/red/sonar
        ",
    );
    let [editor, viewer] =
        ["ada", "bob"].map(|who| world.allowed(&format!("{who} acme/red/sonar")));
    assert_eq!(beyond(viewer, editor), PermissionSet::EMPTY);
    assert_snapshot!(names(beyond(editor, viewer)), @"
    PROJECT_EVAL_TASK_CREATE
    PROJECT_EVAL_TASK_DELETE
    PROJECT_EVAL_TASK_UPDATE
    PROJECT_SPAN_ANNOTATE
    PROJECT_SPAN_CREATE
    PROJECT_SPAN_EVAL_FEEDBACK_UPDATE
    PROJECT_SPAN_UPDATE
    TRACE_VIEW_CREATE
    TRACE_VIEW_DELETE
    TRACE_VIEW_UPDATE
    ");
}

#[test]
fn a_project_admin_is_an_editor_who_deletes_and_manages_access_and_restriction() {
    let world = World::parse(
        "
        ada has Project Admin on acme/red/sonar
        bob has Project Editor on acme/red/sonar
        ",
    );
    let [admin, editor] = ["ada", "bob"].map(|who| world.allowed(&format!("{who} acme/red/sonar")));
    assert_eq!(beyond(editor, admin), PermissionSet::EMPTY);
    assert_snapshot!(names(beyond(admin, editor)), @"
    PROJECT_DELETE
    PROJECT_RESTRICT
    PROJECT_SPAN_DELETE
    PROJECT_UPDATE
    ROLE_BINDING_CREATE
    ROLE_BINDING_DELETE
    ROLE_BINDING_READ
    ");
    assert_snapshot!(world.ask("ada PROJECT_RESTRICT acme/red"), @"no: nothing grants it");
}
