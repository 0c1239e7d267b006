//! What an effect is, by comparing everything: each user who was ever made, each place of either side, each permission.
//!
//! The definition stands here as plainly as it can. Whatever computes effects faster has to come to the same.

use std::collections::{BTreeMap, BTreeSet};

use bindery_core::command::Context;
use bindery_core::decision::Question;
use bindery_core::effect::{
    AffectedPair, Effect, Fate, Opened, Passing, PassingThings, Rest, Row, Rows, Scope, Signature,
    Size, Thing,
};
use bindery_core::id::{Id, Kind, OrganizationId, ProjectId, SpaceId, UserId};
use bindery_core::permission::{Permission, PermissionSet};
use bindery_core::resource::Resource;
use bindery_core::state::State;
use bindery_core::time::Timestamp;
use bindery_core::user::Standing;

/// One side of a comparison: a state, and the moment at which it is asked.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// The data.
    pub state: &'a State,
    /// When.
    pub moment: Timestamp,
}

impl Side<'_> {
    /// E: everything that the decision allows to the user on the place.
    pub fn allowed(self, user: UserId, place: Resource) -> PermissionSet {
        let is_allowed = |permission: &Permission| {
            let question = Question {
                principal: user,
                permission: *permission,
                resource: place,
            };
            self.state.decide(&question, self.moment).is_allowed()
        };
        Permission::ALL.into_iter().filter(is_allowed).collect()
    }

    /// Whether the user is there: who was deleted isn't, and neither is a bot whose key was revoked.
    fn has_user(self, user: UserId) -> bool {
        let user = self.state.user(user);
        user.is_some_and(|user| user.standing != Standing::Inactive)
    }

    fn has_place(self, place: Resource) -> bool {
        self.state.place(place).is_some()
    }

    fn has(self, thing: Thing) -> bool {
        match thing {
            Thing::User(user) => self.has_user(user),
            Thing::Place(place) => self.has_place(place),
        }
    }

    fn above(self, place: Resource) -> Option<Resource> {
        self.state.place(place)?.above()
    }
}

/// Two sides.
#[derive(Clone, Copy, Debug)]
pub struct Comparison<'a> {
    /// Before the change.
    pub before: Side<'a>,
    /// After it.
    pub after: Side<'a>,
}

impl<'a> Comparison<'a> {
    /// All affected pairs.
    pub fn affected(self) -> Affected<'a> {
        let mut pairs = Vec::new();
        for user in self.users() {
            for place in self.places() {
                let before = self.before.allowed(user, place);
                let after = self.after.allowed(user, place);
                if let Some(signature) = Signature::between(before, after) {
                    pairs.push(AffectedPair {
                        user,
                        place,
                        signature,
                    });
                }
            }
        }
        Affected {
            sides: self,
            pairs,
            has_others: false,
        }
    }

    /// Those that this reader may ask about, before or after the change.
    pub fn affected_for(self, reader: &Context) -> Affected<'a> {
        let mut affected = self.affected();
        let all = affected.pairs.len();
        affected.pairs.retain(|pair| {
            let may_ask = |side: Side<'_>| side.state.may_ask(reader, pair.user, pair.place);
            may_ask(self.before) || may_ask(self.after)
        });
        affected.has_others = affected.pairs.len() < all;
        affected
    }

    /// Everyone who was ever made, on either side.
    pub fn users(self) -> Vec<UserId> {
        self.ever()
    }

    /// Every place of either side.
    pub fn places(self) -> Vec<Resource> {
        let organizations = self.ever::<OrganizationId>().into_iter();
        let spaces = self.ever::<SpaceId>().into_iter();
        let projects = self.ever::<ProjectId>().into_iter();
        let places = [Resource::Account]
            .into_iter()
            .chain(organizations.map(Resource::Organization))
            .chain(spaces.map(Resource::Space))
            .chain(projects.map(Resource::Project));
        let is_there =
            |place: &Resource| self.before.has_place(*place) || self.after.has_place(*place);
        places.filter(is_there).collect()
    }

    fn ever<I: Id>(self) -> Vec<I> {
        let last = last(self.before.state, I::KIND).max(last(self.after.state, I::KIND));
        (1..=last).map(I::from_number).collect()
    }

    /// The way down to a place: the account first, the place itself last.
    fn path(self, place: Resource) -> Vec<Resource> {
        let (before, after) = (self.before.above(place), self.after.above(place));
        if self.before.has_place(place) && self.after.has_place(place) {
            assert_eq!(before, after, "{place:?} has moved");
        }
        let above = after.or(before);
        let mut path = above.map_or(Vec::new(), |above| self.path(above));
        path.push(place);
        path
    }

    /// What of the pair is there on one side alone: its place, else its user.
    fn passing(self, pair: &AffectedPair) -> Option<(Thing, Fate)> {
        for thing in [Thing::Place(pair.place), Thing::User(pair.user)] {
            match (self.before.has(thing), self.after.has(thing)) {
                (false, true) => return Some((thing, Fate::Appears)),
                (true, false) => return Some((thing, Fate::Disappears)),
                (true, true) => {}
                (false, false) => unreachable!("{thing:?} has permissions on no side"),
            }
        }
        None
    }
}

/// Affected pairs, all of them or those that a reader may ask about.
#[derive(Clone, Debug)]
pub struct Affected<'a> {
    sides: Comparison<'a>,
    /// By user and place.
    pub pairs: Vec<AffectedPair>,
    has_others: bool,
}

impl Affected<'_> {
    /// The effect that they are.
    pub fn effect(&self) -> Effect {
        let mut by_signature: BTreeMap<Signature, Vec<AffectedPair>> = BTreeMap::new();
        let mut by_thing: BTreeMap<(Thing, Fate), u64> = BTreeMap::new();
        for pair in &self.pairs {
            match self.sides.passing(pair) {
                None => by_signature.entry(pair.signature).or_default().push(*pair),
                Some(thing) => *by_thing.entry(thing).or_default() += 1,
            }
        }
        let things =
            by_thing
                .into_iter()
                .map(|((thing, fate), pairs)| Passing { thing, fate, pairs });
        Effect {
            rows: self.rows(by_signature.into_values()),
            passing: PassingThings::new(things.collect()),
            has_others: self.has_others,
        }
    }

    /// What a row opens into.
    pub fn open(&self, row: &Row) -> Opened {
        let is_in_row = |pair: &&AffectedPair| {
            self.sides.passing(pair).is_none()
                && pair.signature == row.signature
                && match row.scope {
                    Scope::On(place) => pair.place == place,
                    Scope::Within(place) => self.sides.path(pair.place).contains(&place),
                }
        };
        let pairs = self.pairs.iter().filter(is_in_row).copied();
        let place = match row.scope {
            Scope::On(_) => return Opened::Pairs(pairs.collect()),
            Scope::Within(place) => place,
        };
        let mut by_child: BTreeMap<Resource, Vec<AffectedPair>> = BTreeMap::new();
        for pair in pairs {
            // What is directly below the place on the way to the pair, or the place itself.
            let path = self.sides.path(pair.place);
            let mut below = path.iter().skip_while(|one| **one != place).skip(1);
            let child = below.next().copied().unwrap_or(place);
            by_child.entry(child).or_default().push(pair);
        }
        Opened::Rows(self.rows(by_child.into_values()))
    }

    /// A row for each group of pairs of one signature.
    fn rows(&self, groups: impl Iterator<Item = Vec<AffectedPair>>) -> Rows {
        let groups: Vec<Vec<AffectedPair>> = groups.collect();
        let row = |pairs: &Vec<AffectedPair>| Row {
            signature: pairs[0].signature,
            scope: self.scope(pairs),
            size: size(pairs),
        };
        Rows::new(groups.iter().map(row).collect(), |others| {
            let is_other = |pairs: &&Vec<AffectedPair>| others.contains(&row(pairs));
            let pairs = groups.iter().filter(is_other).flatten();
            let pairs: Vec<AffectedPair> = pairs.copied().collect();
            Rest {
                rows: others.len() as u64,
                scope: self.scope(&pairs),
                size: size(&pairs),
            }
        })
    }

    /// The lowest place that holds all of them, and whether they are all on it.
    fn scope(&self, pairs: &[AffectedPair]) -> Scope {
        let places: BTreeSet<Resource> = pairs.iter().map(|pair| pair.place).collect();
        let mut shared = self.sides.path(pairs[0].place);
        for place in &places {
            let path = self.sides.path(*place);
            shared.retain(|one| path.contains(one));
        }
        let lowest = shared.last().copied().unwrap_or(Resource::Account);
        if places.iter().eq([&lowest]) {
            Scope::On(lowest)
        } else {
            Scope::Within(lowest)
        }
    }
}

/// The last number of a kind that was given.
fn last(state: &State, kind: Kind) -> u32 {
    let mut issued = state.issued();
    issued
        .find(|(one, _)| *one == kind)
        .map_or(0, |(_, last)| last)
}

fn size(pairs: &[AffectedPair]) -> Size {
    let users: BTreeSet<UserId> = pairs.iter().map(|pair| pair.user).collect();
    let places: BTreeSet<Resource> = pairs.iter().map(|pair| pair.place).collect();
    Size {
        pairs: pairs.len() as u64,
        users: users.len() as u64,
        places: places.len() as u64,
    }
}
