//! `/v2/users`.

use bindery_core::command::credentials::{RenewTemporaryPassword, ResendInvitation, ResetPassword};
use bindery_core::command::users::{CreateUser, CreatedUser, DeleteUser, Invitation, UpdateUser};
use bindery_core::credential::PasswordHash;
use bindery_core::query::UserFilter;
use hyper::StatusCode;

use crate::answer::Answer;
use crate::call::Call;
use crate::change::{Change, ChangeWithSecret};
use crate::mail::Letter;
use crate::password::Password;
use crate::problem::Problem;
use crate::secret::LinkToken;
use crate::wire::sign_in::TemporaryPassword;
use crate::wire::users::{InviteMode, STATUSES, User, UserCreate, UserCreated, UserUpdate, Users};

pub(crate) fn list(call: &Call) -> Result<Answer, Problem> {
    let filter = UserFilter {
        email: call.query.substring("email")?,
        statuses: call.query.choices("status", &STATUSES)?,
    };
    let cursors = call.cursors();
    let slice = cursors.slice()?;
    let page = call.state.reader(call.admit()?).users(&filter, slice)?;
    Answer::json(&Users {
        pagination: cursors.pagination(&page, |user| user.id),
        users: page
            .items
            .iter()
            .map(|user| User::new(user, call.ids(), call.now))
            .collect(),
    })
}

pub(crate) fn get(call: &Call) -> Result<Answer, Problem> {
    let id = call.path_id("user_id")?;
    let user = call.state.reader(call.admit()?).visible_user(id)?;
    Answer::json(&User::new(user, call.ids(), call.now))
}

/// How an invited person proves who they are.
pub(crate) enum Proof {
    Nothing,
    Link(LinkToken),
    TemporaryPassword(Password),
}

impl ChangeWithSecret for CreateUser {
    type Secret = Proof;

    async fn parse(call: &Call) -> Result<(Self, Proof), Problem> {
        let body: UserCreate = call.body()?;
        let mode = body.invite_mode()?;
        let command = body.parse(Invitation::None, call.ids())?;
        // Before a password is hashed, which takes long.
        call.state.may_create_users(&call.admit()?)?;
        let (invitation, proof) = match mode {
            InviteMode::None => (Invitation::None, Proof::Nothing),
            InviteMode::EmailLink => {
                let token = LinkToken::generate()?;
                (Invitation::Link(token.hash()), Proof::Link(token))
            }
            InviteMode::TemporaryPassword => {
                let (password, hash) = temporary_password(call).await?;
                let invitation = Invitation::TemporaryPassword(hash);
                (invitation, Proof::TemporaryPassword(password))
            }
        };
        let command = Self {
            invitation,
            ..command
        };
        Ok((command, proof))
    }

    fn render(call: &Call, created: &Self::Outcome, proof: &Proof) -> Result<Answer, Problem> {
        match created {
            CreatedUser::Created(user) => Answer::json(&UserCreated {
                user: User::new(user, call.ids(), call.now),
                invite_mode: call.body::<UserCreate>()?.invite_mode,
                temporary_password: match proof {
                    Proof::TemporaryPassword(password) => Some(password.reveal().to_owned()),
                    Proof::Nothing | Proof::Link(_) => None,
                },
            }),
            CreatedUser::AlreadyInvited(user) => {
                let answer = Answer::json(&User::new(user, call.ids(), call.now))?;
                Ok(answer.with_status(StatusCode::OK))
            }
        }
    }

    fn send_mail(call: &Call, created: &Self::Outcome, proof: &Proof) {
        if let (CreatedUser::Created(user), Proof::Link(token)) = (created, proof) {
            call.send(Letter::Invitation, user, token);
        }
    }
}

/// A new temporary password and its hash.
async fn temporary_password(call: &Call) -> Result<(Password, PasswordHash), Problem> {
    let password = Password::generate()?;
    let passwords = &call.services.passwords;
    let hash = passwords.hash_in(call.lane, password.clone()).await?;
    Ok((password, hash))
}

impl Change for UpdateUser {
    fn parse(call: &Call) -> Result<Self, Problem> {
        let user = call.path_id("user_id")?;
        call.body::<UserUpdate>()?.parse(user)
    }

    fn render(call: &Call, user: &Self::Outcome) -> Result<Answer, Problem> {
        Answer::json(&User::new(user, call.ids(), call.now))
    }
}

impl Change for DeleteUser {
    fn parse(call: &Call) -> Result<Self, Problem> {
        let user = call.path_id("user_id")?;
        Ok(Self { user })
    }
}

impl ChangeWithSecret for ResendInvitation {
    type Secret = LinkToken;

    async fn parse(call: &Call) -> Result<(Self, LinkToken), Problem> {
        let user = call.path_id("user_id")?;
        let link = LinkToken::generate()?;
        let token = link.hash();
        Ok((Self { user, token }, link))
    }

    fn render(_: &Call, _: &Self::Outcome, _: &LinkToken) -> Result<Answer, Problem> {
        Ok(Answer::empty())
    }

    fn send_mail(call: &Call, user: &Self::Outcome, link: &LinkToken) {
        call.send(Letter::Invitation, user, link);
    }
}

impl ChangeWithSecret for ResetPassword {
    type Secret = LinkToken;

    async fn parse(call: &Call) -> Result<(Self, LinkToken), Problem> {
        let user = call.path_id("user_id")?;
        let link = LinkToken::generate()?;
        let token = link.hash();
        Ok((Self { user, token }, link))
    }

    fn render(_: &Call, _: &Self::Outcome, _: &LinkToken) -> Result<Answer, Problem> {
        Ok(Answer::empty())
    }

    fn send_mail(call: &Call, user: &Self::Outcome, link: &LinkToken) {
        call.send(Letter::PasswordReset, user, link);
    }
}

/// `/bindery/v1/users/{user_id}/temporary-password`.
impl ChangeWithSecret for RenewTemporaryPassword {
    type Secret = Password;

    async fn parse(call: &Call) -> Result<(Self, Password), Problem> {
        let user = call.path_id("user_id")?;
        // Before a password is hashed, which takes long.
        call.state.check_temporary_password(&call.admit()?, user)?;
        let (secret, password) = temporary_password(call).await?;
        Ok((Self { user, password }, secret))
    }

    fn render(call: &Call, user: &Self::Outcome, secret: &Password) -> Result<Answer, Problem> {
        Answer::json(&TemporaryPassword {
            user: User::new(user, call.ids(), call.now),
            temporary_password: secret.reveal().to_owned(),
        })
    }
}
