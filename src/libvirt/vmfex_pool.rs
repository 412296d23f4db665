// SPDX-License-Identifier: GPL-2.0-or-later

//! The libvirt network `direct-pool`, which hands the free NICs of a VM-FEX adapter to VMs.
//!
//! Whoever may not change libvirt's networks does it through a root helper of the hook, which is
//! [`ensure`] and no more.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::time::Duration;

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::geteuid;

use crate::host::bridge::NET_DEVICES;
use crate::host::rollback::Undo;
use crate::host::sudo::Program;
use crate::host::{command, files, state};
use crate::paths::HELPERS;
use crate::xml::{self, Edits, Element};
use crate::{Context, Error, Result};

/// The network's name.
pub const NETWORK: &str = "direct-pool";

const UNASSIGNED: &str = "00:00:00:00:00:00";
/// The driver of the adapter (Linux 6.1 drivers/net/ethernet/cisco/enic/enic.h: `DRV_NAME`).
const DRIVER: &str = "enic";
const LIBVIRT: &str = "qemu:///system";
/// VDSM's password for libvirt, where VDSM has set one up.
const PASSWORD: &str = "/etc/pki/vdsm/keys/libvirt_password";

const VIRSH_TIMEOUT: Duration = Duration::from_secs(10);
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a helper may take: more than virsh and the lock, so that it can take back what it began.
pub const HELPER_TIMEOUT: Duration = Duration::from_secs(120);

/// The host's free NICs, and the pool if there is one.
struct Host {
    free: BTreeSet<String>,
    pool: Option<Pool>,
}

struct Pool {
    is_active: bool,
    nics: BTreeSet<String>,
    /// Those of them that no VM uses.
    idle: BTreeSet<String>,
}

/// Sees to it that the pool is there, is active, and, unless VMs use it, has every free NIC. Who is
/// not root has `helper` of [`HELPERS`] do it.
///
/// # Errors
/// There is neither a pool nor a free NIC, or libvirt or sudo refuses.
pub fn ensure(helper: &str) -> Result {
    let cannot = format!("cannot set up network {NETWORK}");
    let host = Host::look().context(&cannot)?;
    if host.pool.is_none() && host.free.is_empty() {
        return Err(Error::new("host has no VM-FEX interfaces"));
    }
    host.warn();
    if host.is_well() {
        return Ok(());
    }
    if geteuid().is_root() {
        return set_up().context(cannot);
    }
    let path = format!("{HELPERS}/{helper}");
    Program::helper(&path)
        .run::<&str>(&[], HELPER_TIMEOUT)
        .and_then(command::Output::checked)
        .map(drop)
        .context(cannot)
}

fn set_up() -> Result {
    let _lock = state::lock("vmfex", LOCK_TIMEOUT)?;
    // Somebody else may have done it meanwhile.
    let host = Host::look()?;
    let libvirt = Libvirt::log_in()?;
    let Some(pool) = host.pool else {
        let (_definition, path) = private_file(&definition(&host.free)?)?;
        libvirt.change(&["net-define", &path])?;
        let mut undo = Undo::default();
        undo.push(format!("network {NETWORK}"), || {
            libvirt.change(&["net-undefine", NETWORK])
        });
        libvirt.change(&["net-autostart", NETWORK])?;
        // Last: from now on others may use it.
        libvirt.change(&["net-start", NETWORK])?;
        undo.keep();
        return Ok(());
    };
    if !pool.is_active {
        libvirt.change(&["net-start", NETWORK])?;
    }
    if pool.is_in_use() {
        return Ok(());
    }
    for nic in host.free.difference(&pool.nics) {
        let member = member(nic)?;
        let update = ["net-update", NETWORK, "add", "forward-interface", &member];
        libvirt.change(&[&update[..], &["--live", "--config"]].concat())?;
    }
    Ok(())
}

impl Host {
    fn look() -> Result<Host> {
        Ok(Host {
            free: free_nics()?,
            pool: Pool::look()?,
        })
    }

    fn is_well(&self) -> bool {
        self.pool.as_ref().is_some_and(|pool| {
            pool.is_active && (pool.is_in_use() || pool.nics.is_superset(&self.free))
        })
    }

    /// Says what the pool does not have as it should, and keeps.
    fn warn(&self) {
        let Some(pool) = &self.pool else {
            return;
        };
        let names = |nics: Vec<&String>| {
            let names = nics.into_iter().map(String::as_str);
            names.collect::<Vec<_>>().join(", ")
        };
        let unexpected = names(pool.idle.difference(&self.free).collect());
        if !unexpected.is_empty() {
            // A VM that is about to start may have been promised one.
            log::warn!(
                "network {NETWORK} has NICs that are no free VM-FEX interfaces of this host: {unexpected}"
            );
        }
        let missing = names(self.free.difference(&pool.nics).collect());
        if !missing.is_empty() && pool.is_in_use() {
            log::warn!("network {NETWORK} gets these NICs when no VM uses it: {missing}");
        }
    }
}

impl Pool {
    /// With any change of a network libvirt 9.0 forgets which members are in use, and would offer
    /// the next VM one of those.
    fn is_in_use(&self) -> bool {
        self.idle.len() < self.nics.len()
    }

    fn look() -> Result<Option<Pool>> {
        let networks = ask(&["net-list", "--all"])?;
        let mut rows = networks.lines().map(str::split_whitespace);
        let state = rows.find_map(|mut row| (row.next()? == NETWORK).then(|| row.next()));
        let Some(state) = state else {
            return Ok(None);
        };
        let text = ask(&["net-dumpxml", NETWORK])?;
        let document = xml::parse(&text).context("virsh net-dumpxml")?;
        let mut pool = Pool {
            is_active: state == Some("active"),
            nics: BTreeSet::new(),
            idle: BTreeSet::new(),
        };
        let forward = xml::children(document.root_element(), "forward");
        for member in forward.flat_map(|forward| xml::children(forward, "interface")) {
            let Some(nic) = xml::attr(member, "dev") else {
                continue;
            };
            pool.nics.insert(nic.to_owned());
            if xml::attr(member, "connections").is_none() {
                pool.idle.insert(nic.to_owned());
            }
        }
        Ok(Some(pool))
    }
}

/// The adapter's interfaces without an address: no VM and no administrator has given them one.
fn free_nics() -> Result<BTreeSet<String>> {
    let mut nics = BTreeSet::new();
    for entry in fs::read_dir(NET_DEVICES).context(NET_DEVICES)? {
        let nic = entry.context(NET_DEVICES)?.path();
        // A device without an address vanishes just now.
        let address = files::read_file(&nic.join("address"), 64).unwrap_or_default();
        if address.trim_ascii() == UNASSIGNED.as_bytes() && is_of_adapter(&nic.join("device")) {
            nics.insert(
                nic.file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned(),
            );
        }
    }
    Ok(nics)
}

/// Other adapters have functions without an address too: virtual ones that nobody has set up.
fn is_of_adapter(device: &Path) -> bool {
    let on_pci = fs::canonicalize(device)
        .is_ok_and(|device| device.to_string_lossy().starts_with("/sys/devices/pci"));
    let driver = fs::read_link(device.join("driver"));
    on_pci && driver.map_or(true, |driver| driver.ends_with(DRIVER))
}

fn definition(nics: &BTreeSet<String>) -> Result<String> {
    let frame = format!("<network><name>{NETWORK}</name><forward mode='passthrough'/></network>");
    let document = xml::parse(&frame)?;
    let mut edits = Edits::new(&document);
    for forward in xml::children(document.root_element(), "forward") {
        for nic in nics {
            edits.append(forward, &Element::new("interface").attr("dev", nic));
        }
    }
    Ok(edits.finish()?.unwrap_or(frame.clone()))
}

fn member(nic: &str) -> Result<String> {
    let document = xml::parse("<interface/>")?;
    let mut edits = Edits::new(&document);
    edits.set_attr(document.root_element(), "dev", nic);
    Ok(edits.finish()?.unwrap_or_default())
}

/// Asks libvirt; for that nobody has to log in.
fn ask(question: &[&str]) -> Result<String> {
    let words = [&["-r", "-c", LIBVIRT], question].concat();
    let output = command::run("virsh", &words, VIRSH_TIMEOUT)?.checked()?;
    String::from_utf8(output.stdout).context("virsh")
}

/// The right to change libvirt's networks, with VDSM's password if it has one.
struct Libvirt {
    uri: String,
    /// Open as long as virsh is to read it.
    _login: Option<File>,
}

impl Libvirt {
    fn log_in() -> Result<Libvirt> {
        if !Path::new(PASSWORD).exists() {
            return Ok(Libvirt {
                uri: LIBVIRT.to_owned(),
                _login: None,
            });
        }
        let password = String::from_utf8(files::read_file(Path::new(PASSWORD), 4096)?);
        // The file is none of ours, but its content is not for logs.
        let password = password.map_err(|_| Error::new(format!("{PASSWORD}: not UTF-8")))?;
        let password = password.lines().next().unwrap_or_default();
        // The escapes of key files; blanks could be lost in front.
        let password = password.replace('\\', r"\\").replace(' ', r"\s");
        let (login, path) = private_file(&format!(
            "[credentials-vdsm]\nauthname=vdsm@ovirt\npassword={password}\n\
             [auth-libvirt-localhost]\ncredentials=vdsm\n"
        ))?;
        Ok(Libvirt {
            uri: format!("{LIBVIRT}?authfile={path}"),
            _login: Some(login),
        })
    }

    fn change(&self, command: &[&str]) -> Result {
        let words = [&["-c", &self.uri], command].concat();
        command::run("virsh", &words, VIRSH_TIMEOUT)?
            .checked()
            .map(drop)
    }
}

/// A file in memory for the programs that we start, and its name there. It has no name that others
/// could open, and is gone with us, whatever ends us.
fn private_file(content: &str) -> Result<(File, String)> {
    let mut file = File::from(memfd_create("vmfex", MFdFlags::empty())?);
    file.write_all(content.as_bytes())?;
    let name = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok((file, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_has_the_functions_as_members() {
        let nics = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let start = format!("<network><name>{NETWORK}</name><forward mode='passthrough'");
        let members = "<interface dev=\"enp6s0\"/><interface dev=\"enp7s0\"/>";
        for (names, rest) in [
            (&[][..], "/></network>".to_owned()),
            (
                &["enp7s0", "enp6s0"],
                format!(">{members}</forward></network>"),
            ),
        ] {
            assert_eq!(definition(&nics(names)), Ok(format!("{start}{rest}")));
        }
    }
}
