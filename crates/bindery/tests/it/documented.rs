//! The examples of the documentation: the `curl`, `bindery check` and `bindery explain` lines of some pages
//! run in order against a demo, and their output is compared with the page.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::ask::bindery;
use crate::support::{Server, spawn};

/// The address of a demo, if nothing else listens there.
const USUAL_ADDRESS: &str = "http://127.0.0.1:8080";
/// Replaces what a page leaves out.
const ELLIPSIS: char = '…';

/// A command of a page, and its output on the page.
struct Example {
    command: String,
    output: Vec<String>,
}

/// The commands of all `console` blocks of a page.
fn examples(page: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    let mut is_console = false;
    let mut is_open = false;
    for line in page.lines() {
        if line.starts_with("```") {
            is_console = line == "```console";
            is_open = false;
        } else if is_console {
            match (line.strip_prefix("$ "), examples.last_mut()) {
                (None, Some(last)) if is_open => {
                    last.command.push('\n');
                    last.command.push_str(line);
                }
                (Some(command), _) => examples.push(Example {
                    command: command.to_owned(),
                    output: Vec::new(),
                }),
                (None, Some(last)) => last.output.push(line.to_owned()),
                (None, None) => {}
            }
            is_open = examples.last().is_some_and(|last| {
                last.output.is_empty() && (words(&last.command, &Variables::new()).is_none())
            });
        }
    }
    examples
}

type Variables = BTreeMap<String, String>;

/// The words of the first command of a line as a shell splits them, up to a pipe; none, if it continues in
/// the next line.
fn words(line: &str, variables: &Variables) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut rest = line.chars().peekable();
    while let Some(character) = rest.next() {
        match (character, quote) {
            ('\\', None) => match rest.next()? {
                '\n' => {}
                escaped => word.get_or_insert_default().push(escaped),
            },
            ('\\', Some('"')) => word.get_or_insert_default().push(rest.next()?),
            ('$', None | Some('"')) => {
                let mut name = String::new();
                while let Some(next) =
                    rest.next_if(|next| next.is_ascii_uppercase() || *next == '_')
                {
                    name.push(next);
                }
                let value = variables.get(&name).map_or("", String::as_str);
                word.get_or_insert_default().push_str(value);
            }
            ('\'' | '"', None) => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (_, Some(open)) if open == character => quote = None,
            ('|', None) => {
                // What follows a pipe may be in the next line.
                rest.peek()?;
                break;
            }
            (_, None) if character.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

/// A demo, with the variables of the pages.
struct Demo {
    server: Server,
    variables: Variables,
    // Closed last: the demo writes to it.
    _stdout: BufReader<ChildStdout>,
}

impl Demo {
    fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bindery"));
        command.args(["demo", "--listen", "127.0.0.1:0"]);
        let mut child = spawn(command.stdout(Stdio::piped()).stderr(Stdio::null()));
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut welcome = String::new();
        // It ends with the second of two requests.
        while welcome.matches("\n  -d ").count() < 2 {
            assert!(stdout.read_line(&mut welcome).unwrap() > 0, "{welcome}");
        }
        let after = |mark: &str, end: &[char]| {
            let (_, rest) = welcome.split_once(mark).unwrap();
            rest.trim_start().split(end).next().unwrap().to_owned()
        };
        let address = after("listening on ", &['\n']);
        let mut variables = Variables::from([
            ("U".to_owned(), address.clone()),
            ("ADMIN_KEY".to_owned(), after("account admin", &['\n'])),
            ("BINDING_ID".to_owned(), after("role-bindings/", &['\''])),
            ("ROLE_ID".to_owned(), after("{\"role_id\":\"", &['"'])),
        ]);
        variables.insert("BINDERY_API_KEY".to_owned(), variables["ADMIN_KEY"].clone());
        let mut demo = Self {
            server: Server { child, address },
            variables,
            _stdout: stdout,
        };
        for (variable, list, name) in [
            ("ORG_ID", "organizations", "Acme"),
            ("SPACE_ID", "spaces", "Playground"),
            ("PROJECT_ID", "projects", "checkout-agent"),
            ("PAYROLL_ID", "projects", "payroll-assistant"),
        ] {
            let client = demo.server.client_with(&demo.variables["ADMIN_KEY"]);
            let found = client.get(&format!("/v2/{list}?name={name}"));
            let id = found[list][0]["id"].as_str().unwrap().to_owned();
            demo.variables.insert(variable.to_owned(), id);
        }
        demo
    }

    /// Runs the examples of a page. Returns how many requests and questions they had.
    fn run(&mut self, page: &str) -> usize {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../docs")
            .join(page);
        let text = std::fs::read_to_string(&path).unwrap();
        let text = text.replace(USUAL_ADDRESS, &self.server.address);
        let mut count = 0;
        for Example { command, output } in examples(&text) {
            if command.contains(ELLIPSIS) {
                continue;
            }
            let words = words(&command, &self.variables).unwrap();
            let (program, arguments) = words.split_first().unwrap();
            match program.rsplit('/').next().unwrap() {
                "curl" => self.send(&command, arguments, &output),
                "bindery" if ["check", "explain"].contains(&arguments[0].as_str()) => {
                    self.ask(arguments, &output);
                }
                _ => continue,
            }
            count += 1;
        }
        count
    }

    fn ask(&self, arguments: &[String], expected: &[String]) {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let key = Some(self.variables["BINDERY_API_KEY"].as_str());
        let (_, stdout, stderr) = bindery(&arguments, key, Some(&self.server.address));
        let told: Vec<&str> = stdout.lines().collect();
        assert_eq!(told, expected, "{arguments:?}: {stderr}");
    }

    fn send(&mut self, command: &str, arguments: &[String], expected: &[String]) {
        let (mut method, mut url, mut body) = (None, None, None);
        let mut headers = Vec::new();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "-X" => method = arguments.next(),
                "-H" => headers.extend(arguments.next().and_then(|one| one.split_once(": "))),
                "-d" => body = arguments.next(),
                "-D" | "-o" => {
                    arguments.next();
                }
                option if option.starts_with('-') => {}
                _ => url = Some(argument),
            }
        }
        let method = method.map_or(if body.is_some() { "POST" } else { "GET" }, String::as_str);
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(url.unwrap());
        let request = headers.into_iter().fold(request, |request, (name, value)| {
            request.header(name, value)
        });
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(20)));
        let agent: ureq::Agent = config.build().into();
        let body = body.cloned().unwrap_or_default();
        let mut response = agent.run(request.body(body).unwrap()).unwrap();
        let told = response.body_mut().read_to_string().unwrap();
        assert!(response.status().is_success(), "{command}\n{told}");
        let told: Value = serde_json::from_str(&told).unwrap_or(Value::Null);
        if let (Some(key), Some(id)) = (told["key"].as_str(), told["id"].as_str()) {
            self.variables
                .insert("GATEWAY_KEY".to_owned(), key.to_owned());
            self.variables.insert("KEY_ID".to_owned(), id.to_owned());
        }
        let is_whole = !command.contains(" | ");
        if let ([shown], true) = (expected, is_whole && !expected.concat().contains(ELLIPSIS)) {
            let shown: Value = serde_json::from_str(shown).unwrap();
            assert_eq!(form(&told), form(&shown), "{command}");
        }
    }
}

/// A response without what differs from run to run: ids, secrets, and times.
fn form(value: &Value) -> Value {
    match value {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), form(value)))
            .collect(),
        Value::Array(items) => items.iter().map(form).collect(),
        Value::String(text) if !text.contains('_') => Value::String(String::new()),
        other => other.clone(),
    }
}

#[test]
fn the_examples_of_the_documentation_come_out_as_it_shows() {
    for (page, expected) in [
        ("quick-start/developer.md", 7),
        ("quick-start/security.md", 3),
        ("model.md", 1),
        ("../README.md", 4),
    ] {
        let count = Demo::start().run(page);
        assert_eq!(count, expected, "{page}: how many of its lines were run");
    }
}

#[test]
fn a_line_is_split_as_a_shell_does_it() {
    let variables = Variables::from([("U".to_owned(), "http://x".to_owned())]);
    let split = |line: &str| words(line, &variables);
    let expected = ["a", "http://x/y", "b c", "{\"d\":1}", ""].map(ToOwned::to_owned);
    assert_eq!(
        split("a $U/y 'b c' {\\\"d\\\":1} \"\" | z").unwrap(),
        expected
    );
    assert_eq!(
        split("a '$U'\\\n \"{'$U'}\"").unwrap(),
        ["a", "$U", "{'http://x'}"]
    );
    for open in ["a '", "a \"b", "a \\", "a |"] {
        assert_eq!(split(open), None, "{open}");
    }
}
