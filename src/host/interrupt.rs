// SPDX-License-Identifier: GPL-2.0-or-later

//! Control-C and `kill`, noticed at moments of our own choice: who changes several things that belong
//! together is to end when they are whole.

use std::io;
use std::sync::{Mutex, PoisonError};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::Result;

/// Keeps interrupts from this thread and those that it makes.
/// Programs that it starts get them as usual.
///
/// # Errors
/// The kernel refuses, which it never does.
pub(crate) fn block() -> Result<SigSet> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block()?;
    Ok(signals)
}

/// Where interrupts are read from since [`hold`], and the one that has come.
static HELD: Mutex<(Option<SignalFd>, Option<u8>)> = Mutex::new((None, None));

/// From now on an interrupt does nothing by itself: [`pending`] says that one has come.
///
/// # Errors
/// No more files can be opened.
pub fn hold() -> Result {
    let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
    let held = SignalFd::with_flags(&block()?, flags)?;
    HELD.lock().unwrap_or_else(PoisonError::into_inner).0 = Some(held);
    Ok(())
}

/// The number of the signal that has come since [`hold`].
pub fn signal() -> Option<u8> {
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    let (reader, came) = &mut *held;
    if let Some(Ok(Some(found))) = reader.as_ref().map(SignalFd::read_signal) {
        *came = u8::try_from(found.ssi_signo).ok();
    }
    *came
}

/// For a moment at which all can still be taken back.
///
/// # Errors
/// An interrupt has come.
pub fn pending() -> io::Result<()> {
    match signal() {
        None => Ok(()),
        Some(_) => Err(io::Error::new(io::ErrorKind::Interrupted, "interrupted")),
    }
}
