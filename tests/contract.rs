// SPDX-License-Identifier: GPL-2.0-or-later

//! What must hold for every hook, without naming one: VDSM's contract and the suite's own rules.
//!
//! `HOOKS="one other"` looks only at those.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]
#![allow(missing_docs)]

use crate::support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::Command;
use std::sync::Mutex;

use serde_json::Value;
use support::host::Host;
use support::random::{self, Bounds};
use support::{
    Firing, Outcome, data_variable, hooks, is_root, not_run, private_host, program, root,
};
use vdsm_hooks::hook::manifest::{Manifest, Property, Scope};
use vdsm_hooks::json::to_ascii;
use vdsm_hooks::vdsm::events::{self, Data, Environment, Failure};

/// A hook at one of its events.
pub(crate) struct Subject<'a> {
    pub(crate) hook: &'a Manifest,
    pub(crate) event: &'static events::Event,
    /// What the hook's examples need of the host: `cases/host.json`, of the same form as the
    /// member `host` of a case.
    host: Option<Host>,
}

impl Subject<'_> {
    /// A document that fits the event, with the properties that stand in documents.
    fn document(&self) -> Vec<u8> {
        let plain = self.plain_document();
        if self.asked_by_document() {
            return with_custom(&plain, &self.examples());
        }
        plain
    }

    /// A document that fits the event, without any property; empty where VDSM has none.
    pub(crate) fn plain_document(&self) -> Vec<u8> {
        let name = self.event.name;
        let file = match self.event.data {
            Data::Nothing => return Vec::new(),
            Data::EmptyObject => return b"{}".to_vec(),
            Data::Domain => "domain.xml",
            Data::Device | Data::DeviceOrNothing if name.contains("_memory_") => "memory.xml",
            Data::Device | Data::DeviceOrNothing if name.contains("_disk_") => "disk.xml",
            Data::Device | Data::DeviceOrNothing if self.has(Scope::Disk) => "disk.xml",
            Data::Device | Data::DeviceOrNothing => "interface.xml",
            Data::Json if name.contains("_network_setup") => "network-setup.json",
            Data::Json => match name {
                "after_disk_prepare" => "prepared-disk.json",
                "after_get_caps" => "capabilities.json",
                "after_get_stats" => "host-stats.json",
                "after_get_vm_stats" | "after_get_all_vm_stats" => "vm-stats.json",
                "after_hostdev_list_by_caps" => "host-devices.json",
                _ => panic!("{name}: which document?"),
            },
        };
        fs::read(root().join("tests/data").join(file)).unwrap()
    }

    fn has(&self, scope: Scope) -> bool {
        self.hook.properties.iter().any(|one| one.scope == scope)
    }

    /// Whether the properties stand in the document itself.
    pub(crate) fn asked_by_document(&self) -> bool {
        self.event.name.contains("_network_setup") && self.has(Scope::Network)
    }

    /// The variable that names the data file here, and the one that does elsewhere.
    pub(crate) fn variables(&self) -> (&'static str, &'static str) {
        match data_variable(self.event) {
            json @ "_hook_json" => (json, "_hook_domxml"),
            xml => (xml, "_hook_json"),
        }
    }

    /// The hook with none of its properties, on a host where there is nothing.
    fn unasked(&self, document: &[u8]) -> Firing {
        let firing = Firing::new(&self.hook.name, self.event.name, document);
        match &self.host {
            Some(_) => firing.on(&Host::default()),
            None => firing,
        }
    }

    /// All properties with their examples.
    pub(crate) fn examples(&self) -> Vec<(&Property, &str)> {
        let properties = self.hook.properties.iter();
        properties
            .filter(|property| property.scope != Scope::Host)
            .map(|property| (property, property.example.as_str()))
            .collect()
    }

    /// The hook with these properties set, but those that stand in the document.
    pub(crate) fn with(&self, properties: &[(&Property, &str)], document: &[u8]) -> Firing {
        let mut firing = Firing::new(&self.hook.name, self.event.name, document);
        let mut host = self.host.clone();
        for (property, value) in properties {
            match property.scope {
                Scope::Network => {}
                Scope::VdsmConf => {
                    let sections = &mut host.as_mut().unwrap().vdsm_conf;
                    let vars = sections.entry("vars".to_owned()).or_default();
                    vars.insert(property.name.clone(), (*value).to_owned());
                }
                _ => firing = firing.variable(&property.name, value),
            }
        }
        match host {
            Some(host) => firing.on(&host),
            None => firing,
        }
    }

    /// The hook with all of its properties set to their examples, so that it has something to do.
    fn with_examples(&self, document: &[u8]) -> Firing {
        self.with(&self.examples(), document)
    }

    /// Whether the property reaches the hook here.
    pub(crate) fn sees(&self, property: &Property) -> bool {
        match property.scope {
            Scope::VdsmConf | Scope::Host => true,
            // Else it stands in VDSM's configuration of the network.
            Scope::Network => self.asked_by_document(),
            // Events of the host come without properties.
            _ => self.event.environment != Environment::Bare,
        }
    }

    /// Whether the hook looks at its document. It has to where VDSM goes on with the result.
    fn reads(&self) -> bool {
        let (variable, _) = self.variables();
        let outcome = self.with_examples(&self.document()).without(variable).run();
        let reads = outcome.status != Some(0);
        assert!(reads || !self.event.output_used, "{}", self.place());
        reads
    }

    /// Whether the message of an exit 1 reaches the administrator. Where VDSM ends the operation it
    /// shows that of the last hook that ran, which may have succeeded and said nothing; only at a
    /// VM's start that of the last one that failed.
    fn may_go_on(&self) -> bool {
        self.event.failure != Failure::Aborts || self.event.shows_last_failed()
    }

    /// For messages.
    fn place(&self) -> String {
        format!("{} at {}", self.hook.name, self.event.name)
    }

    /// The numbers that the hook draws, by its cases.
    fn random(&self) -> Bounds {
        let cases = root().join("hooks").join(&self.hook.name).join("cases");
        let cases = fs::read_dir(cases).into_iter().flatten();
        cases
            .filter_map(|case| fs::read_to_string(case.unwrap().path().join("case.json")).ok())
            .filter_map(|case| {
                let case: Value = serde_json::from_str(&case).unwrap();
                serde_json::from_value::<Bounds>(case["random"].clone()).ok()
            })
            .flatten()
            .collect()
    }
}

/// Sets custom properties of a network in a request.
pub(crate) fn with_custom(document: &[u8], properties: &[(&Property, &str)]) -> Vec<u8> {
    let mut request: Value = serde_json::from_slice(document).unwrap();
    let custom = request.pointer_mut("/request/networks/tenant/custom");
    let custom = custom.and_then(Value::as_object_mut).unwrap();
    for (property, value) in properties {
        custom.insert(property.name.clone(), Value::from(*value));
    }
    to_ascii(&request).unwrap().into_bytes()
}

/// The hooks that are looked at.
fn wanted_hooks() -> Vec<Manifest> {
    let wanted = std::env::var("HOOKS").unwrap_or_default();
    let wanted: Vec<&str> = wanted.split_whitespace().collect();
    let mut hooks = hooks();
    hooks.retain(|hook| wanted.is_empty() || wanted.contains(&hook.name.as_str()));
    assert!(!hooks.is_empty(), "no hook is called {wanted:?}");
    hooks
}

/// Calls `check` for every hook at every event that it is installed for.
pub(crate) fn for_all(check: impl Fn(&Subject<'_>)) {
    for hook in &wanted_hooks() {
        let file = root()
            .join("hooks")
            .join(&hook.name)
            .join("cases/host.json");
        let host = fs::read_to_string(&file).ok().map(|text| {
            serde_json::from_str(&text)
                .unwrap_or_else(|error| panic!("{}: {error}", file.display()))
        });
        let in_vdsm_conf = |property: &Property| property.scope == Scope::VdsmConf;
        let needs_host = host.is_some() || hook.properties.iter().any(in_vdsm_conf);
        if let (true, Err(reason)) = (needs_host, private_host()) {
            not_run(&format!("contract of {}", hook.name), reason);
            continue;
        }
        for event in &hook.events {
            check(&Subject {
                hook,
                event: events::find(&event.event).expect("VDSM has this event"),
                host: needs_host.then(|| host.clone().unwrap_or_default()),
            });
        }
    }
}

/// A refusal: status 2, or 1 where that keeps the message, one line with the hook's name, nothing
/// written and nothing left.
fn assert_refused(what: &str, subject: &Subject<'_>, outcome: &Outcome, before: &[u8]) {
    let place = format!("{}: {what}: {outcome:?}", subject.place());
    match outcome.status {
        Some(1) => assert!(subject.may_go_on(), "VDSM loses the message: {place}"),
        status => assert_eq!(status, Some(2), "{place}"),
    }
    assert_one_line(subject.hook, outcome);
    assert_eq!(outcome.data.as_deref(), Some(before), "{place}");
    assert!(!outcome.touched, "{place}");
    assert!(outcome.left_behind.is_empty(), "{place}");
}

fn assert_one_line(hook: &Manifest, outcome: &Outcome) {
    let last = outcome.stderr.lines().last().unwrap_or_default();
    let message = last.strip_prefix(&format!("{}: ", hook.name));
    assert!(
        message.is_some_and(|message| !message.trim().is_empty()),
        "{outcome:?}"
    );
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
    for_all(|subject| {
        if subject.hook.unasked {
            return;
        }
        let nothing_happens = |firing: Firing| {
            let outcome = firing.run();
            let place = format!("{}: {outcome:?}", subject.place());
            assert_eq!(outcome.status, Some(0), "{place}");
            assert!(outcome.stderr.is_empty() && !outcome.touched, "{place}");
        };
        nothing_happens(subject.unasked(&subject.plain_document()));
        if subject.asked_by_document() {
            return;
        }
        for broken in [&b"<not xml"[..], b"\xff\xfe", b""] {
            nothing_happens(subject.unasked(broken));
        }
        // Not even the file has to exist.
        let (variable, _) = subject.variables();
        nothing_happens(subject.unasked(b"").without(variable));
    });
}

#[test]
fn an_empty_file_is_no_document() {
    for_all(|subject| {
        if !subject.reads() {
            return;
        }
        let outcome = subject.with_examples(b"").run();
        if outcome.status != Some(0) {
            // A property that names something of this host may be refused before the file is read.
            assert_refused("empty file", subject, &outcome, b"");
            return;
        }
        let place = format!("{}: {outcome:?}", subject.place());
        assert!(outcome.stderr.is_empty() && !outcome.touched, "{place}");
        assert_eq!(outcome.data.as_deref(), Some(&b""[..]), "{place}");
    });
}

#[test]
fn a_host_that_has_nothing_gets_a_message() {
    if let Err(reason) = private_host() {
        return not_run("a_host_that_has_nothing_gets_a_message", reason);
    }
    for_all(|subject| {
        let bare = Subject {
            host: Some(Host::default()),
            ..*subject
        };
        let document = bare.document();
        let outcome = bare.with_examples(&document).run();
        if outcome.status != Some(0) {
            assert_refused("an empty host", &bare, &outcome, &document);
        }
    });
}

#[test]
fn what_is_no_document_is_refused() {
    let long_entity = format!(
        "<!DOCTYPE d [<!ENTITY e '{}'>]><domain>&e;</domain>",
        "x".repeat(99)
    );
    let deep = "[".repeat(100_000);
    let xml = [
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
        ("JSON", b"{}"),
        ("blank", b"\n"),
    ];
    let json = [
        ("malformed", &b"{\"request\": {]}"[..]),
        ("cut short", b"{\"request\": {"),
        ("Python", b"{'request': None}"),
        ("not UTF-8", b"{\"request\": \"\xe9\"}"),
        ("UTF-16", b"\xff\xfe{\0}\0"),
        ("two values", b"{}{}"),
        ("too deep", deep.as_bytes()),
        ("a number", b"1"),
        ("XML", b"<domain/>"),
        ("blank", b"\n"),
    ];
    for_all(|subject| {
        if !subject.reads() {
            return;
        }
        let broken = if subject.event.data.is_json() {
            json
        } else {
            xml
        };
        for (what, text) in broken {
            assert_refused(what, subject, &subject.with_examples(text).run(), text);
        }
    });
}

#[test]
fn a_missing_or_wrong_data_file_is_refused() {
    for_all(|subject| {
        if !subject.reads() {
            return;
        }
        let document = subject.document();
        let (variable, other) = subject.variables();
        for (what, firing) in [
            (
                "no variable",
                subject.with_examples(&document).without(variable),
            ),
            (
                "other variable",
                subject.with_examples(&document).data_named_in(other),
            ),
            (
                "no file",
                subject
                    .with_examples(&document)
                    .variable(variable, "/nowhere/x"),
            ),
            (
                "directory",
                subject.with_examples(&document).variable(variable, "/"),
            ),
        ] {
            assert_refused(what, subject, &firing.run(), &document);
        }
    });
}

#[test]
fn a_second_run_changes_nothing() {
    for_all(|subject| {
        let document = subject.document();
        let first = subject.with_examples(&document).run();
        if first.status != Some(0) {
            assert_refused("first run", subject, &first, &document);
            return;
        }
        let output = first.data.unwrap();
        // Numbers drawn anew are the only thing that may differ.
        let random = subject.random();
        let drawn =
            |data: &[u8]| random::without(std::str::from_utf8(data).unwrap(), &random).unwrap();
        for _ in 0..60 {
            let again = subject.with_examples(&output).run();
            let place = format!("{}: {again:?}", subject.place());
            assert_eq!(again.status, Some(0), "{place}");
            let data = again.data.unwrap();
            if data == output {
                assert!(!again.touched, "wrote the same text again: {place}");
                return;
            }
            if !random.is_empty() && drawn(&data) == drawn(&output) {
                return;
            }
            // A hook that picks at random says so; it may pick something else.
            assert!(!again.stderr.is_empty(), "{place}");
        }
        panic!(
            "{} never comes back to {}",
            subject.place(),
            String::from_utf8_lossy(&output)
        );
    });
}

#[test]
fn owner_mode_and_link_of_the_data_file_stay() {
    for_all(|subject| {
        let firing = subject.with_examples(&subject.document());
        let real = firing.directory().join("real");
        fs::rename(&firing.data, &real).unwrap();
        symlink(&real, &firing.data).unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        if is_root() {
            std::os::unix::fs::chown(&real, Some(36), Some(107)).unwrap();
        }
        let facts = || {
            let file = fs::metadata(&real).unwrap();
            let beside = fs::read_dir(firing.directory()).unwrap().count();
            (file.mode(), file.uid(), file.gid(), beside)
        };
        let before = facts();
        let outcome = firing.run();
        let place = format!("{}: {outcome:?}", subject.place());
        assert!(outcome.left_behind.is_empty(), "{place}");
        let link = fs::symlink_metadata(&firing.data).unwrap();
        assert!(link.is_symlink(), "{place}");
        assert_eq!(facts(), before, "{place}");
    });
}

#[test]
fn the_locale_does_not_matter() {
    for_all(|subject| {
        let run = |locale: &str| {
            subject
                .with_examples(&subject.document())
                .variable("LANG", locale)
                .variable("LC_ALL", locale)
                .run()
        };
        let (one, other) = (run("C"), run("de_DE.ISO-8859-1"));
        // Names that are not ASCII survive; a random pick is the only thing that may differ.
        let lines = |outcome: &Outcome| -> Vec<String> {
            let text = String::from_utf8(outcome.data.clone().unwrap()).unwrap();
            let lines = text.lines();
            let word = |line: &&str| line.contains("röße") || line.contains("r\\u00f6\\u00dfe");
            lines.filter(word).map(str::to_owned).collect()
        };
        assert_eq!(one.status, other.status, "{}", subject.place());
        assert_eq!(lines(&one), lines(&other), "{}", subject.place());
        let empty = matches!(subject.event.data, Data::Nothing | Data::EmptyObject);
        assert_eq!(lines(&one).is_empty(), empty, "{}", subject.place());
    });
}

#[test]
fn a_read_only_directory_is_an_error_and_no_more() {
    if !is_root() {
        return not_run(
            "a_read_only_directory_is_an_error_and_no_more",
            "needs root for a mount",
        );
    }
    for_all(|subject| {
        let document = subject.document();
        let changes = subject.with_examples(&document).run().data.as_deref() != Some(&document);
        let firing = subject.with_examples(&document);
        let data = firing.data.to_str().unwrap().to_owned();
        let script = "d=${1%/*}; mount --bind \"$d\" \"$d\"; mount -o remount,bind,ro \"$d\"\n\
            shift; exec \"$@\"";
        let outcome = firing
            .inside(&["unshare", "--mount", "sh", "-ec", script, "sh", &data])
            .run();
        if changes {
            assert_refused("read-only directory", subject, &outcome, &document);
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
    for_all(|subject| {
        let document = subject.document();
        let changes = subject.with_examples(&document).run().data.as_deref() != Some(&document);
        // Nothing is left for the new document; what the hook leaves shows in the exit status.
        let firing = subject.with_examples(&document);
        let data = firing.data.to_str().unwrap().to_owned();
        let content = fs::File::open(&firing.data).unwrap();
        let script = "mount -t tmpfs -o size=64k tmpfs \"${1%/*}\" \n\
            cat > \"$1\"; head -c 1m /dev/zero > \"${1%/*}/fill\" 2>/dev/null || true \n\
            cksum < \"$1\" > /dev/shm/$$; n=$1; shift; s=0; \"$@\" || s=$? \n\
            cksum < \"$n\" | cmp - /dev/shm/$$ || s=99; rm /dev/shm/$$ \n\
            [ \"$(ls -A \"${n%/*}\" | wc -l)\" = 2 ] || s=98; exit $s";
        let output = firing
            .inside(&["unshare", "--mount", "sh", "-ec", script, "sh", &data])
            .command()
            .stdin(content)
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        let status = output.status.code();
        let place = format!("{}: {status:?} {stderr}", subject.place());
        if changes {
            assert!(matches!(status, Some(1 | 2)), "{place}");
            assert!(stderr.contains("No space left on device"), "{place}");
        } else {
            assert!(matches!(status, Some(0..=2)), "{place}");
        }
    });
}

#[test]
fn a_kill_in_the_middle_of_writing_leaves_the_old_document() {
    for_all(|subject| {
        // The limit on file sizes kills the program in the middle of its write.
        let text = String::from_utf8(subject.document()).unwrap();
        let long = match subject.event.data {
            Data::Nothing => return,
            data if data.is_json() => format!("{text}{}\n", " ".repeat(20_000)),
            _ => format!("{text}<!-- {} -->\n", "long ".repeat(4000)),
        };
        let long = long.into_bytes();
        let changes = subject.with_examples(&long).run().data.as_deref() != Some(&long);
        let outcome = subject
            .with_examples(&long)
            .inside(&["sh", "-c", "ulimit -f 8; exec \"$0\""])
            .run();
        let place = format!("{}: {outcome:?}", subject.place());
        assert_eq!(outcome.data.as_deref(), Some(&long[..]), "{place}");
        // A hook that has a child do its work ends by itself, and says what became of the child.
        let told = outcome.status == Some(2)
            && outcome
                .stderr
                .contains("the child that does its work was killed by signal 25");
        assert_eq!(outcome.status.is_none() || told, changes, "{place}");
    });
}

#[test]
fn the_event_directory_may_be_reached_through_links() {
    for_all(|subject| {
        let firing = subject.with_examples(&subject.document());
        let link = firing.directory().join("elsewhere");
        symlink(firing.directory().join(subject.event.name), &link).unwrap();
        let through = link.join(format!("50_{}", subject.hook.name));
        let direct = subject.with_examples(&subject.document()).run();
        let linked = firing.through(&through).run();
        assert_eq!(
            linked.status,
            direct.status,
            "{}: {linked:?}",
            subject.place()
        );
    });
}

#[test]
fn programs_describe_themselves() {
    for hook in wanted_hooks() {
        describes_itself(&hook.name, &hook);
        for program in hook.helpers.iter().chain(&hook.daemons) {
            describes_itself(program, &hook);
        }
    }
}

/// The program of a hook, or of one of its helpers or daemons.
fn describes_itself(name: &str, hook: &Manifest) {
    let run = |argument: &str| Command::new(program(name)).arg(argument).output().unwrap();
    let text = |argument: &str| {
        let output = run(argument);
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{name}: {output:?}"
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
    assert_eq!(described, serde_json::to_value(hook).unwrap());
    assert_eq!(
        text("--version"),
        format!("{name} {}\n", env!("CARGO_PKG_VERSION"))
    );
    let help = text("--help");
    assert!(help.starts_with(&format!("{name}: ")), "{help}");
    if name == hook.name {
        for word in hook.properties.iter().map(|property| &property.name) {
            assert!(help.contains(word), "{word} in {help}");
        }
    }
    let unknown = run("--no-such-option");
    assert_eq!(unknown.status.code(), Some(2));
    let line = String::from_utf8(unknown.stderr).unwrap();
    assert!(
        line.contains("--no-such-option") && line.lines().count() == 1,
        "{line}"
    );
}

#[test]
fn a_value_that_is_not_utf8_is_refused() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let looked_at = Mutex::new(BTreeMap::new());
    for_all(|subject| {
        let document = subject.document();
        let in_environment =
            |property: &&Property| !matches!(property.scope, Scope::Network | Scope::VdsmConf);
        let mut properties = subject
            .hook
            .properties
            .iter()
            .filter(in_environment)
            .peekable();
        if properties.peek().is_none() {
            return;
        }
        let mut refused = 0;
        for property in properties {
            let firing = subject.with_examples(&document);
            let mut command = firing.command();
            let value = OsStr::from_bytes(b"\xff\xfe");
            let output = command.env(&property.name, value).output().unwrap();
            let stderr = String::from_utf8(output.stderr).unwrap();
            // A variable that another one makes superfluous may hold anything.
            if output.status.success() {
                continue;
            }
            let place = format!("{}: {stderr}", subject.place());
            assert!(matches!(output.status.code(), Some(1 | 2)), "{place}");
            let says = format!("{}=\"\\xFF\\xFE\": the value is not UTF-8", property.name);
            assert!(stderr.contains(&says), "{place}");
            assert_eq!(fs::read(&firing.data).unwrap(), document, "{place}");
            refused += 1;
        }
        *looked_at
            .lock()
            .unwrap()
            .entry(subject.hook.name.clone())
            .or_insert(0) += refused;
    });
    // Not at every event: what a hook has made goes away whatever the properties say.
    for (hook, refused) in looked_at.into_inner().unwrap() {
        assert!(refused > 0, "{hook} looks at none of its properties");
    }
}

#[test]
fn a_hook_acts_on_its_example() {
    let acted = Mutex::new(BTreeMap::new());
    for_all(|subject| {
        let document = subject.document();
        let firing = subject.with_examples(&document);
        let outcome = firing.run();
        let ran = firing.root().is_some_and(|host| !host.calls().is_empty());
        // One that only looks has done that.
        let acts = subject.hook.unasked || ran || outcome.data.as_deref() != Some(&document);
        let mut acted = acted.lock().unwrap();
        let acted: &mut (bool, String) = acted.entry(subject.hook.name.clone()).or_default();
        acted.0 |= acts && outcome.status == Some(0);
        acted.1 += &format!("\n{}: {outcome:?}", subject.place());
    });
    for (hook, (acted, outcomes)) in acted.into_inner().unwrap() {
        assert!(acted, "{hook} needs a cases/host.json:{outcomes}");
    }
}

#[test]
fn values_of_no_use_are_refused() {
    let silent = Mutex::new(BTreeMap::new());
    for_all(|subject| {
        for property in &subject.hook.properties {
            if !subject.sees(property) {
                continue;
            }
            for value in property.wrong.iter().chain(&property.refused) {
                let key = (
                    subject.hook.name.clone(),
                    property.name.clone(),
                    value.clone(),
                );
                let refused = is_refused(subject, property, value);
                *silent.lock().unwrap().entry(key).or_insert(true) &= !refused;
            }
        }
    });
    let silent = silent.into_inner().unwrap().into_iter();
    let silent: Vec<_> = silent
        .filter(|(_, silent)| *silent)
        .map(|(key, _)| key)
        .collect();
    assert!(silent.is_empty(), "no event has a word on {silent:?}");
}

/// Whether the hook says that the value is wrong: with an error, or with a warning.
fn is_refused(subject: &Subject<'_>, property: &Property, value: &str) -> bool {
    let alone = vec![(property, value)];
    // Some properties count only beside others.
    let mut beside_others = subject.examples();
    beside_others.retain(|(other, _)| other.name != property.name);
    beside_others.push((property, value));
    [alone, beside_others].into_iter().any(|properties| {
        let mut document = subject.plain_document();
        if subject.asked_by_document() {
            document = with_custom(&document, &properties);
        }
        let outcome = subject.with(&properties, &document).run();
        let place = format!(
            "{}: {}={value:?}: {outcome:?}",
            subject.place(),
            property.name
        );
        match outcome.status {
            Some(0) if outcome.touched || outcome.stderr.is_empty() => {
                // The other properties may have worked; by itself a wrong value must not.
                assert!(!outcome.touched || properties.len() > 1, "{place}");
                false
            }
            Some(0) => {
                let warning = format!("{}: warning: ", subject.hook.name);
                assert!(outcome.stderr.starts_with(&warning), "{place}");
                true
            }
            _ => {
                assert_refused(value, subject, &outcome, &document);
                true
            }
        }
    })
}
