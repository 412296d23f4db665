// SPDX-License-Identifier: GPL-2.0-or-later

//! What libvirt has against documents: the schemas and the test drivers of several releases.
//!
//! A release is this machine's own, or comes with a Debian system that `debian.sh` makes and keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;
use vdsm_hooks::libvirt::domain;
use vdsm_hooks::libvirt::parts::Comparison;
use vdsm_hooks::xml;

use super::{is_root, root};

/// The Debian releases whose libvirt counts: 9.0 and 11.3.
pub const RELEASES: [&str; 2] = ["bookworm", "trixie"];

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
        let system = match is_this(release) {
            true => PathBuf::from("/"),
            false => debian(release)?,
        };
        let mut libvirt = Libvirt {
            release,
            version: String::new(),
            system,
        };
        let (said, _) = libvirt.virsh("version --daemon\n")?;
        let version = said
            .lines()
            .find_map(|line| line.strip_prefix("Using library: libvirt "));
        libvirt.version = version
            .ok_or(format!("virsh of {release}: {said}"))?
            .to_owned();
        Ok(libvirt)
    }

    /// What this libvirt has against each of the documents, in their order. One process validates
    /// all of them, and one defines them.
    pub fn objections<'d>(
        &self,
        documents: impl IntoIterator<Item = &'d str>,
    ) -> Result<Vec<Objections>, String> {
        let directory = TempDir::new_in(self.system.join("tmp")).unwrap();
        let mut names = Vec::new();
        let mut define = String::new();
        for (number, text) in documents.into_iter().enumerate() {
            let file = directory.path().join(format!("{number}.xml"));
            fs::write(&file, text).unwrap();
            let inside = Path::new("/").join(file.strip_prefix(&self.system).unwrap());
            define += &format!("define {}\n", inside.display());
            // The next one may have the same id and another name.
            if let Some(name) = name_of(text) {
                define += &format!("undefine -- {}\n", quoted(&name));
            }
            names.push((file.display().to_string(), inside.display().to_string()));
        }
        let mut found = vec![Objections::default(); names.len()];
        let files = names.iter().map(|(outside, _)| outside.as_str());
        for (number, line) in self.schema(&files.collect::<Vec<_>>())? {
            found[number].schema.push(line);
        }
        let inside = names.iter().map(|(_, inside)| inside.as_str());
        for (number, line) in self.definitions(&inside.collect::<Vec<_>>(), &define)? {
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

    /// Numbers of the files that the library refuses, and why.
    fn definitions(&self, files: &[&str], commands: &str) -> Result<Vec<(usize, String)>, String> {
        let number = numbers(files);
        let (said, errors) = self.virsh(&format!("{commands}echo 'that was all'\n"))?;
        if !said.contains("that was all") {
            return Err(format!(
                "virsh of {} has come to no end: {errors}",
                self.release
            ));
        }
        let mut found = Vec::new();
        let mut lines = errors.lines();
        while let Some(line) = lines.next() {
            let file = line.strip_prefix("error: Failed to define domain from ");
            if let Some(number) = file.and_then(|file| number.get(file)) {
                found.push((*number, lines.next().unwrap_or_default().to_owned()));
            }
        }
        Ok(found)
    }

    /// What virsh says to commands, on both outputs. The driver is libvirt's own for tests: without
    /// a daemon, and nothing stays.
    fn virsh(&self, commands: &str) -> Result<(String, String), String> {
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
        match output.status.code() {
            Some(0 | 1) => Ok((text(&output.stdout), text(&output.stderr))),
            status => Err(format!(
                "virsh: status {status:?}: {}",
                text(&output.stderr)
            )),
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
