//! The reference names every function, filter, test and field, as the code tells of them.

use std::fmt::Write as _;

use super::super::catalog::{SAMPLE, Section, Sort, sections};
use super::super::entry::{Default, Entry};
use super::super::view::FIELDS;
use super::*;
use crate::reference::page::{Row, TEMPLATES, rows, terms};

/// What a value of each type looks like, for what is given to filters that do not take it.
const TYPES: &[(&str, &str)] =
    &[("text", "\"x\""), ("number", "5"), ("truth value", "true"), ("list", "[1]"), ("map", "{\"a\": 1}")];

/// The table of a section as the page has it.
fn table(section: &Section) -> String {
    let columns: &[&str] = match section.sort {
        Sort::Function => &["call", "gives", "not there, or empty", "example", "result"],
        Sort::Filter => &["filter", "takes", "gives", "of what is empty", "example", "result"],
        Sort::Test => &["test", "takes", "true for", "of what is empty", "example", "result"],
    };
    let mut table = format!("| {} |\n|{}\n", columns.join(" | "), "---|".repeat(columns.len()));
    for entry in &section.entries {
        let takes = (section.sort != Sort::Function).then(|| cell(entry.takes));
        let cells = [Some(code(&entry.signature())), takes, Some(cell(entry.gives)), Some(cell(entry.empty))];
        let cells = cells.into_iter().flatten().chain([code(entry.example), code(entry.output)]);
        writeln!(table, "| {} |", cells.collect::<Vec<_>>().join(" | ")).unwrap();
    }
    table
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// Lines of code in a cell.
fn code(text: &str) -> String {
    // A space at the end would be dropped from the source of the page, and one alone is no code.
    let line = |line: &str| if line.trim().is_empty() { String::new() } else { format!("`{}`", line.trim_end()) };
    cell(&text.lines().map(line).collect::<Vec<_>>().join("<br>"))
}

/// The page with the tables of the code; written anew by `LIVECONF_WRITE=1 cargo test --lib reference`.
#[test]
fn the_page_has_the_tables_of_the_code() {
    let mut page = TEMPLATES.to_owned();
    for section in sections() {
        let begin = format!("<!-- {} -->\n", section.name);
        let start = page.find(&begin).unwrap_or_else(|| panic!("templates.md has no line `{}`", begin.trim()));
        let start = start + begin.len();
        let end = start + page[start..].find("<!-- end -->").expect("the end of a table");
        page.replace_range(start..end, &format!("\n{}\n", table(&section)));
    }
    if std::env::var_os("LIVECONF_WRITE").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/reference/templates.md"), page).unwrap();
    } else {
        assert!(
            page == TEMPLATES,
            "`LIVECONF_WRITE=1 cargo test --lib reference` writes the tables of templates.md anew"
        );
    }
    assert!(TEMPLATES.contains(&format!("```yaml\n{SAMPLE}```")), "templates.md shows another registry");
}

#[test]
fn every_entry_is_complete_and_there_once() {
    for section in sections() {
        for entry in &section.entries {
            let Entry { name, gives, empty, example, output, .. } = entry;
            for told in [gives, empty, example] {
                assert!(!told.is_empty() && !told.ends_with('.'), "{name}: {told}");
            }
            let used = match section.sort {
                Sort::Function => format!("{name}("),
                Sort::Filter => format!("| {name}"),
                Sort::Test => format!("is {name}"),
            };
            assert!(example.contains(&used) || *name == "super", "{name}: {example}");
            assert!(!output.contains('`') && !example.contains('`') && !example.contains('\n'), "{name}");
            let of_name = |other: &&Entry| other.name == *name;
            let same = sections().into_iter().filter(|other| other.sort == section.sort);
            assert_eq!(same.flat_map(|other| other.entries).filter(of_name).count(), 1, "{name}");
            let required = entry.arguments.iter().map(|argument| argument.default != Default::Required);
            assert!(required.is_sorted(), "{name}: what must be given comes first");
        }
    }
}

/// The call of a filter or test in its example, with its arguments.
fn call(entry: &Entry, before: &str) -> String {
    let (_, rest) = entry.example.split_once(&format!("{before}{}", entry.name)).unwrap();
    if !rest.starts_with('(') {
        return entry.name.to_owned();
    }
    let mut depth = 0_usize;
    let end = rest.find(|c| {
        depth = match c {
            '(' => depth + 1,
            ')' => depth - 1,
            _ => depth,
        };
        depth == 0
    });
    format!("{}{}", entry.name, &rest[..=end.unwrap()])
}

/// What a filter or test does not take fails the render, and so does what is undefined.
#[test]
fn what_is_of_another_type_is_refused() {
    for section in sections().into_iter().filter(|section| section.sort != Sort::Function) {
        for entry in section.entries {
            let source = |value: &str| match section.sort {
                Sort::Test => format!("{{% if {value} is {} %}}{{% endif %}}", call(entry, "is ")),
                _ => format!("{{{{ {value} | {} }}}}", call(entry, "| ")),
            };
            let takes: Vec<&str> = entry.takes.split(", ").collect();
            let known =
                |name: &&str| ["anything", "also undefined"].contains(name) || TYPES.iter().any(|(t, _)| t == name);
            assert!(takes.iter().all(known), "{}: {takes:?}", entry.name);
            let undefined = Bench::new().render(&source("nothing")).output;
            assert_eq!(undefined.is_ok(), takes.contains(&"also undefined"), "{}: undefined", entry.name);
            for (name, value) in TYPES.iter().filter(|(name, _)| !takes.contains(&"anything") && !takes.contains(name))
            {
                assert!(Bench::new().render(&source(value)).output.is_err(), "{} of a {name}", entry.name);
            }
        }
    }
}

#[test]
fn every_field_is_explained() {
    let fields = Bench::new()
        .service("web", vec![instance("w1", "10.0.0.1", 80)])
        .output("{{ service(name=\"web\") | first | keys | join(sep=\" \") }}");
    assert_eq!(terms(TEMPLATES, "The instance", "field").join(" "), fields);
    let functions: String =
        rows(TEMPLATES).iter().filter(|row| row.table == "call").map(|row| row.cells[1].clone()).collect();
    for field in FIELDS {
        let word = |text: &str| text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == *field);
        assert!(fields.split(' ').any(|known| known == *field) || word(&functions), "{field}");
    }
}

#[test]
fn every_state_is_explained() {
    let rows = rows(TEMPLATES);
    let row = |name: &str| rows.iter().find(|row: &&Row<'_>| row.table == "field" && row.code(0) == name).unwrap();
    assert_eq!(row("status").codes(1), Status::NAMES.map(|(name, _)| name));
}
