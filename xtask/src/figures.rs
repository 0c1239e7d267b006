//! `cargo xtask figures`: lengths of files and functions, circles of imports, and private words left in comments. The tests fail
//! beyond the bounds.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use syn::visit::{self, Visit};

use crate::run::say;
use crate::words;

/// A file with more lines, without its tests, needs a row with a reason in [`LONG_FILES`].
const FILE_LINES_MAX: usize = 400;
const LONG_FILES: &str = "xtask/long-files.tsv";
/// Functions with more lines are shown.
const FUNCTION_LINES_SHOWN: usize = 60;
/// A circle of imports in this crate may have this many files.
const CRATE_OF_CIRCLES: &str = "crates/bindery-api/src";
const CIRCLE_MAX: usize = 4;

/// The figures of one file.
#[derive(Debug)]
struct File {
    path: String,
    lines: usize,
    /// The longest first.
    functions: Vec<(usize, String)>,
    /// Every path of several names in it, and those of its `use` items.
    paths: Vec<Vec<String>>,
}

/// Prints the figures.
pub(crate) fn print(root: &Path) -> Result<()> {
    let files = files(root)?;
    let total: usize = files.iter().map(|file| file.lines).sum();
    say(&format!(
        "{} files, {total} lines without tests",
        files.len()
    ));
    say(&format!(
        "\nFiles over {FILE_LINES_MAX} lines, with the reason:"
    ));
    let reasons = reasons(root)?;
    let mut long: Vec<&File> = files.iter().filter(|file| file.is_long()).collect();
    long.sort_by_key(|file| std::cmp::Reverse(file.lines));
    for file in long {
        let reason = reasons.get(&file.path).map_or("no reason", String::as_str);
        say(&format!("{:5}  {}: {reason}", file.lines, file.path));
    }
    say(&format!("\nFunctions over {FUNCTION_LINES_SHOWN} lines:"));
    let mut functions: Vec<_> = files
        .iter()
        .flat_map(|file| file.functions.iter().map(move |one| (one, &file.path)))
        .filter(|((lines, _), _)| *lines > FUNCTION_LINES_SHOWN)
        .collect();
    functions.sort_by(|one, other| other.cmp(one));
    for ((lines, name), path) in functions {
        say(&format!("{lines:5}  {name} in {path}"));
    }
    let imports = imports(&files, CRATE_OF_CIRCLES);
    say(&format!(
        "\nCircles of imports in {CRATE_OF_CIRCLES}, at most {CIRCLE_MAX} files:"
    ));
    for circle in circles(&imports).iter().filter(|circle| circle.len() > 1) {
        say(&format!("{:5}  {}", circle.len(), circle.join(", ")));
    }
    let left = words::left_in_comments(root)?;
    say("\nPrivate words (xtask/private-words.tsv) left in comments:");
    for (folder, count) in &left {
        say(&format!("{count:5}  {folder}"));
    }
    say(&format!("{:5}  in all", left.values().sum::<usize>()));
    Ok(())
}

impl File {
    fn is_long(&self) -> bool {
        self.lines > FILE_LINES_MAX
    }
}

/// All files that are not tests.
fn files(root: &Path) -> Result<Vec<File>> {
    let mut paths = Vec::new();
    for krate in fs::read_dir(root.join("crates"))?.flatten() {
        find_sources(&krate.path().join("src"), &mut paths)?;
    }
    find_sources(&root.join("xtask/src"), &mut paths)?;
    paths.sort();
    paths.iter().map(|path| measure(root, path)).collect()
}

fn find_sources(folder: &Path, paths: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let is_tests = path.file_stem().is_some_and(|name| name == "tests");
        if is_tests {
            continue;
        }
        if path.is_dir() {
            find_sources(&path, paths)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
    Ok(())
}

fn measure(root: &Path, path: &Path) -> Result<File> {
    let text = fs::read_to_string(path)?;
    let parsed = syn::parse_file(&text).with_context(|| path.display().to_string())?;
    let mut seen = Seen::default();
    seen.visit_file(&parsed);
    seen.functions.sort_unstable_by(|one, other| other.cmp(one));
    Ok(File {
        path: path.strip_prefix(root)?.display().to_string(),
        lines: text.lines().count() - seen.test_lines,
        functions: seen.functions,
        paths: seen.paths,
    })
}

/// The figures of the items of a file.
#[derive(Default)]
struct Seen {
    functions: Vec<(usize, String)>,
    paths: Vec<Vec<String>>,
    test_lines: usize,
}

fn lines(item: &impl syn::spanned::Spanned) -> usize {
    let span = item.span();
    span.end().line - span.start().line + 1
}

/// Whether an item exists in tests only.
fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let says_test = |list: &syn::MetaList| list.tokens.to_string() == "test";
        attribute.path().is_ident("cfg") && attribute.meta.require_list().is_ok_and(says_test)
    })
}

impl<'ast> Visit<'ast> for Seen {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if let syn::Item::Mod(module) = item
            && is_test(&module.attrs)
        {
            self.test_lines += lines(module);
            return;
        }
        visit::visit_item(self, item);
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        let name = function.sig.ident.to_string();
        self.functions.push((lines(&function.block), name));
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        let name = function.sig.ident.to_string();
        self.functions.push((lines(&function.block), name));
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        flatten(&item.tree, Vec::new(), &mut self.paths);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names = path.segments.iter().map(|one| one.ident.to_string());
        let names: Vec<String> = names.collect();
        if names.len() > 1 {
            self.paths.push(names);
        }
        visit::visit_path(self, path);
    }
}

/// Each path of a `use` item.
fn flatten(tree: &syn::UseTree, mut before: Vec<String>, paths: &mut Vec<Vec<String>>) {
    match tree {
        syn::UseTree::Path(path) => {
            before.push(path.ident.to_string());
            flatten(&path.tree, before, paths);
        }
        syn::UseTree::Group(group) => {
            for tree in &group.items {
                flatten(tree, before.clone(), paths);
            }
        }
        syn::UseTree::Name(name) => {
            before.push(name.ident.to_string());
            paths.push(before);
        }
        syn::UseTree::Rename(name) => {
            before.push(name.ident.to_string());
            paths.push(before);
        }
        syn::UseTree::Glob(_) => paths.push(before),
    }
}

/// Which module of a crate names which other.
fn imports(files: &[File], folder: &str) -> BTreeMap<String, BTreeSet<String>> {
    let modules: BTreeMap<String, &File> = files
        .iter()
        .filter_map(|file| Some((module_of(&file.path, folder)?, file)))
        .collect();
    let known: BTreeSet<String> = modules.keys().cloned().collect();
    let imports = modules.iter().map(|(module, file)| {
        let named = file.paths.iter();
        let named = named.filter_map(|path| resolve(module, path, &known));
        let others = named.filter(|other| other != module);
        (module.clone(), others.collect())
    });
    imports.collect()
}

/// `crates/x/src/a/b.rs` as `a::b`, the root of the crate as nothing.
fn module_of(path: &str, folder: &str) -> Option<String> {
    let inside = path.strip_prefix(folder)?.strip_prefix('/')?;
    let module = inside.strip_suffix(".rs")?.replace('/', "::");
    Some(if module == "lib" {
        String::new()
    } else {
        module
    })
}

/// The module that a path leads into.
fn resolve(module: &str, path: &[String], known: &BTreeSet<String>) -> Option<String> {
    let mut base: Vec<&str> = module.split("::").filter(|name| !name.is_empty()).collect();
    let mut rest: Vec<&str> = path.iter().map(String::as_str).collect();
    match rest.first().copied() {
        Some("crate") => {
            base.clear();
            rest.remove(0);
        }
        Some("self") => {
            rest.remove(0);
        }
        Some("super") => {
            while rest.first() == Some(&"super") {
                rest.remove(0);
                base.pop();
            }
        }
        Some(first) if known.contains(&[&base[..], &[first]].concat().join("::")) => {}
        // Another crate, or an item that was imported.
        _ => return None,
    }
    base.extend(rest);
    while !base.is_empty() {
        let name = base.join("::");
        if known.contains(&name) {
            return Some(name);
        }
        base.pop();
    }
    None
}

/// Modules that reach each other, the largest circle first (Tarjan's algorithm).
fn circles(imports: &BTreeMap<String, BTreeSet<String>>) -> Vec<Vec<String>> {
    let mut walk = Walk {
        imports,
        entered: BTreeMap::new(),
        lowest: BTreeMap::new(),
        stack: Vec::new(),
        found: Vec::new(),
    };
    for module in imports.keys() {
        if !walk.entered.contains_key(module.as_str()) {
            walk.enter(module);
        }
    }
    let mut found = walk.found;
    found.sort_by_key(|circle| std::cmp::Reverse(circle.len()));
    found
}

struct Walk<'a> {
    imports: &'a BTreeMap<String, BTreeSet<String>>,
    entered: BTreeMap<&'a str, usize>,
    lowest: BTreeMap<&'a str, usize>,
    stack: Vec<&'a str>,
    found: Vec<Vec<String>>,
}

impl<'a> Walk<'a> {
    fn enter(&mut self, module: &'a str) {
        let number = self.entered.len();
        self.entered.insert(module, number);
        self.lowest.insert(module, number);
        self.stack.push(module);
        for other in self.imports.get(module).into_iter().flatten() {
            let seen = self.entered.get(other.as_str()).copied();
            let reached = match seen {
                None => {
                    self.enter(other);
                    self.lowest[other.as_str()]
                }
                Some(number) if self.stack.contains(&other.as_str()) => number,
                Some(_) => continue,
            };
            let lowest = self.lowest[module].min(reached);
            self.lowest.insert(module, lowest);
        }
        if self.lowest[module] == number {
            let place = self.stack.iter().position(|one| *one == module);
            let circle = self.stack.split_off(place.unwrap_or_default());
            let mut circle: Vec<String> = circle.into_iter().map(ToOwned::to_owned).collect();
            circle.sort_unstable();
            self.found.push(circle);
        }
    }
}

/// Why each long file is long.
fn reasons(root: &Path) -> Result<BTreeMap<String, String>> {
    let text = fs::read_to_string(root.join(LONG_FILES)).context(LONG_FILES)?;
    let rows = text.lines().skip(1).map(|line| {
        let (path, reason) = line
            .split_once('\t')
            .context("a path, a tab and a reason")?;
        Ok((path.to_owned(), reason.to_owned()))
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A handler works with this module. It knows no family of operations.
    const CALL: &str = "call";

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    #[test]
    fn every_long_file_has_a_reason_and_no_other_has_one() {
        let files = files(&root()).unwrap();
        let long = files.iter().filter(|file| file.is_long());
        let long: BTreeSet<String> = long.map(|file| file.path.clone()).collect();
        let reasons = reasons(&root()).unwrap();
        let explained: BTreeSet<String> = reasons.into_keys().collect();
        assert_eq!(
            long, explained,
            "split the file, or say why not in {LONG_FILES}"
        );
    }

    #[test]
    fn no_large_circle_of_files_imports_itself() {
        let files = files(&root()).unwrap();
        let imports = imports(&files, CRATE_OF_CIRCLES);
        assert!(imports.len() > 50, "{} files were found", imports.len());
        for circle in circles(&imports) {
            assert!(circle.len() <= CIRCLE_MAX, "{circle:?}");
        }
    }

    #[test]
    fn what_a_handler_works_with_knows_no_family_of_operations() {
        let files = files(&root()).unwrap();
        let imports = imports(&files, CRATE_OF_CIRCLES);
        let table = &imports["operations"];
        let is_family = |module: &str| {
            let first = module.split("::").next().unwrap_or_default();
            module != "change"
                && module != "operation"
                && first != "openapi"
                && first != "wire"
                && table.contains(module)
        };
        assert!(
            table.iter().filter(|module| is_family(module)).count() > 10,
            "{table:?}"
        );
        let (mut reached, mut next) = (BTreeSet::new(), vec![CALL]);
        while let Some(module) = next.pop() {
            if reached.insert(module) {
                next.extend(imports[module].iter().map(String::as_str));
            }
        }
        let families: Vec<_> = reached
            .into_iter()
            .filter(|module| is_family(module))
            .collect();
        assert_eq!(families, [""; 0], "`{CALL}` reaches them");
    }

    #[test]
    fn circles_are_found() {
        let imports = |rows: &[(&str, &[&str])]| {
            let rows = rows.iter().map(|(module, others)| {
                let others = others.iter().map(|other| (*other).to_owned());
                ((*module).to_owned(), others.collect())
            });
            rows.collect::<BTreeMap<_, BTreeSet<_>>>()
        };
        let found = circles(&imports(&[
            ("a", &["b"]),
            ("b", &["c", "d"]),
            ("c", &["a"]),
            ("d", &["e"]),
            ("e", &[]),
        ]));
        assert_eq!(found[0], ["a", "b", "c"]);
        assert_eq!(found.len(), 3);
    }
}
