//! Where the index can't decide, the state does, with the same result.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose setting can't be made has failed"
)]

use std::sync::Arc;

use bindery_core::api_key::{ApiKey, KeyOwner, Secret, SecretHash};
use bindery_core::change::{Change, Entry, OneOperation};
use bindery_core::decision::{Decision, Grant, Lack, Question};
use bindery_core::id::{ApiKeyId, OrganizationId, Revision, UserId};
use bindery_core::permission::Permission;
use bindery_core::place::Organization;
use bindery_core::resource::Resource;
use bindery_core::role::AccountRole;
use bindery_core::text::{Description, KeyName, Name};
use bindery_core::time::Timestamp;
use bindery_core::user::{Identity, Standing, User};
use bindery_node::{Account, Clock, Node};
use bindery_store::{Batch, Store as _};

use crate::decisions::Scene;
use crate::faulty::FaultyStore;
use crate::promises::{ACCOUNT, World, world};

/// The first number that an index has no place for.
const TOO_FAR: u32 = 1 << 30;
const BOT: UserId = UserId::new(1_000);
const BOT_ENDS: Timestamp = Timestamp::from_millis(5_000);

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_has_outgrown_the_index_is_answered_by_its_state() {
    let world = world().await;
    let mut scene = Scene::new(Arc::clone(&world.account), world.caller).await;
    scene.turn(true).await;
    check(&scene, true);
    // An entry of another node, so that revisions that were odd are even from here on.
    outgrow(&world).await;
    assert!(is_outgrown(&scene));
    scene.turn(false).await;
    scene.turn(true).await;
    let (decision, at) = scene.account.decide(&scene.questions()[7], scene.now);
    assert_eq!(
        (decision.is_allowed(), at),
        (true, revision(&world.account))
    );
    scene.turn(false).await;
    check(&scene, false);

    // An index of it can't even be built.
    let store = Arc::new(FaultyStore::share(&world.store.inner));
    let node = Node::open(store, Clock::system()).unwrap();
    scene.account = node.load(ACCOUNT).unwrap();
    assert!(is_outgrown(&scene));
    check(&scene, false);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_was_set_back_revives_no_key_in_index_or_state() {
    let world = world().await;
    append(&world, BOT_ENDS, bot()).await;
    let question = Question {
        principal: BOT,
        permission: Permission::UserRead,
        resource: Resource::Account,
    };
    let before = Timestamp::from_millis(BOT_ENDS.as_millis() - 1);
    let check = || {
        let denied = Decision::Denied(Lack::Principal);
        let at = revision(&world.account);
        let account = &world.account;
        assert_eq!(account.decide(&question, before), (denied, at));
        let mut decisions = Vec::new();
        let named = account.decide_many(&[question], before, &mut decisions);
        assert_eq!((decisions, named), (vec![denied], at));
        let (mut users, mut resources) = (Vec::new(), Vec::new());
        let Question {
            principal,
            permission,
            resource,
        } = question;
        let named = account.users_of(resource, permission, before, &mut users);
        assert_eq!((users, named.revision()), (vec![UserId::new(1)], at));
        let level = resource.level();
        let named = account.resources_of(principal, permission, level, before, &mut resources);
        assert_eq!((resources, named.revision()), (Vec::new(), at));
    };
    check();
    outgrow(&world).await;
    assert_eq!(world.account.access().decide(&question, before), None);
    check();
    // Only its expiry keeps it from what its role allows.
    let state = world.account.snapshot();
    let grant = Grant::AccountRole(AccountRole::Member);
    assert_eq!(state.decide(&question, before), Decision::Allowed(grant));
}

/// Checks every form of question at the newest revision.
fn check(scene: &Scene, may: bool) {
    let at = revision(&scene.account);
    let questions = scene.questions();
    let (decision, named) = scene.account.decide(&questions[7], scene.now);
    assert_eq!((decision.is_allowed(), named), (may, at));
    let mut decisions = vec![decision];
    let named = scene
        .account
        .decide_many(&questions, scene.now, &mut decisions);
    assert_eq!((decisions.len(), named), (questions.len(), at));
    assert!(decisions.iter().all(|one| one.is_allowed() == may));
    assert_eq!((scene.may(at), scene.check_searches()), (may, at));
}

fn is_outgrown(scene: &Scene) -> bool {
    let asked = scene
        .account
        .access()
        .decide(&scene.questions()[7], scene.now);
    asked.is_none()
}

fn revision(account: &Account) -> Revision {
    account.snapshot().revision()
}

/// Another node makes two organizations, at a revision each, and the account hears of it. The index has no place for the second.
async fn outgrow(world: &World) {
    let latest = world.account.snapshot().latest();
    for number in [1_000, TOO_FAR] {
        let organization = Change::PutOrganization(Organization {
            id: OrganizationId::new(number),
            name: Name::parse(&format!("organization {number}")).unwrap(),
            description: Description::default(),
            created_at: Timestamp::from_millis(1_000),
        });
        append(world, latest, vec![organization]).await;
    }
}

/// A bot whose key expires at [`BOT_ENDS`].
fn bot() -> Vec<Change> {
    let key = ApiKeyId::new(1_000);
    let user = User {
        id: BOT,
        name: Name::parse("bot").unwrap(),
        identity: Identity::Bot { key },
        account_role: AccountRole::Member,
        is_developer: true,
        standing: Standing::Active,
        created_at: Timestamp::from_millis(1_000),
        address_released_at: None,
    };
    let key = ApiKey {
        id: key,
        name: KeyName::parse("bot").unwrap(),
        description: Description::default(),
        owner: KeyOwner::Service(BOT),
        created_by: UserId::new(1),
        created_at: Timestamp::from_millis(1_000),
        expires_at: Some(BOT_ENDS),
        is_revoked: false,
        secret: Secret {
            hash: SecretHash([9; 32]),
            redacted: "ak-abc...xyz".to_owned(),
        },
        previous: None,
        is_enforcement_point: false,
        is_sign_in: false,
        last_spaces: Vec::new(),
        ends_with: None,
    };
    vec![Change::PutUser(user), Change::PutApiKey(key)]
}

async fn append(world: &World, at: Timestamp, changes: Vec<Change>) {
    let known = revision(&world.account);
    let entry = Entry::from(OneOperation {
        revision: known.next(),
        at,
        by: None,
        key: None,
        operation: "elsewhere".to_owned(),
        batch: 0,
        changes,
    });
    let mut decide = |_: &[Entry]| Batch {
        entries: vec![entry.clone()],
        ..Batch::default()
    };
    world
        .store
        .inner
        .append(ACCOUNT, known.into(), &mut decide)
        .unwrap();
    world.account.reach(known.next()).await;
}
