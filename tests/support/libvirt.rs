// SPDX-License-Identifier: GPL-2.0-or-later

//! What libvirt has against documents: the schemas and the test drivers of several releases.
//!
//! A release is this machine's own, or comes with a Debian system that `debian.sh` makes and keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::libc::{SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV};
use tempfile::TempDir;
use vdsm_hooks::libvirt::domain;
use vdsm_hooks::libvirt::parts::Comparison;
use vdsm_hooks::xml;

use super::{is_root, root};

/// The Debian releases whose libvirt counts: 9.0 and 11.3.
pub const RELEASES: [&str; 2] = ["bookworm", "trixie"];

/// What virsh has against a document that it dies of.
pub const DIES: &str = "libvirt's own virsh dies of it";

/// How a program ends by its own fault. Any other signal comes from outside.
const OWN_FAULTS: [i32; 5] = [SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV];

/// What virsh says before each document, and after the last one.
const MARK: &str = "the next is number ";
const END: &str = "that was all";

/// The libvirt of one release.
pub struct Libvirt {
    /// The release's name.
    pub release: &'static str,
    /// What the library says of itself, `9.0.0`.
    pub version: String,
    system: PathBuf,
}

/// What one libvirt has against one document; nothing if it is right.
#[derive(Clone, Debug, Default)]
pub struct Objections {
    /// The schema's.
    pub schema: Vec<String>,
    /// The library's, when the domain is defined.
    pub define: Vec<String>,
}

/// What virsh said on both outputs, and whether it died.
#[derive(Debug)]
struct Said {
    out: String,
    errors: String,
    has_died: bool,
}

/// Which of the objections count.
type Judge = fn(&Objections) -> &Vec<String>;

/// A document before and after a hook.
#[derive(Clone)]
pub struct Change {
    /// Who changed what, for messages.
    pub name: String,
    /// The document before.
    pub before: String,
    /// The document after.
    pub after: String,
}

/// What came of some changes.
#[derive(Default)]
pub struct Verdict {
    /// How many were judged.
    pub judged: usize,
    /// Those that made a document wrong that was right: their names, and what is wrong.
    pub newly_wrong: Vec<(String, String)>,
    /// How many different documents they began with.
    pub documents: usize,
    /// How many of those were wrong before, for the schema and for the library.
    pub wrong_before: [usize; 2],
    /// How many of those also without the engine's seclabels.
    pub by_parts: [usize; 2],
}

impl Libvirt {
    /// That of a release.
    ///
    /// # Errors
    /// Why it cannot be had here.
    pub fn of(release: &'static str) -> Result<Libvirt, String> {
        let system = if is_this(release) {
            PathBuf::from("/")
        } else {
            debian(release)?
        };
        let mut libvirt = Libvirt {
            release,
            version: String::new(),
            system,
        };
        let said = libvirt.virsh("version --daemon\n")?;
        let mut lines = said.out.lines();
        let version = lines.find_map(|line| line.strip_prefix("Using library: libvirt "));
        libvirt.version = version
            .ok_or(format!("virsh of {release}: {said:?}"))?
            .to_owned();
        Ok(libvirt)
    }

    /// What this libvirt has against each of the documents, in their order. One process validates
    /// all of them, and one defines them, as long as it lives.
    pub fn objections<'d>(
        &self,
        documents: impl IntoIterator<Item = &'d str>,
    ) -> Result<Vec<Objections>, String> {
        let directory = TempDir::new_in(self.system.join("tmp")).unwrap();
        let (mut files, mut commands) = (Vec::new(), Vec::new());
        for (number, text) in documents.into_iter().enumerate() {
            let file = directory.path().join(format!("{number}.xml"));
            fs::write(&file, text).unwrap();
            let inside = Path::new("/").join(file.strip_prefix(&self.system).unwrap());
            let mut define = format!("define {}\n", inside.display());
            // The next one may have the same id and another name.
            if let Some(name) = name_of(text) {
                define += &format!("undefine -- {}\n", quoted(&name));
            }
            files.push(file.display().to_string());
            commands.push(define);
        }
        let mut found = vec![Objections::default(); files.len()];
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        for (number, line) in self.schema(&files)? {
            found[number].schema.push(line);
        }
        for (number, line) in self.definitions(&commands)? {
            found[number].define.push(line);
        }
        Ok(found)
    }

    /// Numbers of the files that the schema refuses, and why.
    fn schema(&self, files: &[&str]) -> Result<Vec<(usize, String)>, String> {
        let schema = self.system.join("usr/share/libvirt/schemas/domain.rng");
        let number = numbers(files);
        let mut found = Vec::new();
        // The kernel limits the length of a command line.
        for some in files.chunks(4000) {
            let output = Command::new("xmllint")
                .args(["--noout", "--nonet", "--huge", "--relaxng"])
                .arg(&schema)
                .args(some)
                .output()
                .map_err(|error| format!("xmllint: {error}"))?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let mut judged = 0;
            for line in said.lines() {
                judged += usize::from(
                    line.ends_with(" validates") || line.ends_with(" fails to validate"),
                );
                let Some((file, rest)) = line.split_once(".xml:") else {
                    continue;
                };
                let Some(number) = number.get(format!("{file}.xml").as_str()) else {
                    continue;
                };
                let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ':');
                found.push((*number, rest.trim().to_owned()));
            }
            if judged != some.len() {
                return Err(format!("xmllint judged {judged} of {}: {said}", some.len()));
            }
        }
        Ok(found)
    }

    /// Numbers of the documents that the library refuses, and why; `commands` define each. Of some
    /// virsh dies: behind such a one a new virsh goes on.
    fn definitions(&self, commands: &[String]) -> Result<Vec<(usize, String)>, String> {
        let mut found = Vec::new();
        // One that dies of everything judges nothing.
        let mut lives = 10 + commands.len() / 10;
        let mut from = 0;
        while from < commands.len() {
            let rest = commands.iter().enumerate().skip(from);
            let rest =
                rest.map(|(number, define)| format!("echo --err '{MARK}{number}'\n{define}"));
            let said = self.virsh(&format!("{}echo '{END}'\n", rest.collect::<String>()))?;
            let mut current = None;
            let mut lines = said.errors.lines();
            while let Some(line) = lines.next() {
                let line = line.strip_prefix("error: ").unwrap_or_default();
                if let Some(Ok(number)) = line.strip_prefix(MARK).map(str::parse) {
                    current = Some(number);
                } else if line.starts_with("Failed to define domain from ") {
                    let why = lines.next().unwrap_or_default().to_owned();
                    found.extend(current.map(|number| (number, why)));
                }
            }
            let has_ended = said.out.contains(END);
            match (current, said.has_died) {
                (Some(_), false) if has_ended => break,
                (Some(number), true) if !has_ended && lives > 0 => {
                    found.push((number, DIES.to_owned()));
                    (from, lives) = (number + 1, lives - 1);
                }
                _ => {
                    let Said { errors, .. } = said;
                    return Err(format!(
                        "virsh of {} has come to no end: {errors}",
                        self.release
                    ));
                }
            }
        }
        Ok(found)
    }

    /// What virsh says to commands. The driver is libvirt's own for tests: without a daemon, and
    /// nothing stays.
    fn virsh(&self, commands: &str) -> Result<Said, String> {
        let mut words = vec!["timeout", "--kill-after=10", "600"];
        let system = self.system.to_str().unwrap();
        if system != "/" {
            words.extend(["chroot", system]);
        }
        words.extend(["virsh", "--quiet", "--connect", "test:///default"]);
        let mut child = Command::new(words[0])
            .args(&words[1..])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .env("HOME", "/nonexistent")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("virsh: {error}"))?;
        let mut input = child.stdin.take().unwrap();
        let commands = commands.to_owned();
        let writer = std::thread::spawn(move || drop(input.write_all(commands.as_bytes())));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let said = Said {
            out: text(&output.stdout),
            errors: text(&output.stderr),
            // timeout ends by the signal that has ended its program.
            has_died: output
                .status
                .signal()
                .is_some_and(|signal| OWN_FAULTS.contains(&signal)),
        };
        match output.status.code() {
            Some(0 | 1) => Ok(said),
            None if said.has_died => Ok(said),
            _ => Err(format!("virsh: {}: {}", output.status, said.errors)),
        }
    }

    /// Judges changes: what was right has to stay right, see [`Comparison`].
    pub fn judge(&self, changes: &[Change]) -> Result<Verdict, String> {
        let comparisons: Vec<Comparison> = changes
            .iter()
            .map(|change| Comparison::new(&change.before, &change.after).unwrap())
            .collect();
        // Many changes begin with the same document, and many make the same part.
        let domains = comparisons.iter().flat_map(Comparison::domains);
        let domains: Vec<&str> = domains.collect::<BTreeSet<_>>().into_iter().collect();
        let found = self.objections(domains.iter().copied())?;
        let found: BTreeMap<&str, Objections> = domains.into_iter().zip(found).collect();
        let mut verdict = Verdict {
            judged: changes.len(),
            ..Verdict::default()
        };
        let mut seen = BTreeSet::new();
        for (change, comparison) in changes.iter().zip(&comparisons) {
            let is_first = seen.insert(comparison.before.as_str());
            verdict.documents += usize::from(is_first);
            let judges: [(&str, Judge); 2] = [
                ("schema", |found| &found.schema),
                ("define", |found| &found.define),
            ];
            for (number, (kind, objections)) in judges.into_iter().enumerate() {
                let of = |domain: &str| objections(&found[domain]).clone();
                let new = comparison.new_problems(|domain| Ok(of(domain))).unwrap();
                if !new.is_empty() {
                    let text = format!("libvirt {}, {kind}: {}", self.version, new.join("; "));
                    verdict.newly_wrong.push((change.name.clone(), text));
                }
                if is_first && !of(&comparison.before).is_empty() {
                    verdict.wrong_before[number] += 1;
                    let labels = comparison.without_labels.as_ref();
                    let is_whole = labels.is_some_and(|(before, _)| of(before).is_empty());
                    verdict.by_parts[number] += usize::from(!is_whole);
                }
            }
        }
        Ok(verdict)
    }
}

/// Whether this machine is of the release, and has libvirt's schema and its client.
fn is_this(release: &str) -> bool {
    let about = fs::read_to_string("/etc/os-release").unwrap_or_default();
    about
        .lines()
        .any(|line| line == format!("VERSION_CODENAME={release}"))
        && Path::new("/usr/share/libvirt/schemas/domain.rng").exists()
        && Path::new("/usr/bin/virsh").exists()
}

fn debian(release: &str) -> Result<PathBuf, String> {
    if !is_root() {
        return Err("needs root for a Debian of another release".to_owned());
    }
    let output = Command::new("sh")
        .arg(root().join("tests/support/debian.sh"))
        .args([release, "libvirt-clients"])
        .output()
        .unwrap();
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(said.lines().last().unwrap_or("debian.sh failed").to_owned());
    }
    Ok(PathBuf::from(
        String::from_utf8_lossy(&output.stdout).trim(),
    ))
}

fn numbers<'n>(files: &[&'n str]) -> BTreeMap<&'n str, usize> {
    files
        .iter()
        .enumerate()
        .map(|(number, file)| (*file, number))
        .collect()
}

fn name_of(text: &str) -> Option<String> {
    let document = xml::parse(text).ok()?;
    xml::child(domain::root(&document).ok()?, "name").map(xml::text)
}

/// A word as virsh reads it.
fn quoted(word: &str) -> String {
    format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))
}
