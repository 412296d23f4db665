// SPDX-License-Identifier: GPL-2.0-or-later

//! A hook as a program: its arguments, its log, what it says, and its exit status.

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;
use std::{env, io};

use crate::error::one_line;
use crate::host::{command, worker};
use crate::{Context as _, Error, Result};

/// What a hook program knows of itself; [`program!`](crate::program!) makes it.
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

/// Runs a hook program: answers `--help`, `--version` and `--describe`, else calls `body` and
/// turns its result into VDSM's exit status and one line on stderr.
///
/// ```
/// use std::process::ExitCode;
/// use vdsm_hooks::{Error, Result, hook};
/// # const PROGRAM: hook::Program =
/// #     hook::Program { name: "watchdog", version: "1", help: "", description: "" };
///
/// fn run() -> Result {
///     Err(Error::new("watchdog=\"on\": expected one of reset, poweroff"))
/// }
/// # fn main() {
/// // PROGRAM is program!() in a hook.
/// let status = hook::run(PROGRAM, run);
/// // On stderr: watchdog="on": expected one of reset, poweroff
/// assert_eq!(status, ExitCode::from(2));
/// # }
/// ```
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

/// [`run`] of a hook that works on storage, where any call may block indefinitely: where `is_asked` is
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

/// [`run_helper`] of a helper that takes no arguments, so that its rule for sudo is one exact command
/// line: `body` gets what is on standard input, at most `max_bytes` of it.
pub fn run_helper_on_request(
    program: Program,
    limit: Duration,
    max_bytes: u64,
    body: impl FnOnce(&str) -> Result,
) -> ExitCode {
    run_helper(program, limit, |arguments| {
        if !arguments.is_empty() {
            let problem = "expected no arguments: the request comes on standard input";
            return Err(Error::new(problem));
        }
        let mut request = String::new();
        let read = io::stdin()
            .take(max_bytes + 1)
            .read_to_string(&mut request)
            .context("standard input")?;
        if read as u64 > max_bytes {
            let problem = format!("request longer than {max_bytes} bytes");
            return Err(Error::new(problem));
        }
        body(&request)
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
    let message = one_line(message);
    let _ = writeln!(io::stderr(), "{name}: {}", said_once(name, &message));
}

/// A message without the hook's name in front, which is there already: many properties are called
/// like their hook, and messages begin with the property.
fn said_once<'m>(name: &str, message: &'m str) -> &'m str {
    let rest = message.strip_prefix(name);
    rest.and_then(|rest| rest.strip_prefix(": "))
        .unwrap_or(message)
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

/// VDSM takes a death by signal for a failure without a message, so a panic becomes one line and
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
        let message = one_line(&record.args().to_string());
        writeln!(out, "{name}: {level}: {}", said_once(name, &message))
    });
    // A second logger is impossible: nothing else sets one.
    let _ = builder.try_init();
}
