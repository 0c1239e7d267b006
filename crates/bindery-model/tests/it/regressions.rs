//! Histories on which the engine and the model once disagreed, each as short as it was found.

use bindery_core::place::AccountSettings;
use bindery_core::role::AccountRole;
use bindery_model::history::{
    CallerPick, Draft, Expiry, History, KeyPlace, NamePick, Pick, RolePick, Step, UserPick,
};

use crate::agreement::check_turn;
use crate::play::Play;

/// `docs/rules/authorization.md` §10: only an *unknown or inactive* user is not found. Otherwise a bot's role
/// in an organization could not be removed by the organization's admins, who need not be able to revoke its
/// key.
#[test]
fn a_bot_can_be_taken_out_of_an_organization() {
    assert_agreement(&[
        Draft::CreateOrganization {
            name: NamePick::Fresh,
        },
        Draft::CreateSpace {
            name: NamePick::Fresh,
            organization: Pick(0),
            is_private: false,
        },
        Draft::CreateServiceKey {
            account_role: Some(AccountRole::Member),
            places: vec![KeyPlace {
                organization: Pick(0),
                role: RolePick::Fitting(0),
                spaces: vec![(Pick(0), RolePick::Fitting(0))],
            }],
            expiry: Expiry::Absent,
        },
        Draft::RemoveOrganizationUser {
            organization: Pick(0),
            user: UserPick::Member(Pick(0)),
        },
    ]);
}

/// The founder sends these one after the other, all at the same time.
fn assert_agreement(drafts: &[Draft]) {
    let steps = drafts.iter().map(|draft| Step {
        caller: CallerPick(0),
        wait_ms: 0,
        draft: draft.clone(),
    });
    let history = History {
        settings: AccountSettings::default(),
        steps: steps.collect(),
    };
    let outcome = Play::new(&history).run(&history, check_turn);
    assert!(outcome.is_ok(), "{outcome:?}");
}
