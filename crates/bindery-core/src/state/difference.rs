//! What two states of one account don't agree on: for whoever rebuilds a state by another way, and wants to be told the first
//! thing that came out otherwise.

use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use itertools::EitherOrBoth;

use super::State;
use crate::id::{Id, Kind, Revision};
use crate::tree::{Keyed, Tree};

/// The first thing of one state that another has otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// It is at another revision.
    Revision {
        /// What was expected.
        expected: Revision,
        /// What was found.
        found: Revision,
    },
    /// Its last change was at another moment.
    Latest,
    /// Its last change came in another batch.
    Batch,
    /// Something is missing.
    Missing(Kind, u32),
    /// Something is there that is not expected.
    Unexpected(Kind, u32),
    /// Something is there with another content.
    Other(Kind, u32),
    /// Another number counts as the highest that was given to this kind.
    Issued(Kind),
    /// All entities are the same, and what is derived from them is not.
    Derived,
}

impl State {
    /// The first thing that is otherwise than expected.
    pub fn difference(&self, expected: &Self) -> Option<Difference> {
        if self.revision() != expected.revision() {
            return Some(Difference::Revision {
                expected: expected.revision(),
                found: self.revision(),
            });
        }
        let account = (self.account != expected.account)
            .then(|| Difference::Other(Kind::Account, self.account.id.0));
        account
            .or_else(|| self.different_entity(expected))
            .or_else(|| self.different_number(expected))
            .or_else(|| (self.latest != expected.latest).then_some(Difference::Latest))
            .or_else(|| (self.position != expected.position).then_some(Difference::Batch))
            .or_else(|| (self != expected).then_some(Difference::Derived))
    }

    fn different_entity(&self, expected: &Self) -> Option<Difference> {
        let of = expected;
        first(Kind::User, &of.users, &self.users)
            .or_else(|| first(Kind::ApiKey, &of.api_keys, &self.api_keys))
            .or_else(|| first(Kind::Credential, &of.credentials, &self.credentials))
            .or_else(|| first(Kind::Organization, &of.organizations, &self.organizations))
            .or_else(|| first_in(&of.organization_memberships, &self.organization_memberships))
            .or_else(|| first(Kind::Space, &of.spaces, &self.spaces))
            .or_else(|| first_in(&of.space_memberships, &self.space_memberships))
            .or_else(|| first(Kind::Project, &of.projects, &self.projects))
            .or_else(|| first(Kind::Restriction, &of.restrictions, &self.restrictions))
            .or_else(|| first(Kind::Role, &of.roles, &self.roles))
            .or_else(|| {
                first_of(of.space_bindings.differences(&self.space_bindings), |one| {
                    one.id
                })
            })
            .or_else(|| {
                first_of(
                    of.project_bindings.differences(&self.project_bindings),
                    |one| one.id,
                )
            })
    }

    fn different_number(&self, expected: &Self) -> Option<Difference> {
        match expected.issued.diff(&self.issued).next()? {
            DiffItem::Add(kind, _)
            | DiffItem::Remove(kind, _)
            | DiffItem::Update { old: (kind, _), .. } => Some(Difference::Issued(*kind)),
        }
    }
}

fn first<K: Id + Ord, V: PartialEq>(
    kind: Kind,
    expected: &OrdMap<K, V>,
    found: &OrdMap<K, V>,
) -> Option<Difference> {
    match expected.diff(found).next()? {
        DiffItem::Add(id, _) => Some(Difference::Unexpected(kind, id.number())),
        DiffItem::Remove(id, _) => Some(Difference::Missing(kind, id.number())),
        DiffItem::Update { new: (id, _), .. } => Some(Difference::Other(kind, id.number())),
    }
}

fn first_in<E>(expected: &Tree<E>, found: &Tree<E>) -> Option<Difference>
where
    E: Keyed<Key: Id> + PartialEq,
{
    let differences = expected.differences(found);
    first_of(differences.map(EitherOrBoth::left_and_right), |one| {
        one.key()
    })
}

/// Of what was expected and what was found instead.
fn first_of<T, I: Id>(
    mut differences: impl Iterator<Item = (Option<T>, Option<T>)>,
    id: impl Fn(&T) -> I,
) -> Option<Difference> {
    let (kind, number) = (I::KIND, |one: &T| id(one).number());
    match differences.next()? {
        (Some(expected), Some(_)) => Some(Difference::Other(kind, number(&expected))),
        (Some(expected), None) => Some(Difference::Missing(kind, number(&expected))),
        (None, found) => found.map(|found| Difference::Unexpected(kind, number(&found))),
    }
}
