// SPDX-License-Identifier: GPL-2.0-or-later

//! What every Rust program costs at the least: start and end.
fn main() {}
