// SPDX-License-Identifier: GPL-2.0-or-later

//! The tables of hooks in `README.md` and `docs/compared.md` follow from the hooks' folders, between
//! two comments each. `UPDATE=1` writes them; without it the test shows what is to be written.

use std::fs;

use similar::TextDiff;
use vdsm_hooks::hook::manifest::{Group, Manifest, Scope};

use super::{hooks, read, read_of, root};

/// Where a hook's page says how it differs from what VDSM shipped.
const COMPARISON: &str = "\n## Beside VDSM's own\n\n";

struct Table {
    file: &'static str,
    /// What the comments around it call it.
    name: &'static str,
    columns: &'static [&'static str],
    has: fn(&Manifest) -> bool,
    cells: fn(&Manifest) -> Vec<String>,
}

const TABLES: [Table; 5] = [
    Table {
        file: "README.md",
        name: "today's",
        columns: &["hook", "what it does", "property"],
        has: |hook| hook.group() == Group::Current,
        cells: overview,
    },
    Table {
        file: "README.md",
        name: "retired",
        columns: &["hook", "what it does", "property", "replaced by"],
        has: |hook| hook.group() == Group::Retired,
        cells: overview,
    },
    Table {
        file: "README.md",
        name: "new",
        columns: &["hook", "what it does", "property"],
        has: |hook| hook.group() == Group::New,
        cells: overview,
    },
    Table {
        file: "docs/compared.md",
        name: "today's",
        columns: &["hook", "the same", "better", "refused"],
        has: |hook| has_original(hook) && hook.retired.is_none(),
        cells: comparison,
    },
    Table {
        file: "docs/compared.md",
        name: "retired",
        columns: &["hook", "the same", "better", "refused"],
        has: |hook| has_original(hook) && hook.retired.is_some(),
        cells: comparison,
    },
];

/// Some have theirs in a package that does more, which ours does not replace.
fn has_original(hook: &Manifest) -> bool {
    hook.replaces.is_some() || hook.silences.is_some()
}

fn overview(hook: &Manifest) -> Vec<String> {
    let mut summary = hook.summary.chars();
    let first = summary.next().into_iter().flat_map(char::to_lowercase);
    let mut cells = vec![
        format!("[{0}](hooks/{0}/README.md)", hook.name),
        first.chain(summary).collect(),
        switches(hook),
    ];
    cells.extend(hook.retired.iter().map(|one| one.superseded_by.clone()));
    cells
}

/// The properties that somebody sets for a VM, a network or a device; if there are none, what else
/// switches the hook on.
fn switches(hook: &Manifest) -> String {
    let names = |scopes: &[Scope]| {
        let properties = hook.properties.iter();
        let names = properties.filter(|property| scopes.contains(&property.scope));
        let names: Vec<_> = names
            .map(|property| format!("`{}`", property.name))
            .collect();
        names.join(", ")
    };
    let custom = names(&[Scope::Vm, Scope::Interface, Scope::Disk, Scope::Network]);
    let (engine, conf) = (names(&[Scope::Engine]), names(&[Scope::VdsmConf]));
    if !custom.is_empty() {
        custom
    } else if !engine.is_empty() {
        "set by the engine".to_owned()
    } else if !conf.is_empty() {
        format!("{conf} in vdsm.conf")
    } else {
        "none".to_owned()
    }
}

/// What the hook's page says under [`COMPARISON`], a line each; only the first has to be there.
fn comparison(hook: &Manifest) -> Vec<String> {
    let page = read_of(hook, "README.md");
    let (_, section) = page
        .split_once(COMPARISON)
        .unwrap_or_else(|| panic!("hooks/{}/README.md lacks{COMPARISON}", hook.name));
    let section = section.split("\n#").next().unwrap_or_default();
    let cell = |start: &str| {
        let mut lines = section.lines();
        let text = lines.find_map(|line| line.strip_prefix(start));
        text.unwrap_or_default().trim_end_matches('.').to_owned()
    };
    let same = cell("- The same: ");
    assert!(
        !same.is_empty(),
        "hooks/{}/README.md lacks a line '- The same: …'",
        hook.name
    );
    let (better, refused) = (cell("- Better: "), cell("- Refused: "));
    vec![hook.name.clone(), same, better, refused]
}

fn row(cells: &[String]) -> String {
    let mut row = "|".to_owned();
    for cell in cells {
        assert!(!cell.contains('|'), "a bar in a table: {cell}");
        row += &match cell.as_str() {
            "" => " |".to_owned(),
            cell => format!(" {cell} |"),
        };
    }
    row + "\n"
}

impl Table {
    fn text(&self, hooks: &[Manifest]) -> String {
        let columns: Vec<_> = self.columns.iter().map(|name| (*name).to_owned()).collect();
        let mut text = row(&columns) + "|" + &"---|".repeat(columns.len()) + "\n";
        for hook in hooks.iter().filter(|hook| (self.has)(hook)) {
            text += &row(&(self.cells)(hook));
        }
        text
    }

    /// The page with this table as it should be.
    fn written_into(&self, page: &str, hooks: &[Manifest]) -> String {
        let (file, name) = (self.file, self.name);
        let start = format!(
            "<!-- table: {name}; written by UPDATE=1 cargo test --test suite layout:: -->\n\n"
        );
        let end = format!("\n<!-- end of table: {name} -->\n");
        let (before, rest) = page
            .split_once(&start)
            .unwrap_or_else(|| panic!("{file} lacks the line\n{start}"));
        let (_, after) = rest
            .split_once(&end)
            .unwrap_or_else(|| panic!("{file} lacks the line{end}"));
        [before, &start, &self.text(hooks), &end, after].concat()
    }
}

#[test]
fn tables_of_hooks_follow_from_their_folders() {
    let hooks = hooks();
    let mut differences = String::new();
    for file in ["README.md", "docs/compared.md"] {
        let text = read(file);
        let mut right = text.clone();
        for table in TABLES.iter().filter(|table| table.file == file) {
            right = table.written_into(&right, &hooks);
        }
        if std::env::var_os("UPDATE").is_some() {
            fs::write(root().join(file), right).unwrap();
            continue;
        }
        let difference = TextDiff::from_lines(&text, &right)
            .unified_diff()
            .context_radius(0)
            .header(file, "as it should be")
            .to_string();
        differences += &difference;
    }
    assert!(
        differences.is_empty(),
        "UPDATE=1 cargo test --test suite layout:: would change\n{differences}"
    );
}

#[test]
fn a_summary_fits_wherever_it_stands() {
    for hook in hooks() {
        let (name, summary) = (&hook.name, &hook.summary);
        let place = format!("hooks/{name}/hook.json: summary {summary:?}");
        // rpmlint's bound.
        let length = summary.chars().count();
        assert!(
            length <= 79,
            "{place}: {length} characters, expected at most 79"
        );
        // The tables begin it with a small letter.
        let mut letters = summary.chars();
        let is_verb = letters.next().is_some_and(char::is_uppercase)
            && letters.next().is_some_and(char::is_lowercase);
        assert!(is_verb, "{place}: expected a verb first");
        assert!(!summary.ends_with('.'), "{place}: without a full stop");
    }
}
