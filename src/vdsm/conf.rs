// SPDX-License-Identifier: GPL-2.0-or-later

//! VDSM's own settings, read the way VDSM reads them.
//!
//! VDSM reads `/etc/vdsm/vdsm.conf` and then every `*.conf` of three drop-in directories, ordered
//! by file name alone; a later value replaces an earlier one (VDSM 4.50
//! lib/vdsm/common/config.py.in: `read_configs`). The files follow Python's
//! `configparser`.

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::host::files;
use crate::{Context, Error, Result, props};

/// In the order in which files of the same name are read.
const DROP_INS: [&str; 3] = [
    "usr/lib/vdsm/vdsm.conf.d",
    "run/vdsm/vdsm.conf.d",
    "etc/vdsm/vdsm.conf.d",
];
const MAX_FILE_BYTES: u64 = 1 << 20;
/// The section whose options all others have.
const DEFAULT: &str = "DEFAULT";
/// How deep one value may refer to another, as in `configparser`.
const MAX_DEPTH: usize = 10;

/// The values, in the order in which they were read.
#[derive(Debug, Default)]
pub struct VdsmConf {
    values: Vec<Setting>,
    /// The first file that is there and cannot be opened.
    passed_over: Option<Error>,
}

#[derive(Debug)]
struct Setting {
    section: String,
    /// In lower case.
    option: String,
    value: String,
    file: PathBuf,
}

impl VdsmConf {
    /// The host's settings.
    ///
    /// # Errors
    /// A file that VDSM could not read either.
    pub fn read() -> Result<VdsmConf> {
        VdsmConf::read_below(Path::new("/"))
    }

    /// The host's settings if the boolean `option` of the section `[vars]` is true, none if it is
    /// false or not set: what turns the hooks on that have no property.
    ///
    /// # Errors
    /// As [`VdsmConf::read`] and [`VdsmConf::flag`]; and a file that cannot be opened, because the
    /// option may be there.
    pub fn turning_on(option: &str) -> Result<Option<VdsmConf>> {
        let mut conf = VdsmConf::read()?;
        if let Some(error) = conf.passed_over.take() {
            return Err(error);
        }
        let is_on = conf.flag("vars", option)? == Some(true);
        Ok(is_on.then_some(conf))
    }

    /// The settings of the host whose root directory is `root`. Files that are not there or cannot
    /// be opened are passed over, as VDSM does.
    ///
    /// # Errors
    /// As [`VdsmConf::read`].
    pub fn read_below(root: &Path) -> Result<VdsmConf> {
        let found = DROP_INS
            .iter()
            .filter_map(|directory| fs::read_dir(root.join(directory)).ok())
            .flatten()
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| {
                path.extension()
                    .is_some_and(|extension| extension == "conf")
            })
            // Python's glob leaves hidden files out.
            .filter(|path| !path.file_name().is_some_and(is_hidden));
        let mut drop_ins: Vec<PathBuf> = found.collect();
        // Those of one name stay in the order of their directories, as Python's sort leaves them.
        drop_ins.sort_by(|one, other| one.file_name().cmp(&other.file_name()));
        let mut conf = VdsmConf::default();
        for path in [root.join("etc/vdsm/vdsm.conf")].iter().chain(&drop_ins) {
            if let Err(error) = fs::File::open(path) {
                if error.kind() != io::ErrorKind::NotFound && conf.passed_over.is_none() {
                    let message = format!("cannot read {}: {error}", path.display());
                    conf.passed_over = Some(Error::new(message));
                }
                continue;
            }
            let bytes = files::read_file(path, MAX_FILE_BYTES)?;
            let text = String::from_utf8(bytes).context(path.display())?;
            conf.add(path, &text).context(path.display())?;
        }
        Ok(conf)
    }

    /// The value of an option, none if no file sets it.
    ///
    /// # Errors
    /// A value that refers to an option that is not there.
    pub fn get(&self, section: &str, option: &str) -> Result<Option<String>> {
        self.find(section, option)
            .map(|setting| self.resolved(section, &setting.value, MAX_DEPTH))
            .transpose()
            .context(format!("[{section}] {option}"))
    }

    /// A boolean, in the words of `configparser`, in any case; none if no file sets it.
    ///
    /// # Errors
    /// Another word; the message names the file.
    pub fn flag(&self, section: &str, option: &str) -> Result<Option<bool>> {
        let Some(value) = self.get(section, option)? else {
            return Ok(None);
        };
        match value.to_ascii_lowercase().as_str() {
            "1" | "yes" | "true" | "on" => Ok(Some(true)),
            "0" | "no" | "false" | "off" => Ok(Some(false)),
            _ => Err(self.wrong(
                section,
                option,
                "expected 1, yes, true, on, 0, no, false or off",
            )),
        }
    }

    /// One of several words; none if no file sets it.
    ///
    /// # Errors
    /// Another word; the message lists the right ones.
    pub fn choice<'w>(
        &self,
        section: &str,
        option: &str,
        words: &[&'w str],
    ) -> Result<Option<&'w str>> {
        let Some(value) = self.get(section, option)? else {
            return Ok(None);
        };
        let known = words.iter().copied().find(|word| *word == value);
        known.map(Some).ok_or_else(|| {
            let expected = format!("expected one of {}", words.join(", "));
            self.wrong(section, option, &expected)
        })
    }

    /// A whole number; none if no file sets it.
    ///
    /// # Errors
    /// Not one.
    pub fn number(&self, section: &str, option: &str) -> Result<Option<u64>> {
        let Some(value) = self.get(section, option)? else {
            return Ok(None);
        };
        let is_number = value.bytes().all(|byte| byte.is_ascii_digit());
        let number = value.parse().ok().filter(|_| is_number);
        number
            .map(Some)
            .ok_or_else(|| self.wrong(section, option, "expected a whole number"))
    }

    /// The error of a value: `FILE: [section] option="value": problem`.
    pub fn wrong(&self, section: &str, option: &str, problem: &str) -> Error {
        let (file, value) = match self.find(section, option) {
            Some(setting) => (setting.file.display().to_string(), setting.value.as_str()),
            None => ("vdsm.conf".to_owned(), ""),
        };
        let value = props::quoted(value);
        Error::new(format!("{file}: [{section}] {option}={value}: {problem}"))
    }

    fn find(&self, section: &str, option: &str) -> Option<&Setting> {
        let option = option.to_ascii_lowercase();
        [section, DEFAULT].into_iter().find_map(|section| {
            let mut latest = self.values.iter().rev();
            latest.find(|setting| setting.section == section && setting.option == option)
        })
    }

    /// `value` with `%(option)s` replaced by that option of the section, and `%%` by `%`.
    fn resolved(&self, section: &str, value: &str, depth: usize) -> Result<String> {
        let mut text = String::with_capacity(value.len());
        let mut rest = value;
        while let Some((before, after)) = rest.split_once('%') {
            text += before;
            if let Some(after) = after.strip_prefix('%') {
                text.push('%');
                rest = after;
                continue;
            }
            let reference = after
                .strip_prefix('(')
                .and_then(|name| name.split_once(')'))
                .and_then(|(name, end)| Some((name, end.strip_prefix('s')?)));
            let (name, behind) = reference.ok_or_else(|| {
                Error::new(format!(
                    "{value:?}: expected '%%' or '%(option)s' at every '%'"
                ))
            })?;
            let other = self
                .find(section, name)
                .filter(|_| depth > 0)
                .ok_or_else(|| Error::new(format!("{value:?}: cannot resolve %({name})s")))?;
            text += &self.resolved(section, &other.value, depth - 1)?;
            rest = behind;
        }
        Ok(text + rest)
    }

    /// Adds what one file says.
    fn add(&mut self, file: &Path, text: &str) -> Result {
        let mut section: Option<&str> = None;
        let mut in_option = false;
        let mut indent = 0;
        for (number, line) in (1..).zip(text.lines()) {
            let content = line.trim();
            if content.starts_with(['#', ';']) {
                continue;
            }
            let deeper = line.len() - line.trim_start().len();
            let latest = self.values.last_mut().filter(|_| in_option);
            if let Some(setting) = latest {
                if content.is_empty() || deeper > indent {
                    setting.value.push('\n');
                    setting.value += content;
                    continue;
                }
            }
            if content.is_empty() {
                continue;
            }
            indent = deeper;
            let header = content.strip_prefix('[');
            if let Some((name, _)) = header.and_then(|rest| rest.rsplit_once(']')) {
                section = Some(name);
                in_option = false;
                continue;
            }
            let wrong = |expected: &str| Error::new(format!("line {number}: expected {expected}"));
            let section = section.ok_or_else(|| wrong("a [section] first"))?;
            let option = content.split_once(['=', ':']);
            let (name, value) = option.ok_or_else(|| wrong("'option = value'"))?;
            self.values.push(Setting {
                section: section.to_owned(),
                option: name.trim_end().to_ascii_lowercase(),
                value: value.trim_start().to_owned(),
                file: file.to_owned(),
            });
            in_option = true;
        }
        // Empty lines belong to a value only where the value goes on.
        for Setting { value, .. } in &mut self.values {
            value.truncate(value.trim_end().len());
        }
        Ok(())
    }
}

fn is_hidden(name: &std::ffi::OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(text: &str) -> Result<Option<String>> {
        let mut conf = VdsmConf::default();
        conf.add(Path::new("/etc/vdsm/vdsm.conf"), text)?;
        conf.get("irs", "repository")
    }

    #[test]
    fn as_python_reads_it() -> Result {
        for (text, value) in [
            ("", None),
            ("[irs]\nrepository = /a\n", Some("/a")),
            ("[irs]\r\nrepository=/a\r\n", Some("/a")),
            ("[irs]\nRepository : /a ; kept", Some("/a ; kept")),
            ("[irs]\nrepository=/a=b:c", Some("/a=b:c")),
            ("[irs]\n# repository = /a\n  ; repository = /b", None),
            ("[vars]\nrepository=/a", None),
            ("[IRS]\nrepository=/a", None),
            ("[irs] and more\nrepository=/a", Some("/a")),
            ("[DEFAULT]\nrepository=/a\n[irs]\nx=1", Some("/a")),
            ("[irs]\nrepository=/a\n\n\n[vars]\nx=1", Some("/a")),
            ("[irs]\nrepository=/a\n  /b\nx=1", Some("/a\n/b")),
            ("[irs]\nrepository=/a\n\n  # no\n  /b\n", Some("/a\n\n/b")),
            ("[irs]\n  repository=/a\n  x=1", Some("/a")),
            ("[irs]\nx=/y\nrepository=%(x)s/%%z", Some("/y/%z")),
            ("[irs]\nrepository=", Some("")),
            ("[irs]\nrepository=/a\n[irs]\nrepository=/b", Some("/b")),
        ] {
            assert_eq!(repository(text)?.as_deref(), value, "{text:?}");
        }
        for text in [
            "repository=/a",
            "[irs]\nrepository",
            "[irs]\nrepository=%(x)s",
            "[irs]\nrepository=%(repository)s",
            "[irs]\nrepository=50%",
        ] {
            assert!(repository(text).is_err(), "{text:?}");
        }
        Ok(())
    }

    #[test]
    fn values_are_checked() -> Result {
        let mut conf = VdsmConf::default();
        conf.add(Path::new("F"), "[vars]\na=b\nn=12\nm=+1\ne=\nt=Yes")?;
        assert_eq!(conf.choice("vars", "a", &["a", "b"])?, Some("b"));
        assert_eq!(conf.choice("vars", "z", &["a", "b"])?, None);
        assert_eq!(conf.number("vars", "n")?, Some(12));
        assert_eq!(conf.number("vars", "z")?, None);
        assert_eq!(conf.flag("vars", "t")?, Some(true));
        let message = |error: Option<Error>| error.map(|error| error.to_string());
        for (error, expected) in [
            (
                conf.choice("vars", "a", &["c", "d"]).err(),
                "F: [vars] a=\"b\": expected one of c, d",
            ),
            (
                conf.number("vars", "m").err(),
                "F: [vars] m=\"+1\": expected a whole number",
            ),
            (
                conf.number("vars", "e").err(),
                "F: [vars] e=\"\": expected a whole number",
            ),
            (
                conf.flag("vars", "n").err(),
                "F: [vars] n=\"12\": expected 1, yes, true, on, 0, no, false or off",
            ),
        ] {
            assert_eq!(message(error).as_deref(), Some(expected));
        }
        Ok(())
    }

    #[test]
    fn drop_ins_go_by_file_name() -> Result {
        let root = tempfile::tempdir()?;
        let put = |path: &str, value: &str| -> Result {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap_or(root.path()))?;
            Ok(fs::write(path, format!("[irs]\nrepository={value}\n"))?)
        };
        let seen = || -> Result<Option<String>> {
            VdsmConf::read_below(root.path())?.get("irs", "repository")
        };
        assert_eq!(seen()?, None);
        // Each one beats those before it.
        for (path, value) in [
            ("etc/vdsm/vdsm.conf", "/main"),
            ("etc/vdsm/vdsm.conf.d/10.conf", "/etc-10"),
            ("usr/lib/vdsm/vdsm.conf.d/20.conf", "/usr-20"),
            ("run/vdsm/vdsm.conf.d/20.conf", "/run-20"),
            ("etc/vdsm/vdsm.conf.d/20.conf", "/etc-20"),
            ("usr/lib/vdsm/vdsm.conf.d/30.conf", "/usr-30"),
        ] {
            put(path, value)?;
            assert_eq!(seen()?.as_deref(), Some(value), "{path}");
        }
        put("etc/vdsm/vdsm.conf.d/40.conf.rpmnew", "/no")?;
        // A hidden one would be the first, and beaten.
        fs::write(
            root.path().join("etc/vdsm/vdsm.conf.d/.50.conf"),
            "nonsense",
        )?;
        assert_eq!(seen()?.as_deref(), Some("/usr-30"));
        fs::write(root.path().join("etc/vdsm/vdsm.conf.d/40.conf"), "nonsense")?;
        let error = seen()
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(
            error.ends_with("40.conf: line 1: expected a [section] first"),
            "{error}"
        );
        Ok(())
    }
}
