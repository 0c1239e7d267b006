//! `/v2/users`.

use bindery_core::command::credentials::{RenewTemporaryPassword, ResendInvitation, ResetPassword};
use bindery_core::command::users::{CreateUser, CreatedUser, DeleteUser, Invitation, UpdateUser};
use bindery_core::query::UserFilter;
use hyper::StatusCode;

use crate::answer::Answer;
use crate::call::Call;
use crate::change::{Change, Secrets};
use crate::mail::Letter;
use crate::password::Password;
use crate::problem::Problem;
use crate::wire::sign_in::TemporaryPassword;
use crate::wire::users::{InviteMode, STATUSES, User, UserCreate, UserCreated, UserUpdate, Users};

pub(crate) fn list(call: &Call) -> Result<Answer, Problem> {
    let filter = UserFilter {
        email: call.query.substring("email")?,
        statuses: call.query.choices("status", &STATUSES)?,
    };
    let cursors = call.cursors();
    let slice = cursors.slice()?;
    let page = call.state.users(&call.admit()?, &filter, slice)?;
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
    let user = call.state.visible_user(&call.admit()?, id)?;
    Answer::json(&User::new(user, call.ids(), call.now))
}

impl Change for CreateUser {
    async fn prepare(call: &Call) -> Result<Secrets, Problem> {
        let body: UserCreate = call.body()?;
        let mode = body.invite_mode()?;
        // The rest of the body first: hashing a password takes long.
        body.parse(Invitation::None, call.ids())?;
        call.state.may_create_users(&call.admit()?)?;
        if mode == InviteMode::TemporaryPassword {
            prepared_password(call).await
        } else {
            Ok(Secrets::default())
        }
    }

    fn parse(call: &Call, secrets: &mut Secrets) -> Result<Self, Problem> {
        let body: UserCreate = call.body()?;
        let mode = body.invite_mode()?;
        let command = body.parse(Invitation::None, call.ids())?;
        let invitation = match mode {
            InviteMode::None => Invitation::None,
            InviteMode::EmailLink => Invitation::Link(secrets.make_link()?),
            InviteMode::TemporaryPassword => {
                Invitation::TemporaryPassword(secrets.password_hash()?)
            }
        };
        Ok(Self {
            invitation,
            ..command
        })
    }

    fn render(call: &Call, created: &Self::Outcome, secrets: &Secrets) -> Result<Answer, Problem> {
        match created {
            CreatedUser::Created(user) => Answer::json(&UserCreated {
                user: User::new(user, call.ids(), call.now),
                invite_mode: call.body::<UserCreate>()?.invite_mode,
                temporary_password: secrets
                    .password()
                    .map(|password| password.reveal().to_owned()),
            }),
            CreatedUser::AlreadyInvited(user) => {
                let answer = Answer::json(&User::new(user, call.ids(), call.now))?;
                Ok(answer.with_status(StatusCode::OK))
            }
        }
    }

    fn send_mail(call: &Call, created: &Self::Outcome, secrets: &Secrets) {
        if let (CreatedUser::Created(user), Some(token)) = (created, secrets.link()) {
            call.send(Letter::Invitation, user, token);
        }
    }
}

/// A new temporary password and its hash.
async fn prepared_password(call: &Call) -> Result<Secrets, Problem> {
    let password = Password::generate()?;
    let passwords = &call.services.passwords;
    let hash = passwords.hash_in(call.lane, password.clone()).await?;
    Ok(Secrets::with_password(password, hash))
}

impl Change for UpdateUser {
    fn parse(call: &Call, _: &mut Secrets) -> Result<Self, Problem> {
        let user = call.path_id("user_id")?;
        call.body::<UserUpdate>()?.parse(user)
    }

    fn render(call: &Call, user: &Self::Outcome, _: &Secrets) -> Result<Answer, Problem> {
        Answer::json(&User::new(user, call.ids(), call.now))
    }
}

impl Change for DeleteUser {
    fn parse(call: &Call, _: &mut Secrets) -> Result<Self, Problem> {
        let user = call.path_id("user_id")?;
        Ok(Self { user })
    }
}

impl Change for ResendInvitation {
    fn parse(call: &Call, secrets: &mut Secrets) -> Result<Self, Problem> {
        let user = call.path_id("user_id")?;
        let token = secrets.make_link()?;
        Ok(Self { user, token })
    }

    fn send_mail(call: &Call, user: &Self::Outcome, secrets: &Secrets) {
        if let Some(token) = secrets.link() {
            call.send(Letter::Invitation, user, token);
        }
    }
}

impl Change for ResetPassword {
    fn parse(call: &Call, secrets: &mut Secrets) -> Result<Self, Problem> {
        let user = call.path_id("user_id")?;
        let token = secrets.make_link()?;
        Ok(Self { user, token })
    }

    fn send_mail(call: &Call, user: &Self::Outcome, secrets: &Secrets) {
        if let Some(token) = secrets.link() {
            call.send(Letter::PasswordReset, user, token);
        }
    }
}

/// `/bindery/v1/users/{user_id}/temporary-password`.
impl Change for RenewTemporaryPassword {
    async fn prepare(call: &Call) -> Result<Secrets, Problem> {
        let user = call.path_id("user_id")?;
        // Hashing a password takes long.
        call.state.check_temporary_password(&call.admit()?, user)?;
        prepared_password(call).await
    }

    fn parse(call: &Call, secrets: &mut Secrets) -> Result<Self, Problem> {
        let user = call.path_id("user_id")?;
        let password = secrets.password_hash()?;
        Ok(Self { user, password })
    }

    fn render(call: &Call, user: &Self::Outcome, secrets: &Secrets) -> Result<Answer, Problem> {
        let password = secrets.password().ok_or_else(Problem::internal)?;
        Answer::json(&TemporaryPassword {
            user: User::new(user, call.ids(), call.now),
            temporary_password: password.reveal().to_owned(),
        })
    }
}
