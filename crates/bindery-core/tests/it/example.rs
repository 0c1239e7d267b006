//! The example says what it says.

use insta::assert_snapshot;

#[expect(dead_code, reason = "it is a program of its own")]
#[path = "../../examples/in_process.rs"]
mod in_process;

#[test]
fn the_account_of_the_example_decides_and_says_why() {
    let story = in_process::story().unwrap().join("\n");
    assert_snapshot!(story, @"
    at first, at revision 6: no, nothing grants it
    bound on the space, at revision 7: yes, by the role Member bound on research
    restricted, at revision 8: no, the project is restricted, which cuts the role Member on its space
    if bound on the project: yes, by the role Member bound on sonar
    but as it is, at revision 8: no, the project is restricted, which cuts the role Member on its space
    ");
}
