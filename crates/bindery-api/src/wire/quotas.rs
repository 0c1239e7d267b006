//! Quotas and released addresses on the wire.

use bindery_core::command::users::ReleaseAddress;
use bindery_core::id::{IdKey, UserId};
use bindery_core::quota::{QuotaInfo, QuotaScope};
use bindery_core::text::Email;
use bindery_core::user::User;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema::{FreeText, IdText, Text, choice_text};
use crate::problem::Problem;

/// The values of `scope`.
const SCOPES: [(&str, QuotaScope); 4] = [
    ("ACCOUNT", QuotaScope::Account),
    ("MEMBERS", QuotaScope::Members),
    ("PERSON", QuotaScope::Person),
    ("MEMBER", QuotaScope::Member),
];
/// The values of `period`, and whether it starts again each day.
const PERIODS: [(&str, bool); 2] = [("TOTAL", false), ("DAY", true)];

choice_text! { ScopeText of SCOPES }
choice_text! { PeriodText of PERIODS }

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Quotas {
    pub(crate) quotas: Vec<Quota>,
}

/// One quota. MEMBERS and MEMBER count people who aren't account admins.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Quota {
    #[schemars(with = "FreeText")]
    name: &'static str,
    #[schemars(with = "FreeText")]
    counts: &'static str,
    #[schemars(with = "ScopeText")]
    scope: &'static str,
    #[schemars(with = "PeriodText")]
    period: &'static str,
    limit: u64,
    /// Whether the operator has set the limit.
    is_set: bool,
    used: u64,
}

impl Quota {
    pub(crate) fn new(info: &QuotaInfo, limit: u64, is_set: bool, used: u64) -> Self {
        Self {
            name: info.name,
            counts: info.counts,
            scope: text_of(&SCOPES, &info.scope),
            period: text_of(&PERIODS, &info.is_daily),
            limit,
            is_set,
            used,
        }
    }
}

fn text_of<T: PartialEq>(table: &[(&'static str, T)], wanted: &T) -> &'static str {
    let found = table.iter().find(|(_, value)| value == wanted);
    found.map_or("", |(text, _)| text)
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AddressRelease {
    #[schemars(with = "Text<Email>")]
    email: String,
}

impl AddressRelease {
    pub(crate) fn parse(&self) -> Result<ReleaseAddress, Problem> {
        let email = Email::parse(&self.email).map_err(|error| Problem::field("email", error))?;
        Ok(ReleaseAddress { email })
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct AddressReleased {
    #[schemars(with = "Text<Email>")]
    email: String,
    /// The deleted user who had it.
    #[schemars(with = "IdText<UserId>")]
    user_id: String,
}

impl AddressReleased {
    pub(crate) fn new(user: &User, ids: &IdKey) -> Self {
        Self {
            email: user.email().map(ToString::to_string).unwrap_or_default(),
            user_id: ids.encode(user.id),
        }
    }
}
