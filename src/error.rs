// SPDX-License-Identifier: GPL-2.0-or-later

//! The one error type: a message for the administrator and the exit status that goes with it.

use std::fmt;

/// What a hook or a library function ends with.
pub type Result<T = ()> = std::result::Result<T, Error>;

/// A message and an exit status of VDSM's hook contract.
///
/// It does not implement [`std::error::Error`], so that one blanket `From` covers the errors of
/// every library and `?` just works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    message: String,
    status: u8,
}

/// Failed; VDSM skips the remaining hooks of the event and shows this hook's message.
const STOP: u8 = 2;
/// Failed; VDSM runs the remaining hooks, and may show the message of one of those instead.
const GO_ON: u8 = 1;

impl Error {
    /// An error with exit status 2. The message is lower case, without a full stop, and says what
    /// is wrong and what would be right.
    pub fn new(message: impl Into<String>) -> Self {
        Error {
            message: message.into(),
            status: STOP,
        }
    }

    /// The same error with exit status 1: the remaining hooks of the event run.
    #[must_use]
    pub fn keep_going(mut self) -> Self {
        self.status = GO_ON;
        self
    }

    /// The exit status, 1 or 2.
    pub fn status(&self) -> u8 {
        self.status
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            // Some libraries end their own text with that of the cause.
            if !message.ends_with(&text) {
                message = format!("{message}: {text}");
            }
            source = cause.source();
        }
        Error::new(message)
    }
}

/// Adds the step that failed in front of an error's message.
pub trait Context<T> {
    /// `step: message`; the status stays.
    fn context(self, step: impl fmt::Display) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, step: impl fmt::Display) -> Result<T> {
        self.map_err(|error| {
            let error = error.into();
            Error {
                message: format!("{step}: {}", error.message),
                status: error.status,
            }
        })
    }
}

/// `text` as one line of printable characters: control characters are escaped, so that neither a
/// property value nor another program's output can forge a second line in VDSM's log.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.trim_end().chars() {
        if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_keeps_to_one_line() {
        assert_eq!(one_line("a\nb\tc\u{2028}d é\n"), "a\\nb\\tc\\u{2028}d é");
    }

    #[test]
    fn context_keeps_the_status() {
        let error = Err::<(), _>(Error::new("no such file").keep_going()).context("reading");
        assert_eq!(
            error,
            Err(Error {
                message: "reading: no such file".into(),
                status: 1
            })
        );
    }

    /// An error with a cause.
    #[derive(Debug)]
    struct Failed(&'static str, Option<Box<Failed>>);

    impl fmt::Display for Failed {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl std::error::Error for Failed {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            self.1.as_deref().map(|cause| cause as _)
        }
    }

    #[test]
    fn causes_are_said_once() {
        let disk = || Box::new(Failed("disk full", None));
        for (error, message) in [
            (
                Failed("cannot write", Some(disk())),
                "cannot write: disk full",
            ),
            (
                Failed("cannot write (disk full", Some(disk())),
                "cannot write (disk full",
            ),
        ] {
            assert_eq!(Error::from(error).to_string(), message);
        }
    }
}
