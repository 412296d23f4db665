// SPDX-License-Identifier: GPL-2.0-or-later

//! qemucmdline with random JSON as its value: the document is left alone, or has the arguments and is
//! whole.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]
#![allow(missing_docs)]

use crate::support;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::Value;
use support::Firing;
use vdsm_hooks::libvirt::domain;
use vdsm_hooks::xml;

const DOMAIN: &str =
    "<?xml version='1.0'?>\n<!-- -->\n<domain type='kvm'><name>a</name><devices/></domain>\n";

/// What a property can hold: no NUL.
fn values() -> impl Strategy<Value = String> {
    let text = || r".{0,9}|[-a-z0-9=,\n\t\x00-\x1f]{1,9}";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    let any_json = leaf.prop_recursive(3, 16, 4, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(text(), inner, 0..4).prop_map(Value::from_iter),
        ]
    });
    prop_oneof![
        vec(text(), 0..5).prop_map(|arguments| Value::from(arguments).to_string()),
        any_json.prop_map(|value| value.to_string()),
        r#"[\[\]{}",:\\nu0-9e. -]{0,20}"#,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn whatever_the_value_the_document_is_whole(value in values()) {
        let firing = Firing::new("qemucmdline", "before_vm_start", DOMAIN.as_bytes());
        let outcome = firing.variable("qemu_cmdline", &value).run();
        let found = String::from_utf8(outcome.data.clone().unwrap()).unwrap();
        let wanted: Option<Vec<String>> = serde_json::from_str(&value).ok();
        let wanted = wanted.filter(|all| all.iter().all(|one| xml::check_characters(one).is_ok()));
        prop_assert!(outcome.left_behind.is_empty(), "{:?}", outcome);
        match wanted {
            Some(wanted) if !wanted.is_empty() => {
                prop_assert_eq!(outcome.status, Some(0), "{:?}", outcome);
                let document = xml::parse(&found).unwrap();
                prop_assert_eq!(domain::qemu_arguments(document.root_element()), wanted);
                let (start, end) = DOMAIN.split_at(DOMAIN.find("</domain>").unwrap());
                let (head, tail) = start.split_at(start.find("<name>").unwrap());
                prop_assert!(found.starts_with(head.trim_end_matches('>')), "{}", found);
                prop_assert!(found.contains(tail) && found.ends_with(end), "{}", found);
            }
            known => {
                prop_assert!(!outcome.touched && found == DOMAIN, "{:?}", outcome);
                let is_silent = known.is_some();
                prop_assert_eq!(outcome.status, Some(if is_silent { 0 } else { 2 }), "{:?}", outcome);
                prop_assert_eq!(outcome.stderr.lines().count(), usize::from(!is_silent), "{:?}", outcome);
            }
        }
    }
}
