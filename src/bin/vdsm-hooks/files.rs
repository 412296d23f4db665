// SPDX-License-Identifier: GPL-2.0-or-later

//! `vdsm-hooks files`: what installers and packages are made from.

use std::fmt::Write as _;
use std::process::ExitCode;

use vdsm_hooks::Result;
use vdsm_hooks::hook::manifest::{Manifest, Silenced};
use vdsm_hooks::paths::{HELPERS, HOOKS};

use crate::{catalog, print};

/// Print which files each hook consists of, for installers and packages
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// Hooks; all of the suite if none is given
    #[arg(value_name = "HOOK")]
    hooks: Vec<String>,
}

const HELP: &str = "\
Fields are separated by tabs; '-' stands for nothing. The first two of a line
are the hook and what the line is about:

  package   VDSM's own package that the hook replaces, the last release of VDSM
            with that package if there will be no more, other packages that must
            not be beside it, what it needs besides VDSM, what else it can use
            (these three with blanks between), summary
  program   path, mode, name of the built program
  link      path, '-', target: the same program at another event
  helper    path, mode, name of the built program: what the hook runs as root
  daemon    path, mode, name of the built program: what systemd runs
  file      path, mode, file in the hook's folder
  silenced  path, mode, package: a hook of another package that does the same,
            with the mode that it has there; it is not executable while this one
            is installed

A hook's lines come in this order.

Example:
  vdsm-hooks files macspoof | grep -e program -e link | cut -f 3";

/// Prints them.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut text = String::new();
    for hook in catalog::find(&arguments.hooks)? {
        describe(&hook, &mut text)?;
    }
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn describe(hook: &Manifest, text: &mut String) -> Result {
    let name = &hook.name;
    let mut line = |fields: &[&str]| writeln!(text, "{name}\t{}", fields.join("\t"));
    let last = hook.retired.as_ref().map(|retired| retired.last.as_str());
    let or_nothing = |field: Option<&str>| field.unwrap_or("-").to_owned();
    let all_of = |names: &[String]| match names {
        [] => "-".to_owned(),
        names => names.join(" "),
    };
    line(&[
        "package",
        &or_nothing(hook.replaces.as_deref()),
        &or_nothing(last),
        &all_of(&hook.conflicts),
        &all_of(&hook.requires),
        &all_of(&hook.recommends),
        &hook.summary,
    ])?;
    let mut places = hook.events.iter().map(|event| hook.place(event));
    let program = places.next().unwrap_or_default();
    line(&["program", &format!("{HOOKS}/{program}"), "0755", name])?;
    for place in places {
        line(&[
            "link",
            &format!("{HOOKS}/{place}"),
            "-",
            &format!("../{program}"),
        ])?;
    }
    for helper in &hook.helpers {
        line(&["helper", &format!("{HELPERS}/{helper}"), "0755", helper])?;
    }
    for daemon in &hook.daemons {
        line(&["daemon", &format!("{HOOKS}/{daemon}"), "0755", daemon])?;
    }
    for file in &hook.files {
        line(&["file", &file.path, &file.mode, &file.source])?;
    }
    if let Some(silenced) = &hook.silences {
        let mode = format!("{:04o}", Silenced::MODE);
        for place in &silenced.places {
            line(&[
                "silenced",
                &format!("{HOOKS}/{place}"),
                &mode,
                &silenced.package,
            ])?;
        }
    }
    Ok(())
}
