// SPDX-License-Identifier: GPL-2.0-or-later

//! `vdsm-hooks run`: fires an event on a copy of a document, as VDSM would.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::PossibleValuesParser;

use vdsm_hooks::host::temporary;
use vdsm_hooks::paths::HOOKS;
use vdsm_hooks::runner::decision::{self, Decision, End};
use vdsm_hooks::runner::environment::{self, Layers};
use vdsm_hooks::runner::installed::{self, Entry};
use vdsm_hooks::runner::{Firing, data_file, interrupt};
use vdsm_hooks::vdsm::events::{self, Data, Environment, Event, Failure};
use vdsm_hooks::{Context as _, Error, Result};

use crate::report::Report;
use crate::{diff, schema};

/// What stands for the id of a VM that has none: an event of a VM always has one.
const NO_ID: &str = "00000000-0000-0000-0000-000000000000";

/// Do on a copy what VDSM would do at an event, and show what each hook made of it
#[derive(clap::Args)]
#[command(after_help = SHORT, after_long_help = LONG)]
pub(crate) struct Arguments {
    /// Event to fire, for example before_vm_start
    #[arg(value_parser = PossibleValuesParser::new(events::EVENTS.map(|event| event.name)), hide_possible_values = true)]
    event: String,

    /// Domain XML, or one device element for the events of devices; it is only read
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    domain: Option<PathBuf>,

    /// JSON, for the events that have it; it is only read
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,

    /// Custom property of the VM; wins over one in the metadata of the domain XML
    #[arg(short, long = "property", value_name = "NAME=VALUE", value_parser = environment::property)]
    property: Vec<(String, String)>,

    /// Custom property of the device or the vNIC profile, or another parameter of the event
    ///
    /// A VM property of the same name wins, as it does in VDSM.
    #[arg(short = 'd', long = "device-property", value_name = "NAME=VALUE", value_parser = environment::property)]
    device_property: Vec<(String, String)>,

    /// At a device event, which device of the domain XML: its MAC address, target or alias
    #[arg(long, value_name = "NAME", requires = "domain")]
    device: Option<String>,

    /// Run only this hook, for example cpuflags or 50_cpuflags; may be repeated
    #[arg(long, value_name = "NAME")]
    hook: Vec<String>,

    /// Directory with the event directories
    #[arg(long, value_name = "DIR", default_value = HOOKS)]
    hooks_dir: PathBuf,

    /// Validate the XML before and after each hook against libvirt's schema
    ///
    /// Names the hook that broke it. What was wrong before any hook, such as a seclabel of the
    /// engine's own, is nobody's fault: such seclabels are left out on both sides, and where more
    /// is wrong, the parts that hooks change are judged, each against its like.
    #[arg(long)]
    schema: bool,

    /// Keep the result in this file
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Print one JSON object instead of a report
    #[arg(long)]
    json: bool,

    /// Whether to colour the report
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    color: clap::ColorChoice,

    /// Give up on a hook after this time and say that VDSM would have waited indefinitely
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    timeout: Duration,

    /// Id of the VM [default: the uuid in the domain XML]
    #[arg(long, value_name = "UUID")]
    vm_id: Option<String>,

    /// The daemon's settings, host-wide defaults of properties among them [default:
    /// /etc/sysconfig/vdsm, for network events /etc/sysconfig/supervdsmd]
    #[arg(long, value_name = "FILE")]
    sysconfig: Option<PathBuf>,

    /// Directory of VDSM's hooking.py, for hooks in Python [default: that of the installed VDSM]
    #[arg(long, value_name = "DIR")]
    hooking: Option<PathBuf>,
}

const SHORT: &str = "\
Example:
  vdsm-hooks run before_vm_start --domain vm1.xml -p cpuflags=+pcid

Exit status: 0 VDSM goes on, 1 it goes on although a hook failed, 2 it stops the operation,
3 it would wait indefinitely, 64 the dry run was not possible. More with --help.";

const LONG: &str = "\
Examples:
  All installed hooks, with the properties that the VM has in its metadata:
      virsh dumpxml vm1 > vm1.xml; vdsm-hooks run before_vm_start --domain vm1.xml
  One hook, one property, libvirt's opinion of the result, and the result itself:
      vdsm-hooks run before_vm_start --domain vm1.xml --hook cpuflags \\
          -p cpuflags=+pcid --schema --output new.xml
  A device event, with one NIC of the domain:
      vdsm-hooks run before_nic_hotplug --domain vm1.xml --device 00:1a:4a:16:01:51 \\
          -d ifacemacspoof=true
  A JSON event:
      vdsm-hooks run after_get_stats --data stats.json

What is as in VDSM:
  Every executable file of the event's directory runs, in byte-wise order of the names, in any
  language, in '/', with standard input at its end, without arguments, its standard output
  dropped. Status 2 skips the rest. Each hook sees what the one before left. The result is read
  back and, where VDSM parses it, parsed.
  The environment, a later one wins: what systemd gives to the daemon (PATH, the host's locale,
  and, where the daemon is not root, HOME and USER of vdsm; nothing of your shell); the daemon's
  settings file; device properties and -d; VM properties and -p; vmId; PYTHONPATH with VDSM's
  hooking module; _hook_domxml or _hook_json.

What is not:
  Only the document is a copy. What a hook does to the host (files, networks, devices), it does.
  Hooks run as you; most run as vdsm in VDSM: 'runuser -u vdsm -- vdsm-hooks run ...'.
  VDSM has no time limit and never validates. The launch flags file is not made.

Exit status, whatever --schema says:
  0   VDSM goes on with the operation
  1   it goes on although a hook failed: the event ignores failures
  2   it stops the operation: a hook failed where that counts, or the data cannot be read back
  3   it would wait indefinitely: a hook did not end in time
  64  the dry run was not possible: wrong call, unreadable file, no such hook";

fn seconds(text: &str) -> std::result::Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    match Duration::try_from_secs_f64(number) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("expected a number of seconds above 0".to_owned()),
    }
}

/// Fires the event.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let event = events::find(&arguments.event)
        .ok_or_else(|| Error::new(format!("VDSM has no event {:?}", arguments.event)))?;
    check(arguments, event)?;
    let file = arguments.domain.as_deref().or(arguments.data.as_deref());
    let mut input = data_file::input(event, file, arguments.device.as_deref())?;
    merge(&mut input.properties, &arguments.property);
    merge(&mut input.parameters, &arguments.device_property);
    let hooks_dir = std::path::absolute(&arguments.hooks_dir)?;
    let hooks = chosen(&hooks_dir, event, &arguments.hook)?;

    let workplace = tempfile::Builder::new().prefix("vdsm-hooks-").tempdir()?;
    interrupt::clean_up_when_interrupted(workplace.path())?;
    let data_file = workplace.path().join("data");
    write_private(&data_file, &input.data)?;
    let vm_id = arguments.vm_id.as_deref().or(input.vm_id.as_deref());
    let hooking = environment::hooking_directory(arguments.hooking.as_deref())?;
    let environment = environment::build(&Layers {
        event,
        sysconfig: arguments.sysconfig.as_deref(),
        parameters: &input.parameters,
        properties: &input.properties,
        vm_id: Some(vm_id.unwrap_or(NO_ID)),
        hooking: hooking.as_deref(),
        data_file: &data_file,
    })?;

    let mut report = Report::new(arguments.json, arguments.color, event);
    report.start(&hooks, &hooks_dir, &input, &environment)?;
    let mut firing = Firing {
        event,
        environment,
        timeout: arguments.timeout,
        data_file,
        data: Some(input.data.clone()),
    };
    // What the schema has against the data; none if nobody asked.
    let mut problems = None;
    if arguments.schema && !input.data.is_empty() {
        let found = schema::problems(&input.data)?;
        report.schema_before(&found)?;
        problems = Some(found);
    }
    let (mut outcomes, mut changes) = (Vec::new(), Vec::new());
    let mut stopped = event.failure == Failure::CannotStart;
    for hook in &hooks {
        let before = firing.data.clone();
        let outcome = firing.fire(hook, stopped)?;
        stopped |= matches!(outcome.end, End::Status(2) | End::TimedOut);
        let change = Change::from_firing(&firing, hook, before.as_deref(), problems.as_mut())?;
        report.hook(&outcome, &change)?;
        outcomes.push(outcome);
        changes.push(change);
    }

    let vm = input.vm_name.as_deref().unwrap_or("x");
    let verdict = decision::judge(event, &outcomes, vm);
    let kept = match &arguments.output {
        Some(output) => Some(keep(output, event, &firing, verdict.decision)?),
        None => None,
    };
    report.end(
        &verdict,
        &outcomes,
        &changes,
        problems.as_deref(),
        kept.as_deref(),
    )?;
    Ok(ExitCode::from(verdict.decision.status()))
}

/// Refuses what VDSM could not do either.
fn check(arguments: &Arguments, event: &Event) -> Result {
    let name = event.name;
    if event.data.is_json() {
        if arguments.domain.is_some() {
            return Err(Error::new(format!("{name} has JSON data: use --data")));
        }
        if arguments.schema {
            return Err(Error::new(format!(
                "{name} has JSON data: there is no schema for it"
            )));
        }
    } else if arguments.data.is_some() {
        return Err(Error::new(format!("{name} has no JSON data: use --domain")));
    }
    if arguments.device.is_some() && !matches!(event.data, Data::Device | Data::DeviceOrNothing) {
        return Err(Error::new(format!("{name} is not an event of a device")));
    }
    if !arguments.property.is_empty() && event.environment == Environment::Bare {
        return Err(Error::new(format!(
            "VDSM passes no properties at {name}: a default for the whole host goes into its settings file, see --sysconfig"
        )));
    }
    if !arguments.device_property.is_empty() && event.environment != Environment::VmAndParameters {
        return Err(Error::new(format!(
            "VDSM passes no device properties at {name}"
        )));
    }
    if arguments.schema {
        schema::check_installed()?;
    }
    Ok(())
}

fn merge(below: &mut environment::Variables, above: &[(String, String)]) {
    below.retain(|(name, _)| above.iter().all(|(winner, _)| winner != name));
    below.extend(above.iter().cloned());
}

/// The hooks that VDSM would run, or those of them that were asked for.
fn chosen(hooks_dir: &Path, event: &Event, wanted: &[String]) -> Result<Vec<Entry>> {
    if !hooks_dir.is_dir() {
        return Err(Error::new(format!(
            "{}: no such directory; --hooks-dir names the one that holds the event directories",
            hooks_dir.display()
        )));
    }
    let mut entries = installed::entries(&hooks_dir.join(event.name))?;
    for name in wanted {
        if let Some(entry) = entries
            .iter()
            .find(|entry| installed::is_called(&entry.name, name))
        {
            if let Some(why) = entry.skipped {
                return Err(Error::new(format!(
                    "VDSM would not run {}: {why}",
                    entry.path.display()
                )));
            }
            continue;
        }
        let there = entries.iter().filter(|entry| entry.skipped.is_none());
        let there: Vec<_> = there.map(|entry| entry.name.as_str()).collect();
        let there = match there.as_slice() {
            [] => "there is no hook at all".to_owned(),
            names => format!("there are {}", names.join(", ")),
        };
        let event = event.name;
        return Err(Error::new(format!("no hook {name:?} at {event}: {there}")));
    }
    entries.retain(|entry| {
        let is_it = |name: &String| installed::is_called(&entry.name, name);
        entry.skipped.is_none() && (wanted.is_empty() || wanted.iter().any(is_it))
    });
    Ok(entries)
}

/// What a hook made of the data, for people.
pub(crate) struct Change {
    /// Unified diff; empty for nothing.
    pub(crate) diff: String,
    /// What libvirt's schema has against it since this hook; none if it was not asked.
    pub(crate) schema: Option<Vec<String>>,
}

impl Change {
    /// `known` is what the schema had against the data before, and has afterwards.
    fn from_firing(
        firing: &Firing<'_>,
        hook: &Entry,
        before: Option<&[u8]>,
        known: Option<&mut Vec<String>>,
    ) -> Result<Change> {
        let after = firing.data.as_deref();
        let is_changed = after != before;
        let before = before.unwrap_or_default();
        let diff = match after {
            Some(after) if is_changed => {
                diff::unified(before, after, firing.event.data.is_json(), &hook.name)
            }
            _ => String::new(),
        };
        let Some(known) = known else {
            return Ok(Change { diff, schema: None });
        };
        let mut new = Vec::new();
        if is_changed {
            let data = after.unwrap_or_default();
            let now = schema::problems(data)?;
            new = if known.is_empty() {
                now.clone()
            } else {
                schema::new_problems(before, data, &now)?
            };
            *known = now;
        }
        Ok(Change {
            diff,
            schema: Some(new),
        })
    }
}

/// A file like those that VDSM makes for its hooks.
fn write_private(path: &Path, content: &[u8]) -> Result {
    let mut options = OpenOptions::new();
    let created = options.write(true).create_new(true).mode(0o600).open(path);
    created
        .and_then(|mut file| file.write_all(content))
        .context(path.display())
}

/// Writes the result, and says what was done.
fn keep(file: &Path, event: &Event, firing: &Firing<'_>, decision: Decision) -> Result<String> {
    let data = firing.data.as_deref();
    let shown = file.display();
    if decision == Decision::Hangs {
        return Ok(format!("{shown} is not written: a hook did not finish"));
    }
    let (None, Some(data)) = (data_file::problem(event, data), data) else {
        return Ok(format!(
            "{shown} is not written: VDSM could not read the data"
        ));
    };
    let text = data_file::read_back(data)?;
    match fs::metadata(file) {
        Ok(old) if old.is_file() => temporary::replace_file(file, text.as_bytes())?,
        // A terminal or a pipe cannot be replaced.
        Ok(_) => fs::write(file, text).context(&shown)?,
        Err(_) => {
            let directory = file
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty());
            tempfile::Builder::new()
                .permissions(Permissions::from_mode(0o666))
                .tempfile_in(directory.unwrap_or(Path::new(".")))
                .and_then(|mut new| new.write_all(text.as_bytes()).map(|()| new))
                .and_then(|new| new.persist(file).map_err(io::Error::from))
                .context(&shown)?;
        }
    }
    Ok(format!("the result is in {shown}"))
}
