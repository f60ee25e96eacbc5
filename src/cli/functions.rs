//! `functions`: what templates can call, with examples.

mod component;

use std::fmt::Write as _;

use serde::Serialize;

use super::args::Functions;
use super::ask::{print, print_json};
use super::say;
use crate::exit::Exit;
use crate::template::catalog::{Sample, Section, Sort, components, sections};
use crate::template::entry::{Argument, Default, Entry};
use crate::template::{did_you_mean, foreign_name, plain};

/// How wide the calls of the list are; a longer one pushes away what it gives.
const CALL: usize = 40;

/// Writes all that there is, or what has this name.
pub(super) fn run(options: &Functions) -> Exit {
    let (mut sections, mut components) = (sections(), components());
    if let Some(name) = &options.name {
        for section in &mut sections {
            section.entries.retain(|entry| entry.name == *name);
        }
        sections.retain(|section| !section.entries.is_empty());
        components.retain(|component| component.name == *name);
        if sections.is_empty() && components.is_empty() {
            say::error(format_args!(
                "there is no function, filter, test or component `{name}`\n  = hint: {}",
                instead_of(name)
            ));
            return Exit::Usage;
        }
    }
    let printed = if options.source {
        let Some(component) = components.first() else {
            let name = options.name.as_deref().unwrap_or_default();
            say::error(format_args!(
                "`{name}` is part of the program, and no template\n  = hint: `--source` is for components; \
                 `liveconf functions` lists them"
            ));
            return Exit::Usage;
        };
        print(component.source)
    } else if options.json {
        let components = components.iter().map(|component| AnyRecord::Component(component::record(component)));
        print_json(&sections.iter().flat_map(records).map(AnyRecord::Entry).chain(components).collect::<Vec<_>>())
    } else if options.name.is_some() {
        print(&sections.iter().map(whole).chain(components.iter().map(component::whole)).collect::<Vec<_>>().join("\n"))
    } else {
        print(&sections.iter().map(list).chain(component::list(&components)).collect::<Vec<_>>().join("\n"))
    };
    printed.err().unwrap_or(Exit::Done)
}

/// Words of the language that are no functions, and how they stand in a template.
const WORDS: &[(&str, &str)] = &[
    ("and", "{% if a and b %}"),
    ("else", "{% if a %}...{% else %}...{% endif %}"),
    ("for", "{% for name in list %}...{% endfor %}"),
    ("if", "{% if a %}...{% endif %}"),
    ("is", "{% if a is defined %}"),
    ("not", "{% if not a %}"),
    ("or", "{% if a or b %}"),
];

/// What somebody may have meant by a name that is not there.
fn instead_of(name: &str) -> String {
    if let Some((_, example)) = WORDS.iter().find(|(word, _)| *word == name) {
        return format!("`{name}` is a word of the language: `{example}`");
    }
    let components = components();
    let of_program = components.iter().filter(|component| component.program() == name);
    let called_so = components.iter().filter(|component| component.name.split('.').any(|part| part == name));
    let near: Vec<String> = called_so.map(|component| format!("`{}`", component.name)).collect();
    if !near.is_empty() {
        let what = if of_program.count() > 0 { "the components for it are" } else { "did you mean the component" };
        return format!("{what} {}", near.join(", "));
    }
    let entries = sections().into_iter().flat_map(|section| section.entries).map(|entry| entry.name);
    let names = entries.chain(components.iter().map(|component| component.name));
    foreign_name(name)
        .or_else(|| did_you_mean(name, names))
        .unwrap_or_else(|| "`liveconf functions` lists all that there is".to_owned())
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
            let (with, sample) = match section.sample() {
                Sample::Registry(sample) => ("the registry", sample),
                Sample::Fixture(sample) => ("a registry `names` of kind `dns`, or with the fixture", sample),
            };
            let _ = writeln!(text, "\nwith {with}\n\n{}", indented(sample.trim_end()));
        }
        text
    };
    section.entries.iter().map(one).collect::<Vec<_>>().join("\n")
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

/// What is told of a name, for editors.
#[derive(Serialize)]
#[serde(untagged)]
enum AnyRecord<'c> {
    Entry(Record),
    Component(component::Record<'c>),
}

/// An entry for editors.
#[derive(Serialize)]
struct Record {
    sort: &'static str,
    group: &'static str,
    name: &'static str,
    signature: String,
    arguments: Vec<ArgumentRecord<'static>>,
    takes: Vec<&'static str>,
    gives: &'static str,
    empty: &'static str,
    example: &'static str,
    output: &'static str,
}

/// An argument for editors; `default` is written as in a template.
#[derive(Serialize)]
struct ArgumentRecord<'c> {
    name: &'c str,
    required: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<&'c str>,
    /// What it takes, where that is told of each argument.
    #[serde(skip_serializing_if = "Option::is_none")]
    takes: Option<&'c str>,
    /// The same of what it means.
    #[serde(skip_serializing_if = "Option::is_none")]
    meaning: Option<&'c str>,
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
        takes: None,
        meaning: None,
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
    fn a_word_of_the_language_is_no_function_of_another_tool() {
        assert_eq!(instead_of("not"), "`not` is a word of the language: `{% if not a %}`");
        let there: Vec<_> =
            sections().into_iter().flat_map(|section| section.entries).map(|entry| entry.name).collect();
        assert!(WORDS.iter().all(|(word, _)| !there.contains(word)));
    }

    #[test]
    fn markdown_becomes_text() {
        assert_eq!(plain("a [b c](#d), `[e]` ([f](g))"), "a b c, `[e]` (f)");
    }
}
