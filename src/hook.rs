// SPDX-License-Identifier: GPL-2.0-or-later

//! VDSM's hook contract: the data file, the event, messages and exit statuses.
//!
//! VDSM starts a hook without arguments and names a data file in the environment: `_hook_domxml`
//! (XML, or an empty file where the event has no document) or `_hook_json`. Exit 0 is success, 1 a
//! failure after which the other hooks of the event run, 2 a failure that skips them. What stands
//! on stderr is copied into VDSM's log and, for events that abort, into the message that the
//! administrator sees.
//!
//! ```no_run
//! use std::process::ExitCode;
//! use vdsm_hooks::{Result, hook, props, xml};
//! # const PROGRAM: hook::Program =
//! #     hook::Program { name: "emulated", version: "1", help: "", description: "" };
//!
//! fn main() -> ExitCode {
//!     // program!() in a hook
//!     hook::run(PROGRAM, run)
//! }
//!
//! fn run() -> Result {
//!     if props::flag("emulated")? != Some(true) {
//!         return Ok(());
//!     }
//!     hook::edit(|document, edits| {
//!         edits.set_attr(document.root_element(), "type", "qemu");
//!         Ok(())
//!     })
//! }
//! ```
//!
//! [`edit`] changes the event's XML, [`edit_json`] its JSON; [`read`] and [`read_json`] only look.

mod document;
mod event;
pub mod manifest;
mod program;

pub use document::{edit, edit_json, read, read_json, unexpected_json};
pub use event::event;
pub use program::{
    Program, report, run, run_apart, run_helper, run_helper_on_request, run_with_arguments,
};
