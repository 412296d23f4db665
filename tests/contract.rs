// SPDX-License-Identifier: GPL-2.0-or-later

//! What must hold for every hook, without naming one: VDSM's contract and the suite's own rules.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]
#![allow(missing_docs)]

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::Command;

use support::{Firing, Outcome, hooks, is_root, not_run, program, root};
use vdsm_hooks::describe::{Event, Hook, Scope};
use vdsm_hooks::events::{self, Data};

/// A document that fits the event: VDSM hands one device to the events of devices.
fn document(event: &str) -> Vec<u8> {
    let event = events::find(event).expect("VDSM has this event");
    let name = match event.data {
        Data::Domain => "domain.xml",
        Data::Device => "interface.xml",
        other => panic!("{}: {}", event.name, other.words()),
    };
    fs::read(root().join("tests/data").join(name)).unwrap()
}

/// The hook with all of its properties set to their examples, so that it has something to do.
fn asked(hook: &Hook, event: &Event, document: &[u8]) -> Firing {
    let firing = Firing::new(&hook.name, &event.event, document);
    hook.properties
        .iter()
        .filter(|property| property.scope != Scope::Host)
        .fold(firing, |firing, property| {
            firing.variable(&property.name, &property.example)
        })
}

/// Calls `check` for every hook at every event that it is installed for.
fn for_all(check: impl Fn(&Hook, &Event)) {
    for hook in hooks() {
        for event in &hook.events {
            check(&hook, event);
        }
    }
}

/// A refusal: status 1 or 2, one line with the hook's name, nothing written and nothing left.
fn assert_refused(what: &str, hook: &Hook, outcome: &Outcome, before: &[u8]) {
    let place = format!("{}: {what}: {outcome:?}", hook.name);
    assert!(matches!(outcome.status, Some(1 | 2)), "{place}");
    assert_one_line(hook, outcome);
    assert_eq!(outcome.data.as_deref(), Some(before), "{place}");
    assert!(!outcome.touched, "{place}");
    assert!(outcome.left_behind.is_empty(), "{place}");
}

fn assert_one_line(hook: &Hook, outcome: &Outcome) {
    let last = outcome.stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with(&format!("{}: ", hook.name)), "{outcome:?}");
    assert!(
        outcome.stderr.ends_with('\n') && !last.ends_with('.'),
        "{outcome:?}"
    );
    // Warnings may precede the one line of the failure.
    let others = outcome.stderr.lines().rev().skip(1);
    let warning = format!("{}: warning: ", hook.name);
    assert!(
        others.into_iter().all(|line| line.starts_with(&warning)),
        "{outcome:?}"
    );
}

#[test]
fn without_its_property_a_hook_does_not_even_parse() {
    for_all(|hook, event| {
        if hook.unasked {
            return;
        }
        for broken in [&b"<not xml"[..], b"\xff\xfe", b""] {
            let outcome = Firing::new(&hook.name, &event.event, broken).run();
            assert_eq!(outcome.status, Some(0), "{}: {outcome:?}", hook.name);
            assert_eq!(
                (outcome.stderr.as_str(), outcome.touched),
                ("", false),
                "{}",
                hook.name
            );
        }
        // Not even the file has to exist.
        let outcome = Firing::new(&hook.name, &event.event, b"")
            .without("_hook_domxml")
            .run();
        assert_eq!(
            (outcome.status, outcome.stderr.as_str()),
            (Some(0), ""),
            "{}",
            hook.name
        );
    });
}

#[test]
fn an_empty_file_is_no_document() {
    for_all(|hook, event| {
        let outcome = asked(hook, event, b"").run();
        if outcome.status != Some(0) {
            // A property that names something of this host may be refused before the file is read.
            assert_refused("empty file", hook, &outcome, b"");
            return;
        }
        assert_eq!(
            (outcome.stderr.as_str(), outcome.touched),
            ("", false),
            "{}",
            hook.name
        );
        assert_eq!(outcome.data.as_deref(), Some(&b""[..]), "{}", hook.name);
    });
}

#[test]
fn what_is_no_document_is_refused() {
    let long_entity = format!(
        "<!DOCTYPE d [<!ENTITY e '{}'>]><domain>&e;</domain>",
        "x".repeat(99)
    );
    for_all(|hook, event| {
        for (what, text) in [
            ("malformed", &b"<domain><devices></domain>"[..]),
            ("cut short", b"<domain"),
            (
                "DTD",
                b"<!DOCTYPE domain SYSTEM 'file:///etc/passwd'><domain/>",
            ),
            ("entity", long_entity.as_bytes()),
            ("unknown entity", b"<domain>&x;</domain>"),
            ("not UTF-8", b"<domain><name>\xe9</name></domain>"),
            ("UTF-16", b"\xff\xfe<\0d\0/\0>\0"),
            ("two roots", b"<domain/><domain/>"),
            ("blank", b"\n"),
        ] {
            assert_refused(what, hook, &asked(hook, event, text).run(), text);
        }
    });
}

#[test]
fn a_missing_or_wrong_data_file_is_refused() {
    for_all(|hook, event| {
        let document = document(&event.event);
        let outcome = asked(hook, event, &document).without("_hook_domxml").run();
        assert_refused("no variable", hook, &outcome, &document);
        let firing = asked(hook, event, &document);
        let data = firing.data.to_str().unwrap().to_owned();
        let outcome = firing
            .without("_hook_domxml")
            .variable("_hook_json", &data)
            .run();
        assert_refused("JSON event", hook, &outcome, &document);
        let outcome = asked(hook, event, &document)
            .variable("_hook_domxml", "/nowhere/x")
            .run();
        assert_refused("no file", hook, &outcome, &document);
        let outcome = asked(hook, event, &document)
            .variable("_hook_domxml", "/")
            .run();
        assert_refused("directory", hook, &outcome, &document);
    });
}

#[test]
fn a_second_run_changes_nothing() {
    for_all(|hook, event| {
        let first = asked(hook, event, &document(&event.event)).run();
        if first.status != Some(0) {
            assert_refused("first run", hook, &first, &document(&event.event));
            return;
        }
        let output = first.data.unwrap();
        for _ in 0..60 {
            let again = asked(hook, event, &output).run();
            assert_eq!(again.status, Some(0), "{}: {again:?}", hook.name);
            if again.data.as_deref() == Some(&output) {
                assert!(!again.touched, "{} wrote the same text again", hook.name);
                return;
            }
            // A hook that picks at random says so; it may pick something else.
            assert!(!again.stderr.is_empty(), "{}: {again:?}", hook.name);
        }
        panic!(
            "{} never comes back to {}",
            hook.name,
            String::from_utf8_lossy(&output)
        );
    });
}

#[test]
fn owner_mode_and_link_of_the_data_file_stay() {
    for_all(|hook, event| {
        let firing = asked(hook, event, &document(&event.event));
        let real = firing.directory().join("real");
        fs::rename(&firing.data, &real).unwrap();
        symlink(&real, &firing.data).unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        if is_root() {
            std::os::unix::fs::chown(&real, Some(36), Some(107)).unwrap();
        }
        let before = fs::metadata(&real).unwrap();
        let outcome = firing.run();
        assert!(outcome.left_behind.is_empty(), "{outcome:?}");
        assert!(
            fs::symlink_metadata(&firing.data).unwrap().is_symlink(),
            "{}",
            hook.name
        );
        let after = fs::metadata(&real).unwrap();
        let facts = |file: &fs::Metadata| (file.mode(), file.uid(), file.gid());
        assert_eq!(facts(&after), facts(&before), "{}", hook.name);
        let beside = fs::read_dir(firing.directory()).unwrap().count();
        assert_eq!(beside, 3, "{} left something beside the target", hook.name);
    });
}

#[test]
fn the_locale_does_not_matter() {
    for_all(|hook, event| {
        let run = |locale: &str| {
            asked(hook, event, &document(&event.event))
                .variable("LANG", locale)
                .variable("LC_ALL", locale)
                .run()
        };
        let (one, other) = (run("C"), run("de_DE.ISO-8859-1"));
        // Names that are not ASCII survive; a random pick is the only thing that may differ.
        let line = |outcome: &Outcome| {
            let text = String::from_utf8(outcome.data.clone().unwrap()).unwrap();
            text.lines()
                .find(|line| line.contains("Größe") || line.contains("größe"))
                .map(str::to_owned)
        };
        assert_eq!(one.status, other.status, "{}", hook.name);
        assert!(
            line(&one).is_some() && line(&one) == line(&other),
            "{}",
            hook.name
        );
    });
}

/// Runs `script` with the data file as `$1` and the hook after it, as root in a mount namespace of
/// its own.
fn in_namespace(firing: Firing, script: &str) -> Outcome {
    let data = firing.data.to_str().unwrap().to_owned();
    let script = format!("{script}\nshift\nexec \"$@\"");
    firing
        .inside(&["unshare", "--mount", "sh", "-ec", &script, "sh", &data])
        .run()
}

#[test]
fn a_read_only_directory_is_an_error_and_no_more() {
    if !is_root() {
        return not_run(
            "a_read_only_directory_is_an_error_and_no_more",
            "needs root for a mount",
        );
    }
    for_all(|hook, event| {
        let document = document(&event.event);
        let changes = asked(hook, event, &document).run().data.as_deref() != Some(&document);
        let script = "d=${1%/*}; mount --bind \"$d\" \"$d\"; mount -o remount,bind,ro \"$d\"";
        let outcome = in_namespace(asked(hook, event, &document), script);
        if changes {
            assert_refused("read-only directory", hook, &outcome, &document);
            assert!(
                outcome.stderr.contains("Read-only file system"),
                "{outcome:?}"
            );
        } else {
            assert!(!outcome.touched, "{outcome:?}");
        }
    });
}

#[test]
fn a_full_disk_costs_nothing() {
    if !is_root() {
        return not_run("a_full_disk_costs_nothing", "needs root for a mount");
    }
    for_all(|hook, event| {
        let document = document(&event.event);
        let changes = asked(hook, event, &document).run().data.as_deref() != Some(&document);
        // Nothing is left for the new document; what the hook leaves shows in the exit status.
        let firing = asked(hook, event, &document);
        let data = firing.data.to_str().unwrap().to_owned();
        let script = "mount -t tmpfs -o size=64k tmpfs \"${1%/*}\" \n\
            cat > \"$1\"; head -c 1m /dev/zero > \"${1%/*}/fill\" 2>/dev/null || true \n\
            cksum < \"$1\" > /dev/shm/$$; n=$1; shift; s=0; \"$@\" || s=$? \n\
            cksum < \"$n\" | cmp - /dev/shm/$$ || s=99; rm /dev/shm/$$ \n\
            [ \"$(ls -A \"${n%/*}\" | wc -l)\" = 2 ] || s=98; exit $s";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-ec", script, "sh", &data]);
        let hook_command = firing.command();
        command.arg(hook_command.get_program()).env_clear();
        command.envs(
            hook_command
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        command.stdin(fs::File::open(&firing.data).unwrap());
        let output = command.output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        let status = output.status.code();
        if changes {
            assert!(
                matches!(status, Some(1 | 2)),
                "{}: {status:?} {stderr}",
                hook.name
            );
            assert!(
                stderr.contains("No space left on device"),
                "{}: {stderr}",
                hook.name
            );
        } else {
            assert!(
                matches!(status, Some(0..=2)),
                "{}: {status:?} {stderr}",
                hook.name
            );
        }
    });
}

#[test]
fn a_kill_in_the_middle_of_writing_leaves_the_old_document() {
    for_all(|hook, event| {
        // The limit on file sizes kills the program in the middle of its write.
        let text = String::from_utf8(document(&event.event)).unwrap();
        let long = format!("{text}<!-- {} -->\n", "long ".repeat(4000)).into_bytes();
        let changes = asked(hook, event, &long).run().data.as_deref() != Some(&long);
        let outcome = asked(hook, event, &long)
            .inside(&["sh", "-c", "ulimit -f 8; exec \"$0\""])
            .run();
        assert_eq!(
            outcome.data.as_deref(),
            Some(&long[..]),
            "{}: {outcome:?}",
            hook.name
        );
        assert_eq!(
            outcome.status.is_none(),
            changes,
            "{}: {outcome:?}",
            hook.name
        );
    });
}

#[test]
fn the_event_directory_may_be_reached_through_links() {
    for_all(|hook, event| {
        let firing = asked(hook, event, &document(&event.event));
        let link = firing.directory().join("elsewhere");
        symlink(firing.directory().join(&event.event), &link).unwrap();
        let through = link.join(format!("50_{}", hook.name));
        let direct = asked(hook, event, &document(&event.event)).run();
        let linked = firing.through(&through).run();
        assert_eq!(linked.status, direct.status, "{}: {linked:?}", hook.name);
    });
}

#[test]
fn programs_describe_themselves() {
    for hook in hooks() {
        let run = |argument: &str| {
            Command::new(program(&hook.name))
                .arg(argument)
                .output()
                .unwrap()
        };
        let text = |argument: &str| {
            let output = run(argument);
            assert!(
                output.status.success() && output.stderr.is_empty(),
                "{}: {output:?}",
                hook.name
            );
            String::from_utf8(output.stdout).unwrap()
        };
        let mut described: serde_json::Value = serde_json::from_str(&text("--describe")).unwrap();
        let version = described
            .as_object_mut()
            .unwrap()
            .remove("version")
            .unwrap();
        assert_eq!(version, env!("CARGO_PKG_VERSION"));
        assert_eq!(described, serde_json::to_value(&hook).unwrap());
        assert_eq!(
            text("--version"),
            format!("{} {}\n", hook.name, env!("CARGO_PKG_VERSION"))
        );
        let help = text("--help");
        for word in hook.properties.iter().map(|property| &property.name) {
            assert!(help.contains(word), "{word} in {help}");
        }
        let unknown = run("--no-such-option");
        assert_eq!(unknown.status.code(), Some(2));
        let line = String::from_utf8(unknown.stderr).unwrap();
        assert!(
            line.contains("--no-such-option") && line.lines().count() == 1,
            "{line}"
        );
    }
}

#[test]
fn a_value_that_is_not_utf8_is_refused() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    for_all(|hook, event| {
        let document = document(&event.event);
        let mut refused = 0;
        for property in &hook.properties {
            let firing = asked(hook, event, &document);
            let mut command = firing.command();
            let value = OsStr::from_bytes(b"\xff\xfe");
            let output = command.env(&property.name, value).output().unwrap();
            let stderr = String::from_utf8(output.stderr).unwrap();
            // A variable that another one makes superfluous may hold anything.
            if output.status.success() {
                continue;
            }
            assert!(
                matches!(output.status.code(), Some(1 | 2)),
                "{}: {stderr}",
                hook.name
            );
            let says = format!("{}=\"\\xFF\\xFE\": the value is not UTF-8", property.name);
            assert!(stderr.contains(&says), "{}: {stderr}", hook.name);
            assert_eq!(fs::read(&firing.data).unwrap(), document, "{}", hook.name);
            refused += 1;
        }
        assert!(refused > 0, "{} looks at none of its properties", hook.name);
    });
}
