//! Correct histories pass, and each planted mistake is found.

use bindery_core::api_key::{Secret, SecretHash};
use bindery_core::change::OneOperation;
use bindery_core::command::Command;
use bindery_core::command::operator::{Bootstrap, IssueUserKey};
use bindery_core::command::organizations::CreateOrganization;
use bindery_core::command::projects::CreateProject;
use bindery_core::command::role_bindings::CreateRoleBinding;
use bindery_core::command::roles::CreateRole;
use bindery_core::command::spaces::CreateSpace;
use bindery_core::id::{AccountId, IdKey, ProjectId, RoleBindingId, RoleId};
use bindery_core::permission::{Permission, PermissionSet};
use bindery_core::place::{Account, AccountSettings};
use bindery_core::resource::{Bindable, BindableKind};
use bindery_core::text::{Description, Email, KeyName, Name, RoleName};
use bindery_core::time::Timestamp;

use super::*;
use crate::intent::Intent;

const CLIENTS: usize = 3;

/// A company and a server that does everything right, as three clients see it.
struct Honest {
    start: State,
    state: State,
    log: Vec<Entry>,
    operations: Vec<Operation>,
    user: UserId,
    keys: Vec<ApiKeyId>,
    clock_ns: u64,
    binding: RoleBindingId,
    project: ProjectId,
    roles: [RoleId; 2],
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

impl Honest {
    fn new() -> Self {
        let account = Account {
            id: AccountId(1),
            name: name("Tests"),
            id_key: IdKey::new([7; 16]),
            created_at: Timestamp::from_millis(1_000),
            settings: AccountSettings::default(),
        };
        let mut state = State::new(account);
        let bootstrap = Bootstrap {
            name: name("Admin"),
            email: Email::parse("admin@acme.example").unwrap(),
            key_name: KeyName::parse("first").unwrap(),
            secret: Secret {
                hash: SecretHash([1; 32]),
                redacted: "ak-...".to_owned(),
            },
        };
        let (admin, key) = run(&mut state, Caller::Operator, &bootstrap);
        let caller = Caller::Key {
            user: admin.id,
            key: key.id,
        };
        let keys = [2; CLIENTS].iter().zip(0..).map(|(first, number)| {
            let key = IssueUserKey {
                email: Email::parse("admin@acme.example").unwrap(),
                key_name: KeyName::parse("of a client").unwrap(),
                secret: Secret {
                    hash: SecretHash([first + number; 32]),
                    redacted: "ak-...".to_owned(),
                },
                is_enforcement_point: false,
            };
            run(&mut state, Caller::Operator, &key).id
        });
        let keys = keys.collect();
        let organization = CreateOrganization {
            name: name("acme"),
            description: Description::default(),
        };
        let organization = run(&mut state, caller, &organization).id;
        let space = CreateSpace {
            name: name("red"),
            organization,
            description: Description::default(),
            is_private: false,
        };
        let space = run(&mut state, caller, &space).id;
        let projects = ["sonar", "radar"].map(|project| {
            let project = CreateProject {
                name: name(project),
                space,
            };
            run(&mut state, caller, &project).id
        });
        let roles = ["first", "second"].map(|role| {
            let role = CreateRole {
                name: RoleName::parse(role).unwrap(),
                description: Description::default(),
                permissions: PermissionSet::of(&[Permission::ProjectRead]),
            };
            run(&mut state, caller, &role).id
        });
        let binding = CreateRoleBinding {
            user: admin.id,
            role: roles[0],
            on: Bindable::Project(projects[0]),
        };
        let binding = run(&mut state, caller, &binding).id;
        Self {
            start: state.clone(),
            state,
            log: Vec::new(),
            operations: Vec::new(),
            user: admin.id,
            keys,
            clock_ns: 0,
            binding,
            project: projects[1],
            roles,
        }
    }

    /// A client sends a request, and gets the response at once.
    fn ask(&mut self, client: usize, intent: Intent) -> &mut Operation {
        let at_least = self.state.revision().0;
        let context = self.context(client);
        let answer = match intent.meet(&self.state, &context) {
            Ok((changes, told)) => {
                if !changes.is_empty() {
                    self.append(changes, &context);
                }
                Answer::Done(told)
            }
            Err(refusal) => Answer::Refused(status_of(refusal)),
        };
        self.clock_ns += 10;
        self.operations.push(Operation {
            client,
            node: client,
            invoked_ns: self.clock_ns,
            returned_ns: self.clock_ns + 5,
            at_least,
            intent,
            answer,
            revision: self.state.revision().0,
        });
        self.operations.last_mut().unwrap()
    }

    fn context(&self, client: usize) -> Context {
        Context {
            caller: Caller::Key {
                user: self.user,
                key: self.keys[client],
            },
            now: self.state.latest().just_after(),
        }
    }

    fn append(&mut self, changes: Vec<bindery_core::change::Change>, context: &Context) {
        let Caller::Key { user, key } = context.caller else {
            unreachable!("clients have keys")
        };
        let entry = Entry::from(OneOperation {
            revision: self.state.revision().next(),
            at: context.now,
            by: Some(user),
            key: Some(key),
            operation: "any".to_owned(),
            batch: 0,
            changes,
        });
        self.state.advance(&entry);
        self.log.push(entry);
    }

    fn give(&self, which: usize) -> Intent {
        Intent::GiveRole {
            binding: self.binding,
            role: self.roles[which],
        }
    }

    /// Some usual requests.
    fn day(&mut self) {
        let role = |name: &str, tag: &str| Intent::MakeRole {
            name: name.to_owned(),
            tag: tag.to_owned(),
            permission: Permission::SpaceRead,
        };
        self.ask(0, self.give(1));
        self.ask(1, self.give(1));
        self.ask(2, Intent::SeeBinding(self.binding));
        self.ask(0, role("contended", "a"));
        self.ask(1, role("contended", "b"));
        self.ask(2, Intent::ListRoles);
        self.ask(0, self.give(0));
        self.ask(1, Intent::DropRole(self.roles[0]));
        self.ask(1, Intent::ListBindings(BindableKind::Project));
        self.ask(
            2,
            Intent::Bind {
                user: self.user,
                project: self.project,
                role: self.roles[1],
            },
        );
        self.ask(0, Intent::Unbind(RoleBindingId::new(99)));
    }

    fn verdict(&self) -> Verdict {
        self.verdict_with(&[])
    }

    fn verdict_with(&self, standstills: &[Standstill]) -> Verdict {
        let evidence = Evidence {
            start: self.start.clone(),
            log: &self.log,
            operations: &self.operations,
            user: self.user,
            keys: &self.keys,
            standstills,
        };
        check(&evidence).0
    }

    fn found(&self) -> Vec<Kind> {
        let verdict = self.verdict();
        let counted = |kind: &Kind| verdict.count(*kind) > 0;
        Kind::ALL.into_iter().filter(counted).collect()
    }

    /// Renumbers a log after an entry was removed or added.
    fn renumber(&mut self) {
        let mut revision = self.start.revision();
        for entry in &mut self.log {
            revision = revision.next();
            entry.revision = revision;
        }
    }
}

fn run<C: Command>(state: &mut State, caller: Caller, command: &C) -> C::Outcome {
    let context = Context {
        caller,
        now: state.latest().just_after(),
    };
    let decided = state.execute(command, &context).ok().unwrap();
    let entry = Entry::from(OneOperation {
        revision: state.revision().next(),
        at: context.now,
        by: None,
        key: None,
        operation: C::OPERATION.to_owned(),
        batch: 0,
        changes: decided.changes,
    });
    state.advance(&entry);
    decided.outcome
}

/// The first of these operations that changed something.
fn change(honest: &Honest, number: usize) -> usize {
    let mut changes = honest.operations.iter().enumerate().filter(|(_, one)| {
        one.intent.is_change() && matches!(one.answer, Answer::Done(_)) && one.revision > 0
    });
    changes.nth(number).unwrap().0
}

#[test]
fn what_went_right_is_found_right_to_the_last_answer() {
    let mut honest = Honest::new();
    honest.day();
    let verdict = honest.verdict();
    assert_eq!(verdict.counts, HashMap::new(), "{:?}", verdict.told);
    let counted = (
        verdict.found,
        verdict.idle,
        verdict.refused,
        verdict.seen,
        verdict.in_after_all,
    );
    assert_eq!(counted, (4, 1, 3, 3, 0));
}

#[test]
fn an_acknowledged_change_that_is_not_in_the_log_is_lost() {
    let mut honest = Honest::new();
    honest.ask(0, honest.give(1));
    honest.log.pop();
    assert_eq!(honest.found(), [Kind::Lost]);
    honest.day();
    assert!(honest.found().contains(&Kind::Lost));
}

#[test]
fn a_change_that_is_in_the_log_twice_is_found_even_if_its_outcome_was_unknown() {
    for is_answered in [true, false] {
        let mut honest = Honest::new();
        let project = Bindable::Project(honest.project);
        let asked = Intent::Bind {
            user: honest.user,
            project: honest.project,
            role: honest.roles[0],
        };
        honest.ask(0, asked.clone());
        if !is_answered {
            honest.operations[0].answer = Answer::Unknown;
        }
        // A client removes it, and a repeated request adds it again.
        let binding = honest.state.role_binding_on(project, honest.user);
        honest.ask(1, Intent::Unbind(binding.unwrap().id));
        assert_eq!(honest.found(), []);
        let context = honest.context(0);
        let (changes, _) = asked.meet(&honest.state, &context).unwrap();
        honest.append(changes, &context);
        assert_eq!(honest.found(), [Kind::Duplicated]);
    }
}

#[test]
fn what_was_said_not_to_be_made_must_not_be() {
    for answer in [Answer::Nothing, Answer::Refused(409)] {
        let mut honest = Honest::new();
        honest.ask(0, honest.give(1)).answer = answer;
        assert!(honest.found().contains(&Kind::Denied));
    }
}

#[test]
fn an_unanswered_change_is_in_or_not_and_never_half() {
    let intent = |honest: &Honest| Intent::MakeSpace {
        organization: honest
            .start
            .space(honest.start.project(honest.project).unwrap().space)
            .unwrap()
            .organization,
        name: "blue".to_owned(),
    };
    let mut honest = Honest::new();
    let asked = intent(&honest);
    honest.ask(0, asked).answer = Answer::Unknown;
    let verdict = honest.verdict();
    assert_eq!((verdict.in_after_all, verdict.not_in), (1, 0));
    assert_eq!(honest.found(), []);

    let log = std::mem::take(&mut honest.log);
    let verdict = honest.verdict();
    assert_eq!((verdict.in_after_all, verdict.not_in), (0, 1));
    assert_eq!(honest.found(), []);

    honest.log = log;
    // The whole organization is deleted; half of it stays.
    let organization = honest.start.project(honest.project).unwrap().space;
    let organization = honest.start.space(organization).unwrap().organization;
    honest.ask(0, Intent::DropOrganization(organization)).answer = Answer::Unknown;
    honest.log.last_mut().unwrap().changes.pop();
    assert_eq!(honest.found(), [Kind::Unasked]);
}

#[test]
fn a_change_that_no_client_requested_is_found() {
    let mut honest = Honest::new();
    let context = honest.context(0);
    let (changes, _) = honest.give(1).meet(&honest.state, &context).unwrap();
    honest.append(changes, &context);
    assert_eq!(honest.found(), [Kind::Unasked]);
    honest.log[0].key = None;
    assert_eq!(honest.found(), [Kind::Unasked]);
}

#[test]
fn an_answer_that_is_older_than_asked_for_is_stale() {
    let mut honest = Honest::new();
    honest.ask(0, honest.give(1));
    let old = honest.start.clone();
    let context = honest.context(0);
    let right_once = Intent::SeeBinding(honest.binding).meet(&old, &context);
    let operation = honest.ask(2, Intent::SeeBinding(RoleBindingId::new(1)));
    operation.answer = Answer::Done(right_once.unwrap().1);
    operation.revision -= 1;
    assert_eq!(honest.found(), [Kind::Stale]);
    // Even without a requested revision, if the server knew better before.
    honest.operations.last_mut().unwrap().at_least = 0;
    assert_eq!(honest.found(), []);
    honest.operations.last_mut().unwrap().node = 0;
    assert_eq!(honest.found(), [Kind::Stale]);
}

#[test]
fn an_answer_that_is_not_the_state_at_its_revision_is_wrong() {
    let mut honest = Honest::new();
    honest.ask(0, honest.give(1));
    honest.ask(2, Intent::SeeBinding(honest.binding)).revision -= 1;
    honest.operations.last_mut().unwrap().at_least = 0;
    assert_eq!(honest.found(), [Kind::Wrong]);
}

#[test]
fn a_list_that_mixes_two_revisions_is_wrong() {
    let mut honest = Honest::new();
    let project = honest.project;
    honest.ask(0, honest.give(1));
    let (first, second) = (honest.user, honest.roles[0]);
    let before = honest
        .ask(2, Intent::ListBindings(BindableKind::Project))
        .answer
        .clone();
    honest.ask(
        0,
        Intent::Bind {
            user: first,
            project,
            role: second,
        },
    );
    honest.ask(0, honest.give(0));
    let after = honest.ask(2, Intent::ListBindings(BindableKind::Project));
    let (Answer::Done(old), Answer::Done(new)) = (before, after.answer.clone()) else {
        unreachable!("lists are answered")
    };
    // The first line from the old state, the second from the new one.
    let mixed = [old.lines().next().unwrap(), new.lines().nth(1).unwrap()].join("\n");
    assert_ne!(mixed, new);
    after.answer = Answer::Done(mixed);
    assert_eq!(honest.found(), [Kind::Wrong]);
}

#[test]
fn a_refusal_that_was_right_at_no_revision_in_between_is_wrong() {
    let mut honest = Honest::new();
    honest.ask(0, honest.give(1));
    honest.ask(1, honest.give(0)).answer = Answer::Refused(404);
    assert!(honest.found().contains(&Kind::Wrong));
    let mut honest = Honest::new();
    honest.ask(1, Intent::Unbind(RoleBindingId::new(99))).answer = Answer::Refused(409);
    assert_eq!(honest.found(), [Kind::Wrong]);
}

#[test]
fn changes_in_another_order_than_their_answers_are_found() {
    let mut honest = Honest::new();
    let role = |tag: &str| Intent::MakeRole {
        name: tag.to_owned(),
        tag: tag.to_owned(),
        permission: Permission::SpaceRead,
    };
    honest.ask(0, honest.give(1));
    honest.ask(0, role("later"));
    assert_eq!(honest.found(), []);
    // The second had its response before the first was sent.
    honest.log.swap(0, 1);
    honest.renumber();
    assert!(!honest.found().is_empty());
    // And one that names a revision before its own.
    honest.log.swap(0, 1);
    honest.renumber();
    assert_eq!(honest.found(), []);
    let second = change(&honest, 1);
    honest.operations[second].revision -= 1;
    honest.operations[second].at_least = 0;
    assert!(honest.found().contains(&Kind::Reordered));
}

#[test]
fn a_request_that_began_after_an_answer_takes_effect_after_it() {
    let mut honest = Honest::new();
    honest.ask(0, honest.give(1));
    // A client had received a later revision before this was sent.
    honest.ask(1, Intent::SeeBinding(honest.binding));
    let first = change(&honest, 0);
    honest.operations[first].invoked_ns = 1_000;
    honest.operations[first].returned_ns = 1_001;
    assert!(honest.found().contains(&Kind::Reordered));
}

#[test]
fn a_gap_in_the_log_is_found() {
    let mut honest = Honest::new();
    honest.day();
    honest.log.remove(0);
    assert!(honest.found().contains(&Kind::Broken));
}

#[test]
fn a_response_that_should_not_exist_is_reported() {
    let mut honest = Honest::new();
    honest.ask(0, honest.give(1));
    honest.ask(2, Intent::ListRoles).answer = Answer::Odd("500".to_owned());
    assert_eq!(honest.found(), [Kind::Wrong]);
}

#[test]
fn a_change_that_the_standby_cannot_have_is_not_acknowledged() {
    let mut honest = Honest::new();
    let before = honest.state.revision().0;
    let answered_ns = honest.ask(0, honest.give(1)).returned_ns;
    let early = |head, resumed_ns| {
        let standstill = Standstill { head, resumed_ns };
        honest.verdict_with(&[standstill]).count(Kind::Early)
    };
    assert_eq!(early(before, answered_ns + 1), 1);
    // After it continues, or if it had the change already.
    assert_eq!(early(before, answered_ns), 0);
    assert_eq!(early(before + 1, answered_ns + 1), 0);
}
