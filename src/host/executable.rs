// SPDX-License-Identifier: GPL-2.0-or-later

//! What the kernel makes of a file that is to be executed: a program of the machine, or a script and
//! who reads it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use nix::fcntl::OFlag;

/// So much the kernel reads to tell what a file is (Linux 6.1 include/uapi/linux/binfmts.h:
/// `BINPRM_BUF_SIZE`).
const HEAD_BYTES: u64 = 256;
/// Of a program, no more than that is read.
const MAX_BYTES: u64 = 64 << 20;

/// An executable file.
#[derive(Debug)]
pub enum Executable {
    /// A program of some machine, ELF.
    Program(Program),
    /// A text with a `#!` line.
    Script(Script),
    /// A text whose `#!` line has something invisible before it: blank lines, or the mark that Windows'
    /// editors begin a text with.
    Late,
    /// Anything else: a shell that starts it takes it for a script of its own.
    Neither,
}

impl Executable {
    /// Looks into a file.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn open(path: &Path) -> io::Result<Executable> {
        let mut options = OpenOptions::new();
        // Nobody may ever write to a FIFO.
        options.read(true).custom_flags(OFlag::O_NONBLOCK.bits());
        let file = options.open(path)?;
        let mut head = Vec::new();
        (&file).take(HEAD_BYTES).read_to_end(&mut head)?;
        Ok(if let Some(rest) = head.strip_prefix(b"#!") {
            Executable::Script(Script::parse(rest))
        } else if head.starts_with(b"\x7fELF") {
            let sections = sections(&file, &head).unwrap_or_default();
            Executable::Program(Program { file, sections })
        } else if is_late(&head) {
            Executable::Late
        } else {
            Executable::Neither
        })
    }
}

/// Whether a text seems to begin with `#!`, and does not.
fn is_late(head: &[u8]) -> bool {
    const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
    let text = head.strip_prefix(BYTE_ORDER_MARK).unwrap_or(head);
    text.trim_ascii_start().starts_with(b"#!")
}

/// The `#!` line of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// The program that reads it.
    pub interpreter: String,
    /// What that is told before the script's name: one word, whatever is in it.
    pub argument: Option<String>,
}

impl Script {
    /// What follows `#!`, as the kernel takes it apart (Linux 6.1 fs/binfmt_script.c).
    fn parse(rest: &[u8]) -> Script {
        let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        let is_blank = |c: char| c == ' ' || c == '\t';
        let line = line.trim_matches(is_blank);
        let (interpreter, argument) = line.split_once(is_blank).unwrap_or((line, ""));
        let argument = argument.trim_matches(is_blank);
        Script {
            interpreter: interpreter.to_owned(),
            argument: (!argument.is_empty()).then(|| argument.to_owned()),
        }
    }

    /// Whether its lines end as those of Windows do: what is to read it has a carriage return in its
    /// name then.
    pub fn has_carriage_return(&self) -> bool {
        let last = self.argument.as_ref().unwrap_or(&self.interpreter);
        last.ends_with('\r')
    }

    /// What `env` is to look for, if that is the interpreter (env(1), coreutils 9.1).
    pub fn looked_for(&self) -> Option<&str> {
        if !self.interpreter.ends_with("/env") {
            return None;
        }
        // Without any it starts the script once more, which starts it once more.
        let argument = self.argument.as_deref().unwrap_or_default();
        let split = argument
            .strip_prefix("-S")
            .or_else(|| argument.strip_prefix("--split-string="));
        match split {
            None => Some(argument),
            Some(words) => words
                .split_whitespace()
                .find(|word| !word.starts_with('-') && !word.contains('=')),
        }
    }
}

/// A program of some machine.
#[derive(Debug)]
pub struct Program {
    file: File,
    sections: Vec<Section>,
}

/// A part of a program.
#[derive(Debug)]
struct Section {
    name: Vec<u8>,
    offset: u64,
    size: u64,
}

impl Program {
    /// The constants of its source: for a small part of what would be read otherwise. All of the
    /// file where it does not say where they are.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn constants(&self) -> io::Result<Vec<u8>> {
        if let Some(constants) = self.section(b".rodata") {
            return Ok(constants);
        }
        let mut whole = Vec::new();
        let mut buffer = vec![0; 1 << 16];
        let mut at = 0;
        while at < MAX_BYTES {
            let count = self.file.read_at(&mut buffer, at)?;
            if count == 0 {
                break;
            }
            whole.extend_from_slice(&buffer[..count]);
            at += count as u64;
        }
        Ok(whole)
    }

    /// The program that loads it; none of one that is linked statically.
    pub fn interpreter(&self) -> Option<String> {
        let path = self.section(b".interp")?;
        let path = path.split(|byte| *byte == 0).next()?;
        Some(String::from_utf8_lossy(path).into_owned())
    }

    /// The libraries that are loaded with it.
    pub fn libraries(&self) -> Vec<String> {
        let names = self.section(b".dynstr").unwrap_or_default();
        let names = names.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        let mut names: Vec<String> = names
            .filter(|name| name.contains(".so"))
            .map(String::from)
            .collect();
        names.sort();
        names
    }

    fn section(&self, name: &[u8]) -> Option<Vec<u8>> {
        let found = self.sections.iter().find(|one| one.name == name)?;
        part(&self.file, found.offset, found.size)
    }
}

/// The sections of a program of 64 bits, least byte first (elf(5)): what VDSM runs on has no others.
fn sections(file: &File, head: &[u8]) -> Option<Vec<Section>> {
    const HEADER_BYTES: u64 = 64;
    if head.get(4..6)? != [2, 1] || number(head, 0x3a, 2)? != HEADER_BYTES {
        return None;
    }
    let length = HEADER_BYTES * number(head, 0x3c, 2)?;
    let table = part(file, number(head, 0x28, 8)?, length)?;
    let headers: Vec<&[u8]> = table.chunks_exact(HEADER_BYTES.try_into().ok()?).collect();
    let place = |header: &[u8]| Some((number(header, 0x18, 8)?, number(header, 0x20, 8)?));
    let of_names = usize::try_from(number(head, 0x3e, 2)?).ok()?;
    let (start_of_names, size_of_names) = place(headers.get(of_names)?)?;
    let names = part(file, start_of_names, size_of_names)?;
    headers
        .iter()
        .map(|header| {
            let start = usize::try_from(number(header, 0, 4)?).ok()?;
            let name = names.get(start..)?.split(|byte| *byte == 0).next()?;
            let (offset, size) = place(header)?;
            Some(Section {
                name: name.to_owned(),
                offset,
                size,
            })
        })
        .collect()
}

/// A number of so many bytes, the least one first.
fn number(bytes: &[u8], at: usize, size: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + size)?;
    let shifted = |number: u64, byte: &u8| (number << 8) | u64::from(*byte);
    Some(bytes.iter().rev().fold(0, shifted))
}

fn part(file: &File, offset: u64, size: u64) -> Option<Vec<u8>> {
    if size > MAX_BYTES {
        return None;
    }
    let mut bytes = vec![0; usize::try_from(size).ok()?];
    file.read_exact_at(&mut bytes, offset).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, Result};

    #[test]
    fn lines_are_taken_apart_as_the_kernel_does() {
        for (line, interpreter, argument, looked_for) in [
            ("/bin/sh\nexit\n", "/bin/sh", None, None),
            (" \t/bin/sh \t-e  -u \nx", "/bin/sh", Some("-e  -u"), None),
            ("/bin/sh\r\nexit\r\n", "/bin/sh\r", None, None),
            ("/bin/sh -e\r\n", "/bin/sh", Some("-e\r"), None),
            ("/bin/sh", "/bin/sh", None, None),
            ("\n", "", None, None),
            (
                "/usr/bin/env python3\n",
                "/usr/bin/env",
                Some("python3"),
                Some("python3"),
            ),
            (
                "/usr/bin/env\tpython3 -u\n",
                "/usr/bin/env",
                Some("python3 -u"),
                Some("python3 -u"),
            ),
            (
                "/usr/bin/env -S A=1 -i python3 -u\n",
                "/usr/bin/env",
                Some("-S A=1 -i python3 -u"),
                Some("python3"),
            ),
            ("/usr/bin/env\n", "/usr/bin/env", None, Some("")),
        ] {
            let script = Script::parse(line.as_bytes());
            assert_eq!(script.interpreter, interpreter, "{line:?}");
            assert_eq!(script.argument.as_deref(), argument, "{line:?}");
            assert_eq!(script.looked_for(), looked_for, "{line:?}");
            assert_eq!(
                script.has_carriage_return(),
                line.contains('\r'),
                "{line:?}"
            );
        }
    }

    #[test]
    fn programs_say_where_their_parts_are() -> Result {
        const WORDS: &[u8] = b"a sentence that only this test has";
        let own = std::env::current_exe()?;
        let Executable::Program(program) = Executable::open(&own)? else {
            return Err(Error::new("no program"));
        };
        let constants = program.constants()?;
        let whole = std::fs::read(&own)?.len();
        assert!(constants.len() < whole, "{} of {whole}", constants.len());
        assert!(constants.windows(WORDS.len()).any(|window| window == WORDS));
        assert!(
            program
                .libraries()
                .iter()
                .any(|name| name.starts_with("libc.so"))
        );
        let loader = program.interpreter().unwrap_or_default();
        assert!(Path::new(&loader).is_file(), "{loader}");
        Ok(())
    }

    #[test]
    fn what_has_no_sections_is_read_whole() -> Result {
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("x");
        let long = [b"\x7fELF\x02\x01".to_vec(), vec![0xff; 300]].concat();
        for text in [&b"\x7fELF"[..], b"\x7fELF\x01\x01 words", &long] {
            std::fs::write(&file, text)?;
            let Executable::Program(program) = Executable::open(&file)? else {
                return Err(Error::new("no program"));
            };
            assert_eq!(program.constants()?, text);
            assert_eq!(
                (program.interpreter(), program.libraries().len()),
                (None, 0)
            );
        }
        std::fs::write(&file, "import os\n")?;
        assert!(matches!(Executable::open(&file)?, Executable::Neither));
        for late in ["\u{feff}#!/bin/sh\n", "\n\r\n #!/bin/sh\n", " #!/bin/sh\n"] {
            std::fs::write(&file, late)?;
            assert!(
                matches!(Executable::open(&file)?, Executable::Late),
                "{late:?}"
            );
        }
        std::fs::write(&file, "")?;
        assert!(matches!(Executable::open(&file)?, Executable::Neither));
        assert!(Executable::open(directory.path()).is_err());
        Ok(())
    }
}
