// SPDX-License-Identifier: GPL-2.0-or-later

//! Something that is wrong: one form for all that find something, and for all that show it.
//!
//! What is looked at, and who is told how, is not known here.
//!
//! ```
//! use vdsm_hooks::finding::{Finding, Severity, worst};
//!
//! let mode = Finding::warning("dom_md/leases", "mode 0600, expected 0660")
//!     .with_remedy("chmod 0660 dom_md/leases".to_owned());
//! assert_eq!(mode.to_string(), "dom_md/leases: mode 0600, expected 0660");
//! assert_eq!(worst(&[mode]), Some(Severity::Warning));
//! assert_eq!(worst(&[]), None);
//! ```

use std::fmt;

use serde::{Deserialize, Serialize};

/// How bad it is; the worse is the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It works all the same, or nobody knows whether it does.
    Warning,
    /// It does not work, or something happens that must not.
    Problem,
}

impl Severity {
    /// The exit status of a command that has found nothing worse; 0 is that of nothing at all.
    pub fn status(self) -> u8 {
        match self {
            Severity::Warning => 1,
            Severity::Problem => 2,
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Warning => "warning",
            Severity::Problem => "problem",
        })
    }
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// With what: a hook, a storage domain; or a file or a key of the one that all findings are
    /// about.
    pub subject: String,
    /// What is wrong, and what would be right, in one line.
    pub text: String,
    /// What to do about it, if there is something: a command, or advice.
    pub remedy: Option<String>,
    /// What a command cannot do: what to do before or after it, or why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
    /// What the engine shows of it, where somebody would look for the cause there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
}

impl Finding {
    /// Something that works all the same.
    pub fn warning(subject: impl Into<String>, text: impl Into<String>) -> Finding {
        Finding::new(Severity::Warning, subject, text)
    }

    /// Something that does not work.
    pub fn problem(subject: impl Into<String>, text: impl Into<String>) -> Finding {
        Finding::new(Severity::Problem, subject, text)
    }

    /// Something as bad as `severity` says.
    pub fn new(severity: Severity, subject: impl Into<String>, text: impl Into<String>) -> Finding {
        Finding {
            severity,
            subject: subject.into(),
            text: text.into(),
            remedy: None,
            advice: None,
            engine: None,
        }
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<Option<String>>) -> Finding {
        self.remedy = remedy.into();
        self
    }

    /// The same with what no command does.
    #[must_use]
    pub fn with_advice(mut self, advice: impl Into<String>) -> Finding {
        self.advice = Some(advice.into());
        self
    }

    /// The same with what the engine shows.
    #[must_use]
    pub fn with_engine(mut self, engine: impl Into<String>) -> Finding {
        self.engine = Some(engine.into());
        self
    }
}

impl fmt::Display for Finding {
    /// Subject and text, in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.text)
    }
}

/// The severity of the worst of them; none if there are none.
pub fn worst(findings: &[Finding]) -> Option<Severity> {
    findings.iter().map(|finding| finding.severity).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_one_counts() {
        let warning = Finding::warning("a", "b");
        let problem = Finding::problem("a", "b");
        for (findings, severity, status) in [
            (vec![], None, 0),
            (vec![warning.clone()], Some(Severity::Warning), 1),
            (
                vec![warning.clone(), problem.clone(), warning],
                Some(Severity::Problem),
                2,
            ),
            (vec![problem], Some(Severity::Problem), 2),
        ] {
            assert_eq!(worst(&findings), severity);
            assert_eq!(severity.map_or(0, Severity::status), status);
        }
    }

    #[test]
    fn for_scripts() {
        let finding = Finding::problem("a", "b").with_remedy("c".to_owned());
        let json =
            serde_json::json!({"severity": "problem", "subject": "a", "text": "b", "remedy": "c"});
        assert_eq!(serde_json::to_value(&finding).unwrap(), json);
        assert_eq!(serde_json::from_value::<Finding>(json).unwrap(), finding);
        let more = finding.with_advice("d").with_engine("e");
        let whole = serde_json::to_value(&more).unwrap();
        assert_eq!(
            (&whole["advice"], &whole["engine"]),
            (&"d".into(), &"e".into())
        );
        assert_eq!(serde_json::from_value::<Finding>(whole).unwrap(), more);
    }
}
