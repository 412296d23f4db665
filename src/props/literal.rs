// SPDX-License-Identifier: GPL-2.0-or-later

//! Literals in Python's notation, as the properties of existing VMs are written, and in JSON's.
//!
//! Both are one grammar here: dictionaries, lists, strings in either quote, whole numbers, and
//! words. Crates that read Python literals bring a parser generator and big numbers along, more
//! than the whole hook; those that read JSON5 take bare words for strings, which Python does not.

use std::collections::BTreeMap;

use crate::{Error, Result};

/// The longest value that is looked at, in bytes.
const MAX_LITERAL_BYTES: usize = 64 << 10;
/// How deep dictionaries and lists may nest.
const MAX_DEPTH: usize = 8;

/// A parsed literal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Literal {
    /// A string, its escapes decoded.
    Text(String),
    /// A whole number, as it was written.
    Integer(String),
    /// `True`, `none`, `1.5` and the like: known to the notation, of no use to a hook.
    Other(String),
    /// A list or a tuple.
    List(Vec<Literal>),
    /// A dictionary in the order of the text. A key may be there twice; the last one counts.
    Dict(Vec<(Literal, Literal)>),
}

impl Literal {
    /// Reads a literal that takes up the whole of `text`, blanks around it allowed.
    ///
    /// # Errors
    /// Not a literal, longer than 64 KiB, or nested deeper than 8 levels. The message says at
    /// which character (counted from 1) and what was expected.
    pub fn parse(text: &str) -> Result<Literal> {
        if text.len() > MAX_LITERAL_BYTES {
            return Err(Error::new(format!("longer than {MAX_LITERAL_BYTES} bytes")));
        }
        let mut parser = Parser { text, at: 0 };
        let literal = parser.value(0)?;
        match parser.peek() {
            None => Ok(literal),
            Some(_) => Err(parser.expected("the end")),
        }
    }

    /// Reads the literal with which `text` begins, however long it is, and whatever follows it: for
    /// texts of a program, not of a user.
    ///
    /// # Errors
    /// Not a literal, or nested deeper than 8 levels.
    pub fn prefix(text: &str) -> Result<Literal> {
        Parser { text, at: 0 }.value(0)
    }

    /// The string's text.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Literal::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The dictionary's entries; of a key given twice only the last value, in the first's place,
    /// as in Python.
    pub fn as_dict(&self) -> Option<Vec<(&Literal, &Literal)>> {
        let Literal::Dict(entries) = self else {
            return None;
        };
        let mut unique: Vec<(&Literal, &Literal)> = Vec::new();
        let mut places = BTreeMap::new();
        for (key, value) in entries {
            let place = *places.entry(key).or_insert(unique.len());
            match unique.get_mut(place) {
                Some((_, last)) => *last = value,
                None => unique.push((key, value)),
            }
        }
        Some(unique)
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    /// The next character that is no blank.
    fn peek(&mut self) -> Option<char> {
        let rest = self.rest();
        self.at += rest.len()
            - rest
                .trim_start_matches([' ', '\t', '\n', '\r', '\x0c'])
                .len();
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest().chars().next()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn error_at(&self, at: usize, problem: &str) -> Error {
        let place = self.text[..at].chars().count() + 1;
        Error::new(format!("at character {place}: {problem}"))
    }

    fn expected(&self, what: &str) -> Error {
        self.error_at(self.at, &format!("expected {what}"))
    }

    fn value(&mut self, depth: usize) -> Result<Literal> {
        if depth > MAX_DEPTH {
            return Err(self.error_at(self.at, "nested too deeply"));
        }
        match self.peek() {
            Some('{') => self.dict(depth),
            Some('[') => self.list('[', ']', depth),
            Some('(') => self.list('(', ')', depth),
            Some('"' | '\'') => self.strings(),
            Some('u' | 'U') if self.rest()[1..].starts_with(['"', '\'']) => {
                self.at += 1;
                self.strings()
            }
            Some(c) if c.is_ascii_digit() || "+-.".contains(c) => self.number(),
            Some(_) => self.word(),
            None => Err(self.expected("a value in braces or quotes")),
        }
    }

    fn dict(&mut self, depth: usize) -> Result<Literal> {
        self.at += 1;
        let mut entries = Vec::new();
        while !self.take('}') {
            let key = self.value(depth + 1)?;
            if !self.take(':') {
                return Err(self.expected("':' after the key"));
            }
            entries.push((key, self.value(depth + 1)?));
            if !self.take(',') && self.peek() != Some('}') {
                return Err(self.expected("',' or '}'"));
            }
        }
        Ok(Literal::Dict(entries))
    }

    fn list(&mut self, open: char, close: char, depth: usize) -> Result<Literal> {
        self.at += open.len_utf8();
        let mut entries = Vec::new();
        while !self.take(close) {
            entries.push(self.value(depth + 1)?);
            if !self.take(',') && self.peek() != Some(close) {
                return Err(self.expected(&format!("',' or '{close}'")));
            }
        }
        Ok(Literal::List(entries))
    }

    /// One string or several in a row, which Python joins.
    fn strings(&mut self) -> Result<Literal> {
        let mut value = String::new();
        while let Some(quote @ ('"' | '\'')) = self.peek() {
            let start = self.at;
            self.at += 1;
            loop {
                let at = self.at;
                match self.next() {
                    Some(c) if c == quote => break,
                    Some('\\') => self.escape(at, &mut value)?,
                    Some('\n') | None => {
                        return Err(self.error_at(start, "the string that begins here has no end"));
                    }
                    Some(c) => value.push(c),
                }
            }
        }
        Ok(Literal::Text(value))
    }

    /// The escape whose backslash is at `at`.
    fn escape(&mut self, at: usize, value: &mut String) -> Result {
        let c = match self.next() {
            Some('n') => '\n',
            Some('t') => '\t',
            Some('r') => '\r',
            Some('a') => '\x07',
            Some('b') => '\x08',
            Some('f') => '\x0c',
            Some('v') => '\x0b',
            Some('\n') => return Ok(()),
            Some(c @ ('\\' | '"' | '\'' | '/')) => c,
            Some('x') => self.code(at, 2)?,
            Some('u') => self.code(at, 4)?,
            Some('U') => self.code(at, 8)?,
            Some(digit @ '0'..='7') => {
                let mut code = digit.to_digit(8).unwrap_or_default();
                for _ in 0..2 {
                    let next = self.rest().chars().next().and_then(|c| c.to_digit(8));
                    let Some(next) = next else { break };
                    code = code * 8 + next;
                    self.at += 1;
                }
                char::from_u32(code).unwrap_or_default()
            }
            // Python keeps the backslash of an escape that it does not know.
            Some(other) => {
                value.push('\\');
                other
            }
            None => return Err(self.error_at(at, "a backslash without a character")),
        };
        value.push(c);
        Ok(())
    }

    fn code(&mut self, at: usize, digits: usize) -> Result<char> {
        let code = self.hex(at, digits)?;
        // JSON spells a character beyond U+FFFF as two halves.
        if (0xd800..0xdc00).contains(&code) && self.rest().starts_with("\\u") {
            self.at += 2;
            let low = self.hex(at, 4)?;
            let halves = [code as u16, low as u16];
            if let Some(Ok(c)) = char::decode_utf16(halves).next() {
                return Ok(c);
            }
            return Err(self.error_at(at, "half a character"));
        }
        char::from_u32(code).ok_or_else(|| self.error_at(at, "this escape is not a character"))
    }

    fn hex(&mut self, at: usize, digits: usize) -> Result<u32> {
        let code = self
            .rest()
            .get(..digits)
            .filter(|code| code.chars().all(|c| c.is_ascii_hexdigit()));
        let code = code.and_then(|code| u32::from_str_radix(code, 16).ok());
        self.at += if code.is_some() { digits } else { 0 };
        code.ok_or_else(|| self.error_at(at, &format!("expected {digits} hexadecimal digits")))
    }

    fn number(&mut self) -> Result<Literal> {
        let start = self.at;
        let end = self
            .rest()
            .find(|c: char| !c.is_ascii_alphanumeric() && !"+-._".contains(c));
        let number = &self.rest()[..end.unwrap_or(self.rest().len())].to_owned();
        self.at += number.len();
        let digits = number.strip_prefix(['+', '-']).unwrap_or(number);
        if !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit()) {
            // Python refuses leading zeros, other than of 0 itself.
            if digits.starts_with('0') && digits.chars().any(|c| c != '0') {
                return Err(self.error_at(start, "a number does not begin with 0"));
            }
            return Ok(Literal::Integer(
                number.strip_prefix('+').unwrap_or(number).to_owned(),
            ));
        }
        // A fraction is of no use to any hook; what exactly it is does not matter.
        let fits = |c: char| c.is_ascii_digit() || ".eE+-_".contains(c);
        if digits.starts_with(|c: char| c.is_ascii_digit()) && digits.chars().all(fits) {
            return Ok(Literal::Other(number.clone()));
        }
        Err(self.error_at(start, "not a number"))
    }

    fn word(&mut self) -> Result<Literal> {
        const WORDS: [&str; 6] = ["True", "False", "None", "true", "false", "null"];
        let end = self.rest().find(|c: char| !c.is_alphanumeric() && c != '_');
        let word = &self.rest()[..end.unwrap_or(self.rest().len())];
        if !WORDS.contains(&word) {
            return Err(self.expected("a string in quotes"));
        }
        let word = word.to_owned();
        self.at += word.len();
        Ok(Literal::Other(word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        fn show(literal: &Literal) -> String {
            match literal {
                Literal::Text(text) => format!("{text:?}"),
                Literal::Integer(number) => number.clone(),
                Literal::Other(word) => format!("<{word}>"),
                Literal::List(list) => {
                    format!("[{}]", list.iter().map(show).collect::<Vec<_>>().join(" "))
                }
                Literal::Dict(entries) => {
                    let entries = entries
                        .iter()
                        .map(|(k, v)| format!("{}={}", show(k), show(v)));
                    format!("{{{}}}", entries.collect::<Vec<_>>().join(" "))
                }
            }
        }
        Literal::parse(text).map_or_else(|error| error.to_string(), |literal| show(&literal))
    }

    #[test]
    fn both_notations() {
        for (text, meaning) in [
            ("{'a': 'b'}", r#"{"a"="b"}"#),
            (r#"{"a": "b",}"#, r#"{"a"="b"}"#),
            (" { 'a' : { 'b' : \"c\" , } , } ", r#"{"a"={"b"="c"}}"#),
            ("{}", "{}"),
            (
                "{1: [2, 'x', (3,)], 'n': None}",
                r#"{1=[2 "x" [3]] "n"=<None>}"#,
            ),
            (r"'a\u00e9\x41\'b\101\q\/\n'", r#""aéA'bA\\q/\n""#),
            (r#""\ud83d\ude80""#, r#""🚀""#),
            (r"'\U0001F680'", r#""🚀""#),
            ("u'x' 'y'", r#""xy""#),
            ("-5", "-5"),
            ("00", "00"),
            ("1.5", "<1.5>"),
            ("1abc", "at character 1: not a number"),
            ("-", "at character 1: not a number"),
            ("true", "<true>"),
            ("'生产'", r#""生产""#),
            ("{'a': 'b'} x", "at character 12: expected the end"),
            ("{mac:br0}", "at character 2: expected a string in quotes"),
            ("{u: 1}", "at character 2: expected a string in quotes"),
            ("{'a' 'b'}", "at character 9: expected ':' after the key"),
            (
                "{'a': 'b' 'c': 'd'}",
                "at character 14: expected ',' or '}'",
            ),
            ("{'a': }", "at character 7: expected a string in quotes"),
            (
                "{'é': 'b",
                "at character 7: the string that begins here has no end",
            ),
            ("", "at character 1: expected a value in braces or quotes"),
            ("{,}", "at character 2: expected a string in quotes"),
            (
                r"'\ud83d'",
                "at character 2: this escape is not a character",
            ),
            (r"'\ud83d\u0041'", "at character 2: half a character"),
            (r"'\xg1'", "at character 2: expected 2 hexadecimal digits"),
            (r"'\x4é'", "at character 2: expected 2 hexadecimal digits"),
            ("007", "at character 1: a number does not begin with 0"),
            (
                "__import__('os').system('true')",
                "at character 1: expected a string in quotes",
            ),
            (
                "[[[[[[[[[[1]]]]]]]]]]",
                "at character 10: nested too deeply",
            ),
            ("{{{{{{{{{{1", "at character 10: nested too deeply"),
        ] {
            assert_eq!(shown(text), meaning, "{text}");
        }
        let dicts = "{'a':".repeat(10);
        assert_eq!(shown(&dicts), "at character 42: nested too deeply");
        let text = |size: usize| format!("'{}'", "x".repeat(size - 2));
        assert!(shown(&text(65_536)).starts_with("\"xx"));
        assert_eq!(shown(&text(65_537)), "longer than 65536 bytes");
        assert_eq!(shown(&"[".repeat(70_000)), "longer than 65536 bytes");
    }

    #[test]
    fn a_literal_may_be_followed_by_something() {
        let long = format!("{{'a': '{}'}}) from=here", "x".repeat(MAX_LITERAL_BYTES));
        let Ok(Literal::Dict(entries)) = Literal::prefix(&long) else {
            unreachable!("{}", shown(&long));
        };
        let lengths: Vec<_> = entries
            .iter()
            .filter_map(|(_, value)| value.as_text().map(str::len))
            .collect();
        assert_eq!(lengths, [MAX_LITERAL_BYTES]);
        assert_eq!(Literal::prefix("'a' (hooks:122)"), Literal::parse("'a'"));
        assert!(Literal::prefix("{'a': ").is_err());
    }

    #[test]
    fn the_last_of_two_equal_keys_counts() {
        let literal = Literal::parse("{'a': '1', 'b': '2', 'a': '3'}").ok();
        let entries = literal
            .as_ref()
            .and_then(Literal::as_dict)
            .unwrap_or_default();
        let values: Vec<_> = entries
            .iter()
            .filter_map(|(_, value)| value.as_text())
            .collect();
        assert_eq!(values, ["3", "2"]);
    }
}
