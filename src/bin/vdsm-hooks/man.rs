// SPDX-License-Identifier: GPL-2.0-or-later

//! `vdsm-hooks man`: manual pages, made from the definition of the command line and from the
//! descriptions of the hooks.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use vdsm_hooks::hook::manifest::{Manifest, Property, Scope};
use vdsm_hooks::paths::HOOKS;
use vdsm_hooks::{Context as _, Result};

use crate::{catalog, json, show};

mod date;
mod notes;

use notes::Note;

/// Write all man pages into a directory
#[derive(clap::Args)]
#[command(after_help = "Example:\n  vdsm-hooks man /tmp/man && man /tmp/man/vdsm-hook-cpuflags.8")]
pub(crate) struct Arguments {
    /// Directory for the pages, made if it is not there
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// Writes the pages.
pub(crate) fn run(arguments: &Arguments, tool: clap::Command) -> Result<ExitCode> {
    let directory = &arguments.directory;
    fs::create_dir_all(directory).context(directory.display())?;
    for (name, page) in pages(&catalog::all()?, tool)? {
        let file = directory.join(name);
        fs::write(&file, page).context(file.display())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The pages of the tool and of these hooks: names of files, and texts.
pub(crate) fn pages(hooks: &[Manifest], tool: clap::Command) -> Result<Vec<(String, String)>> {
    let mut tool = tool.disable_help_subcommand(true);
    tool.build();
    let mut pages = Vec::new();
    add_commands(&tool, &mut pages)?;
    pages.push((format!("{}.7", json::page::NAME), json_page()));
    for hook in hooks {
        pages.push((format!("vdsm-hook-{}.8", hook.name), hook_page(hook)));
    }
    let tidied = pages.into_iter().map(|(name, page)| (name, tidy(&page)));
    Ok(tidied.collect())
}

/// Adds the page of a command, and those of its subcommands.
fn add_commands(command: &clap::Command, pages: &mut Vec<(String, String)>) -> Result {
    for subcommand in command.get_subcommands() {
        add_commands(subcommand, pages)?;
    }
    let name = command.get_display_name().unwrap_or("vdsm-hooks");
    pages.push((format!("{name}.1"), command_page(command, name)?));
    Ok(())
}

/// The first lines of a page.
fn title(name: &str, chapter: u8) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let name = name.to_uppercase();
    let date = date::of_release();
    // Words are not drawn apart, nor are they broken: they are what somebody types.
    format!(
        ".TH \"{name}\" {chapter} \"{date}\" \"vdsm-hooks {version}\" \"vdsm-hooks\"\n.nh\n.ad l\n"
    )
}

fn command_page(command: &clap::Command, name: &str) -> Result<String> {
    let man = Man::new(command.clone());
    let mut generated = Vec::new();
    man.render_name_section(&mut generated)?;
    man.render_synopsis_section(&mut generated)?;
    let mut page = Page::default();
    let notes = command.get_after_long_help().or(command.get_after_help());
    let notes = notes.map(ToString::to_string).unwrap_or_default();
    let notes = notes::parse(&notes);
    // What the name says is not said again.
    let summary = command.get_about().map(ToString::to_string);
    let long = command.get_long_about().map(ToString::to_string);
    let long = long.unwrap_or_default();
    let description = long.trim_start_matches(summary.unwrap_or_default().as_str());
    let beginning = notes.iter().take_while(|note| !note.is_head());
    let described = notes::parse(description.trim());
    let described: Vec<&Note> = described.iter().chain(beginning).collect();
    if !described.is_empty() {
        page.section("DESCRIPTION");
        page.notes(described.iter().copied());
    }
    let mut options = Vec::new();
    man.render_options_section(&mut options)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut options)?;
    }
    let mut rest = Page::default();
    let mut in_notes = false;
    for note in notes.iter().skip_while(|note| !note.is_head()) {
        match note {
            Note::Head(head) if notes::is_section(head) => rest.section(&head.to_uppercase()),
            Note::Head(head) => {
                if !std::mem::replace(&mut in_notes, true) {
                    rest.section("NOTES");
                }
                rest.subsection(head);
            }
            note => rest.notes([note]),
        }
    }
    rest.section("SEE ALSO");
    if name == "vdsm-hooks" {
        rest.text([
            roman("The pages of its commands, "),
            bold("vdsm-hook-"),
            italic("name"),
            roman("(8) of each hook, and "),
            bold(json::page::NAME),
            roman("(7)."),
        ]);
    } else if command.get_arguments().any(|one| one.get_id() == "json") {
        rest.text([
            bold("vdsm-hooks"),
            roman("(1), "),
            bold(json::page::NAME),
            roman("(7)"),
        ]);
    } else {
        rest.text([bold("vdsm-hooks"), roman("(1)")]);
    }
    let parts = [generated, page.finish().into_bytes(), options].concat();
    Ok(title(name, 1) + &String::from_utf8_lossy(&parts) + &rest.finish())
}

/// Without what does nothing: requests for a line's end beside an empty line, for a paragraph behind a
/// heading, blanks at the ends of lines, and definitions again and again.
fn tidy(page: &str) -> String {
    let lines: Vec<&str> = page.lines().map(str::trim_end).collect();
    let is_space =
        |line: Option<&&str>| line.is_some_and(|line| line.is_empty() || line.starts_with(".sp"));
    let is_heading = |line: Option<&&str>| {
        line.is_some_and(|line| line.starts_with(".SH") || line.starts_with(".SS"))
    };
    let mut tidied: Vec<&str> = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let is_idle = match *line {
            ".br" => is_space(lines.get(number + 1)) || is_space(tidied.last()),
            ".PP" => is_heading(tidied.last()),
            line => line.contains(".ds Aq") && tidied.contains(&line),
        };
        if !is_idle {
            tidied.push(line);
        }
    }
    tidied.join("\n") + "\n"
}

fn json_page() -> String {
    let mut page = Page::default();
    json::page::manual(&mut page);
    title(json::page::NAME, 7) + &page.finish()
}

fn hook_page(hook: &Manifest) -> String {
    let name = format!("vdsm-hook-{}", hook.name);
    let mut page = Page::default();
    page.section("NAME");
    page.text([roman(format!("{name} - {}", hook.summary))]);

    page.section("SYNOPSIS");
    let files = hook.events.iter().map(|event| {
        let file = hook.installed_as(event);
        format!("{HOOKS}/{}/{file}", event.event)
    });
    page.as_is(&files.collect::<Vec<_>>().join("\n"));

    page.section("DESCRIPTION");
    page.text([roman(
        "VDSM runs this program by itself, without arguments.",
    )]);
    page.text([roman(when_it_acts(hook))]);
    if let Some(package) = &hook.replaces {
        page.text([roman(format!("It replaces VDSM's own {package}."))]);
    }
    if let Some(retired) = &hook.retired {
        page.text([roman(format!("{retired}."))]);
    }

    page.section("EVENTS");
    for event in &hook.events {
        page.tagged([bold(event.event.as_str())], &event.effect);
    }

    if !hook.properties.is_empty() {
        properties(&mut page, hook);
    }
    commands_and_files(&mut page, hook);
    usage(&mut page, hook);
    title(&name, 8) + &page.finish()
}

/// What turns the hook on.
fn when_it_acts(hook: &Manifest) -> &'static str {
    let is_of_host = |property: &Property| matches!(property.scope, Scope::Host | Scope::VdsmConf);
    if hook.unasked && hook.properties.is_empty() {
        "It has no property, and acts unasked."
    } else if hook.unasked {
        "It acts unasked, also where none of its properties is set."
    } else if hook.properties.iter().all(is_of_host) {
        "Without its setting it does nothing."
    } else if hook.properties.len() == 1 {
        "Without its property it does nothing."
    } else {
        "Without one of its properties it does nothing."
    }
}

fn properties(page: &mut Page, hook: &Manifest) {
    page.section("PROPERTIES");
    for property in &hook.properties {
        let tag = [bold(property.name.as_str()), roman("="), italic("value")];
        page.tagged(tag, &format!("{}: {}.", property.scope, property.syntax));
        if let Some(regex) = &property.regex {
            page.line_break();
            let regex = Page::breakable(regex);
            page.text([roman(format!("Regular expression for the engine: {regex}"))]);
        }
        page.line_break();
        page.text([roman(format!(
            "Example: {}={}",
            property.name,
            Page::breakable(&property.example)
        ))]);
    }
}

fn commands_and_files(page: &mut Page, hook: &Manifest) {
    if !hook.commands.is_empty() || !hook.sudo.is_empty() {
        page.section("COMMANDS");
        for command in &hook.commands {
            page.tagged([bold(command.as_str())], "Run as the hook's own user.");
        }
        for command in &hook.sudo {
            let command = Page::breakable(command);
            page.tagged([bold(command)], "Run as root, through sudo.");
        }
    }

    if !hook.helpers.is_empty() || !hook.daemons.is_empty() || !hook.files.is_empty() {
        page.section("FILES");
        for helper in show::helpers(hook) {
            page.tagged([bold(helper)], "Runs as root, for the hook.");
        }
        for daemon in show::daemons(hook) {
            page.tagged([bold(daemon)], "A daemon, which systemd runs.");
        }
        for file in &hook.files {
            let text = format!("Installed with the hook, mode {}.", file.mode);
            page.tagged([bold(file.path.as_str())], &text);
        }
    }
}

fn usage(page: &mut Page, hook: &Manifest) {
    page.section("EXAMPLE");
    page.text([roman("What it would do to a VM, tried on a copy:")]);
    page.example(&show::dry_run(hook).unwrap_or_default());
    page.paragraph(if hook.properties.is_empty() {
        "The same as this page says, and more:"
    } else {
        "How its properties are set:"
    });
    page.example(&format!("vdsm-hooks show {}", hook.name));

    page.section("EXIT STATUS");
    for (status, meaning) in [
        ("0", "Success, or nothing to do."),
        ("1", "Failed; VDSM runs the other hooks of the event."),
        ("2", "Failed; VDSM skips the other hooks of the event."),
    ] {
        page.tagged([bold(status)], meaning);
    }

    page.section("ENVIRONMENT");
    let levels = "What is said on standard error: error, warn (the default), info or debug.";
    page.tagged([bold("VDSM_HOOK_LOG")], levels);

    page.section("SEE ALSO");
    for (name, end) in [
        ("vdsm-hooks", "(1),"),
        ("vdsm-hooks-engine-config", "(1),"),
        ("vdsm-hooks-run", "(1),"),
        ("vdsm-hooks-show", "(1)"),
    ] {
        page.text([bold(name), roman(end)]);
    }
}

/// Sections of a page.
#[derive(Default)]
pub(crate) struct Page(Roff);

/// Stands where a word may be broken, until the page is finished.
const MAY_BREAK: char = '\u{200b}';

/// So long are lines that stay as they are at most, that they fit into 80 columns with what stands
/// before them.
const MAX_COLUMNS: usize = 70;

impl Page {
    pub(crate) fn section(&mut self, title: &str) {
        self.0.control("SH", [title]);
    }

    fn subsection(&mut self, title: &str) {
        self.0.control("SS", [title]);
    }

    pub(crate) fn text<const N: usize>(&mut self, inlines: [Inline; N]) {
        self.0.text(inlines);
    }

    pub(crate) fn paragraph(&mut self, text: &str) {
        self.0.control("PP", []);
        self.text([roman(text)]);
    }

    fn line_break(&mut self) {
        self.0.control("br", []);
    }

    /// Lines that stay as they are.
    fn as_is(&mut self, text: &str) {
        self.0.control("nf", []);
        for line in text.lines() {
            self.text([roman(line)]);
        }
        self.0.control("fi", []);
    }

    /// A command, set in; a long one goes on in the next line.
    pub(crate) fn example(&mut self, command: &str) {
        self.0.control("PP", []);
        self.0.control("RS", ["2"]);
        self.as_is(&folded(command));
        self.0.control("RE", []);
    }

    pub(crate) fn tagged<const N: usize>(&mut self, tag: [Inline; N], text: &str) {
        self.0.control("TP", []);
        self.text(tag);
        self.text([roman(text)]);
    }

    fn notes<'n>(&mut self, notes: impl IntoIterator<Item = &'n Note>) {
        for note in notes {
            match note {
                Note::Head(head) => self.subsection(head),
                Note::Text(text) => self.paragraph(text),
                Note::Lines(lines) => {
                    self.0.control("PP", []);
                    self.0.control("RS", ["2"]);
                    self.as_is(lines);
                    self.0.control("RE", []);
                }
                Note::Tagged(tag, text) => self.tagged([bold(tag.as_str())], text),
            }
        }
    }

    /// A long word that may go on in the next line behind signs between its parts.
    pub(crate) fn breakable(word: &str) -> String {
        let mut text = String::new();
        for c in word.chars() {
            text.push(c);
            if "|)],.;/+*".contains(c) {
                text.push(MAY_BREAK);
            }
        }
        text
    }

    fn finish(&self) -> String {
        self.0.to_roff().replace(MAY_BREAK, "\\:")
    }
}

/// A command in lines that are not too long, as a shell takes them: broken before options.
fn folded(command: &str) -> String {
    let mut is_quoted = false;
    let mut words: Vec<String> = Vec::new();
    for part in command.split(' ') {
        match words.last_mut() {
            Some(word) if is_quoted || !part.starts_with('-') => {
                word.push(' ');
                word.push_str(part);
            }
            _ => words.push(part.to_owned()),
        }
        is_quoted ^= part.matches('\'').count() % 2 == 1;
    }
    let mut lines = vec![String::new()];
    for word in words {
        let line = lines.last().map_or(0, |line| line.chars().count());
        if line > 0 && line + 3 + word.chars().count() > MAX_COLUMNS {
            lines.push(format!("    {word}"));
        } else if let Some(last) = lines.last_mut() {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(&word);
        }
    }
    lines.join(" \\\n")
}
