//! Credentials that an inviter may know end once their person holds more than the inviter could give. With them end the keys that
//! were made with them.
//!
//! [`State::execute`](crate::state::State::execute) runs [`end_outgrown`] after every command, so that no command can forget it. A
//! command that gives nothing to an invited person pays one look-up for each role or seat that it gives.

use std::collections::BTreeSet;

use super::{Context, cascade};
use crate::api_key::{ApiKey, KeyOwner};
use crate::change::Change;
use crate::credential::{Credential, KnownTo, LinkPurpose};
use crate::decision::{Question, admin_over};
use crate::id::{Id as _, OrganizationId, SpaceId, UserId};
use crate::listing::under;
use crate::permission::{Permission, PermissionSet};
use crate::quota::CREATORS_MAX;
use crate::resource::{Bindable, Resource};
use crate::role::{AccountRole, AnyRole, Role};
use crate::state::State;
use crate::time::Timestamp;
use crate::user::{Standing, User};

/// Something that a user is given.
#[derive(Clone, Copy, Debug)]
enum Gift {
    /// This role in the account, with developer access or without.
    Account(AccountRole, bool),
    /// A role in an organization.
    Organization(OrganizationId),
    /// A predefined role in a space.
    Space(SpaceId),
    /// A role bound on a space or project.
    Binding(Bindable),
}

/// Adds the end of each credential that somebody knows who could not give what these changes give to its person.
///
/// What a user gives to themselves is no gift: an inviter who acts as that user can do the same.
pub(super) fn end_outgrown(state: &State, context: &Context, changes: &mut Vec<Change>) {
    let mut outgrown = BTreeSet::new();
    for change in changes.iter() {
        if let Change::PutRole(role) = change {
            outgrown.extend(holders_who_gain(state, context, role));
            continue;
        }
        let Some((user, gift)) = gift_of(state, change) else {
            continue;
        };
        if user == context.user() {
            continue;
        }
        if let Some((user, credential)) = state.user(user).zip(state.credential(user))
            && !could_all_give(state, user, credential, gift, context.now)
        {
            outgrown.insert(user.id);
        }
    }
    for user in outgrown {
        end(state, user, changes);
    }
}

/// The people who hold a role that gains permissions, and whose credential somebody knows who could not give what they hold. Only
/// people are looked at whose credential somebody else may know.
fn holders_who_gain<'a>(
    state: &'a State,
    context: &'a Context,
    role: &'a Role,
) -> impl Iterator<Item = UserId> + 'a {
    let gained = match state.role(role.id) {
        Some(AnyRole::Custom(old)) => role.permissions.difference(old.permissions),
        Some(AnyRole::Predefined(..)) | None => PermissionSet::EMPTY,
    };
    let known = state.inviters.keys().filter(move |_| !gained.is_empty());
    known.copied().filter(move |id| {
        *id != context.user()
            && (state.role_bindings_of(*id)).any(|binding| binding.role == role.id)
            && state
                .user(*id)
                .is_some_and(|user| !is_good_for(state, user, context.now))
    })
}

/// What a change gives to whom; `None` for changes that give no access.
fn gift_of(state: &State, change: &Change) -> Option<(UserId, Gift)> {
    match change {
        Change::PutUser(user) => {
            let access = |user: &User| (user.account_role, user.is_developer);
            let is_same = state
                .user(user.id)
                .is_some_and(|old| access(old) == access(user));
            let gift = Gift::Account(user.account_role, user.is_developer);
            (!is_same).then_some((user.id, gift))
        }
        Change::PutOrganizationMembership(seat) => {
            Some((seat.user, Gift::Organization(seat.organization)))
        }
        Change::PutSpaceMembership(seat) => Some((seat.user, Gift::Space(seat.space))),
        Change::PutRoleBinding(binding) => Some((binding.user, Gift::Binding(binding.resource))),
        Change::PutAccount(_)
        | Change::PutOrganization(_)
        | Change::DeleteOrganization(_)
        | Change::DeleteOrganizationMembership(_)
        | Change::PutSpace(_)
        | Change::DeleteSpace(_)
        | Change::DeleteSpaceMembership(_)
        | Change::PutProject(_)
        | Change::DeleteProject(_)
        | Change::PutRestriction(_)
        | Change::DeleteRestriction(_)
        | Change::PutRole(_)
        | Change::DeleteRole(_)
        | Change::DeleteRoleBinding(_)
        | Change::PutApiKey(_)
        | Change::PutCredential(_)
        | Change::DeleteCredential(_) => None,
    }
}

/// Whether everyone who may know the credential could give this to its person.
fn could_all_give(
    state: &State,
    user: &User,
    credential: &Credential,
    gift: Gift,
    now: Timestamp,
) -> bool {
    match &credential.known_to {
        KnownTo::Owner => true,
        KnownTo::Users(users) => users
            .iter()
            .all(|giver| could_give(state, *giver, gift, now)),
        KnownTo::Anyone => is_for_members(gift),
        // Of a person who was active before it was recorded and before the log begins, no record tells.
        KnownTo::Unrecorded => {
            user.standing == Standing::Active
                || is_role_by_admins(user.account_role)
                || is_for_members(gift)
        }
    }
}

/// Whether a user could give this, as of now.
fn could_give(state: &State, giver: UserId, gift: Gift, now: Timestamp) -> bool {
    let facts = state.at(now);
    let is_admin_over = |resource: Resource| admin_over(&facts, giver, resource).is_some();
    match gift {
        _ if is_admin_over(Resource::Account) => true,
        Gift::Account(..) => {
            let is_member = state.user(giver).is_some_and(|giver| {
                state.principal_of(giver).acts_at(now)
                    && matches!(
                        giver.account_role,
                        AccountRole::Member | AccountRole::MemberUiOnly
                    )
            });
            is_member && is_for_members(gift)
        }
        Gift::Organization(organization) => is_admin_over(organization.into()),
        Gift::Space(space) => is_admin_over(space.into()),
        Gift::Binding(resource) => {
            let question = Question {
                principal: giver,
                permission: Permission::RoleBindingCreate,
                resource: resource.into(),
            };
            state.decide(&question, now).is_allowed()
        }
    }
}

/// Whether only account admins give this role of the account, so one of them made the invitation to it.
const fn is_role_by_admins(role: AccountRole) -> bool {
    matches!(role, AccountRole::Admin | AccountRole::MemberUiOnly)
}

/// What every member of the account may give.
fn is_for_members(gift: Gift) -> bool {
    match gift {
        Gift::Account(role @ (AccountRole::Member | AccountRole::Annotator), is_developer) => {
            role.is_developer_by_default() || !is_developer
        }
        Gift::Account(AccountRole::Admin | AccountRole::MemberUiOnly, _)
        | Gift::Organization(_)
        | Gift::Space(_)
        | Gift::Binding(_) => false,
    }
}

/// Whether an invited person may still come in with what they were invited with: everyone who may know it could give all that
/// the person holds.
pub(super) fn is_good_for(state: &State, user: &User, now: Timestamp) -> bool {
    let Some(credential) = state.credential(user.id) else {
        return false;
    };
    let could = |gift| could_all_give(state, user, credential, gift, now);
    could(Gift::Account(user.account_role, user.is_developer))
        && state
            .organization_memberships_of(user.id)
            .all(|seat| could(Gift::Organization(seat.organization)))
        && under(&state.spaces_of_user, user.id, SpaceId::NOBODY)
            .all(|space| could(Gift::Space(space)))
        && state
            .role_bindings_of(user.id)
            .all(|binding| could(Gift::Binding(binding.resource)))
}

/// Whether an active person may come in with their password: everyone else who may know it could still give all that the person
/// holds.
pub(super) fn may_sign_in(state: &State, user: &User, now: Timestamp) -> bool {
    !state.inviters.contains_key(&user.id) || is_good_for(state, user, now)
}

/// Whether somebody who isn't account admin may know the secret of a key, since they may have made it as another person. Of a service
/// key, that is the person at the beginning of the chain of who created it.
pub(super) fn may_be_known(state: &State, key: &ApiKey, now: Timestamp) -> bool {
    let mut maker = match key.owner {
        KeyOwner::User(user) => user,
        KeyOwner::Service(_) => key.created_by,
    };
    for _ in 0..CREATORS_MAX {
        match state.key_of_bot(maker).and_then(|key| state.api_key(key)) {
            Some(key) => maker = key.created_by,
            None => break,
        }
    }
    let facts = state.at(now);
    let is_admin = |user| admin_over(&facts, user, Resource::Account).is_some();
    match state.credential(maker).map(|one| &one.known_to) {
        Some(KnownTo::Users(users)) => !users.iter().all(|user| is_admin(*user)),
        Some(KnownTo::Anyone) => true,
        Some(KnownTo::Owner | KnownTo::Unrecorded) | None => false,
    }
}

/// Who may know the password that replaces the one that a person came in with for the first time. That of an account admin's
/// invitation counts as the person's own. If the inviter isn't recorded, anyone may be the one who chose it.
pub(super) fn known_after_welcome(
    state: &State,
    user: &User,
    credential: Option<&Credential>,
    now: Timestamp,
) -> KnownTo {
    let facts = state.at(now);
    let is_admin = |user| admin_over(&facts, user, Resource::Account).is_some();
    match credential.map_or(KnownTo::Owner, |one| one.known_to.clone()) {
        KnownTo::Users(users) if users.iter().all(|user| is_admin(*user)) => KnownTo::Owner,
        KnownTo::Unrecorded if is_role_by_admins(user.account_role) => KnownTo::Owner,
        KnownTo::Unrecorded => KnownTo::Anyone,
        known_to @ (KnownTo::Owner | KnownTo::Users(_) | KnownTo::Anyone) => known_to,
    }
}

/// Ends the password, the invitation and the user keys of a person, and the service keys that were made as them. A link to choose a
/// new password stays: an account admin had it mailed.
fn end(state: &State, user: UserId, changes: &mut Vec<Change>) {
    let is_put = |changes: &[Change], key| changes.iter().any(|change| change.key() == key);
    let Some(credential) = state.credential(user) else {
        return;
    };
    let mailed = credential
        .link
        .filter(|link| link.purpose == LinkPurpose::PasswordReset);
    let ended = match mailed {
        Some(_) => Change::PutCredential(Credential {
            link: mailed,
            ..Credential::none(user)
        }),
        None => Change::DeleteCredential(user),
    };
    // What the command itself puts is newer.
    if !is_put(changes, ended.key()) {
        changes.push(ended);
    }
    for key in state.valid_user_keys_of(user) {
        if !is_put(changes, Change::PutApiKey(key.clone()).key()) {
            cascade::revoke(key, changes);
        }
    }
    cascade::revoke_service_keys_of(state, user, changes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api_key::{Secret, SecretHash};
    use crate::command::credentials::{AcceptInvitation, SignIn};
    use crate::command::{Caller, Command as _};
    use crate::credential::{Link, PasswordHash};
    use crate::id::{AccountId, IdKey, Kind, OrganizationMembershipId};
    use crate::place::{Account, AccountSettings, Organization};
    use crate::refusal::Refusal;
    use crate::role::OrganizationRole;
    use crate::text::{Description, Email, Name};
    use crate::user::{Identity, OrganizationMembership};

    const TOKEN: SecretHash = SecretHash([7; 32]);

    fn temporary() -> PasswordHash {
        PasswordHash::new("temporary".to_owned())
    }

    /// An account with one person, who was invited before invitations recorded who may know them.
    fn invited(account_role: AccountRole, is_seated: bool) -> State {
        let now = Timestamp::from_millis(1);
        let mut state = State::new(Account {
            id: AccountId(1),
            name: Name::parse("old").unwrap(),
            id_key: IdKey::new([7; 16]),
            created_at: now,
            settings: AccountSettings::default(),
        });
        let until = Timestamp::from_millis(1000);
        let user = UserId::new(1);
        state.apply(&Change::PutUser(User {
            id: user,
            name: Name::parse("Boss").unwrap(),
            identity: Identity::Human {
                email: Email::parse("boss@example.com").unwrap(),
            },
            account_role,
            is_developer: true,
            standing: Standing::Invited { until },
            created_at: now,
            address_released_at: None,
        }));
        let organization = OrganizationId::new(1);
        state.apply(&Change::PutOrganization(Organization {
            id: organization,
            name: Name::parse("acme").unwrap(),
            description: Description::default(),
            created_at: now,
        }));
        if is_seated {
            state.apply(&Change::PutOrganizationMembership(OrganizationMembership {
                id: OrganizationMembershipId::new(1),
                user,
                organization,
                role: OrganizationRole::Admin,
                given_by: crate::given::Giver::UNKNOWN,
                given_at: crate::given::GivenAt::UNKNOWN,
            }));
        }
        state.apply(&Change::PutCredential(Credential {
            link: Some(Link {
                token: TOKEN,
                purpose: LinkPurpose::Invitation,
                until,
            }),
            password: Some(temporary()),
            known_to: KnownTo::Unrecorded,
            ..Credential::none(user)
        }));
        state
    }

    fn accept(state: &State) -> Result<(), Refusal> {
        let context = Context {
            caller: Caller::Person(UserId::new(1)),
            now: Timestamp::from_millis(2),
        };
        let accept = AcceptInvitation {
            token: TOKEN,
            password: PasswordHash::new("chosen".to_owned()),
            secret: Secret {
                hash: SecretHash([8; 32]),
                redacted: String::new(),
            },
        };
        accept.execute(state, &context).map(|_| ())
    }

    #[test]
    fn an_old_invitation_counts_as_a_members_unless_its_role_is_an_admins_to_give() {
        let dead = Err(Refusal::NotFound(Kind::Credential));
        assert_eq!(accept(&invited(AccountRole::Member, false)), Ok(()));
        assert_eq!(accept(&invited(AccountRole::Member, true)), dead);
        assert_eq!(accept(&invited(AccountRole::Admin, true)), Ok(()));
    }

    #[test]
    fn an_old_temporary_password_that_is_used_now_leaves_one_that_anyone_may_know() {
        for (role, expected) in [
            (AccountRole::Member, KnownTo::Anyone),
            (AccountRole::MemberUiOnly, KnownTo::Owner),
        ] {
            let state = invited(role, false);
            let context = Context {
                caller: Caller::Person(UserId::new(1)),
                now: Timestamp::from_millis(2),
            };
            let sign_in = SignIn {
                verified: temporary(),
                new_password: Some(PasswordHash::new("chosen".to_owned())),
                end_keys: false,
                secret: Secret {
                    hash: SecretHash([8; 32]),
                    redacted: String::new(),
                },
            };
            let decided = sign_in.execute(&state, &context).unwrap();
            let known_to = decided.changes.iter().find_map(|change| {
                let Change::PutCredential(credential) = change else {
                    return None;
                };
                Some(&credential.known_to)
            });
            assert_eq!(known_to, Some(&expected));
        }
    }
}
