// SPDX-License-Identifier: GPL-2.0-or-later

//! The root directory of a host: that of this machine, or of one whose disk is mounted somewhere.

use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::host::command::shell_quoted;
use crate::{Context as _, Result};

/// As many links as the kernel follows on one way (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// A host's root directory.
#[derive(Debug, Clone)]
pub struct Root(PathBuf);

impl Root {
    /// The host whose root directory this is.
    ///
    /// # Errors
    /// There is no such directory.
    pub fn new(path: &Path) -> Result<Root> {
        Ok(Root(fs::canonicalize(path).context(path.display())?))
    }

    /// The directory, over no link.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Whether it is the machine that this program runs on.
    pub fn is_here(&self) -> bool {
        self.0 == Path::new("/")
    }

    /// Where a path of the host is on this machine.
    pub fn at(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }

    /// The same for a command line.
    pub fn shown(&self, path: &str) -> String {
        shell_quoted(&self.at(path).to_string_lossy())
    }

    /// The same over all links, as the host follows them; none if nothing is there.
    pub fn resolve(&self, path: &str) -> Option<PathBuf> {
        let mut left = parts(Path::new(path));
        let mut at = self.0.clone();
        let mut links = 0;
        while let Some(part) = left.pop() {
            if part == ".." {
                if at != self.0 {
                    at.pop();
                }
                continue;
            }
            let next = at.join(part);
            if !fs::symlink_metadata(&next).ok()?.is_symlink() {
                at = next;
                continue;
            }
            links += 1;
            if links > MAX_LINKS {
                return None;
            }
            let target = fs::read_link(&next).ok()?;
            if target.is_absolute() {
                at.clone_from(&self.0);
            }
            left.extend(parts(&target));
        }
        Some(at)
    }
}

/// The parts of a path, the last one first.
fn parts(path: &Path) -> Vec<OsString> {
    let named = path.components().rev().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_lead_where_the_host_follows_them() -> Result {
        let directory = tempfile::tempdir()?;
        let root = Root::new(directory.path())?;
        for place in ["usr/bin", "etc/alternatives"] {
            fs::create_dir_all(root.at(place))?;
        }
        fs::write(root.at("/usr/bin/python3.11"), "")?;
        for (target, link) in [
            ("usr/bin", "bin"),
            ("/etc/alternatives/python3", "usr/bin/python3"),
            ("/usr/bin/python3.11", "etc/alternatives/python3"),
            ("../../../../../usr/bin/python3.11", "usr/bin/up"),
            ("circle", "usr/bin/circle"),
            ("/usr/bin/nothing", "usr/bin/lost"),
        ] {
            symlink(target, root.at(link))?;
        }
        let python = Some(root.at("usr/bin/python3.11"));
        for path in ["/bin/python3", "bin/python3", "/usr/bin/up", "/../bin/up"] {
            assert_eq!(root.resolve(path), python, "{path}");
        }
        for path in ["/usr/bin/circle", "/bin/lost", "/usr/bin/python3.11/x"] {
            assert_eq!(root.resolve(path), None, "{path}");
        }
        assert_eq!(root.resolve("/").as_deref(), Some(root.path()));
        Ok(())
    }

    #[test]
    fn paths_are_quoted_with_their_root() -> Result {
        let directory = tempfile::tempdir()?;
        let place = directory.path().join("a host");
        fs::create_dir(&place)?;
        let root = Root::new(&place)?;
        let shown = format!("'{}/etc/x'", root.path().display());
        assert_eq!((root.shown("/etc/x"), root.is_here()), (shown, false));
        assert_eq!(Root::new(Path::new("/usr/.."))?.shown("/etc/x"), "/etc/x");
        Ok(())
    }
}
