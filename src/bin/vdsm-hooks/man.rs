// SPDX-License-Identifier: GPL-2.0-or-later

//! `vdsm-hooks man`: manual pages, made from the definition of the command line and from the
//! descriptions of the hooks.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use vdsm_hooks::hook::manifest::Manifest;
use vdsm_hooks::paths::HOOKS;
use vdsm_hooks::{Context as _, Result};

use crate::{catalog, show};

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
    for hook in hooks {
        pages.push((format!("vdsm-hook-{}.8", hook.name), hook_page(hook)));
    }
    Ok(pages)
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

/// The first line of a page. It has no date: that of the build would make every build differ.
fn title(name: &str, chapter: u8) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let name = name.to_uppercase();
    format!(".TH \"{name}\" {chapter} \"\" \"vdsm-hooks {version}\" \"vdsm-hooks\"\n")
}

fn command_page(command: &clap::Command, name: &str) -> Result<String> {
    let man = Man::new(command.clone());
    let mut generated = Vec::new();
    man.render_name_section(&mut generated)?;
    man.render_synopsis_section(&mut generated)?;
    man.render_description_section(&mut generated)?;
    man.render_options_section(&mut generated)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut generated)?;
    }
    let generated = String::from_utf8_lossy(&generated).into_owned();
    let mut page = Page::default();
    let notes = command.get_after_long_help().or(command.get_after_help());
    if let Some(notes) = notes {
        page.section("NOTES");
        page.as_is(&notes.to_string());
    }
    page.section("SEE ALSO");
    if name == "vdsm-hooks" {
        page.text([roman("The pages of its commands, and")]);
        page.text([
            bold("vdsm-hook-"),
            italic("name"),
            roman("(8) of each hook."),
        ]);
    } else {
        page.text([bold("vdsm-hooks"), roman("(1)")]);
    }
    Ok(title(name, 1) + &generated + &page.finish())
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
    page.text([roman("Without its property it does nothing.")]);
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

    properties(&mut page, hook);
    commands_and_files(&mut page, hook);
    usage(&mut page, hook);
    title(&name, 8) + &page.finish()
}

fn properties(page: &mut Page, hook: &Manifest) {
    page.section("PROPERTIES");
    for property in &hook.properties {
        let tag = [bold(property.name.as_str()), roman("="), italic("value")];
        page.tagged(tag, &format!("{}: {}.", property.scope, property.syntax));
        if let Some(regex) = &property.regex {
            page.line_break();
            page.text([roman(format!("Regular expression for the engine: {regex}"))]);
        }
        page.line_break();
        page.text([roman(format!(
            "Example: {}={}",
            property.name, property.example
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
            page.tagged([bold(command.as_str())], "Run as root, through sudo.");
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
    page.as_is(&format!(
        "\n    {}\n\n",
        show::dry_run(hook).unwrap_or_default()
    ));
    page.text([roman("How its properties are set:")]);
    page.as_is(&format!("\n    vdsm-hooks show {}", hook.name));

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
struct Page(Roff);

impl Page {
    fn section(&mut self, title: &str) {
        self.0.control("SH", [title]);
    }

    fn text<const N: usize>(&mut self, inlines: [Inline; N]) {
        self.0.text(inlines);
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

    fn tagged<const N: usize>(&mut self, tag: [Inline; N], text: &str) {
        self.0.control("TP", []);
        self.text(tag);
        self.text([roman(text)]);
    }

    fn finish(&self) -> String {
        self.0.to_roff()
    }
}
