//! Checks the documentation: every relative link and anchor leads somewhere, the table of contents names
//! every page, and every section of the rule book that code or text refers to exists.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Pages at the root of the repository, beside all of `docs/`.
const ROOT_PAGES: [&str; 5] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
];

/// Folders whose sources may refer to the rule book.
const SOURCES: [&str; 4] = ["crates", "xtask", "docs", "e2e"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The files below a folder with one of these extensions, relative to the repository.
fn files(folder: &str, extensions: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(root().join(&folder)).expect("a folder of the repository");
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{folder}/{name}");
            let extension = Path::new(&name).extension().and_then(|one| one.to_str());
            if entry.path().is_dir() {
                if !["node_modules", "target"].contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if extension.is_some_and(|one| extensions.contains(&one)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn pages() -> Vec<String> {
    let mut pages = files("docs", &["md"]);
    pages.extend(ROOT_PAGES.map(ToOwned::to_owned));
    pages
}

/// The lines of a page outside of code blocks.
fn prose(page: &str) -> Vec<&str> {
    let mut is_code = false;
    let mut lines = Vec::new();
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code && !line.starts_with("    ") {
            lines.push(line);
        }
    }
    lines
}

/// A line without the text between backticks.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect()
}

/// The targets of the links and images of a page.
fn links(page: &str) -> Vec<String> {
    let text: Vec<String> = prose(page).into_iter().map(without_code).collect();
    let text = text.join("\n");
    let targets = text.split("](").skip(1);
    targets
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.trim().to_owned())
        .collect()
}

/// The anchor that renderers give a heading.
fn slug(heading: &str) -> String {
    let mut slug = String::new();
    for character in heading.trim().chars() {
        if character.is_alphanumeric() || character == '-' || character == '_' {
            slug.extend(character.to_lowercase());
        } else if character.is_whitespace() {
            slug.push('-');
        }
    }
    slug
}

/// Every anchor of a page: of its headings, and explicit ones.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for line in prose(page) {
        if let Some(heading) = line.strip_prefix('#') {
            anchors.insert(slug(heading.trim_start_matches('#')));
        }
        let ids = line.split("<a id=\"").skip(1);
        for id in ids.filter_map(|rest| rest.split_once('"')) {
            assert!(anchors.insert(id.0.to_owned()), "`{}` is given twice", id.0);
        }
    }
    anchors
}

/// A link of a page, as a path from the root of the repository; none, if it leads out of it.
fn resolve(page: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in Path::new(target).components() {
        match part {
            Component::ParentDir => {
                parts.pop()?;
            }
            Component::Normal(name) => parts.push(name.to_str()?),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts.join("/"))
}

fn is_outside(target: &str) -> bool {
    ["http://", "https://", "mailto:"]
        .iter()
        .any(|scheme| target.starts_with(scheme))
}

/// What is wrong with the links of a page.
fn broken(page: &str, texts: &BTreeMap<String, String>) -> Vec<String> {
    let mut broken = Vec::new();
    for target in links(&texts[page]) {
        if is_outside(&target) {
            continue;
        }
        let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
        let path = match path {
            "" => Some(page.to_owned()),
            path => resolve(page, path),
        };
        let Some(path) = path.filter(|path| root().join(path).exists()) else {
            broken.push(format!("{page}: `{target}` leads nowhere"));
            continue;
        };
        // The built book has only docs/.
        if page.starts_with("docs/") && !path.starts_with("docs/") {
            broken.push(format!("{page}: `{target}` leads out of docs/"));
        }
        let has_anchor = || {
            let text = texts.get(&path);
            text.is_some_and(|text| anchors(text).contains(anchor))
        };
        if !anchor.is_empty() && !has_anchor() {
            broken.push(format!("{page}: `{target}` has no such anchor"));
        }
    }
    broken
}

fn texts() -> BTreeMap<String, String> {
    let pages = pages().into_iter();
    pages
        .map(|page| {
            let text = read(&page);
            (page, text)
        })
        .collect()
}

#[test]
fn every_relative_link_and_anchor_of_the_documentation_leads_somewhere() {
    let texts = texts();
    let count: usize = texts.values().map(|text| links(text).len()).sum();
    assert!(count > 100, "only {count} links were found");
    let broken: Vec<String> = texts.keys().flat_map(|page| broken(page, &texts)).collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_table_of_contents_names_every_page_of_the_book_once() {
    let mut named: Vec<String> = links(&read("docs/SUMMARY.md"));
    named.push("SUMMARY.md".to_owned());
    named.sort();
    let pages: Vec<String> = files("docs", &["md"])
        .iter()
        .filter_map(|page| page.strip_prefix("docs/"))
        .map(ToOwned::to_owned)
        .collect();
    assert_eq!(named, pages);
}

/// The pages and sections of the rule book that a text refers to by path and section sign.
fn references(text: &str) -> Vec<(String, String)> {
    let mut references = Vec::new();
    for rest in text.split("rules/").skip(1) {
        let Some((page, rest)) = rest.split_once(".md") else {
            continue;
        };
        // `page.md` §7, §10
        let mut rest = rest.trim_start_matches('`');
        while let Some(after) = rest.trim_start_matches([',', ' ']).strip_prefix('§') {
            let end = after.find(|c: char| !c.is_ascii_digit());
            let (number, after) = after.split_at(end.unwrap_or(after.len()));
            references.push((page.to_owned(), format!("s{number}")));
            rest = after;
        }
    }
    references
}

#[test]
fn every_section_of_the_rule_book_that_is_referred_to_exists() {
    for folder in SOURCES {
        for file in files(folder, &["rs", "md", "py", "ts"]) {
            for (page, section) in references(&read(&file)) {
                let path = format!("docs/rules/{page}.md");
                assert!(root().join(&path).exists(), "{file}: there is no {path}");
                assert!(
                    anchors(&read(&path)).contains(&section),
                    "{file}: {path} has no section {section}"
                );
            }
        }
    }
}

#[test]
fn broken_links_anchors_and_sections_are_found() {
    let page =
        "# One *two*, `three`: 4\n[a](x.md#y) `[b](z)`\n```\n[c](w)\n```\n<a id=\"s7\"></a>\n";
    assert_eq!(links(page), ["x.md#y"]);
    let expected = ["one-two-three-4", "s7"].map(ToOwned::to_owned);
    assert_eq!(anchors(page), BTreeSet::from(expected));
    assert_eq!(
        resolve("docs/rules/api.md", "../x.md").as_deref(),
        Some("docs/x.md")
    );
    assert_eq!(resolve("README.md", "../x.md"), None);
    let texts = BTreeMap::from([
        (
            "docs/README.md".to_owned(),
            "# A\n[1](#a) [2](#b) [3](none.md) [4](../README.md) [5](https://x)".to_owned(),
        ),
        ("README.md".to_owned(), String::new()),
    ]);
    let wrong = broken("docs/README.md", &texts);
    assert_eq!(wrong.len(), 3, "{wrong:?}");
    assert_eq!(
        references("(`docs/rules/authorization.md` §7, §10; docs/rules/api.md §3)"),
        [
            ("authorization", "s7"),
            ("authorization", "s10"),
            ("api", "s3")
        ]
        .map(|(page, section)| (page.to_owned(), section.to_owned()))
    );
}
