//! Patterns. A match takes time that is linear in the text, whatever the pattern is: the engine is a finite automaton
//! without look-around and without references back to groups. A pattern is compiled once for each render.

use std::sync::Arc;

use regex::{Regex, RegexBuilder};
use tera::Value;

use super::super::arguments::Arguments;
use super::super::entry::{Entry, Group, or, required};
use super::super::record::{Render, Stop};
use super::{Filter, text_of, within_output};

/// How large a compiled pattern may be, in bytes: `\w{1000}` is refused.
const SIZE: usize = 1 << 20;

/// How many compiled patterns a render keeps. Those of a loop over values of a registry may be many.
const KEPT: usize = 64;

/// Patterns.
pub(super) const PATTERNS: Group<Filter> = Group {
    name: "Patterns",
    entries: &[
        Filter::new(
            regex_match,
            Entry {
                name: "regex_match",
                arguments: &[required("pat")],
                takes: "text",
                gives: "whether a part of the text matches the pattern; `^` and `$` bind it to the ends",
                empty: "as the pattern says; `^$` matches it",
                example: r#"{{ "web-01" | regex_match(pat="^web-[0-9]+$") }}"#,
                output: "true",
            },
        ),
        Filter::new(
            regex_find,
            Entry {
                name: "regex_find",
                arguments: &[required("pat"), or("group", "0")],
                takes: "text",
                gives: "the first match, or what a group of it holds; undefined where nothing matches",
                empty: "undefined, unless the pattern matches it",
                example: r#"{{ "web-01.local" | regex_find(pat="^([a-z]+)-([0-9]+)", group=2) }}"#,
                output: "01",
            },
        ),
        Filter::new(
            regex_find_all,
            Entry {
                name: "regex_find_all",
                arguments: &[required("pat"), or("group", "0")],
                takes: "text",
                gives: "list of all matches that do not overlap",
                empty: "`[]`, unless the pattern matches it",
                example: r#"{{ "a=1, b=22" | regex_find_all(pat="[0-9]+") }}"#,
                output: r#"["1", "22"]"#,
            },
        ),
        Filter::new(
            regex_replace,
            Entry {
                name: "regex_replace",
                arguments: &[required("pat"), required("to")],
                takes: "text",
                gives: "every match replaced; in `to` stand `$1` or `${name}` for groups, and `$$` for a `$`",
                empty: "empty text, unless the pattern matches it",
                example: r#"{{ "web01" | regex_replace(pat="([a-z]+)([0-9]+)", to="$1-$2") }}"#,
                output: "web-01",
            },
        ),
        Filter::new(
            regex_split,
            Entry {
                name: "regex_split",
                arguments: &[required("pat")],
                takes: "text",
                gives: "list of the parts between the matches",
                empty: r#"`[""]`"#,
                example: r#"{{ "a, b;c" | regex_split(pat="[,;] *") }}"#,
                output: r#"["a", "b", "c"]"#,
            },
        ),
        Filter::new(
            regex_escape,
            Entry {
                name: "regex_escape",
                arguments: &[],
                takes: "text",
                gives: "the text as a part of a pattern, in which each character means itself; also for the patterns of nginx, HAProxy and Prometheus",
                empty: "empty text",
                example: r#"^{{ "www.a.example" | regex_escape }}$"#,
                output: r"^www\.a\.example$",
            },
        ),
        Filter::new(
            glob_match,
            Entry {
                name: "glob_match",
                arguments: &[required("pat")],
                takes: "text",
                gives: "whether the whole text matches, as paths do: `*` is any text without `/`, `**` any text, `?` one character but `/`",
                empty: "false, unless the pattern is empty or `*`",
                example: r#"{% for e in prefix(path="sites") %}{% if e.key | glob_match(pat="*/port") %}{{ e.value }} {% endif %}{% endfor %}"#,
                output: "8081 8080 ",
            },
        ),
    ],
};

/// Whether a pattern matches somewhere.
pub(super) fn regex_match(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let text = text_of(value, "regex_match")?;
    Ok(Value::from(pattern(arguments, render)?.is_match(text)))
}

/// The first match, or one of its groups; undefined where there is none.
pub(super) fn regex_find(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let text = text_of(value, "regex_find")?;
    let pattern = pattern(arguments, render)?;
    let group = group(arguments, &pattern)?;
    let found = pattern.captures(text).and_then(|captures| Some(Value::from(captures.get(group)?.as_str())));
    Ok(found.unwrap_or_else(Value::undefined))
}

/// All matches, or one of the groups of each; a match without that group is left out.
pub(super) fn regex_find_all(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let text = text_of(value, "regex_find_all")?;
    let pattern = pattern(arguments, render)?;
    let group = group(arguments, &pattern)?;
    let mut found = Vec::new();
    for captures in pattern.captures_iter(text) {
        render.check_deadline()?;
        found.extend(captures.get(group).map(|group| Value::from(group.as_str())));
    }
    Ok(Value::from(found))
}

/// Every match replaced, with `$1` and `${name}` for groups.
pub(super) fn regex_replace(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let text = text_of(value, "regex_replace")?;
    let to = arguments.required_text("to", render)?;
    let (mut replaced, mut end) = (String::new(), 0);
    for captures in pattern(arguments, render)?.captures_iter(text) {
        render.check_deadline()?;
        let whole = captures.get_match();
        replaced.push_str(&text[end..whole.start()]);
        captures.expand(to, &mut replaced);
        end = whole.end();
        within_output(&replaced, render)?;
    }
    replaced.push_str(&text[end..]);
    Ok(Value::from(replaced))
}

/// The parts between the matches.
pub(super) fn regex_split(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let text = text_of(value, "regex_split")?;
    let pattern = pattern(arguments, render)?;
    let parts = pattern.split(text).map(|part| render.check_deadline().map(|()| Value::from(part)));
    Ok(Value::from(parts.collect::<Result<Vec<_>, _>>()?))
}

/// A text as a part of a pattern: each character means itself.
pub(super) fn regex_escape(value: &Value, _: &Arguments<'_>, _: &Render) -> Result<Value, Stop> {
    Ok(Value::from(regex::escape(text_of(value, "regex_escape")?)))
}

/// Whether a text matches as paths do.
pub(super) fn glob_match(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let text = text_of(value, "glob_match")?;
    let pattern = glob("pat", arguments.required_text("pat", render)?, arguments, render)?;
    Ok(Value::from(pattern.is_match(text)))
}

/// The pattern of a glob that the argument `name` gives.
pub(in crate::template) fn glob(
    name: &str,
    glob: &str,
    arguments: &Arguments<'_>,
    render: &Render,
) -> Result<Arc<Regex>, Stop> {
    compiled(name, &of_glob(glob), arguments, render)
}

/// The pattern that a glob stands for.
fn of_glob(glob: &str) -> String {
    let mut pattern = String::from("(?s)^");
    let mut rest = glob;
    while let Some(c) = rest.chars().next() {
        let (length, meaning) = match c {
            '*' if rest.starts_with("**") => (2, ".*".to_owned()),
            '*' => (1, "[^/]*".to_owned()),
            '?' => (1, "[^/]".to_owned()),
            _ => (c.len_utf8(), regex::escape(&rest[..c.len_utf8()])),
        };
        pattern.push_str(&meaning);
        rest = &rest[length..];
    }
    pattern + "$"
}

/// The number of a group that the pattern has.
fn group(arguments: &Arguments<'_>, pattern: &Regex) -> Result<usize, Stop> {
    let group = usize::try_from(arguments.count("group")?.unwrap_or_default()).unwrap_or(usize::MAX);
    if group < pattern.captures_len() {
        return Ok(group);
    }
    let last = pattern.captures_len() - 1;
    Err(arguments.refused("group", &format!("the pattern has groups up to {last}")))
}

fn pattern(arguments: &Arguments<'_>, render: &Render) -> Result<Arc<Regex>, Stop> {
    compiled("pat", arguments.required_text("pat", render)?, arguments, render)
}

/// A pattern, compiled unless this render did that before.
fn compiled(name: &str, pattern: &str, arguments: &Arguments<'_>, render: &Render) -> Result<Arc<Regex>, Stop> {
    let mut patterns = render.patterns.borrow_mut();
    if let Some(regex) = patterns.get(pattern) {
        // Not the pattern itself: a clone of that begins without its caches.
        return Ok(Arc::clone(regex));
    }
    let regex = RegexBuilder::new(pattern).size_limit(SIZE).nest_limit(100).build();
    let regex = Arc::new(regex.map_err(|error| arguments.refused(name, &reason(&error)))?);
    if patterns.len() >= KEPT {
        patterns.clear();
    }
    patterns.insert(pattern.to_owned(), Arc::clone(&regex));
    Ok(regex)
}

/// What is wrong with a pattern, without the pattern, which may be a value.
fn reason(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(_) => "the pattern is too large".to_owned(),
        // The report ends in a line that says what is wrong, in words of the engine alone.
        regex::Error::Syntax(report) => match report.lines().last().and_then(|line| line.strip_prefix("error: ")) {
            Some(what) => format!("it is no pattern: {what}"),
            None => "it is no pattern".to_owned(),
        },
        _ => "it is no pattern".to_owned(),
    }
}
