// SPDX-License-Identifier: GPL-2.0-or-later

//! Turns `hooks/<name>/hook.json` into what its programs print and what the administrator's tool
//! knows, so that no hook carries a JSON parser to answer `--help`.
//!
//! Macros instead of a build script: when that runs again, every program is built again. A program
//! that uses a macro depends on the files that the macro has read, and on no others.

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};

use proc_macro::TokenStream;
use serde_json::Value;

#[allow(dead_code, unreachable_pub)]
#[path = "../hook/manifest.rs"]
mod manifest;

use manifest::Manifest;

/// The calling program's `vdsm_hooks::hook::Program`: a hook, one of its root helpers, or its daemon.
#[proc_macro]
pub fn program(_: TokenStream) -> TokenStream {
    tokens(program_here())
}

/// The text of every `hook.json`, in the order of the hooks' names: `&[&str]`.
#[proc_macro]
pub fn catalog(_: TokenStream) -> TokenStream {
    tokens(catalog_here())
}

/// What each hook has installed besides programs, in the order of the hooks' names: the name, and files
/// of its folder with what is in them, `&[(&str, &[(&str, &[u8])])]`.
#[proc_macro]
pub fn folders(_: TokenStream) -> TokenStream {
    tokens(folders_here())
}

/// The tests of hooks, `hooks/<name>/tests.rs`, as modules called like the hooks.
#[proc_macro]
pub fn hook_tests(_: TokenStream) -> TokenStream {
    tokens(hook_tests_here())
}

fn tokens(code: Result<String, Box<dyn Error>>) -> TokenStream {
    let code = code.unwrap_or_else(|error| format!("compile_error!({:?})", error.to_string()));
    code.parse().unwrap_or_default()
}

fn program_here() -> Result<String, Box<dyn Error>> {
    let name = env::var("CARGO_BIN_NAME").map_err(|_| "program!() is for programs")?;
    let version = env::var("CARGO_PKG_VERSION")?;
    for file in files()? {
        // The others may be broken: their programs say so.
        if !folder_has(&file, &name) {
            continue;
        }
        let text = std::fs::read_to_string(&file)?;
        let at = |error: serde_json::Error| format!("{}: {error}", file.display());
        let hook = Manifest::parse(&text).map_err(at)?;
        let help = if hook.name == name {
            hook.help()
        } else if hook.helpers.contains(&name) {
            hook.help_of_helper(&name)
        } else if hook.daemons.contains(&name) {
            hook.help_of_daemon(&name)
        } else {
            // A module of that hook, which is called like the program.
            continue;
        };
        let mut description: Value = serde_json::from_str(&text).map_err(at)?;
        description["version"] = version.clone().into();
        let description = format!("{description:#}\n");
        return Ok(format!(
            "{{ {}; ::vdsm_hooks::hook::Program {{ \
             name: {name:?}, version: {version:?}, help: {help:?}, description: {description:?} }} }}",
            depends_on(&file)
        ));
    }
    Err(format!("no hook.json in hooks/ names the program {name}").into())
}

fn catalog_here() -> Result<String, Box<dyn Error>> {
    let texts: Vec<_> = files()?
        .iter()
        .map(|file| format!("include_str!({file:?})"))
        .collect();
    // A new hook is a new line of the manifest.
    let manifest = root()?.join("Cargo.toml");
    Ok(format!(
        "{{ {}; &[{}] }}",
        depends_on(&manifest),
        texts.join(", ")
    ))
}

fn folders_here() -> Result<String, Box<dyn Error>> {
    let mut code = String::new();
    for file in files()? {
        let text = std::fs::read_to_string(&file)?;
        let at = |error: serde_json::Error| format!("{}: {error}", file.display());
        let hook = Manifest::parse(&text).map_err(at)?;
        let mut names = vec!["README.md"];
        if !hook.sudo.is_empty() {
            names.push("sudoers");
        }
        names.extend(hook.files.iter().map(|one| one.source.as_str()));
        code += &format!("({:?}, &[", hook.name);
        for name in names {
            let path = file.with_file_name(name);
            code += &format!("({name:?}, include_bytes!({path:?})), ");
        }
        code += "]), ";
    }
    // A new hook is a new line of the manifest, and a new file is one of hook.json.
    Ok(format!(
        "{{ {}; {}; &[{code}] }}",
        depends_on(&root()?.join("Cargo.toml")),
        files()?
            .iter()
            .map(|file| depends_on(file))
            .collect::<Vec<_>>()
            .join("; ")
    ))
}

fn hook_tests_here() -> Result<String, Box<dyn Error>> {
    let mut code = String::new();
    for file in files()? {
        let folder = file.parent().unwrap_or(&file);
        let tests = folder.join("tests.rs");
        if tests.exists() {
            let name = folder.file_name().unwrap_or_default().to_string_lossy();
            code += &format!("#[path = {tests:?}] mod {name};\n");
        }
    }
    // A new hook is a new line of the manifest.
    Ok(code + &depends_on(&root()?.join("Cargo.toml")) + ";")
}

/// What makes the compiler build the caller again when `file` changes.
fn depends_on(file: &Path) -> String {
    format!("const _: &[u8] = include_bytes!({file:?})")
}

/// Whether the program `name` can be built from the folder of this `hook.json`.
fn folder_has(file: &Path, name: &str) -> bool {
    let folder = file.parent().unwrap_or(file);
    folder.ends_with(name) || folder.join(name).with_extension("rs").exists()
}

/// All `hook.json`, sorted.
fn files() -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let folders = std::fs::read_dir(root()?.join("hooks"))?;
    let mut files: Vec<PathBuf> = folders
        .map(|folder| Ok(folder?.path().join("hook.json")))
        .collect::<Result<_, std::io::Error>>()?;
    files.retain(|file| file.exists());
    files.sort();
    Ok(files)
}

/// The directory of the package that is being built.
fn root() -> Result<PathBuf, Box<dyn Error>> {
    Ok(PathBuf::from(env::var("CARGO_MANIFEST_DIR")?))
}
