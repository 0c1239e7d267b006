//! Checks `docs/security.md`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const PAGE: &str = "docs/security.md";
/// Each numbered table, with the heading above it and its number of rows.
const TABLES: [(&str, usize); 2] = [
    ("## Hostile tenants, careless operators, damaged disks", 14),
    ("## What went wrong elsewhere", 25),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names of all tests below a folder.
fn add_tests(folder: &Path, tests: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder of ours").flatten() {
        let path = entry.path();
        if path.is_dir() {
            add_tests(&path, tests);
        } else if path.extension().is_some_and(|one| one == "rs") {
            let mut is_test = false;
            for line in read(&path).lines().map(str::trim) {
                let named = line.trim_start_matches("async ").strip_prefix("fn ");
                if let (true, Some(named)) = (is_test, named) {
                    tests.extend(named.split_once('(').map(|(name, _)| name.to_owned()));
                }
                // Only attributes may be between the two.
                let begins = line == "#[test]" || line.starts_with("#[tokio::test");
                is_test = begins || is_test && line.starts_with('#');
            }
        }
    }
}

/// The texts between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn is_name(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    text.bytes().all(is_word) && text.matches('_').count() > 2
}

#[test]
fn every_test_that_is_named_here_is_there() {
    let mut tests = BTreeSet::new();
    for folder in ["crates", "xtask"] {
        add_tests(&root().join(folder), &mut tests);
    }
    assert!(tests.len() > 300, "{} tests were found", tests.len());
    let page = read(&root().join(PAGE));
    let named: Vec<&str> = quoted(&page).filter(|text| is_name(text)).collect();
    for test in &named {
        assert!(tests.contains(*test), "{PAGE}: there is no test `{test}`");
    }
    for path in quoted(&page).filter(|text| text.starts_with("crates/")) {
        assert!(root().join(path).exists(), "{PAGE}: there is no `{path}`");
    }
    for (heading, rows) in TABLES {
        check_rows(&page, heading, rows);
    }
}

/// Checks that each row of the table below the heading names its tests, or says why it needs none.
fn check_rows(page: &str, heading: &str, count: usize) {
    let (_, section) = page.split_once(heading).expect("the heading");
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut rows = section.lines().filter(|line| {
        let number = line.trim_start_matches("| ").split(' ').next();
        number.is_some_and(|number| number.parse::<usize>().is_ok())
    });
    for number in 1..=count {
        let row = rows.next().expect("a row for every number");
        assert!(row.starts_with(&format!("| {number} |")), "{number}: {row}");
        let is_held = quoted(row).any(is_name);
        assert!(is_held || row.contains("Impossible"), "{row}");
    }
    assert_eq!(rows.next(), None, "{heading}");
}
