// SPDX-License-Identifier: GPL-2.0-or-later

//! Where the suite itself is installed, and VDSM's hooks.

/// VDSM's directory of the events' directories. Daemons of ours lie beside them: VDSM looks for
/// hooks in the directories of the events only.
pub const HOOKS: &str = "/usr/libexec/vdsm/hooks";

/// The directory of the programs that hooks run as root.
pub const HELPERS: &str = "/usr/libexec/vdsm-hooks";

/// The path of one of them, in [`HELPERS`], for a constant: `helper!("hugepages-set")`.
#[macro_export]
macro_rules! helper {
    ($name:literal) => {
        concat!("/usr/libexec/vdsm-hooks/", $name)
    };
}

#[cfg(test)]
mod tests {
    #[test]
    fn helpers_are_where_they_are() {
        assert_eq!(helper!("x"), format!("{}/x", super::HELPERS));
    }
}
