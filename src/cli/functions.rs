//! `functions`: what templates can call, with examples.

use std::fmt::Write as _;

use serde::Serialize;

use super::args::Functions;
use super::ask::{print, print_json};
use super::say;
use crate::exit::Exit;
use crate::template::catalog::{SAMPLE, Section, Sort, sections};
use crate::template::entry::{Argument, Default, Entry};
use crate::template::{did_you_mean, foreign_name, plain};

/// How wide the calls of the list are; a longer one pushes away what it gives.
const CALL: usize = 40;

/// Writes all that there is, or what has this name.
pub(super) fn run(options: &Functions) -> Exit {
    let mut sections = sections();
    if let Some(name) = &options.name {
        let known: Vec<&str> = sections.iter().flat_map(|section| &section.entries).map(|entry| entry.name).collect();
        if !known.contains(&name.as_str()) {
            let hint = foreign_name(name).or_else(|| did_you_mean(name, known));
            let hint = hint.unwrap_or_else(|| "`liveconf functions` lists all that there is".to_owned());
            say::error(format_args!("there is no function, filter or test `{name}`\n  = hint: {hint}"));
            return Exit::Usage;
        }
        for section in &mut sections {
            section.entries.retain(|entry| entry.name == *name);
        }
        sections.retain(|section| !section.entries.is_empty());
    }
    let printed = match (options.json, &options.name) {
        (true, _) => print_json(&sections.iter().flat_map(records).collect::<Vec<_>>()),
        (false, Some(_)) => print(&sections.iter().map(whole).collect::<Vec<_>>().join("\n")),
        (false, None) => print(&sections.iter().map(list).collect::<Vec<_>>().join("\n")),
    };
    printed.err().unwrap_or(Exit::Done)
}

/// The entries of a section, one a line.
fn list(section: &Section) -> String {
    let before = if section.sort == Sort::Filter { "| " } else { "" };
    let mut text = format!("{} ({}s)\n", section.name, section.sort.as_str());
    for entry in &section.entries {
        let call = format!("{before}{}", entry.signature());
        let gives = entry.gives.split(';').next().unwrap_or_default();
        let _ = writeln!(text, "  {call:CALL$}  {}", plain(gives));
    }
    text
}

/// All that is told of the entries of a section.
fn whole(section: &Section) -> String {
    let one = |entry: &&Entry| {
        let Entry { name, arguments, takes, gives, empty, example, output } = entry;
        let before = match section.sort {
            Sort::Function => "",
            Sort::Filter => "VALUE | ",
            Sort::Test => "VALUE is ",
        };
        let (gives_what, of_nothing) = match section.sort {
            Sort::Function => ("gives", "not there, or empty"),
            Sort::Filter => ("gives", "of what is empty"),
            Sort::Test => ("true for", "of what is empty"),
        };
        let mut text =
            format!("{before}{}\n  {} `{name}`, of: {}\n", entry.signature(), section.sort.as_str(), section.name);
        if !takes.is_empty() {
            let _ = writeln!(text, "  takes: {takes}; anything else fails the render");
        }
        let _ = writeln!(text, "  {gives_what}: {}\n  {of_nothing}: {}", plain(gives), plain(empty));
        let required: Vec<&str> =
            arguments.iter().filter(|it| it.default == Default::Required).map(|it| it.name).collect();
        if !required.is_empty() {
            let _ = writeln!(text, "  must be given: {}", required.join(", "));
        }
        let _ = writeln!(text, "\n  {example}\n\ngives\n\n{}", indented(output));
        if section.sort == Sort::Function {
            let _ = writeln!(text, "\nwith the registry\n\n{}", indented(SAMPLE.trim_end()));
        }
        text
    };
    section.entries.iter().map(one).collect::<Vec<_>>().join("\n")
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

/// An entry for editors.
#[derive(Serialize)]
struct Record {
    sort: &'static str,
    group: &'static str,
    name: &'static str,
    signature: String,
    arguments: Vec<ArgumentRecord>,
    takes: Vec<&'static str>,
    gives: &'static str,
    empty: &'static str,
    example: &'static str,
    output: &'static str,
}

/// An argument for editors; `default` is written as in a template.
#[derive(Serialize)]
struct ArgumentRecord {
    name: &'static str,
    required: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<&'static str>,
}

fn records(section: &Section) -> Vec<Record> {
    let (sort, group) = (section.sort.as_str(), section.name);
    let argument = |&Argument { name, default }: &Argument| ArgumentRecord {
        name,
        required: default == Default::Required,
        default: match default {
            Default::Written(written) => Some(written),
            Default::Required | Default::None => None,
        },
    };
    let record = |entry: &&'static Entry| Record {
        sort,
        group,
        name: entry.name,
        signature: entry.signature(),
        arguments: entry.arguments.iter().map(argument).collect(),
        takes: entry.takes.split(", ").filter(|takes| !takes.is_empty()).collect(),
        gives: entry.gives,
        empty: entry.empty,
        example: entry.example,
        output: entry.output,
    };
    section.entries.iter().map(record).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_becomes_text() {
        assert_eq!(plain("a [b c](#d), `[e]` ([f](g))"), "a b c, `[e]` (f)");
    }
}
