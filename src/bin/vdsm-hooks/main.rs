// SPDX-License-Identifier: GPL-2.0-or-later

//! `vdsm-hooks`, the administrator's tool: tries VDSM's hooks on a copy of a document, lists what
//! is installed, installs and removes hooks, and explains those of the suite.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use vdsm_hooks::Result;
use vdsm_hooks::host::worker;
use vdsm_hooks::image::grow;
use vdsm_hooks::storage::{probe, work};

mod catalog;
mod completion;
mod custom_properties;
mod diff;
mod doctor;
mod domain;
mod engine_config;
mod files;
mod grow_disk;
mod install;
mod json;
mod list;
mod man;
mod names;
mod report;
mod run;
mod schema;
mod show;

/// The tool could not do what it was asked to: a wrong call, a file that cannot be read. Apart
/// from all statuses that say something about hooks or storage domains.
const CANNOT: u8 = 64;

/// Tries, installs, lists and explains hooks of oVirt's host agent VDSM
#[derive(Parser)]
#[command(name = "vdsm-hooks", version, after_help = EXAMPLES, after_long_help = EXAMPLES)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 80
)]
struct Tool {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  What would the installed hooks do to this VM, with one property set?
      vdsm-hooks run before_vm_start --domain vm.xml -p cpuflags=+pcid
  Which hooks does this host have, which of them are ours?
      vdsm-hooks list
  Is everything there that the installed hooks need?
      vdsm-hooks doctor
  What does a hook do, and what turns it on?
      vdsm-hooks show cpuflags
  How do its properties get into the engine, beside those that are there?
      engine-config -g UserDefinedVMProperties |
          vdsm-hooks engine-config cpuflags --current -
  How do hooks get off this host again, where no package manager put them there?
      vdsm-hooks uninstall --hook cpuflags
  Is this storage domain intact?
      vdsm-hooks domain check /rhev/data-center/mnt/nas:_export

'vdsm-hooks help COMMAND' says more about each command.

Part of vdsm-hooks, licence GPL-2.0-or-later.";

#[derive(Subcommand)]
enum Command {
    Run(Box<run::Arguments>),
    List(list::Arguments),
    Doctor(doctor::Arguments),
    Show(show::Arguments),
    EngineConfig(engine_config::Arguments),
    Install(install::InstallArguments),
    Uninstall(install::UninstallArguments),
    Files(files::Arguments),
    GrowDisk(grow_disk::Arguments),
    Man(man::Arguments),
    Completion(completion::Arguments),
    /// Make, check and mend storage domains
    #[command(subcommand, after_long_help = domain::STORIES)]
    Domain(domain::DomainCommand),
}

fn main() -> ExitCode {
    // Work on storage, by a child of 'domain' or 'grow-disk'.
    let works = [probe::work(), work::work(), grow::work(), grow_disk::work()];
    if let Some(status) = worker::serve(&works) {
        return status;
    }
    let tool = match Tool::try_parse() {
        Ok(tool) => tool,
        Err(answer) => {
            // Help and version come this way too; a closed output is no reason to fail.
            let _ = answer.print();
            return ExitCode::from(if answer.use_stderr() { CANNOT } else { 0 });
        }
    };
    let done = match &tool.command {
        Command::Run(arguments) => run::run(arguments),
        Command::List(arguments) => list::run(arguments),
        Command::Doctor(arguments) => doctor::run(arguments),
        Command::Show(arguments) => show::run(arguments),
        Command::EngineConfig(arguments) => engine_config::run(arguments),
        Command::Install(arguments) => install::install(arguments, &Tool::command()),
        Command::Uninstall(arguments) => install::uninstall(arguments),
        Command::Files(arguments) => files::run(arguments),
        Command::GrowDisk(arguments) => grow_disk::run(arguments),
        Command::Man(arguments) => man::run(arguments, Tool::command()),
        Command::Completion(arguments) => completion::run(arguments, Tool::command()),
        Command::Domain(command) => Ok(domain::run(command)),
    };
    match done {
        Ok(status) => status,
        Err(error) => {
            complain(&error);
            ExitCode::from(CANNOT)
        }
    }
}

/// Says something on standard error, in one line. It may name a file that a stranger has named.
fn complain(what: &impl Display) {
    let text = diff::printable(&what.to_string());
    let _ = writeln!(io::stderr(), "vdsm-hooks: {text}");
}

/// Prints to standard output. A reader that has seen enough (`| head`) is no error.
fn print(text: &str) -> Result {
    print_to(&mut io::stdout(), text)
}

fn print_to(out: &mut dyn io::Write, text: &str) -> Result {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
