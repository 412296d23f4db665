// SPDX-License-Identifier: GPL-2.0-or-later

//! What is said about one storage domain: line by line for people, or an object for scripts.

use std::fmt;
use std::io::{self, Write};
use std::mem;
use std::path::Path;

use anstyle::{AnsiColor, Style};
use vdsm_hooks::finding::{Finding, Severity, worst};
use vdsm_hooks::storage::lvm::Group;
use vdsm_hooks::storage::report::{MAX_FINDINGS, Survey, shell_path};
use vdsm_hooks::storage::{
    Judgement, Reading, Repair, Repaired, Verdict, engine, findings, group, is_cut, judge,
    judge_tags,
};
use vdsm_hooks::{Result, props};

use super::{STANDARD_INPUT, mend};
use crate::diff;
use crate::json::{Names, objects};

/// The verdict on a domain and everything else that was found.
pub(super) struct Report {
    /// The metadata file, or the volume group.
    place: String,
    /// How the domain is called, and where; none for a copy of its metadata.
    identity: Option<Identity>,
    judgement: Judgement,
    /// What the engine shows of the verdict.
    engine: Option<&'static str>,
    /// What to do where no command mends the metadata.
    advice: Option<String>,
    findings: Vec<Finding>,
    unsaid: usize,
    facts: Vec<(String, String)>,
    /// The commands that mend the metadata, the better one first.
    remedies: Vec<String>,
}

/// By which ids VDSM and the engine know a domain, and where it is.
#[derive(Clone)]
pub(super) struct Identity {
    /// The name of its directory or volume group, and what its metadata says.
    pub(super) ids: Vec<String>,
    /// For messages; no other domain is there.
    pub(super) place: String,
}

impl Identity {
    fn new(name: &str, judgement: &Judgement, place: String) -> Identity {
        let named = judgement.metadata.get("SDUUID").unwrap_or(name);
        let mut ids = vec![name.to_owned(), named.to_owned()];
        ids.dedup();
        ids.retain(|id| props::is_uuid(id));
        Identity { ids, place }
    }
}

impl Report {
    /// On a domain of which everything was looked at, or on a copy of its metadata.
    pub(super) fn of_survey(survey: Survey) -> Result<Report> {
        let name = survey.directory().and_then(Path::file_name);
        let name = name.map(|name| name.to_string_lossy().into_owned());
        let place = Path::new(&survey.file).display().to_string();
        let content = survey.content()?;
        let judgement = judge(content);
        let is_file = place != STANDARD_INPUT;
        let path = if is_file {
            shell_path(Path::new(&survey.file))
        } else {
            "FILE".to_owned()
        };
        let mut findings = values(&judgement, name.as_deref(), || {
            format!(
                "correct the line with an editor while no host uses the domain, then: vdsm-hooks domain seal {path}"
            )
        });
        let restored = content.and_then(|content| Repair::Restore.apply(content).ok());
        let sealed = content.and_then(|content| Repair::Seal.apply(content).ok());
        let can_be_sealed = match judgement.reading.verdict {
            Verdict::Broken | Verdict::Unsealed => sealed.is_some() && !is_cut(&judgement.metadata),
            // Other readers may go on to say otherwise of what VDSM itself would write.
            Verdict::Ok => {
                let new = sealed.as_ref().map(|sealed| sealed.text.as_slice());
                !judgement.others.is_empty() && new != content
            }
            _ => false,
        };
        let mut remedies = Vec::new();
        if judgement.reading.verdict == Verdict::Broken {
            // Where both give the same, the seal is all that is wrong.
            let differs = |old: &Repaired| sealed.as_ref().is_none_or(|new| new.text != old.text);
            if restored.as_ref().is_some_and(differs) {
                remedies.push(format!("vdsm-hooks domain seal --restore {path}"));
            }
        }
        if can_be_sealed {
            remedies.push(format!("vdsm-hooks domain seal {path}"));
        }
        let identity = survey.directory().map(|directory| {
            let name = name.as_deref().unwrap_or_default();
            Identity::new(name, &judgement, directory.display().to_string())
        });
        findings.extend(survey.findings);
        let mut advice = by_hand(&judgement, &path);
        if !remedies.is_empty() {
            if !is_file {
                let remedies = mem::take(&mut remedies).join(", or as it is: ");
                advice = Some(format!("of the file itself: {remedies}"));
            } else if !survey.holders.is_empty() {
                advice = Some(format!(
                    "put the domain into maintenance first: {}",
                    survey.holders.join("; ")
                ));
            }
        }
        let mut report = Report {
            place,
            identity,
            engine: engine::of_verdict(judgement.reading.verdict, false),
            advice,
            judgement,
            findings,
            unsaid: survey.unsaid,
            facts: survey.facts,
            remedies,
        };
        report.pools(&path);
        Ok(report)
    }

    /// On a domain on block storage. Of what LVM warned about, what names its group belongs to it.
    pub(super) fn of_group(group: &Group, warnings: &[Finding]) -> Report {
        let judgement = judge_tags(&group.tags);
        let mut findings = values(&judgement, Some(&group.name), || {
            format!(
                "change its tag with 'lvm vgchange --deltag OLD --addtag NEW {0}' while no host uses the domain, then: vdsm-hooks domain seal {0}",
                group.name
            )
        });
        findings.extend(group::findings(group, &judgement.metadata));
        let own = warnings
            .iter()
            .filter(|warning| warning.text.contains(&group.name));
        findings.extend(own.cloned());
        let command = |repair| {
            if repair == Repair::Seal && is_cut(&judgement.metadata) {
                return None;
            }
            mend::of_group(repair, group).ok()?.2
        };
        let mut remedies: Vec<String> = match judgement.reading.verdict {
            Verdict::Broken => [Repair::Restore, Repair::Seal]
                .into_iter()
                .filter_map(command)
                .collect(),
            Verdict::Unsealed | Verdict::Ok => command(Repair::Seal).into_iter().collect(),
            _ => Vec::new(),
        };
        remedies.dedup();
        let place = format!("volume group {}", group.name);
        let mut report = Report {
            identity: Some(Identity::new(
                &group.name,
                &judgement,
                format!("{place} ({})", group.uuid),
            )),
            place,
            engine: engine::of_verdict(judgement.reading.verdict, true),
            advice: by_hand(&judgement, &group.name),
            judgement,
            findings,
            unsaid: 0,
            facts: Vec::new(),
            remedies,
        };
        report.pools("");
        report
    }

    /// More that is wrong.
    pub(super) fn add(&mut self, mut findings: Vec<Finding>) {
        let room = MAX_FINDINGS.saturating_sub(self.findings.len());
        self.unsaid += findings.len().saturating_sub(room);
        findings.truncate(room);
        self.findings.append(&mut findings);
    }

    /// Which data centres the domain is attached to, and what to do if they are no more.
    fn pools(&mut self, path: &str) {
        let pools = self.judgement.metadata.get("POOL_UUID").unwrap_or_default();
        if pools.is_empty() {
            return;
        }
        let mut words = props::quoted(pools).trim_matches('"').to_owned();
        if self.judgement.metadata.get("CLASS") == Some("Backup") && !path.is_empty() {
            words += &format!("; if that is no more: vdsm-hooks domain release {path}");
        }
        self.facts.push(("attached to".to_owned(), words));
    }

    /// How the domain is called, and where.
    pub(super) fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// Whether this is one of its findings.
    pub(super) fn finds(&self, finding: &Finding) -> bool {
        self.findings.contains(finding)
    }

    /// The exit status for this domain.
    pub(super) fn status(&self) -> u8 {
        let verdict = self.judgement.reading.verdict.severity();
        let severity = verdict.max(worst(&self.findings));
        severity.map_or(0, Severity::status)
    }

    pub(super) fn print(&self, out: &mut impl Write) -> Result {
        let reading = &self.judgement.reading;
        writeln!(out, "{}", diff::printable(&self.place))?;
        if let Some(description) = self.judgement.metadata.get("DESCRIPTION") {
            line(out, "name", &props::quoted(description))?;
        }
        let color = match self.status() {
            0 => AnsiColor::Green,
            1 => AnsiColor::Yellow,
            _ => AnsiColor::Red,
        };
        let style = Style::new().bold().fg_color(Some(color.into()));
        coloured(out, "verdict", reading.verdict, style)?;
        let mut line = |name: &str, text: &str| self::line(out, name, text);
        if let Some(declared) = &reading.declared {
            line("declared", props::quoted(declared).trim_matches('"'))?;
        }
        if let Some(computed) = &reading.computed {
            line("computed", computed)?;
        }
        if let Some(cause) = &self.judgement.cause {
            line("likely cause", cause)?;
        }
        for (reader, other) in &self.judgement.others {
            line("otherwise", &format!("{reader}: {}", in_words(other)))?;
        }
        if let Some(engine) = self.engine {
            line("engine", engine)?;
        }
        if let Some(advice) = &self.advice {
            line("advice", advice)?;
        }
        for (number, remedy) in self.remedies.iter().enumerate() {
            // The seal over what stands there now, where it proves that something else did.
            line(if number == 0 { "mend" } else { "or, as it is" }, remedy)?;
        }
        for (name, words) in &self.facts {
            line(name, words)?;
        }
        for finding in &self.findings {
            line("finding", &finding.to_string())?;
            cure(&mut line, finding)?;
        }
        if self.unsaid > 0 {
            line("finding", &format!("{} more", self.unsaid))?;
        }
        Ok(())
    }

    /// The same for scripts.
    pub(super) fn told(&self, target: &str) -> Told {
        let judgement = &self.judgement;
        let others = judgement.others.iter().map(|(reader, other)| Otherwise {
            reader: reader.to_string(),
            verdict: other.verdict.to_string(),
            declared: other.declared.clone(),
            computed: other.computed.clone(),
        });
        let metadata = judgement.metadata.iter();
        let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let remedies = &mut self.remedies.iter().cloned();
        Told {
            path: target.to_owned(),
            file: self.place.clone(),
            verdict: judgement.reading.verdict.to_string(),
            status: self.status(),
            declared: judgement.reading.declared.clone(),
            computed: judgement.reading.computed.clone(),
            cause: judgement.cause.clone(),
            engine: self.engine,
            otherwise: others.collect(),
            remedy: remedies.next(),
            other_remedy: remedies.next(),
            advice: self.advice.clone(),
            findings: self.findings.iter().map(Found::from).collect(),
            more_findings: self.unsaid,
            facts: Names(self.facts.clone()),
            metadata: Names(metadata.collect()),
        }
    }
}

objects! {
    /// What is said about a domain.
    pub(super) struct Told {
        /// The target that it was found by: as it was called, or with `--all` the mount.
        path: String,
        /// The metadata file, or the volume group.
        file: String,
        /// `ok`, `unsealed`, `broken`, `empty`, `missing file`, `not UTF-8` or `undecodable tag`.
        verdict: String,
        /// The exit status for this domain: 0, 1 or 2.
        status: u8,
        /// The seal that stands in the metadata.
        declared: Option<String>,
        /// The seal that would be right.
        computed: Option<String>,
        /// Why the seal probably does not fit.
        cause: Option<String>,
        /// What the engine shows of the verdict.
        engine: Option<&'static str>,
        /// Readers that say otherwise.
        otherwise: Vec<Otherwise>,
        /// The command that mends the metadata.
        remedy: Option<String>,
        /// Another one, which seals what stands there now.
        other_remedy: Option<String>,
        /// What to do where no command mends the metadata.
        advice: Option<String>,
        /// What else is wrong.
        findings: Vec<Found>,
        /// How many findings are left out, since there are too many.
        more_findings: usize,
        /// What is worth knowing: `lock`, `images`, `attached to` and the like.
        facts: Names<String>,
        /// The metadata, key by key.
        metadata: Names<String>,
    }

    struct Otherwise {
        /// VDSM of which release, or which kind of script.
        reader: String,
        /// Its verdict.
        verdict: String,
        /// The seal as it reads it.
        declared: Option<String>,
        /// The seal that it computes.
        computed: Option<String>,
    }

    struct Found {
        /// With what: a file, a key, an image.
        about: String,
        /// What is wrong, and what would be right.
        problem: String,
        /// The command that mends it.
        remedy: Option<String>,
        /// What no command does.
        advice: Option<String>,
        /// What the engine shows of it.
        engine: Option<String>,
    }

    /// A place, or an id, of which there is no report.
    pub(super) struct Alone {
        /// The place without a domain, or the id that several have.
        path: String,
        /// The exit status for it.
        status: u8,
        /// What is wrong.
        findings: Vec<Found>,
    }

    /// What LVM said, which does not count for the exit status.
    pub(super) struct Warning {
        /// What LVM said.
        problem: String,
        /// What to do about it.
        advice: Option<String>,
    }
}

impl From<&Finding> for Found {
    fn from(finding: &Finding) -> Found {
        Found {
            about: finding.subject.clone(),
            problem: finding.text.clone(),
            remedy: finding.remedy.clone(),
            advice: finding.advice.clone(),
            engine: finding.engine.clone(),
        }
    }
}

impl Alone {
    pub(super) fn new(title: &str, finding: &Finding) -> Alone {
        Alone {
            path: title.to_owned(),
            status: finding.severity.status(),
            findings: vec![Found::from(finding)],
        }
    }
}

impl From<&Finding> for Warning {
    fn from(finding: &Finding) -> Warning {
        Warning {
            problem: finding.text.clone(),
            advice: finding.advice.clone(),
        }
    }
}

/// One line, whatever is in the text: names of files may have line ends, and worse.
fn line(out: &mut impl Write, name: &str, text: &str) -> io::Result<()> {
    coloured(out, name, diff::printable(text), Style::new())
}

fn coloured(
    out: &mut impl Write,
    name: &str,
    text: impl fmt::Display,
    style: Style,
) -> io::Result<()> {
    writeln!(out, "  {:<13} {style}{text}{style:#}", format!("{name}:"))
}

/// What to do about metadata that no command can mend, since what it was is not there.
fn by_hand(judgement: &Judgement, target: &str) -> Option<String> {
    let first = match judgement.reading.verdict {
        Verdict::Broken if judgement.proved.is_some() => return None,
        Verdict::Unsealed | Verdict::Broken if is_cut(&judgement.metadata) => {
            "put the lost lines back from a backup or a copy beside it"
        }
        Verdict::Ok | Verdict::Unsealed | Verdict::Broken => return None,
        Verdict::Missing | Verdict::Empty => {
            "put it back from a backup or a copy beside it, or write it anew as that of a domain of the same kind, with this one's id and name"
        }
        Verdict::NotUtf8 => {
            "correct the byte with an editor: it is a character of another encoding"
        }
        Verdict::Undecodable => "change the tag that is named with lvm vgchange",
    };
    Some(format!("{first}; then: vdsm-hooks domain seal {target}"))
}

/// Prints what is to be done about a finding, and what the engine shows of it.
fn cure(line: &mut impl FnMut(&str, &str) -> io::Result<()>, finding: &Finding) -> io::Result<()> {
    for (name, words) in [
        ("  mend", &finding.remedy),
        ("  advice", &finding.advice),
        ("  engine", &finding.engine),
    ] {
        if let Some(words) = words {
            line(name, words)?;
        }
    }
    Ok(())
}

/// Prints what is wrong about a place, or an id, of which there is no report.
pub(super) fn print_alone(out: &mut impl Write, title: &str, finding: &Finding) -> Result {
    writeln!(out, "{}", diff::printable(title))?;
    let mut line = |name: &str, text: &str| line(out, name, text);
    line("finding", &finding.text)?;
    cure(&mut line, finding)?;
    Ok(())
}

/// Prints what LVM warned about and no domain has among its findings.
pub(super) fn print_warnings(out: &mut impl Write, warnings: &[Finding]) -> Result {
    writeln!(out, "LVM of this host")?;
    for warning in warnings.iter().take(MAX_FINDINGS) {
        line(out, "warning", &warning.text)?;
        cure(&mut |name: &str, text: &str| line(out, name, text), warning)?;
    }
    let unsaid = warnings.len().saturating_sub(MAX_FINDINGS);
    if unsaid > 0 {
        line(out, "warning", &format!("{unsaid} more"))?;
    }
    Ok(())
}

/// What is wrong with the values of the metadata, with this advice. Text that cannot be decoded has
/// none, and nothing at all has none that are wrong.
fn values(judgement: &Judgement, name: Option<&str>, advice: impl Fn() -> String) -> Vec<Finding> {
    let found = match judgement.reading.verdict {
        Verdict::Ok | Verdict::Broken | Verdict::Unsealed => findings(&judgement.metadata, name),
        _ => Vec::new(),
    };
    let proved = judgement.proved.as_ref();
    let proved = proved.map(|metadata| findings(metadata, name));
    let with_advice = |mut finding: Finding| {
        let same = |other: &Finding| other.subject == finding.subject && other.text == finding.text;
        if proved
            .as_ref()
            .is_some_and(|proved| !proved.iter().any(same))
        {
            finding.advice =
                Some("'vdsm-hooks domain seal --restore' puts back what was sealed".to_owned());
        }
        finding.advice.get_or_insert_with(&advice);
        finding
    };
    found.into_iter().map(with_advice).collect()
}

fn in_words(reading: &Reading) -> String {
    match (reading.verdict, &reading.computed) {
        (Verdict::Broken, Some(computed)) => format!("broken, computes {computed}"),
        (verdict, _) => verdict.to_string(),
    }
}
