// SPDX-License-Identifier: GPL-2.0-or-later

//! Values that a regular expression takes, values that nearly are some, and long ones.

use regex_syntax::hir::{Class, ClassUnicodeRange, Hir, HirKind};

/// Characters that do not stand on the keys of a terminal, for what takes more than ASCII; among them
/// those that are white space or the end of a line to one interpreter and not to another, such as the
/// blank that comes along when a value is copied from a page on the web. None beyond U+FFFF: JavaScript
/// counts such a one twice, and no expression can make up for that.
const ODD: [char; 12] = [
    '\t', '\n', '\r', '\x0b', '\x0c', '\u{85}', '\u{a0}', '\u{2028}', '\u{feff}', 'é', 'ß', '生',
];

/// Numbers that look drawn, and are the same in every run.
pub struct Random(u64);

impl Random {
    /// A row of numbers for this name.
    pub fn of(name: &str) -> Random {
        let add = |sum: u64, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Random(name.bytes().fold(0xcbf2_9ce4_8422_2325, add))
    }

    /// A number below `end`, by splitmix64.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }

    /// One of them.
    pub fn one<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }

    /// A character that may stand in a value: the engine takes no semicolon.
    fn character(&mut self) -> char {
        if self.below(8) == 0 {
            return *self.one(&ODD);
        }
        loop {
            let usual = char::from(b' ' + self.below(95) as u8);
            if usual != ';' {
                return usual;
            }
        }
    }
}

/// A regular expression, to make values by. It knows neither look-around nor back references.
pub struct Expression(Hir);

/// How a long value is made: which loop turns how often.
struct Pump {
    /// The loop's number, in the order of the text.
    turning: usize,
    times: u32,
    /// How often all others turn, if they may.
    others: u32,
    /// Which of several alternatives and characters is taken.
    choice: usize,
}

impl Expression {
    /// Reads an expression.
    pub fn parse(regex: &str) -> Expression {
        Expression(regex_syntax::parse(regex).unwrap_or_else(|error| panic!("{regex}: {error}")))
    }

    /// A value that the expression takes.
    pub fn value(&self, random: &mut Random) -> String {
        let mut value = String::new();
        draw(&self.0, random, &mut value);
        value
    }

    /// Values of nearly `limit` characters, each loop in turn being the one that makes them long.
    pub fn long_values(&self, limit: usize) -> Vec<String> {
        let mut values = Vec::new();
        for turning in 0..loops(&self.0) {
            for (choice, others) in [(0, 0), (1, 1), (2, 1)] {
                let value = |times| {
                    let mut value = String::new();
                    let pump = Pump {
                        turning,
                        times,
                        others,
                        choice,
                    };
                    pump.write(&self.0, &mut 0, &mut value);
                    value
                };
                let length = |times| value(times).chars().count();
                let (two, three) = (length(2), length(3));
                if two < three && two < limit {
                    let more = (limit - two) / (three - two);
                    values.push(value(2 + more as u32));
                }
            }
        }
        values
    }
}

/// How many loops there are.
fn loops(hir: &Hir) -> usize {
    match hir.kind() {
        HirKind::Repetition(repetition) => 1 + loops(&repetition.sub),
        HirKind::Capture(group) => loops(&group.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().map(loops).sum(),
        _ => 0,
    }
}

/// The characters of a class that values are made of; the first of all, if it is of others.
fn members(class: &Class) -> Vec<char> {
    let Class::Unicode(class) = class else {
        panic!("a class of bytes");
    };
    let is_in = |c: &char| {
        let mut ranges = class.iter();
        ranges.any(|range| (range.start()..=range.end()).contains(c))
    };
    let usual = (b' '..=b'~').map(char::from).filter(|c| *c != ';');
    let members: Vec<char> = usual.chain(ODD).filter(is_in).collect();
    if members.is_empty() {
        return class.iter().take(1).map(ClassUnicodeRange::start).collect();
    }
    members
}

fn draw(hir: &Hir, random: &mut Random, value: &mut String) {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => value.push_str(std::str::from_utf8(&literal.0).unwrap()),
        HirKind::Class(class) => value.push(*random.one(&members(class))),
        HirKind::Repetition(repetition) => {
            let most = repetition.max.unwrap_or(u32::MAX);
            let mut times = repetition.min;
            // Often short, and now and then as long as it may be.
            if most <= 300 && random.below(12) == 0 {
                times = most;
            }
            while times < most && random.below(2) == 0 {
                times += 1;
            }
            (0..times).for_each(|_| draw(&repetition.sub, random, value));
        }
        HirKind::Capture(group) => draw(&group.sub, random, value),
        HirKind::Concat(parts) => parts.iter().for_each(|part| draw(part, random, value)),
        HirKind::Alternation(parts) => draw(random.one(parts), random, value),
    }
}

impl Pump {
    /// `number` is that of the next loop.
    fn write(&self, hir: &Hir, number: &mut usize, value: &mut String) {
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => {}
            HirKind::Literal(literal) => value.push_str(std::str::from_utf8(&literal.0).unwrap()),
            HirKind::Class(class) => {
                let members = members(class);
                value.push(members[self.choice % members.len()]);
            }
            HirKind::Repetition(repetition) => {
                let wanted = if *number == self.turning {
                    self.times
                } else {
                    self.others
                };
                let times = wanted
                    .max(repetition.min)
                    .min(repetition.max.unwrap_or(u32::MAX));
                *number += 1;
                // Every turn is the same.
                let mut turn = String::new();
                self.write(&repetition.sub, number, &mut turn);
                value.push_str(&turn.repeat(times as usize));
            }
            HirKind::Capture(group) => self.write(&group.sub, number, value),
            HirKind::Concat(parts) => {
                parts
                    .iter()
                    .for_each(|part| self.write(part, number, value));
            }
            HirKind::Alternation(parts) => {
                for (place, part) in parts.iter().enumerate() {
                    if place == self.choice % parts.len() {
                        self.write(part, number, value);
                    } else {
                        *number += loops(part);
                    }
                }
            }
        }
    }
}

/// The value with one to three slips.
pub fn misspelt(value: &str, random: &mut Random) -> String {
    let mut text: Vec<char> = value.chars().collect();
    for _ in 0..=random.below(3) {
        let at = random.below(text.len() + 1);
        let is_inside = at < text.len();
        match random.below(9) {
            0 => text.truncate(at),
            1 | 2 if is_inside => drop(text.remove(at)),
            3 => {
                let again = text[random.below(at + 1)..at].to_vec();
                drop(text.splice(at..at, again));
            }
            4 if is_inside && text[at].is_ascii_lowercase() => text[at].make_ascii_uppercase(),
            4 if is_inside => text[at].make_ascii_lowercase(),
            5 | 6 if is_inside => {
                let own = *random.one(&text);
                text.insert(at, own);
            }
            7 if is_inside => text[at] = random.character(),
            _ => text.insert(at, random.character()),
        }
    }
    text.into_iter().collect()
}
