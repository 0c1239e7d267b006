//! `/v2/users`.

use bindery_core::command::credentials::{RenewTemporaryPassword, ResendInvitation, ResetPassword};
use bindery_core::command::users::{CreateUser, CreatedUser, DeleteUser, Invitation};
use bindery_core::query::UserFilter;
use hyper::StatusCode;

use crate::call::{Answer, Call};
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

pub(crate) async fn create(call: Call) -> Result<Answer, Problem> {
    let body: UserCreate = call.body()?;
    let mode = body.invite_mode()?;
    // The rest of the body first: hashing a password takes long.
    let command = body.parse(Invitation::None, call.ids())?;
    call.state.may_create_users(&call.admit()?)?;
    let (mut token, mut password) = (None, None);
    let invitation = match mode {
        InviteMode::None => Invitation::None,
        InviteMode::EmailLink => Invitation::Link(token.insert(LinkToken::generate()?).hash()),
        InviteMode::TemporaryPassword => {
            let password = password.insert(Password::generate()?);
            let hash = call
                .services
                .passwords
                .hash_in(call.lane, password.clone())
                .await?;
            Invitation::TemporaryPassword(hash)
        }
    };
    let command = CreateUser {
        invitation,
        ..command
    };
    match call.execute(command).await? {
        CreatedUser::Created(user) => {
            if let Some(token) = token {
                call.send(Letter::Invitation, &user, &token);
            }
            Answer::json(&UserCreated {
                user: User::new(&user, call.ids(), call.now),
                invite_mode: body.invite_mode,
                temporary_password: password.map(|password| password.reveal().to_owned()),
            })
        }
        CreatedUser::AlreadyInvited(user) => {
            let answer = Answer::json(&User::new(&user, call.ids(), call.now))?;
            Ok(answer.with_status(StatusCode::OK))
        }
    }
}

pub(crate) async fn update(call: Call) -> Result<Answer, Problem> {
    let user = call.path_id("user_id")?;
    let command = call.body::<UserUpdate>()?.parse(user)?;
    let user = call.execute(command).await?;
    Answer::json(&User::new(&user, call.ids(), call.now))
}

pub(crate) async fn delete(call: Call) -> Result<Answer, Problem> {
    let user = call.path_id("user_id")?;
    call.execute(DeleteUser { user }).await?;
    Ok(Answer::empty())
}

pub(crate) async fn resend_invitation(call: Call) -> Result<Answer, Problem> {
    let user = call.path_id("user_id")?;
    let token = LinkToken::generate()?;
    let command = ResendInvitation {
        user,
        token: token.hash(),
    };
    let user = call.execute(command).await?;
    call.send(Letter::Invitation, &user, &token);
    Ok(Answer::empty())
}

/// `/bindery/v1/users/{user_id}/temporary-password`.
pub(crate) async fn renew_temporary_password(call: Call) -> Result<Answer, Problem> {
    let user = call.path_id("user_id")?;
    // Hashing a password takes long.
    call.state.check_temporary_password(&call.admit()?, user)?;
    let password = Password::generate()?;
    let hash = call
        .services
        .passwords
        .hash_in(call.lane, password.clone())
        .await?;
    let command = RenewTemporaryPassword {
        user,
        password: hash,
    };
    let user = call.execute(command).await?;
    Answer::json(&TemporaryPassword {
        user: User::new(&user, call.ids(), call.now),
        temporary_password: password.reveal().to_owned(),
    })
}

pub(crate) async fn reset_password(call: Call) -> Result<Answer, Problem> {
    let user = call.path_id("user_id")?;
    let token = LinkToken::generate()?;
    let command = ResetPassword {
        user,
        token: token.hash(),
    };
    let user = call.execute(command).await?;
    call.send(Letter::PasswordReset, &user, &token);
    Ok(Answer::empty())
}

pub(crate) fn get(call: &Call) -> Result<Answer, Problem> {
    let id = call.path_id("user_id")?;
    let user = call.state.visible_user(&call.admit()?, id)?;
    Answer::json(&User::new(user, call.ids(), call.now))
}
