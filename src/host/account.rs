// SPDX-License-Identifier: GPL-2.0-or-later

//! A user of a host, as the host's own files know him, and what owners and modes let him do. Access
//! control lists are not looked at.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// To read a file, or to list a directory.
pub const READ: u32 = 4;
/// To execute a file, or to reach what is in a directory.
pub const EXECUTE: u32 = 1;

/// A user and his groups.
#[derive(Debug, Clone)]
pub struct Account {
    /// His name.
    pub name: String,
    /// His number.
    pub user: u32,
    groups: Vec<u32>,
}

impl Account {
    /// The superuser.
    pub fn superuser() -> Account {
        Account {
            name: "root".to_owned(),
            user: 0,
            groups: vec![0],
        }
    }

    /// The user `name` of the host with this root directory. `else_numbers` are those of user and
    /// group where its passwd does not have him.
    pub fn of_host(root: &Path, name: &str, else_numbers: (u32, u32)) -> Account {
        let text = |path: &str| fs::read(root.join(path)).unwrap_or_default();
        let passwd = text("etc/passwd");
        let group = text("etc/group");
        let passwd = String::from_utf8_lossy(&passwd);
        let numbers = passwd.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let is_his = fields.len() > 3 && fields[0] == name;
            is_his.then(|| Some((fields[2].parse().ok()?, fields[3].parse().ok()?)))?
        });
        let (user, own) = numbers.unwrap_or(else_numbers);
        let mut groups = vec![own];
        for line in String::from_utf8_lossy(&group).lines() {
            let fields: Vec<&str> = line.split(':').collect();
            if fields.len() > 3 && fields[3].split(',').any(|member| member == name) {
                groups.extend(fields[2].parse::<u32>());
            }
        }
        Account {
            name: name.to_owned(),
            user,
            groups,
        }
    }

    /// The number of his own group.
    pub fn group(&self) -> u32 {
        self.groups.first().copied().unwrap_or_default()
    }

    /// Whether he may do with a file what `wanted` says, a sum of [`READ`] and [`EXECUTE`].
    pub fn may(&self, file: &Metadata, wanted: u32) -> bool {
        let mode = file.mode();
        if self.user == 0 {
            // Reads everything, but executes no file that nobody may execute (capabilities(7)).
            return wanted & EXECUTE == 0 || file.is_dir() || mode & 0o111 != 0;
        }
        let class = if file.uid() == self.user {
            6
        } else if self.groups.contains(&file.gid()) {
            3
        } else {
            0
        };
        (mode >> class) & wanted == wanted
    }

    /// The first directory below `root`, on the way to a path, through which he cannot go.
    pub fn barred(&self, root: &Path, path: &Path) -> Option<PathBuf> {
        let mut way = directories(root, path).into_iter();
        way.find(|at| fs::metadata(at).is_ok_and(|found| !self.may(&found, EXECUTE)))
    }
}

/// The directories below `root` on the way to a path, the highest first.
pub fn directories(root: &Path, path: &Path) -> Vec<PathBuf> {
    let way = path.parent().and_then(|way| way.strip_prefix(root).ok());
    let mut at = root.to_owned();
    let parts = way.into_iter().flat_map(Path::components);
    parts
        .map(|part| {
            at.push(part);
            at.clone()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::Result;

    fn host() -> Result<tempfile::TempDir> {
        let host = tempfile::tempdir()?;
        fs::create_dir_all(host.path().join("etc"))?;
        let passwd = "root:x:0:0::/root:/bin/sh\nvdsm:x:1036:2036::/:/bin/false\nshort\n";
        fs::write(host.path().join("etc/passwd"), passwd)?;
        let group = "kvm:x:36:qemu,vdsm\nqemu:x:107:vdsm2\ndisk:x:6:vdsm\nbad:x:y:vdsm\n";
        fs::write(host.path().join("etc/group"), group)?;
        Ok(host)
    }

    #[test]
    fn users_are_those_of_the_host() -> Result {
        let host = host()?;
        let account = Account::of_host(host.path(), "vdsm", (36, 36));
        assert_eq!(
            (account.user, &account.groups[..]),
            (1036, &[2036, 36, 6][..])
        );
        let unknown = Account::of_host(&host.path().join("etc"), "vdsm", (36, 36));
        assert_eq!((unknown.user, &unknown.groups[..]), (36, &[36][..]));
        Ok(())
    }

    #[test]
    fn modes_count_for_the_first_class_that_one_is_in() -> Result {
        let host = host()?;
        let file = host.path().join("file");
        fs::write(&file, "")?;
        let own = fs::metadata(&file)?;
        let (owner, group) = (own.uid(), own.gid());
        let account = |user, groups: &[u32]| Account {
            name: String::new(),
            user,
            groups: groups.to_owned(),
        };
        let stranger = account(owner + 1, &[group + 1]);
        let member = account(owner + 1, &[7, group]);
        for (mode, by_member, by_stranger) in [
            (0o755, true, true),
            (0o744, false, false),
            (0o750, true, false),
            (0o705, false, true),
            (0o711, false, false),
        ] {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode))?;
            let found = fs::metadata(&file)?;
            assert_eq!(member.may(&found, READ | EXECUTE), by_member, "{mode:o}");
            assert_eq!(
                stranger.may(&found, READ | EXECUTE),
                by_stranger,
                "{mode:o}"
            );
            assert!(Account::superuser().may(&found, READ | EXECUTE), "{mode:o}");
        }
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644))?;
        let plain = fs::metadata(&file)?;
        assert!(!Account::superuser().may(&plain, EXECUTE) && stranger.may(&plain, READ));
        Ok(())
    }

    #[test]
    fn the_whole_way_counts() -> Result {
        let host = host()?;
        let deep = host.path().join("a/b/c");
        fs::create_dir_all(&deep)?;
        let middle = host.path().join("a/b");
        fs::set_permissions(&middle, fs::Permissions::from_mode(0o700))?;
        let stranger = Account {
            name: String::new(),
            user: fs::metadata(&middle)?.uid() + 1,
            groups: Vec::new(),
        };
        assert_eq!(
            stranger.barred(host.path(), &deep.join("x")),
            Some(middle.clone())
        );
        assert_eq!(stranger.barred(host.path(), &middle), None);
        assert_eq!(
            Account::superuser().barred(host.path(), &deep.join("x")),
            None
        );
        Ok(())
    }
}
