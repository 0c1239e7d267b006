//! Words that only this project used (`xtask/private-words.tsv`). Texts that users read must not contain them: documentation, help,
//! messages, log lines and API descriptions. In comments they are only counted, by `cargo xtask figures`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

const WORDS: &str = "xtask/private-words.tsv";

/// A word or phrase, in lower case, and what to write instead.
#[derive(Debug)]
struct PrivateWord {
    word: String,
    #[cfg_attr(not(test), expect(dead_code, reason = "only the tests name it"))]
    instead: String,
}

fn private_words(root: &Path) -> Result<Vec<PrivateWord>> {
    let text = fs::read_to_string(root.join(WORDS)).context(WORDS)?;
    let rows = text.lines().skip(1).map(|line| {
        let (word, instead) = line
            .split_once('\t')
            .context("a word, a tab and what to write instead")?;
        Ok(PrivateWord {
            word: word.to_lowercase(),
            instead: instead.to_owned(),
        })
    });
    rows.collect()
}

/// A text in lower case: its words, each followed by the punctuation and space behind it. A phrase matches across line breaks.
fn normalize(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").to_lowercase()
}

/// How often a word or phrase is in a normalized text, as whole words.
fn count(text: &str, word: &str) -> usize {
    let is_part = |character: Option<char>| {
        character.is_some_and(|character| character.is_alphanumeric() || character == '_')
    };
    text.match_indices(word)
        .filter(|(start, _)| {
            let before = text.get(..*start).and_then(|text| text.chars().next_back());
            let after = text
                .get(start + word.len()..)
                .and_then(|text| text.chars().next());
            !is_part(before) && !is_part(after)
        })
        .count()
}

/// A text without what is between backticks: names of code are not prose.
fn without_code(text: &str) -> String {
    text.split('`').step_by(2).collect::<Vec<_>>().join("`")
}

fn sources(folder: &Path, paths: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "target") {
                sources(&path, paths)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
    Ok(())
}

/// The comments of a source file, as one text. A comment at the end of a line of code counts if a space stands on both its sides.
fn comments(source: &str) -> String {
    let mut text = String::new();
    for line in source.lines() {
        let trimmed = line.trim_start();
        let comment = if trimmed.starts_with("//") {
            trimmed.trim_start_matches(['/', '!'])
        } else if let Some((_, comment)) = line.split_once(" // ") {
            comment
        } else {
            text.push_str("\n.\n");
            continue;
        };
        text.push_str(comment);
        text.push('\n');
    }
    normalize(&without_code(&text))
}

/// How many private words are left in the comments of each crate.
pub(crate) fn left_in_comments(root: &Path) -> Result<BTreeMap<String, usize>> {
    let words = private_words(root)?;
    let mut folders: Vec<String> = fs::read_dir(root.join("crates"))?
        .flatten()
        .map(|entry| format!("crates/{}", entry.file_name().to_string_lossy()))
        .collect();
    folders.extend(["fuzz", "xtask"].map(ToOwned::to_owned));
    let mut left = BTreeMap::new();
    for folder in folders {
        let mut paths = Vec::new();
        sources(&root.join(&folder), &mut paths)?;
        let mut total = 0;
        for path in paths {
            let text = comments(&fs::read_to_string(path)?);
            total += words
                .iter()
                .map(|one| count(&text, &one.word))
                .sum::<usize>();
        }
        left.insert(folder, total);
    }
    Ok(left)
}

#[cfg(test)]
mod tests;
