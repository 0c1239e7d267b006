//! §7: the decision, step by step, and the words derived from it.

use bindery_core::decision::{Decision, Lack, Question};
use bindery_core::id::{IdKey, ProjectId, UserId};
use bindery_core::permission::{Permission, PermissionSet};
use bindery_core::resource::Resource;
use bindery_core::time::Timestamp;
use insta::assert_snapshot;

use super::names;
use crate::world::World;

// §7, step 1: principals.

#[test]
fn unknown_inactive_and_invited_users_may_do_nothing() {
    let world = World::parse(
        "
        acme/red
        gone is Admin
        gone is inactive
        guest is Admin
        guest is invited until 100
        member is Read-only on acme/red
        member is inactive
        ",
    );
    assert_snapshot!(world.ask("stranger SPACE_READ acme/red"), @"no: not an active principal");
    assert_snapshot!(world.ask("gone SPACE_READ acme/red"), @"no: not an active principal");
    assert_snapshot!(world.ask("member SPACE_READ acme/red"), @"no: not an active principal");
    for now in [99, 100, 101] {
        let answer = world.ask_at(now, "guest SPACE_READ acme/red");
        assert_eq!(answer, "no: not an active principal", "at {now}");
    }
}

#[test]
fn an_inactive_bot_and_a_bot_with_a_revoked_key_may_do_nothing() {
    let world = World::parse(
        "
        acme/red
        bot fired
        fired is Admin
        fired key revoked
        bot gone
        gone is Admin
        gone is inactive
        bot crawler
        crawler is Admin
        ",
    );
    assert_snapshot!(world.ask("fired SPACE_READ acme/red"), @"no: not an active principal");
    assert_snapshot!(world.ask("gone SPACE_READ acme/red"), @"no: not an active principal");
    assert_snapshot!(world.ask("crawler SPACE_READ acme/red"), @"yes: account admin");
}

#[test]
fn a_bot_is_gone_at_the_very_moment_its_key_ends() {
    let world = World::parse(
        "
        acme/red
        bot crawler
        crawler is Read-only on acme/red
        crawler key ends at 100
        bot boss
        boss is Admin
        boss key ends at 100
        bot eternal
        eternal is Read-only on acme/red
        ",
    );
    assert_snapshot!(world.ask_at(99, "crawler SPACE_READ acme/red"), @"yes: Read-only on acme/red");
    assert_snapshot!(world.ask_at(100, "crawler SPACE_READ acme/red"), @"no: not an active principal");
    assert_snapshot!(world.ask_at(101, "crawler SPACE_READ acme/red"), @"no: not an active principal");
    assert_snapshot!(world.ask_at(99, "boss SPACE_READ acme/red"), @"yes: account admin");
    assert_snapshot!(world.ask_at(100, "boss SPACE_READ acme/red"), @"no: not an active principal");
    assert_snapshot!(world.ask_at(i64::MAX, "eternal SPACE_READ acme/red"), @"yes: Read-only on acme/red");
}

#[test]
fn a_key_refreshed_with_another_end_lives_to_that_end() {
    let mut world = World::parse(
        "
        acme/red
        bot crawler
        crawler is Read-only on acme/red
        crawler key ends at 100
        ",
    );
    world.tell("crawler key ends at 50");
    assert_snapshot!(world.ask_at(50, "crawler SPACE_READ acme/red"), @"no: not an active principal");
    world.tell("crawler key revoked");
    assert_snapshot!(world.ask_at(0, "crawler SPACE_READ acme/red"), @"no: not an active principal");
}

// §7, step 1: resources.

#[test]
fn on_an_unknown_resource_nobody_may_do_anything() {
    let world = World::parse(
        "
        acme/red
        ada is Admin
        bob is Admin of acme
        ",
    );
    assert_snapshot!(world.ask("ada ORGANIZATION_READ globex"), @"no: no such resource");
    assert_snapshot!(world.ask("ada SPACE_READ acme/blue"), @"no: no such resource");
    assert_snapshot!(world.ask("ada PROJECT_READ acme/red/sonar"), @"no: no such resource");
    assert_snapshot!(world.ask("bob PROJECT_READ acme/red/sonar"), @"no: no such resource");
    assert_snapshot!(world.ask("stranger PROJECT_READ acme/red/sonar"), @"no: not an active principal");
}

#[test]
fn on_a_deleted_resource_nobody_may_do_anything() {
    let mut world = World::parse(
        "
        acme/red/sonar
        globex/lab/laser
        ada is Admin
        bob has Project Viewer on acme/red/sonar
        eve is Read-only on globex/lab
        ",
    );
    world.tell("acme/red/sonar  deleted");
    assert_snapshot!(world.ask("ada PROJECT_READ acme/red/sonar"), @"no: no such resource");
    assert_snapshot!(world.ask("bob PROJECT_READ acme/red/sonar"), @"no: no such resource");
    world.tell("globex/lab  deleted");
    assert_snapshot!(world.ask("ada SPACE_READ globex/lab"), @"no: no such resource");
    assert_snapshot!(world.ask("eve SPACE_READ globex/lab"), @"no: no such resource");
    assert_snapshot!(world.ask("eve PROJECT_READ globex/lab/laser"), @"no: no such resource");
    world.tell("globex  deleted");
    assert_snapshot!(world.ask("ada ORGANIZATION_READ globex"), @"no: no such resource");
}

#[test]
fn the_ids_of_another_account_name_nothing_in_this_one() {
    let world = World::parse(
        "
        acme/red/sonar
        ada is Admin
        ",
    );
    let (ours, theirs) = (world.state.ids(), IdKey::new([8; 16]));
    let Resource::Project(project) = world.place("acme/red/sonar") else {
        panic!("sonar is a project");
    };
    let ask = |key: &IdKey, user: UserId, project: ProjectId| {
        let question = Question {
            principal: ours.parse(&key.encode(user)).unwrap(),
            permission: Permission::ProjectRead,
            resource: ours
                .parse::<ProjectId>(&key.encode(project))
                .unwrap()
                .into(),
        };
        world.state.decide(&question, Timestamp::from_millis(0))
    };
    let ada = world.user("ada");
    assert!(ask(ours, ada, project).is_allowed());
    assert_eq!(
        ask(&theirs, ada, project),
        Decision::Denied(Lack::Principal)
    );
    let question = Question {
        principal: ada,
        permission: Permission::ProjectRead,
        resource: ours
            .parse::<ProjectId>(&theirs.encode(project))
            .unwrap()
            .into(),
    };
    let decision = world.state.decide(&question, Timestamp::from_millis(0));
    assert_eq!(decision, Decision::Denied(Lack::Resource));
}

// §7, step 1: levels.

#[test]
fn a_permission_means_nothing_below_its_lowest_level_not_even_to_an_account_admin() {
    let world = World::parse(
        "
        acme/red/sonar
        ada is Admin
        ",
    );
    assert_snapshot!(world.ask("ada USER_DELETE acme"), @"no: means nothing below the account");
    assert_snapshot!(world.ask("ada USER_DELETE acme/red"), @"no: means nothing below the account");
    assert_snapshot!(world.ask("ada ROLE_READ acme/red/sonar"), @"no: means nothing below the account");
    assert_snapshot!(world.ask("ada ORGANIZATION_CREATE acme"), @"no: means nothing below the account");
    assert_snapshot!(world.ask("ada SPACE_CREATE acme/red"), @"no: means nothing below an organization");
    assert_snapshot!(world.ask("ada ORGANIZATION_READ acme/red/sonar"), @"no: means nothing below an organization");
    assert_snapshot!(world.ask("ada PROJECT_CREATE acme/red/sonar"), @"no: means nothing below a space");
    assert_snapshot!(world.ask("ada SERVICE_KEY_READ acme/red/sonar"), @"no: means nothing below a space");
}

#[test]
fn a_permission_may_be_asked_at_its_level_and_above() {
    let world = World::parse(
        "
        acme/red/sonar
        ada is Admin
        ",
    );
    for question in [
        "ada ORGANIZATION_CREATE account",
        "ada USER_DELETE account",
        "ada SPACE_CREATE account",
        "ada SPACE_CREATE acme",
        "ada PROJECT_CREATE acme",
        "ada PROJECT_CREATE acme/red",
        "ada PROJECT_READ account",
        "ada PROJECT_READ acme",
        "ada PROJECT_READ acme/red",
        "ada PROJECT_READ acme/red/sonar",
    ] {
        assert_eq!(world.ask(question), "yes: account admin", "{question}");
    }
}

#[test]
fn a_no_names_the_first_step_that_says_it() {
    let world = World::parse("ada is Member of acme");
    assert_snapshot!(world.ask("stranger USER_DELETE acme/nowhere"), @"no: not an active principal");
    assert_snapshot!(world.ask("ada USER_DELETE acme/nowhere"), @"no: no such resource");
    assert_snapshot!(world.ask("ada USER_DELETE acme"), @"no: means nothing below the account");
    assert_snapshot!(world.ask("ada USER_DELETE account"), @"no: nothing grants it");
}

// §7, steps 2 to 7.

#[test]
fn deny_is_the_default() {
    let world = World::parse(
        "
        acme/red/sonar
        bot crawler
        ada is Annotator
        crawler is Annotator
        ",
    );
    for who in ["ada", "crawler"] {
        for place in ["account", "acme", "acme/red", "acme/red/sonar"] {
            let allowed = world.allowed(&format!("{who} {place}"));
            assert_eq!(allowed, PermissionSet::EMPTY, "{who} {place}");
        }
    }
}

#[test]
fn access_is_the_union_of_all_grants_that_reach_the_resource() {
    let world = World::parse(
        "
        acme/red/sonar
        role Binder: ROLE_BINDING_CREATE
        ada is Member of acme
        ada is Read-only on acme/red
        ada has Binder on acme/red
        ada has Project Editor on acme/red/sonar
        bob is Read-only on acme/red
        eve has Binder on acme/red
        dan has Project Editor on acme/red/sonar
        ",
    );
    let [ada, bob, eve, dan] =
        ["ada", "bob", "eve", "dan"].map(|who| world.allowed(&format!("{who} acme/red/sonar")));
    assert_eq!(ada, bob.union(eve).union(dan));
    assert_snapshot!(world.ask("ada ML_MODEL_READ acme/red/sonar"), @"yes: Read-only on acme/red");
    assert_snapshot!(world.ask("ada ROLE_BINDING_CREATE acme/red/sonar"), @"yes: Binder, bound on acme/red");
    assert_snapshot!(world.ask("ada PROJECT_SPAN_CREATE acme/red/sonar"), @"yes: Project Editor, bound on acme/red/sonar");
    assert_snapshot!(world.ask("ada PROJECT_UPDATE acme/red/sonar"), @"no: nothing grants it");
}

#[test]
fn no_grant_takes_anything_away_on_a_project() {
    let world = World::parse(
        "
        acme/red/sonar
        ada is Member on acme/red
        ada has Project Viewer on acme/red/sonar
        bob is Member on acme/red
        ",
    );
    assert_eq!(
        world.allowed("ada acme/red/sonar"),
        world.allowed("bob acme/red/sonar")
    );
}

#[test]
fn a_bot_has_roles_of_its_own_at_every_level() {
    let world = World::parse(
        "
        acme/red/sonar
        acme/blue/radar
        bot crawler
        crawler is Member
        crawler is Read-only on acme/red
        crawler has Project Editor on acme/blue/radar
        ",
    );
    assert_snapshot!(names(world.allowed("crawler account")), @"
    ROLE_READ
    USER_READ
    ");
    assert_snapshot!(world.ask("crawler PROJECT_READ acme/red/sonar"), @"yes: Read-only on acme/red");
    assert_snapshot!(world.ask("crawler PROJECT_READ acme/blue/radar"), @"yes: Project Editor, bound on acme/blue/radar");
    assert_eq!(world.allowed("crawler acme"), PermissionSet::EMPTY);
    assert_eq!(world.allowed("crawler acme/blue"), PermissionSet::EMPTY);
}

#[test]
fn grants_in_one_place_are_those_of_one_user() {
    let world = World::parse(
        "
        acme/red/sonar
        ada is Admin on acme/red
        ada has Project Admin on acme/red/sonar
        ada is Admin of acme
        bob is Member
        ",
    );
    assert_eq!(world.allowed("bob acme"), PermissionSet::EMPTY);
    assert_eq!(world.allowed("bob acme/red"), PermissionSet::EMPTY);
    assert_eq!(world.allowed("bob acme/red/sonar"), PermissionSet::EMPTY);
}

// §7, derived words.

#[test]
fn an_admin_is_one_by_account_organization_or_space_in_this_order() {
    let world = World::parse(
        "
        acme/red/sonar
        globex
        ada is Admin
        ada is Admin of acme
        bob is Admin of acme
        bob is Admin on acme/red
        eve is Admin on acme/red
        dan has Admin on acme/red
        mia is Member of acme
        mia has Project Admin on acme/red
        mia has Project Admin on acme/red/sonar
        ",
    );
    assert_snapshot!(world.admin("ada account"), @"account admin");
    assert_snapshot!(world.admin("ada globex"), @"account admin");
    assert_snapshot!(world.admin("ada acme/red/sonar"), @"account admin");
    assert_snapshot!(world.admin("bob account"), @"no");
    assert_snapshot!(world.admin("bob globex"), @"no");
    assert_snapshot!(world.admin("bob acme"), @"admin of acme");
    assert_snapshot!(world.admin("bob acme/red"), @"admin of acme");
    assert_snapshot!(world.admin("eve acme"), @"no");
    assert_snapshot!(world.admin("eve acme/red"), @"admin of acme/red");
    assert_snapshot!(world.admin("dan acme/red"), @"admin of acme/red, by a binding");
    assert_snapshot!(world.admin("mia acme/red"), @"no");
    assert_snapshot!(world.admin("mia acme/red/sonar"), @"no");
}

#[test]
fn whoever_may_not_act_is_no_admin() {
    let world = World::parse(
        "
        acme
        gone is Admin
        gone is inactive
        bot fired
        fired is Admin of acme
        fired key revoked
        ",
    );
    assert_snapshot!(world.admin("gone account"), @"no");
    assert_snapshot!(world.admin("fired acme"), @"no");
    assert_snapshot!(world.admin("stranger acme"), @"no");
}

#[test]
fn an_organization_is_seen_by_account_admins_and_by_members_of_any_role() {
    let world = World::parse(
        "
        acme/red/sonar
        bot crawler
        root is Admin
        ada is Admin of acme
        mia is Member of acme
        ron is Read-only of acme
        ann is Annotator of acme
        crawler is Read-only of acme
        outsider is Admin of globex
        above has Admin on acme/red
        guest is Member on acme/red
        ",
    );
    for who in ["root", "ada", "mia", "ron", "ann", "crawler"] {
        assert!(world.sees(&format!("{who} acme")), "{who}");
    }
    for who in ["outsider", "above", "guest", "stranger"] {
        assert!(!world.sees(&format!("{who} acme")), "{who}");
    }
    assert!(!world.sees("root initech"));
}

#[test]
fn a_space_is_seen_by_its_admins_its_members_and_by_fallback() {
    let world = World::parse(
        "
        acme/red/sonar
        bot crawler
        root is Admin
        ada is Admin of acme
        joined is Annotator on acme/red
        bound has Project Viewer on acme/red
        mia is Member of acme
        ann is Annotator of acme
        crawler is Member of acme
        guest has Project Admin on acme/red/sonar
        ",
    );
    for who in ["root", "ada", "joined", "bound", "mia", "ann"] {
        assert!(world.sees(&format!("{who} acme/red")), "{who}");
    }
    for who in ["crawler", "guest", "stranger"] {
        assert!(!world.sees(&format!("{who} acme/red")), "{who}");
    }
    assert!(!world.sees("root acme/blue"));
}

#[test]
fn a_project_is_seen_by_those_who_may_read_it() {
    let world = World::parse(
        "
        acme/red/sonar
        acme/red/vault  restricted
        role Blind: PROJECT_UPDATE
        ada is Read-only on acme/red
        ann is Annotator on acme/red
        bob has Blind on acme/red/sonar
        eve has Project Viewer on acme/red/vault
        ",
    );
    assert!(world.sees("ada acme/red/sonar"));
    assert!(!world.sees("ada acme/red/vault"));
    assert!(!world.sees("ann acme/red/sonar"));
    assert!(!world.sees("bob acme/red/sonar"));
    assert!(world.sees("eve acme/red/vault"));
    assert!(!world.sees("eve acme/red/sonar"));
}

#[test]
fn a_user_is_seen_by_readers_of_users_unless_a_bot_or_gone() {
    let world = World::parse(
        "
        acme
        bot crawler
        bob is Member
        guest is invited until 100
        gone is inactive
        ada is Member
        uma is Member - UI Only
        ann is Annotator
        ",
    );
    for who in ["ada", "uma", "crawler"] {
        assert!(world.sees(&format!("{who} bob")), "{who}");
        assert!(world.sees(&format!("{who} guest")), "{who}");
        assert!(!world.sees(&format!("{who} crawler")), "{who}");
        assert!(!world.sees(&format!("{who} gone")), "{who}");
    }
    assert!(!world.sees("ann bob"));
    assert!(!world.sees("ann ann"));
}

#[test]
fn visibility_never_travels_upwards() {
    let world = World::parse(
        "
        acme/red/sonar
        ada has Project Admin on acme/red/sonar
        bob is Admin on acme/red
        ",
    );
    assert!(world.sees("ada acme/red/sonar"));
    assert!(!world.sees("ada acme/red"));
    assert!(!world.sees("ada acme"));
    assert!(world.sees("bob acme/red"));
    assert!(!world.sees("bob acme"));
}

#[test]
fn the_projects_of_an_unseen_space_can_be_listed_by_whoever_reads_one_of_them() {
    let world = World::parse(
        "
        acme/attic/chest
        acme/attic/trunk
        acme/attic  private
        acme/red
        role Blind: PROJECT_UPDATE
        ada has Project Viewer on acme/attic/trunk
        bob has Blind on acme/attic/trunk
        eve is Annotator on acme/attic
        dan is Read-only on acme/attic
        ",
    );
    assert_snapshot!(world.projects("ada acme/attic"), @"trunk");
    assert_snapshot!(world.projects("bob acme/attic"), @"NotFound(Space)");
    assert_snapshot!(world.projects("eve acme/attic"), @"");
    assert_snapshot!(world.projects("dan acme/attic"), @"chest trunk");
    assert_snapshot!(world.projects("ada acme/red"), @"NotFound(Space)");
    assert_snapshot!(world.projects("dan acme/nowhere"), @"NotFound(Space)");
}
