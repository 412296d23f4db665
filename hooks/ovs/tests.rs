// SPDX-License-Identifier: GPL-2.0-or-later

//! The set-up of networks by the hook ovs where the host fails it, every step in turn. Switch and
//! kernel are recorded here; hooks/ovs/hypervisor.sh has real ones.

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
use std::os::unix::fs::{MetadataExt as _, chown, symlink};
use std::process::Command;

use serde_json::json;
use support::chain::{self, Turn};
use support::host::Host;
use support::{Firing, is_root, not_run, private_host, root, steps};

const NETWORKS: &str = "/var/lib/vdsm/staging/netconf/nets";
const STATE: &str = "/run/vdsm-hooks/ovs/setup";
/// The transaction of the set-up, and the one that leads back.
const THERE: &str = "add-br red ovsbr0 12";
const BACK: &str = "--if-exists del-br red";

/// One network is there, of another one nothing but VDSM's own.
fn host() -> Host {
    let blue = json!({"nic": "em1", "vlan": 11, "custom": {"ovs": "true"}});
    let host = json!({
        "dirs": ["/sys/class/net/em1", "/sys/class/net/em2"],
        "files": {
            "/var/lib/vdsm/staging/netconf/nets/blue": blue.to_string(),
            "/var/lib/vdsm/staging/netconf/nets/plain": "{\"nic\": \"em3\"}",
        },
        "commands": {"ip": [], "ovs-vsctl": []},
    });
    serde_json::from_value(host).unwrap()
}

fn firing() -> Firing {
    let red = json!({
        "nic": "em2", "vlan": 12, "ipaddr": "198.51.100.7", "prefix": 24,
        "custom": {"ovs": "true"},
    });
    let request = json!({"request": {
        "networks": {"red": red, "blue": {"remove": true}, "plain": {"nic": "em3"}},
        "bondings": {}, "options": {},
    }});
    let request = request.to_string().into_bytes();
    Firing::new("ovs", "before_network_setup", &request).on(&host())
}

/// VDSM's networks, by name.
fn networks(firing: &Firing) -> BTreeMap<String, String> {
    let entries = fs::read_dir(firing.root().unwrap().at(NETWORKS)).unwrap();
    let file = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        let text = fs::read_to_string(entry.path()).unwrap();
        (entry.file_name().into_string().unwrap(), text)
    };
    entries.map(file).collect()
}

/// Whether the switch was told to go back as often as it was told to change, and last of all.
fn is_back(firing: &Firing) -> bool {
    let calls = firing.root().unwrap().calls();
    let last = |words: &str| calls.iter().rposition(|call| call.contains(words));
    last(THERE) <= last(BACK)
}

fn has_state(firing: &Firing) -> bool {
    firing.root().unwrap().at(STATE).exists()
}

#[test]
fn the_networks_are_as_they_were_whichever_step_fails() {
    let test = "the_networks_are_as_they_were_whichever_step_fails";
    if let Some(reason) = steps::why_not() {
        return not_run(test, &reason);
    }
    let sound = firing();
    let before = networks(&sound);
    let outcome = sound.run();
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    let after = networks(&sound);
    assert_eq!(after.keys().collect::<Vec<_>>(), ["plain", "red"]);
    assert!(has_state(&sound) && !is_back(&sound));

    let mut refused = 0;
    steps::each("error=EIO", firing, |step, firing, outcome| {
        if outcome.status == Some(0) {
            // Of some calls nobody needs the answer.
            let mut found = networks(firing);
            if outcome.stderr.contains("left behind") {
                found.retain(|name, _| !name.starts_with('.'));
            }
            assert_eq!(found, after, "{step}");
            return;
        }
        refused += 1;
        assert!(!outcome.touched, "{step}");
        if has_state(firing) {
            // The way back has failed as well: VDSM says that the set-up has failed.
            assert!(firing.succeeds_at("after_network_setup_fail"), "{step}");
        }
        assert_eq!(networks(firing), before, "{step}");
        assert!(is_back(firing) && !has_state(firing), "{step}");
    });
    assert!(refused > 40, "only {refused} steps");
}

#[test]
fn after_sigkill_at_any_step_the_end_of_the_setup_goes_back() {
    let test = "after_sigkill_at_any_step_the_end_of_the_setup_goes_back";
    if let Some(reason) = steps::why_not() {
        return not_run(test, &reason);
    }
    let before = networks(&firing());
    let count = steps::each("signal=KILL", firing, |step, firing, _| {
        // VDSM takes every name there for a network, and reads it.
        for (name, text) in networks(firing) {
            assert!(["blue", "plain", "red"].contains(&&*name), "{name}: {step}");
            let json = serde_json::from_str::<serde_json::Value>(&text);
            assert!(json.is_ok(), "{name}: {text:?}: {step}");
        }
        assert!(firing.succeeds_at("after_network_setup_fail"), "{step}");
        assert_eq!(networks(firing), before, "{step}");
        assert!(is_back(firing) && !has_state(firing), "{step}");
        let staging = firing.root().unwrap().at("/var/lib/vdsm/staging");
        let entries = fs::read_dir(staging).unwrap();
        let left: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["netconf"], "{step}");
    });
    assert!(count > 40, "only {count} steps");
}

/// A vNIC that `macbind` moves to a bridge of Linux is there in the end, whether the hook has made it a
/// port before or not: at a start it comes after macbind, and for vNICs with properties before as well.
#[test]
fn a_vnic_that_macbind_moves_away_stays_there() {
    let test = "a_vnic_that_macbind_moves_away_stays_there";
    if let Err(reason) = private_host() {
        return not_run(test, reason);
    }
    let variables = [(
        "macbind".to_owned(),
        "{'00:1a:4a:aa:bb:01': 'br0'}".to_owned(),
    )];
    let (ovs, macbind) = (Turn::with_examples("ovs"), Turn::with_examples("macbind"));
    let nic = fs::read(root().join("tests/data/interface.xml")).unwrap();
    let port = chain::fire(&[&ovs], "before_device_create", &nic, &[]).unwrap();
    assert!(port.contains("openvswitch"), "{port}");
    let start = port.find("<interface").unwrap();
    let domain = format!(
        "<domain type='kvm'><devices>{}</devices></domain>",
        &port[start..]
    );
    let turns = [&macbind, &ovs];
    let domain = chain::fire(&turns, "before_vm_start", domain.as_bytes(), &variables).unwrap();
    assert!(domain.contains("bridge=\"br0\""), "{domain}");
    assert!(!domain.contains("openvswitch"), "{domain}");
}

/// What VDSM's user takes out of its own directory and puts back later, as an earlier version had
/// its record there. `$1` is the helper, `$2` a directory to work in.
const REPLAY: &str = r#"as_vdsm() { setpriv --reuid 36 --regid 36 --clear-groups "$@"; }
mount -t tmpfs run /run
here=/run/vdsm/hooks/ovs
mkdir -p $here && chown 36:36 /run/vdsm /run/vdsm/hooks $here && chmod 700 $here
export _hook_json="$2/request"
echo '{"request":{"networks":{},"bondings":{},"options":{}}}' >"$_hook_json"
echo 'of today' >"$2/victim"
umask 077
printf '{"from":{"nets":{},"bonds":{}},"to":{"nets":{},"bonds":{}},"files":{"%s":"of last year\\n"},"links":{}}' "$2/victim" >$here/setup
as_vdsm mv $here/setup $here/kept
"$1" after_network_setup
as_vdsm mv $here/kept $here/setup
"$1" after_network_setup_fail
echo "exit $?, $(cat "$2/victim"), $(ls $here)"
"#;

#[test]
fn root_goes_by_nothing_that_user_vdsm_can_put_back() {
    let test = "root_goes_by_nothing_that_user_vdsm_can_put_back";
    if !is_root() {
        return not_run(test, "needs root to become user vdsm");
    }
    let work = tempfile::tempdir().unwrap();
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", REPLAY, "sh"])
        .arg(support::program("ovs-setup"))
        .arg(work.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said, "exit 0, of today, lock\n", "{errors}");
}

/// In place of a network's file, user vdsm has a link to a file that only root can read.
#[test]
fn what_only_root_can_read_stays_so() {
    let test = "what_only_root_can_read_stays_so";
    if let Err(reason) = private_host() {
        return not_run(test, reason);
    }
    let firing = firing();
    let root = firing.root().unwrap();
    let secret = root.at("/etc/secret");
    fs::write(&secret, "{\"key\": 1}").unwrap();
    let networks = root.at(NETWORKS);
    symlink("/etc/secret", networks.join("red")).unwrap();
    chown(&networks, Some(36), Some(36)).unwrap();
    let outcome = firing.run();
    assert_eq!(outcome.status, Some(2), "{outcome:?}");
    let refusal = "nets/red: a symbolic link, expected a file\n";
    assert!(outcome.stderr.ends_with(refusal), "{outcome:?}");
    assert!(!has_state(&firing) && !outcome.touched);
}

#[test]
fn the_way_back_is_in_a_directory_of_root_alone() {
    let test = "the_way_back_is_in_a_directory_of_root_alone";
    if let Err(reason) = private_host() {
        return not_run(test, reason);
    }
    let firing = firing();
    assert_eq!(firing.run().status, Some(0));
    let state = firing.root().unwrap().at(STATE);
    for (path, mode) in [
        (state.as_path(), 0o600),
        (state.parent().unwrap(), 0o700),
        (state.parent().unwrap().parent().unwrap(), 0o755),
    ] {
        let found = fs::metadata(path).unwrap();
        assert_eq!(
            (found.uid(), found.mode() & 0o7777),
            (0, mode),
            "{}",
            path.display()
        );
    }
}
