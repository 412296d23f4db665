// SPDX-License-Identifier: GPL-2.0-or-later

//! What metadata is worth: the verdict on its seal, the likely cause of a broken one, and what the
//! values say wrong, and what the engine shows of it all. Where it was found is not known here.

mod cause;
pub mod engine;
pub(super) mod findings;
pub(super) mod judge;
pub(super) mod tags;
