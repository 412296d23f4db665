// SPDX-License-Identifier: GPL-2.0-or-later

//! VDSM's hook contract: the data file, the event, messages and exit statuses.
//!
//! VDSM starts a hook without arguments and names a data file in the environment: `_hook_domxml`
//! (XML, or an empty file where the event has no document) or `_hook_json`. Exit 0 is success, 1 a
//! failure after which the other hooks of the event run, 2 a failure that skips them. What stands
//! on stderr is copied into VDSM's log and, for events that abort, into the message that the
//! administrator sees.

use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;
use std::{env, fs, io};

use crate::error::one_line;
use crate::host::{command, files, temporary, worker};
use crate::xml::{Document, Edits};
use crate::{Context, Error, Result, json, xml};

/// The largest document that is read: far above any domain XML, far below what would hurt a host.
const LARGEST_DOCUMENT: u64 = 64 << 20;

/// What a hook program knows of itself; [`program!`](crate::program) makes it.
#[derive(Clone, Copy)]
pub struct Program {
    /// Folder, program, and prefix of every message.
    pub name: &'static str,
    /// The suite's version.
    pub version: &'static str,
    /// The text of `--help`.
    pub help: &'static str,
    /// The text of `--describe`, JSON.
    pub description: &'static str,
}

/// The calling program's [`Program`], made from its `hook.json` when it was built.
#[macro_export]
macro_rules! program {
    () => {
        include!(concat!(env!("OUT_DIR"), "/", env!("CARGO_BIN_NAME"), ".rs"))
    };
}

/// Runs a hook program: answers `--help`, `--version` and `--describe`, else calls `body` and
/// turns its result into VDSM's exit status and one line on stderr.
pub fn run(program: Program, body: impl FnOnce() -> Result) -> ExitCode {
    let name = program.name;
    catch_panics(name);
    let result = match env::args_os().nth(1) {
        Some(argument) => answer(&argument, &program),
        None => {
            start_log(name);
            body()
        }
    };
    end(name, result)
}

/// [`run`] of a hook that works on storage, where any call may block for ever: where `is_asked` is
/// true a child does the work, which is given up after `limit`. What the child says is said here,
/// and we end as it does.
pub fn run_apart(
    program: Program,
    limit: Duration,
    is_asked: impl FnOnce() -> Result<bool>,
    body: impl FnOnce() -> Result,
) -> ExitCode {
    if worker::is_other_self() {
        let name = program.name;
        catch_panics(name);
        start_log(name);
        return end(name, body());
    }
    let mut status = ExitCode::SUCCESS;
    let own = run(program, || {
        if is_asked()? {
            let ended = worker::other_self(limit)?;
            let _ = io::stderr().write_all(&ended.stderr);
            let ended = ended.status.filter(|_| ended.in_time).ok_or_else(|| {
                Error::new(format!(
                    "gave up after {} seconds: its storage does not answer",
                    limit.as_secs()
                ))
            })?;
            status = exit_like(ended)?;
        }
        Ok(())
    });
    if own == ExitCode::SUCCESS {
        status
    } else {
        own
    }
}

/// As a child has exited. One that was killed has not said why.
fn exit_like(status: ExitStatus) -> Result<ExitCode> {
    if let Some(signal) = status.signal() {
        let problem = format!("the child that does its work was killed by signal {signal}");
        return Err(Error::new(problem));
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(2)))
}

fn end(name: &str, result: Result) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(name, &error.to_string());
            ExitCode::from(error.status())
        }
    }
}

/// Runs a root helper, a program of its hook: as [`run`], but `body` gets the arguments, and has
/// `limit` for its work. Its caller cannot end it, so it ends itself then, with what it runs: a
/// helper that changes more than one thing keeps a record, by which the next one goes on.
pub fn run_helper(
    program: Program,
    limit: Duration,
    body: impl FnOnce(&[String]) -> Result,
) -> ExitCode {
    let name = program.name;
    run_with_arguments(program, |arguments| {
        let seconds = limit.as_secs();
        command::end_after(limit, move || {
            say(name, &format!("gave up after {seconds} s"));
        })?;
        body(arguments)
    })
}

/// [`run`] of a program that others than VDSM call: `body` gets the arguments.
pub fn run_with_arguments(program: Program, body: impl FnOnce(&[String]) -> Result) -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let asks = arguments.first().and_then(|first| first.to_str());
    if asks.is_some_and(|first| first.starts_with('-')) {
        return run(program, || Ok(()));
    }
    let name = program.name;
    catch_panics(name);
    start_log(name);
    let arguments: std::result::Result<Vec<String>, OsString> =
        arguments.into_iter().map(OsString::into_string).collect();
    let result = match arguments {
        Ok(arguments) => body(&arguments),
        Err(argument) => Err(Error::new(format!("{argument:?} is not UTF-8"))),
    };
    end(name, result)
}

/// Puts one line on stderr. A closed stderr is no reason to fail.
fn say(name: &str, message: &str) {
    let _ = writeln!(io::stderr(), "{name}: {}", one_line(message));
}

/// Reports what a hook did: for the few whose result cannot be told from their property. All
/// others are silent on success.
pub fn report(name: &str, message: &str) {
    say(name, message);
}

fn answer(argument: &OsString, program: &Program) -> Result {
    let mut out = io::stdout();
    match argument.to_str() {
        Some("--help" | "-h") => out.write_all(program.help.as_bytes())?,
        Some("--version" | "-V") => writeln!(out, "{} {}", program.name, program.version)?,
        Some("--describe") => out.write_all(program.description.as_bytes())?,
        _ => {
            return Err(Error::new(format!(
                "unknown argument {argument:?}: VDSM passes none; try --help, --version or --describe"
            )));
        }
    }
    Ok(())
}

/// VDSM takes a death by signal for a failure without a word, so a panic becomes one line and
/// exit 2. This holds under `panic = "abort"` too: the hook runs before the abort.
fn catch_panics(name: &'static str) {
    std::panic::set_hook(Box::new(move |info| {
        let payload = info.payload();
        let what = payload.downcast_ref::<&str>().copied();
        let what = what.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let what = what.unwrap_or("unknown cause");
        let place = info
            .location()
            .map(|at| format!(" at {at}"))
            .unwrap_or_default();
        say(
            name,
            &format!("internal error, please report it: {what}{place}"),
        );
        #[allow(clippy::exit)] // The only way out of a panic with a chosen status.
        std::process::exit(2);
    }));
}

/// Warnings go to stderr; `VDSM_HOOK_LOG=debug` shows more. A variable of its own, because every
/// custom property is an environment variable and `RUST_LOG` may mean something to others.
fn start_log(name: &'static str) {
    let mut builder = env_logger::Builder::new();
    builder.filter_level(log::LevelFilter::Warn);
    if let Ok(level) = env::var("VDSM_HOOK_LOG") {
        builder.parse_filters(&level);
    }
    builder.format(move |out, record| {
        let level = record
            .level()
            .as_str()
            .to_ascii_lowercase()
            .replace("warn", "warning");
        writeln!(
            out,
            "{name}: {level}: {}",
            one_line(&record.args().to_string())
        )
    });
    // A second logger is impossible: nothing else sets one.
    let _ = builder.try_init();
}

/// The event that fires: the name of the directory that the program was called through.
///
/// VDSM calls a hook by its full path and tells the event in no other way. The last part may be a
/// symbolic link (one program serves several events), and so may the directory.
/// `VDSM_HOOK_EVENT` overrides it, for a dry run.
///
/// # Errors
/// The program was started without a path, so that no directory tells the event.
pub fn event() -> Result<String> {
    if let Some(event) = env::var_os("VDSM_HOOK_EVENT") {
        return Ok(event.to_string_lossy().into_owned());
    }
    let program = PathBuf::from(env::args_os().next().unwrap_or_default());
    let directory = match program.parent() {
        // Found through PATH: only the file itself can tell.
        None => env::current_exe()?.parent().map(Path::to_owned),
        Some(parent) if parent.as_os_str().is_empty() => {
            env::current_exe()?.parent().map(Path::to_owned)
        }
        Some(parent) => Some(fs::canonicalize(parent)?),
    };
    let name = directory.as_deref().and_then(Path::file_name);
    let name = name.ok_or_else(|| Error::new("cannot tell the event from the program's path"))?;
    Ok(name.to_string_lossy().into_owned())
}

/// Reads the event's XML, lets `change` record edits, and replaces the file if they change it.
///
/// An empty file means that the event has no document: `change` is not called. The new text is
/// parsed before it is written, and written to a temporary file that is renamed into place, so
/// the data file holds either the old document or the whole new one.
///
/// # Errors
/// No XML in this event, a file that cannot be read or parsed, whatever `change` returns, and a
/// result that cannot be written. The data file is then what it was.
pub fn edit(change: impl FnOnce(&Document<'_>, &mut Edits<'_>) -> Result) -> Result {
    let Some((path, text)) = read_document("_hook_domxml", "_hook_json")? else {
        return Ok(());
    };
    let document = xml::parse(&text).context(path.display())?;
    let mut edits = Edits::new(&document);
    change(&document, &mut edits)?;
    save(&path, edits.finish()?)
}

/// Hands the event's XML to `look`, without a way to change it. Not called for an empty file.
///
/// # Errors
/// As [`edit`].
pub fn read(look: impl FnOnce(&Document<'_>) -> Result) -> Result {
    let Some((path, text)) = read_document("_hook_domxml", "_hook_json")? else {
        return Ok(());
    };
    look(&xml::parse(&text).context(path.display())?)
}

/// Reads the event's JSON, lets `change` record edits, and replaces the file if they change it.
/// As [`edit`], byte for byte.
///
/// # Errors
/// As [`edit`].
pub fn edit_json(
    change: impl for<'a> FnOnce(json::Node<'a>, &mut json::Edits<'a>) -> Result,
) -> Result {
    let Some((path, text)) = read_document("_hook_json", "_hook_domxml")? else {
        return Ok(());
    };
    let document = json::Node::parse(&text).context(path.display())?;
    let mut edits = json::Edits::new(&text);
    change(document, &mut edits)?;
    save(&path, edits.finish()?)
}

/// Hands the event's JSON to `look`, without a way to change it. Not called for an empty file.
///
/// # Errors
/// As [`edit`].
pub fn read_json(look: impl FnOnce(json::Node<'_>) -> Result) -> Result {
    let Some((path, text)) = read_document("_hook_json", "_hook_domxml")? else {
        return Ok(());
    };
    look(json::Node::parse(&text).context(path.display())?)
}

/// The error of JSON that is not of the event's shape.
pub fn unexpected_json(expected: &str) -> Error {
    let path = env::var_os("_hook_json").unwrap_or_default();
    let path = Path::new(&path).display();
    Error::new(format!("{path}: unexpected JSON: expected {expected}"))
}

/// The data file that VDSM names in the variable `wanted`. Where it names one of the `other` kind
/// the hook is installed for an event that it does not serve.
fn data_file(wanted: &str, other: &str) -> Result<PathBuf> {
    match env::var_os(wanted) {
        Some(path) if !path.is_empty() => Ok(PathBuf::from(path)),
        _ if env::var_os(other).is_some() => Err(Error::new(format!(
            "this event hands over {other}, the hook works on {wanted}: is it installed for the right event?"
        ))),
        _ => Err(Error::new(format!(
            "the variable {wanted} is not set: VDSM names the data file there; at a shell use 'vdsm-hooks run'"
        ))),
    }
}

/// The data file and its text, see [`data_file`]; nothing for an empty file.
fn read_document(wanted: &str, other: &str) -> Result<Option<(PathBuf, String)>> {
    let path = data_file(wanted, other)?;
    let bytes = files::read_file(&path, LARGEST_DOCUMENT)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some((path, text))),
        Err(error) => Err(Error::new(format!(
            "{}: not UTF-8 at byte {}",
            path.display(),
            error.utf8_error().valid_up_to()
        ))),
    }
}

/// Replaces the data file, if there is anything new.
fn save(path: &Path, new: Option<String>) -> Result {
    new.map_or(Ok(()), |new| temporary::replace_file(path, new.as_bytes()))
}
