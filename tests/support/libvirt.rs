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
use vdsm_hooks::{domain, parts, xml};

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
    pub wrong_before: (usize, usize),
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

    /// Judges changes: what was right has to stay right. Where a document was wrong before, the
    /// parts that differ are judged, each alone.
    pub fn judge(&self, changes: &[Change]) -> Result<Verdict, String> {
        // Many changes begin with the same document, and many make the same part.
        let mut batch = Batch::default();
        let numbers: Vec<Judged> = changes.iter().map(|change| batch.add(change)).collect();
        let found = self.objections(batch.texts.iter().map(String::as_str))?;
        let mut verdict = Verdict {
            judged: changes.len(),
            ..Verdict::default()
        };
        let mut seen = BTreeSet::new();
        for (change, numbers) in changes.iter().zip(numbers) {
            let before = &found[numbers.before];
            for (kind, objections) in [
                (
                    "schema",
                    (|found| &found.schema) as fn(&Objections) -> &Vec<String>,
                ),
                ("define", |found| &found.define),
            ] {
                let of = |numbers: &[usize]| -> Vec<&Vec<String>> {
                    let wrong = numbers.iter().map(|number| objections(&found[*number]));
                    wrong.filter(|objections| !objections.is_empty()).collect()
                };
                let (old, new) = match objections(before).is_empty() {
                    true => (Vec::new(), of(&[numbers.after])),
                    false => (of(&numbers.gone), of(&numbers.come)),
                };
                if let (true, Some(why)) = (new.len() > old.len(), new.last()) {
                    let text = format!("libvirt {}, {kind}: {}", self.version, why.join("; "));
                    verdict.newly_wrong.push((change.name.clone(), text));
                }
            }
            if seen.insert(numbers.before) {
                verdict.documents += 1;
                verdict.wrong_before.0 += usize::from(!before.schema.is_empty());
                verdict.wrong_before.1 += usize::from(!before.define.is_empty());
            }
        }
        Ok(verdict)
    }
}

/// Documents that are judged, each once, by number.
#[derive(Default)]
struct Batch {
    numbers: BTreeMap<String, usize>,
    texts: Vec<String>,
}

/// The numbers that belong to one change.
struct Judged {
    before: usize,
    after: usize,
    gone: Vec<usize>,
    come: Vec<usize>,
}

impl Batch {
    fn add(&mut self, change: &Change) -> Judged {
        let whole = |text| parts::as_domain(text).unwrap();
        let changed = parts::changed(&change.before, &change.after).unwrap();
        let mut number = |text| self.number(text);
        Judged {
            before: number(whole(&change.before)),
            after: number(whole(&change.after)),
            gone: changed.gone.into_iter().map(&mut number).collect(),
            come: changed.come.into_iter().map(&mut number).collect(),
        }
    }

    fn number(&mut self, text: String) -> usize {
        *self.numbers.entry(text).or_insert_with_key(|text| {
            self.texts.push(text.clone());
            self.texts.len() - 1
        })
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
