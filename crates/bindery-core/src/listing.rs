//! The list index: where things lie and who holds what, sorted by id, so that a page of a list costs what the caller can
//! see and not what there is. Derived from the same changes as the entities and never written apart; a test rebuilds it
//! from scratch to compare.
//!
//! It knows no rule: it yields candidates in the order of their ids, and each is decided by the one engine afterwards.

use std::ops::Bound;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use itertools::Itertools as _;

use crate::api_key::{ApiKey, KeyOwner};
use crate::decision::SpacePlace;
use crate::id::{ApiKeyId, Id, OrganizationId, ProjectId, RoleBindingId, SpaceId, UserId};
use crate::resource::{Bindable, BindableKind};
use crate::role_binding::RoleBinding;
use crate::text::{Email, Name};
use crate::user::{Standing, User};

/// Sorted ids of one account, in persistent collections: a clone is O(1).
///
/// Every set holds pairs of a prefix and an id, so that the ids under one prefix are a range that begins anywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ListIndex {
    // Folded texts: what filters look at, so that a row that a filter leaves out costs no allocation.
    /// The addresses of people who aren't gone: all that a list of users can show.
    pub(crate) people: OrdMap<UserId, Arc<str>>,
    pub(crate) organization_names: OrdMap<OrganizationId, Arc<str>>,
    pub(crate) space_names: OrdMap<SpaceId, Arc<str>>,
    pub(crate) project_names: OrdMap<ProjectId, Arc<str>>,

    // Places.
    pub(crate) spaces_of_organization: OrdSet<((OrganizationId, Privacy), SpaceId)>,
    pub(crate) projects_of_organization: OrdSet<((OrganizationId, Openness), ProjectId)>,
    pub(crate) projects_of_space: OrdSet<((SpaceId, Marked), ProjectId)>,

    // Role bindings, by everything that lets a caller read them.
    pub(crate) bindings_of_organization: OrdSet<((OrganizationId, BindableKind), RoleBindingId)>,
    pub(crate) project_bindings_of_space: OrdSet<((SpaceId, Marked), RoleBindingId)>,
    pub(crate) bindings_of_resource: OrdSet<(Bindable, RoleBindingId)>,
    pub(crate) bindings_of_user: OrdSet<((UserId, BindableKind), RoleBindingId)>,
    pub(crate) bound_spaces_of_user: OrdSet<(UserId, SpaceId)>,
    pub(crate) bound_projects_of_user: OrdSet<(UserId, ProjectId)>,

    // Keys.
    pub(crate) keys_of_creator: OrdSet<((UserId, KeyKind, Validity), ApiKeyId)>,
    /// Keys whose bot has a seat in the space.
    pub(crate) service_keys_of_space: OrdSet<(SpaceId, ApiKeyId)>,
    /// Keys whose bot had one when they were revoked.
    pub(crate) revoked_keys_of_space: OrdSet<(SpaceId, ApiKeyId)>,
    pub(crate) enforcement_points: OrdSet<ApiKeyId>,
}

/// The two kinds of key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyKind {
    /// Acts as the person who made it.
    User,
    /// Acts as a bot of its own.
    Service,
}

impl KeyKind {
    /// The kind of a key with this owner.
    pub(crate) const fn of(owner: KeyOwner) -> Self {
        match owner {
            KeyOwner::User(_) => Self::User,
            KeyOwner::Service(_) => Self::Service,
        }
    }
}

/// Whether a key was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Validity {
    Valid,
    Revoked,
}

impl Validity {
    pub(crate) const fn of(is_revoked: bool) -> Self {
        if is_revoked {
            Self::Revoked
        } else {
            Self::Valid
        }
    }
}

/// Whether members of the organization get into a space by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Privacy {
    Public,
    Private,
}

impl Privacy {
    pub(crate) const ALL: [Self; 2] = [Self::Public, Self::Private];

    const fn of(place: SpacePlace) -> Self {
        if place.is_public {
            Self::Public
        } else {
            Self::Private
        }
    }
}

/// Whether a project carries a restriction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Marked {
    Open,
    Restricted,
}

impl Marked {
    pub(crate) const ALL: [Self; 2] = [Self::Open, Self::Restricted];
}

/// How far a project is open to members of its organization: not at all if restricted, else as its space is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Openness {
    Public,
    Private,
    Restricted,
}

impl Openness {
    pub(crate) const ALL: [Self; 3] = [Self::Public, Self::Private, Self::Restricted];

    const fn of(privacy: Privacy, mark: Marked) -> Self {
        match (mark, privacy) {
            (Marked::Restricted, _) => Self::Restricted,
            (Marked::Open, Privacy::Public) => Self::Public,
            (Marked::Open, Privacy::Private) => Self::Private,
        }
    }
}

/// Where a project stands among lists. Its space may be unknown while records are loaded: they come in any order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) space: SpaceId,
    pub(crate) mark: Marked,
    pub(crate) place: Option<SpacePlace>,
}

impl Spot {
    fn organization(self) -> Option<OrganizationId> {
        self.place.map(|place| place.organization)
    }

    fn in_organization(self) -> Option<(OrganizationId, Openness)> {
        self.place.map(|place| {
            let openness = Openness::of(Privacy::of(place), self.mark);
            (place.organization, openness)
        })
    }
}

/// The ids under a prefix, in order, from behind `after`.
pub(crate) fn under<P: Copy + Ord, I: Id>(
    set: &OrdSet<(P, I)>,
    prefix: P,
    after: I,
) -> impl Iterator<Item = I> {
    let last = I::from_number(u32::MAX);
    set.range((
        Bound::Excluded((prefix, after)),
        Bound::Included((prefix, last)),
    ))
    .map(|(_, id)| *id)
}

/// Sorted sources of candidates, merged into one; what several of them yield comes once.
pub(crate) struct Candidates<'a, I> {
    after: I,
    sources: Vec<Box<dyn Iterator<Item = I> + 'a>>,
}

impl<'a, I: Id + 'a> Candidates<'a, I> {
    /// None yet; all that are added begin behind `after`.
    pub(crate) fn behind(after: I) -> Self {
        Self {
            after,
            sources: Vec::new(),
        }
    }

    /// Adds the ids under a prefix.
    pub(crate) fn add<P: Copy + Ord>(&mut self, set: &'a OrdSet<(P, I)>, prefix: P) {
        self.sources.push(Box::new(under(set, prefix, self.after)));
    }

    /// Adds those of the ids under a prefix that are wanted.
    pub(crate) fn add_some<P: Copy + Ord>(
        &mut self,
        set: &'a OrdSet<(P, I)>,
        prefix: P,
        wanted: impl Fn(I) -> bool + 'a,
    ) {
        let ids = under(set, prefix, self.after).filter(move |id| wanted(*id));
        self.sources.push(Box::new(ids));
    }

    /// All of them by id, each once. Beginning costs a look into every source; going on, a comparison or a few.
    pub(crate) fn merged(self) -> Box<dyn Iterator<Item = I> + 'a> {
        let mut sources = self.sources;
        match sources.len() {
            0 | 1 => sources
                .pop()
                .unwrap_or_else(|| Box::new(std::iter::empty())),
            _ => Box::new(sources.into_iter().kmerge().dedup()),
        }
    }
}

/// What [`crate::state::State::apply`] tells the index.
impl ListIndex {
    /// A user came, changed or left for good.
    pub(crate) fn put_user(&mut self, user: &User) {
        let email = user.email().filter(|_| user.standing != Standing::Inactive);
        file(&mut self.people, user.id, email.map(Email::folded));
    }

    /// An organization has this name now, or is gone.
    pub(crate) fn name_organization(&mut self, id: OrganizationId, name: Option<&Name>) {
        file(&mut self.organization_names, id, name.map(Name::folded));
    }

    /// A space has this name now, or is gone.
    pub(crate) fn name_space(&mut self, id: SpaceId, name: Option<&Name>) {
        file(&mut self.space_names, id, name.map(Name::folded));
    }

    /// A project has this name now, or is gone.
    pub(crate) fn name_project(&mut self, id: ProjectId, name: Option<&Name>) {
        file(&mut self.project_names, id, name.map(Name::folded));
    }

    /// A space comes, goes, or changes its privacy, and takes its projects along.
    ///
    /// Changing the privacy costs a step for each project of the space, and none for bindings.
    pub(crate) fn move_space(
        &mut self,
        id: SpaceId,
        from: Option<SpacePlace>,
        to: Option<SpacePlace>,
    ) {
        if from == to {
            return;
        }
        let key = |place: SpacePlace| ((place.organization, Privacy::of(place)), id);
        replace(&mut self.spaces_of_organization, from.map(key), to.map(key));
        for mark in Marked::ALL {
            let projects: Vec<ProjectId> =
                under(&self.projects_of_space, (id, mark), ProjectId::NOBODY).collect();
            for project in projects {
                let key = |place: Option<SpacePlace>| {
                    let space = id;
                    Spot { space, mark, place }
                        .in_organization()
                        .map(|prefix| (prefix, project))
                };
                replace(&mut self.projects_of_organization, key(from), key(to));
            }
        }
        let organization = |place: SpacePlace| place.organization;
        let (from, to) = (from.map(organization), to.map(organization));
        // Only ever while records are loaded, which come in any order: a space outlives its bindings and stays where it is.
        if from != to {
            let on: Vec<RoleBindingId> = under(
                &self.bindings_of_resource,
                Bindable::Space(id),
                RoleBindingId::NOBODY,
            )
            .collect();
            for binding in on {
                self.move_binding(BindableKind::Space, binding, from, to);
            }
            for mark in Marked::ALL {
                let bindings = &self.project_bindings_of_space;
                let below: Vec<RoleBindingId> =
                    under(bindings, (id, mark), RoleBindingId::NOBODY).collect();
                for binding in below {
                    self.move_binding(BindableKind::Project, binding, from, to);
                }
            }
        }
    }

    /// A project comes, goes, or gets or loses its restriction, and takes its bindings along: a step for each.
    pub(crate) fn move_project(&mut self, id: ProjectId, from: Option<Spot>, to: Option<Spot>) {
        if from == to {
            return;
        }
        let in_space = |spot: Spot| ((spot.space, spot.mark), id);
        replace(
            &mut self.projects_of_space,
            from.map(in_space),
            to.map(in_space),
        );
        let in_organization = |spot: Spot| spot.in_organization().map(|prefix| (prefix, id));
        replace(
            &mut self.projects_of_organization,
            from.and_then(in_organization),
            to.and_then(in_organization),
        );
        let bindings: Vec<RoleBindingId> = under(
            &self.bindings_of_resource,
            Bindable::Project(id),
            RoleBindingId::NOBODY,
        )
        .collect();
        for binding in bindings {
            self.move_project_binding(binding, from, to);
        }
    }

    /// A binding on a space comes or goes; the space lies at `place`.
    pub(crate) fn set_space_binding(
        &mut self,
        binding: &RoleBinding,
        space: SpaceId,
        place: Option<SpacePlace>,
        is_there: bool,
    ) {
        self.set_binding(binding, is_there);
        let seat = (binding.user, space);
        set(&mut self.bound_spaces_of_user, seat, is_there);
        if let Some(place) = place {
            let key = ((place.organization, BindableKind::Space), binding.id);
            set(&mut self.bindings_of_organization, key, is_there);
        }
    }

    /// A binding on a project comes or goes; the project stands at `spot`.
    pub(crate) fn set_project_binding(
        &mut self,
        binding: &RoleBinding,
        project: ProjectId,
        spot: Option<Spot>,
        is_there: bool,
    ) {
        self.set_binding(binding, is_there);
        let bound = (binding.user, project);
        set(&mut self.bound_projects_of_user, bound, is_there);
        let to = spot.filter(|_| is_there);
        let from = spot.filter(|_| !is_there);
        self.move_project_binding(binding.id, from, to);
    }

    fn set_binding(&mut self, binding: &RoleBinding, is_there: bool) {
        let RoleBinding {
            id, user, resource, ..
        } = *binding;
        set(&mut self.bindings_of_resource, (resource, id), is_there);
        let of_user = ((user, resource.kind()), id);
        set(&mut self.bindings_of_user, of_user, is_there);
    }

    fn move_project_binding(&mut self, id: RoleBindingId, from: Option<Spot>, to: Option<Spot>) {
        let in_space = |spot: Spot| ((spot.space, spot.mark), id);
        let bindings = &mut self.project_bindings_of_space;
        replace(bindings, from.map(in_space), to.map(in_space));
        let (from, to) = (
            from.and_then(Spot::organization),
            to.and_then(Spot::organization),
        );
        self.move_binding(BindableKind::Project, id, from, to);
    }

    fn move_binding(
        &mut self,
        kind: BindableKind,
        id: RoleBindingId,
        from: Option<OrganizationId>,
        to: Option<OrganizationId>,
    ) {
        let key = |organization| ((organization, kind), id);
        let bindings = &mut self.bindings_of_organization;
        replace(bindings, from.map(key), to.map(key));
    }

    /// A key comes or changes.
    pub(crate) fn put_key(&mut self, old: Option<&ApiKey>, new: &ApiKey) {
        let key = |key: &ApiKey| {
            let validity = Validity::of(key.is_revoked);
            ((key.created_by, KeyKind::of(key.owner), validity), key.id)
        };
        replace(&mut self.keys_of_creator, old.map(key), Some(key(new)));
        for space in old.into_iter().flat_map(|old| &old.last_spaces) {
            self.revoked_keys_of_space.remove(&(*space, new.id));
        }
        for space in &new.last_spaces {
            self.revoked_keys_of_space.insert((*space, new.id));
        }
        set(
            &mut self.enforcement_points,
            new.id,
            new.is_enforcement_point,
        );
    }

    /// The bot of a service key has a seat in a space, or has none any more.
    pub(crate) fn set_service_key(&mut self, space: SpaceId, key: ApiKeyId, is_there: bool) {
        set(&mut self.service_keys_of_space, (space, key), is_there);
    }
}

/// Files a folded text; the one that is there stays if it is the same, shared with every snapshot.
fn file<I: Id>(texts: &mut OrdMap<I, Arc<str>>, id: I, folded: Option<String>) {
    let Some(folded) = folded else {
        texts.remove(&id);
        return;
    };
    if texts.get(&id).is_none_or(|old| **old != *folded) {
        texts.insert(id, folded.into());
    }
}

fn set<K: Clone + Ord>(keys: &mut OrdSet<K>, key: K, is_there: bool) {
    if is_there {
        keys.insert(key);
    } else {
        keys.remove(&key);
    }
}

fn replace<K: Clone + Ord>(keys: &mut OrdSet<K>, from: Option<K>, to: Option<K>) {
    if from == to {
        return;
    }
    if let Some(from) = from {
        keys.remove(&from);
    }
    if let Some(to) = to {
        keys.insert(to);
    }
}
