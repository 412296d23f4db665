// SPDX-License-Identifier: GPL-2.0-or-later

//! Files of the host that change together, or not at all: settings that are in several of them
//! ([`change`]), and whatever else is to be put in its place or to go ([`apply`]).
//!
//! Root changes them, and some lie in directories that belong to VDSM's user. So a directory is
//! opened once, and over links only where nobody but root can have put them.

use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{Mode, fstat, mkdirat};
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};

use crate::host::rollback::Undo;
use crate::host::temporary::{self, Named, Temporary};
use crate::{Context, Error, Result};

/// Settings are a few lines.
const MAX_BYTES: u64 = 1 << 20;
const DIRECTORY: OFlag = OFlag::O_PATH
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_CLOEXEC);

/// Files and what is to be in them; none for those that are to go.
pub type Files = BTreeMap<PathBuf, Option<String>>;

/// Gives each file its text, with mode 0644, or removes it where there is none. Tells whether that
/// was a change: a file that has its text already is not touched. Directories that are missing are
/// made.
///
/// The new files and second names of the old ones are made first, with a dot in front; renaming is
/// all that is left then. So nobody ever reads half a file. They are made beside the files, or in
/// `workshop`, on the same file system, where somebody takes every name beside them for his own.
///
/// # Errors
/// A file cannot be read, written or removed. Then all of them are what they were.
pub fn change(files: &Files, workshop: Option<&Path>) -> Result<bool> {
    let mut places = Vec::new();
    for (path, text) in files {
        if let Some(place) = Place::find(path, workshop, text.is_some())? {
            // From a process that was killed. Nobody else changes the file now. Before the first one
            // is made: two files in different directories may have the same name.
            place.clear();
            places.push((place, text));
        }
    }
    let mut steps: Vec<(&Place<'_>, Option<&dyn Content>)> = Vec::new();
    for (place, text) in &places {
        if place.content()?.as_deref() != text.as_deref().map(str::as_bytes) {
            steps.push((place, text.as_ref().map(|text| text as &dyn Content)));
        }
    }
    perform(&steps)?;
    Ok(!steps.is_empty())
}

/// Makes what is to be in a place.
pub trait Content {
    /// Makes it in the directory, to become `name` there.
    ///
    /// # Errors
    /// It cannot be made. Nothing is left of it.
    fn make<'d>(&self, directory: BorrowedFd<'d>, name: &str) -> io::Result<Named<'d>>;
}

impl<C: Content + ?Sized> Content for &C {
    fn make<'d>(&self, directory: BorrowedFd<'d>, name: &str) -> io::Result<Named<'d>> {
        (**self).make(directory, name)
    }
}

/// Settings: mode 0644, and on the disk before they get their name.
impl Content for String {
    fn make<'d>(&self, directory: BorrowedFd<'d>, name: &str) -> io::Result<Named<'d>> {
        let mut new = Temporary::held(directory, name)?;
        let file = new.file();
        file.set_permissions(Permissions::from_mode(0o644))?;
        file.write_all(self.as_bytes())?;
        file.sync_all()?;
        Ok(new.written())
    }
}

/// A place, and what is to be there; without that nothing is to be left there.
pub struct Step<'a> {
    /// The place, absolute. Its directory has to be there, see [`make_directory`].
    pub path: PathBuf,
    /// What is to be there.
    pub content: Option<Box<dyn Content + 'a>>,
}

/// Takes all steps, in this order, whatever is in the places: files or symbolic links. First
/// everything is made, beside its place with a dot in front, and what is there gets a second name.
/// Renaming is all that is left then. What processes that were killed have left of it,
/// [`temporary::clear`] removes.
///
/// # Errors
/// Something cannot be made, put in its place or removed. Then all places are what they were.
pub fn apply(steps: &[Step<'_>]) -> Result {
    // Each once: steps can be more than the files that a process may open.
    let mut directories: BTreeMap<&Path, Option<Rc<OwnedFd>>> = BTreeMap::new();
    let mut places = Vec::new();
    for step in steps {
        let parent = step.path.parent().unwrap_or(&step.path);
        if !directories.contains_key(parent) {
            let directory = enter(parent, false).context(parent.display())?;
            directories.insert(parent, directory.map(Rc::new));
        }
        match (directories.get(parent).cloned().flatten(), &step.content) {
            (Some(directory), content) => {
                let place = Place::in_directory(&step.path, directory, None);
                places.push((place, content.as_deref()));
            }
            (None, None) => {}
            (None, Some(_)) => return Err(system(Errno::ENOENT)).context(parent.display()),
        }
    }
    let in_place: Vec<(&Place<'_>, Option<&dyn Content>)> = places
        .iter()
        .map(|(place, content)| (place, *content))
        .collect();
    perform(&in_place)
}

fn perform(steps: &[(&Place<'_>, Option<&dyn Content>)]) -> Result {
    let mut changes = Vec::new();
    for (place, content) in steps {
        let new = match content {
            Some(content) => Some(place.make(*content)?),
            None => None,
        };
        let old = place.keep()?;
        if new.is_some() || old.is_some() {
            changes.push((place, new, old));
        }
    }
    let mut undo = Undo::default();
    for (place, new, old) in changes {
        place.put(new)?;
        undo.push(place.path.display().to_string(), || place.put(old));
    }
    undo.keep();
    Ok(())
}

/// Makes a directory, and those above it, mode 0755 as far as the process makes such. It may be
/// there already.
///
/// # Errors
/// One of them cannot be made, is no directory, or is a symbolic link that others may have put there.
pub fn make_directory(path: &Path) -> Result {
    enter(path, true).context(path.display()).map(drop)
}

/// Opens a directory, to name what is in it; none if it is not there.
///
/// # Errors
/// It is no directory, or a symbolic link that others may have put there is on the way.
pub fn directory(path: &Path) -> Result<Option<OwnedFd>> {
    enter(path, false).context(path.display())
}

/// Whether [`change`] would be a change.
///
/// # Errors
/// A file cannot be read.
pub fn is_change(files: &Files) -> Result<bool> {
    for (path, text) in files {
        if content(path)?.as_deref() != text.as_deref().map(str::as_bytes) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The content of one of the files; none if it is not there.
///
/// # Errors
/// It cannot be read, is no regular file, or is larger than any settings.
pub fn content(path: &Path) -> Result<Option<Vec<u8>>> {
    match Place::find(path, None, false)? {
        Some(place) => place.content(),
        None => Ok(None),
    }
}

/// Where a file is, or is to be.
struct Place<'a> {
    path: &'a Path,
    directory: Rc<OwnedFd>,
    /// Where it is made, if not there.
    workshop: Option<OwnedFd>,
    name: String,
}

impl<'a> Place<'a> {
    /// None if its directory is not there and not to be made.
    fn find(path: &'a Path, workshop: Option<&Path>, make: bool) -> Result<Option<Place<'a>>> {
        let parent = path.parent().unwrap_or(path);
        let open = |directory: &Path| enter(directory, make).context(directory.display());
        let directory = open(parent)?;
        let workshop = workshop.map(open).transpose()?.flatten();
        Ok(directory.map(|directory| Place::in_directory(path, Rc::new(directory), workshop)))
    }

    fn in_directory(path: &'a Path, directory: Rc<OwnedFd>, workshop: Option<OwnedFd>) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Place {
            path,
            directory,
            workshop,
            name: name.into_owned(),
        }
    }

    fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    fn workshop(&self) -> BorrowedFd<'_> {
        self.workshop.as_ref().unwrap_or(&self.directory).as_fd()
    }

    /// Beside the file too, where others may have no workshop.
    fn clear(&self) {
        temporary::clear(self.directory(), Some(&self.name));
        temporary::clear(self.workshop(), Some(&self.name));
    }

    fn content(&self) -> Result<Option<Vec<u8>>> {
        let mut flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        if !is_ours(&self.directory).context(self.path.display())? {
            flags |= OFlag::O_NOFOLLOW;
        }
        let opened = match openat(self.directory(), self.name.as_str(), flags, Mode::empty()) {
            Err(Errno::ENOENT) => return Ok(None),
            Err(Errno::ELOOP) => Err(Error::new("a symbolic link, expected a file")),
            opened => opened.map(File::from).map_err(system),
        };
        let read = |file: File| -> Result<Vec<u8>> {
            let mut content = Vec::new();
            match file.metadata()? {
                found if found.is_dir() => return Err(system(Errno::EISDIR)),
                found if !found.is_file() => {
                    return Err(Error::new("no regular file, expected one"));
                }
                _ => {}
            }
            match file.take(MAX_BYTES + 1).read_to_end(&mut content)? as u64 {
                ..=MAX_BYTES => Ok(content),
                _ => Err(Error::new(format!("larger than {MAX_BYTES} bytes"))),
            }
        };
        opened.and_then(read).context(self.path.display()).map(Some)
    }

    fn make(&self, content: &dyn Content) -> Result<Named<'_>> {
        let made = content.make(self.workshop(), &self.name);
        made.context(format!("cannot write {}", self.path.display()))
    }

    /// What is there now, if anything is.
    fn keep(&self) -> Result<Option<Named<'_>>> {
        match Named::second(self.workshop(), self.directory(), &self.name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            second => second
                .context(format!("cannot keep {}", self.path.display()))
                .map(Some),
        }
    }

    /// Gives the file its place; without one nothing is to be left there.
    fn put(&self, file: Option<Named<'_>>) -> Result {
        let name = self.name.as_str();
        match file {
            Some(file) => file
                .replace_in(self.directory(), Path::new(name))
                .context(self.path.display()),
            None => unlinkat(self.directory(), name, UnlinkatFlags::NoRemoveDir)
                .map_err(system)
                .context(self.path.display()),
        }
    }
}

/// Opens a directory, or makes it as well.
fn enter(path: &Path, make: bool) -> Result<Option<OwnedFd>> {
    let mut here = open("/", DIRECTORY, Mode::empty()).map_err(system)?;
    for name in path.strip_prefix("/").unwrap_or(path) {
        let strict = DIRECTORY | OFlag::O_NOFOLLOW;
        let mut found = openat(&here, name, strict, Mode::empty());
        if make && found.as_ref().err() == Some(&Errno::ENOENT) {
            let rest = Mode::S_IRGRP | Mode::S_IXGRP | Mode::S_IROTH | Mode::S_IXOTH;
            mkdirat(&here, name, Mode::S_IRWXU | rest).map_err(system)?;
            found = openat(&here, name, strict, Mode::empty());
        }
        here = match found {
            Err(Errno::ENOENT) => return Ok(None),
            Err(Errno::ENOTDIR) if is_ours(&here)? => {
                openat(&here, name, DIRECTORY, Mode::empty()).map_err(system)?
            }
            Err(Errno::ENOTDIR) => {
                return Err(Error::new(
                    "a symbolic link of another user is on the way, expected directories",
                ));
            }
            found => found.map_err(system)?,
        };
    }
    Ok(Some(here))
}

/// In the words of all other messages.
fn system(error: Errno) -> Error {
    io::Error::from(error).into()
}

/// Whether nobody but root and us can put anything into the directory.
fn is_ours(directory: &OwnedFd) -> Result<bool> {
    let found = fstat(directory).map_err(system)?;
    let by_others = Mode::S_IWGRP | Mode::S_IWOTH;
    let is_owned = [0, geteuid().as_raw()].contains(&found.st_uid);
    Ok(is_owned && found.st_mode & by_others.bits() == 0)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{chown, symlink};

    use super::*;

    fn one(path: &Path, text: &str) -> Files {
        BTreeMap::from([(path.to_owned(), Some(text.to_owned()))])
    }

    #[test]
    fn what_is_made_elsewhere_is_never_beside_and_what_was_left_goes() -> Result {
        let root = tempfile::tempdir()?;
        let workshop = root.path();
        let files: Files = ["one/same", "two/same"]
            .map(|name| (workshop.join(name), Some(name.to_owned())))
            .into();
        let old = [
            "one/same",
            "two/same",
            "one/.same.0123456789abcdef.new",
            ".same.0123456789abcdea.new",
        ];
        for name in old.map(|name| workshop.join(name)) {
            fs::create_dir_all(name.parent().unwrap_or(workshop))?;
            fs::write(name, "old")?;
        }
        // What cannot be removed: then nothing changes.
        fs::create_dir(workshop.join("three"))?;
        fs::create_dir(workshop.join("three/same"))?;
        let mut refused = files.clone();
        refused.insert(workshop.join("three/same"), None);
        for (wanted, is_changed) in [(&refused, false), (&files, true)] {
            assert_eq!(change(wanted, Some(workshop)).is_ok(), is_changed);
            for name in ["one", "two"] {
                assert_eq!(crate::host::files::entries(&workshop.join(name))?, ["same"]);
                let expected = if is_changed {
                    format!("{name}/same")
                } else {
                    "old".to_owned()
                };
                let found = fs::read_to_string(workshop.join(name).join("same"))?;
                assert_eq!(found, expected);
            }
            assert_eq!(
                crate::host::files::entries(workshop)?,
                ["one", "three", "two"]
            );
        }
        assert!(!is_change(&files)?);
        Ok(())
    }

    /// Makes a text, and does something on the way.
    struct Meanwhile<'a>(&'a dyn Fn() -> io::Result<()>);

    impl Content for Meanwhile<'_> {
        fn make<'d>(&self, directory: BorrowedFd<'d>, name: &str) -> io::Result<Named<'d>> {
            (self.0)()?;
            "meanwhile".to_owned().make(directory, name)
        }
    }

    #[test]
    fn steps_are_all_taken_or_none() -> Result {
        let root = tempfile::tempdir()?;
        let at = |name: &str| root.path().join(name);
        fs::write(at("old"), "old")?;
        symlink("old", at("link"))?;
        let fails = || Err(io::Error::other("fails"));
        // Where a file is about to be put.
        let is_taken = || fs::create_dir(at("new"));
        for meanwhile in [&fails as &dyn Fn() -> io::Result<()>, &is_taken, &|| Ok(())] {
            let step = |name: &str, content: Option<&str>| Step {
                path: at(name),
                content: content.map(|text| Box::new(text.to_owned()) as Box<dyn Content>),
            };
            let mut steps = vec![
                step("old", Some("text")),
                step("link", None),
                step("new", Some("text")),
                step("never/there", None),
                step("nor here", None),
            ];
            steps.push(Step {
                path: at("other"),
                content: Some(Box::new(Meanwhile(meanwhile))),
            });
            let done = apply(&steps);
            let names = crate::host::files::entries(root.path())?;
            if done.is_ok() {
                assert_eq!(names, ["new", "old", "other"]);
                assert_eq!(fs::read_to_string(at("old"))?, "text");
                assert_eq!(fs::read_to_string(at("other"))?, "meanwhile");
                continue;
            }
            if at("new").is_dir() {
                fs::remove_dir(at("new"))?;
            } else {
                assert_eq!(names, ["link", "old"]);
            }
            assert_eq!(crate::host::files::entries(root.path())?, ["link", "old"]);
            assert_eq!(fs::read_link(at("link"))?, Path::new("old"));
            assert_eq!(fs::read_to_string(at("old"))?, "old");
        }
        assert!(at("other").exists());
        // Nothing is made for what has no directory.
        let refused = apply(&[Step {
            path: at("never/there"),
            content: Some(Box::new(String::new())),
        }]);
        assert!(refused.is_err() && !at("never").exists());
        make_directory(&at("never/ever"))?;
        make_directory(&at("never/ever"))?;
        assert!(at("never/ever").is_dir() && make_directory(&at("old/ever")).is_err());
        Ok(())
    }

    #[test]
    fn links_are_followed_where_only_we_can_have_put_them() -> Result {
        let root = tempfile::tempdir()?;
        let real = root.path().join("real");
        fs::create_dir(&real)?;
        let ours = root.path().join("ours");
        let theirs = root.path().join("theirs");
        for directory in [&ours, &theirs] {
            fs::create_dir(directory)?;
            symlink(&real, directory.join("link"))?;
            symlink("/etc/passwd", directory.join("file"))?;
        }
        if geteuid().is_root() {
            chown(&theirs, Some(36), Some(36))?;
        } else {
            fs::set_permissions(&theirs, Permissions::from_mode(0o777))?;
        }
        assert!(change(&one(&ours.join("link/one"), "text"), None)?);
        assert_eq!(fs::read_to_string(real.join("one"))?, "text");
        assert!(content(&ours.join("file"))?.is_some());

        for path in ["link/two", "link/deep/two"] {
            let refused = change(&one(&theirs.join(path), "text"), None);
            let refused = refused.err().map(|error| error.to_string());
            let refused = refused.unwrap_or_default();
            assert!(
                refused.contains("a symbolic link of another user"),
                "{refused}"
            );
        }
        let refused = content(&theirs.join("file"))
            .err()
            .map(|error| error.to_string());
        let refused = refused.unwrap_or_default();
        assert!(
            refused.ends_with("a symbolic link, expected a file"),
            "{refused}"
        );
        assert_eq!(fs::read_dir(&real)?.count(), 1);
        Ok(())
    }
}
