// SPDX-License-Identifier: GPL-2.0-or-later

//! A line that is being typed, read by the definition of the command line.

use clap::{Arg, ArgAction, Command};

/// How far a line is.
pub(super) struct Typed<'a> {
    /// The command that it has come to.
    pub(super) command: &'a Command,
    /// Arguments that are there, each with its value.
    pub(super) given: Vec<(&'a Arg, &'a str)>,
    pub(super) next: Next<'a>,
    /// What is before the part of the last word that is to be completed, such as `--domain=`.
    pub(super) stays: &'a str,
    /// The begun part.
    pub(super) begun: &'a str,
}

/// What can come now.
#[derive(Clone, Copy)]
pub(super) enum Next<'a> {
    /// The value of an option or of an argument.
    Value(&'a Arg),
    Option,
    Subcommand,
    /// Neither a command nor an argument is left.
    Nothing,
}

impl<'a> Typed<'a> {
    /// The values that an argument has.
    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = &'a str> {
        let given = self.given.iter();
        given.filter_map(move |(arg, value)| (arg.get_id().as_str() == name).then_some(*value))
    }
}

/// Reads the words behind the program's name; the last one is begun.
pub(super) fn read<'a>(tool: &'a Command, words: &[&'a str]) -> Typed<'a> {
    let (&last, before) = words.split_last().unwrap_or((&"", &[]));
    let mut reader = Reader {
        command: tool,
        given: Vec::new(),
        expected: None,
        positionals: 0,
        options_ended: false,
        help: false,
    };
    for &word in before {
        reader.word(word);
    }
    reader.last(last)
}

struct Reader<'a> {
    command: &'a Command,
    given: Vec<(&'a Arg, &'a str)>,
    /// The option whose value is the next word.
    expected: Option<&'a Arg>,
    positionals: usize,
    options_ended: bool,
    /// Behind `help` there are commands only.
    help: bool,
}

impl<'a> Reader<'a> {
    fn word(&mut self, word: &'a str) {
        if let Some(option) = self.expected.take() {
            self.given.push((option, word));
        } else if self.options_ended || word == "-" || !word.starts_with('-') {
            self.argument(word);
        } else if word == "--" {
            self.options_ended = true;
        } else if let Some(long) = word.strip_prefix("--") {
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (long, None),
            };
            if let Some(option) = self.long(name) {
                self.option(option, value);
            }
        } else {
            self.short_ones(word);
        }
    }

    fn argument(&mut self, word: &'a str) {
        let subcommand = match self.positionals {
            0 => self.command.find_subcommand(word),
            _ => None,
        };
        match subcommand {
            Some(help) if help.get_name() == "help" => self.help = true,
            Some(subcommand) => {
                self.command = subcommand;
                self.given.clear();
            }
            None => {
                if let Some(argument) = self.positional() {
                    self.given.push((argument, word));
                }
                self.positionals += 1;
            }
        }
    }

    fn option(&mut self, option: &'a Arg, value: Option<&'a str>) {
        match value {
            None if option.get_action().takes_values() => self.expected = Some(option),
            value => self.given.push((option, value.unwrap_or_default())),
        }
    }

    /// A dash and letters; what is behind one with a value is the value.
    fn short_ones(&mut self, word: &'a str) {
        if let Some((option, stays)) = self.short_with_value(word) {
            let value = &word[stays..];
            self.option(option, (!value.is_empty()).then_some(value));
        }
        for letter in word.chars().skip(1) {
            match self.short(letter) {
                Some(option) if !option.get_action().takes_values() => self.option(option, None),
                _ => break,
            }
        }
    }

    /// The first of the letters that has a value, and where that begins.
    fn short_with_value(&self, word: &str) -> Option<(&'a Arg, usize)> {
        for (at, letter) in word.char_indices().skip(1) {
            let option = self.short(letter)?;
            if option.get_action().takes_values() {
                return Some((option, at + letter.len_utf8()));
            }
        }
        None
    }

    fn long(&self, name: &str) -> Option<&'a Arg> {
        let mut arguments = self.command.get_arguments();
        arguments.find(|argument| argument.get_long() == Some(name))
    }

    fn short(&self, letter: char) -> Option<&'a Arg> {
        let mut arguments = self.command.get_arguments();
        arguments.find(|argument| argument.get_short() == Some(letter))
    }

    /// The argument that is next; the last one may take all the rest.
    fn positional(&self) -> Option<&'a Arg> {
        let shown = |argument: &&Arg| !argument.is_hide_set();
        let all: Vec<_> = self.command.get_positionals().filter(shown).collect();
        let repeated = |argument: &&&Arg| matches!(argument.get_action(), ArgAction::Append);
        let next = all.get(self.positionals);
        next.or_else(|| all.last().filter(repeated)).copied()
    }

    fn last(self, word: &'a str) -> Typed<'a> {
        let (next, stays) = self.next(word);
        Typed {
            command: self.command,
            given: self.given,
            next,
            stays: &word[..stays],
            begun: &word[stays..],
        }
    }

    /// What the begun word is, and where the part of it begins that is to be completed.
    fn next(&self, word: &str) -> (Next<'a>, usize) {
        if let Some(option) = self.expected {
            return (Next::Value(option), 0);
        }
        if word.starts_with('-') && word != "-" && !self.options_ended {
            if let Some((name, _)) = word
                .strip_prefix("--")
                .and_then(|long| long.split_once('='))
            {
                let value = |option| (Next::Value(option), "--".len() + name.len() + "=".len());
                return self.long(name).map_or((Next::Nothing, 0), value);
            }
            if !word.starts_with("--") {
                if let Some((option, stays)) = self.short_with_value(word) {
                    return (Next::Value(option), stays);
                }
            }
            return (Next::Option, 0);
        }
        if word == "-" && !self.options_ended {
            return (Next::Option, 0);
        }
        if self.positionals == 0 && self.command.has_subcommands() {
            return (Next::Subcommand, 0);
        }
        if self.help {
            return (Next::Nothing, 0);
        }
        match self.positional() {
            Some(argument) => (Next::Value(argument), 0),
            None if self.options_ended => (Next::Nothing, 0),
            None => (Next::Option, 0),
        }
    }
}
