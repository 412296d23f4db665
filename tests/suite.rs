// SPDX-License-Identifier: GPL-2.0-or-later

//! All tests but those of the library's own modules, as one program: what they share is compiled and
//! linked once. `cargo test --test suite contract::` runs those of one file, and `growdisk::` those in
//! the hook's folder.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr
)]
// One scenario after the other, and tables of rows.
#![allow(clippy::shadow_unrelated, clippy::too_many_lines)]
#![allow(missing_docs)]

mod domains;
mod support;

// hooks/<name>/tests.rs, each a module of the hook's name.
vdsm_hooks_manifest::hook_tests!();

mod block_domains;
mod cases;
mod contract;
mod corpus;
mod dead_storage;
mod doctor;
mod documents;
mod domain_check;
mod domain_create;
mod domain_mend;
mod domain_tool;
mod editing;
mod filters;
mod four_commands;
mod images;
mod install;
mod json_page;
mod layout;
mod left_behind;
mod messages;
mod pairs;
mod regexes;
mod rooms;
mod scripts;
mod strangers;
mod tool_completion;
mod tool_engine_config;
mod tool_find;
mod tool_papers;
mod tool_report;
mod tool_run;
mod tool_start;
mod usb_names;
