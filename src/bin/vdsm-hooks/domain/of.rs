// SPDX-License-Identifier: GPL-2.0-or-later

//! `vdsm-hooks domain of`: the storage domains that a domain XML uses.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use vdsm_hooks::host::files;
use vdsm_hooks::props::is_uuid;
use vdsm_hooks::storage::lvm::Lvm;
use vdsm_hooks::storage::{self, Checked, Outcome, Place, Roots};
use vdsm_hooks::{Context as _, Result, props, xml};

/// List the storage domains, images and volumes that a VM uses
///
/// Every form in which a domain XML names storage counts: disks with their chains, leases, the
/// kernel of a direct boot, and what oVirt itself keeps in the XML. For each storage domain it is
/// said where its metadata was found, and what that is worth.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// The domain XML, or the <disk> of a hotplug; - is standard input
    #[arg(value_name = "FILE.xml")]
    file: PathBuf,
    #[command(flatten)]
    host: super::Host,
}

const HELP: &str = "\
Example:
  What does this VM need to start here?
    virsh -r dumpxml vm1 | vdsm-hooks domain of -

Exit status: 0 every storage domain was found; 1 one was not, or could not be
read; 2 the file cannot be read.";

/// The largest XML that is read.
const MAX_BYTES: u64 = 64 << 20;

/// The images of a domain, each with its volumes, or with the files of an ISO domain. Volumes of
/// which the image is not known are under an empty name.
type Images = BTreeMap<String, Vec<String>>;

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let roots = arguments.host.roots()?;
    let (file, bytes) = if super::is_standard_input(&arguments.file) {
        let bytes = super::standard_input(MAX_BYTES)?;
        (Path::new(super::STANDARD_INPUT), bytes)
    } else {
        let bytes = files::read_file(&arguments.file, MAX_BYTES)?;
        (arguments.file.as_path(), bytes)
    };
    let text = String::from_utf8(bytes).context(file.display())?;
    let document = xml::parse(&text).context(file.display())?;
    let mut domains: BTreeMap<String, Images> = BTreeMap::new();
    let uses = storage::uses_with(&document, &roots, |id, image, rest| {
        let images = domains.entry(id.to_owned()).or_default();
        let volume = volume(rest);
        if image.is_none() && volume.is_none() {
            return;
        }
        let volumes = images
            .entry(image.unwrap_or_default().to_owned())
            .or_default();
        volumes.extend(volume.filter(|volume| !volumes.contains(volume)));
    });
    let end = arguments.host.end();
    let checked = storage::check(&uses, &roots, &Lvm::new(end), end);
    let mut all_found = true;
    for one in &checked {
        let images = domains.get(&one.id).cloned().unwrap_or_default();
        all_found &= matches!(one.outcome, Outcome::Judged(_));
        print(
            one,
            &roots,
            arguments.host.timeout,
            &without_doubles(images),
        )?;
    }
    if checked.is_empty() {
        writeln!(io::stdout(), "{}: uses no storage domain", file.display())?;
    }
    Ok(ExitCode::from(u8::from(!all_found)))
}

/// The volume, or the file of an ISO domain, in what follows an image or a group.
fn volume(rest: &[&str]) -> Option<String> {
    let name = rest.join("/");
    let name = name.strip_suffix(".lease").unwrap_or(&name);
    // As the device mapper writes it.
    let plain = name.replace("--", "-");
    match rest {
        [] => None,
        [_] if is_uuid(&plain) => Some(plain),
        // The volume groups have volumes that are no disks, such as those for leases.
        ["ids" | "leases" | "xleases" | "inbox" | "outbox" | "metadata" | "master"] => None,
        _ => Some(name.to_owned()),
    }
}

/// Without those volumes that are also known with their image.
fn without_doubles(mut images: Images) -> Images {
    let known: Vec<String> = images
        .iter()
        .filter(|(image, _)| !image.is_empty())
        .flat_map(|(_, volumes)| volumes.clone())
        .collect();
    if let Some(volumes) = images.get_mut("") {
        volumes.retain(|volume| !known.contains(volume));
    }
    images
}

fn print(checked: &Checked, roots: &Roots, seconds: u64, images: &Images) -> Result {
    let mut out = io::stdout();
    writeln!(out, "{}", checked.id)?;
    let mut line = |name: &str, text: &str| writeln!(out, "  {:<13} {text}", format!("{name}:"));
    if let Outcome::Judged(judgement) = &checked.outcome {
        if let Some(description) = judgement.metadata.get("DESCRIPTION") {
            line("name", &props::quoted(description))?;
        }
    }
    match &checked.place {
        Some(Place::File(file)) => line("metadata", &file.display().to_string())?,
        Some(Place::Tags) => line("metadata", "in the tags of its volume group")?,
        None => {}
    }
    match &checked.outcome {
        Outcome::Judged(judgement) => line("verdict", &judgement.reading.verdict.to_string())?,
        _ => {
            for finding in checked.findings(roots, seconds) {
                line("finding", &finding.text)?;
            }
        }
    }
    for (image, volumes) in images {
        if !image.is_empty() {
            line("image", image)?;
        }
        for volume in volumes {
            line("  volume", &Path::new(volume).display().to_string())?;
        }
    }
    Ok(())
}
