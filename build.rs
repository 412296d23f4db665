// SPDX-License-Identifier: GPL-2.0-or-later

//! Turns every `hooks/<name>/hook.json` into what its program prints and what the administrator's
//! tool knows, so that no hook carries a JSON parser to answer `--help`.
//!
//! Writes `<name>.rs` for [`program!`], for hooks, their root helpers and daemons, and
//! `catalog.rs`, the descriptions of all hooks as a list of texts in name order, to `OUT_DIR`.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

#[allow(dead_code, unreachable_pub)]
#[path = "src/describe.rs"]
mod describe;

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // A new hook changes the manifest as well. Not the whole of hooks/: no need to build everything
    // anew for a program.
    for changed in ["build.rs", "Cargo.toml", "src/describe.rs"] {
        println!("cargo::rerun-if-changed={changed}");
    }
    let mut files: Vec<PathBuf> = fs::read_dir("hooks")?
        .map(|entry| Ok(entry?.path().join("hook.json")))
        .collect::<Result<_, std::io::Error>>()?;
    files.retain(|file| file.exists());
    files.sort();
    let mut catalog = String::new();
    for file in &files {
        println!("cargo::rerun-if-changed={}", file.display());
        let text = fs::read_to_string(file)?;
        let hook =
            describe::Hook::parse(&text).map_err(|error| format!("{}: {error}", file.display()))?;
        write_program(&out, &hook.name, &hook.help(), &text)?;
        for helper in &hook.helpers {
            write_program(&out, helper, &hook.help_of_helper(helper), &text)?;
        }
        for daemon in &hook.daemons {
            write_program(&out, daemon, &hook.help_of_daemon(daemon), &text)?;
        }
        catalog += &format!("    {text:?},\n");
    }
    fs::write(out.join("catalog.rs"), format!("&[\n{catalog}]\n"))?;
    Ok(())
}

fn write_program(out: &Path, name: &str, help: &str, text: &str) -> Result<(), Box<dyn Error>> {
    let version = env::var("CARGO_PKG_VERSION")?;
    let mut description: serde_json::Value = serde_json::from_str(text)?;
    description["version"] = version.clone().into();
    let program = format!(
        "::vdsm_hooks::hook::Program {{ name: {name:?}, version: {version:?}, help: {help:?}, description: {:?} }}\n",
        format!("{description:#}\n"),
    );
    fs::write(out.join(format!("{name}.rs")), program)?;
    Ok(())
}
