// SPDX-License-Identifier: GPL-2.0-or-later

//! All tests but those of the library's own modules, as one program: what they share is compiled and
//! linked once. `cargo test --test suite contract::` runs those of one file.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr
)]
#![allow(missing_docs)]

mod domains;
mod support;

mod block_domains;
mod cases;
mod checkimages;
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
mod fakevmstats;
mod faqemu;
mod fcoe;
mod fileinject;
mod filters;
mod growdisk;
mod hugepages;
mod images;
mod layout;
mod left_behind;
mod ovs;
mod pairs;
mod rooms;
mod scratchpad;
mod scripts;
mod sdcheck;
mod sriov;
mod strangers;
mod tool;
mod usb_names;
