//! The state of one account at one revision: every entity in memory, in structure-sharing collections. A clone is O(1), so a
//! snapshot is a clone, a simulation is a clone with commands applied, and history is a clone replayed.

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::OrdMap;

use crate::access::Touched;
use crate::api_key::{ApiKey, SecretHash};
use crate::change::{Change, Entry, LogPosition};
use crate::credential::Credential;
use crate::decision::SpacePlace;
use crate::id::{
    ApiKeyId, Id, IdKey, Kind, OrganizationId, OrganizationMembershipId, ProjectId, Revision,
    RoleBindingId, RoleId, SpaceId, SpaceMembershipId, UserId,
};
use crate::listing::{ListIndex, Marked, Spot, under};
use crate::place::{Account, Organization, Project, Restriction, Space};
use crate::resource::Bindable;
use crate::role::{AnyRole, CUSTOM_FIRST, PredefinedRole, Role};
use crate::role_binding::RoleBinding;
use crate::text::{Email, Name};
use crate::time::Timestamp;
use crate::tree::{Filed, Tree};
use crate::user::{OrganizationMembership, SpaceMembership, User};

mod bindings;
mod difference;
mod facts;
mod loading;
pub(crate) use bindings::Bindings;
pub use difference::Difference;
pub use facts::StateAt;
pub use loading::{Loading, RecordError};

/// One account, whole. Made by [`Loading`]; only [`State::apply`] and [`State::advance`] change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    pub(crate) position: LogPosition,
    pub(crate) latest: Timestamp,
    pub(crate) account: Arc<Account>,
    /// The highest number ever given to each kind: numbers are never reused.
    pub(crate) issued: OrdMap<Kind, u32>,
    pub(crate) listing: ListIndex,

    pub(crate) users: OrdMap<UserId, Arc<User>>,
    pub(crate) users_by_email: OrdMap<Arc<str>, UserId>,
    pub(crate) organizations: OrdMap<OrganizationId, Arc<Organization>>,
    pub(crate) organizations_by_name: OrdMap<Name, OrganizationId>,
    pub(crate) organization_memberships: Tree<OrganizationMembership>,
    pub(crate) members_of_organization:
        Tree<Filed<(OrganizationId, UserId), OrganizationMembershipId>>,
    pub(crate) organizations_of_user: Tree<(UserId, OrganizationId)>,
    pub(crate) spaces: OrdMap<SpaceId, Arc<Space>>,
    pub(crate) spaces_by_name: OrdMap<(OrganizationId, Name), SpaceId>,
    pub(crate) space_memberships: Tree<SpaceMembership>,
    pub(crate) members_of_space: Tree<Filed<(SpaceId, UserId), SpaceMembershipId>>,
    pub(crate) spaces_of_user: Tree<(UserId, SpaceId)>,
    pub(crate) projects: OrdMap<ProjectId, Arc<Project>>,
    pub(crate) projects_by_name: OrdMap<(SpaceId, Name), ProjectId>,
    pub(crate) restrictions: OrdMap<ProjectId, Restriction>,
    pub(crate) roles: OrdMap<RoleId, Arc<Role>>,
    pub(crate) roles_by_name: OrdMap<String, RoleId>,
    pub(crate) space_bindings: Bindings<SpaceId>,
    pub(crate) project_bindings: Bindings<ProjectId>,
    /// How many bindings use each role; no entry means none.
    pub(crate) uses_of_role: OrdMap<RoleId, u32>,
    pub(crate) api_keys: OrdMap<ApiKeyId, Arc<ApiKey>>,
    pub(crate) keys_by_secret: OrdMap<SecretHash, ApiKeyId>,
    pub(crate) credentials: OrdMap<UserId, Arc<Credential>>,
    pub(crate) users_by_link: OrdMap<SecretHash, UserId>,
    /// People whose credential somebody else may know, and who that is first of all: the inviter, or no user in particular.
    pub(crate) inviters: OrdMap<UserId, UserId>,
}

impl State {
    /// The account before its first change.
    pub fn new(account: Account) -> Self {
        Self {
            position: LogPosition::default(),
            latest: account.created_at,
            account: Arc::new(account),
            issued: OrdMap::new(),
            listing: ListIndex::default(),
            users: OrdMap::new(),
            users_by_email: OrdMap::new(),
            organizations: OrdMap::new(),
            organizations_by_name: OrdMap::new(),
            organization_memberships: Tree::default(),
            members_of_organization: Tree::default(),
            organizations_of_user: Tree::default(),
            spaces: OrdMap::new(),
            spaces_by_name: OrdMap::new(),
            space_memberships: Tree::default(),
            members_of_space: Tree::default(),
            spaces_of_user: Tree::default(),
            projects: OrdMap::new(),
            projects_by_name: OrdMap::new(),
            restrictions: OrdMap::new(),
            roles: OrdMap::new(),
            roles_by_name: OrdMap::new(),
            space_bindings: Bindings::default(),
            project_bindings: Bindings::default(),
            uses_of_role: OrdMap::new(),
            api_keys: OrdMap::new(),
            keys_by_secret: OrdMap::new(),
            credentials: OrdMap::new(),
            users_by_link: OrdMap::new(),
            inviters: OrdMap::new(),
        }
    }

    /// The state that current records tell: what [`State::advance`] over the whole log would give.
    ///
    /// `records` are puts, each thing once; [`Loading`] takes them one by one; `issued` names the highest number ever given to each kind, since the things with those numbers
    /// may be gone.
    pub fn load(
        account: Account,
        position: LogPosition,
        latest: Timestamp,
        issued: impl IntoIterator<Item = (Kind, u32)>,
        records: impl IntoIterator<Item = Change>,
    ) -> Self {
        let mut loading = Loading::new(account);
        for record in records {
            loading.put(record);
        }
        loading.finish(position, latest, issued)
    }

    /// Its place in the one order.
    pub const fn revision(&self) -> Revision {
        self.position.revision
    }

    /// That, and the entry that brought it there.
    pub const fn position(&self) -> LogPosition {
        self.position
    }

    /// When its last entry was decided.
    pub const fn latest(&self) -> Timestamp {
        self.latest
    }

    /// The account.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Whether nobody has ever been in it.
    pub fn is_unfounded(&self) -> bool {
        self.users.is_empty()
    }

    /// Encodes and reads this account's ids.
    pub fn ids(&self) -> &IdKey {
        &self.account.id_key
    }

    /// The highest numbers ever given.
    pub fn issued(&self) -> impl Iterator<Item = (Kind, u32)> {
        self.issued.iter().map(|(kind, number)| (*kind, *number))
    }

    /// The next number of each kind, for a command to take.
    pub(crate) fn numbers(&self) -> Numbers {
        Numbers {
            issued: self.issued.clone(),
        }
    }

    /// Takes the next entry of the log. It can't fail: whether it may happen was decided when it was made.
    pub fn advance(&mut self, entry: &Entry) {
        for change in &entry.changes {
            self.apply(change);
        }
        self.position = entry.position();
        self.latest = entry.at;
    }

    /// The same, and notes which facts of decisions it touched, for an [`AccessWriter`](crate::access::AccessWriter).
    pub fn advance_noting(&mut self, entry: &Entry, touched: &mut Vec<Touched>) {
        for change in &entry.changes {
            touched.extend(Touched::by(change, self));
            self.apply(change);
        }
        self.position = entry.position();
        self.latest = entry.at;
    }

    /// For each of these changes that replaces or deletes an entity, in their order: the entity as it was before that change, as
    /// the put of it. Changes take effect one after the other, so that may be what an earlier one of them has put.
    pub fn before(&self, changes: &[Change]) -> Vec<Change> {
        let mut latest: BTreeMap<(Kind, u32), Option<&Change>> = BTreeMap::new();
        let mut before = Vec::new();
        for change in changes {
            let key = change.key();
            match latest.get(&key) {
                Some(earlier) => before.extend(earlier.cloned()),
                None => before.extend(self.record(key)),
            }
            latest.insert(key, (!change.is_delete()).then_some(change));
        }
        before
    }

    /// The entity with this key, as the put of it.
    pub fn record(&self, (kind, number): (Kind, u32)) -> Option<Change> {
        Some(match kind {
            Kind::Account => Change::PutAccount(self.account().clone()),
            Kind::User => Change::PutUser(self.user(UserId::new(number))?.as_ref().clone()),
            Kind::Organization => {
                let found = self.organizations.get(&OrganizationId::new(number))?;
                Change::PutOrganization(found.as_ref().clone())
            }
            Kind::OrganizationMembership => {
                let id = OrganizationMembershipId::new(number);
                Change::PutOrganizationMembership(*self.organization_memberships.get(&id)?)
            }
            Kind::Space => {
                Change::PutSpace(self.spaces.get(&SpaceId::new(number))?.as_ref().clone())
            }
            Kind::SpaceMembership => {
                let id = SpaceMembershipId::new(number);
                Change::PutSpaceMembership(*self.space_memberships.get(&id)?)
            }
            Kind::Project => {
                Change::PutProject(self.projects.get(&ProjectId::new(number))?.as_ref().clone())
            }
            Kind::Restriction => {
                Change::PutRestriction(*self.restrictions.get(&ProjectId::new(number))?)
            }
            Kind::Role => Change::PutRole(self.roles.get(&RoleId::new(number))?.as_ref().clone()),
            Kind::RoleBinding => {
                Change::PutRoleBinding(self.role_binding(RoleBindingId::new(number))?)
            }
            Kind::ApiKey => {
                Change::PutApiKey(self.api_keys.get(&ApiKeyId::new(number))?.as_ref().clone())
            }
            Kind::Credential => {
                let found = self.credentials.get(&UserId::new(number))?;
                Change::PutCredential(found.as_ref().clone())
            }
            Kind::AuditLog | Kind::Dashboard | Kind::Prompt => return None,
        })
    }

    /// This number was given to something of this kind.
    fn note_issued(&mut self, kind: Kind, number: u32) {
        let highest = self.issued.get(&kind).copied().unwrap_or(0).max(number);
        self.issued.insert(kind, highest);
    }

    /// Puts or deletes one entity, with everything that is derived from it.
    pub fn apply(&mut self, change: &Change) {
        if !change.is_delete() {
            let (kind, number) = change.key();
            self.note_issued(kind, number);
        }
        match change {
            Change::PutAccount(account) => self.account = Arc::new(account.clone()),
            Change::PutUser(user) => self.put_user(user),
            Change::PutOrganization(organization) => self.put_organization(organization),
            Change::DeleteOrganization(id) => self.delete_organization(*id),
            Change::PutOrganizationMembership(membership) => {
                self.put_organization_membership(*membership);
            }
            Change::DeleteOrganizationMembership(id) => self.delete_organization_membership(*id),
            Change::PutSpace(space) => self.put_space(space),
            Change::DeleteSpace(id) => self.delete_space(*id),
            Change::PutSpaceMembership(membership) => self.put_space_membership(*membership),
            Change::DeleteSpaceMembership(id) => self.delete_space_membership(*id),
            Change::PutProject(project) => self.put_project(project),
            Change::DeleteProject(id) => self.delete_project(*id),
            Change::PutRestriction(restriction) => self.put_restriction(*restriction),
            Change::DeleteRestriction(id) => self.delete_restriction(*id),
            Change::PutRole(role) => self.put_role(role),
            Change::DeleteRole(id) => self.delete_role(*id),
            Change::PutRoleBinding(binding) => self.put_role_binding(*binding),
            Change::DeleteRoleBinding(id) => self.delete_role_binding(*id),
            Change::PutApiKey(key) => self.put_api_key(key),
            Change::PutCredential(credential) => self.put_credential(credential),
            Change::DeleteCredential(user) => self.delete_credential(*user),
        }
    }

    fn put_user(&mut self, user: &User) {
        let email = user.held_email().map(Email::folded);
        let old = self.users.get(&user.id);
        let old = old.and_then(|old| old.held_email().map(Email::folded));
        if old != email
            && let Some(old) = old
        {
            self.users_by_email.remove(old.as_str());
        }
        // One text for both maps, and for every snapshot.
        let email: Option<Arc<str>> = email.map(|email| {
            let known = self.users_by_email.get_key_value(email.as_str());
            known.map_or_else(|| email.as_str().into(), |(known, _)| Arc::clone(known))
        });
        if let Some(email) = &email {
            self.users_by_email.insert(Arc::clone(email), user.id);
        }
        self.listing.put_user(user, email);
        self.users.insert(user.id, Arc::new(user.clone()));
    }

    fn put_organization(&mut self, organization: &Organization) {
        if let Some(old) = self.organizations.get(&organization.id) {
            self.organizations_by_name.remove(&old.name);
        }
        self.organizations_by_name
            .insert(organization.name.clone(), organization.id);
        self.organizations
            .insert(organization.id, Arc::new(organization.clone()));
        self.listing
            .name_organization(organization.id, Some(&organization.name));
    }

    fn delete_organization(&mut self, id: OrganizationId) {
        if let Some(old) = self.organizations.remove(&id) {
            self.organizations_by_name.remove(&old.name);
        }
        self.listing.name_organization(id, None);
    }

    fn put_organization_membership(&mut self, membership: OrganizationMembership) {
        let OrganizationMembership {
            id,
            user,
            organization,
            ..
        } = membership;
        self.organization_memberships.insert(membership);
        self.members_of_organization.insert(Filed {
            key: (organization, user),
            value: id,
        });
        self.organizations_of_user.insert((user, organization));
    }

    fn delete_organization_membership(&mut self, id: OrganizationMembershipId) {
        if let Some(old) = self.organization_memberships.remove(&id) {
            self.members_of_organization
                .remove(&(old.organization, old.user));
            self.organizations_of_user
                .remove(&(old.user, old.organization));
        }
    }

    fn put_space(&mut self, space: &Space) {
        let from = self.space_place(space.id);
        if let Some(old) = self.spaces.get(&space.id) {
            self.spaces_by_name
                .remove(&(old.organization, old.name.clone()));
        }
        self.spaces_by_name
            .insert((space.organization, space.name.clone()), space.id);
        self.spaces.insert(space.id, Arc::new(space.clone()));
        let place = place_of(space);
        self.listing.name_space(space.id, Some(&space.name));
        self.listing.move_space(space.id, from, Some(place));
    }

    fn delete_space(&mut self, id: SpaceId) {
        let from = self.space_place(id);
        if let Some(old) = self.spaces.remove(&id) {
            self.spaces_by_name
                .remove(&(old.organization, old.name.clone()));
        }
        self.listing.name_space(id, None);
        self.listing.move_space(id, from, None);
    }

    fn put_space_membership(&mut self, membership: SpaceMembership) {
        let SpaceMembership {
            id, user, space, ..
        } = membership;
        self.space_memberships.insert(membership);
        self.members_of_space.insert(Filed {
            key: (space, user),
            value: id,
        });
        self.spaces_of_user.insert((user, space));
        self.list_seat(user, space);
    }

    fn delete_space_membership(&mut self, id: SpaceMembershipId) {
        if let Some(old) = self.space_memberships.remove(&id) {
            self.members_of_space.remove(&(old.space, old.user));
            self.spaces_of_user.remove(&(old.user, old.space));
            self.list_seat(old.user, old.space);
        }
    }

    fn put_project(&mut self, project: &Project) {
        let from = self.spot(project.id);
        if let Some(old) = self.projects.get(&project.id) {
            self.projects_by_name.remove(&(old.space, old.name.clone()));
        }
        self.projects_by_name
            .insert((project.space, project.name.clone()), project.id);
        self.projects.insert(project.id, Arc::new(project.clone()));
        self.listing.name_project(project.id, Some(&project.name));
        self.place_project(project.id, from);
    }

    fn delete_project(&mut self, id: ProjectId) {
        let from = self.spot(id);
        if let Some(old) = self.projects.remove(&id) {
            self.projects_by_name.remove(&(old.space, old.name.clone()));
        }
        self.listing.name_project(id, None);
        self.place_project(id, from);
    }

    fn put_restriction(&mut self, restriction: Restriction) {
        let from = self.spot(restriction.project);
        self.restrictions.insert(restriction.project, restriction);
        self.place_project(restriction.project, from);
    }

    fn delete_restriction(&mut self, id: ProjectId) {
        let from = self.spot(id);
        self.restrictions.remove(&id);
        self.place_project(id, from);
    }

    fn put_role(&mut self, role: &Role) {
        if let Some(old) = self.roles.get(&role.id) {
            self.roles_by_name.remove(old.name.as_str());
        }
        self.roles_by_name
            .insert(role.name.as_str().to_owned(), role.id);
        self.roles.insert(role.id, Arc::new(role.clone()));
    }

    fn delete_role(&mut self, id: RoleId) {
        if let Some(old) = self.roles.remove(&id) {
            self.roles_by_name.remove(old.name.as_str());
        }
    }

    fn put_role_binding(&mut self, binding: RoleBinding) {
        let organization = self.organization_of(binding.resource);
        let old = match binding.resource {
            Bindable::Space(space) => self.space_bindings.put(&binding, space, organization),
            Bindable::Project(project) => {
                self.project_bindings.put(&binding, project, organization)
            }
        };
        if old.map(|old| old.role) != Some(binding.role) {
            if let Some(old) = old {
                self.count_use(old.role, false);
            }
            self.count_use(binding.role, true);
        }
        if old.is_none() {
            self.list_binding(&binding, true);
        }
    }

    fn delete_role_binding(&mut self, id: RoleBindingId) {
        let (spaces, projects) = (&self.spaces, &self.projects);
        let of_space = |id: SpaceId| Some(spaces.get(&id)?.organization);
        let of_project = |id: ProjectId| of_space(projects.get(&id)?.space);
        let old = self
            .space_bindings
            .delete(id, of_space)
            .or_else(|| self.project_bindings.delete(id, of_project));
        if let Some(old) = old {
            self.count_use(old.role, false);
            self.list_binding(&old, false);
        }
    }

    fn count_use(&mut self, role: RoleId, is_new: bool) {
        let uses = self.uses_of_role.get(&role).copied().unwrap_or(0);
        debug_assert!(is_new || uses > 0, "what is not held can't be given back");
        let uses = if is_new {
            uses.saturating_add(1)
        } else {
            uses.saturating_sub(1)
        };
        if uses == 0 {
            self.uses_of_role.remove(&role);
        } else {
            self.uses_of_role.insert(role, uses);
        }
    }

    fn put_api_key(&mut self, key: &ApiKey) {
        let old = self.api_keys.get(&key.id);
        self.listing.put_key(old.map(AsRef::as_ref), key);
        if let Some(old) = old {
            self.keys_by_secret.remove(&old.secret.hash);
            if let Some(previous) = old.previous {
                self.keys_by_secret.remove(&previous.hash);
            }
        }
        self.keys_by_secret.insert(key.secret.hash, key.id);
        if let Some(previous) = key.previous {
            self.keys_by_secret.insert(previous.hash, key.id);
        }
        self.api_keys.insert(key.id, Arc::new(key.clone()));
    }

    fn put_credential(&mut self, credential: &Credential) {
        self.delete_credential(credential.user);
        if let Some(link) = credential.link {
            self.users_by_link.insert(link.token, credential.user);
        }
        if let Some(inviter) = credential.known_to.inviter() {
            self.inviters.insert(credential.user, inviter);
        }
        self.credentials
            .insert(credential.user, Arc::new(credential.clone()));
    }

    fn delete_credential(&mut self, user: UserId) {
        let old = self.credentials.remove(&user);
        self.inviters.remove(&user);
        if let Some(link) = old.and_then(|old| old.link) {
            self.users_by_link.remove(&link.token);
        }
    }

    /// The lists hear where a project is now, and its bindings with it: a step for each. `from` is where it was.
    fn place_project(&mut self, id: ProjectId, from: Option<Spot>) {
        let to = self.spot(id);
        if from == to {
            return;
        }
        self.listing.move_project(id, from, to);
        let organization = |spot: Option<Spot>| spot.and_then(Spot::organization);
        let bindings = under(
            self.project_bindings.by_resource(),
            id,
            RoleBindingId::NOBODY,
        );
        for binding in bindings.collect::<Vec<RoleBindingId>>() {
            self.listing.move_project_binding(binding, from, to);
            self.project_bindings
                .move_one(binding, organization(from), organization(to));
        }
    }

    /// What [`Bindings`] don't know of a binding that comes or goes.
    fn list_binding(&mut self, binding: &RoleBinding, is_there: bool) {
        match binding.resource {
            Bindable::Space(space) => self.list_seat(binding.user, space),
            Bindable::Project(project) => {
                let spot = self.spot(project);
                let (to, from) = if is_there { (spot, None) } else { (None, spot) };
                self.listing.move_project_binding(binding.id, from, to);
            }
        }
    }

    /// A seat is a membership or a binding or both: a bot's key is listed in the space while there is either.
    fn list_seat(&mut self, user: UserId, space: SpaceId) {
        if let Some(key) = self.key_of_bot(user) {
            let is_seated = self.spaces_of_user.contains(&(user, space))
                || self.space_bindings.find(user, space).is_some();
            self.listing.set_service_key(space, key, is_seated);
        }
    }

    fn organization_of(&self, resource: Bindable) -> Option<OrganizationId> {
        let space = match resource {
            Bindable::Space(space) => space,
            Bindable::Project(project) => self.project(project)?.space,
        };
        Some(self.space(space)?.organization)
    }

    fn space_place(&self, id: SpaceId) -> Option<SpacePlace> {
        self.space(id).map(|space| place_of(space))
    }

    fn spot(&self, id: ProjectId) -> Option<Spot> {
        let space = self.project(id)?.space;
        let mark = if self.restrictions.contains_key(&id) {
            Marked::Restricted
        } else {
            Marked::Open
        };
        let place = self.space_place(space);
        Some(Spot { space, mark, place })
    }
}

fn place_of(space: &Space) -> SpacePlace {
    SpacePlace {
        space: space.id,
        organization: space.organization,
        is_public: !space.is_private,
    }
}

/// Plain lookups. They know nothing of who asks.
impl State {
    /// The user with this id, human or bot, whatever their standing.
    pub fn user(&self, id: UserId) -> Option<&Arc<User>> {
        self.users.get(&id)
    }

    /// The organization with this id.
    pub fn organization(&self, id: OrganizationId) -> Option<&Arc<Organization>> {
        self.organizations.get(&id)
    }

    /// The space with this id.
    pub fn space(&self, id: SpaceId) -> Option<&Arc<Space>> {
        self.spaces.get(&id)
    }

    /// The project with this id.
    pub fn project(&self, id: ProjectId) -> Option<&Arc<Project>> {
        self.projects.get(&id)
    }

    /// The restriction of this project.
    pub fn restriction(&self, id: ProjectId) -> Option<Restriction> {
        self.restrictions.get(&id).copied()
    }

    /// The custom or *listed* predefined role with this id: what can be bound and shown.
    pub fn role(&self, id: RoleId) -> Option<AnyRole<'_>> {
        match PredefinedRole::by_id(id) {
            Some(role) => role.listed.then_some(AnyRole::Predefined(id, role)),
            None => self.roles.get(&id).map(|role| AnyRole::Custom(role)),
        }
    }

    /// The role binding with this id.
    pub fn role_binding(&self, id: RoleBindingId) -> Option<RoleBinding> {
        self.space_bindings
            .get(id)
            .or_else(|| self.project_bindings.get(id))
    }

    /// The user's role binding on this resource.
    pub fn role_binding_on(&self, resource: Bindable, user: UserId) -> Option<RoleBinding> {
        match resource {
            Bindable::Space(space) => {
                let id = self.space_bindings.find(user, space)?;
                self.space_bindings.get(id)
            }
            Bindable::Project(project) => {
                let id = self.project_bindings.find(user, project)?;
                self.project_bindings.get(id)
            }
        }
    }

    /// The user's membership of this organization.
    pub fn organization_membership(
        &self,
        organization: OrganizationId,
        user: UserId,
    ) -> Option<OrganizationMembership> {
        let id = self.members_of_organization.get(&(organization, user))?;
        self.organization_memberships.get(&id.value).copied()
    }

    /// A user's memberships of organizations.
    pub fn organization_memberships_of(
        &self,
        user: UserId,
    ) -> impl Iterator<Item = OrganizationMembership> {
        under(&self.organizations_of_user, user, OrganizationId::NOBODY)
            .filter_map(move |organization| self.organization_membership(organization, user))
    }

    /// The user's predefined membership of this space.
    pub fn space_membership(&self, space: SpaceId, user: UserId) -> Option<SpaceMembership> {
        let id = self.members_of_space.get(&(space, user))?;
        self.space_memberships.get(&id.value).copied()
    }

    /// What this person proves themselves with.
    pub fn credential(&self, user: UserId) -> Option<&Credential> {
        self.credentials.get(&user).map(AsRef::as_ref)
    }

    /// Whom the link with this token was sent to; whether it is still good, the command decides.
    pub fn user_of_link(&self, token: &SecretHash) -> Option<UserId> {
        self.users_by_link.get(token).copied()
    }

    /// The person who holds this address, whatever their standing.
    pub fn user_by_email(&self, email: &Email) -> Option<&User> {
        let id = self.users_by_email.get(email.folded().as_str())?;
        self.user(*id).map(AsRef::as_ref)
    }

    /// Every API key, oldest first.
    pub fn api_keys(&self) -> impl Iterator<Item = &ApiKey> {
        self.api_keys.values().map(AsRef::as_ref)
    }

    /// The key with this id.
    pub fn api_key(&self, id: ApiKeyId) -> Option<&Arc<ApiKey>> {
        self.api_keys.get(&id)
    }
}

/// Gives out fresh numbers within one command.
#[derive(Debug)]
pub(crate) struct Numbers {
    issued: OrdMap<Kind, u32>,
}

impl Numbers {
    /// A number that nothing ever had. Four thousand million of a kind are not reached: the numbers stop there.
    pub(crate) fn next<I: Id>(&mut self) -> I {
        let floor = if I::KIND == Kind::Role {
            CUSTOM_FIRST
        } else {
            1
        };
        let last = self.issued.get(&I::KIND).copied().unwrap_or(0);
        let number = last.saturating_add(1).max(floor);
        debug_assert!(number > last, "numbers are never given again");
        self.issued.insert(I::KIND, number);
        I::from_number(number)
    }
}
