//! Explanations as people read them: worlds in which the answer is not what somebody expected, and what is kept from whom.

use std::fmt::Write as _;

use insta::assert_snapshot;

use crate::world::World;

/// What somebody wonders about, the world, when, and the question.
const WORLDS: [(&str, &str, i64, &str); 20] = [
    (
        "an admin of everything, whose key still lies in a script, was deleted",
        "
        acme/red/sonar
        ada is Admin
        ada is inactive
        ",
        0,
        "ada PROJECT_READ acme/red/sonar",
    ),
    (
        "a member and auditor of the space, and the project is restricted",
        "
        acme/red/vault  restricted
        role Auditor: PROJECT_READ, DATASET_READ
        ada is Member of acme
        ada is Member on acme/red
        ada has Auditor on acme/red
        ",
        0,
        "ada PROJECT_READ acme/red/vault",
    ),
    (
        "an admin of the space, and the project is restricted all the same",
        "
        acme/red/vault  restricted
        ada is Member of acme
        ada is Admin on acme/red
        ",
        0,
        "ada PROJECT_READ acme/red/vault",
    ),
    (
        "a small role was bound to a member in a public space, who has less than before",
        "
        acme/blue/sonar
        role Counter: DATASET_READ
        ada is Member of acme
        ada has Counter on acme/blue
        ",
        0,
        "ada PROJECT_READ acme/blue/sonar",
    ),
    (
        "a bot is member of the organization, and the space is public",
        "
        acme/blue/sonar
        bot crawler
        crawler is Member of acme
        ",
        0,
        "crawler PROJECT_READ acme/blue/sonar",
    ),
    (
        "a bot is member of the space, and its key ended yesterday",
        "
        acme/red/sonar
        bot crawler
        crawler is Member on acme/red
        crawler key ends at 100
        ",
        100,
        "crawler PROJECT_READ acme/red/sonar",
    ),
    (
        "the role is still bound, and was edited to something else",
        "
        acme/red  private
        acme/red/sonar
        role Auditor: PROJECT_READ, DATASET_READ
        ada is Member of acme
        ada has Auditor on acme/red/sonar
        role Auditor: DATASET_READ
        ",
        0,
        "ada PROJECT_READ acme/red/sonar",
    ),
    (
        "the id is of a project in another account",
        "
        acme/red/sonar
        ada is Admin
        ",
        0,
        "ada PROJECT_READ globex/red/sonar",
    ),
    (
        "a custom role with everything is bound on a space, and users are not below spaces",
        "
        acme/red/sonar
        role Everything: USER_DELETE, ORGANIZATION_UPDATE, SPACE_UPDATE, PROJECT_READ
        ada has Everything on acme/red
        ",
        0,
        "ada ORGANIZATION_UPDATE acme/red",
    ),
    (
        "somebody was made admin of the organization, and is invited",
        "
        acme/red/sonar
        ada is Admin of acme
        ada is invited until 100
        ",
        99,
        "ada PROJECT_READ acme/red/sonar",
    ),
    (
        "somebody is admin of an organization, and it is another one",
        "
        acme/red/sonar
        globex/blue
        ada is Admin of globex
        ",
        0,
        "ada PROJECT_READ acme/red/sonar",
    ),
    (
        "the role that is bound on the space contains it, and the project is restricted",
        "
        acme/red/vault  restricted
        role Auditor: PROJECT_READ
        role Counter: DATASET_READ
        ada has Auditor on acme/red
        ada has Counter on acme/red/vault
        ",
        0,
        "ada PROJECT_READ acme/red/vault",
    ),
    (
        "all members of the organization read its public space, but for a restricted project",
        "
        acme/blue/vault  restricted
        ada is Read-only of acme
        ",
        0,
        "ada PROJECT_READ acme/blue/vault",
    ),
    (
        "the role contains USER_DELETE, and is bound on a space",
        "
        acme/red
        role Everything: USER_DELETE, SPACE_UPDATE
        ada has Everything on acme/red
        ",
        0,
        "ada USER_DELETE account",
    ),
    (
        "an annotator of the account is annotator everywhere, and annotators read no projects",
        "
        acme/blue/sonar
        ada is Annotator
        ada is Annotator of acme
        ",
        0,
        "ada PROJECT_READ acme/blue/sonar",
    ),
    (
        "somebody works on a project, and doesn't see the space that it is in",
        "
        acme/red/sonar
        acme/red  private
        ada has Project Admin on acme/red/sonar
        ",
        0,
        "ada SPACE_READ acme/red",
    ),
    (
        "a member of the organization, and the space is private",
        "
        acme/red/sonar
        acme/red  private
        role Counter: DATASET_READ
        ada is Member of acme
        ada has Counter on acme/red/sonar
        ",
        0,
        "ada PROJECT_READ acme/red/sonar",
    ),
    (
        "somebody may lift a restriction of a project that they can't read",
        "
        acme/red/vault  restricted
        role Guard: PROJECT_RESTRICT, PROJECT_READ
        ada has Guard on acme/red
        ",
        0,
        "ada PROJECT_RESTRICT acme/red/vault",
    ),
    (
        "an admin of a space in an organization is nobody on the organization itself",
        "
        acme/red
        ada is Admin on acme/red
        ",
        0,
        "ada ORGANIZATION_READ acme",
    ),
    (
        "members make spaces, and don't change the organization",
        "
        acme/red
        ada is Member of acme
        ada is Admin on acme/red
        ",
        0,
        "ada ORGANIZATION_UPDATE acme",
    ),
];

#[test]
fn confusing_worlds_are_explained() {
    let mut told = String::new();
    for (wonder, world, now, question) in WORLDS {
        let explained = World::parse(world).explain_at(now, question, None);
        let _ = writeln!(
            told,
            "# {wonder}{}{question}\n{explained}\n",
            trimmed(world)
        );
    }
    assert_snapshot!("confusing_worlds", told);
}

fn trimmed(world: &str) -> String {
    let lines = world.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut told = String::from("\n");
    for line in lines {
        let _ = writeln!(told, "    {line}");
    }
    told
}

#[test]
fn a_yes_says_by_what() {
    let world = World::parse(
        "
        acme/red  private
        acme/red/sonar
        acme/blue/sonar
        role Auditor: PROJECT_READ
        ada is Member of acme
        ada has Auditor on acme/red/sonar
        bob is Admin
        cyd is Admin of acme
        dan is Admin on acme/red
        eve has Admin on acme/red
        fay is Read-only on acme/red
        gil has Auditor on acme/red
        ",
    );
    let verdicts = [
        "bob PROJECT_READ acme/red/sonar",
        "ada USER_READ account",
        "cyd PROJECT_READ acme/red/sonar",
        "ada SPACE_CREATE acme",
        "dan PROJECT_READ acme/red/sonar",
        "eve PROJECT_READ acme/red/sonar",
        "fay PROJECT_READ acme/red/sonar",
        "gil PROJECT_READ acme/red/sonar",
        "ada PROJECT_READ acme/blue/sonar",
        "ada PROJECT_READ acme/red/sonar",
    ]
    .map(|question| {
        let explained = world.explain_at(0, question, None);
        explained.lines().next().unwrap_or_default().to_owned()
    });
    assert_snapshot!(verdicts.join("\n"));
}

#[test]
fn nobody_learns_from_an_explanation_about_themselves_what_there_is() {
    let world = World::parse(
        "
        acme/red  private
        acme/red/sonar
        acme/red/vault  restricted
        ada is Member of acme
        bob is Member of acme
        bob is Member on acme/red
        acme/red/open
        role Looker: PROJECT_READ
        cyd is Annotator
        cyd has Looker on acme/red/open
        dan is Annotator
        role Counter: DATASET_READ, PROJECT_SPAN_READ
        dan has Counter on acme/red/open
        ",
    );
    let as_one_that_never_was = |question: &str, reader: &str| {
        let told = world.explain_at(0, question, Some(reader));
        let words: Vec<&str> = question.split(' ').collect();
        let never = format!("{} {} acme/red/never", words[0], words[1]);
        assert_eq!(
            told,
            world.explain_at(0, &never, Some(reader)),
            "{question}"
        );
        assert!(told.starts_with("no: there is no such project"), "{told}");
    };
    as_one_that_never_was("ada PROJECT_READ acme/red/sonar", "ada");
    as_one_that_never_was("ada USER_READ acme/red/sonar", "ada");
    // Not even that there is a restriction, by whoever can't see the project.
    as_one_that_never_was("bob PROJECT_READ acme/red/vault", "bob");
    // What they can see is explained; what would be enough, to whoever may read roles.
    let told = [
        "bob PROJECT_DELETE acme/red/sonar",
        "cyd USER_READ account",
        "cyd PROJECT_DELETE acme/red/open",
        "dan PROJECT_SPAN_READ acme/red/open",
        "dan PROJECT_DELETE acme/red/open",
    ]
    .map(|question| world.explain_at(0, question, question.split(' ').next()));
    assert_snapshot!(told.join(
        "

"
    ));
}

#[test]
fn what_is_held_above_is_told_to_whoever_may_read_it_there() {
    let world = World::parse(
        "
        acme/red  private
        acme/red/sonar
        role Binder: ROLE_BINDING_READ, PROJECT_READ
        ada is Member of acme
        ada is Member on acme/red
        bob is Member of acme
        bob has Binder on acme/red/sonar
        cyd is Member of acme
        cyd is Admin on acme/red
        root is Admin
        ",
    );
    let ask = |question, reader| world.explain_at(0, question, Some(reader));
    let told = [
        ask("ada PROJECT_READ acme/red/sonar", "bob"),
        ask("ada PROJECT_READ acme/red/sonar", "cyd"),
        ask("ada PROJECT_DELETE acme/red/sonar", "bob"),
    ];
    assert_snapshot!(told.join(
        "

"
    ));
    assert_eq!(ask("ada PROJECT_READ acme/red", "bob"), "not theirs to ask");
    assert_eq!(
        ask("bob PROJECT_READ acme/red/sonar", "ada"),
        "not theirs to ask"
    );
    assert_eq!(
        ask("ada PROJECT_READ acme/red/sonar", "root"),
        world.explain_at(0, "ada PROJECT_READ acme/red/sonar", None)
    );
}
