//! No text that users read has a private word. The texts are taken from the sources.

use proc_macro2::{TokenStream, TokenTree};

use super::*;

/// Pages at the root of the repository, beside all of `docs/`.
const ROOT_PAGES: [&str; 5] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
];
/// Their string literals are messages, log lines and the texts of explanations; the doc comments of the first are its help.
const SHIPPED: [&str; 5] = [
    "crates/bindery",
    "crates/bindery-api",
    "crates/bindery-node",
    "crates/bindery-store",
    "crates/bindery-core",
];
const API: &str = "contract/openapi.json";

/// A text, and where it is.
struct Text {
    place: String,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The paragraphs of a page outside of code blocks.
fn paragraphs(place: &str, page: &str) -> Vec<Text> {
    let mut found = Vec::new();
    let (mut is_code, mut text, mut start) = (false, String::new(), 0);
    for (number, line) in (1..).zip(page.lines().chain([""])) {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        let is_indented = line.starts_with("    ") && text.is_empty();
        let is_item = ["* ", "- ", "|"]
            .iter()
            .any(|mark| line.trim_start().starts_with(mark));
        if is_item && !text.is_empty() {
            found.push(Text {
                place: format!("{place}:{start}"),
                text: without_code(&std::mem::take(&mut text)),
            });
        }
        if is_fence || is_code || is_indented || line.trim().is_empty() {
            if !text.is_empty() {
                found.push(Text {
                    place: format!("{place}:{start}"),
                    text: without_code(&std::mem::take(&mut text)),
                });
            }
            continue;
        }
        if text.is_empty() {
            start = number;
        }
        text.push_str(line);
        text.push('\n');
    }
    found
}

fn pages(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            pages(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            paths.push(path);
        }
    }
}

/// String literals and doc comments (which are literals to the compiler), outside of test modules.
fn literals(place: &str, tokens: TokenStream, found: &mut Vec<Text>) {
    let mut is_test_next = false;
    for token in tokens {
        match token {
            TokenTree::Group(group) => {
                let inside = group.stream().to_string();
                if inside == "cfg (test)" {
                    is_test_next = true;
                } else if is_test_next && group.delimiter() == proc_macro2::Delimiter::Brace {
                    is_test_next = false;
                } else {
                    literals(place, group.stream(), found);
                }
            }
            TokenTree::Punct(punct) if punct.as_char() == ';' => is_test_next = false,
            TokenTree::Literal(literal) => {
                let text = literal.to_string();
                // A message has several words; names and SQL of one word are not prose.
                if text.contains('"') && text.split_whitespace().count() > 1 {
                    found.push(Text {
                        place: format!("{place}:{}", literal.span().start().line),
                        text: without_code(&text),
                    });
                }
            }
            TokenTree::Ident(_) | TokenTree::Punct(_) => {}
        }
    }
}

/// Messages and log lines of everything that ships; with `docs`, doc comments too.
fn texts_of_crate(krate: &str, is_help: bool) -> Vec<Text> {
    let root = root();
    let (mut paths, mut found) = (Vec::new(), Vec::new());
    sources(&root.join(krate).join("src"), &mut paths).unwrap();
    for path in paths {
        let name = path.strip_prefix(&root).unwrap().display().to_string();
        if name.contains("/tests") || name.contains("/fuzzing") || name.contains("/conformance") {
            continue;
        }
        let source = read(&path);
        let source: Vec<&str> = if is_help {
            source.lines().collect()
        } else {
            let is_comment = |line: &&str| line.trim_start().starts_with("//");
            // Empty lines keep the line numbers.
            source
                .lines()
                .map(|line| if is_comment(&line) { "" } else { line })
                .collect()
        };
        let tokens = source
            .join("\n")
            .parse()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        literals(&name, tokens, &mut found);
    }
    found
}

/// Every summary and description of the OpenAPI document.
fn descriptions(place: &str, value: &serde_json::Value, found: &mut Vec<Text>) {
    match value {
        serde_json::Value::Object(members) => {
            for (name, member) in members {
                let place = format!("{place}/{name}");
                match member.as_str() {
                    Some(text) if ["summary", "description", "title"].contains(&name.as_str()) => {
                        let text = without_code(text);
                        found.push(Text { place, text });
                    }
                    _ => descriptions(&place, member, found),
                }
            }
        }
        serde_json::Value::Array(items) => {
            for item in items {
                descriptions(place, item, found);
            }
        }
        _ => {}
    }
}

/// Each private word of these texts, with its place and what to write instead.
fn private_words_in(texts: &[Text], words: &[PrivateWord]) -> Vec<String> {
    let mut found = Vec::new();
    for Text { place, text } in texts {
        let text = normalize(text);
        for PrivateWord { word, instead } in words {
            if count(&text, word) > 0 {
                found.push(format!("{place}: `{word}`; write: {instead}"));
            }
        }
    }
    found
}

/// Fails with each private word in these texts.
#[track_caller]
fn check(texts: &[Text], at_least: usize) {
    let found = private_words_in(texts, &private_words(&root()).unwrap());
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert!(
        texts.len() >= at_least,
        "only {} texts were found",
        texts.len()
    );
}

#[test]
fn documentation_has_no_private_words() {
    let root = root();
    let mut paths: Vec<PathBuf> = ROOT_PAGES.iter().map(|page| root.join(page)).collect();
    pages(&root.join("docs"), &mut paths);
    let texts: Vec<Text> = paths
        .iter()
        .flat_map(|path| {
            let name = path.strip_prefix(&root).unwrap().display().to_string();
            paragraphs(&name, &read(path))
        })
        .collect();
    check(&texts, 200);
}

#[test]
fn help_messages_and_log_lines_have_no_private_words() {
    let texts: Vec<Text> = SHIPPED
        .into_iter()
        .flat_map(|krate| texts_of_crate(krate, krate == SHIPPED[0]))
        .collect();
    check(&texts, 500);
}

#[test]
fn api_descriptions_have_no_private_words() {
    let document: serde_json::Value = serde_json::from_str(&read(&root().join(API))).unwrap();
    let mut texts = Vec::new();
    descriptions(API, &document, &mut texts);
    check(&texts, 100);
}

#[test]
fn private_words_are_found_as_whole_words_and_not_in_code() {
    let words = vec![PrivateWord {
        word: "at work".to_owned(),
        instead: "loaded".to_owned(),
    }];
    for (page, expected) in [
        ("An account at\nwork.", 1),
        ("At work, and at worker.", 1),
        ("at workers", 0),
        ("`at work` is a name", 0),
        ("```\nat work\n```", 0),
        ("    at work", 0),
    ] {
        let found = private_words_in(&paragraphs("page", page), &words);
        assert_eq!(found.len(), expected, "{page}");
    }
    let source = r#"
        /// At work in a doc comment.
        fn f() { log!("an account at work"); }
        #[cfg(test)]
        mod tests { const T: &str = "is at work"; }
    "#;
    let mut found = Vec::new();
    literals("file", source.parse().unwrap(), &mut found);
    assert_eq!(private_words_in(&found, &words).len(), 2);
    assert_eq!(
        count(
            &comments("// It is at\n// work. `at work`\nlet at = work;"),
            "at work"
        ),
        1
    );
}
