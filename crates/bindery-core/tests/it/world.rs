//! Text worlds: lines that read like a story and become a [`State`], and questions whose answers read like one.
//!
//! Lines are told in order. What a line names for the first time comes into being; a later line changes what an earlier
//! one said. Each becomes [`Change`]s that are applied as they are: no command checks or completes them, so a world can
//! also hold what no caller could bring about.
//!
//! | line | tells |
//! |---|---|
//! | `acme/red/sonar` | the organization acme, in it the public space red, in that the open project sonar |
//! | `acme/red  private` or `public` | a mark of a space |
//! | `acme/red/vault  restricted` or `open` | a mark of a project |
//! | `acme/red/old  deleted` | the place alone is gone, for good |
//! | `ada is Annotator` | an account role: `Admin`, `Member` (at first), `Member - UI Only`, `Annotator` |
//! | `ada is invited until 100`, `ada is inactive` | a standing; at first everyone is active |
//! | `ada is Member of acme` | a role in an organization: `Admin`, `Member`, `Read-only`, `Annotator` |
//! | `ada is Read-only on acme/red` | a membership of a space, with the same four names |
//! | `role Auditor: PROJECT_READ, SPACE_READ` | a custom role, new or with another set |
//! | `role Auditor deleted` | the role is gone, the bindings that use it are not |
//! | `ada has Auditor on acme/red` | a role binding on a space or project, of a custom or listed predefined role |
//! | `ada has nothing on acme/red` | neither membership nor binding there; the same for an organization or project |
//! | `bot crawler` | a bot user with a live service key; the lines about users hold for it too |
//! | `bot crawler by ada` | the same, made by ada or by another bot |
//! | `crawler key revoked`, `crawler key ends at 100` | the bot's key |
//!
//! So *is* tells standing, account role and memberships, and *has* tells role bindings; answers keep the two apart as
//! `Read-only on acme/red` and `Read-only, bound on acme/red`. A question is `who PERMISSION where`; `account` is the
//! account, and a name that no line told stands for an id that was never issued. Moments are plain numbers, all things
//! were made at 0, and questions are asked at 0 unless they say when.

#![expect(
    clippy::panic,
    reason = "a line or question that can't be read fails its test"
)]

use std::collections::BTreeMap;

use bindery_core::access::AccessWriter;
use bindery_core::api_key::{ApiKey, KeyOwner, Secret, SecretHash};
use bindery_core::change::Change;
use bindery_core::command::{Caller, Command, Context};
use bindery_core::decision::{CutGrant, Decision, Grant, Lack, Question, admin_over};
use bindery_core::explain::Words;
use bindery_core::given::{GivenAt, Giver};
use bindery_core::id::{
    AccountId, ApiKeyId, Id as _, IdKey, OrganizationId, OrganizationMembershipId, ProjectId,
    RoleBindingId, RoleId, SpaceId, SpaceMembershipId, UserId,
};
use bindery_core::permission::{Permission, PermissionSet};
use bindery_core::place::{
    Account, AccountSettings, Organization, Project, Restriction, Space, SpaceSettings,
};
use bindery_core::query::{ProjectFilter, Slice};
use bindery_core::refusal::Refusal;
use bindery_core::resource::{Bindable, Level, Resource};
use bindery_core::role::{
    AccountRole, CUSTOM_FIRST, OrganizationRole, PredefinedRole, Role, SpaceRole,
};
use bindery_core::role_binding::RoleBinding;
use bindery_core::state::State;
use bindery_core::text::{Description, Email, KeyName, Name, RoleName};
use bindery_core::time::Timestamp;
use bindery_core::user::{Identity, OrganizationMembership, SpaceMembership, Standing, User};

const START: Timestamp = Timestamp::from_millis(0);

/// A state, and the names that its text gave to what is in it.
pub(crate) struct World {
    pub(crate) state: State,
    /// What was told since the last time that anyone asked.
    told: Vec<Change>,
    users: BTreeMap<String, UserId>,
    roles: BTreeMap<String, RoleId>,
    places: BTreeMap<String, Resource>,
}

impl World {
    /// The world that this text tells.
    pub(crate) fn parse(text: &str) -> Self {
        let account = Account {
            id: AccountId(1),
            name: name("world"),
            id_key: IdKey::new([7; 16]),
            created_at: START,
            settings: AccountSettings::default(),
        };
        let mut world = Self {
            state: State::new(account),
            told: Vec::new(),
            users: BTreeMap::new(),
            roles: PredefinedRole::all()
                .filter(|(_, role)| role.listed)
                .map(|(id, role)| (role.name.to_owned(), id))
                .collect(),
            places: BTreeMap::from([("account".to_owned(), Resource::Account)]),
        };
        world.tell(text);
        world
    }

    /// Tells what happens next.
    pub(crate) fn tell(&mut self, text: &str) {
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            self.tell_line(line);
        }
    }

    /// The changes that were told since this was last asked.
    pub(crate) fn take_told(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.told)
    }

    fn tell_line(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["role", role @ .., "deleted"] => self.delete_role(&role.join(" ")),
            ["role", ..] => self.put_role(line),
            ["bot", name] => self.put_bot(name),
            ["bot", name, "by", creator] => {
                let creator = self.told_user(creator);
                self.put_bot(name);
                self.change_key(name, |key| key.created_by = creator);
            }
            [bot, "key", "revoked"] => self.change_key(bot, |key| key.is_revoked = true),
            [bot, "key", "ends", "at", end] => {
                self.change_key(bot, |key| key.expires_at = Some(moment(end)));
            }
            [user, "is", "inactive"] => self.set_standing(user, Standing::Inactive),
            [user, "is", "invited", "until", end] => {
                self.set_standing(user, Standing::Invited { until: moment(end) });
            }
            [user, "is", role @ .., "of", organization] => {
                self.join_organization(user, &role.join(" "), organization);
            }
            [user, "is", role @ .., "on", space] => self.join_space(user, &role.join(" "), space),
            [user, "is", role @ ..] => self.set_account_role(user, &role.join(" ")),
            [user, "has", "nothing", "on", place] => self.take_all(user, place),
            [user, "has", role @ .., "on", place] => self.bind(user, &role.join(" "), place),
            [path] => {
                self.told_place(path);
            }
            [path, mark] => self.mark(path, mark),
            _ => panic!("`{line}` is no line of a world"),
        }
    }

    fn apply(&mut self, change: &Change) {
        self.state.apply(change);
        self.told.push(change.clone());
    }

    /// A number that no thing of any kind has, so that ids of two kinds can't be mixed up unnoticed.
    fn number(&self) -> u32 {
        let highest = self.state.issued().map(|(_, number)| number).max();
        highest.map_or(CUSTOM_FIRST, |number| number + 1)
    }
}

/// Places.
impl World {
    fn told_place(&mut self, path: &str) -> Resource {
        if let Some(place) = self.places.get(path) {
            return *place;
        }
        let place = match path.rsplit_once('/') {
            None => self.new_organization(path),
            Some((above, own)) => match self.told_place(above) {
                Resource::Organization(organization) => self.new_space(organization, own),
                Resource::Space(space) => self.new_project(space, own),
                Resource::Account | Resource::Project(_) => {
                    panic!("`{path}` is no organization/space/project")
                }
            },
        };
        self.places.insert(path.to_owned(), place);
        place
    }

    fn new_organization(&mut self, own: &str) -> Resource {
        let id = OrganizationId::new(self.number());
        self.apply(&Change::PutOrganization(Organization {
            id,
            name: name(own),
            description: Description::default(),
            created_at: START,
        }));
        id.into()
    }

    fn new_space(&mut self, organization: OrganizationId, own: &str) -> Resource {
        let id = SpaceId::new(self.number());
        self.apply(&Change::PutSpace(Space {
            id,
            organization,
            name: name(own),
            description: Description::default(),
            is_private: false,
            created_at: START,
            settings: SpaceSettings::default(),
        }));
        id.into()
    }

    fn new_project(&mut self, space: SpaceId, own: &str) -> Resource {
        let id = ProjectId::new(self.number());
        self.apply(&Change::PutProject(Project {
            id,
            space,
            name: name(own),
            created_at: START,
        }));
        id.into()
    }

    fn mark(&mut self, path: &str, mark: &str) {
        let change = match (self.told_place(path), mark) {
            (Resource::Space(id), "private" | "public") => {
                let mut space = Space::clone(self.state.space(id).expect("a space that is there"));
                space.is_private = mark == "private";
                Change::PutSpace(space)
            }
            (Resource::Project(project), "restricted") => Change::PutRestriction(Restriction {
                project,
                created_at: START,
            }),
            (Resource::Project(id), "open") => Change::DeleteRestriction(id),
            (Resource::Organization(id), "deleted") => Change::DeleteOrganization(id),
            (Resource::Space(id), "deleted") => Change::DeleteSpace(id),
            (Resource::Project(id), "deleted") => Change::DeleteProject(id),
            _ => panic!("`{path}` can't be marked `{mark}`"),
        };
        self.apply(&change);
    }
}

/// Users and their keys.
impl World {
    fn told_user(&mut self, user: &str) -> UserId {
        if let Some(id) = self.users.get(user) {
            return *id;
        }
        let email = Email::parse(&format!("{user}@example.com")).expect("a name fit for an e-mail");
        let id = UserId::new(self.number());
        self.put_user(id, user, Identity::Human { email });
        id
    }

    fn put_user(&mut self, id: UserId, user: &str, identity: Identity) {
        let account_role = AccountRole::Member;
        self.apply(&Change::PutUser(User {
            id,
            name: name(user),
            identity,
            account_role,
            is_developer: account_role.is_developer_by_default(),
            standing: Standing::Active,
            created_at: START,
            address_released_at: None,
        }));
        self.users.insert(user.to_owned(), id);
    }

    fn put_bot(&mut self, bot: &str) {
        assert!(!self.users.contains_key(bot), "`{bot}` is told twice");
        let key = ApiKeyId::new(self.number());
        let id = UserId::new(key.number() + 1);
        self.put_user(id, bot, Identity::Bot { key });
        let mut hash = [0; 32];
        hash[..4].copy_from_slice(&key.number().to_le_bytes());
        self.apply(&Change::PutApiKey(ApiKey {
            id: key,
            name: KeyName::parse(bot).expect("a name fit for a key"),
            description: Description::default(),
            owner: KeyOwner::Service(id),
            created_by: UserId::NOBODY,
            created_at: START,
            expires_at: None,
            is_revoked: false,
            secret: Secret {
                hash: SecretHash(hash),
                redacted: String::new(),
            },
            previous: None,
            is_enforcement_point: false,
            is_sign_in: false,
            last_spaces: Vec::new(),
            ends_with: None,
        }));
    }

    fn change_key(&mut self, bot: &str, change: impl FnOnce(&mut ApiKey)) {
        let user = self.state.user(self.user(bot)).map(|user| &user.identity);
        let Some(Identity::Bot { key }) = user else {
            panic!("`{bot}` is no bot");
        };
        let mut key = ApiKey::clone(self.state.api_key(*key).expect("every bot has its key"));
        change(&mut key);
        self.apply(&Change::PutApiKey(key));
    }

    fn change_user(&mut self, user: &str, change: impl FnOnce(&mut User)) {
        let id = self.told_user(user);
        let mut user = User::clone(self.state.user(id).expect("users are never deleted"));
        change(&mut user);
        self.apply(&Change::PutUser(user));
    }

    fn set_standing(&mut self, user: &str, standing: Standing) {
        self.change_user(user, |user| user.standing = standing);
    }

    fn set_account_role(&mut self, user: &str, role: &str) {
        let role = read(AccountRole::ALL, account_role_name, role);
        self.change_user(user, |user| {
            user.account_role = role;
            user.is_developer = role.is_developer_by_default();
        });
    }
}

/// Roles, and who has them.
impl World {
    fn put_role(&mut self, line: &str) {
        let (role, permissions) = line
            .trim()
            .trim_start_matches("role ")
            .split_once(':')
            .unwrap_or_else(|| panic!("`{line}` needs a colon before its permissions"));
        let known = self.roles.get(role).copied();
        let id = known.unwrap_or_else(|| RoleId::new(self.number()));
        assert!(id.number() >= CUSTOM_FIRST, "`{role}` is predefined");
        self.apply(&Change::PutRole(Role {
            id,
            name: RoleName::parse(role).expect("a name fit for a role"),
            description: Description::default(),
            permissions: permissions
                .split(',')
                .map(|name| permission(name.trim()))
                .collect(),
            created_at: START,
            updated_at: START,
        }));
        self.roles.insert(role.to_owned(), id);
    }

    fn delete_role(&mut self, role: &str) {
        let id = self.role(role);
        self.apply(&Change::DeleteRole(id));
    }

    fn join_organization(&mut self, user: &str, role: &str, organization: &str) {
        self.told_place(organization);
        let (user, organization) = (self.told_user(user), self.organization(organization));
        let old = self.state.organization_membership(organization, user);
        let id = old.map_or_else(
            || OrganizationMembershipId::new(self.number()),
            |old| old.id,
        );
        self.apply(&Change::PutOrganizationMembership(OrganizationMembership {
            id,
            user,
            organization,
            role: read(OrganizationRole::ALL, organization_role_name, role),
            given_by: Giver::UNKNOWN,
            given_at: GivenAt::UNKNOWN,
        }));
    }

    fn join_space(&mut self, user: &str, role: &str, space: &str) {
        self.told_place(space);
        let (user, space) = (self.told_user(user), self.space(space));
        let old = self.state.space_membership(space, user);
        let id = old.map_or_else(|| SpaceMembershipId::new(self.number()), |old| old.id);
        self.apply(&Change::PutSpaceMembership(SpaceMembership {
            id,
            user,
            space,
            role: read(SpaceRole::ALL, space_role_name, role),
            given_by: Giver::UNKNOWN,
            given_at: GivenAt::UNKNOWN,
        }));
    }

    fn bind(&mut self, user: &str, role: &str, place: &str) {
        let (user, place) = (self.told_user(user), self.told_place(place));
        let role = self.role(role);
        let resource = bindable(place).expect("roles are bound on spaces and projects");
        let old = self.state.role_binding_on(resource, user);
        self.apply(&Change::PutRoleBinding(RoleBinding {
            id: old.map_or_else(|| RoleBindingId::new(self.number()), |old| old.id),
            user,
            resource,
            role,
            created_at: START,
            updated_at: START,
            given_by: Giver::UNKNOWN,
        }));
    }

    fn take_all(&mut self, user: &str, place: &str) {
        let (user, place) = (self.told_user(user), self.told_place(place));
        let membership = match place {
            Resource::Organization(id) => self
                .state
                .organization_membership(id, user)
                .map(|seat| Change::DeleteOrganizationMembership(seat.id)),
            Resource::Space(id) => self
                .state
                .space_membership(id, user)
                .map(|seat| Change::DeleteSpaceMembership(seat.id)),
            Resource::Account | Resource::Project(_) => None,
        };
        let binding = bindable(place)
            .and_then(|on| self.state.role_binding_on(on, user))
            .map(|binding| Change::DeleteRoleBinding(binding.id));
        for change in membership.into_iter().chain(binding) {
            self.apply(&change);
        }
    }
}

/// What a test asks.
impl World {
    /// The user of this name; nobody, if no line told of them.
    pub(crate) fn user(&self, user: &str) -> UserId {
        self.users.get(user).copied().unwrap_or(UserId::NOBODY)
    }

    /// The role of this name, which a line told of or which is predefined and listed.
    pub(crate) fn role(&self, role: &str) -> RoleId {
        *self
            .roles
            .get(role)
            .unwrap_or_else(|| panic!("no role `{role}`"))
    }

    /// The place of this path; one that never was, if no line told of it.
    pub(crate) fn place(&self, path: &str) -> Resource {
        let depth = path.matches('/').count();
        match (self.places.get(path), depth) {
            (Some(place), _) => *place,
            (None, 0) => OrganizationId::NOBODY.into(),
            (None, 1) => SpaceId::NOBODY.into(),
            (None, _) => ProjectId::NOBODY.into(),
        }
    }

    /// The organization of this name; one that never was, if no line told of it.
    pub(crate) fn organization(&self, path: &str) -> OrganizationId {
        match self.place(path) {
            Resource::Organization(id) => id,
            _ => panic!("`{path}` is no organization"),
        }
    }

    /// The space of this path; one that never was, if no line told of it.
    pub(crate) fn space(&self, path: &str) -> SpaceId {
        match self.place(path) {
            Resource::Space(id) => id,
            _ => panic!("`{path}` is no space"),
        }
    }

    /// The answer to a question like `ada PROJECT_READ acme/red/sonar`, with its reason.
    pub(crate) fn ask(&self, question: &str) -> String {
        self.ask_at(0, question)
    }

    /// The answer at this moment.
    pub(crate) fn ask_at(&self, now: i64, question: &str) -> String {
        let question = self.question(question);
        match self.decide(&question, Timestamp::from_millis(now)) {
            Decision::Allowed(grant) => format!("yes: {}", self.grant(grant, question.principal)),
            Decision::Denied(lack) => format!("no: {}", self.lack(lack, question.principal)),
        }
    }

    /// What the restriction of the project keeps from it, where that is the reason of a no.
    pub(crate) fn cut(&self, question: &str) -> String {
        match self.decide(&self.question(question), START) {
            Decision::Denied(Lack::Restriction(_, cut)) => match cut {
                CutGrant::SpaceMembership(role) => space_role_name(role).to_owned(),
                CutGrant::RoleBinding(role) => format!("{}, bound", self.role_name(role)),
                CutGrant::PublicSpace(role) => format!("{}, by fallback", space_role_name(role)),
            },
            other => panic!("{question}: {other:?}"),
        }
    }

    /// Everything that is allowed to `who where`.
    pub(crate) fn allowed(&self, who_where: &str) -> PermissionSet {
        let (principal, resource) = self.who_where(who_where);
        let is_allowed = |permission: &Permission| {
            let question = Question {
                principal,
                permission: *permission,
                resource,
            };
            self.decide(&question, START).is_allowed()
        };
        Permission::ALL.into_iter().filter(is_allowed).collect()
    }

    /// Whether, and by which grant, `who` is an admin `where`.
    pub(crate) fn admin(&self, who_where: &str) -> String {
        let (user, resource) = self.who_where(who_where);
        let grant = admin_over(&self.state.at(START), user, resource);
        grant.map_or_else(|| "no".to_owned(), |grant| self.grant(grant, user))
    }

    /// Whether `who` sees `what`: a user, organization, space or project.
    pub(crate) fn sees(&self, who_what: &str) -> bool {
        let (who, what) = who_what
            .split_once(' ')
            .unwrap_or_else(|| panic!("`{who_what}` is not `who what`"));
        let context = self.context(who);
        if let Some(user) = self.users.get(what) {
            return self.state.reader(context).visible_user(*user).is_ok();
        }
        match self.place(what) {
            Resource::Account => panic!("the account is not seen or unseen"),
            Resource::Organization(id) => {
                self.state.reader(context).visible_organization(id).is_ok()
            }
            Resource::Space(id) => self.state.reader(context).visible_space(id).is_ok(),
            Resource::Project(id) => self.state.reader(context).visible_project(id).is_ok(),
        }
    }

    /// The names of the projects that `who` finds when listing `where`, a space.
    pub(crate) fn projects(&self, who_where: &str) -> String {
        let (who, space) = who_where
            .split_once(' ')
            .unwrap_or_else(|| panic!("`{who_where}` is not `who where`"));
        let filter = ProjectFilter {
            space: Some(self.space(space)),
            ..ProjectFilter::default()
        };
        let slice = Slice {
            after: None,
            limit: 100,
        };
        match self
            .state
            .reader(self.context(who))
            .projects(&filter, slice)
        {
            Ok(page) => {
                let names: Vec<&str> = page.items.iter().map(|one| one.name.as_str()).collect();
                names.join(" ")
            }
            Err(refusal) => format!("{refusal:?}"),
        }
    }

    /// Executes a command on behalf of `who`, whatever key they might use, and applies what it decides.
    pub(crate) fn run<C: Command>(&mut self, who: &str, command: &C) -> Result<(), Refusal> {
        let decided = command.execute(&self.state, &self.context(who))?;
        for change in &decided.changes {
            self.apply(change);
        }
        Ok(())
    }

    pub(crate) fn context(&self, who: &str) -> Context {
        Context {
            caller: Caller::Key {
                user: self.user(who),
                key: ApiKeyId::NOBODY,
            },
            now: START,
        }
    }

    /// Why the answer is as it is, as people read it; `reader` may know everything if there is none.
    pub(crate) fn explain_at(&self, now: i64, question: &str, reader: Option<&str>) -> String {
        let now = Timestamp::from_millis(now);
        let question = self.question(question);
        self.decide(&question, now);
        let Some(reader) = reader else {
            let explanation = self.state.explain(&question, now);
            return Words::new(&self.state, question).whole(&explanation);
        };
        let context = Context {
            now,
            ..self.context(reader)
        };
        let (subject, resource) = (question.principal, question.resource);
        if self
            .state
            .authorize_inquiry(&context, subject, resource)
            .is_err()
        {
            return "not theirs to ask".to_owned();
        }
        let explanation = self.state.explain_to(&context, &question);
        Words::for_caller(&self.state, question, &context).whole(&explanation)
    }

    pub(crate) fn question(&self, text: &str) -> Question {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [who, what, place] = words.as_slice() else {
            panic!("`{text}` is not `who PERMISSION where`");
        };
        Question {
            principal: self.user(who),
            permission: permission(what),
            resource: self.place(place),
        }
    }

    fn who_where(&self, text: &str) -> (UserId, Resource) {
        let (who, place) = text
            .split_once(' ')
            .unwrap_or_else(|| panic!("`{text}` is not `who where`"));
        (self.user(who), self.place(place))
    }

    /// Asks the index and the entities, which must agree, reasons included; and searches find whoever is allowed, and where.
    fn decide(&self, question: &Question, now: Timestamp) -> Decision {
        let by_entities = self.state.decide(question, now);
        let now = now.max(self.state.latest());
        let index = AccessWriter::new(&self.state).index();
        let by_index = index.decide(question, now);
        let expected = (self.state.decide(question, now), self.state.revision());
        assert_eq!(
            by_index,
            Some(expected),
            "index and entities on {question:?}"
        );
        let Question {
            principal,
            permission,
            resource,
        } = *question;
        let (mut users, mut resources) = (Vec::new(), Vec::new());
        index.users_of(resource, permission, now, &mut users);
        index.resources_of(principal, permission, resource.level(), now, &mut resources);
        assert_eq!(
            (users.contains(&principal), resources.contains(&resource)),
            (expected.0.is_allowed(), expected.0.is_allowed()),
            "searches and check on {question:?}"
        );
        by_entities
    }
}

/// Decisions in words.
impl World {
    fn grant(&self, grant: Grant, principal: UserId) -> String {
        match grant {
            Grant::AccountAdmin => "account admin".to_owned(),
            Grant::AccountRole(role) => format!("{} of the account", account_role_name(role)),
            Grant::OrganizationAdmin(id) => format!("admin of {}", self.path(id)),
            Grant::OrganizationRole(id, role) => {
                format!("{} of {}", organization_role_name(role), self.path(id))
            }
            Grant::SpaceAdmin(id) => format!("admin of {}", self.path(id)),
            Grant::SpaceAdminByBinding(id) => {
                self.check_binding(principal, Bindable::Space(id), SpaceRole::Admin.role());
                format!("admin of {}, by a binding", self.path(id))
            }
            Grant::SpaceMembership(id, role) => {
                format!("{} on {}", space_role_name(role), self.path(id))
            }
            Grant::PublicSpace(space, organization, role) => format!(
                "{} on {}, public to {}",
                space_role_name(role),
                self.path(space),
                self.path(organization)
            ),
            Grant::RoleBinding(on, role) => {
                self.check_binding(principal, on, role);
                format!("{}, bound on {}", self.role_name(role), self.path(on))
            }
        }
    }

    fn lack(&self, lack: Lack, principal: UserId) -> String {
        match lack {
            Lack::Principal => "not an active principal".to_owned(),
            Lack::Resource => "no such resource".to_owned(),
            Lack::Level { lowest } => format!(
                "means nothing below {}",
                match lowest {
                    Level::Account => "the account",
                    Level::Organization => "an organization",
                    Level::Space => "a space",
                    Level::Project => "a project",
                }
            ),
            Lack::Restriction(project, _) => {
                match self.state.bound_role(principal, Bindable::Project(project)) {
                    Some(role) => format!(
                        "restricted, and {} on it is not enough",
                        self.role_name(role)
                    ),
                    None => "restricted, and no binding on it".to_owned(),
                }
            }
            Lack::Grant => "nothing grants it".to_owned(),
        }
    }

    /// A reason names the binding that is there, not just its role.
    fn check_binding(&self, principal: UserId, on: Bindable, role: RoleId) {
        let binding = self
            .state
            .role_binding_on(on, principal)
            .expect("a grant's binding is there");
        assert_eq!(binding.role, role);
    }

    fn path(&self, place: impl Into<Resource>) -> &str {
        let place = place.into();
        let named = self.places.iter().find(|(_, named)| **named == place);
        named
            .map(|(path, _)| path.as_str())
            .expect("every place was told")
    }

    fn role_name(&self, role: RoleId) -> &str {
        self.state.role(role).expect("a role that is there").name()
    }
}

fn account_role_name(role: AccountRole) -> &'static str {
    predefined_name(role.role(), "Account ")
}

fn organization_role_name(role: OrganizationRole) -> &'static str {
    predefined_name(role.role(), "Organization ")
}

fn space_role_name(role: SpaceRole) -> &'static str {
    predefined_name(role.role(), "")
}

fn predefined_name(role: RoleId, prefix: &str) -> &'static str {
    let role = PredefinedRole::by_id(role).expect("a predefined role");
    role.name
        .strip_prefix(prefix)
        .expect("the name of its level")
}

fn read<R: Copy>(all: [R; 4], name: fn(R) -> &'static str, text: &str) -> R {
    all.into_iter()
        .find(|role| name(*role) == text)
        .unwrap_or_else(|| panic!("`{text}` is no role of this level"))
}

fn bindable(place: Resource) -> Option<Bindable> {
    match place {
        Resource::Account | Resource::Organization(_) => None,
        Resource::Space(id) => Some(Bindable::Space(id)),
        Resource::Project(id) => Some(Bindable::Project(id)),
    }
}

fn permission(name: &str) -> Permission {
    Permission::from_name(name).unwrap_or_else(|| panic!("no permission `{name}`"))
}

fn moment(text: &str) -> Timestamp {
    let millis = text.parse();
    Timestamp::from_millis(millis.unwrap_or_else(|_| panic!("`{text}` is no moment")))
}

fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}
