//! Why a command or query is refused. What is absent, deleted, hidden or in another account is one variant, so that no
//! layer above can tell them apart. How a client sees it is decided at the API alone.

use crate::id::Kind;
use crate::permission::Permission;
use crate::quota::Quota;
use crate::resource::Level;

/// Why nothing was done. Nothing ever is half done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The key or its owner is gone since the request was authenticated.
    Unauthenticated,
    /// The principal may see the thing, but not do this.
    Forbidden(Forbidden),
    /// Absent, deleted, not readable or in another account: never told apart.
    NotFound(Kind),
    /// The request breaks a rule that its sender could have known (`docs/rules/api.md` §6, 400).
    Invalid(Invalid),
    /// Uniqueness, or the state of things, forbids it.
    Conflict(Conflict),
    /// Well-formed, and can't be honoured.
    Unprocessable(Unprocessable),
    /// It would take the account, or a person in it, above a quota.
    Quota(QuotaReached),
}

/// The quota that is in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaReached {
    /// Which.
    pub quota: Quota,
    /// Its limit in this account.
    pub limit: u64,
    /// When it begins anew, if it is a quota of a day.
    pub retry_after_seconds: Option<u64>,
}

/// What the principal lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forbidden {
    /// This permission on the resource of this level.
    Permission(Permission, Level),
    /// Being account admin.
    NotAccountAdmin,
    /// Being admin of the organization.
    NotOrganizationAdmin,
    /// Being admin of the space.
    NotSpaceAdmin,
    /// Members give the account roles `MEMBER` and `ANNOTATOR` only; others none.
    NotYourRoleToGive,
    /// The lapsed invitation to this address came with more than the principal may give.
    NotYourInvitation,
    /// The key's bot holds more than the principal does at one of its places, or the key may ask about more.
    KeyHoldsMore,
    /// Predefined roles are the same for everyone.
    PredefinedRole,
    /// `is_developer` is off for the user, or developer access for the account.
    NoDeveloperAccess,
    /// Audit logging is off for the account.
    AuditLogsOff,
    /// The subject of an inquiry isn't the principal, and they may not read both it and the role bindings of the resource.
    NotYoursToAsk,
    /// A user key would outlive the limits of the service key that made it.
    BotMakesUserKey,
    /// A person would outlive the service key that added them; only those of account admins add people.
    BotMakesPeople,
    /// A service key could come in as the person, and so outlive itself.
    BotGetsPassword,
    /// The user holds something there that the change takes away, which needs the right to remove it as well.
    TakesAway,
    /// Without the seat, the user would have more in the public space, which needs the right to give it as well.
    GivesFallback,
    /// Neither admin of all spaces that the key is bound to, nor its creator with the rights that takes.
    NotYourServiceKey,
}

/// Rules of 400 that only the state can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// An account annotator holds the role `ANNOTATOR` and no other.
    AnnotatorWithOtherRole,
    /// The role `ANNOTATOR` is for account annotators.
    AnnotatorRoleForOthers,
    /// The user isn't a member of the space's organization.
    NotInOrganization,
    /// Only an open invitation can be sent again.
    NotInvited,
    /// Only an active user can choose a new password.
    NotActive,
    /// Whoever comes in with a temporary password chooses their own.
    TemporaryPassword,
    /// Nobody switches off their own developer access: they could not switch it on again.
    SwitchesOneselfOff,
    /// Users can't delete themselves.
    DeletesOneself,
    /// The last person who leads the account keeps leading it: a key that is admin ends some day, and nobody would be left.
    LastAdmin,
    /// `MEMBER_UI_ONLY` and `ANNOTATOR` are no account roles for keys.
    AccountRoleOfKey,
    /// The same organization appears twice in one key.
    OrganizationTwice,
    /// The same space appears twice in one organization of a key.
    SpaceTwice,
}

/// What is in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// Another thing of this kind has the name.
    NameTaken(Kind),
    /// The user has a binding on the resource already.
    BindingExists,
    /// Bindings use the role.
    RoleInUse,
    /// An active user has the address.
    EmailActive,
    /// An invitation to the address is open.
    EmailInvited,
    /// The address was a user's who is gone for good.
    EmailInactive,
    /// The address can't be released: a user who is not deleted has it.
    EmailHeld,
    /// Somebody who isn't account admin may know the secret of the key: they may know the password of the person who made it.
    KeyMayBeKnown,
}

/// What can't be honoured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unprocessable {
    /// Custom roles don't exist on this level.
    CustomRole(Level),
    /// Keys don't get the role `ANNOTATOR` on this level.
    AnnotatorKey(Level),
    /// The role holds more than the caller has at that place.
    AboveCaller(Level),
    /// The space doesn't lie in the organization it stands under.
    SpaceElsewhere,
    /// The end of the key lies in the past.
    ExpiryPast,
    /// The end of the key lies beyond the longest life that the account allows.
    ExpiryTooLate {
        /// The longest life, in seconds.
        max_seconds: u64,
    },
    /// The end of the key lies beyond the end of the service key that makes it.
    ExpiryBeyondMaker,
    /// A refreshed key can't live longer than it would have.
    ExpiryExtended,
    /// A key with an end needs one when it is refreshed.
    ExpiryMissing,
    /// The key is revoked.
    KeyRevoked,
    /// The key has ended.
    KeyExpired,
}
