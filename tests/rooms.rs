// SPDX-License-Identifier: GPL-2.0-or-later

//! The rooms of the library are on floors: imports go down only, and in no circle.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(missing_docs)]

use crate::support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use support::{hooks, root};

/// From the ground. A room may import from its own floor and from those before it.
const FLOORS: [&[&str]; 10] = [
    &["error"],
    &["finding", "paths"],
    &["xml", "json", "props"],
    &["host"],
    &["hook"],
    &["libvirt"],
    &["vdsm"],
    &["image"],
    &["storage"],
    &["runner"],
];

/// A module's place: `host/files`.
pub(crate) type Module = String;

/// The library's files, without its programs, and what is in them before their tests.
pub(crate) fn modules() -> BTreeMap<Module, String> {
    let mut found = BTreeMap::new();
    collect(&root().join("src"), "", &mut found);
    found
}

fn collect(directory: &Path, place: &str, found: &mut BTreeMap<Module, String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        // Programs and other packages.
        let is_ours = !(place.is_empty() && (name == "bin" || path.join("Cargo.toml").exists()));
        if path.is_dir() && is_ours {
            collect(&path, &format!("{place}{name}/"), found);
        } else if path.extension().is_some_and(|extension| extension == "rs") && name != "lib" {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            found.insert(format!("{place}{name}"), code.to_owned());
        }
    }
}

/// The paths that a tree of imports names: `a::{self, b::C}` is `a` and `a::b::C`.
fn paths(tree: &str, before: &str, found: &mut Vec<String>) {
    let tree = tree.trim();
    if let Some(list) = tree.strip_prefix('{') {
        let list = list.strip_suffix('}').unwrap();
        let (mut depth, mut from) = (0, 0);
        for (at, c) in list.char_indices().chain([(list.len(), ',')]) {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    if !list[from..at].trim().is_empty() {
                        paths(&list[from..at], before, found);
                    }
                    from = at + 1;
                }
                _ => {}
            }
        }
    } else if let Some((first, rest)) = tree.split_once("::") {
        paths(rest, &format!("{before}{first}/"), found);
    } else {
        let name = tree.split(" as ").next().unwrap();
        let path = match name {
            "self" => before.trim_end_matches('/').to_owned(),
            _ => format!("{before}{name}"),
        };
        found.push(path);
    }
}

/// What a module imports, as paths from the library's root.
pub(crate) fn imports(module: &str, code: &str) -> Vec<String> {
    let parent = module.rsplit_once('/').map_or("", |(parent, _)| parent);
    let mut found = Vec::new();
    for line in code.split(';') {
        let Some((_, tree)) = line.rsplit_once("use ") else {
            continue;
        };
        let mut named = Vec::new();
        paths(tree, "", &mut named);
        for path in named {
            let (first, rest) = path.split_once('/').unwrap_or((&path, ""));
            match first {
                "crate" => found.push(rest.to_owned()),
                "self" => found.push(format!("{module}/{rest}")),
                "super" => found.push(match rest.strip_prefix("super/") {
                    None => format!("{parent}/{rest}"),
                    Some(rest) => {
                        let above = parent.rsplit_once('/').map_or("", |(above, _)| above);
                        format!("{above}/{rest}")
                    }
                }),
                _ => {}
            }
        }
    }
    // And what is written out.
    let written = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    for line in written.filter(|line| !line.contains("use ")) {
        for path in line.split("crate::").skip(1) {
            let end = path.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
            found.push(path[..end.unwrap_or(path.len())].replace("::", "/"));
        }
    }
    found
}

/// For each module the others that it imports from.
pub(crate) fn imported() -> BTreeMap<Module, BTreeSet<Module>> {
    let modules = modules();
    let module_of = |path: &str| {
        let mut path = path.trim_matches('/');
        while !modules.contains_key(path) {
            path = path.rsplit_once('/')?.0;
        }
        Some(path.to_owned())
    };
    modules
        .iter()
        .map(|(module, code)| {
            let from = imports(module, code);
            let mut from: BTreeSet<_> = from.iter().filter_map(|path| module_of(path)).collect();
            from.remove(module);
            (module.clone(), from)
        })
        .collect()
}

fn floor(module: &str) -> usize {
    let room = module.split('/').next().unwrap();
    let floor = FLOORS.iter().position(|rooms| rooms.contains(&room));
    floor.unwrap_or_else(|| panic!("src/{room} is on no floor: tests/rooms.rs lists them"))
}

#[test]
fn imports_go_down() {
    let imported = imported();
    assert!(imported.len() > 60, "{imported:?}");
    let mut climbing = Vec::new();
    for (module, others) in &imported {
        for other in others {
            if floor(other) > floor(module) {
                climbing.push(format!(
                    "src/{module}.rs imports from src/{other}.rs, which is above it"
                ));
            }
        }
    }
    assert!(climbing.is_empty(), "{}", climbing.join("\n"));
}

#[test]
fn no_imports_in_a_circle() {
    let mut left = imported();
    // What imports nothing that is left, or is imported by nothing that is left, is in no circle.
    loop {
        let before = left.len();
        let sources: BTreeSet<_> = left.values().flatten().cloned().collect();
        let names: BTreeSet<_> = left.keys().cloned().collect();
        left.retain(|module, others| {
            others.retain(|other| names.contains(other));
            !others.is_empty() && sources.contains(module)
        });
        if left.len() == before {
            break;
        }
    }
    assert!(left.is_empty(), "these import each other: {left:#?}");
}

/// A hook's name in quotes, where it is no name of a custom property: those belong to the engine.
#[test]
fn the_library_knows_no_hook_by_name() {
    let hooks = hooks();
    let properties: BTreeSet<_> = hooks
        .iter()
        .flat_map(|hook| &hook.properties)
        .map(|property| &property.name)
        .collect();
    for (module, code) in modules() {
        for hook in hooks.iter().filter(|hook| !properties.contains(&hook.name)) {
            let quoted = format!("\"{}\"", hook.name);
            assert!(
                !code.contains(&quoted),
                "src/{module}.rs knows the hook {}: its caller should pass that",
                hook.name
            );
        }
    }
}

/// The constants of a file that are paths of the host.
fn host_paths(code: &str) -> impl Iterator<Item = &str> {
    code.lines().filter_map(|line| {
        let (declared, value) = line.split_once(": &str = \"")?;
        let path = value.strip_suffix("\";")?;
        (declared.contains("const ") && path.starts_with('/')).then_some(path)
    })
}

#[test]
fn a_path_of_the_host_is_written_once() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut add = |place: String, code: &str| {
        for path in host_paths(code) {
            places
                .entry(path.to_owned())
                .or_default()
                .push(place.clone());
        }
    };
    for (module, code) in modules() {
        add(format!("src/{module}.rs"), &code);
    }
    for hook in hooks() {
        let folder = root().join("hooks").join(&hook.name);
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if name.ends_with(".rs") && name != "tests.rs" {
                let code = fs::read_to_string(&path).unwrap();
                add(format!("hooks/{}/{name}", hook.name), &code);
            }
        }
    }
    assert!(places.len() > 20, "{places:?}");
    for (path, places) in places {
        assert!(
            places.len() == 1,
            "{path} is written in {}: once is enough",
            places.join(" and ")
        );
    }
}
