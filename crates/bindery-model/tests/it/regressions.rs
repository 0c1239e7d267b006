//! Histories on which the engine and the model once disagreed, each as short as it was found.

use bindery_core::place::AccountSettings;
use bindery_core::role::AccountRole;
use bindery_model::history::{
    CallerPick, Expiry, History, KeyPlace, NamePick, Pick, RolePick, Step, UserPick, Wish,
};

use crate::agreement::check_turn;
use crate::play::Play;

/// `docs/rules/authorization.md` §10: of the target, only *unknown or inactive* is not found. A bot's role in an organization would
/// otherwise outlive every wish of the organization's admins, who need not be able to revoke its key.
#[test]
fn a_bot_can_be_taken_out_of_an_organization() {
    assert_agreement(&[
        Wish::CreateOrganization {
            name: NamePick::Fresh,
        },
        Wish::CreateSpace {
            name: NamePick::Fresh,
            organization: Pick(0),
            is_private: false,
        },
        Wish::CreateServiceKey {
            account_role: Some(AccountRole::Member),
            places: vec![KeyPlace {
                organization: Pick(0),
                role: RolePick::Fitting(0),
                spaces: vec![(Pick(0), RolePick::Fitting(0))],
            }],
            expiry: Expiry::Absent,
        },
        Wish::RemoveOrganizationUser {
            organization: Pick(0),
            user: UserPick::Member(Pick(0)),
        },
    ]);
}

/// The founder wishes one after the other, all in the same moment.
fn assert_agreement(wishes: &[Wish]) {
    let steps = wishes.iter().map(|wish| Step {
        caller: CallerPick(0),
        wait_ms: 0,
        wish: wish.clone(),
    });
    let history = History {
        settings: AccountSettings::default(),
        steps: steps.collect(),
    };
    let outcome = Play::new(&history).run(&history, check_turn);
    assert!(outcome.is_ok(), "{outcome:?}");
}
