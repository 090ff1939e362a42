//! `SECURITY.md` names tests that there are.

#![expect(clippy::unwrap_used, reason = "the tree is there, or this fails")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

#[test]
fn every_control_has_a_test() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let document = fs::read_to_string(crates.parent().unwrap().join("SECURITY.md")).unwrap();
    let rows = document.lines().filter(|line| line.starts_with("| ") && !line.contains("**"));
    let controls = rows.skip(2).map(|row| row.rsplit(" | ").next().unwrap());
    let mut named = BTreeSet::new();
    for shown_by in controls {
        let names: Vec<&str> = shown_by.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test: {shown_by}");
        named.extend(names);
    }
    assert!(named.len() > 50, "{}", named.len());
    let mut missing = named;
    for file in sources(crates) {
        let text = fs::read_to_string(file).unwrap();
        missing.retain(|name| !text.contains(&format!("fn {name}(")));
    }
    assert!(missing.is_empty(), "{missing:?}");
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let nested = entries.flat_map(|path| match path.is_dir() {
        true => sources(&path),
        false => vec![path],
    });
    nested.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}
