// SPDX-License-Identifier: GPL-2.0-or-later

//! `vdsm-hooks grow-disk`: what the hook growdisk does at the start of a VM, at the shell.

use std::ffi::CString;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::{self, Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};
use nix::unistd::{User, geteuid, initgroups, setgid, setuid};
use sha1::{Digest as _, Sha1};

use vdsm_hooks::host::worker::{Work, Worker};
use vdsm_hooks::host::{files, interrupt};
use vdsm_hooks::image::grow::{
    self, Action, Choice, Failure, Format, Grown, Image, Job, Outcome, Planned, Settings, Step, gib,
};
use vdsm_hooks::props::is_uuid;
use vdsm_hooks::storage::volume;
use vdsm_hooks::{Context as _, Error, Result};

use crate::diff::printable;
use crate::json::{self, objects};
use crate::print;
use bar::Bar;

mod bar;

/// Grow what is in a disk image to the image's size
///
/// Grows the last partition of an enlarged image, LVM in it and the file system, in place, with
/// libguestfs. No machine may run on the image. All of it is rehearsed first in a way that cannot write to
/// the image; what cannot be grown safely is refused, and every byte stays. What was cut off before is
/// finished.
#[derive(clap::Args)]
#[command(after_help = SHORT_HELP, after_long_help = STORIES)]
pub(crate) struct Arguments {
    /// The image, or the block device; of a chain of images the topmost
    image: PathBuf,

    /// Format of the image: raw or qcow2. Without it the volume's .meta file says it; it is never guessed
    #[arg(long, value_name = "FORMAT", value_parser = format)]
    format: Option<Format>,

    /// The logical volume to grow, where there are several
    #[arg(long, value_name = "[VG/]LV", value_parser = volume_name)]
    lv: Option<String>,

    /// Only rehearse and print the steps; the image stays what it is
    #[arg(long)]
    plan: bool,

    /// Print one JSON object instead of text; see vdsm-hooks-json(7)
    #[arg(long)]
    json: bool,

    /// Do not ask
    #[arg(long, short)]
    yes: bool,

    /// Forget a growth that was cut off: the image was mended by other means
    #[arg(long, conflicts_with_all = ["plan", "lv", "json"])]
    forget: bool,
}

/// How long to wait for the storage of an image that is not to be grown: it was refused, or its journal
/// is to be forgotten.
const TO_LOOK: Duration = Duration::from_secs(10);
/// In milliseconds.
const BETWEEN_LOOKS: u16 = 100;

const SHORT_HELP: &str = "\
Exit status: 0 grown, planned, or nothing to grow; 1 refused or failed before
the first write, the image is what it was; 2 failed after it: run it once more,
or repair. '--help' has examples.";

const STORIES: &str = "\
A cloud image, made larger before its first start
  The first command enlarges it, the second shows what would be done, the third
  does it:

    $ qemu-img resize -f qcow2 debian.qcow2 +20G
    $ vdsm-hooks grow-disk --format qcow2 --plan debian.qcow2
    grow-disk: debian.qcow2: qcow2 22.0 GiB, gpt,
      partition 1 ends at 2.0 GiB -> ext4; writes about 11 MiB
      part-expand-gpt /dev/sda
      part-resize /dev/sda 1 -34
      e2fsck /dev/sda1 correct:true
      resize2fs /dev/sda1
    $ vdsm-hooks grow-disk --format qcow2 --yes debian.qcow2
    grow-disk: debian.qcow2: partition 1 (ext4): 1.9 -> 21.9 GiB in 21 s

LVM with a choice, the disk of a VM that is down
  The volume lies below /rhev/data-center/mnt/SERVER/DOMAIN/images/IMAGE:

    $ vdsm-hooks grow-disk --yes VOLUME
    grow-disk: VOLUME: name one of cl/root, cl/home; not grown
    $ vdsm-hooks grow-disk --yes --lv cl/home VOLUME
    grow-disk: VOLUME: partition 2, cl/home (xfs): 10.0 -> 30.0 GiB in 27 s

  What had been free in the volume group before stays free.

Cut off, and finished
  The power failed while a disk grew. The steps are in a journal, so the next
  start of the VM with the property finishes them first, and so does:

    $ vdsm-hooks grow-disk --yes VOLUME

  If that fails, /var/lib/vdsm/hooks/growdisk/VOLUME.json tells which steps,
  and what was said; of an image that is no volume the file has a number for a
  name, and the path in it. Mend the guest, or bring a snapshot back, and then:

    $ vdsm-hooks grow-disk --forget VOLUME

How it works
  The steps are commands of guestfish(1). Started by root it works as user
  vdsm, as the hook does, and needs no more than that user may.
  /etc/vdsm-hooks/growdisk has the host's settings.

Exit status: 0 grown, planned, or nothing to grow; 1 refused or failed before
the first write, the image is what it was; 2 failed after it, the image is as
the failed step left it.";

fn volume_name(name: &str) -> std::result::Result<String, String> {
    if grow::is_volume_name(name) {
        return Ok(name.to_owned());
    }
    Err("expected a logical volume such as root or cl/root".to_owned())
}

fn format(name: &str) -> std::result::Result<Format, String> {
    Format::named(name).ok_or_else(|| "expected raw or qcow2".to_owned())
}

/// A small file beside an image, which may lie on storage that is dead.
static META: Worker<PathBuf, Vec<u8>> =
    Worker::new(|path| files::read_file(&path, volume::MAX_META_BYTES));

/// What a child does for this command.
pub(crate) fn work() -> &'static dyn Work {
    &META
}

/// Grows, or says what would be done.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let path = path::absolute(&arguments.image).context(arguments.image.display())?;
    become_vdsm()?;
    let call = Call {
        arguments,
        name: path.file_name().map_or_else(
            || path.display().to_string(),
            |name| name.to_string_lossy().into_owned(),
        ),
        bar: Bar::new(),
    };
    interrupt::hold()?;
    if arguments.forget {
        return call
            .forget(&id_of(&path, Instant::now() + TO_LOOK).unwrap_or_else(|_| name_of(&path)));
    }
    let prepared = || {
        let settings = Settings::of_host()?;
        let id = id_of(&path, Instant::now() + settings.prepare)?;
        let format = match arguments.format {
            Some(format) => format,
            None => format_of(&path, Instant::now() + settings.prepare)?,
        };
        Ok((settings, format, id))
    };
    let (settings, format, id) = match prepared() {
        Ok(prepared) => prepared,
        Err(error) => return call.tell(Err(Failure::Before(error)), &path, None),
    };
    let image = Image { path, format, id };
    call.grow(&image, &settings)
}

objects! {
    /// What `--json` prints.
    pub(crate) struct Answer {
        /// The image.
        image: String,
        /// Its format, `raw` or `qcow2`; null if nobody knows.
        image_format: Option<&'static str>,
        /// Its virtual size in bytes; null if nobody knows.
        size: Option<u64>,
        /// `grow`: grown, or with `--plan` to be grown; `nothing` to grow; `refused`: the image is what
        /// it was; `failed`: the image is as the failed step left it.
        result: &'static str,
        /// Why it was refused, or failed.
        reason: Option<String>,
        /// What was done, or with `--plan` is to be done.
        steps: Vec<Told>,
    }

    struct Told {
        /// The command of guestfish(1).
        op: &'static str,
        /// The device that it works on.
        device: String,
        /// The number of the partition that is enlarged; null for any other step.
        partition: Option<u64>,
        /// Its new last sector, as guestfish takes it; null for any other step.
        end: Option<i64>,
        /// The new size of the logical volume in MiB; null for any other step.
        mib: Option<u64>,
    }
}

impl From<&Step> for Told {
    fn from(step: &Step) -> Told {
        let (mut partition, mut end, mut mib) = (None, None, None);
        match step.action {
            Action::ResizePartition {
                number,
                end: last_sector,
            } => (partition, end) = (Some(number.into()), Some(last_sector)),
            Action::ResizeLv { mib: size } => mib = Some(size),
            _ => {}
        }
        Told {
            op: step.action.name(),
            device: step.device.clone(),
            partition,
            end,
            mib,
        }
    }
}

/// How the command was called, and how it answers.
struct Call<'a> {
    arguments: &'a Arguments,
    /// The name of the image.
    name: String,
    bar: Bar,
}

impl Call<'_> {
    fn grow(&self, image: &Image, settings: &Settings) -> Result<ExitCode> {
        let job = Job {
            image,
            choice: Choice {
                volume: self.arguments.lv.as_deref(),
                is_named: true,
            },
            settings,
            remembers: false,
            progress: &|stage| self.bar.show(stage),
        };
        let done = if self.arguments.plan || !self.arguments.yes {
            job.plan()
        } else {
            job.grow()
        };
        self.bar.clear();
        let Ok(Outcome::Planned(planned)) = &done else {
            return self.tell(done, &image.path, Some(image));
        };
        if self.arguments.plan {
            return self.tell(done, &image.path, Some(image));
        }
        if !self.is_wanted(planned)? {
            self.complain("nothing was done");
            return Ok(ExitCode::from(1));
        }
        let grown = job.grow();
        self.bar.clear();
        self.tell(grown, &image.path, Some(image))
    }

    fn forget(&self, id: &str) -> Result<ExitCode> {
        self.say(if grow::forget(id)? {
            "the growth that was cut off is forgotten"
        } else {
            "no growth was cut off"
        })?;
        Ok(ExitCode::SUCCESS)
    }

    fn say(&self, what: &str) -> Result {
        let line = format!("grow-disk: {}: {what}", self.name);
        print(&format!("{}\n", printable(&line)))
    }

    /// Whether the planned steps are to be gone: asked at the terminal.
    fn is_wanted(&self, planned: &Planned) -> Result<bool> {
        if !io::stdin().is_terminal() {
            return Err(Error::new(
                "nobody can be asked here, expected --yes, or --plan to see what would be done",
            ));
        }
        self.say_planned(planned)?;
        print("Go these steps? [y/N] ")?;
        Ok(matches!(answer()?.trim(), "y" | "Y" | "yes"))
    }

    fn say_planned(&self, planned: &Planned) -> Result {
        let rest = if planned.is_rest {
            "to finish what was cut off, "
        } else {
            ""
        };
        self.say(&format!(
            "{rest}{} {}, {}; writes about {} MiB",
            planned.format.name(),
            gib(planned.size),
            planned.found,
            planned.writes.div_ceil(1 << 20)
        ))?;
        for step in &planned.steps {
            print(&format!("  {}\n", step.command()))?;
        }
        Ok(())
    }

    /// The answer; without an image if nothing is known of it yet.
    fn tell(
        &self,
        done: std::result::Result<Outcome, Failure>,
        path: &Path,
        image: Option<&Image>,
    ) -> Result<ExitCode> {
        match done {
            _ if self.arguments.json => self.tell_json(&done, path, image),
            Ok(Outcome::Nothing) => self.say("nothing to grow").map(|()| ExitCode::SUCCESS),
            Ok(Outcome::Planned(planned)) => self.say_planned(&planned).map(|()| ExitCode::SUCCESS),
            Ok(Outcome::Grown(grown)) => {
                let Grown {
                    result,
                    took,
                    warnings,
                    ..
                } = grown;
                self.say(&format!("{result} in {} s", took.as_secs()))?;
                for warning in warnings {
                    self.say(warning)?;
                }
                Ok(ExitCode::SUCCESS)
            }
            Err(Failure::Before(error)) => {
                self.complain(&format!("{error}; not grown"));
                Ok(ExitCode::from(1))
            }
            Err(Failure::After(error)) => {
                self.complain(&error.to_string());
                Ok(ExitCode::from(2))
            }
        }
    }

    fn complain(&self, what: &str) {
        let line = format!("grow-disk: {}: {what}", self.name);
        let _ = writeln!(io::stderr(), "{}", printable(&line));
    }

    fn tell_json(
        &self,
        done: &std::result::Result<Outcome, Failure>,
        path: &Path,
        image: Option<&Image>,
    ) -> Result<ExitCode> {
        let steps = |steps: &[Step]| -> Vec<Told> { steps.iter().map(Told::from).collect() };
        let (result, reason, steps, status) = match done {
            Ok(Outcome::Nothing) => ("nothing", None, Vec::new(), 0),
            Ok(Outcome::Planned(planned)) => ("grow", None, steps(&planned.steps), 0),
            Ok(Outcome::Grown(grown)) => ("grow", None, steps(&grown.steps), 0),
            Err(Failure::Before(error)) => ("refused", Some(error), Vec::new(), 1),
            Err(Failure::After(error)) => ("failed", Some(error), Vec::new(), 2),
        };
        print(&json::text(&Answer {
            image: path.to_string_lossy().into_owned(),
            image_format: image.map(|image| image.format.name()),
            size: image.and_then(|image| image.size(Instant::now() + TO_LOOK).ok()),
            result,
            reason: reason.map(ToString::to_string),
            steps,
        })?)?;
        Ok(ExitCode::from(status))
    }
}

/// A line from the terminal; empty after an interrupt.
fn answer() -> Result<String> {
    let stdin = io::stdin();
    loop {
        let mut waited = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        let answered = poll(&mut waited, BETWEEN_LOOKS);
        if interrupt::signal().is_some() {
            return Ok(String::new());
        }
        if matches!(answered, Ok(1..)) {
            let mut line = String::new();
            stdin.lock().read_line(&mut line)?;
            return Ok(line);
        }
    }
}

/// Root's own call works as the hook does: what is in an image is nobody's to trust, and for root
/// libguestfs keeps its sockets in a place where everybody can write.
fn become_vdsm() -> Result {
    if !geteuid().is_root() {
        return Ok(());
    }
    let Some(user) = User::from_name("vdsm").context("user vdsm")? else {
        return Ok(());
    };
    let name = CString::new("vdsm").context("user vdsm")?;
    let become_one = || -> nix::Result<()> {
        initgroups(&name, user.gid)?;
        setgid(user.gid)?;
        setuid(user.uid)
    };
    become_one().context("user vdsm")
}

/// What the volume's metadata say; nothing is guessed.
fn format_of(image: &Path, end: Instant) -> Result<Format> {
    let mut meta = image.as_os_str().to_owned();
    meta.push(".meta");
    let found = META.ask(&PathBuf::from(meta), end)?;
    let found =
        found.ok_or_else(|| Error::new("its storage did not answer before the deadline"))?;
    let volume = found.ok().map(|content| volume::Volume::read(&content));
    match volume.as_ref().and_then(|volume| volume.get("FORMAT")) {
        Some("RAW") => Ok(Format::Raw),
        Some("COW") => Ok(Format::Qcow2),
        _ => Err(Error::new(format!(
            "{}: no .meta file says its format, expected --format raw or --format qcow2",
            image.display()
        ))),
    }
}

/// The name for locks and records: the volume's id, as the hook has it, or one made from the path
/// without links.
fn id_of(image: &Path, end: Instant) -> Result<String> {
    let real = grow::real_path(image, end)?;
    Ok(name_of(&real))
}

/// The same of an image that is not there any more.
fn name_of(image: &Path) -> String {
    let name = image.file_name().and_then(|name| name.to_str());
    match name.filter(|name| is_uuid(name)) {
        Some(id) => id.to_owned(),
        None => {
            let digest = Sha1::digest(image.as_os_str().as_encoded_bytes());
            digest.iter().map(|byte| format!("{byte:02x}")).collect()
        }
    }
}
