// SPDX-License-Identifier: GPL-2.0-or-later

//! The hooks of the suite: what their `hook.json` said when the tool was built.

use vdsm_hooks::hook::manifest::Manifest;
use vdsm_hooks::{Context as _, Error, Result};

const DESCRIPTIONS: &[&str] = vdsm_hooks_manifest::catalog!();
/// Files of a hook's folder: name and content.
type Files = &'static [(&'static str, &'static [u8])];
/// What hooks have installed besides programs: name of the hook, and files of its folder.
const FOLDERS: &[(&str, Files)] = vdsm_hooks_manifest::folders!();

/// All hooks, in name order.
pub(crate) fn all() -> Result<Vec<Manifest>> {
    let parsed = DESCRIPTIONS.iter().map(|text| Manifest::parse(text));
    parsed
        .collect::<std::result::Result<_, _>>()
        .context("the built-in descriptions")
}

/// The hooks called `names`; all of them if there are no names.
pub(crate) fn find(names: &[String]) -> Result<Vec<Manifest>> {
    let all = all()?;
    if names.is_empty() {
        return Ok(all);
    }
    let known = |name: &String| {
        let hook = all.iter().find(|hook| hook.name == *name);
        hook.cloned().ok_or_else(|| unknown(name, &all))
    };
    names.iter().map(known).collect()
}

/// What was in this file of the hook's folder: `README.md`, `sudoers` and the files that `hook.json` names.
pub(crate) fn file(hook: &str, name: &str) -> Option<&'static [u8]> {
    let (_, files) = FOLDERS.iter().find(|(folder, _)| *folder == hook)?;
    let (_, content) = files.iter().find(|(file, _)| *file == name)?;
    Some(content)
}

fn unknown(name: &str, all: &[Manifest]) -> Error {
    let names: Vec<_> = all.iter().map(|hook| hook.name.as_str()).collect();
    Error::new(format!(
        "{name:?} is not a hook of this suite, which has: {}",
        names.join(", ")
    ))
}
