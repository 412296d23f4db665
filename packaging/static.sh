#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Builds programs that run on every release of Enterprise Linux and Debian: static ones, which load
# nothing and so start faster, too. Their PCRE2 is the one of the crate.
#
#     packaging/static.sh [ARGUMENT OF CARGO]...
#
# They are in target/static afterwards ($CARGO_TARGET_DIR/static). A fix of glibc or PCRE2 reaches them
# by building them again only: what the system's package manager is to keep up to date is built without
# this script.
set -eu
cd "$(dirname -- "$0")/.."
target=$(rustc -vV | sed -n 's/^host: //p')
# With a target of its own cargo applies the flags to the programs alone, not to what it runs itself.
PCRE2_SYS_STATIC=1 RUSTFLAGS='-C target-feature=+crt-static' \
    cargo build --release --locked --target "$target" "$@"
ln -sfn "$target/release" "${CARGO_TARGET_DIR:-target}/static"
