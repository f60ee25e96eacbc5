//! Names that people bring along from other template languages, and what they are called here.

mod call;
mod go;
mod habit;
mod old;
mod ruby;
mod tag;

use std::sync::LazyLock;

use super::catalog::{Sort, sections};
use super::entry::Entry;
use crate::reference::table::{COMING_FROM, Row};

pub(super) use habit::{Advice, advice};
pub(super) use old::old_tags;
pub(super) use ruby::of_ruby;

/// What Jinja, Liquid and Tera 1 call functions and filters. Those of tools have rows on the page.
const OTHERS: &[(&str, &str)] = &[
    ("count", "`length`"),
    ("d", "`default(value=...)`"),
    ("downcase", "`lower`"),
    ("get_env", "`env(name=..., default=...)`"),
    ("json_encode", "`to_json`"),
    ("namespace", "`{% set_global name = value %}`, which keeps what a loop sets,"),
    ("select", "`where(attribute=...)`"),
    ("selectattr", "`where(attribute=...)`"),
    ("size", "`length`"),
    ("string", "`str`"),
    ("strip", "`trim`"),
    ("upcase", "`upper`"),
];

/// The rows of the page for those who come from other tools, which is read once.
fn rows() -> &'static [Row<'static>] {
    static ROWS: LazyLock<Vec<Row<'static>>> = LazyLock::new(|| crate::reference::table::rows(COMING_FROM));
    &ROWS
}

/// What stands here for the name of a function, filter or test that is unknown as such: something of another sort, or what
/// another language calls so.
pub(super) fn translated(sort: Sort, name: &str) -> Option<String> {
    of_another_sort(sort, name).or_else(|| translated_name(name))
}

/// The same for a name of which the sort is not known.
pub(crate) fn translated_name(name: &str) -> Option<String> {
    let other = || OTHERS.iter().find(|(foreign, _)| *foreign == name);
    hint_of(name).or_else(|| other().map(|(_, own)| format!("it is {own} here")))
}

/// `split` is a filter: `...`, for what is no function.
fn of_another_sort(sort: Sort, name: &str) -> Option<String> {
    let found = |sort: Sort| sections().into_iter().filter(move |section| section.sort == sort);
    let entry = |sort: Sort| found(sort).flat_map(|section| section.entries).find(|entry| entry.name == name);
    let sorts = [Sort::Function, Sort::Filter, Sort::Test].into_iter().filter(|other| *other != sort);
    let (other, Entry { example, .. }) =
        sorts.map(|other| (other, entry(other))).find_map(|(other, entry)| Some((other, entry?)))?;
    Some(format!("`{name}` is a {}: `{example}`", other.as_str()))
}

/// Whether one of the tools has a function of this name.
fn is_foreign(name: &str) -> bool {
    rows().iter().any(|row| is_about(row, name))
}

/// What the page for those who come from other tools says of a name.
fn hint_of(name: &str) -> Option<String> {
    let mut told: Vec<(Vec<&str>, String, Vec<String>)> = Vec::new();
    for row in rows().iter().filter(|row| is_about(row, name)) {
        let [_, here, note @ ..] = &row.cells[..] else { continue };
        let note = note.first().map(String::as_str).unwrap_or_default();
        // A tool may only refer to another.
        if note == "as for confd" {
            continue;
        }
        let tool = if row.table == "there" { "Go templates" } else { row.heading };
        // Examples of one call may differ in what they are given.
        let call = |here: &str| here.split(['"', '\'']).step_by(2).collect::<String>();
        let index = told.iter().position(|(_, before, _)| call(before) == call(here)).unwrap_or_else(|| {
            told.push((Vec::new(), here.clone(), Vec::new()));
            told.len() - 1
        });
        let (tools, _, notes) = &mut told[index];
        tools.push(tool);
        let note = plain(note);
        if !note.is_empty() && !notes.contains(&note) {
            notes.push(note);
        }
    }
    let sentence = |(tools, here, notes): &(Vec<&str>, String, Vec<String>)| {
        let note = notes.join("; ");
        let note = if note.is_empty() { note } else { format!("; {note}") };
        let name = format!("`{name}` of {}", listed(tools));
        match here.as_str() {
            "**not supported**" => format!("{name} is not supported{}", note.replacen("; ", ": ", 1)),
            "waits for its registry" => format!("{name} is not here yet{}", note.replacen("; ", ": ", 1)),
            here => format!("{name} is {} here{note}", plain(here)),
        }
    };
    let sentences: Vec<String> = told.iter().map(sentence).collect();
    (!sentences.is_empty()).then(|| sentences.join("; "))
}

/// What the page says of a field such as `.Checks.AggregatedStatus`, by its names.
fn hint_of_field(names: &[&str]) -> Option<String> {
    let written = format!(".{}", names.join("."));
    let begins =
        |text: &str, with: &str| text.strip_prefix(with).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    let codes = || rows().iter().flat_map(|row| row.codes(0).into_iter().map(move |code| (code, row)));
    let whole = codes().find(|(code, _)| code.starts_with('.') && begins(&written, code));
    let (code, row) = whole.or_else(|| codes().find(|(code, _)| begins(code, &format!(".{}", names[0]))))?;
    let note = row.cells.get(2).map(|note| plain(note)).filter(|note| !note.is_empty());
    let note = note.map_or_else(String::new, |note| format!("; {note}"));
    Some(format!("`{code}` is {} here{note}", plain(row.cells.get(1)?)))
}

/// What the page says of a name that stands alone, as those functions do that take nothing.
pub(super) fn hint_of_word(name: &str) -> Option<String> {
    const ALONE: &[&str] = &["caRoots", "datetime", "hostname", "nomadServices", "partitions", "peerings", "timestamp"];
    ALONE.contains(&name).then(|| hint_of(name)).flatten()
}

/// Whether a row tells of a function by its name, or by a call such as `printf "/app/%s"`.
fn is_about(row: &Row<'_>, name: &str) -> bool {
    row.codes(0).into_iter().any(|code| code == name || code.split(' ').next() == Some(name))
}

/// The filters that a function is here, where the page shows it as one: `base64_decode(url=true)`.
fn chain_of(name: &str) -> Option<String> {
    let row = rows().iter().find(|row| row.codes(0).contains(&name))?;
    let shown = row.codes(1).first()?.strip_prefix("{{ ")?.strip_suffix(" }}")?;
    Some(shown.split_once(" | ")?.1.to_owned())
}

/// Names with "and" before the last.
fn listed(names: &[&str]) -> String {
    match names {
        [before @ .., last] if !before.is_empty() => format!("{} and {last}", before.join(", ")),
        _ => names.concat(),
    }
}

/// Markdown as plain text: links without their addresses.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, link)) = rest.split_once("](") {
        let (before, linked) = before.rsplit_once('[').unwrap_or((before, ""));
        plain.extend([before, linked]);
        rest = link.split_once(')').map_or("", |(_, after)| after);
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::super::filter::filters;
    use super::super::function::functions;
    use super::*;

    #[test]
    fn what_is_advised_is_there_and_what_is_translated_is_not() {
        let known: Vec<_> =
            functions().map(|function| function.entry.name).chain(filters().map(|filter| filter.entry.name)).collect();
        assert!(OTHERS.is_sorted_by_key(|(foreign, _)| *foreign));
        for (foreign, own) in OTHERS {
            let name = own.trim_matches('`').split('(').next().unwrap();
            assert!(known.contains(&name) || own.contains("{%"), "{foreign}: {own}");
            assert!(!known.contains(foreign) && !is_foreign(foreign), "{foreign}");
        }
    }

    #[test]
    fn markdown_becomes_text() {
        assert_eq!(plain("a [b c](#d), `[e]` ([f](g))"), "a b c, `[e]` (f)");
    }
}
