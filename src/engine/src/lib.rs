// SPDX-License-Identifier: GPL-2.0-or-later

//! What talks to oVirt's engine, by its REST API.
//!
//! Nothing here runs on a host at a VM's start: hooks and their library are the package
//! `vdsm-hooks`, which does not depend on this one.
