// SPDX-License-Identifier: GPL-2.0-or-later

//! Ports that libvirt puts no network filter on. What makes a NIC one of them takes protection
//! away, so it must look first whether somebody has asked for that.

use crate::libvirt::interface;
use crate::xml::{self, Edits, Node};
use crate::{Error, Result, props};

/// Properties of a VM that ask for a filter on its NICs.
const ASKING: [&str; 2] = ["isolatedprivatevlan", "noipspoof"];

/// One kind of such ports, in words for an error.
pub struct Unfiltered {
    /// What the NIC would be: `VM-FEX port`.
    pub port: &'static str,
    /// How to do without: `use a vNIC profile without vmfex`.
    pub instead: &'static str,
}

impl Unfiltered {
    /// Whether the VM may have such a port at all. The hook of the other property may have run
    /// before and set its filter, or come later and find none to tighten: the answer is the same.
    ///
    /// # Errors
    /// A property of the VM asks for a filter.
    pub fn check_properties(&self) -> Result {
        for property in ASKING {
            if props::text(property)?.is_some() {
                let Unfiltered { port, instead } = self;
                return Err(Error::new(format!(
                    "{property} is set as well and asks for a network filter, which libvirt puts on no {port}: unset it, or {instead}"
                )));
            }
        }
        Ok(())
    }

    /// Takes VDSM's own filter off the NIC, which would keep it from becoming such a port. Whether
    /// there was one.
    ///
    /// # Errors
    /// Another filter is there, which somebody has chosen, or a property of the VM asks for one.
    pub fn strip(&self, interface: Node<'_, '_>, edits: &mut Edits<'_>) -> Result<bool> {
        self.check_properties()?;
        let mut found = false;
        for filter in xml::children(interface, "filterref") {
            let name = xml::attr(filter, "filter").unwrap_or_default();
            if name != interface::VDSM_FILTER {
                let Unfiltered { port, instead } = self;
                return Err(Error::new(format!(
                    "the network filter {name:?} is chosen for it, which libvirt puts on no {port}: choose no filter or {} in the vNIC profile, or {instead}",
                    interface::VDSM_FILTER
                )));
            }
            edits.remove(filter);
            found = true;
        }
        Ok(found)
    }
}
