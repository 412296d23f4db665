// SPDX-License-Identifier: GPL-2.0-or-later

//! `vdsm-hooks run`: fires an event on a copy of a document, as VDSM would.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::error::ErrorKind;

use vdsm_hooks::hook::manifest::Manifest;
use vdsm_hooks::host::files::STANDARD_INPUT;
use vdsm_hooks::host::temporary;
use vdsm_hooks::paths::HOOKS;
use vdsm_hooks::runner::data_file::{self, Input, Source};
use vdsm_hooks::runner::decision::{self, Decision, End, Outcome};
use vdsm_hooks::runner::environment::{self, Layers, Variables};
use vdsm_hooks::runner::installed::{self, Entry};
use vdsm_hooks::runner::{Firing, interrupt, vdsm_log};
use vdsm_hooks::vdsm::events::{self, Data, Environment, Event, Failure, Start};
use vdsm_hooks::{Context as _, Error, Result};

use crate::names::nearest;
use crate::report::{Ending, Head, Look, Report};
use crate::{catalog, diff, print, schema};

mod acting;
mod cold_start;
mod help;
mod unread;

use unread::Readers;

/// What stands for the id of a VM that has none: an event of a VM always has one.
const NO_ID: &str = "00000000-0000-0000-0000-000000000000";
/// The status of `--strict` where VDSM goes on and something is wrong all the same.
const NOT_RIGHT: u8 = 4;

/// Do on a copy what VDSM would do at an event, and show what each hook made of it
#[derive(clap::Args)]
#[command(after_help = help::SHORT, after_long_help = help::LONG)]
pub(crate) struct Arguments {
    /// Event to fire, for example before_vm_start
    #[arg(value_parser = EventName, hide_possible_values = true)]
    event: &'static Event,

    /// Domain XML, or one device element for the events of devices; it is only read
    #[arg(long, value_name = "FILE", conflicts_with_all = ["data", "log"])]
    domain: Option<PathBuf>,

    /// JSON, for the events that have it; it is only read
    #[arg(long, value_name = "FILE", conflicts_with = "log")]
    data: Option<PathBuf>,

    /// VDSM's log, for the document and the properties of the last start in it of the VM
    #[arg(long, value_name = "FILE", requires = "vm")]
    log: Option<PathBuf>,

    /// Name or id of the VM to look for with --log
    #[arg(long, value_name = "NAME", requires = "log")]
    vm: Option<String>,

    /// Play a VM that wakes up from a saved state, with the document of which VDSM drops what hooks
    /// make of it
    #[arg(long, conflicts_with = "migration")]
    resume: bool,

    /// Play a VM that comes from another host
    #[arg(long)]
    migration: bool,

    /// Custom property of the VM; wins over one in the metadata of the domain XML
    #[arg(short, long = "property", value_name = "NAME=VALUE", value_parser = environment::property)]
    property: Vec<(String, String)>,

    /// Custom property of the device or the vNIC profile, or another parameter of the event
    ///
    /// A VM property of the same name wins, as it does in VDSM.
    #[arg(short = 'd', long = "device-property", value_name = "NAME=VALUE", value_parser = environment::property)]
    device_property: Vec<(String, String)>,

    /// At a device event, which device of the domain XML: its MAC address, target or alias
    #[arg(long, value_name = "NAME")]
    device: Option<String>,

    /// Run only this hook, for example cpuflags or 50_cpuflags; may be repeated
    ///
    /// A hook of the suite may also be called by a property or a package of it.
    #[arg(long, value_name = "NAME")]
    hook: Vec<String>,

    /// Run also hooks of the suite that act on more than the document: on the VM's disks, on files,
    /// networks or services of this host
    #[arg(long)]
    act: bool,

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

    /// End with status 4 where VDSM goes on and something is wrong all the same, for CI
    ///
    /// That is: a hook warned, or was not run for want of --act; the schema has something new against
    /// the result, as with --schema; a property is read by no hook; the engine would not take a value of
    /// -p or -d.
    #[arg(long)]
    strict: bool,

    /// Show every hook, also those that neither changed nor said anything
    #[arg(long)]
    all: bool,

    /// Keep the result in this file; with - it goes to standard output, and the report to standard
    /// error
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Print one JSON object instead of a report; see vdsm-hooks-json(7)
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

fn seconds(text: &str) -> std::result::Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    match Duration::try_from_secs_f64(number) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("expected a number of seconds above 0".to_owned()),
    }
}

/// Reads the name of an event; another one gets the name that was probably meant.
#[derive(Clone)]
struct EventName;

impl TypedValueParser for EventName {
    type Value = &'static Event;

    fn parse_ref(
        &self,
        command: &clap::Command,
        _: Option<&clap::Arg>,
        value: &OsStr,
    ) -> std::result::Result<Self::Value, clap::Error> {
        let name = value.to_string_lossy();
        events::find(&name).ok_or_else(|| {
            let meant = nearest(&name, events::EVENTS.iter().map(|event| event.name));
            let meant = meant.map(|meant| format!(": {meant}?")).unwrap_or_default();
            let problem = format!("VDSM has no event {name:?}{meant}\n");
            clap::Error::raw(ErrorKind::InvalidValue, problem).with_cmd(command)
        })
    }

    /// For completion.
    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let names = events::EVENTS
            .iter()
            .map(|event| PossibleValue::new(event.name));
        Some(Box::new(names))
    }
}

/// Fires the event.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let event = arguments.event;
    check(arguments)?;
    let log = log_of(arguments)?;
    let start = start_of(arguments, log.as_ref())?;
    let mut input = input_of(arguments, log.as_ref())?;
    let of_vm = input.properties.clone();
    merge(&mut input.properties, &arguments.property);
    merge(&mut input.parameters, &arguments.device_property);
    let hooks_dir = std::path::absolute(&arguments.hooks_dir)?;
    let catalog = catalog::all()?;
    let (hooks, there) = chosen(&hooks_dir, event, &arguments.hook, &catalog)?;

    let workplace = tempfile::Builder::new().prefix("vdsm-hooks-").tempdir()?;
    interrupt::clean_up_when_interrupted(workplace.path())?;
    let data_file = workplace.path().join("data");
    write_private(&data_file, &input.data)?;
    let environment = environment_of(arguments, &input, &data_file)?;
    let readers = Readers {
        event,
        fired: &hooks,
        there: &there,
        catalog: &catalog,
        environment: &environment,
    };
    let left_out = acting::left_out(&readers, &input.data, arguments.act);
    let remark =
        start.and_then(|start| cold_start::play(start, input.is_paused, &readers, &left_out));

    let mut report = Report::new(arguments.look(), event, start);
    report.start(&Head {
        hooks: &hooks,
        hooks_dir: &hooks_dir,
        input: &input,
        environment: &environment,
        remark: remark.as_deref(),
        log: log.as_ref(),
    })?;
    let mut firing = Firing {
        event,
        start,
        environment: environment.clone(),
        timeout: arguments.timeout,
        data_file,
        data: Some(input.data.clone()),
    };
    let mut problems = problems_before(arguments, &input, &mut report)?;
    let (outcomes, changes) = fire(&mut firing, &hooks, &left_out, &mut report, &mut problems)?;

    let vm = input.vm_name.as_deref().unwrap_or("x");
    let verdict = decision::judge(event, &outcomes, vm);
    let kept = match &arguments.output {
        Some(output) => Some(keep(output, &firing, verdict.decision)?),
        None => None,
    };
    let ending = Ending {
        verdict: &verdict,
        outcomes: &outcomes,
        changes: &changes,
        problems: problems.as_deref(),
        kept: kept.as_deref(),
        unread: readers.remarks(&arguments.given(), &of_vm),
        log: log.as_ref(),
    };
    let is_wrong = report.end(&ending)?;
    let status = match verdict.decision.status() {
        0 if arguments.strict && is_wrong => NOT_RIGHT,
        status => status,
    };
    Ok(ExitCode::from(status))
}

/// What the schema has against the data; none if nobody asked.
fn problems_before(
    arguments: &Arguments,
    input: &Input,
    report: &mut Report<'_>,
) -> Result<Option<Vec<String>>> {
    if !arguments.wants_schema() || input.data.is_empty() {
        return Ok(None);
    }
    let found = schema::problems(&input.data)?;
    report.schema_before(&found)?;
    Ok(Some(found))
}

/// Fires the hooks one after the other but for those that are left out, and reports each.
fn fire(
    firing: &mut Firing<'_>,
    hooks: &[Entry],
    left_out: &[String],
    report: &mut Report<'_>,
    problems: &mut Option<Vec<String>>,
) -> Result<(Vec<Outcome>, Vec<Change>)> {
    let (mut outcomes, mut changes) = (Vec::new(), Vec::new());
    let mut stopped = firing.event.failure == Failure::CannotStart;
    for hook in hooks {
        let before = firing.data.clone();
        let known = if stopped {
            Some(End::Skipped)
        } else {
            left_out.contains(&hook.name).then_some(End::LeftOut)
        };
        let outcome = firing.fire(hook, known)?;
        stopped |= matches!(outcome.end, End::Status(2) | End::TimedOut);
        let change = Change::from_firing(firing, hook, before.as_deref(), problems.as_mut())?;
        report.hook(&outcome, &change)?;
        outcomes.push(outcome);
        changes.push(change);
    }
    Ok((outcomes, changes))
}

impl Arguments {
    /// Whether libvirt's schema is asked.
    fn wants_schema(&self) -> bool {
        let is_xml = matches!(
            self.event.data,
            Data::Domain | Data::Device | Data::DeviceOrNothing
        );
        self.schema || (self.strict && is_xml)
    }

    fn look(&self) -> Look {
        Look {
            json: self.json,
            all: self.all,
            strict: self.strict,
            color: self.color,
            to_stderr: self.output.as_deref() == Some(Path::new(STANDARD_INPUT)),
        }
    }

    /// The properties that were set: what `-d` sets is one at some events only.
    fn given(&self) -> [&[(String, String)]; 2] {
        let of_device = if unread::are_properties(self.event) {
            self.device_property.as_slice()
        } else {
            &[]
        };
        [&self.property, of_device]
    }
}

/// Refuses what VDSM could not do either.
fn check(arguments: &Arguments) -> Result {
    let event = arguments.event;
    let name = event.name;
    if event.data.is_json() {
        if arguments.domain.is_some() || arguments.log.is_some() {
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
    if arguments.device.is_some() && arguments.domain.is_none() && arguments.log.is_none() {
        return Err(Error::new(
            "--device is one of a domain: name that with --domain or --log",
        ));
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
    check_streams(arguments)?;
    if arguments.wants_schema() {
        schema::check_installed()?;
    }
    Ok(())
}

/// Refuses to read standard input twice, or to write two things to standard output.
fn check_streams(arguments: &Arguments) -> Result {
    let files = [
        ("--domain", &arguments.domain),
        ("--data", &arguments.data),
        ("--log", &arguments.log),
        ("--sysconfig", &arguments.sysconfig),
    ];
    let is_stream = |file: &&PathBuf| file.as_path() == Path::new(STANDARD_INPUT);
    let readers = files
        .iter()
        .filter(|(_, file)| file.as_ref().filter(is_stream).is_some());
    let readers: Vec<_> = readers.map(|(option, _)| *option).collect();
    if readers.len() > 1 {
        let readers = readers.join(" and ");
        return Err(Error::new(format!(
            "{readers} cannot both be standard input"
        )));
    }
    if arguments.json && arguments.output.as_ref().filter(is_stream).is_some() {
        return Err(Error::new(
            "--json and --output cannot both go to standard output",
        ));
    }
    Ok(())
}

/// The start in VDSM's log that is to be played again.
fn log_of(arguments: &Arguments) -> Result<Option<vdsm_log::Start>> {
    match (&arguments.log, &arguments.vm) {
        (Some(log), Some(vm)) => vdsm_log::last_start(log, vm).map(Some),
        _ => Ok(None),
    }
}

/// In what way the VM starts, as far as it does at the event.
fn start_of(arguments: &Arguments, log: Option<&vdsm_log::Start>) -> Result<Option<Start>> {
    let event = arguments.event;
    let wanted = match (arguments.resume, arguments.migration) {
        (true, _) => Some(Start::Resume),
        (_, true) => Some(Start::Migration),
        _ => None,
    };
    let possible = event.starts();
    match wanted {
        Some(wanted) if !possible.contains(&wanted) => {
            let others = events::EVENTS
                .iter()
                .filter(|other| other.starts().contains(&wanted));
            let others: Vec<_> = others.map(|other| other.name).collect();
            let (name, others) = (event.name, others.join(", "));
            Err(Error::new(format!(
                "VDSM does not fire {name} for {wanted}, but {others}"
            )))
        }
        None if log.is_some_and(|log| log.is_resume) && possible.contains(&Start::Resume) => {
            Ok(Some(Start::Resume))
        }
        wanted => Ok(wanted.or_else(|| possible.first().copied())),
    }
}

fn input_of(arguments: &Arguments, log: Option<&vdsm_log::Start>) -> Result<Input> {
    let named;
    let source = match (log, arguments.domain.as_ref().or(arguments.data.as_ref())) {
        (Some(log), _) => {
            named = format!("the start of {}", log.time);
            Source::Text(&log.document, &named)
        }
        (None, Some(file)) => Source::File(file),
        (None, None) => Source::Nothing,
    };
    data_file::input(arguments.event, source, arguments.device.as_deref())
}

fn environment_of(
    arguments: &Arguments,
    input: &Input,
    data_file: &Path,
) -> Result<BTreeMap<String, String>> {
    let vm_id = arguments.vm_id.as_deref().or(input.vm_id.as_deref());
    let hooking = environment::hooking_directory(arguments.hooking.as_deref())?;
    environment::build(&Layers {
        event: arguments.event,
        sysconfig: arguments.sysconfig.as_deref(),
        parameters: &input.parameters,
        properties: &input.properties,
        vm_id: Some(vm_id.unwrap_or(NO_ID)),
        hooking: hooking.as_deref(),
        data_file,
    })
}

fn merge(below: &mut Variables, above: &[(String, String)]) {
    below.retain(|(name, _)| above.iter().all(|(winner, _)| winner != name));
    below.extend(above.iter().cloned());
}

/// The hooks that VDSM would run, or those of them that were asked for; and the names of all.
fn chosen(
    hooks_dir: &Path,
    event: &Event,
    wanted: &[String],
    catalog: &[Manifest],
) -> Result<(Vec<Entry>, Vec<String>)> {
    if !hooks_dir.is_dir() {
        return Err(Error::new(format!(
            "{}: no such directory; --hooks-dir names the one that holds the event directories",
            hooks_dir.display()
        )));
    }
    let mut entries = installed::entries(&hooks_dir.join(event.name))?;
    let runs = entries.iter().filter(|entry| entry.skipped.is_none());
    let there: Vec<_> = runs.map(|entry| entry.name.clone()).collect();
    let readers = Readers {
        event,
        fired: &[],
        there: &there,
        catalog,
        environment: &BTreeMap::new(),
    };
    let mut meant = Vec::new();
    for name in wanted {
        meant.extend(readers.meant(&entries, name)?);
    }
    entries.retain(|entry| {
        entry.skipped.is_none() && (wanted.is_empty() || meant.contains(&entry.name))
    });
    Ok((entries, there))
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
fn keep(file: &Path, firing: &Firing<'_>, decision: Decision) -> Result<String> {
    let data = firing.data.as_deref();
    let is_stream = file == Path::new(STANDARD_INPUT);
    let shown = if is_stream {
        "standard output".to_owned()
    } else {
        file.display().to_string()
    };
    if decision == Decision::Hangs {
        return Ok(format!("{shown} is not written: a hook did not finish"));
    }
    let problem = data_file::problem(firing.event, firing.start, data);
    let (None, Some(data)) = (problem, data) else {
        return Ok(format!(
            "{shown} is not written: VDSM could not use the data"
        ));
    };
    let text = data_file::read_back(data)?;
    match fs::metadata(file) {
        _ if is_stream => print(&text)?,
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
