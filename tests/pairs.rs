// SPDX-License-Identifier: GPL-2.0-or-later

//! Two hooks on one element of the document: one result or a refusal, whichever VDSM runs first.
//! Where their file names say who is first, that order. What holds for which hooks, their
//! `cases/beside.json` says. `tests/filters.rs` has `<filterref>`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]
#![allow(missing_docs)]

use crate::{filters, support};

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::thread;

use support::beside::{self, Beside, Rule, Words};
use support::chain::{self, Turn};
use support::{Firing, hooks, not_run, private_host, root};
use vdsm_hooks::hook::manifest::{Manifest, Scope};
use vdsm_hooks::xml::{self, Node};

/// A hook of a pair.
struct One {
    hook: Manifest,
    examples: BTreeMap<String, String>,
    turn: Turn,
}

impl One {
    fn of(name: &str) -> One {
        let hook = hooks().into_iter().find(|hook| hook.name == name).unwrap();
        let Beside { examples, host, .. } = Beside::of(name);
        let turn = match host {
            Some(host) => Turn::of(name).on(&host.to_string()),
            None => Turn::with_examples(name),
        };
        One {
            hook,
            examples,
            turn,
        }
    }

    /// What switches the hook on.
    fn variables(&self) -> Vec<(String, String)> {
        let is_variable = |scope| matches!(scope, Scope::Vm | Scope::Interface | Scope::Engine);
        let properties = self.hook.properties.iter();
        let properties = properties.filter(|property| is_variable(property.scope));
        properties
            .map(|property| {
                let example = self.examples.get(&property.name);
                let value = example.unwrap_or(&property.example);
                (property.name.clone(), value.clone())
            })
            .collect()
    }

    /// The events at which the hook gets a document to change.
    fn events(&self) -> BTreeSet<&str> {
        let changing = [
            "before_vm_start",
            "before_device_create",
            "before_nic_hotplug",
            "before_update_device",
        ];
        let events = self.hook.events.iter().map(|event| event.event.as_str());
        events.filter(|event| changing.contains(event)).collect()
    }

    fn shares_a_property(&self, other: &One) -> bool {
        let others = other.variables();
        let mut own = self.variables().into_iter();
        own.any(|(name, _)| others.iter().any(|(other, _)| *other == name))
    }

    fn file_at(&self, event: &str) -> String {
        let mut events = self.hook.events.iter();
        self.hook
            .installed_as(events.find(|one| one.event == event).unwrap())
    }
}

fn document(event: &str) -> Vec<u8> {
    let file = match event {
        "before_vm_start" => "domain.xml",
        _ => "interface.xml",
    };
    fs::read(root().join("tests/data").join(file)).unwrap()
}

/// The document without what means nothing: blanks between elements, the order of attributes, and
/// where among its siblings a new child stands.
fn meaning(text: &str) -> String {
    fn write(node: Node<'_, '_>, out: &mut String) {
        if node.is_text() {
            out.push_str(node.text().unwrap_or_default().trim());
        }
        if !node.is_element() {
            return;
        }
        let prefix = node.lookup_prefix(node.tag_name().namespace().unwrap_or_default());
        let name = match prefix {
            Some(prefix) => format!("{prefix}:{}", node.tag_name().name()),
            None => node.tag_name().name().to_owned(),
        };
        let attributes = node.attributes();
        let mut attributes: Vec<_> = attributes
            .map(|attribute| format!(" {}=\"{}\"", attribute.name(), attribute.value()))
            .collect();
        attributes.sort();
        let children = node.children().map(|child| {
            let mut text = String::new();
            write(child, &mut text);
            text
        });
        let mut children: Vec<_> = children.collect();
        // The order of arguments counts.
        if node.tag_name().name() != "commandline" {
            children.sort();
        }
        *out += &format!(
            "<{name}{}>{}</{name}>",
            attributes.concat(),
            children.concat()
        );
    }
    let document = xml::parse(text).unwrap();
    let mut out = String::new();
    write(document.root_element(), &mut out);
    out
}

fn check_words(what: &str, text: &str, words: &Words) {
    for word in &words.there {
        assert!(text.contains(word), "{what}: no {word} in {text}");
    }
    for word in &words.gone {
        assert!(!text.contains(word), "{what}: {word} in {text}");
    }
}

/// Every value of an attribute that only one may have.
fn check_apart(what: &str, text: &str) {
    let document = xml::parse(text).unwrap();
    for (element, attribute) in [("target", "dev"), ("boot", "order")] {
        let mut seen = BTreeSet::new();
        let devices = document.descendants();
        let values = devices
            .filter(|node| xml::is(*node, element))
            .filter_map(|node| xml::attr(node, attribute));
        for value in values {
            assert!(
                seen.insert(value),
                "{what}: {attribute}={value} twice in {text}"
            );
        }
    }
}

/// Both events of a pair that meets at none: one hook has had the NIC before the VM starts.
fn in_two_events(
    first: &One,
    second: &One,
    variables: &[(String, String)],
) -> Result<String, String> {
    let nic = document("before_device_create");
    let nic = chain::fire(&[&first.turn], "before_device_create", &nic, variables)?;
    let start = nic.find("<interface").unwrap();
    let domain = format!(
        "<domain type='kvm'><devices>{}</devices></domain>",
        &nic[start..]
    );
    // VDSM hands over no properties of vNICs at the start.
    let of_vm: Vec<_> = second.variables();
    chain::fire(
        &[&second.turn],
        "before_vm_start",
        domain.as_bytes(),
        &of_vm,
    )
}

fn check(element: &str, first: &One, second: &One, rule: &Rule) {
    let what = format!("{element}: {} and {}", first.hook.name, second.hook.name);
    let variables = [first.variables(), second.variables()].concat();
    let common: Vec<_> = first
        .events()
        .intersection(&second.events())
        .copied()
        .collect();
    let fire = |order: [&One; 2], event: &str| {
        let turns = [&order[0].turn, &order[1].turn];
        chain::fire(&turns, event, &document(event), &variables)
    };
    let says_why = |message: &str| {
        let named = |one: &One, other: &One| {
            message.starts_with(&format!("{}: ", one.hook.name))
                && other
                    .hook
                    .properties
                    .iter()
                    .any(|property| message.contains(&property.name))
        };
        assert!(
            named(first, second) || named(second, first),
            "{what}: {message}"
        );
    };
    match rule {
        Rule::OneAtATime => {
            for event in common {
                for one in [first, second] {
                    let of_one = one.variables();
                    let fire =
                        |turns: &[&Turn]| chain::fire(turns, event, &document(event), &of_one);
                    let alone =
                        fire(&[&one.turn]).unwrap_or_else(|error| panic!("{what}: {error}"));
                    assert_ne!(alone.as_bytes(), document(event), "{what} at {event}");
                    for order in [[first, second], [second, first]] {
                        let both = fire(&order.map(|one| &one.turn));
                        assert_eq!(both.as_ref(), Ok(&alone), "{what} at {event}");
                    }
                }
            }
        }
        Rule::Ahead => {
            let (one, other) = (
                first.file_at("before_vm_start"),
                second.file_at("before_vm_start"),
            );
            assert!(one < other, "{what}: {one} before {other}");
        }
        Rule::Refused if common.is_empty() => {
            // The VM's property is there when the vNIC is made.
            let (of_vnic, of_vm) = if first.events().contains("before_vm_start") {
                (second, first)
            } else {
                (first, second)
            };
            if of_vnic.shares_a_property(of_vm) {
                // VDSM hands over the VM's in place of the vNIC's of the same name. And where the VM got
                // its own later, the NIC is wired by the time that the VM starts.
                for variables in [of_vm.variables(), of_vnic.variables()] {
                    let result = in_two_events(of_vnic, of_vm, &variables);
                    says_why(&result.expect_err(&what));
                }
                return;
            }
            for event in of_vnic.events() {
                let result = chain::fire(&[&of_vnic.turn], event, &document(event), &variables);
                says_why(&result.expect_err(&what));
            }
        }
        Rule::Refused => {
            for event in common {
                for order in [[first, second], [second, first]] {
                    let message = fire(order, event).expect_err(&what);
                    says_why(&message);
                    let refuses = format!("{}: ", order[0].hook.name);
                    assert!(message.starts_with(&refuses), "{what}: {message}");
                }
            }
        }
        Rule::Same(words) => {
            for event in common {
                let [one, other] = [[first, second], [second, first]].map(|order| {
                    meaning(&fire(order, event).unwrap_or_else(|error| panic!("{what}: {error}")))
                });
                assert_eq!(one, other, "{what} at {event}");
                check_words(&what, &one, words);
            }
        }
        Rule::Apart => {
            for event in common {
                for order in [[first, second], [second, first]] {
                    let result = fire(order, event);
                    let result = result.unwrap_or_else(|error| panic!("{what}: {error}"));
                    check_apart(&what, &result);
                }
            }
        }
        Rule::First(words) if common.is_empty() => {
            let result = in_two_events(first, second, &variables);
            let result = result.unwrap_or_else(|error| panic!("{what}: {error}"));
            check_words(&what, &meaning(&result), words);
        }
        Rule::First(words) => {
            for event in common {
                let (one, other) = (first.file_at(event), second.file_at(event));
                assert!(one < other, "{what}: {one} before {other}");
                let result = fire([first, second], event);
                let result = result.unwrap_or_else(|error| panic!("{what}: {error}"));
                check_words(&what, &meaning(&result), words);
            }
        }
    }
}

#[test]
fn two_hooks_on_one_element_agree_or_refuse() {
    let all = beside::all();
    let mut elements: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (hook, beside) in &all {
        for element in beside.elements.keys() {
            elements.entry(element).or_default().push(hook);
        }
        for other in beside.with.keys() {
            assert!(
                share_an_element([hook, other]),
                "{hook} with {other}: no element of both"
            );
        }
    }
    assert!(elements.len() > 5, "{elements:?}");
    let all = &all;
    thread::scope(|threads| {
        for (element, hooks) in elements {
            for (at, &first) in hooks.iter().enumerate() {
                for &second in &hooks[at + 1..] {
                    threads.spawn(move || check_pair(all, element, [first, second]));
                }
            }
        }
    });
}

fn share_an_element(pair: [&str; 2]) -> bool {
    let [one, other] = pair.map(Beside::of);
    one.elements
        .keys()
        .any(|element| other.elements.contains_key(element))
}

/// The rule for a pair, in the order that the rule speaks of.
fn rule_for<'a>(
    all: &'a BTreeMap<String, Beside>,
    element: &str,
    [first, second]: [&'a str; 2],
) -> ([&'a str; 2], &'a Rule) {
    let of_pair = |one: &'a str, other: &'a str| {
        let rule = all[one].with.get(other);
        rule.map(|rule| ([one, other], rule))
    };
    match (of_pair(first, second), of_pair(second, first)) {
        (Some(_), Some(_)) => {
            panic!("{element}: {first} and {second} both have a rule for the other")
        }
        (Some(rule), None) | (None, Some(rule)) => return rule,
        (None, None) => {}
    }
    let of_element = |hook: &str| all[hook].elements[element].as_ref();
    match (of_element(first), of_element(second)) {
        (Some(rule), Some(other)) if rule == other => ([first, second], rule),
        _ => panic!(
            "{element}: no rule for {first} and {second}: hooks/{second}/cases/beside.json needs one in 'with'"
        ),
    }
}

fn check_pair(all: &BTreeMap<String, Beside>, element: &str, pair: [&str; 2]) {
    let (pair, rule) = rule_for(all, element, pair);
    let [first, second] = pair.map(One::of);
    for one in [&first, &second] {
        if let (true, Err(why)) = (one.turn.has_host(), private_host()) {
            let name = &one.hook.name;
            return not_run(&format!("{name} beside other hooks"), why);
        }
    }
    check(element, &first, &second, rule);
}

/// Who looks at another's property does so because they meet: on one element, or over the filter.
#[test]
fn whoever_looks_at_anothers_property_is_tried_beside_it() {
    let all = hooks();
    for hook in &all {
        for name in &hook.looks_at {
            let has = |other: &&Manifest| other.properties.iter().any(|own| own.name == *name);
            for other in all.iter().filter(has) {
                let pair = [&*hook.name, &*other.name];
                assert!(
                    share_an_element(pair) || filters::are_tried(pair),
                    "{} looks at {name} of {}: their cases/beside.json has no element or port of both",
                    hook.name,
                    other.name
                );
            }
        }
    }
}

/// A property of the greatest length beside very many NICs. The limit is on the processor's time,
/// which others on this machine do not use up: it takes one second or so, where it took minutes.
#[test]
fn long_properties_and_many_nics_cost_no_time() {
    let mac =
        |group: u8, nic: usize| format!("52:54:00:{group:02x}:{:02x}:{:02x}", nic / 256, nic % 256);
    let dictionary = |group, most, value: &str| {
        let entries: Vec<_> = (0..most)
            .map(|nic| format!("'{}':'{value}'", mac(group, nic)))
            .collect();
        format!("{{{}}}", entries.join(","))
    };
    let addresses = |most: usize| {
        let addresses: Vec<_> = (1..=most)
            .map(|one| format!("10.0.{}.{}", one / 256, one % 256))
            .collect();
        addresses.join(",")
    };
    let nics: String = (0..800)
        .map(|nic| {
            format!(
                "<interface type='bridge'><mac address='{}'/><source bridge='b'/><filterref filter='vdsm-no-mac-spoofing'/></interface>",
                mac(0, nic)
            )
        })
        .collect();
    let domain = format!("<domain type='kvm'><devices>{nics}</devices></domain>");
    for (hook, variables, refused) in [
        (
            "vmfex",
            vec![
                ("vmfex", dictionary(0, 800, "gold")),
                ("macbind", dictionary(1, 2400, "br0")),
            ],
            // Libvirt's answer is none of our concern.
            None,
        ),
        (
            "noipspoof",
            vec![("noipspoof", addresses(256))],
            Some(false),
        ),
        (
            "noipspoof",
            vec![("noipspoof", addresses(9000))],
            Some(true),
        ),
    ] {
        let mut firing = Firing::new(hook, "before_vm_start", domain.as_bytes());
        for (name, value) in &variables {
            firing = firing.variable(name, value);
        }
        let outcome = firing.inside(&["prlimit", "--cpu=30"]).run();
        // Whoever is over the limit dies of a signal.
        let status = outcome.status.expect(hook);
        if let Some(refused) = refused {
            assert_eq!(status, if refused { 2 } else { 0 }, "{}", outcome.stderr);
            let said = outcome.stderr.contains("more than 256 addresses");
            assert_eq!(said, refused, "{}", outcome.stderr);
        }
    }
}

#[test]
fn very_many_devices_cost_no_time() {
    let devices = |count: usize, device: fn(usize) -> String| {
        let devices: String = (0..count).map(device).collect();
        format!(
            "<domain type='kvm'><os><type machine='q35'>hvm</type></os>\
             <devices>{devices}</devices></domain>"
        )
    };
    let disks = devices(60_000, |disk| {
        let order = disk + 1;
        format!(
            "<disk type='file'><target dev='vd{disk}' bus='virtio'/><boot order='{order}'/></disk>"
        )
    });
    let nics = devices(40_000, |_| {
        "<interface type='bridge'><filterref filter='vdsm-no-mac-spoofing'/></interface>".into()
    });
    let taps = devices(60_000, |tap| {
        format!("<interface type='bridge'><target dev='vnet{tap}'/></interface>")
    });
    let addresses: Vec<_> = (0..256).map(|one| format!("10.0.0.{one}")).collect();
    for (hook, value, document, status, says) in [
        ("httpsisoboot", "https://a.example/b.iso", &disks, 0, ""),
        ("noipspoof", &addresses.join(","), &nics, 2, "1000000 new"),
        ("promisc", "nodevice0:redirect", &taps, 2, "nodevice0"),
    ] {
        let event = match hook {
            "promisc" => "after_vm_start",
            _ => "before_vm_start",
        };
        let firing = Firing::new(hook, event, document.as_bytes());
        let firing = firing.variable(hook, value);
        let firing = firing.variable("vmId", "5f1a7d3e-8b24-4c96-b0e5-92d7c3a4f618");
        let outcome = firing.inside(&["prlimit", "--cpu=20"]).run();
        // Whoever is over the limit dies of a signal.
        assert_eq!(outcome.status, Some(status), "{hook}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(says), "{hook}: {}", outcome.stderr);
    }
}
