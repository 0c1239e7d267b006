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
use crate::problem::Problem;

/// The values of `status`.
pub(crate) const STATUSES: [(&str, UserStatus); 3] = [
    ("ACTIVE", UserStatus::Active),
    ("INVITED", UserStatus::Invited),
    ("EXPIRED", UserStatus::Expired),
];

choice_text! { UserStatusText of STATUSES }

/// The values of `invite_mode`.
const INVITE_MODES: [(&str, ()); 3] =
    [("NONE", ()), ("EMAIL_LINK", ()), ("TEMPORARY_PASSWORD", ())];

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

/// A user who was just made. The member `invite_mode` tells clients that the user is new.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct UserCreated {
    #[serde(flatten)]
    pub(crate) user: User,
    #[schemars(with = "InviteModeText")]
    pub(crate) invite_mode: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Users {
    pub(crate) users: Vec<User>,
    pub(crate) pagination: Pagination,
}

impl UserCreate {
    pub(crate) fn parse(&self, ids: &IdKey) -> Result<CreateUser, Problem> {
        Ok(CreateUser {
            name: name(&self.name)?,
            email: Email::parse(&self.email).map_err(|error| Problem::field("email", error))?,
            role: self.role.0.parse("role", ids)?,
            invitation: match self.invite_mode.as_str() {
                "NONE" => Invitation::None,
                "EMAIL_LINK" | "TEMPORARY_PASSWORD" => {
                    return Err(Problem::unprocessable(
                        "`invite_mode`: this server can't send invitations yet; use NONE, which makes the user active at once",
                    ));
                }
                other => {
                    return Err(Problem::field(
                        "invite_mode",
                        format!("`{other}` is not one of NONE, EMAIL_LINK, TEMPORARY_PASSWORD"),
                    ));
                }
            },
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
    /// A person who isn't gone, as of `now`.
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
