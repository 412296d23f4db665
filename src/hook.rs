// SPDX-License-Identifier: GPL-2.0-or-later

//! VDSM's hook contract: the data file, the event, messages and exit statuses.
//!
//! VDSM starts a hook without arguments and names a data file in the environment: `_hook_domxml`
//! (XML, or an empty file where the event has no document) or `_hook_json`. Exit 0 is success, 1 a
//! failure after which the other hooks of the event run, 2 a failure that skips them. What stands
//! on stderr is copied into VDSM's log and, for events that abort, into the message that the
//! administrator sees.

mod document;
mod event;
pub mod manifest;
mod program;

pub use document::{edit, edit_json, read, read_json, unexpected_json};
pub use event::event;
pub use program::{Program, report, run, run_apart, run_helper, run_with_arguments};
