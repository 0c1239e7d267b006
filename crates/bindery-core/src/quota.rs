//! Quotas: how much an account, and one person in it, can make the store keep.
//!
//! Totals are decided here, for all commands at one place ([`State::check_quotas`]); each count is kept, not counted. Quotas of
//! a day are defined here and counted by the process that decides the commands. The operator can set each quota of each
//! account ([`SetQuota`](crate::command::operator::SetQuota)).

use std::collections::BTreeMap;

use minicbor::{Decode, Decoder, Encode, Encoder};

use crate::api_key::{ApiKey, KeyOwner};
use crate::change::Change;
use crate::command::{Caller, Context, Counts};
use crate::id::{ApiKeyId, Id as _, Kind, UserId};
use crate::listing::KeyKind;
use crate::refusal::{Forbidden, QuotaReached, Refusal};
use crate::state::State;
use crate::time::Timestamp;
use crate::user::{Identity, Standing};

/// One limit of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the table describes each")]
pub enum Quota {
    Users,
    Organizations,
    Spaces,
    Projects,
    Roles,
    RoleBindings,
    Memberships,
    Restrictions,
    ApiKeys,
    UserKeysOfPerson,
    ServiceKeysOfCreator,
    InvitationsPerDay,
    InvitationsPerDayOfMembers,
    InvitationsPerDayOfMember,
    KeysPerDayOfPerson,
    PlacesPerDayOfMember,
    WrittenBytesPerDay,
    WrittenBytesPerDayOfMembers,
    WrittenBytesPerDayOfMember,
}

/// Whose use a quota counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotaScope {
    /// Everyone's in the account.
    Account,
    /// That of everyone who isn't account admin, together.
    Members,
    /// One person's, with what their service keys do, and people whose password they may know.
    Person,
    /// The same, of a person who isn't account admin.
    Member,
}

/// What there is to know of a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaInfo {
    /// Which.
    pub quota: Quota,
    /// Its number in what is stored: never reused.
    code: u32,
    /// Its name, for people and clients.
    pub name: &'static str,
    /// The limit unless the operator sets another.
    pub default: u64,
    /// Whose use it counts.
    pub scope: QuotaScope,
    /// Whether it begins anew each day (UTC).
    pub is_daily: bool,
    /// What it counts.
    pub counts: &'static str,
}

const fn total(
    quota: Quota,
    code: u32,
    name: &'static str,
    default: u64,
    scope: QuotaScope,
    counts: &'static str,
) -> QuotaInfo {
    QuotaInfo {
        quota,
        code,
        name,
        default,
        scope,
        is_daily: false,
        counts,
    }
}

const fn daily(
    quota: Quota,
    code: u32,
    name: &'static str,
    default: u64,
    scope: QuotaScope,
    counts: &'static str,
) -> QuotaInfo {
    QuotaInfo {
        is_daily: true,
        ..total(quota, code, name, default, scope, counts)
    }
}

const MEBIBYTE: u64 = 1024 * 1024;
const GIBIBYTE: u64 = 1024 * MEBIBYTE;

/// Every quota, in the order in which they are shown. The defaults are larger than any honest use that we know of.
#[rustfmt::skip]
pub const QUOTAS: [QuotaInfo; 19] = [
    total(Quota::Users, 1, "users", 1_000_000, QuotaScope::Account, "people; a deleted person counts until their address is released"),
    total(Quota::Organizations, 2, "organizations", 100_000, QuotaScope::Account, "organizations"),
    total(Quota::Spaces, 3, "spaces", 1_000_000, QuotaScope::Account, "spaces"),
    total(Quota::Projects, 4, "projects", 10_000_000, QuotaScope::Account, "projects"),
    total(Quota::Roles, 5, "roles", 50_000, QuotaScope::Account, "custom roles"),
    total(Quota::RoleBindings, 6, "role_bindings", 50_000_000, QuotaScope::Account, "role bindings"),
    total(Quota::Memberships, 7, "memberships", 50_000_000, QuotaScope::Account, "memberships of organizations and spaces"),
    total(Quota::Restrictions, 8, "restrictions", 10_000_000, QuotaScope::Account, "restricted projects"),
    total(Quota::ApiKeys, 9, "api_keys", 10_000_000, QuotaScope::Account, "API keys, revoked and expired ones included"),
    total(Quota::UserKeysOfPerson, 10, "user_keys_of_person", 1_000, QuotaScope::Person, "valid user keys, without those from signing in"),
    total(Quota::ServiceKeysOfCreator, 11, "service_keys_of_creator", 10_000, QuotaScope::Person, "valid service keys that one user or bot has created"),
    daily(Quota::InvitationsPerDay, 12, "invitations_per_day", 100_000, QuotaScope::Account, "people added, invitations sent again and password resets"),
    daily(Quota::InvitationsPerDayOfMembers, 13, "invitations_per_day_of_members", 1_000, QuotaScope::Members, "the same, by everyone who is not account admin"),
    daily(Quota::InvitationsPerDayOfMember, 14, "invitations_per_day_of_member", 100, QuotaScope::Member, "the same, by one person who is not account admin"),
    daily(Quota::KeysPerDayOfPerson, 15, "keys_per_day_of_person", 10_000, QuotaScope::Person, "API keys created and refreshed"),
    daily(Quota::PlacesPerDayOfMember, 16, "places_per_day_of_member", 2_000, QuotaScope::Member, "organizations, spaces and projects created by a person who is not account admin"),
    daily(Quota::WrittenBytesPerDay, 17, "written_bytes_per_day", 64 * GIBIBYTE, QuotaScope::Account, "bytes of changes and of their audit texts"),
    daily(Quota::WrittenBytesPerDayOfMembers, 18, "written_bytes_per_day_of_members", 8 * GIBIBYTE, QuotaScope::Members, "the same, by everyone who is not account admin"),
    daily(Quota::WrittenBytesPerDayOfMember, 19, "written_bytes_per_day_of_member", 256 * MEBIBYTE, QuotaScope::Member, "the same, by one person who is not account admin"),
];

impl Quota {
    /// What there is to know of it.
    pub const fn info(self) -> &'static QuotaInfo {
        match self {
            Self::Users => &QUOTAS[0],
            Self::Organizations => &QUOTAS[1],
            Self::Spaces => &QUOTAS[2],
            Self::Projects => &QUOTAS[3],
            Self::Roles => &QUOTAS[4],
            Self::RoleBindings => &QUOTAS[5],
            Self::Memberships => &QUOTAS[6],
            Self::Restrictions => &QUOTAS[7],
            Self::ApiKeys => &QUOTAS[8],
            Self::UserKeysOfPerson => &QUOTAS[9],
            Self::ServiceKeysOfCreator => &QUOTAS[10],
            Self::InvitationsPerDay => &QUOTAS[11],
            Self::InvitationsPerDayOfMembers => &QUOTAS[12],
            Self::InvitationsPerDayOfMember => &QUOTAS[13],
            Self::KeysPerDayOfPerson => &QUOTAS[14],
            Self::PlacesPerDayOfMember => &QUOTAS[15],
            Self::WrittenBytesPerDay => &QUOTAS[16],
            Self::WrittenBytesPerDayOfMembers => &QUOTAS[17],
            Self::WrittenBytesPerDayOfMember => &QUOTAS[18],
        }
    }

    /// The quota with this name.
    pub fn named(name: &str) -> Option<Self> {
        let found = QUOTAS.iter().find(|info| info.name == name);
        found.map(|info| info.quota)
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        self.info().name
    }
}

/// The limits that an operator has set for an account, by the codes of the quotas. Codes of a newer version are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuotaLimits(BTreeMap<u32, u64>);

impl<C> Encode<C> for QuotaLimits {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        context: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        self.0.encode(e, context)
    }

    // Without any it is left out, so an account of an older version keeps its bytes.
    fn is_nil(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'b, C> Decode<'b, C> for QuotaLimits {
    fn decode(d: &mut Decoder<'b>, context: &mut C) -> Result<Self, minicbor::decode::Error> {
        if d.datatype()? == minicbor::data::Type::Null {
            d.null()?;
            return Ok(Self::default());
        }
        BTreeMap::decode(d, context).map(Self)
    }

    fn nil() -> Option<Self> {
        Some(Self::default())
    }
}

impl QuotaLimits {
    /// The limit of this quota.
    pub fn limit(&self, quota: Quota) -> u64 {
        let info = quota.info();
        self.0.get(&info.code).copied().unwrap_or(info.default)
    }

    /// Whether the operator has set it.
    pub fn is_set(&self, quota: Quota) -> bool {
        self.0.contains_key(&quota.info().code)
    }

    /// Sets it, or with `None` goes back to the default.
    pub fn set(&mut self, quota: Quota, limit: Option<u64>) {
        let code = quota.info().code;
        match limit {
            Some(limit) => self.0.insert(code, limit),
            None => self.0.remove(&code),
        };
    }
}

/// How many things of each kind a command adds, less those of the kind that it deletes.
#[derive(Default)]
struct Added {
    users: i64,
    organizations: i64,
    spaces: i64,
    projects: i64,
    roles: i64,
    role_bindings: i64,
    memberships: i64,
    restrictions: i64,
    api_keys: i64,
}

/// What one command counts for by the day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DailyUse {
    /// People added and mails sent to them.
    pub invitations: u64,
    /// Keys created or refreshed.
    pub keys: u64,
    /// Organizations, spaces and projects created.
    pub places: u64,
    /// Bytes.
    pub bytes: u64,
}

/// How many service keys and people that made one another are followed to the person behind them. No honest chain is as long.
pub const CREATORS_MAX: usize = 64;

/// On whose account something is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountedFor {
    /// The person behind the caller ([`State::person_behind`]).
    pub person: UserId,
    /// Whether the caller is account admin.
    pub is_admin: bool,
}

impl State {
    /// The limit of a quota in this account.
    pub fn quota_limit(&self, quota: Quota) -> u64 {
        self.account().settings.quotas.limit(quota)
    }

    /// How much of a total is used: by the account, or by `user` where the quota is a person's. `None` for quotas of a day.
    pub fn quota_use(&self, quota: Quota, user: UserId, now: Timestamp) -> Option<u64> {
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        Some(match quota {
            Quota::Users => count(self.users_by_email.len()),
            Quota::Organizations => count(self.organizations.len()),
            Quota::Spaces => count(self.spaces.len()),
            Quota::Projects => count(self.projects.len()),
            Quota::Roles => count(self.roles.len()),
            Quota::RoleBindings => {
                let spaces = count(self.space_bindings.len());
                spaces.saturating_add(count(self.project_bindings.len()))
            }
            Quota::Memberships => {
                let organizations = count(self.organization_memberships.len());
                organizations.saturating_add(count(self.space_memberships.len()))
            }
            Quota::Restrictions => count(self.restrictions.len()),
            Quota::ApiKeys => count(self.api_keys.len()),
            Quota::UserKeysOfPerson => self.valid_keys(user, KeyKind::User, now),
            Quota::ServiceKeysOfCreator => self.valid_keys(user, KeyKind::Service, now),
            Quota::InvitationsPerDay
            | Quota::InvitationsPerDayOfMembers
            | Quota::InvitationsPerDayOfMember
            | Quota::KeysPerDayOfPerson
            | Quota::PlacesPerDayOfMember
            | Quota::WrittenBytesPerDay
            | Quota::WrittenBytesPerDayOfMembers
            | Quota::WrittenBytesPerDayOfMember => return None,
        })
    }

    /// How many valid keys of a kind a user has created, without those from signing in. A walk over those keys alone: the quota
    /// bounds them.
    fn valid_keys(&self, creator: UserId, kind: KeyKind, now: Timestamp) -> u64 {
        let keys = self
            .listing
            .ends_of_keys
            .from(((creator, kind), (now.just_after(), ApiKeyId::NOBODY)));
        let theirs = keys.take_while(|(of, _)| *of == (creator, kind));
        u64::try_from(theirs.count()).unwrap_or(u64::MAX)
    }

    /// On whose account this caller's use is counted; `None` for the operator.
    pub fn counted_for(&self, context: &Context) -> Option<CountedFor> {
        match context.caller {
            Caller::Operator => None,
            Caller::Person(_) | Caller::Key { .. } => Some(CountedFor {
                person: self.person_behind(context.user()),
                is_admin: self.is_account_admin(context),
            }),
        }
    }

    /// The person at the beginning of the chain of those who created a key or may act as a person; the user, if there is no such chain.
    /// A person whose credential the inviter may know counts as the inviter, until a mailed link is used. Rate limits and
    /// fair turns count by this person too. All users below more than [`CREATORS_MAX`] others of an account share
    /// [`UserId::NOBODY`], so that a long chain makes no new person; so do people whose credential anyone may know.
    pub fn person_behind(&self, user: UserId) -> UserId {
        let mut found = user;
        for _ in 0..CREATORS_MAX {
            let behind = match self.user(found).map(|user| &user.identity) {
                Some(Identity::Bot { key }) => self.api_key(*key).map(|key| key.created_by),
                Some(Identity::Human { .. }) => self.inviters.get(&found).copied(),
                None => None,
            };
            match behind {
                Some(behind) => found = behind,
                None => return found,
            }
        }
        UserId::NOBODY
    }

    /// Refuses what would take the account, or a person in it, above a total. What adds nothing is never refused, also where a
    /// total is above its limit already; nor is the operator, nor a person who signs in.
    pub(crate) fn check_quotas(
        &self,
        context: &Context,
        changes: &[Change],
    ) -> Result<(), Refusal> {
        if !matches!(context.caller, Caller::Key { .. }) {
            return Ok(());
        }
        let added = self.added(changes);
        let totals = [
            (Quota::Users, added.users),
            (Quota::Organizations, added.organizations),
            (Quota::Spaces, added.spaces),
            (Quota::Projects, added.projects),
            (Quota::Roles, added.roles),
            (Quota::RoleBindings, added.role_bindings),
            (Quota::Memberships, added.memberships),
            (Quota::Restrictions, added.restrictions),
            (Quota::ApiKeys, added.api_keys),
        ];
        for (quota, added) in totals {
            let added = u64::try_from(added).unwrap_or(0);
            if added > 0 {
                self.check_total(quota, UserId::NOBODY, added, context.now)?;
            }
        }
        for change in changes {
            if let Change::PutApiKey(key) = change
                && self.begins_to_count(key, context.now)
            {
                let quota = match key.owner {
                    KeyOwner::User(_) => Quota::UserKeysOfPerson,
                    KeyOwner::Service(_) => Quota::ServiceKeysOfCreator,
                };
                self.check_total(quota, key.created_by, 1, context.now)?;
            }
        }
        Ok(())
    }

    fn check_total(
        &self,
        quota: Quota,
        user: UserId,
        added: u64,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let limit = self.quota_limit(quota);
        let before = self.quota_use(quota, user, now).unwrap_or(0);
        if before.saturating_add(added) > limit {
            return Err(Refusal::Quota(QuotaReached {
                quota,
                limit,
                retry_after_seconds: None,
            }));
        }
        Ok(())
    }

    /// Whether a key is valid after the change and was not before.
    fn begins_to_count(&self, key: &ApiKey, now: Timestamp) -> bool {
        let counts = |key: &ApiKey| key.is_alive(now) && !key.is_sign_in;
        let was_there = self.api_key(key.id).is_some_and(|old| counts(old));
        counts(key) && !was_there
    }

    fn added(&self, changes: &[Change]) -> Added {
        let mut added = Added::default();
        let count = |counter: &mut i64, is_new: bool| {
            *counter = counter.saturating_add(i64::from(is_new));
        };
        for change in changes {
            match change {
                Change::PutUser(user) => {
                    count(
                        &mut added.users,
                        user.is_human() && !self.users.contains_key(&user.id),
                    );
                }
                Change::PutOrganization(one) => count(
                    &mut added.organizations,
                    !self.organizations.contains_key(&one.id),
                ),
                Change::PutSpace(one) => {
                    count(&mut added.spaces, !self.spaces.contains_key(&one.id));
                }
                Change::PutProject(one) => {
                    count(&mut added.projects, !self.projects.contains_key(&one.id));
                }
                Change::PutRole(one) => count(&mut added.roles, !self.roles.contains_key(&one.id)),
                Change::PutRoleBinding(one) => count(
                    &mut added.role_bindings,
                    self.role_binding(one.id).is_none(),
                ),
                Change::PutOrganizationMembership(one) => count(
                    &mut added.memberships,
                    self.organization_membership(one.organization, one.user)
                        .is_none(),
                ),
                Change::PutSpaceMembership(one) => count(
                    &mut added.memberships,
                    self.space_membership(one.space, one.user).is_none(),
                ),
                Change::PutRestriction(one) => count(
                    &mut added.restrictions,
                    !self.restrictions.contains_key(&one.project),
                ),
                Change::PutApiKey(one) => {
                    count(&mut added.api_keys, !self.api_keys.contains_key(&one.id));
                }
                Change::DeleteRoleBinding(_) => {
                    added.role_bindings = added.role_bindings.saturating_sub(1);
                }
                Change::DeleteOrganizationMembership(_) | Change::DeleteSpaceMembership(_) => {
                    added.memberships = added.memberships.saturating_sub(1);
                }
                Change::PutAccount(_)
                | Change::PutCredential(_)
                | Change::DeleteCredential(_)
                | Change::DeleteOrganization(_)
                | Change::DeleteSpace(_)
                | Change::DeleteProject(_)
                | Change::DeleteRestriction(_)
                | Change::DeleteRole(_) => {}
            }
        }
        added
    }
}

impl State {
    /// Whose use of quotas an account admin is shown: this user's, or the admin's own.
    pub fn quota_subject(
        &self,
        context: &Context,
        user: Option<UserId>,
    ) -> Result<UserId, Refusal> {
        if !self.is_account_admin(context) {
            return Err(Refusal::Forbidden(Forbidden::NotAccountAdmin));
        }
        let user = user.unwrap_or(context.user());
        match self.user(user) {
            Some(_) => Ok(user),
            None => Err(Refusal::NotFound(Kind::User)),
        }
    }

    /// What a decided command counts for the quotas of a day.
    pub fn daily_use(&self, counts: Counts, changes: &[Change]) -> DailyUse {
        let added = self.added(changes);
        let places = [added.organizations, added.spaces, added.projects];
        let places = places
            .into_iter()
            .filter_map(|added| u64::try_from(added).ok());
        let bytes: usize = changes.iter().map(|change| change.encode().len()).sum();
        DailyUse {
            invitations: u64::from(counts == Counts::Invitation),
            keys: u64::from(counts == Counts::Key),
            places: places.fold(0, u64::saturating_add),
            bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
        }
    }
}

/// Whether changes do nothing but delete, revoke and deactivate: they are never refused for a quota of a day.
pub fn only_takes_away(changes: &[Change]) -> bool {
    changes.iter().all(|change| {
        change.is_delete()
            || matches!(change, Change::PutApiKey(key) if key.is_revoked)
            || matches!(change, Change::PutUser(user) if user.standing == Standing::Inactive)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_quota_stands_in_the_table_once_with_a_finite_limit() {
        for (place, info) in QUOTAS.iter().enumerate() {
            assert_eq!(info.quota.info(), info, "{}", info.name);
            assert_eq!(Quota::named(info.name), Some(info.quota));
            assert!(info.default > 0 && info.default < u64::MAX, "{}", info.name);
            for other in QUOTAS.iter().skip(place + 1) {
                assert!(
                    info.code != other.code && info.name != other.name,
                    "{}",
                    info.name
                );
            }
        }
    }

    #[test]
    fn limits_are_the_same_once_stored_and_a_code_of_a_newer_version_is_kept() {
        let mut limits = QuotaLimits(BTreeMap::from([(4711, 1)]));
        limits.set(Quota::Spaces, Some(7));
        let bytes = minicbor::to_vec(&limits).unwrap();
        let read: QuotaLimits = minicbor::decode(&bytes).unwrap();
        assert_eq!(read, limits);
        assert_eq!(read.limit(Quota::Spaces), 7);
        assert_eq!(read.limit(Quota::Roles), Quota::Roles.info().default);
        limits.set(Quota::Spaces, None);
        assert_eq!(limits, QuotaLimits(BTreeMap::from([(4711, 1)])));
    }
}
