// SPDX-License-Identifier: GPL-2.0-or-later

//! The part of the hook ovs that sets up the host's networks: `ovs-setup EVENT`, with VDSM's request
//! in the file that `_hook_json` names. VDSM fires these events as root.
//!
//! `after_get_caps` and `after_get_stats`, as VDSM's user, report the networks that there are.
//! `before_network_setup` takes the networks of the hook out of the request and builds them;
//! `after_network_setup` forgets how to go back, `after_network_setup_fail` goes back.

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};
use vdsm_hooks::hook::Program;
use vdsm_hooks::host::state::{self, Lock, Records};
use vdsm_hooks::host::transaction::Files;
use vdsm_hooks::host::{command, transaction};
use vdsm_hooks::vdsm::networks;
use vdsm_hooks::{Context, Error, Result, hook, program};

mod caps;
mod links;
mod network;
mod plan;
mod request;
mod stats;

use links::Links;
use network::CUT_OFF;
use request::{Configured, Request};

const HOOK: &str = "ovs";
/// The record at [`CUT_OFF`].
const STATE: &str = "setup";
/// ovs-vsctl waits until the switch has done it (ovs-vsctl(8), 3.1: `--no-wait`).
const OWN_TIMEOUT: &str = "--timeout=30";
const TIMEOUT: Duration = Duration::from_secs(40);

fn main() -> ExitCode {
    let mut program = program!();
    // VDSM's log is to name the hook.
    let first = env::args_os().nth(1);
    if first.is_some_and(|word| !word.as_encoded_bytes().starts_with(b"-")) {
        program = Program {
            name: HOOK,
            ..program
        };
    }
    hook::run_with_arguments(program, |arguments| match arguments {
        [event] => serve(event),
        _ => Err(Error::new("expected the name of an event")),
    })
}

fn serve(event: &str) -> Result {
    match event {
        "before_network_setup" => set_up(),
        "after_network_setup" => {
            hook::read_json(|document| request::options(document).map(drop))?;
            forget()
        }
        "after_network_setup_fail" => {
            hook::read_json(|document| request::options(document).map(drop))?;
            go_back(&state::lock(HOOK, TIMEOUT)?)
        }
        "after_get_caps" => report().map_err(Error::keep_going),
        "after_get_stats" => stats::report().map_err(Error::keep_going),
        other => Err(Error::new(format!(
            "{other:?}: expected an event of the hook ovs"
        ))),
    }
}

fn report() -> Result {
    let switch = Configured::now()?.switch;
    hook::edit_json(|document, edits| caps::add(&switch, document, edits))
}

fn set_up() -> Result {
    let lock = state::lock(HOOK, TIMEOUT)?;
    // From a set-up that was cut off.
    go_back(&lock).context(format!("cannot go back to what {CUT_OFF} says"))?;
    let mut is_begun = false;
    let done = hook::edit_json(|document, edits| {
        let options = request::options(document)?;
        if options
            .get("_inOVSRollback")
            .is_some_and(|it| it.source() == "true")
        {
            // VDSM's own hook asks for this; we have gone back already.
            let request = request::request(document)?;
            edits.set(&request, "networks", &json!({}))?;
            return edits.set(&request, "bondings", &json!({}));
        }
        let request = Request::read(document)?;
        if request.is_other() {
            return Ok(());
        }
        if let Some(problem) = request
            .to
            .switch
            .problem(&request.from.switch, request::has_nic)
        {
            return Err(Error::new(problem));
        }
        if request.is_change() {
            is_begun = true;
            build(&lock, &request)?;
        }
        request.cut(edits)
    });
    if done.is_err() && is_begun {
        go_back(&lock).unwrap_or_else(|error| log::warn!("cannot go back: {error}"));
    }
    done
}

/// How to go back is kept from before the first change until VDSM says how its set-up ended.
fn build(lock: &Lock, request: &Request<'_>) -> Result {
    let (from, to) = (&request.from, &request.to);
    let files = request.files.keys();
    let files = files.map(|path| Ok((path.display().to_string(), json!(content(path)?))));
    let setup = json!({
        "from": from.attributes,
        "to": to.attributes,
        // VDSM's running configuration as it was.
        "files": files.collect::<Result<Value>>()?,
        "links": Links::from_switch(&to.switch).value(),
    });
    Records::root_only(HOOK)?.write(STATE, &setup.to_string())?;
    transact(lock, plan::commands(&from.switch, &to.switch))?;
    links::apply(lock, &from.switch, &to.switch)?;
    change(&request.files).map(drop)
}

fn change(files: &Files) -> Result<bool> {
    transaction::change(files, Some(Path::new(networks::STAGING)))
}

fn content(path: &Path) -> Result<Option<String>> {
    let content = transaction::content(path)?;
    content
        .map(String::from_utf8)
        .transpose()
        .context(path.display())
}

/// Undoes a set-up that was begun, if there is one.
fn go_back(lock: &Lock) -> Result {
    drop_old_state()?;
    if !Path::new(CUT_OFF).exists() {
        return Ok(());
    }
    let records = Records::root_only(HOOK)?;
    let Some(text) = records.read(STATE)? else {
        return Ok(());
    };
    let setup: Value = serde_json::from_str(&text).context("the state before the set-up")?;
    let (from, to) = (&setup["from"], &setup["to"]);
    let files = setup["files"].as_object();
    let files = files.filter(|_| from.is_object() || to.is_object());
    let files = files
        .ok_or_else(|| Error::new("the state before the set-up: not what this hook has written"))?;
    let file = |(path, old): (&String, &Value)| {
        let content = old.as_str().map(str::to_owned);
        let path = PathBuf::from(path);
        if networks::is_configuration(&path) {
            Ok((path, content))
        } else {
            Err(Error::new(format!(
                "the state before the set-up: {}: expected a file of VDSM's running configuration",
                path.display()
            )))
        }
    };
    let files: Result<Files> = files.iter().map(file).collect();
    change(&files?)?;
    let (from, to) = (Configured::kept(from)?.switch, Configured::kept(to)?.switch);
    transact(lock, plan::commands_back(&to, &from))?;
    links::apply(lock, &to, &from)?;
    Links::kept(&setup["links"]).restore(lock)?;
    forget()
}

/// An earlier version kept the state in the directory of VDSM's user, whose word is no order to
/// root.
fn drop_old_state() -> Result {
    let records = Records::for_hook(HOOK)?;
    if records.names()?.iter().any(|name| name == STATE) {
        records.remove(STATE)?;
        log::warn!(
            "a set-up that was cut off under an earlier version is not taken back: its state was VDSM's to change, and is removed"
        );
    }
    Ok(())
}

fn forget() -> Result {
    if Path::new(CUT_OFF).exists() {
        Records::root_only(HOOK)?.remove(STATE)
    } else {
        Ok(())
    }
}

/// One transaction: all of it happens, or nothing.
/// Whoever comes after a hook that was killed waits until this has ended.
fn transact(lock: &Lock, commands: Vec<Vec<String>>) -> Result {
    if commands.is_empty() {
        return Ok(());
    }
    let mut words = vec![OWN_TIMEOUT.to_owned()];
    for command in commands {
        words.push("--".to_owned());
        words.extend(command);
    }
    let ended = command::run_under(lock, "ovs-vsctl", &words, TIMEOUT)?.checked();
    ended.map(drop)
}
