#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# All hooks that edit documents over all test documents of libvirt 9.0 and 11.3, before and after
# judged by both libvirts. Prints a table, and what is newly wrong; docs/corpus.md has the last one.
#
#     sh tests/corpus.sh [NUMBER]
#
# NUMBER takes a sample of so many documents, chosen so that all kinds are in it. Needs root, as
# what it makes: a Debian of the other release and libvirt's sources, kept in
# /var/cache/vdsm-hooks-tests. The same test takes a sample of 40 with all other tests.
set -eu
cd "$(dirname "$0")/.."
export CORPUS="${1:-all}"
exec cargo test --locked --test suite corpus:: -- --nocapture
