// SPDX-License-Identifier: GPL-2.0-or-later

//! `vdsm-hooks completion`: scripts for shells, and the answers that these ask the tool for.
//!
//! A script is the same for every release. What may come next is answered by the tool itself, from the
//! definition of its command line and from the descriptions of the hooks.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::process::ExitCode;

use vdsm_hooks::Result;

use crate::print;

use offers::Offers;

mod offers;
mod typed;

/// Print a completion script for a shell
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// Shell
    shell: Shell,

    /// What has been typed behind the name of the program, to answer the script
    #[arg(last = true, hide = true, value_name = "WORD")]
    words: Vec<OsString>,
}

const HELP: &str = "\
The shell completes commands, options, events, hooks, properties, devices of a
domain XML and files then. 'vdsm-hooks install' puts the scripts in place.

Examples:
  In this shell only, bash or zsh:
      source <(vdsm-hooks completion bash)
  For everybody:
      vdsm-hooks completion bash > \\
          /usr/share/bash-completion/completions/vdsm-hooks
      vdsm-hooks completion zsh > /usr/share/zsh/site-functions/_vdsm-hooks
      vdsm-hooks completion fish > \\
          /usr/share/fish/vendor_completions.d/vdsm-hooks.fish";

/// Shells that are tried.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// The script for a shell.
pub(crate) fn script(shell: Shell) -> &'static str {
    match shell {
        Shell::Bash => include_str!("completion/vdsm-hooks.bash"),
        Shell::Zsh => include_str!("completion/vdsm-hooks.zsh"),
        Shell::Fish => include_str!("completion/vdsm-hooks.fish"),
    }
}

/// Prints the script, or what may come next.
pub(crate) fn run(arguments: &Arguments, tool: clap::Command) -> Result<ExitCode> {
    if arguments.words.is_empty() {
        print(script(arguments.shell))?;
    } else {
        let words = arguments.words.iter();
        let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
        print(&answer(tool, &words)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The first line says what the others are: `words` with, behind a tab, what each means; or what the
/// shell shall look for by itself, `files` or `directories`, behind a part of the word that stays.
fn answer(mut tool: clap::Command, words: &[impl AsRef<str>]) -> Result<String> {
    tool.build();
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    let typed = typed::read(&tool, &words);
    let offers = match offers::next(&typed)? {
        Offers::Files => return Ok(format!("files\t{}\n", typed.stays)),
        Offers::Directories => return Ok(format!("directories\t{}\n", typed.stays)),
        Offers::Words(offers) => offers,
    };
    let mut text = "words\n".to_owned();
    for offer in offers {
        if offer.word.starts_with(typed.begun) {
            writeln!(text, "{}{}\t{}", typed.stays, offer.word, offer.means)?;
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    /// What is offered for a line, of which the last word is begun.
    fn offered(words: &[&str]) -> Vec<String> {
        let text = answer(crate::Tool::command(), words).unwrap();
        let lines = text.lines().map(|line| line.split('\t').next().unwrap());
        let lines: Vec<_> = lines.map(str::to_owned).collect();
        assert_eq!(lines[0], "words", "{words:?}: {text}");
        lines[1..].to_vec()
    }

    #[test]
    fn commands_and_options_are_offered() {
        assert_eq!(offered(&["com"]), ["completion"]);
        assert_eq!(offered(&["domain", "che"]), ["check", "checksum"]);
        assert_eq!(offered(&["help", "domain", "rel"]), ["release"]);
        assert!(offered(&[""]).contains(&"run".to_owned()));
        assert_eq!(offered(&["run", "--sch"]), ["--schema"]);
        // Once is enough, but for those that may be repeated.
        assert!(offered(&["run", "--schema", "--sch"]).is_empty());
        assert_eq!(offered(&["run", "--hook", "a", "--hook"])[0], "--hook");
        // Where nothing but options can come.
        assert!(offered(&["doctor", ""]).contains(&"--root".to_owned()));
        assert_eq!(offered(&["run", "--color", "al"]), ["always"]);
        assert_eq!(offered(&["run", "--color=al"]), ["--color=always"]);
        assert_eq!(offered(&["domain", "create", "ex"]), ["export"]);
        assert_eq!(offered(&["completion", ""]), ["bash", "zsh", "fish"]);
        // Behind two dashes there are no options.
        assert!(offered(&["show", "--", "--h"]).is_empty());
    }

    #[test]
    fn events_hooks_and_properties_are_offered() {
        assert_eq!(offered(&["run", "before_vm_st"]), ["before_vm_start"]);
        assert_eq!(
            offered(&["show", "before_nic_hotp"]),
            ["before_nic_hotplug"]
        );
        assert_eq!(offered(&["list", "hugepages_c"]), ["hugepages_count"]);
        assert!(offered(&["files", "before_nic_hotp"]).is_empty());
        for call in [
            &["show", "cpuf"][..],
            &["files", "cpuf"],
            &["engine-config", "cpuf"],
        ] {
            assert_eq!(offered(call), ["cpuflags"], "{call:?}");
        }
        for call in [
            &["install", "--hook", "cpuf"][..],
            &["engine-config", "--drop", "cpuf"],
            &[
                "run",
                "before_vm_start",
                "--hooks-dir",
                "/none",
                "--hook",
                "cpuf",
            ],
        ] {
            assert_eq!(offered(call), ["cpuflags"], "{call:?}");
        }
        // One that is there already is not offered again.
        assert!(offered(&["show", "cpuflags", "cpuf"]).is_empty());
        assert_eq!(
            offered(&["run", "before_vm_start", "-p", "cpuf"]),
            ["cpuflags="]
        );
        assert_eq!(offered(&["run", "-pcpuf"]), ["-pcpuflags="]);
        assert_eq!(
            offered(&["run", "--property=cpuf"]),
            ["--property=cpuflags="]
        );
        assert_eq!(
            offered(&["run", "-p", "macspoof="]),
            ["macspoof=true", "macspoof=false"]
        );
        // What VMs have, and what devices have.
        assert!(offered(&["run", "-p", "ifacemacsp"]).is_empty());
        assert_eq!(offered(&["run", "-d", "ifacemacsp"]), ["ifacemacspoof="]);
        // Of the event, and of the hook, that the line names.
        let at_event = offered(&["run", "before_vm_start", "-p", ""]);
        assert!(at_event.contains(&"numa=".to_owned()), "{at_event:?}");
        let of_hook = offered(&["run", "before_vm_start", "--hook", "50_cpuflags", "-p", ""]);
        assert!(of_hook.contains(&"cpuflags=".to_owned()), "{of_hook:?}");
        assert!(!of_hook.contains(&"numa=".to_owned()), "{of_hook:?}");
    }

    #[test]
    fn files_are_left_to_the_shell() {
        for (words, expected) in [
            (&["run", "--domain", "x"][..], "files\t\n"),
            (&["run", "--domain=x"], "files\t--domain=\n"),
            (&["grow-disk", ""], "files\t\n"),
            (&["domain", "check", ""], "files\t\n"),
            (&["engine-config", "--current", ""], "files\t\n"),
            (&["doctor", "--root", ""], "directories\t\n"),
            (&["run", "--hooks-dir=/"], "directories\t--hooks-dir=\n"),
            (&["man", ""], "directories\t\n"),
        ] {
            let text = answer(crate::Tool::command(), words).unwrap();
            assert_eq!(text, expected, "{words:?}");
        }
    }

    #[test]
    fn devices_are_those_of_the_domain_xml() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("vm.xml");
        let document = "<domain><devices>\
            <disk><target dev='vda'/><alias name='ua-1'/></disk>\
            <interface><mac address='00:1a:4a:16:01:51'/></interface>\
            </devices></domain>";
        std::fs::write(&file, document).unwrap();
        let of = |path: &str| {
            offered(&[
                "run",
                "before_nic_hotplug",
                "--domain",
                path,
                "--device",
                "",
            ])
        };
        assert_eq!(
            of(file.to_str().unwrap()),
            ["vda", "ua-1", "00:1a:4a:16:01:51"]
        );
        assert!(of("/none").is_empty());
        // Nobody waits for a pipe.
        assert!(of("/dev/stdin").is_empty());
    }

    #[test]
    fn every_value_is_completed_or_cannot_be() {
        let mut tool = crate::Tool::command();
        tool.build();
        // Only the administrator knows.
        let nobody_knows = [
            "NAME",
            "UUID",
            "HOST:/PATH",
            "UID:GID",
            "[VG/]LV",
            "SECONDS",
            "LEVEL",
            "COMMAND",
        ];
        let mut unknown = Vec::new();
        let mut commands = vec![&tool];
        while let Some(command) = commands.pop() {
            commands.extend(command.get_subcommands());
            for argument in command.get_arguments() {
                let names = argument.get_value_names().unwrap_or_default();
                let known = !argument.get_action().takes_values()
                    || argument.is_hide_set()
                    || offers::Kind::of(argument) != offers::Kind::Nothing
                    || names
                        .iter()
                        .all(|name| nobody_knows.contains(&name.as_str()));
                if !known {
                    unknown.push(format!("{} {}", command.get_name(), argument.get_id()));
                }
            }
        }
        assert!(
            unknown.is_empty(),
            "offers::Kind::of does not know what to complete: {unknown:?}"
        );
    }
}
