//! `bindery check` and `bindery explain` against a running server, and keys of enforcement points by `bindery key issue`.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::{ADMIN_KEY, Server, spawn, text};

/// The exit status, and the output on stdout and stderr.
pub(crate) fn bindery(
    arguments: &[&str],
    key: Option<&str>,
    url: Option<&str>,
) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bindery"));
    command
        .args(arguments)
        .env_remove("BINDERY_API_KEY")
        .env_remove("BINDERY_URL")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(key) = key {
        command.env("BINDERY_API_KEY", key);
    }
    if let Some(url) = url {
        command.env("BINDERY_URL", url);
    }
    let output = spawn(&mut command).wait_with_output().unwrap();
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// A project that ada may read, on a server with these arguments.
fn sample(directory: &Path, arguments: &[&str]) -> (Server, String, String) {
    let server = Server::start_with(directory, arguments);
    let admin = server.client();
    let organization = text(
        &admin.post("/v2/organizations", &json!({"name": "acme"})),
        "id",
    );
    let space = json!({"name": "red", "organization_id": organization, "is_private": true});
    let space = text(&admin.post("/v2/spaces", &space), "id");
    let project = json!({"name": "sonar", "space_id": space});
    let project = text(&admin.post("/v2/projects", &project), "id");
    let ada = json!({
        "name": "Ada", "email": "ada@example.com", "invite_mode": "NONE",
        "role": {"type": "PREDEFINED", "name": "MEMBER"},
    });
    let ada = text(&admin.post("/v2/users", &ada), "id");
    let role = json!({"name": "Reader", "permissions": ["PROJECT_READ"]});
    let role = text(&admin.post("/v2/roles", &role), "id");
    let binding = json!({
        "user_id": ada, "role_id": role, "resource_type": "PROJECT", "resource_id": project,
    });
    admin.post("/v2/role-bindings", &binding);
    (server, ada, project)
}

#[test]
fn check_ends_as_the_answer_is_and_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let (server, ada, project) = sample(directory.path(), &[]);
    let url = Some(server.address.as_str());
    let ask = |arguments: &[&str]| bindery(arguments, Some(ADMIN_KEY), url);
    let yes = "yes: the role `Reader`, bound to ada@example.com on the project `sonar`, grants PROJECT_READ\n";
    for who in ["ada@example.com", &ada, &format!("user:{ada}")] {
        let (code, told, _) = ask(&["check", who, "PROJECT_READ", &project]);
        assert_eq!((code, told.as_str()), (0, yes), "{who}");
    }
    let (code, told, _) = ask(&["check", "ada@example.com", "PROJECT_DELETE", &project]);
    let no = "no: all that ada@example.com has on the project `sonar` is the role `Reader` bound on it, and that does not grant \
         PROJECT_DELETE\n";
    assert_eq!((code, told.as_str()), (1, no));
    let (code, told, _) = ask(&["check", "ada@example.com", "USER_DELETE", "account"]);
    assert_eq!(code, 1, "{told}");
    assert!(told.starts_with("no: "), "{told}");
    let (code, told, _) = ask(&[
        "check",
        "--json",
        "ada@example.com",
        "PROJECT_READ",
        &project,
    ]);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((code, &told["decision"]), (0, &json!(true)));
    assert_eq!(told["context"]["reason"]["code"], "project_binding");
    let (code, told, _) = ask(&["explain", "ada@example.com", "PROJECT_UPDATE", &project]);
    assert_eq!(code, 1);
    assert_eq!(
        told,
        "no: all that ada@example.com has on the project `sonar` is the role `Reader` bound on it, and that does not grant \
         PROJECT_UPDATE\n  \
         lacks it  ada@example.com is no account admin, but has the role `Account Member`\n  \
         nothing   ada@example.com has no role in the organization `acme`\n  \
         nothing   ada@example.com is no admin of the space `red`\n  \
         nothing   ada@example.com has no binding of the role `Admin` on the space `red`\n  \
         nothing   ada@example.com has no membership of the space `red`\n  \
         nothing   no role is bound to ada@example.com on the space `red`\n  \
         nothing   the space `red` is private, so roles in its organization give nothing there\n  \
         lacks it  the role `Reader`, bound to ada@example.com on the project `sonar`, does not grant PROJECT_UPDATE\n  \
         enough    give ada@example.com the role `Project Admin` instead of the role `Reader` in the binding on the project \
         `sonar`: that brings PROJECT_UPDATE and 21 permissions more\n"
    );
    server.stop();
}

#[test]
fn a_typing_error_is_no_denial() {
    let directory = tempfile::tempdir().unwrap();
    let (server, _, project) = sample(directory.path(), &[]);
    let url = Some(server.address.as_str());
    for (who, what, place) in [
        ("nobody@example.com", "PROJECT_READ", project.as_str()),
        ("ada@example.com", "FLY", &project),
        ("ada@example.com", "PROJECT_READ", "nonsense"),
    ] {
        for command in ["check", "explain"] {
            let asked = [command, who, what, place];
            let (code, told, error) = bindery(&asked, Some(ADMIN_KEY), url);
            assert_eq!((code, told.as_str()), (2, ""), "{asked:?}: {error}");
            assert!(error.contains("not decided: "), "{asked:?}: {error}");
        }
        let asked = ["check", "--json", who, what, place];
        let (code, told, _) = bindery(&asked, Some(ADMIN_KEY), url);
        let told: Value = serde_json::from_str(&told).unwrap();
        assert_eq!((code, &told["decision"]), (2, &json!(false)), "{asked:?}");
    }
    server.stop();
}

#[test]
fn without_an_answer_it_ends_with_2_and_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let (server, _, project) = sample(directory.path(), &[]);
    let url = server.address.clone();
    let question = ["check", "ada@example.com", "PROJECT_READ", project.as_str()];
    let unknown = "ak-abcdefghijabcdefghijabcdefghij0123456789";
    for (key, url, named) in [
        (None, url.as_str(), "set BINDERY_API_KEY"),
        (Some("secret-of-mine"), &url, "BINDERY_API_KEY: a key is"),
        (Some(unknown), &url, "answered 401"),
        (Some(ADMIN_KEY), "127.0.0.1:1", "--url"),
        (
            Some(ADMIN_KEY),
            "http://127.0.0.1:1",
            "no answer from http://127.0.0.1:1",
        ),
        (
            Some(ADMIN_KEY),
            "https://127.0.0.1:1",
            "no answer from https://127.0.0.1:1",
        ),
        (Some(ADMIN_KEY), "http://192.0.2.1", "over https only"),
        (Some(ADMIN_KEY), &format!("{url}/nowhere"), "answered 404"),
    ] {
        for command in ["check", "explain"] {
            let mut arguments = question;
            arguments[0] = command;
            let (code, told, error) = bindery(&arguments, key, Some(url));
            assert_eq!((code, told.as_str()), (2, ""), "{url}: {error}");
            assert!(error.contains(named), "{named}: {error}");
            assert!(
                !error.contains("secret-of-mine") && !error.contains(unknown),
                "{error}"
            );
        }
    }
    let (code, ..) = bindery(&["check", "ada@example.com"], Some(ADMIN_KEY), Some(&url));
    assert_eq!(code, 2);
    server.stop();
}

#[test]
fn a_key_of_an_enforcement_point_is_issued_by_the_operator() {
    let directory = tempfile::tempdir().unwrap();
    let aliases = directory.path().join("aliases.json");
    let (server, ada, project) = sample(directory.path(), &[]);
    let admin = server.client();
    let program = json!({
        "name": "Program", "email": "program@example.com", "invite_mode": "NONE",
        "role": {"type": "PREDEFINED", "name": "MEMBER"},
    });
    admin.post("/v2/users", &program);
    server.stop();
    let data_dir = directory.path().to_str().unwrap();
    let issue = [
        "key",
        "issue",
        "--data-dir",
        data_dir,
        "--email",
        "program@example.com",
    ];
    let (code, plain, error) = bindery(&issue, None, None);
    assert_eq!(code, 0, "{error}");
    let marked = [&issue[..], &["--enforcement-point"]].concat();
    let (code, marked, error) = bindery(&marked, None, None);
    assert_eq!(code, 0, "{error}");
    let file = json!({
        "resource_types": {"record": "project"},
        "actions": {"read": "PROJECT_READ"},
        "resources": {"project": {"record-1": project}},
        "subjects": {"user": {"ada": ada}},
    });
    std::fs::write(&aliases, file.to_string()).unwrap();
    let public = [
        "--public-url",
        "https://pdp.example.com",
        "--aliases",
        aliases.to_str().unwrap(),
    ];
    let server = Server::start_with(directory.path(), &public);
    let question = ["check", "ada", "read", "record:record-1"];
    let url = Some(server.address.as_str());
    let (code, told, _) = bindery(&question, Some(marked.trim()), url);
    assert_eq!(code, 0, "{told}");
    let (code, _, error) = bindery(&question, Some(plain.trim()), url);
    assert_eq!(code, 2);
    assert!(
        error.contains("answered 403: to ask about others"),
        "{error}"
    );
    let found = server.client().get("/.well-known/authzen-configuration");
    assert_eq!(found["policy_decision_point"], "https://pdp.example.com");
    server.stop();
    std::fs::write(&aliases, r#"{"actions":{"read":"READ"}}"#).unwrap();
    let mut serve = vec!["serve", "--listen", "127.0.0.1:0", "--data-dir", data_dir];
    serve.extend(public);
    let (code, _, error) = bindery(&serve, None, None);
    assert_eq!(code, 1);
    assert!(
        error.contains("--aliases") && error.contains("stands for `READ`"),
        "{error}"
    );
}
