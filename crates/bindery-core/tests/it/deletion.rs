//! Deleting an organization is one change of the account, however much is in it.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose setting can't be made has failed"
)]

use std::collections::BTreeMap;

use bindery_core::api_key::{ApiKey, Secret, SecretHash};
use bindery_core::change::{Change, Entry, OneOperation};
use bindery_core::command::api_keys::{CreateServiceKey, KeyOrganization, KeySpace};
use bindery_core::command::operator::Bootstrap;
use bindery_core::command::organizations::{
    AddOrganizationUser, CreateOrganization, DeleteOrganization,
};
use bindery_core::command::projects::CreateProject;
use bindery_core::command::resource_restrictions::CreateResourceRestriction;
use bindery_core::command::role_bindings::CreateRoleBinding;
use bindery_core::command::spaces::{AddSpaceUser, CreateSpace};
use bindery_core::command::users::{CreateUser, Invitation};
use bindery_core::command::{Assignment, Caller, Command, Context};
use bindery_core::id::{AccountId, ApiKeyId, IdKey, Kind, OrganizationId, RoleId, UserId};
use bindery_core::place::{Account, AccountSettings};
use bindery_core::resource::Bindable;
use bindery_core::role::{AccountRole, OrganizationRole, PredefinedRole, SpaceRole};
use bindery_core::state::State;
use bindery_core::text::{Description, Email, KeyName, Name};
use bindery_core::time::Timestamp;
use bindery_core::user::{Standing, User};

const SPACES: u32 = 200;
const PROJECTS_A_SPACE: u32 = 10;
/// On the space and on each of its projects.
const BINDINGS_A_RESOURCE: usize = 23;
const PEOPLE: u32 = 100;

/// An account with its current records.
struct Book {
    state: State,
    records: BTreeMap<(Kind, u32), Change>,
}

impl Book {
    fn founded() -> Self {
        let account = Account {
            id: AccountId(1),
            name: name("account"),
            id_key: IdKey::new([7; 16]),
            created_at: Timestamp::from_millis(0),
            settings: AccountSettings::default(),
        };
        let mut book = Self {
            state: State::new(account),
            records: BTreeMap::new(),
        };
        let founding = Bootstrap {
            name: name("Ada"),
            email: Email::parse("ada@example.com").unwrap(),
            key_name: KeyName::parse("first").unwrap(),
            secret: secret(0),
        };
        book.run_as(Caller::Operator, &founding);
        book
    }

    /// As the founder.
    fn run<C: Command>(&mut self, command: &C) -> C::Outcome {
        let founder = Caller::Key {
            user: UserId::new(1),
            key: ApiKeyId::new(1),
        };
        self.run_as(founder, command)
    }

    fn run_as<C: Command>(&mut self, caller: Caller, command: &C) -> C::Outcome {
        let now = Timestamp::from_millis(0);
        let decided = self
            .state
            .execute(command, &Context { caller, now })
            .unwrap();
        for change in &decided.changes {
            if change.is_delete() {
                self.records.remove(&change.key());
            } else {
                self.records.insert(change.key(), change.clone());
            }
        }
        let entry = Entry::from(OneOperation {
            revision: self.state.revision().next(),
            at: now,
            by: None,
            key: None,
            operation: C::OPERATION.to_owned(),
            batch: 0,
            changes: decided.changes,
        });
        self.state.advance(&entry);
        decided.outcome
    }
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn secret(number: u8) -> Secret {
    Secret {
        hash: SecretHash([number; 32]),
        redacted: "ak-000...000".to_owned(),
    }
}

fn role(name: &str) -> RoleId {
    let mut roles = PredefinedRole::all();
    roles.find(|(_, role)| role.name == name).unwrap().0
}

fn add_people(book: &mut Book) -> Vec<UserId> {
    (0..PEOPLE)
        .map(|number| {
            book.run(&CreateUser {
                name: name("Somebody"),
                email: Email::parse(&format!("user-{number}@example.com")).unwrap(),
                role: Assignment::Predefined(AccountRole::Member),
                invitation: Invitation::None,
                is_developer: None,
            });
            UserId::new(2 + number)
        })
        .collect()
}

fn add_organization(book: &mut Book, text: &str, people: &[UserId], spaces: u32) -> OrganizationId {
    let organization = book.run(&CreateOrganization {
        name: name(text),
        description: Description::parse("").unwrap(),
    });
    let organization = organization.id;
    for user in people {
        book.run(&AddOrganizationUser {
            organization,
            user: *user,
            role: Assignment::Predefined(OrganizationRole::Member),
        });
    }
    for number in 0..spaces {
        add_space(book, organization, number, people);
    }
    organization
}

fn add_space(book: &mut Book, organization: OrganizationId, number: u32, people: &[UserId]) {
    let space = book.run(&CreateSpace {
        name: name(&format!("space {number}")),
        description: Description::parse("").unwrap(),
        organization,
        is_private: number.is_multiple_of(2),
    });
    let space = space.id;
    // Those who have a membership here come after those with a binding.
    let (bound, seated) = people.split_at(BINDINGS_A_RESOURCE);
    book.run(&AddSpaceUser {
        space,
        user: seated[0],
        role: Assignment::Predefined(SpaceRole::Member),
    });
    bind_all(book, bound, Bindable::Space(space), role("Member"));
    for number in 0..PROJECTS_A_SPACE {
        let project = book.run(&CreateProject {
            name: name(&format!("project {number}")),
            space,
        });
        let project = project.id;
        bind_all(
            book,
            bound,
            Bindable::Project(project),
            role("Project Viewer"),
        );
        if number == 0 {
            book.run(&CreateResourceRestriction { project });
        }
    }
}

fn bind_all(book: &mut Book, users: &[UserId], on: Bindable, role: RoleId) {
    for user in users {
        let user = *user;
        book.run(&CreateRoleBinding { user, role, on });
    }
}

/// A key whose bot has a seat in the first space of each of these.
fn add_key(book: &mut Book, number: u8, organizations: &[OrganizationId]) -> (ApiKey, User) {
    let place = |organization: &OrganizationId| {
        let mut spaces = book.records.values().filter_map(|record| match record {
            Change::PutSpace(space) if space.organization == *organization => Some(space.id),
            _ => None,
        });
        KeyOrganization {
            organization: *organization,
            role: Assignment::Predefined(OrganizationRole::Member),
            spaces: vec![KeySpace {
                space: spaces.next().unwrap(),
                role: Assignment::Predefined(SpaceRole::Member),
            }],
        }
    };
    let organizations = organizations.iter().map(place).collect();
    book.run(&CreateServiceKey {
        name: KeyName::parse("crawler").unwrap(),
        description: Description::parse("").unwrap(),
        expires_at: None,
        account_role: Assignment::Predefined(AccountRole::Member),
        organizations,
        secret: secret(number),
    })
}

#[test]
fn deleting_an_organization_with_fifty_thousand_bindings_is_one_change_and_leaves_nothing_behind() {
    let mut book = Book::founded();
    let people = add_people(&mut book);
    let stays = add_organization(&mut book, "stays", &people, 2);
    let before = book.records.clone();
    let organization = add_organization(&mut book, "goes", &people, SPACES);
    let count = |kind: Kind| {
        let is_such = |key: &&(Kind, u32)| key.0 == kind && !before.contains_key(*key);
        book.records.keys().filter(is_such).count()
    };
    assert_eq!((count(Kind::Space), count(Kind::Project)), (200, 2000));
    assert!(count(Kind::RoleBinding) >= 50_000);
    let (key_of_both, _) = add_key(&mut book, 1, &[stays, organization]);
    let with_a_key = book.records.clone();
    let (key, bot) = add_key(&mut book, 2, &[organization]);

    let revision = book.state.revision();
    book.run(&DeleteOrganization { organization });

    assert_eq!(book.state.revision(), revision.next());
    let mut expected = before;
    for (id, record) in with_a_key {
        // The key that has a space left stays with its bot and the bot's places there.
        let is_new = !expected.contains_key(&id);
        let is_of_the_key = match &record {
            Change::PutApiKey(one) => one.id == key_of_both.id,
            Change::PutUser(user) => user.id == key_of_both.principal(),
            Change::PutOrganizationMembership(one) => {
                one.user == key_of_both.principal() && one.organization == stays
            }
            Change::PutSpaceMembership(one) => {
                let space = book.state.space(one.space);
                one.user == key_of_both.principal()
                    && space.is_some_and(|space| space.organization == stays)
            }
            _ => false,
        };
        if is_new && is_of_the_key {
            expected.insert(id, record);
        }
    }
    // The one that has none is revoked, and its bot is kept for the audit trail.
    for record in [
        Change::PutApiKey(ApiKey {
            is_revoked: true,
            ..key
        }),
        Change::PutUser(User {
            standing: Standing::Inactive,
            ..bot
        }),
    ] {
        expected.insert(record.key(), record);
    }
    assert!(
        book.records == expected,
        "something was left behind, or lost"
    );
    let loaded = State::load(
        book.state.account().clone(),
        book.state.position(),
        book.state.latest(),
        book.state.issued(),
        expected.into_values(),
    );
    assert!(book.state == loaded, "an index remembers what is gone");
}
