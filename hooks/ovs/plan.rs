// SPDX-License-Identifier: GPL-2.0-or-later

//! What the networks of this hook are on Open vSwitch, and the commands that lead from one state of
//! the switch to another. Both ways: what was done is undone by the way back.

use std::collections::{BTreeMap, BTreeSet};

/// The bridge that everything is on.
pub(crate) const BRIDGE: &str = "ovsbr0";

/// The bridge, with its networks and bonds by name. Without any it is not there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Switch {
    pub(crate) networks: BTreeMap<String, OvsNetwork>,
    pub(crate) bonds: BTreeMap<String, Bond>,
}

/// A network. One with a tag has a bridge of its own within the bridge (ovs-vsctl(8), 3.1: a "fake
/// bridge").
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct OvsNetwork {
    /// The NIC or bond below it.
    pub(crate) southbound: Option<String>,
    pub(crate) vlan: Option<u16>,
    /// Whether VMs can be on it.
    pub(crate) is_bridged: bool,
    pub(crate) stp: bool,
    /// The service that Auto-Attach maps the tag to.
    pub(crate) service: Option<u32>,
    pub(crate) mtu: Option<u32>,
    /// Each with its prefix.
    pub(crate) addresses: Vec<String>,
    /// The host's default gateway, if it is in this network.
    pub(crate) gateway: Option<String>,
}

impl OvsNetwork {
    /// The device that has its addresses.
    pub(crate) fn device<'a>(&self, name: &'a str) -> &'a str {
        match self.vlan {
            Some(_) => name,
            None => BRIDGE,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bond {
    pub(crate) nics: BTreeSet<String>,
    pub(crate) mode: String,
    pub(crate) lacp: String,
}

impl Switch {
    fn is_empty(&self) -> bool {
        self.networks.is_empty() && self.bonds.is_empty()
    }

    /// Whether a network can have its addresses on this device.
    pub(crate) fn has_device(&self, device: &str) -> bool {
        let mut networks = self.networks.iter();
        device == BRIDGE && !self.is_empty()
            || networks.any(|(name, network)| network.device(name) == device)
    }

    /// Addresses and default gateway of a device.
    pub(crate) fn addresses_of(&self, device: &str) -> (&[String], Option<&str>) {
        let mut networks = self.networks.iter();
        let found = networks.find(|(name, network)| network.device(name) == device);
        found.map_or((&[], None), |(_, network)| {
            (&network.addresses, network.gateway.as_deref())
        })
    }

    /// The NICs that are ports themselves.
    fn ports(&self) -> BTreeSet<&str> {
        let southbound = self
            .networks
            .values()
            .filter_map(|it| it.southbound.as_deref());
        southbound
            .filter(|southbound| !self.bonds.contains_key(*southbound))
            .collect()
    }

    /// What is wrong with it, and with which network or bond. What is in `from` as well is there
    /// already. `has_nic` tells of a name whether the host has such a NIC.
    pub(crate) fn problem(&self, from: &Switch, has_nic: impl Fn(&str) -> bool) -> Option<String> {
        let bonds = self.bonds.iter();
        for (name, bond) in bonds.filter(|(name, bond)| from.bonds.get(*name) != Some(*bond)) {
            if bond.nics.len() < 2 {
                return Some(format!("bond {name}: expected at least two NICs"));
            }
            if let Some(nic) = bond.nics.iter().find(|nic| !has_nic(nic)) {
                return Some(format!("bond {name}: the host has no NIC {nic}"));
            }
        }
        let mut seen = BTreeMap::new();
        let mut untagged = None;
        for (name, network) in &self.networks {
            let is_new = from.networks.get(name) != Some(network);
            let problem = is_new.then(|| self.problem_of(network, &has_nic));
            if let Some(problem) = problem.flatten() {
                return Some(format!("network {name}: {problem}"));
            }
            if network.vlan.is_none() {
                if let Some(other) = untagged.replace(name) {
                    return Some(format!(
                        "network {name}: {other} is untagged already, expected a tag"
                    ));
                }
            }
            if let Some(other) = seen.insert((&network.southbound, network.vlan), name) {
                return Some(format!(
                    "network {name}: {other} has the same NIC or bond and tag"
                ));
            }
        }
        None
    }

    fn problem_of(&self, network: &OvsNetwork, has_nic: impl Fn(&str) -> bool) -> Option<String> {
        let southbound = network.southbound.as_deref();
        if let Some(nic) = southbound
            .filter(|southbound| !self.bonds.contains_key(*southbound) && !has_nic(southbound))
        {
            return Some(format!("the host has no NIC {nic}"));
        }
        match network.vlan {
            Some(_) if southbound.is_none() => {
                Some("expected a NIC or bond below a tag".to_owned())
            }
            Some(_) if network.stp => {
                Some("expected the spanning tree protocol on the untagged network".to_owned())
            }
            None if network.service.is_some() => {
                Some("expected a tag for the service of ovs_aa_sid".to_owned())
            }
            _ => None,
        }
    }
}

/// The commands of one transaction of ovs-vsctl that make `to` of `from`; none if nothing changes.
pub(crate) fn commands(from: &Switch, to: &Switch) -> Vec<Vec<String>> {
    Commands::all(from, to, false)
}

/// The same for the way back, where the switch may be in either of both states: nobody knows
/// whether the transaction was done.
pub(crate) fn commands_back(from: &Switch, to: &Switch) -> Vec<Vec<String>> {
    Commands::all(from, to, true)
}

#[derive(Default)]
struct Commands {
    list: Vec<Vec<String>>,
    is_back: bool,
}

impl Commands {
    fn all(from: &Switch, to: &Switch, is_back: bool) -> Vec<Vec<String>> {
        let mut all = Commands {
            is_back,
            ..Commands::default()
        };
        if from == to {
            return all.list;
        }
        if to.is_empty() {
            all.add(["--if-exists", "del-br", BRIDGE]);
            return all.list;
        }
        all.remove(from, to);
        all.add(["--may-exist", "add-br", BRIDGE]);
        for (name, bond) in &to.bonds {
            all.bond(name, from.bonds.get(name), bond);
        }
        for (name, network) in &to.networks {
            all.network(name, from.networks.get(name), network);
        }
        for port in to.ports() {
            all.add(["--may-exist", "add-port", BRIDGE, port]);
        }
        // What is on the port comes after it.
        for (name, network) in &to.networks {
            all.service(name, from.networks.get(name), network);
        }
        let stp = to.networks.values().any(|network| network.stp).to_string();
        all.add(["set", "Bridge", BRIDGE, &format!("stp_enable={stp}")]);
        all.list
    }

    fn add<const N: usize>(&mut self, words: [&str; N]) {
        self.list.push(words.map(str::to_owned).into());
    }

    fn remove(&mut self, from: &Switch, to: &Switch) {
        for (name, old) in &from.networks {
            let new = to.networks.get(name);
            if let (Some(service), Some(vlan)) = (old.service, old.vlan) {
                if new.is_none_or(|new| (new.service, new.vlan) != (old.service, old.vlan)) {
                    let words = [service.to_string(), vlan.to_string()];
                    self.add(["del-aa-mapping", name, &words[0], &words[1]]);
                }
            }
            if old.vlan.is_some() && new.is_none_or(|new| new.vlan.is_none()) {
                self.add(["--if-exists", "del-br", name]);
            }
        }
        let ports = to.ports();
        for port in from.ports().difference(&ports) {
            self.add(["--if-exists", "del-port", BRIDGE, port]);
        }
        for bond in from
            .bonds
            .keys()
            .filter(|name| !to.bonds.contains_key(*name))
        {
            self.add(["--if-exists", "del-port", BRIDGE, bond]);
        }
    }

    fn bond(&mut self, name: &str, old: Option<&Bond>, new: &Bond) {
        if old == Some(new) {
            return;
        }
        if self.is_back {
            self.add(["--if-exists", "del-port", BRIDGE, name]);
        }
        match old.filter(|_| !self.is_back) {
            None => {
                let words = ["--fake-iface", "--may-exist", "add-bond", BRIDGE, name];
                let nics = new.nics.iter().map(String::as_str);
                let words = words.into_iter().chain(nics).map(str::to_owned);
                self.list.push(words.collect());
            }
            Some(old) => {
                for (number, nic) in new.nics.difference(&old.nics).enumerate() {
                    let id = format!("@{name}.in{number}");
                    let option = format!("--id={id}");
                    self.add([&option, "create", "Interface", &format!("name={nic}")]);
                    self.add(["add", "Port", name, "interfaces", &id]);
                }
                for (number, nic) in old.nics.difference(&new.nics).enumerate() {
                    let id = format!("@{name}.out{number}");
                    self.add([&format!("--id={id}"), "get", "Interface", nic]);
                    self.add(["remove", "Port", name, "interfaces", &id]);
                }
            }
        }
        self.add(["set", "port", name, &format!("bond_mode={}", new.mode)]);
        self.add(["set", "port", name, &format!("lacp={}", new.lacp)]);
    }

    fn network(&mut self, name: &str, old: Option<&OvsNetwork>, new: &OvsNetwork) {
        let Some(vlan) = new.vlan else {
            return;
        };
        match old.and_then(|old| old.vlan) {
            Some(old) if old != vlan => self.add(["set", "port", name, &format!("tag={vlan}")]),
            Some(_) => {}
            None => self.add(["--may-exist", "add-br", name, BRIDGE, &vlan.to_string()]),
        }
    }

    fn service(&mut self, name: &str, old: Option<&OvsNetwork>, new: &OvsNetwork) {
        let (Some(service), Some(vlan), Some(southbound)) =
            (new.service, new.vlan, &new.southbound)
        else {
            return;
        };
        if old.is_some_and(|old| (old.service, old.vlan) == (new.service, new.vlan)) {
            return;
        }
        self.add(["set", "Interface", southbound, "lldp:enable=true"]);
        let words = [service.to_string(), vlan.to_string()];
        self.add(["add-aa-mapping", name, &words[0], &words[1]]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(southbound: &str, vlan: Option<u16>) -> OvsNetwork {
        OvsNetwork {
            southbound: Some(southbound.to_owned()),
            vlan,
            ..OvsNetwork::default()
        }
    }

    fn switch(networks: &[(&str, OvsNetwork)], bonds: &[(&str, &[&str])]) -> Switch {
        let networks = networks
            .iter()
            .map(|(name, network)| ((*name).to_owned(), network.clone()));
        let bonds = bonds.iter().map(|(name, nics)| {
            let bond = Bond {
                nics: nics.iter().map(|nic| (*nic).to_owned()).collect(),
                mode: "active-backup".to_owned(),
                lacp: "off".to_owned(),
            };
            ((*name).to_owned(), bond)
        });
        Switch {
            networks: networks.collect(),
            bonds: bonds.collect(),
        }
    }

    fn lines(from: &Switch, to: &Switch) -> Vec<String> {
        let commands = commands(from, to);
        commands.iter().map(|words| words.join(" ")).collect()
    }

    #[test]
    fn there_and_back() {
        let none = Switch::default();
        let red = switch(&[("red", network("em2", Some(12)))], &[]);
        let bonded = switch(
            &[("red", network("bond0", Some(13)))],
            &[("bond0", &["em1", "em2"])],
        );
        let plain = switch(
            &[("red", network("bond0", None))],
            &[("bond0", &["em1", "em3"])],
        );
        let untagged = "set Bridge ovsbr0 stp_enable=false";
        let cases: [(&Switch, &Switch, &[&str]); 7] = [
            (&none, &none, &[]),
            (&red, &red, &[]),
            (&red, &none, &["--if-exists del-br ovsbr0"]),
            (
                &none,
                &red,
                &[
                    "--may-exist add-br ovsbr0",
                    "--may-exist add-br red ovsbr0 12",
                    "--may-exist add-port ovsbr0 em2",
                    untagged,
                ],
            ),
            (
                &red,
                &bonded,
                &[
                    "--if-exists del-port ovsbr0 em2",
                    "--may-exist add-br ovsbr0",
                    "--fake-iface --may-exist add-bond ovsbr0 bond0 em1 em2",
                    "set port bond0 bond_mode=active-backup",
                    "set port bond0 lacp=off",
                    "set port red tag=13",
                    untagged,
                ],
            ),
            (
                &bonded,
                &plain,
                &[
                    "--if-exists del-br red",
                    "--may-exist add-br ovsbr0",
                    "--id=@bond0.in0 create Interface name=em3",
                    "add Port bond0 interfaces @bond0.in0",
                    "--id=@bond0.out0 get Interface em2",
                    "remove Port bond0 interfaces @bond0.out0",
                    "set port bond0 bond_mode=active-backup",
                    "set port bond0 lacp=off",
                    untagged,
                ],
            ),
            (
                &bonded,
                &red,
                &[
                    "--if-exists del-port ovsbr0 bond0",
                    "--may-exist add-br ovsbr0",
                    "set port red tag=12",
                    "--may-exist add-port ovsbr0 em2",
                    untagged,
                ],
            ),
        ];
        for (from, to, expected) in cases {
            assert_eq!(lines(from, to), expected, "{from:?}\n{to:?}");
        }
    }

    #[test]
    fn services_come_and_go_with_their_tag() {
        let with = |service, vlan| {
            let mut red = network("em2", Some(vlan));
            red.service = service;
            switch(&[("red", red)], &[])
        };
        let has = |from: &Switch, to: &Switch, wanted: &[&str]| {
            let found = lines(from, to);
            let found: Vec<_> = found
                .iter()
                .filter(|line| line.contains("aa-mapping") || line.contains("lldp"))
                .collect();
            assert_eq!(found, wanted);
        };
        let enable = "set Interface em2 lldp:enable=true";
        has(
            &with(None, 12),
            &with(Some(5), 12),
            &[enable, "add-aa-mapping red 5 12"],
        );
        has(
            &with(Some(5), 12),
            &with(None, 12),
            &["del-aa-mapping red 5 12"],
        );
        has(
            &with(Some(5), 12),
            &with(Some(5), 13),
            &["del-aa-mapping red 5 12", enable, "add-aa-mapping red 5 13"],
        );
        has(&with(Some(5), 12), &with(Some(5), 12), &[]);
    }

    #[test]
    fn what_cannot_be() {
        let has_nic = |nic: &str| nic.starts_with("em");
        let problem = |switch: Switch| switch.problem(&Switch::default(), has_nic);
        let sound = switch(
            &[
                ("blue", network("em1", None)),
                ("red", network("bond0", Some(12))),
            ],
            &[("bond0", &["em2", "em3"])],
        );
        assert_eq!(problem(sound), None);
        let mut no_southbound = network("em1", Some(12));
        no_southbound.southbound = None;
        let mut tree = network("em1", Some(12));
        tree.stp = true;
        let mut service = network("em1", None);
        service.service = Some(5);
        let one = |network| switch(&[("red", network)], &[]);
        for (switch, expected) in [
            (
                one(network("eth7", None)),
                "network red: the host has no NIC eth7",
            ),
            (
                one(no_southbound),
                "network red: expected a NIC or bond below a tag",
            ),
            (
                one(tree),
                "network red: expected the spanning tree protocol on the untagged network",
            ),
            (
                one(service),
                "network red: expected a tag for the service of ovs_aa_sid",
            ),
            (
                switch(
                    &[("a", network("em1", None)), ("b", network("em2", None))],
                    &[],
                ),
                "network b: a is untagged already, expected a tag",
            ),
            (
                switch(
                    &[
                        ("a", network("em1", Some(5))),
                        ("b", network("em1", Some(5))),
                    ],
                    &[],
                ),
                "network b: a has the same NIC or bond and tag",
            ),
            (
                switch(&[], &[("bond0", &["em1"])]),
                "bond bond0: expected at least two NICs",
            ),
            (
                switch(&[], &[("bond0", &["em1", "eth7"])]),
                "bond bond0: the host has no NIC eth7",
            ),
        ] {
            assert_eq!(problem(switch).as_deref(), Some(expected));
        }
    }
}
