//! The dependency rule of ARCHITECTURE.md, read off the `use` lines and paths of the sources.

use std::fs;
use std::path::{Path, PathBuf};

use super::harness::ringbeam::project_file;

/// A layer, and what of this project it may name.
const LAYERS: [(&str, &[&str]); 11] = [
    ("engine/src/sys", &["limits", "sys"]),
    ("engine/src/problem.rs", &[]),
    ("engine/src/tls", &["limits", "tls"]),
    (
        "engine/src/fleet",
        &["fleet", "problem", "ringbeam_proto", "tls"],
    ),
    (
        "engine/src/config",
        &[
            "config",
            "fleet",
            "limits",
            "open5gs",
            "problem",
            "radius",
            "ringbeam_proto",
        ],
    ),
    (
        "engine/src/radius",
        &["limits", "problem", "radius", "ringbeam_proto"],
    ),
    (
        "engine/src/open5gs",
        &["limits", "open5gs", "problem", "ringbeam_proto"],
    ),
    (
        "engine/src/registry",
        &[
            "config",
            "fleet",
            "limits",
            "open5gs",
            "problem",
            "radius",
            "registry",
            "ringbeam_proto",
            "sys",
        ],
    ),
    ("engine/src/resolver", &["limits", "resolver", "sys"]),
    (
        "engine/src/doctor",
        &["config", "doctor", "fleet", "limits", "problem", "sys"],
    ),
    (
        "engine/src/shard",
        &[
            "fleet",
            "limits",
            "resolver",
            "ringbeam_proto",
            "shard",
            "sys",
            "tls",
        ],
    ),
];

#[test]
fn layers_name_only_what_is_below_them() {
    for (layer, allowed) in LAYERS {
        for file in sources(&project_file(layer)) {
            let text = fs::read_to_string(&file).unwrap();
            for (number, line) in text.lines().enumerate() {
                for named in names(line) {
                    assert!(
                        allowed.contains(&named.as_str()),
                        "{}:{}: {layer} may not name {named}",
                        file.display(),
                        number + 1
                    );
                }
            }
        }
    }
}

#[test]
fn the_protocol_knows_no_input_or_output() {
    for file in sources(&project_file("engine/proto/src")) {
        let text = fs::read_to_string(&file).unwrap();
        // Tests may use what they like.
        let code = text.split("#[cfg(test)]").next().unwrap();
        for forbidden in ["std::", "unsafe", "extern crate std", "thread", "Instant"] {
            let is_test = file
                .components()
                .any(|part| part.as_os_str().to_string_lossy().starts_with("tests"));
            let found = code
                .lines()
                .find(|line| line.contains(forbidden) && !line.trim().starts_with("//"));
            let is_allowed =
                is_test || found.is_none_or(|line| line.contains("forbid(unsafe_code)"));
            assert!(is_allowed, "{}: {found:?}", file.display());
        }
    }
}

#[test]
fn unsafe_code_stands_in_sys_alone() {
    for file in sources(&project_file("engine/src")) {
        let text = fs::read_to_string(&file).unwrap();
        let is_sys = file.starts_with(project_file("engine/src/sys"));
        assert!(is_sys || !text.contains("unsafe {"), "{}", file.display());
    }
}

/// The modules and crates of this project that a line names.
fn names(line: &str) -> Vec<String> {
    if line.trim().starts_with("//") {
        return Vec::new();
    }
    let mut names = Vec::new();
    for (position, _) in line.match_indices("crate::") {
        let before = line[..position].chars().last();
        if before.is_none_or(|character| !character.is_alphanumeric() && character != '_') {
            names.push(word(&line[position + "crate::".len()..]));
        }
    }
    if line.contains("ringbeam_proto::") {
        names.push("ringbeam_proto".to_owned());
    }
    names
}

fn word(text: &str) -> String {
    text.chars()
        .take_while(|character| character.is_alphanumeric() || *character == '_')
        .collect()
}

fn sources(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() || path.extension().is_some_and(|extension| extension == "rs") {
            files.extend(sources(&path));
        }
    }
    assert!(!files.is_empty(), "{}", path.display());
    files
}
