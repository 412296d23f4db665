// SPDX-License-Identifier: GPL-2.0-or-later

//! What is said about one storage domain: line by line for people, or an object for scripts.

use std::io::{self, Write};
use std::path::Path;

use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};
use vdsm_hooks::finding::{Finding, Severity, worst};
use vdsm_hooks::host::command::shell_quoted;
use vdsm_hooks::storage::lvm::Group;
use vdsm_hooks::storage::report::{MAX_FINDINGS, Survey};
use vdsm_hooks::storage::{
    Judgement, Reading, Repair, Verdict, findings, group, judge, judge_tags,
};
use vdsm_hooks::{Result, props};

use super::mend;

/// The verdict on a domain and everything else that was found.
pub(super) struct Report {
    /// The metadata file, or the volume group.
    place: String,
    judgement: Judgement,
    findings: Vec<Finding>,
    unsaid: usize,
    facts: Vec<(String, String)>,
    /// The command that mends the seal.
    remedy: Option<String>,
}

impl Report {
    /// On a domain of which everything was looked at, or on a copy of its metadata.
    pub(super) fn of_survey(survey: Survey) -> Result<Report> {
        let name = survey.directory().and_then(Path::file_name);
        let name = name.map(|name| name.to_string_lossy().into_owned());
        let place = Path::new(&survey.file).display().to_string();
        let judgement = judge(survey.content()?);
        let mut findings = values(&judgement, name.as_deref());
        findings.extend(survey.findings);
        let path = shell_quoted(&place);
        let can_be_sealed = match judgement.reading.verdict {
            Verdict::Broken | Verdict::Unsealed => true,
            Verdict::Ok => !judgement.others.is_empty(),
            _ => false,
        };
        let remedy = can_be_sealed.then(|| format!("vdsm-hooks domain seal {path}"));
        let mut report = Report {
            place,
            judgement,
            findings,
            unsaid: survey.unsaid,
            facts: survey.facts,
            remedy,
        };
        report.pools(&path);
        Ok(report)
    }

    /// On a domain on block storage. Of what LVM warned about, what names its group belongs to it.
    pub(super) fn of_group(group: &Group, warnings: &[Finding]) -> Report {
        let judgement = judge_tags(&group.tags);
        let mut findings = values(&judgement, Some(&group.name));
        findings.extend(group::findings(group, &judgement.metadata));
        let own = warnings
            .iter()
            .filter(|warning| warning.text.contains(&group.name));
        findings.extend(own.cloned());
        let remedy = match judgement.reading.verdict {
            Verdict::Broken | Verdict::Unsealed | Verdict::Ok => {
                mend::of_group(Repair::Seal, group)
                    .ok()
                    .and_then(|(_, _, command)| command)
            }
            _ => None,
        };
        let mut report = Report {
            place: format!("volume group {}", group.name),
            judgement,
            findings,
            unsaid: 0,
            facts: Vec::new(),
            remedy,
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
        writeln!(out, "{}", self.place)?;
        let mut line = |name: &str, text: &str| line(out, name, text);
        if let Some(description) = self.judgement.metadata.get("DESCRIPTION") {
            line("name", &props::quoted(description))?;
        }
        let color = match self.status() {
            0 => AnsiColor::Green,
            1 => AnsiColor::Yellow,
            _ => AnsiColor::Red,
        };
        let style = Style::new().bold().fg_color(Some(color.into()));
        line("verdict", &format!("{style}{}{style:#}", reading.verdict))?;
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
        if let Some(remedy) = &self.remedy {
            line("mend", remedy)?;
        }
        for (name, words) in &self.facts {
            line(name, words)?;
        }
        for finding in &self.findings {
            line("finding", &finding.to_string())?;
            if let Some(remedy) = &finding.remedy {
                line("  mend", remedy)?;
            }
        }
        if self.unsaid > 0 {
            line("finding", &format!("{} more", self.unsaid))?;
        }
        Ok(())
    }

    pub(super) fn to_json(&self, target: &str) -> Value {
        let judgement = &self.judgement;
        let others = judgement.others.iter().map(|(reader, other)| {
            json!({
                "reader": reader.to_string(),
                "verdict": other.verdict.to_string(),
                "declared": other.declared,
                "computed": other.computed,
            })
        });
        let metadata = judgement.metadata.iter();
        let metadata = metadata.map(|(key, value)| (key.to_owned(), value.into()));
        let findings = self.findings.iter().map(
            |finding| json!({"about": finding.subject, "problem": finding.text, "remedy": finding.remedy}),
        );
        let facts = self.facts.iter();
        let facts = facts.map(|(name, words)| (name.clone(), words.as_str().into()));
        json!({
            "path": target,
            "file": self.place,
            "verdict": judgement.reading.verdict.to_string(),
            "status": self.status(),
            "declared": judgement.reading.declared,
            "computed": judgement.reading.computed,
            "cause": judgement.cause,
            "otherwise": others.collect::<Vec<_>>(),
            "remedy": self.remedy,
            "findings": findings.collect::<Vec<_>>(),
            "more_findings": self.unsaid,
            "facts": facts.collect::<serde_json::Map<String, Value>>(),
            "metadata": metadata.collect::<serde_json::Map<String, Value>>(),
        })
    }
}

fn line(out: &mut impl Write, name: &str, text: &str) -> io::Result<()> {
    writeln!(out, "  {:<13} {text}", format!("{name}:"))
}

/// Prints what LVM warned about and no domain has among its findings.
pub(super) fn print_warnings(out: &mut impl Write, warnings: &[Finding]) -> Result {
    writeln!(out, "LVM of this host")?;
    for warning in warnings.iter().take(MAX_FINDINGS) {
        line(out, "warning", &warning.text)?;
        if let Some(remedy) = &warning.remedy {
            line(out, "  mend", remedy)?;
        }
    }
    let unsaid = warnings.len().saturating_sub(MAX_FINDINGS);
    if unsaid > 0 {
        line(out, "warning", &format!("{unsaid} more"))?;
    }
    Ok(())
}

/// [`print_warnings`] for scripts. It does not count for the exit status.
pub(super) fn warnings_to_json(warnings: &[Finding]) -> Value {
    let warning = |warning: &Finding| json!({"problem": warning.text, "remedy": warning.remedy});
    json!({
        "path": "LVM",
        "status": 0,
        "warnings": warnings.iter().map(warning).collect::<Vec<_>>(),
    })
}

/// What is wrong with the values of the metadata. Text that cannot be decoded has none, and nothing
/// at all has none that are wrong.
fn values(judgement: &Judgement, name: Option<&str>) -> Vec<Finding> {
    match judgement.reading.verdict {
        Verdict::Ok | Verdict::Broken | Verdict::Unsealed => findings(&judgement.metadata, name),
        _ => Vec::new(),
    }
}

fn in_words(reading: &Reading) -> String {
    match (reading.verdict, &reading.computed) {
        (Verdict::Broken, Some(computed)) => format!("broken, computes {computed}"),
        (verdict, _) => verdict.to_string(),
    }
}
