// SPDX-License-Identifier: GPL-2.0-or-later

//! Every hook that edits documents over libvirt's own test documents: what was right before the
//! hook is right after it, or the hook refuses and leaves the document alone.
//!
//! The documents come with the sources of libvirt that `libvirt-source.sh` fetches. A sample of
//! them is taken here; `CORPUS=all` takes all of them and `CORPUS=NUMBER` a larger sample, see
//! `tests/corpus.sh`. `HOOKS="one other"` looks only at those.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]
#![allow(missing_docs)]

use crate::support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use support::host::{Host, Root};
use support::libvirt::{Change, Libvirt, RELEASES};
use support::{Firing, hooks, not_run, private_host, root};
use vdsm_hooks::hook::manifest::{Manifest, Scope};
use vdsm_hooks::libvirt::hostdev::Address;
use vdsm_hooks::libvirt::{interface, parts};
use vdsm_hooks::vdsm::events::{self, Data, Event};
use vdsm_hooks::xml::{self, Edits, Element, Node};

/// How many documents the sample has.
const SAMPLE: usize = 40;

/// Fires a hook on every file of a directory, each with variables of its own, one a line. One
/// process for all of them, in the hook's host.
const FIRE_ALL: &str = r#"
cd "$2" || exit
for file in *.xml; do
    (
        export _hook_domxml="$PWD/$file"
        while IFS= read -r variable; do
            export "$variable"
        done <"../variables/$file"
        exec timeout --kill-after=5 "$3" "$1" 2>"../errors/$file" </dev/null
    )
    echo "$file $?"
done
"#;

/// How many seconds a hook may take for one document.
const TIMEOUT: &str = "20";

/// What examples in `hook.json` name of a VM, and what of a document takes its place.
const OWN: [(&str, Own); 2] = [
    ("00:1a:4a:aa:bb:01", first_mac),
    ("pci_0000_0b_00_0", first_hostdev),
];

type Own = fn(&xml::Document<'_>) -> Option<String>;

/// A document, and where it comes from.
#[derive(Clone)]
struct Document {
    name: String,
    text: String,
}

/// A hook at one event, and what became of the documents.
#[derive(Default)]
struct Fired {
    hook: String,
    place: String,
    documents: usize,
    changes: Vec<Change>,
    refused: usize,
    /// What may not happen.
    broken: Vec<String>,
}

#[test]
fn libvirts_own_documents_stay_right() {
    let mut domains = Vec::new();
    for release in RELEASES {
        match source(release) {
            Ok(source) => domains.extend(documents(release, &source)),
            Err(reason) => not_run(&format!("documents of libvirt of {release}"), &reason),
        }
    }
    let mut libvirts = Vec::new();
    for release in RELEASES {
        match Libvirt::of(release) {
            Ok(libvirt) => libvirts.push(libvirt),
            Err(reason) => not_run(&format!("documents judged by {release}'s libvirt"), &reason),
        }
    }
    if domains.is_empty() || libvirts.is_empty() {
        return;
    }
    let size = std::env::var("CORPUS").unwrap_or_else(|_| SAMPLE.to_string());
    let domains = distinct(domains);
    println!("{} different domains", domains.len());
    let domains = match size.parse() {
        Ok(size) => sample(&domains, size),
        Err(_) => domains,
    };

    let fired = fire(&domains);
    let mut problems = Vec::new();
    println!("| hook at event | documents | changed | refused | newly wrong |");
    println!("|---|---|---|---|---|");
    for chunk in fired.chunks(if domains.len() > 100 { 1 } else { fired.len() }) {
        let mut wrong = Vec::new();
        for libvirt in &libvirts {
            let changes = chunk.iter().flat_map(|fired| &fired.changes);
            let changes: Vec<Change> = changes.cloned().collect();
            wrong.extend(libvirt.judge(&changes).unwrap().newly_wrong);
        }
        for fired in chunk {
            let start = format!("{}: ", fired.place);
            let own = wrong.iter().filter(|(name, _)| name.starts_with(&start));
            let names: BTreeSet<_> = own.map(|(name, _)| name).collect();
            let (place, documents) = (&fired.place, fired.documents);
            let (changed, refused) = (fired.changes.len(), fired.refused);
            println!(
                "| {place} | {documents} | {changed} | {refused} | {} |",
                names.len()
            );
            problems.extend(fired.broken.iter().cloned());
            // A small sample may lack what a hook needs.
            let is_idle = fired.changes.is_empty() && domains.len() > SAMPLE;
            if is_idle && changes_documents(&fired.hook) {
                problems.push(format!("{place}: changed no document"));
            }
        }
        problems.extend(
            wrong
                .into_iter()
                .map(|(name, why)| format!("{name}: {why}")),
        );
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

/// Where the source of a release's libvirt is.
fn source(release: &str) -> Result<PathBuf, String> {
    let script = root().join("tests/support/libvirt-source.sh");
    let output = Command::new("sh")
        .arg(script)
        .arg(release)
        .output()
        .unwrap();
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(said.lines().last().unwrap_or("no reason").to_owned());
    }
    Ok(PathBuf::from(
        String::from_utf8_lossy(&output.stdout).trim(),
    ))
}

/// The domains among a source's test documents.
fn documents(release: &str, source: &Path) -> Vec<Document> {
    let mut found = Vec::new();
    let mut directories = vec![source.join("tests")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() {
                directories.push(path);
                continue;
            }
            if path.extension().is_none_or(|extension| extension != "xml") {
                continue;
            }
            let Ok(text) = fs::read_to_string(&path) else {
                continue;
            };
            let is_domain = xml::parse(&text).is_ok_and(|it| xml::is(it.root_element(), "domain"));
            if is_domain {
                let path = path.strip_prefix(source.join("tests")).unwrap();
                let name = format!("{release}/{}", path.display());
                found.push(Document { name, text });
            }
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// The documents without those that are there already.
fn distinct(documents: Vec<Document>) -> Vec<Document> {
    let mut seen = BTreeSet::new();
    let new = documents.into_iter();
    new.filter(|document| seen.insert(document.text.clone()))
        .collect()
}

/// Documents of all kinds: always the one with most that is in none of the others yet.
fn sample(documents: &[Document], size: usize) -> Vec<Document> {
    let mut new: Vec<BTreeSet<String>> = documents.iter().map(|one| kinds(&one.text)).collect();
    let mut chosen = Vec::new();
    while chosen.len() < size.min(documents.len()) {
        let best = (0..documents.len())
            .max_by_key(|number| new[*number].len())
            .unwrap();
        let seen = std::mem::take(&mut new[best]);
        if seen.is_empty() {
            break;
        }
        for kinds in &mut new {
            kinds.retain(|kind| !seen.contains(kind));
        }
        chosen.push(documents[best].clone());
    }
    chosen
}

/// What a document has: elements by what they stand in, and the words by which devices differ.
fn kinds(text: &str) -> BTreeSet<String> {
    let document = xml::parse(text).unwrap();
    let mut kinds = BTreeSet::new();
    for node in document.descendants().filter(xml::Node::is_element) {
        let above = node
            .parent()
            .map(|parent| parent.tag_name().name().to_owned());
        let name = format!("{}/{}", above.unwrap_or_default(), node.tag_name().name());
        for word in ["type", "device", "model", "bus", "mode"] {
            if let Some(value) = xml::attr(node, word).filter(|value| value.len() < 20) {
                kinds.insert(format!("{name} {word}={value}"));
            }
        }
        kinds.insert(name);
    }
    kinds
}

/// By its cases; others only look at what the document names.
fn changes_documents(hook: &str) -> bool {
    let cases = fs::read_dir(root().join("hooks").join(hook).join("cases"));
    let mut cases = cases.unwrap().map(|case| case.unwrap().path());
    cases.any(|case| case.join("expected.diff").exists())
}

/// All hooks at all events where VDSM goes on with what they make of a domain or a device.
fn fire(domains: &[Document]) -> Vec<Fired> {
    let wanted = std::env::var("HOOKS").unwrap_or_default();
    let is_wanted = |hook: &Manifest| {
        wanted.is_empty() || wanted.split_whitespace().any(|name| name == hook.name)
    };
    let hooks: Vec<_> = hooks().into_iter().filter(is_wanted).collect();
    let mut places = Vec::new();
    for hook in &hooks {
        for event in &hook.events {
            let event = events::find(&event.event).unwrap();
            let is_document = matches!(
                event.data,
                Data::Domain | Data::Device | Data::DeviceOrNothing
            );
            if event.name.starts_with("before_") && event.output_used && is_document {
                places.push((hook, event));
            }
        }
    }
    let devices: BTreeMap<&str, Vec<Document>> = ["interface", "disk", "memory"]
        .map(|kind| (kind, distinct(devices(domains, kind))))
        .into();
    let (next, fired) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some((hook, event)) = places.get(next.fetch_add(1, Relaxed)) {
            let documents = match event.data {
                Data::Domain => domains,
                _ => &devices[device_of(hook, event)],
            };
            match fire_one(hook, event, documents) {
                Ok(one) => fired.lock().unwrap().push(one),
                Err(reason) => not_run(&format!("{} over libvirt's documents", hook.name), &reason),
            }
        }
    };
    thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(work))));
    let mut fired = fired.into_inner().unwrap();
    fired.sort_by(|a, b| a.place.cmp(&b.place));
    fired
}

fn device_of(hook: &Manifest, event: &Event) -> &'static str {
    if event.name.contains("_memory_") {
        "memory"
    } else if event.name.contains("_disk_")
        || hook
            .properties
            .iter()
            .any(|property| property.scope == Scope::Disk)
    {
        "disk"
    } else {
        "interface"
    }
}

fn devices(domains: &[Document], kind: &'static str) -> Vec<Document> {
    let mut found = Vec::new();
    for Document { name, text } in domains {
        let document = xml::parse(text).unwrap();
        for (number, node) in (1..).zip(xml::devices(&document, kind)) {
            let text = text[node.range()].to_owned();
            // A prefix that is declared further out.
            if xml::parse(&text).is_ok() {
                let name = format!("{name} {kind} {number}");
                found.push(Document { name, text });
            }
        }
    }
    found
}

/// With what the engine's documents have and libvirt's lack, where the hook does nothing without it.
fn prepared(hook: &str, text: &str) -> String {
    let prepare: fn(&xml::Document<'_>, &mut Edits<'_>) = match hook {
        "boot_hostdev" => leave_order_to_devices,
        "hostdev_scsi" => hand_over_scsi,
        "macspoof" | "noipspoof" | "vmfex" => give_filter,
        "ovs" => |document, edits| {
            give_filter(document, edits);
            put_on_ovirtmgmt(document, edits);
        },
        _ => return text.to_owned(),
    };
    let document = xml::parse(text).unwrap();
    let mut edits = Edits::new(&document);
    prepare(&document, &mut edits);
    edits.finish().unwrap().unwrap_or_else(|| text.to_owned())
}

/// The engine gives devices their places in the order of boot, and then nothing else may give one.
fn leave_order_to_devices(document: &xml::Document<'_>, edits: &mut Edits<'_>) {
    if first_hostdev(document).is_none() {
        return;
    }
    for os in xml::children(document.root_element(), "os") {
        xml::children(os, "boot").for_each(|boot| edits.remove(boot));
    }
}

/// Makes the first SCSI device of the host the one in `cases/host.json`, written as the engine does.
fn hand_over_scsi(document: &xml::Document<'_>, edits: &mut Edits<'_>) {
    for hostdev in xml::devices(document, "hostdev") {
        let source = xml::child(hostdev, "source");
        let source = source.filter(|source| xml::child(*source, "adapter").is_some());
        let (Some("scsi"), Some(source)) = (xml::attr(hostdev, "type"), source) else {
            continue;
        };
        for attribute in hostdev.attributes() {
            edits.remove_attr(hostdev, attribute.name());
        }
        for (name, value) in [
            ("managed", "no"),
            ("mode", "subsystem"),
            ("rawio", "yes"),
            ("type", "scsi"),
        ] {
            edits.set_attr(hostdev, name, value);
        }
        let address = Element::new("address").attr("bus", "0").attr("target", "2");
        let new = Element::new("source")
            .child(Element::new("adapter").attr("name", "scsi_host3"))
            .child(address.attr("unit", "0"));
        edits.replace(source, &new);
        return;
    }
}

/// Gives NICs VDSM's filter, if they are on a bridge and have none.
fn give_filter(document: &xml::Document<'_>, edits: &mut Edits<'_>) {
    for nic in on_bridges(document) {
        if xml::child(nic, "filterref").is_none() {
            let filter = Element::new("filterref").attr("filter", interface::VDSM_FILTER);
            edits.append(nic, &filter);
        }
    }
}

/// Puts NICs on the bridge that is Open vSwitch's in `cases/host.json`, if they are on one.
fn put_on_ovirtmgmt(document: &xml::Document<'_>, edits: &mut Edits<'_>) {
    for source in on_bridges(document).filter_map(|nic| xml::child(nic, "source")) {
        edits.set_attr(source, "bridge", "ovirtmgmt");
    }
}

/// The NICs that are on bridges of Linux.
fn on_bridges<'a, 'i>(document: &'a xml::Document<'i>) -> impl Iterator<Item = Node<'a, 'i>> {
    let nics = xml::devices(document, "interface").into_iter();
    nics.filter(|nic| {
        interface::kind(*nic) == "bridge" && xml::child(*nic, "virtualport").is_none()
    })
}

/// The example, with the VM's own NIC or host device where it names one.
fn value(example: &str, text: &str) -> String {
    let Some((part, own)) = OWN.iter().find(|(part, _)| example.contains(part)) else {
        return example.to_owned();
    };
    let own = own(&xml::parse(text).unwrap());
    example.replace(part, own.as_deref().unwrap_or(part))
}

/// The address of the first NIC on a network, or of the first at all.
fn first_mac(document: &xml::Document<'_>) -> Option<String> {
    let nics = interface::with_macs(document);
    let on_network = |nic| ["bridge", "network"].contains(&interface::kind(nic));
    let nic = nics.iter().find(|(_, nic)| on_network(*nic));
    nic.or(nics.first()).map(|(mac, _)| mac.to_string())
}

/// The name of the first host device that has an address.
fn first_hostdev(document: &xml::Document<'_>) -> Option<String> {
    let hostdevs = xml::devices(document, "hostdev").into_iter();
    let address = hostdevs.filter_map(Address::of_hostdev).next()?;
    Some(match address {
        Address::Usb([bus, device]) => format!("usb_{bus}_{device}"),
        other => other.to_string(),
    })
}

/// One hook at one event, with all of its properties set.
fn fire_one(hook: &Manifest, event: &Event, documents: &[Document]) -> Result<Fired, String> {
    let file = root()
        .join("hooks")
        .join(&hook.name)
        .join("cases/host.json");
    let host: Option<Host> = fs::read_to_string(file)
        .ok()
        .map(|text| serde_json::from_str(&text).unwrap());
    let mut host = host;
    let mut firing = Firing::new(&hook.name, event.name, b"");
    let mut examples = Vec::new();
    for property in &hook.properties {
        match property.scope {
            Scope::Network | Scope::Host => {}
            Scope::VdsmConf => {
                let sections = &mut host.get_or_insert_default().vdsm_conf;
                let vars = sections.entry("vars".to_owned()).or_default();
                vars.insert(property.name.clone(), property.example.clone());
            }
            _ => examples.push((&property.name, &property.example)),
        }
    }
    if let Some(host) = host {
        private_host()?;
        firing = firing.on(&host);
    }
    let path = |name: &str| firing.directory().join(name);
    let directory = path("documents");
    for name in ["documents", "errors", "variables"] {
        fs::create_dir(path(name)).unwrap();
    }
    let documents: Vec<Document> = documents
        .iter()
        .map(|Document { name, text }| Document {
            name: name.clone(),
            text: prepared(&hook.name, text),
        })
        .collect();
    for (number, Document { text, .. }) in documents.iter().enumerate() {
        fs::write(path(&format!("documents/{number}.xml")), text).unwrap();
        let variables = examples.iter();
        let variables =
            variables.map(|(name, example)| format!("{name}={}\n", value(example, text)));
        let variables: String = variables.collect();
        assert_eq!(variables.lines().count(), examples.len());
        fs::write(path(&format!("variables/{number}.xml")), variables).unwrap();
    }
    let wrapper = firing.root().into_iter().flat_map(Root::wrapper);
    let mut words = wrapper.chain(["/bin/sh", "-c", FIRE_ALL, "sh"].map(str::to_owned));
    let mut command = Command::new(words.next().unwrap());
    command
        .args(words)
        .arg(path(event.name).join(format!("50_{}", hook.name)))
        .arg(&directory)
        .arg(TIMEOUT)
        .env_clear()
        .envs(
            firing
                .command()
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .stdin(Stdio::null());
    let output = command.output().unwrap();

    let mut fired = Fired {
        hook: hook.name.clone(),
        place: format!("{} at {}", hook.name, event.name),
        documents: documents.len(),
        ..Fired::default()
    };
    let said = String::from_utf8(output.stdout).unwrap();
    let statuses: BTreeMap<&str, &str> = said
        .lines()
        .filter_map(|line| line.split_once(' '))
        .collect();
    assert_eq!(
        statuses.len(),
        documents.len(),
        "{}: {:?}",
        fired.place,
        output.stderr
    );
    let left = fs::read_dir(&directory).unwrap().count();
    if left != documents.len() {
        fired.broken.push(format!(
            "{}: {left} files are there afterwards",
            fired.place
        ));
    }
    for (number, document) in documents.iter().enumerate() {
        let file = format!("{number}.xml");
        let name = format!("{}: {}", fired.place, document.name);
        let error = fs::read_to_string(path("errors").join(&file)).unwrap();
        let after = fs::read_to_string(directory.join(&file)).unwrap();
        let is_changed = after != document.text;
        match statuses[file.as_str()] {
            "0" if is_changed && parts::as_domain(&after).is_err() => {
                fired.broken.push(format!("{name}: the result is no XML"));
            }
            "0" if is_changed => fired.changes.push(Change {
                name,
                before: document.text.clone(),
                after,
            }),
            "0" => {}
            "1" | "2" if !is_changed && error.starts_with(&format!("{}: ", hook.name)) => {
                fired.refused += 1;
            }
            status => fired.broken.push(format!(
                "{name}: status {status}, changed {is_changed}: {error}"
            )),
        }
    }
    Ok(fired)
}

#[test]
fn a_hook_that_hangs_is_ended() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("hook"), "#!/bin/sh\nexec sleep 600\n").unwrap();
    fs::set_permissions(path("hook"), fs::Permissions::from_mode(0o755)).unwrap();
    for name in ["errors", "documents", "variables"] {
        fs::create_dir(path(name)).unwrap();
    }
    fs::write(path("variables/0.xml"), "").unwrap();
    fs::write(path("documents/0.xml"), "<domain/>").unwrap();
    let output = Command::new("/bin/sh")
        .args(["-c", FIRE_ALL, "sh"])
        .args([path("hook"), path("documents"), PathBuf::from("1")])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "0.xml 124\n");
}
