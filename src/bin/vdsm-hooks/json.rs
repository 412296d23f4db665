// SPDX-License-Identifier: GPL-2.0-or-later

//! What the tool prints for scripts: one object, whose first member is the number of its format. The
//! members are described where they are declared; the page is made from that.

use serde::Serialize;

use vdsm_hooks::Result;

pub(crate) mod page;

/// Grows when a member goes, or gets another meaning; new members do not change it.
const FORMAT: u32 = 1;

/// What a value is.
pub(crate) enum Kind {
    /// The name of a plain type.
    Plain(&'static str),
    OrNull(Box<Kind>),
    List(Box<Kind>),
    /// An object of which the names are not ours.
    Named(Box<Kind>),
    Object(Vec<Member>),
}

/// A member of an object.
pub(crate) struct Member {
    pub(crate) name: &'static str,
    /// Its words, as they stand in the source.
    pub(crate) about: &'static str,
    pub(crate) kind: Kind,
}

/// A type whose values the page explains.
pub(crate) trait Described {
    fn kind() -> Kind;
}

macro_rules! plain {
    ($word:literal: $($type:ty),+) => {
        $(impl Described for $type {
            fn kind() -> Kind {
                Kind::Plain($word)
            }
        })+
    };
}

plain!("string": str, String, std::path::PathBuf, vdsm_hooks::hook::manifest::Group);
plain!("boolean": bool);
plain!("integer": u8, i32, i64, u32, u64, usize);
plain!("number": f64);

impl<T: Described + ?Sized> Described for &T {
    fn kind() -> Kind {
        T::kind()
    }
}

impl<T: Described> Described for Option<T> {
    fn kind() -> Kind {
        Kind::OrNull(Box::new(T::kind()))
    }
}

impl<T: Described> Described for Vec<T> {
    fn kind() -> Kind {
        Kind::List(Box::new(T::kind()))
    }
}

impl<T: Described> Described for [T] {
    fn kind() -> Kind {
        Kind::List(Box::new(T::kind()))
    }
}

impl Described for vdsm_hooks::hook::manifest::Retired {
    fn kind() -> Kind {
        let member = |name, about| Member {
            name,
            about,
            kind: String::kind(),
        };
        Kind::Object(vec![
            member("last", "The last release of VDSM with the hook."),
            member("superseded_by", "What oVirt has instead, in words."),
        ])
    }
}

/// Members with names that are not ours, in this order.
pub(crate) struct Names<T>(pub(crate) Vec<(String, T)>);

impl<T: Serialize> Serialize for Names<T> {
    fn serialize<S: serde::Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<T: Described> Described for Names<T> {
    fn kind() -> Kind {
        Kind::Named(Box::new(T::kind()))
    }
}

/// Declares objects for scripts. What stands above a member is what the page says of it.
macro_rules! objects {
    ($(
        $(#[doc = $outer:literal])*
        $vis:vis struct $name:ident $(<$life:lifetime>)? {
            $( $(#[doc = $about:literal])+ $member_vis:vis $member:ident: $type:ty, )+
        }
    )+) => {$(
        $(#[doc = $outer])*
        #[derive(serde::Serialize)]
        $vis struct $name $(<$life>)? {
            $( $(#[doc = $about])+ $member_vis $member: $type, )+
        }

        impl $(<$life>)? crate::json::Described for $name $(<$life>)? {
            fn kind() -> crate::json::Kind {
                crate::json::Kind::Object(vec![$(crate::json::Member {
                    name: stringify!($member),
                    about: concat!($($about),+),
                    kind: <$type as crate::json::Described>::kind(),
                }),+])
            }
        }
    )+};
}
pub(crate) use objects;

/// The text of an answer.
pub(crate) fn text<T: Described + Serialize>(answer: &T) -> Result<String> {
    #[derive(Serialize)]
    struct Numbered<'a, T> {
        format: u32,
        #[serde(flatten)]
        answer: &'a T,
    }
    let numbered = Numbered {
        format: FORMAT,
        answer,
    };
    Ok(serde_json::to_string_pretty(&numbered)? + "\n")
}
