// SPDX-License-Identifier: GPL-2.0-or-later

//! Completion of the tool's command line, by the shells themselves.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support;
use support::tool::*;

/// Inserts all that could come, in the shells as they are set up here.
const ALL: char = '\u{14}';

/// For bash and zsh: the end of a line is written into `$answer` at ^G, and all completions are
/// inserted at ^T.
const BASH_SETUP: &str = r#"
PS1='$ '
bind 'set bell-style none'
bind 'set page-completions off'
bind 'set completion-query-items 0'
bind '"\C-t": insert-completions'
say() {
    printf %s "$READLINE_LINE" >"$answer.new"
    mv "$answer.new" "$answer"
    READLINE_LINE= READLINE_POINT=0
}
bind -x '"\C-g": say'
PROMPT_COMMAND='[ -e "$answer.ready" ] || { : >"$answer.ready"; : >"$answer"; }'
source "$setup/_vdsm-hooks"
"#;

const ZSH_SETUP: &str = r"
PS1='%% '
LISTMAX=100000
unsetopt beep
fpath=($setup $fpath)
autoload -Uz compinit && compinit -u -D
bindkey -e
say() {
    print -rn -- $BUFFER >$answer.new
    mv $answer.new $answer
    BUFFER=
}
zle -N say
bindkey '^G' say
zle -C all-matches complete-word _generic
bindkey '^T' all-matches
zstyle ':completion:all-matches:*' insert yes
zstyle ':completion:all-matches::::' completer _all_matches _complete
precmd() { [[ -e $answer.ready ]] || { : >$answer.ready; : >$answer } }
";

/// A directory with something to complete, and the scripts.
fn place() -> Host {
    let host = Host::new();
    host.file("my vm.xml", DOMAIN);
    host.file("rootfile", "");
    host.file("root/etc/fstab", "");
    host.shell("before_vm_start/60_foreign", "");
    host.suite("before_vm_start/50_cpuflags", "cpuflags");
    host
}

/// What a shell makes of lines, each with a tabulator at its end or an [`ALL`].
fn typed(host: &Host, shell: &str, lines: &[String]) -> Vec<String> {
    let script = tool(&["completion", shell]).stdout();
    host.file("setup/_vdsm-hooks", &script);
    host.file("setup/bashrc", BASH_SETUP);
    host.file("setup/.zshrc", ZSH_SETUP);
    let setup = host.path("setup");
    let rc = setup.join("bashrc");
    let call: &[&str] = match shell {
        "bash" => &[
            "bash",
            "--noprofile",
            "--rcfile",
            rc.to_str().unwrap(),
            "-i",
        ],
        "zsh" => &["zsh", "-d", "-i"],
        other => panic!("{other}"),
    };
    let answer = host.path(&format!("{shell}.line"));
    let mut terminal = Command::new("python3");
    terminal
        .arg(support::root().join("tests/support/terminal.py"))
        .arg(&answer)
        .args(call)
        .current_dir(host.root.path())
        .env_clear()
        .env("PATH", path())
        .env("HOME", &setup)
        .env("ZDOTDIR", &setup)
        .env("TERM", "dumb")
        .env("LC_ALL", "C.UTF-8")
        .env("INPUTRC", "/dev/null")
        .env("setup", &setup)
        .env("answer", &answer)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut terminal = start(&mut terminal);
    let mut keys = terminal.stdin.take().unwrap();
    keys.write_all((lines.join("\n") + "\n").as_bytes())
        .unwrap();
    drop(keys);
    let ended = Ended(terminal.wait_with_output().unwrap());
    assert_eq!(ended.status(), 0, "{shell}: {}", ended.stderr());
    let lines_of_shell: Vec<_> = ended.stdout().lines().map(str::to_owned).collect();
    assert_eq!(lines_of_shell.len(), lines.len(), "{lines_of_shell:?}");
    lines_of_shell
}

fn path() -> String {
    let tool = Path::new(TOOL).parent().unwrap();
    format!("{}:/usr/bin:/bin", tool.display())
}

/// A line behind the program's name, and what becomes of it.
const COMPLETED: [(&str, &str); 18] = [
    ("comp", "completion "),
    ("domain checks", "domain checksum "),
    ("help domain rel", "help domain release "),
    ("run before_vm_st", "run before_vm_start "),
    ("run before_vm_start --sch", "run before_vm_start --schema "),
    ("run --color=alw", "run --color=always "),
    ("show cpuf", "show cpuflags "),
    ("show \"cpuf", "show \"cpuflags\" "),
    (
        "engine-config --drop cpuf",
        "engine-config --drop cpuflags ",
    ),
    ("install --hook cpuf", "install --hook cpuflags "),
    // What is installed, of the suite and not.
    (
        "run before_vm_start --hooks-dir hooks --hook cpu",
        "run before_vm_start --hooks-dir hooks --hook cpuflags ",
    ),
    (
        "run before_vm_start --hooks-dir hooks --hook 60",
        "run before_vm_start --hooks-dir hooks --hook 60_foreign ",
    ),
    // A value is still to come.
    (
        "run before_vm_start -p cpuf",
        "run before_vm_start -p cpuflags=",
    ),
    (
        "run before_vm_start -p macspoof=t",
        "run before_vm_start -p macspoof=true ",
    ),
    // Colons are no end of a word, blanks are none in a file's name.
    (
        "run before_nic_hotplug --domain my\\ vm.xml --device 00:1a:4a:16:01:51",
        "run before_nic_hotplug --domain my\\ vm.xml --device 00:1a:4a:16:01:51 ",
    ),
    ("domain of my", "domain of my\\ vm.xml "),
    (
        "run before_vm_start --domain=my",
        "run before_vm_start --domain=my\\ vm.xml ",
    ),
    // No file here.
    ("doctor --root roo", "doctor --root root/"),
];

fn completes(shell: &str) {
    let host = place();
    let line = |begun: &str, key: char| format!("vdsm-hooks {begun}{key}");
    let mut lines: Vec<_> = COMPLETED
        .iter()
        .map(|(begun, _)| line(begun, '\t'))
        .collect();
    // Words with a meaning to the shell.
    lines.push(line("run before_vm_start -p qemu_cmdline=", '\t'));
    lines.push(line("domain ", ALL));
    lines.push(line("show ", ALL));
    lines.push(line(
        "run before_nic_hotplug --domain vm.xml --device 0",
        ALL,
    ));
    let mut found = typed(&host, shell, &lines).into_iter();
    for (begun, expected) in COMPLETED {
        let found = found.next().unwrap();
        assert_eq!(found, format!("vdsm-hooks {expected}"), "{shell}: {begun}");
    }

    let quoted = found.next().unwrap();
    let words = format!("set -- {quoted}; eval \"printf %s \\\"\\${{$#}}\\\"\"");
    let word = end(Command::new(shell).args(["-c", &words])).stdout();
    let hooks = support::hooks();
    let mut properties = hooks.iter().flat_map(|hook| &hook.properties);
    let property = properties.find(|one| one.name == "qemu_cmdline").unwrap();
    let expected = format!("qemu_cmdline={}", property.example);
    assert_eq!(word, expected, "{shell}: {quoted}");

    let names = |line: &str, before: &str| {
        let rest = line.strip_prefix(before);
        let rest = rest.unwrap_or_else(|| panic!("{shell}: {line}"));
        let mut names: Vec<_> = rest.split_whitespace().map(str::to_owned).collect();
        names.sort();
        names
    };
    let line = found.next().unwrap();
    let names_of_commands = names(&line, "vdsm-hooks domain ");
    for command in [
        "check", "checksum", "create", "help", "of", "release", "seal", "show",
    ] {
        assert!(
            names_of_commands.contains(&command.to_owned()),
            "{shell}: {line}"
        );
    }
    let line = found.next().unwrap();
    let all: Vec<_> = hooks.iter().map(|hook| hook.name.clone()).collect();
    assert_eq!(names(&line, "vdsm-hooks show "), all, "{shell}");
    let line = found.next().unwrap();
    let devices = names(
        &line,
        "vdsm-hooks run before_nic_hotplug --domain vm.xml --device ",
    );
    assert_eq!(devices, [MAC, "00:1a:4a:16:01:52"], "{shell}");
}

#[test]
fn bash_completes() {
    if have("python3", "bash_completes") && have("bash", "bash_completes") {
        completes("bash");
    }
}

#[test]
fn zsh_completes() {
    if have("python3", "zsh_completes") && have("zsh", "zsh_completes") {
        completes("zsh");
    }
}

#[test]
fn fish_completes() {
    if !have("fish", "fish_completes") {
        return;
    }
    let host = place();
    let script = host.file(
        "setup/vdsm-hooks.fish",
        &tool(&["completion", "fish"]).stdout(),
    );
    let complete = |line: &str| {
        let mut fish = Command::new("fish");
        fish.args(["--no-config", "-c", "source $argv[1]; complete -C $argv[2]"])
            .args([&script, &format!("vdsm-hooks {line}")])
            .current_dir(host.root.path())
            .env("PATH", path())
            .env("HOME", host.path("setup"));
        let ended = end(&mut fish);
        assert_eq!(
            (ended.status(), ended.stderr()),
            (0, String::new()),
            "{line}"
        );
        let lines = ended.stdout();
        let words = lines
            .lines()
            .map(|line| line.split('\t').next().unwrap().to_owned());
        words.collect::<Vec<_>>()
    };
    for (begun, expected) in COMPLETED {
        // fish keeps quotes, and gives words without them.
        let expected = expected.replace(['"', '\\'], "");
        let (before, _) = begun.rsplit_once(' ').unwrap_or(("", begun));
        let before = before.replace('\\', "");
        let expected = expected.strip_prefix(&before).unwrap().trim();
        assert_eq!(complete(begun), [expected], "{begun}");
    }
    let line = "run before_nic_hotplug --domain vm.xml --device ";
    assert_eq!(complete(line), [MAC, "00:1a:4a:16:01:52"]);
    let all: Vec<_> = support::hooks().into_iter().map(|hook| hook.name).collect();
    let mut shown = complete("show ");
    shown.sort();
    assert_eq!(shown, all);
    // With what they mean.
    let mut fish = Command::new("fish");
    fish.args([
        "--no-config",
        "-c",
        "source $argv[1]; complete -C 'vdsm-hooks show cpufl'",
    ])
    .arg(&script)
    .env("PATH", path())
    .env("HOME", host.path("setup"));
    let hooks = support::hooks();
    let cpuflags = hooks.iter().find(|hook| hook.name == "cpuflags").unwrap();
    let expected = format!("cpuflags\t{}\n", cpuflags.summary);
    assert_eq!(end(&mut fish).stdout(), expected);
}

#[test]
fn completion_scripts_are_sound() {
    for shell in ["bash", "zsh", "fish"] {
        let script = tool(&["completion", shell]).stdout();
        let test = "completion_scripts_are_sound";
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("script");
        fs::write(&file, &script).unwrap();
        if have(shell, test) {
            let check = end(Command::new(shell).arg("-n").arg(&file));
            assert_eq!(check.status(), 0, "{shell}: {}", check.stderr());
        }
        if shell == "bash" && have("shellcheck", test) {
            let mut check = Command::new("shellcheck");
            let check = end(check.args(["-s", "bash"]).arg(&file));
            assert_eq!(check.status(), 0, "{}", check.stdout());
        }
    }
    assert_eq!(tool(&["completion", "tcsh"]).status(), 64);
    // What the scripts ask for is no matter of the help.
    let help = tool(&["completion", "--help"]).stdout();
    assert!(
        help.contains("Usage: vdsm-hooks completion <SHELL>\n"),
        "{help}"
    );
}
