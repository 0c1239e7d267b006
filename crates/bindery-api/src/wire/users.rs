//! Users on the wire.

use bindery_core::command::users::{CreateUser, Invitation, UpdateUser};
use bindery_core::id::{IdKey, UserId};
use bindery_core::role::AccountRole;
use bindery_core::text::{Email, Name};
use bindery_core::time::Timestamp;
use bindery_core::user::{User as Person, UserStatus};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::assignment::{AssignmentRequest, AssignmentResponse};
use super::schema::{Assigned, AssignedShown, IdText, Text, choice_text};
use super::{Moment, name};
use crate::json::{Object, present};
use crate::page::Pagination;
use crate::password::Password;
use crate::problem::Problem;

/// The values of `status`.
pub(crate) const STATUSES: [(&str, UserStatus); 3] = [
    ("ACTIVE", UserStatus::Active),
    ("INVITED", UserStatus::Invited),
    ("EXPIRED", UserStatus::Expired),
];

/// The values of `invite_mode`.
pub(crate) const INVITE_MODES: [(&str, InviteMode); 3] = [
    ("NONE", InviteMode::None),
    ("EMAIL_LINK", InviteMode::EmailLink),
    ("TEMPORARY_PASSWORD", InviteMode::TemporaryPassword),
];

/// How a person gets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InviteMode {
    None,
    EmailLink,
    TemporaryPassword,
}

choice_text! { UserStatusText of STATUSES }
choice_text! { InviteModeText of INVITE_MODES }

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserCreate {
    #[schemars(with = "Text<Name>")]
    name: String,
    #[schemars(with = "Text<Email>")]
    email: String,
    #[schemars(with = "Assigned<AccountRole>")]
    role: Object<AssignmentRequest>,
    #[schemars(with = "InviteModeText")]
    pub(crate) invite_mode: String,
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "bool")]
    is_developer: Option<bool>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
pub(crate) struct UserUpdate {
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Text<Name>")]
    name: Option<String>,
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "bool")]
    is_developer: Option<bool>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct User {
    #[schemars(with = "IdText<UserId>")]
    id: String,
    #[schemars(with = "Text<Name>")]
    name: String,
    #[schemars(with = "Text<Email>")]
    email: String,
    created_at: Moment,
    #[schemars(with = "UserStatusText")]
    status: &'static str,
    #[schemars(with = "AssignedShown<AccountRole>")]
    role: AssignmentResponse,
    is_developer: bool,
}

/// A new user. The member `invite_mode` tells clients that the user is new.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct UserCreated {
    #[serde(flatten)]
    pub(crate) user: User,
    #[schemars(with = "InviteModeText")]
    pub(crate) invite_mode: String,
    /// Shown only once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Text<Password>")]
    pub(crate) temporary_password: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Users {
    pub(crate) users: Vec<User>,
    pub(crate) pagination: Pagination,
}

impl UserCreate {
    /// How the person gets in.
    pub(crate) fn invite_mode(&self) -> Result<InviteMode, Problem> {
        let known = INVITE_MODES
            .iter()
            .find(|(name, _)| *name == self.invite_mode);
        known.map(|(_, mode)| *mode).ok_or_else(|| {
            let names: Vec<&str> = INVITE_MODES.iter().map(|(name, _)| *name).collect();
            let why = format!("`{}` is not one of {}", self.invite_mode, names.join(", "));
            Problem::field("invite_mode", why)
        })
    }

    /// The command; `invitation` is made from the mode.
    pub(crate) fn parse(&self, invitation: Invitation, ids: &IdKey) -> Result<CreateUser, Problem> {
        Ok(CreateUser {
            name: name(&self.name)?,
            email: Email::parse(&self.email).map_err(|error| Problem::field("email", error))?,
            role: self.role.0.parse("role", ids)?,
            invitation,
            is_developer: self.is_developer,
        })
    }
}

impl UserUpdate {
    pub(crate) fn parse(&self, user: UserId) -> Result<UpdateUser, Problem> {
        if self.name.is_none() && self.is_developer.is_none() {
            return Err(Problem::changes_nothing("`name`, `is_developer`"));
        }
        let name = self.name.as_deref().map(name).transpose()?;
        Ok(UpdateUser {
            user,
            name,
            is_developer: self.is_developer,
        })
    }
}

impl User {
    /// A person who is not deleted, as of `now`.
    pub(crate) fn new(user: &Person, ids: &IdKey, now: Timestamp) -> Self {
        let status = user.status(now);
        let status = STATUSES
            .iter()
            .find(|(_, one)| Some(*one) == status)
            .map_or("", |(name, _)| *name);
        Self {
            id: ids.encode(user.id),
            name: user.name.to_string(),
            email: user.email().map(ToString::to_string).unwrap_or_default(),
            created_at: Moment(user.created_at),
            status,
            role: AssignmentResponse::predefined(user.account_role),
            is_developer: user.is_developer,
        }
    }
}
