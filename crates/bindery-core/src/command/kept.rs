//! What every command keeps, asserted of the changes that it comes to.

use std::collections::BTreeSet;

use crate::change::Change;
use crate::id::Kind;
use crate::resource::Resource;
use crate::state::State;

/// Asserts what readers, the log and the indexes rely on and no command may break. In debug builds only: a damaged record can make a
/// command look as if it broke this, and a panic of one account's writer ends the process for all accounts.
pub(super) fn assert_kept(state: &State, changes: &[Change]) {
    for change in changes {
        match change {
            // Rights of today decide about data of the past, so what lies above a thing must be what lay above it.
            Change::PutSpace(space) => debug_assert!(
                state
                    .space(space.id)
                    .is_none_or(|old| old.organization == space.organization),
                "a space never changes its organization"
            ),
            Change::PutProject(project) => debug_assert!(
                state
                    .project(project.id)
                    .is_none_or(|old| old.space == project.space),
                "a project never changes its space"
            ),
            // What is derived from a binding is derived once, when it comes.
            Change::PutRoleBinding(binding) => debug_assert!(
                state
                    .role_binding(binding.id)
                    .is_none_or(|old| (old.user, old.resource) == (binding.user, binding.resource)),
                "a role binding never changes its user or resource"
            ),
            Change::PutOrganizationMembership(put) => debug_assert!(
                state
                    .organization_memberships
                    .get(&put.id)
                    .is_none_or(|old| (old.user, old.organization) == (put.user, put.organization)),
                "a membership never changes its user or organization"
            ),
            Change::PutSpaceMembership(put) => debug_assert!(
                state
                    .space_memberships
                    .get(&put.id)
                    .is_none_or(|old| (old.user, old.space) == (put.user, put.space)),
                "a membership never changes its user or space"
            ),
            Change::PutRestriction(restriction) => debug_assert!(
                is_there(state, changes, restriction.project.into()),
                "a restriction is of a project that is there"
            ),
            Change::PutAccount(_)
            | Change::PutUser(_)
            | Change::PutOrganization(_)
            | Change::PutRole(_)
            | Change::PutApiKey(_)
            | Change::PutCredential(_)
            | Change::DeleteOrganization(_)
            | Change::DeleteOrganizationMembership(_)
            | Change::DeleteSpace(_)
            | Change::DeleteSpaceMembership(_)
            | Change::DeleteProject(_)
            | Change::DeleteRestriction(_)
            | Change::DeleteRole(_)
            | Change::DeleteRoleBinding(_)
            | Change::DeleteCredential(_) => {}
        }
    }
    assert_numbers_are_new(state, changes);
}

/// A thing that comes has a number that nothing of its kind ever had.
fn assert_numbers_are_new(state: &State, changes: &[Change]) {
    let mut seen = BTreeSet::new();
    for change in changes {
        let (kind, number) = change.key();
        // These go by the number of something else.
        let is_own = !matches!(kind, Kind::Account | Kind::Restriction | Kind::Credential);
        let is_first = seen.insert((kind, number));
        if is_own && is_first && !change.is_delete() && state.record((kind, number)).is_none() {
            let last = state.issued.get(&kind).copied().unwrap_or(0);
            assert!(
                number > last,
                "numbers are never given again: {kind:?} {number}"
            );
        }
    }
}

fn is_there(state: &State, changes: &[Change], place: Resource) -> bool {
    let is_put = |change: &Change| matches!(change, Change::PutProject(project) if Resource::from(project.id) == place);
    state.place(place).is_some() || changes.iter().any(is_put)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{AccountId, IdKey, OrganizationId, ProjectId, SpaceId};
    use crate::place::{Account, AccountSettings, Project, Space, SpaceSettings};
    use crate::text::{Description, Name};
    use crate::time::Timestamp;

    const NOW: Timestamp = Timestamp::from_millis(0);

    fn space(id: u32, organization: u32) -> Change {
        Change::PutSpace(Space {
            id: SpaceId::new(id),
            organization: OrganizationId::new(organization),
            name: Name::parse("space").unwrap(),
            description: Description::default(),
            is_private: false,
            settings: SpaceSettings::default(),
            created_at: NOW,
        })
    }

    fn project(id: u32, space: u32) -> Change {
        Change::PutProject(Project {
            id: ProjectId::new(id),
            space: SpaceId::new(space),
            name: Name::parse("project").unwrap(),
            created_at: NOW,
        })
    }

    fn state() -> State {
        let mut state = State::new(Account {
            id: AccountId(1),
            name: Name::parse("account").unwrap(),
            id_key: IdKey::new([7; 16]),
            created_at: NOW,
            settings: AccountSettings::default(),
        });
        state.apply(&space(5, 1));
        state.apply(&project(6, 5));
        state
    }

    #[test]
    fn changes_that_keep_what_they_must_are_let_through() {
        assert_kept(
            &state(),
            &[space(5, 1), project(6, 5), space(6, 2), project(7, 6)],
        );
    }

    #[test]
    #[should_panic(expected = "a space never changes its organization")]
    fn a_space_that_moves_is_noticed() {
        assert_kept(&state(), &[space(5, 2)]);
    }

    #[test]
    #[should_panic(expected = "a project never changes its space")]
    fn a_project_that_moves_is_noticed() {
        assert_kept(&state(), &[project(6, 4)]);
    }

    #[test]
    #[should_panic(expected = "numbers are never given again")]
    fn a_number_that_was_given_before_is_noticed() {
        let mut state = state();
        state.apply(&Change::DeleteProject(ProjectId::new(6)));
        assert_kept(&state, &[project(6, 5)]);
    }
}
