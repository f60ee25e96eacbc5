//! The built-in components, as `functions` tells of them.

use std::fmt::Write as _;

use serde::Serialize;

use super::{ArgumentRecord, CALL, indented, plain};
use crate::template::catalog::{Component, ComponentArgument, components_sample};

/// The longest column of names before what they mean.
const NAME: usize = 24;

/// The components, one a line, below their programs.
pub(super) fn list(components: &[Component]) -> Vec<String> {
    components
        .chunk_by(|one, next| one.program() == next.program())
        .map(|group| {
            let mut text = format!("{} (components)\n", group[0].program());
            for component in group {
                let summary = one_line(component.summary);
                let summary = summary.split(": ").next().unwrap_or_default().trim_end_matches('.');
                let _ = writeln!(text, "  {:CALL$}  {summary}", component.call());
            }
            text
        })
        .collect()
}

/// All that is told of one.
pub(super) fn whole(component: &Component) -> String {
    let Component { name, summary, arguments, states, notes, example, output, .. } = component;
    let mut text =
        format!("{}\n  component `{name}`, built in\n  {}\n\n  arguments:\n", component.call(), one_line(summary));
    let width = arguments.iter().map(|argument| argument.name.len()).max().unwrap_or_default();
    for ComponentArgument { name, takes, default, meaning } in arguments {
        let default = default.as_ref().map_or("must be given".to_owned(), |default| format!("default {default}"));
        let _ = writeln!(text, "    {name:width$}  {takes}, {default}: {}", plain(meaning));
    }
    if !states.is_empty() {
        let width =
            states.iter().map(|(state, _)| plain(state).len()).filter(|len| *len < NAME).max().unwrap_or_default();
        text.push_str("\n  what there is, and what becomes of it:\n");
        for (state, becomes) in states {
            let _ = writeln!(text, "    {:width$}  {}", plain(state), plain(becomes));
        }
    }
    for note in notes {
        let _ = write!(text, "\n{}\n", indented(&plain(note)));
    }
    let _ = write!(
        text,
        "\n  {example}\n\ngives\n\n{}\n\nwith the registry\n\n{}\n\n`liveconf functions {name} --source` writes the \
         template that defines it, to be changed\nand included: it goes before the one that is built in.\n",
        indented(output.trim_end()),
        indented(components_sample().trim_end()),
    );
    text
}

/// A component for editors; its first members are those of functions, filters and tests.
#[derive(Serialize)]
pub(super) struct Record<'c> {
    sort: &'static str,
    group: &'static str,
    name: &'static str,
    signature: String,
    arguments: Vec<ArgumentRecord<'c>>,
    takes: [&'static str; 0],
    gives: &'static str,
    /// Of a list without instances or entries.
    empty: &'c str,
    example: &'static str,
    output: &'static str,
    states: Vec<StateRecord<'c>>,
    notes: &'c [&'static str],
}

/// What becomes of instances in a state.
#[derive(Serialize)]
struct StateRecord<'c> {
    state: &'c str,
    becomes: &'c str,
}

pub(super) fn record<'c>(component: &'c Component) -> Record<'c> {
    let argument = |argument: &'c ComponentArgument| ArgumentRecord {
        name: &argument.name,
        required: argument.default.is_none(),
        default: argument.default.as_deref(),
        takes: Some(&argument.takes),
        meaning: Some(&argument.meaning),
    };
    let empty = component.states.iter().find(|(state, _)| state.starts_with("no "));
    Record {
        sort: "component",
        group: component.program(),
        name: component.name,
        signature: component.call(),
        arguments: component.arguments.iter().map(argument).collect(),
        takes: [],
        gives: component.summary,
        empty: empty.map_or("", |(_, becomes)| becomes),
        example: component.example,
        output: component.output,
        states: component.states.iter().map(|(state, becomes)| StateRecord { state, becomes }).collect(),
        notes: &component.notes,
    }
}

/// Markdown over several lines as one.
fn one_line(text: &str) -> String {
    plain(text).split_whitespace().collect::<Vec<_>>().join(" ")
}
