//! Bindery's core inside another program: an account in memory, changes by commands, decisions from its index, and why.
//!
//! Nothing is stored and nothing listens. A program that keeps the entries of the log (`Entry::encode`) has the account again
//! by advancing a new state over them. Run it with `cargo run -p bindery-core --example in_process`.

use std::error::Error;

use bindery_core::access::AccessWriter;
use bindery_core::api_key::{Secret, SecretHash};
use bindery_core::change::{Entry, OneOperation};
use bindery_core::command::operator::Bootstrap;
use bindery_core::command::organizations::{AddOrganizationUser, CreateOrganization};
use bindery_core::command::projects::CreateProject;
use bindery_core::command::resource_restrictions::CreateResourceRestriction;
use bindery_core::command::role_bindings::CreateRoleBinding;
use bindery_core::command::spaces::CreateSpace;
use bindery_core::command::users::{CreateUser, CreatedUser, Invitation};
use bindery_core::command::{Assignment, Caller, Command, Context};
use bindery_core::decision::{CutGrant, Decision, Grant, Lack, Question};
use bindery_core::id::{AccountId, IdKey, RoleId};
use bindery_core::permission::Permission;
use bindery_core::place::{Account, AccountSettings};
use bindery_core::resource::Bindable;
use bindery_core::role::{AccountRole, OrganizationRole, SpaceRole};
use bindery_core::state::State;
use bindery_core::text::{Description, Email, KeyName, Name};
use bindery_core::time::Timestamp;

/// Time comes from outside, like everything that isn't the same on every run.
const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

#[expect(clippy::print_stdout, reason = "what it says is what it is for")]
fn main() -> Result<(), Box<dyn Error>> {
    for line in story()? {
        println!("{line}");
    }
    Ok(())
}

/// Ada sets an account up, and Ben is asked about. Each line is what came of one question.
pub(crate) fn story() -> Result<Vec<String>, Box<dyn Error>> {
    let mut book = Book::new()?;
    let (ada, key) = book.run(
        Caller::Operator,
        &Bootstrap {
            name: Name::parse("Ada")?,
            email: Email::parse("ada@example.com")?,
            key_name: KeyName::parse("first")?,
            secret: Secret {
                hash: SecretHash([7; 32]),
                redacted: "ak-abc...xyz".to_owned(),
            },
        },
    )?;
    let ada = Caller::Key {
        user: ada.id,
        key: key.id,
    };
    let acme = book.run(
        ada,
        &CreateOrganization {
            name: Name::parse("acme")?,
            description: Description::default(),
        },
    )?;
    let research = book.run(
        ada,
        &CreateSpace {
            name: Name::parse("research")?,
            organization: acme.id,
            description: Description::default(),
            is_private: true,
        },
    )?;
    let sonar = book.run(
        ada,
        &CreateProject {
            name: Name::parse("sonar")?,
            space: research.id,
        },
    )?;
    let invite = CreateUser {
        name: Name::parse("Ben")?,
        email: Email::parse("ben@example.com")?,
        role: Assignment::Predefined(AccountRole::Member),
        invitation: Invitation::None,
        is_developer: None,
    };
    let CreatedUser::Created(ben) = book.run(ada, &invite)? else {
        return Err("there was a Ben already".into());
    };
    book.run(
        ada,
        &AddOrganizationUser {
            organization: acme.id,
            user: ben.id,
            role: Assignment::Predefined(OrganizationRole::Member),
        },
    )?;

    let may_read = Question {
        principal: ben.id,
        permission: Permission::ProjectRead,
        resource: sonar.id.into(),
    };
    let mut story = vec![book.ask("at first", &may_read)?];

    let bind = |on| CreateRoleBinding {
        user: ben.id,
        role: SpaceRole::Member.role(),
        on,
    };
    book.run(ada, &bind(Bindable::Space(research.id)))?;
    story.push(book.ask("bound on the space", &may_read)?);

    book.run(ada, &CreateResourceRestriction { project: sonar.id })?;
    story.push(book.ask("restricted", &may_read)?);

    // What would be, if a command were given? A clone of the state costs nothing, and the account stays as it is.
    let mut imagined = book.state.clone();
    let context = Context {
        caller: ada,
        now: NOW,
    };
    let decided = imagined
        .execute(&bind(Bindable::Project(sonar.id)), &context)
        .map_err(|refusal| format!("refused: {refusal:?}"))?;
    for change in &decided.changes {
        imagined.apply(change);
    }
    let decision = imagined.decide(&may_read, NOW);
    story.push(format!(
        "if bound on the project: {}",
        words(&imagined, decision)
    ));
    story.push(book.ask("but as it is", &may_read)?);
    Ok(story)
}

/// An account at work: its state, and the index that answers for it. The index can be asked from any number of threads while
/// the writer goes on: hand out clones of `access.index()`.
struct Book {
    state: State,
    access: AccessWriter,
}

impl Book {
    fn new() -> Result<Self, Box<dyn Error>> {
        let state = State::new(Account {
            id: AccountId(1),
            name: Name::parse("main")?,
            id_key: IdKey::new([3; 16]),
            created_at: NOW,
            settings: AccountSettings::default(),
        });
        let access = AccessWriter::new(&state);
        Ok(Self { state, access })
    }

    /// Decides a command, and takes in what it changes.
    fn run<C: Command>(
        &mut self,
        caller: Caller,
        command: &C,
    ) -> Result<C::Outcome, Box<dyn Error>> {
        let context = Context { caller, now: NOW };
        let decided = self
            .state
            .execute(command, &context)
            .map_err(|refusal| format!("refused: {refusal:?}"))?;
        if decided.changes.is_empty() {
            return Ok(decided.outcome);
        }
        let (by, key) = match caller {
            Caller::Operator => (None, None),
            Caller::Person(user) => (Some(user), None),
            Caller::Key { user, key } => (Some(user), Some(key)),
        };
        let entry = Entry::from(OneOperation {
            revision: self.state.revision().next(),
            at: NOW,
            by,
            key,
            operation: C::OPERATION.to_owned(),
            batch: 0,
            changes: decided.changes,
        });
        // Here a program would store `entry.encode()`.
        let mut touched = Vec::new();
        self.state.advance_noting(&entry, &mut touched);
        self.access.advance(&self.state, &touched, || ());
        Ok(decided.outcome)
    }

    /// The decision, with the revision that it was made at and its reason.
    fn ask(&self, when: &str, question: &Question) -> Result<String, Box<dyn Error>> {
        let asked = self.access.index().decide(question, NOW);
        let (decision, revision) = asked.ok_or("the index is being changed: ask the state")?;
        let words = words(&self.state, decision);
        Ok(format!("{when}, at revision {revision}: {words}"))
    }
}

/// A decision for people to read.
fn words(state: &State, decision: Decision) -> String {
    match decision {
        Decision::Allowed(grant) => format!("yes, {}", grant_words(state, grant)),
        Decision::Denied(lack) => format!("no, {}", lack_words(state, lack)),
    }
}

fn grant_words(state: &State, grant: Grant) -> String {
    match grant {
        Grant::AccountAdmin => "as an account admin".to_owned(),
        Grant::AccountRole(role) => format!("by the account role {}", role.name()),
        Grant::OrganizationAdmin(_) => "as an admin of the organization".to_owned(),
        Grant::OrganizationRole(_, role) => format!("by the organization role {}", role.name()),
        Grant::SpaceAdmin(_) | Grant::SpaceAdminByBinding(_) => {
            "as an admin of the space".to_owned()
        }
        Grant::SpaceMembership(_, role) => format!("by the membership {}", role.name()),
        Grant::PublicSpace(_, _, role) => format!("as {} of a public space", role.name()),
        Grant::RoleBinding(on, role) => {
            let place = match on {
                Bindable::Space(id) => state.space(id).map(|space| &space.name),
                Bindable::Project(id) => state.project(id).map(|project| &project.name),
            };
            let place = place.map_or("?", |name| name.as_str());
            format!("by the role {} bound on {place}", role_name(state, role))
        }
    }
}

fn lack_words(state: &State, lack: Lack) -> String {
    match lack {
        Lack::Principal => "there is no such active user".to_owned(),
        Lack::Resource => "there is no such resource".to_owned(),
        Lack::Level { lowest } => format!("it isn't asked below {lowest:?}"),
        Lack::Restriction(_, CutGrant::RoleBinding(role)) => {
            let role = role_name(state, role);
            format!("the project is restricted, which cuts the role {role} on its space")
        }
        Lack::Restriction(..) => "the project is restricted".to_owned(),
        Lack::Grant => "nothing grants it".to_owned(),
    }
}

fn role_name(state: &State, role: RoleId) -> &str {
    state.role(role).map_or("?", |role| role.name())
}
