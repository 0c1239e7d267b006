//! The list index: where things lie and who holds what, sorted by id, so that a page of a list costs what the caller can
//! see and not what there is. Derived from the same changes as the entities, or by a load from the same records, and never written
//! apart; a test rebuilds it from scratch to compare.
//!
//! It knows no rule: it yields candidates in the order of their ids, and each is decided by the one engine afterwards.

use std::sync::Arc;

use imbl::OrdMap;
use itertools::Itertools as _;

use crate::api_key::{ApiKey, KeyOwner};
use crate::decision::SpacePlace;
use crate::id::{ApiKeyId, Id, OrganizationId, ProjectId, RoleBindingId, SpaceId, UserId};
use crate::text::Name;
use crate::time::Timestamp;
use crate::tree::{Keyed, Tree};
use crate::user::User;

/// Sorted ids of one account, in persistent collections: a clone is O(1). Those of role bindings stand beside them, in
/// [`Bindings`](crate::state::Bindings).
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
    pub(crate) spaces_of_organization: Tree<((OrganizationId, Privacy), SpaceId)>,
    pub(crate) projects_of_organization: Tree<((OrganizationId, Openness), ProjectId)>,
    pub(crate) projects_of_space: Tree<((SpaceId, Marked), ProjectId)>,

    /// Bindings on projects, by where those lie.
    pub(crate) project_bindings_of_space: Tree<((SpaceId, Marked), RoleBindingId)>,

    // Keys.
    pub(crate) keys_of_creator: Tree<((UserId, KeyKind, Validity), ApiKeyId)>,
    /// Keys that aren't revoked, by the bot that they end with.
    pub(crate) keys_that_end_with: Tree<(UserId, ApiKeyId)>,
    /// Keys that aren't revoked, without those from signing in, by who created them and when they expire: what quotas count.
    pub(crate) ends_of_keys: Tree<((UserId, KeyKind), (Timestamp, ApiKeyId))>,
    /// Keys whose bot has a seat in the space.
    pub(crate) service_keys_of_space: Tree<(SpaceId, ApiKeyId)>,
    /// Keys whose bot had one when they were revoked.
    pub(crate) revoked_keys_of_space: Tree<(SpaceId, ApiKeyId)>,
    pub(crate) enforcement_points: Tree<ApiKeyId>,
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
    pub(crate) fn organization(self) -> Option<OrganizationId> {
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
    set: &Tree<(P, I)>,
    prefix: P,
    after: I,
) -> impl Iterator<Item = I> {
    set.behind((prefix, after))
        .take_while(move |(of, _)| *of == prefix)
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
    pub(crate) fn add<P: Copy + Ord>(&mut self, set: &'a Tree<(P, I)>, prefix: P) {
        self.sources.push(Box::new(under(set, prefix, self.after)));
    }

    /// Adds the ids that are found behind where all begin.
    pub(crate) fn add_found<F: Iterator<Item = I> + 'a>(&mut self, found: impl FnOnce(I) -> F) {
        self.sources.push(Box::new(found(self.after)));
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
    pub(crate) fn put_user(&mut self, user: &User, email: Option<Arc<str>>) {
        let email = email.filter(|_| user.is_listed());
        file(&mut self.people, user.id, email);
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
        self.spaces_of_organization
            .replace(from.map(key), to.map(key));
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
                self.projects_of_organization.replace(key(from), key(to));
            }
        }
    }

    /// A project comes, goes, or gets or loses its restriction.
    pub(crate) fn move_project(&mut self, id: ProjectId, from: Option<Spot>, to: Option<Spot>) {
        if from == to {
            return;
        }
        let in_space = |spot: Spot| ((spot.space, spot.mark), id);
        self.projects_of_space
            .replace(from.map(in_space), to.map(in_space));
        let in_organization = |spot: Spot| spot.in_organization().map(|prefix| (prefix, id));
        self.projects_of_organization
            .replace(from.and_then(in_organization), to.and_then(in_organization));
    }

    /// A binding on a project stands there now, since the project does.
    pub(crate) fn move_project_binding(
        &mut self,
        id: RoleBindingId,
        from: Option<Spot>,
        to: Option<Spot>,
    ) {
        let in_space = |spot: Spot| ((spot.space, spot.mark), id);
        self.project_bindings_of_space
            .replace(from.map(in_space), to.map(in_space));
    }

    /// A key comes or changes.
    pub(crate) fn put_key(&mut self, old: Option<&ApiKey>, new: &ApiKey) {
        let key = |key: &ApiKey| {
            let validity = Validity::of(key.is_revoked);
            ((key.created_by, KeyKind::of(key.owner), validity), key.id)
        };
        self.keys_of_creator.replace(old.map(key), Some(key(new)));
        let end = |key: &ApiKey| {
            let end = key.expires_at.unwrap_or(Timestamp::from_millis(i64::MAX));
            let is_counted = !key.is_revoked && !key.is_sign_in;
            is_counted.then_some(((key.created_by, KeyKind::of(key.owner)), (end, key.id)))
        };
        self.ends_of_keys.replace(old.and_then(end), end(new));
        let bot = |key: &ApiKey| {
            let bot = key.ends_with.filter(|_| !key.is_revoked);
            bot.map(|bot| (bot, key.id))
        };
        self.keys_that_end_with.replace(old.and_then(bot), bot(new));
        for space in old.into_iter().flat_map(|old| &old.last_spaces) {
            self.revoked_keys_of_space.remove(&(*space, new.id));
        }
        for space in &new.last_spaces {
            self.revoked_keys_of_space.insert((*space, new.id));
        }
        self.enforcement_points
            .set(new.id, new.is_enforcement_point);
    }

    /// The bot of a service key has a seat in a space, or has none any more.
    pub(crate) fn set_service_key(&mut self, space: SpaceId, key: ApiKeyId, is_there: bool) {
        self.service_keys_of_space.set((space, key), is_there);
    }
}

/// Files a folded text; the one that is there stays if it is the same, shared with every snapshot.
fn file<I: Id>(
    texts: &mut OrdMap<I, Arc<str>>,
    id: I,
    folded: Option<impl Into<Arc<str>> + AsRef<str>>,
) {
    let Some(folded) = folded else {
        texts.remove(&id);
        return;
    };
    if texts.get(&id).is_none_or(|old| **old != *folded.as_ref()) {
        texts.insert(id, folded.into());
    }
}

impl Keyed for ApiKeyId {
    type Key = Self;

    fn key(&self) -> Self {
        *self
    }
}
