// SPDX-License-Identifier: GPL-2.0-or-later

//! One appliance of libguestfs for many programs that each start guestfish: `guestfish.py` stands in
//! for it there, and hands on the commands. An appliance takes ten seconds without the processor's
//! help, most commands take far less than one.
//!
//! All calls that only read get a first appliance, which starts when everybody waits for it or has
//! ended, and those that write a second one, after it. They have it one after the other, each with
//! its own drive as `/dev/sda` and no other one in sight of LVM, until they close their input.
//!
//! `APPLIANCE_TIMES=FILE` gets a line for each command: its milliseconds, a tab, and the command.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::Deserialize;
use tempfile::TempDir;

/// guestfish for tests: without the processor's help, which not every machine gives.
pub fn guestfish() -> Command {
    let mut command = Command::new("guestfish");
    command
        .env("LIBGUESTFS_BACKEND", "direct")
        .env("LIBGUESTFS_BACKEND_SETTINGS", "force_tcg");
    command
}

/// The drive with this number in an appliance.
pub fn device(index: usize) -> String {
    let letter = |number: usize| char::from(b'a' + u8::try_from(number).unwrap());
    match index / 26 {
        0 => format!("/dev/sd{}", letter(index)),
        more => format!("/dev/sd{}{}", letter(more - 1), letter(index % 26)),
    }
}

/// The same drive for programs that `debug sh` runs: the appliance's kernel numbers disks in the
/// order in which they turn up.
pub fn path(index: usize) -> String {
    format!(
        "/dev/disk/by-path/*-scsi-0:{}:{}:0",
        index / 256,
        index % 256
    )
}

static SLOWEST_START: Mutex<Duration> = Mutex::new(Duration::ZERO);

/// How long an appliance has taken to start here.
pub fn slowest_start() -> Duration {
    let known = *SLOWEST_START.lock().unwrap();
    if known.is_zero() {
        // The images are there from another run.
        Appliance::start(&[], false).shut_down();
        return slowest_start();
    }
    known
}

/// An appliance with some drives.
pub struct Appliance {
    guestfish: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    errors: File,
    /// Where the overlays are.
    temporary: TempDir,
    marks: usize,
}

impl Appliance {
    /// With these images, their formats beside them.
    pub fn start(drives: &[(&Path, &str)], writes: bool) -> Appliance {
        let temporary = TempDir::new_in("/var/tmp").unwrap();
        let errors = temporary.path().join("errors");
        let mut command = guestfish();
        let mut guestfish = command
            .env("TMPDIR", temporary.path())
            // Whatever TMPDIR is, the appliance itself is kept for the next one.
            .env("LIBGUESTFS_CACHEDIR", "/var/tmp")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&errors).unwrap())
            .spawn()
            .unwrap();
        let input = guestfish.stdin.take().unwrap();
        let output = BufReader::new(guestfish.stdout.take().unwrap());
        let errors = File::open(errors).unwrap();
        let mut appliance = Appliance {
            guestfish,
            input,
            output,
            errors,
            temporary,
            marks: 0,
        };
        for (drive, format) in drives {
            let readonly = if writes { "" } else { "readonly:true " };
            let line = format!(
                "add-drive \"{}\" {readonly}format:{format}",
                drive.display()
            );
            assert_eq!(appliance.ask(&line), (String::new(), String::new()));
        }
        if drives.is_empty() {
            // It does not start without one.
            appliance.do_all("add-drive-scratch 1048576");
        }
        let began = Instant::now();
        let (_, error) = appliance.ask("run");
        assert_eq!(error, "", "no appliance");
        let mut slowest = SLOWEST_START.lock().unwrap();
        *slowest = began.elapsed().max(*slowest);
        drop(slowest);
        appliance
    }

    /// What a command answers, and what errors it makes; every byte is a letter of its own number.
    pub fn ask(&mut self, command: &str) -> (String, String) {
        let began = Instant::now();
        self.marks += 1;
        let mark = format!("end of command {}\n", self.marks);
        write!(self.input, "-{command}\necho \"{}\"\n", mark.trim()).unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(mark.as_bytes()) {
            let read = self.output.read_until(b'\n', &mut answer).unwrap();
            let said = String::from_utf8_lossy(&answer);
            assert_ne!(read, 0, "guestfish ended at {command}: {said}");
        }
        answer.truncate(answer.len() - mark.len());
        let mut errors = Vec::new();
        self.errors.read_to_end(&mut errors).unwrap();
        note_time(began, command);
        let text = |bytes: Vec<u8>| bytes.into_iter().map(char::from).collect();
        (text(answer), text(errors))
    }

    /// What a command that must succeed answers.
    pub fn do_all(&mut self, script: &str) -> String {
        let mut answers = String::new();
        for command in script.lines().filter(|line| !line.is_empty()) {
            let (answer, error) = self.ask(command);
            assert_eq!(error, "", "{command}: {answer}");
            answers += &answer;
        }
        answers
    }

    /// SIGKILL to guestfish and its QEMU, as a crash of the host.
    pub fn crash(mut self) {
        let group = Pid::from_raw(i32::try_from(self.guestfish.id()).unwrap());
        killpg(group, Signal::SIGKILL).unwrap();
        self.guestfish.wait().unwrap();
    }

    /// Writes everything and ends.
    pub fn shut_down(mut self) {
        self.do_all("umount-all\nsync\nshutdown");
        drop(self.input);
        assert!(self.guestfish.wait().unwrap().success());
    }

    /// The overlay over this image.
    fn overlay(&self, image: &Path) -> Option<PathBuf> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.temporary.path()).unwrap() {
            let directory = entry.unwrap().path();
            if directory.is_dir() {
                let inside = fs::read_dir(directory).unwrap();
                found.extend(inside.map(|entry| entry.unwrap().path()));
            }
        }
        found.into_iter().find(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.starts_with("overlay") && backing_file(path) == image
        })
    }
}

fn note_time(began: Instant, command: &str) {
    let Some(times) = env::var_os("APPLIANCE_TIMES") else {
        return;
    };
    let line = format!("{}\t{command}\n", began.elapsed().as_millis());
    let mut file = File::options()
        .append(true)
        .create(true)
        .open(times)
        .unwrap();
    // In one call, since appliances run side by side.
    file.write_all(line.as_bytes()).unwrap();
}

/// What the header of a qcow2 image says.
fn backing_file(overlay: &Path) -> PathBuf {
    let mut file = File::open(overlay).unwrap();
    let mut head = [0; 20];
    file.read_exact(&mut head).unwrap();
    let offset = u64::from_be_bytes(head[8..16].try_into().unwrap());
    let length = u32::from_be_bytes(head[16..20].try_into().unwrap());
    let mut name = vec![0; usize::try_from(length).unwrap()];
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.read_exact(&mut name).unwrap();
    PathBuf::from(String::from_utf8(name).unwrap())
}

/// The text with another name for a device and its partitions.
fn renamed(text: &str, from: &str, to: &str) -> String {
    let mut pieces = text.split(from);
    let mut result = pieces.next().unwrap().to_owned();
    for piece in pieces {
        let other = piece.starts_with(|letter: char| letter.is_ascii_lowercase());
        result += if other { from } else { to };
        result += piece;
    }
    result
}

/// So many have one appliance; more of them are done sooner by two.
const FEW: usize = 8;

/// One who shares the appliance.
pub struct Sharer {
    /// What it calls itself in `guestfish.json`.
    pub case: String,
    /// Its image, here.
    pub image: PathBuf,
    /// raw or qcow2.
    pub format: String,
    /// The directory where its files are, as it sees them from `/`.
    pub root: PathBuf,
    /// Another one of which the image is a copy: what that one was answered while it read is this
    /// one's answer as well.
    pub copy_of: Option<String>,
    /// What is asked when it has written: `@` is the drive, `#` its path for programs.
    pub look: String,
}

/// What `guestfish.py` says first.
#[derive(Deserialize)]
struct Head {
    case: String,
    writes: bool,
    alone: bool,
    temporary: PathBuf,
}

struct Call {
    head: Head,
    lines: BufReader<UnixStream>,
}

#[derive(Default)]
struct State {
    /// Those who have neither ended nor gone to an appliance of their own.
    here: Vec<String>,
    waiting: Vec<Call>,
    /// How many more may have an appliance of their own.
    alone: usize,
    answers: BTreeMap<String, String>,
}

/// The appliances for all of them.
pub struct Shared {
    socket: PathBuf,
    sharers: Vec<Sharer>,
    state: Mutex<State>,
    changed: Condvar,
    /// Whether the host of those that write crashes in the end.
    crashes: bool,
}

impl Shared {
    /// For these, who find it in `directory`.
    pub fn new(directory: &Path, sharers: Vec<Sharer>) -> Shared {
        let here = sharers.iter().map(|sharer| sharer.case.clone()).collect();
        let state = State {
            here,
            alone: 2,
            ..State::default()
        };
        Shared {
            socket: Shared::socket(directory),
            sharers,
            state: Mutex::new(state),
            changed: Condvar::new(),
            crashes: false,
        }
    }

    /// The appliance that writes ends with a crash, and so does everybody's disk.
    pub fn crashing(mut self) -> Shared {
        self.crashes = true;
        self
    }

    /// Where `directory` has the socket.
    pub fn socket(directory: &Path) -> PathBuf {
        directory.join("socket")
    }

    /// Runs `work` for each of them, side by side, and gives them appliances; what each one's
    /// `look` has found.
    pub fn serve(&self, work: impl Fn(&str) + Sync) -> BTreeMap<String, String> {
        let socket = &self.socket;
        let _ = fs::remove_file(socket);
        let listener = UnixListener::bind(socket).unwrap();
        fs::set_permissions(socket, fs::Permissions::from_mode(0o666)).unwrap();
        let (work, listener) = (&work, &listener);
        thread::scope(|scope| {
            scope.spawn(move || {
                for stream in listener.incoming() {
                    let stream = stream.unwrap();
                    let mut lines = BufReader::new(stream);
                    let mut line = String::new();
                    if lines.read_line(&mut line).unwrap() == 0 {
                        break;
                    }
                    let head: Head = serde_json::from_str(&line).unwrap();
                    if head.alone {
                        scope.spawn(move || self.alone(&head.case, lines));
                        continue;
                    }
                    let call = Call { head, lines };
                    self.state.lock().unwrap().waiting.push(call);
                    self.changed.notify_all();
                }
            });
            let workers: Vec<_> = self
                .sharers
                .iter()
                .map(|sharer| {
                    scope.spawn(move || {
                        let gone = Gone(self, &sharer.case);
                        work(&sharer.case);
                        drop(gone);
                    })
                })
                .collect();
            let mut failed = 0;
            while let Some(calls) = self.next_calls() {
                failed += self.give_appliances(calls);
            }
            failed += workers
                .into_iter()
                .filter_map(|worker| worker.join().err())
                .count();
            // Nobody comes any more.
            drop(UnixStream::connect(socket).unwrap());
            assert_eq!(failed, 0, "some failed, see above");
        });
        std::mem::take(&mut self.state.lock().unwrap().answers)
    }

    fn leaves(&self, case: &str) {
        self.state
            .lock()
            .unwrap()
            .here
            .retain(|other| other != case);
        self.changed.notify_all();
    }

    /// Lets one have an appliance of its own, but not many at a time.
    fn alone(&self, case: &str, mut lines: BufReader<UnixStream>) {
        self.leaves(case);
        let state = self.state.lock().unwrap();
        let mut state = self
            .changed
            .wait_while(state, |state| state.alone == 0)
            .unwrap();
        state.alone -= 1;
        drop(state);
        let _ = lines.get_mut().write_all(b"!");
        let _ = lines.read_until(b'\n', &mut Vec::new());
        self.state.lock().unwrap().alone += 1;
        self.changed.notify_all();
    }

    /// All that wait, when nobody else is to come: those that read before those that write.
    fn next_calls(&self) -> Option<Vec<Call>> {
        let state = self.state.lock().unwrap();
        let mut state = self
            .changed
            .wait_while(state, |state| state.waiting.len() < state.here.len())
            .unwrap();
        let waiting = std::mem::take(&mut state.waiting);
        let (write, read): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|call| call.head.writes);
        match (read.is_empty(), write.is_empty()) {
            (true, true) => None,
            (true, false) => Some(write),
            (false, _) => {
                state.waiting = write;
                Some(read)
            }
        }
    }

    /// Gives half of them one appliance and half of them another, where there are many; how many
    /// of the two have failed.
    fn give_appliances(&self, mut calls: Vec<Call>) -> usize {
        let half = if calls.len() > FEW {
            calls.len() / 2
        } else {
            0
        };
        let others = calls.split_off(half);
        let give = |calls: Vec<Call>| {
            // Those who wait for it are not to wait for ever.
            let given = panic::catch_unwind(AssertUnwindSafe(|| {
                if !calls.is_empty() {
                    self.give_appliance(calls);
                }
            }));
            usize::from(given.is_err())
        };
        thread::scope(|scope| {
            let first = scope.spawn(|| give(calls));
            give(others) + first.join().unwrap()
        })
    }

    fn give_appliance(&self, mut calls: Vec<Call>) {
        let writes = calls[0].head.writes;
        let sharer = |call: &Call| {
            let mut sharers = self.sharers.iter();
            sharers
                .find(|sharer| sharer.case == call.head.case)
                .unwrap()
        };
        let drives: Vec<(&Path, &str)> = calls
            .iter()
            .map(|call| (&*sharer(call).image, &*sharer(call).format))
            .collect();
        let mut appliance = Appliance::start(&drives, writes);
        let mut statuses = Vec::new();
        // LVM's filter knows devices by how their names begin.
        assert!(calls.len() <= 26);
        let mut known: BTreeMap<&str, (&PathBuf, Answers)> = BTreeMap::new();
        for (index, call) in calls.iter_mut().enumerate() {
            let sharer = sharer(call);
            let look = sharer
                .look
                .replace('@', &device(index))
                .replace('#', &path(index));
            let first = sharer.copy_of.as_ref().unwrap_or(&sharer.case);
            let answered = known.get(&**first).filter(|_| !writes);
            let mut session = Session::new(&mut appliance, index, call, sharer, answered);
            statuses.push(session.serve());
            let answers = session.answers;
            known.entry(first).or_insert((&sharer.image, answers));
            if writes && !sharer.look.is_empty() {
                let answer = appliance.do_all(&format!("umount-all\n{look}"));
                let mut state = self.state.lock().unwrap();
                state.answers.insert(sharer.case.clone(), answer);
            }
        }
        if writes && self.crashes {
            appliance.crash();
        } else {
            appliance.shut_down();
        }
        // Not before, so that the images are theirs again.
        for (call, status) in calls.iter_mut().zip(statuses) {
            let _ = writeln!(call.lines.get_mut(), "x {status}");
        }
    }
}

/// One who has ended, or failed.
struct Gone<'a>(&'a Shared, &'a str);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.0.leaves(self.1);
    }
}

/// Whether a command looks at LVM, or at one of its volumes.
fn is_about_lvm(command: &str) -> bool {
    let mut volumes = command.split("/dev/").skip(1);
    let lvm = ["pv", "vg", "lv"];
    volumes.any(|name| !name.starts_with("sd")) || lvm.iter().any(|name| command.starts_with(name))
}

/// Commands, and what they were answered.
type Answers = Vec<(String, (String, String))>;

/// A call that has the appliance, with one of its drives.
struct Session<'a> {
    appliance: &'a mut Appliance,
    device: String,
    index: usize,
    call: &'a mut Call,
    sharer: &'a Sharer,
    /// Those of an image of the same content.
    answered: Option<&'a Answers>,
    /// That image.
    first_image: Option<&'a PathBuf>,
    answers: Answers,
    /// Where its part of the kernel's messages begins.
    begin: String,
    is_marked: bool,
    is_filtered: bool,
}

impl<'a> Session<'a> {
    fn new(
        appliance: &'a mut Appliance,
        index: usize,
        call: &'a mut Call,
        sharer: &'a Sharer,
        answered: Option<&'a (&'a PathBuf, Answers)>,
    ) -> Session<'a> {
        let begin = format!("begin of {}", sharer.case);
        appliance.do_all("umount-all");
        Session {
            appliance,
            device: device(index),
            index,
            call,
            sharer,
            answered: answered.map(|(_, answers)| answers),
            first_image: answered.map(|(image, _)| *image),
            answers: Vec::new(),
            begin,
            is_marked: false,
            is_filtered: false,
        }
    }

    /// Until it closes its input; the status that guestfish would end with.
    fn serve(&mut self) -> u8 {
        let mut runs = false;
        loop {
            let mut line = String::new();
            // One that was killed reads and writes no more.
            if self.call.lines.read_line(&mut line).unwrap_or_default() == 0 {
                return 0;
            }
            let line = line.trim();
            let (command, must) = match line.strip_prefix('-') {
                Some(command) => (command.trim(), false),
                None => (line, true),
            };
            let nothing = (String::new(), String::new());
            let name = command.split(' ').next().unwrap_or_default();
            let (answer, error) = match name {
                "echo" => (format!("{}\n", command[4..].trim()), String::new()),
                "run" | "launch" => {
                    runs = true;
                    self.show_overlay();
                    nothing
                }
                // Settings of the appliance, which has been started.
                _ if !runs => nothing,
                "shutdown" => self.appliance.ask("umount-all"),
                "exit" | "quit" => return 0,
                _ => self.answer(command),
            };
            let fails = error.contains("libguestfs: error:");
            for (kind, text) in [("o", answer), ("e", error)] {
                if !text.is_empty() {
                    let bytes = text
                        .chars()
                        .map(|letter| u8::try_from(u32::from(letter)).unwrap());
                    let bytes: Vec<u8> = bytes.collect();
                    let lines = self.call.lines.get_mut();
                    let _ = writeln!(lines, "{kind} {}", bytes.len());
                    let _ = lines.write_all(&bytes);
                }
            }
            if must && fails {
                return 1;
            }
        }
    }

    /// What the appliance answers, or has answered to one with a copy of the image.
    fn answer(&mut self, command: &str) -> (String, String) {
        if let Some(answered) = self.answered {
            let (asked, answer) = &answered[self.answers.len()];
            assert_eq!(asked, command, "{}: another command", self.sharer.case);
            self.answers.push((command.to_owned(), answer.clone()));
            return answer.clone();
        }
        // It takes its time, and most have no LVM.
        if !self.is_filtered && is_about_lvm(command) {
            // It fails where half of a volume group is missing, and the filter holds.
            self.appliance
                .ask(&format!("lvm-set-filter {}", self.device));
            self.is_filtered = true;
        }
        // Only what comes with a mount is looked for.
        if !self.is_marked && command.starts_with("mount") {
            let begin = &self.begin;
            let mark = format!("debug sh \"echo {begin} >/dev/kmsg\"");
            self.appliance.do_all(&mark);
            self.is_marked = true;
        }
        let (answer, error) = match command {
            "list-partitions" => self.list_partitions(),
            _ => (self.appliance).ask(&renamed(command, "/dev/sda", &self.device)),
        };
        let answer = match command {
            "dmesg" => answer.rsplit(&self.begin).next().unwrap().to_owned(),
            _ => answer,
        };
        let texts = [answer, error].map(|text| renamed(&text, &self.device, "/dev/sda"));
        let [answer, error] = texts;
        self.answers
            .push((command.to_owned(), (answer.clone(), error.clone())));
        (answer, error)
    }

    /// Of this drive. libguestfs' own call asks for the names of all drives, one after the other, and
    /// takes seconds where there are many.
    fn list_partitions(&mut self) -> (String, String) {
        let list = "cat $(echo /sys/block/$(basename $(readlink #))/*/partition)";
        let list = list.replace('#', &path(self.index));
        let (numbers, error) = self.appliance.ask(&format!("debug sh \"{list}\""));
        // A drive without partitions.
        if error.contains("No such file") {
            return (String::new(), String::new());
        }
        let mut numbers: Vec<u32> = (numbers.lines())
            .filter_map(|line| line.trim().parse().ok())
            .collect();
        numbers.sort_unstable();
        let names = numbers
            .iter()
            .map(|number| format!("{}{number}\n", self.device));
        (names.collect(), error)
    }

    /// Lets the call see how much it has written, where libguestfs has the overlay.
    fn show_overlay(&mut self) {
        let image = self.first_image.unwrap_or(&self.sharer.image);
        let Some(overlay) = self.appliance.overlay(image) else {
            return;
        };
        let temporary = self.call.head.temporary.strip_prefix("/").unwrap();
        let link = self.sharer.root.join(temporary).join("overlay.qcow2");
        fs::remove_file(&link).unwrap();
        // It may be on another file system.
        let linked = fs::hard_link(&overlay, &link);
        linked
            .or_else(|_| fs::copy(&overlay, &link).map(drop))
            .unwrap();
    }
}
