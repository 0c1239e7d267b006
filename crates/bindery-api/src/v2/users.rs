//! `/v2/users`.

use bindery_core::command::users::{CreatedUser, DeleteUser};
use bindery_core::query::UserFilter;
use hyper::StatusCode;

use crate::call::{Answer, Call};
use crate::problem::Problem;
use crate::wire::users::{STATUSES, User, UserCreate, UserCreated, UserUpdate, Users};

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
    let command = body.parse(call.ids())?;
    match call.execute(command).await? {
        CreatedUser::Created(user) => Answer::json(&UserCreated {
            user: User::new(&user, call.ids(), call.now),
            invite_mode: body.invite_mode,
        }),
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

pub(crate) fn get(call: &Call) -> Result<Answer, Problem> {
    let id = call.path_id("user_id")?;
    let user = call.state.visible_user(&call.admit()?, id)?;
    Answer::json(&User::new(user, call.ids(), call.now))
}
