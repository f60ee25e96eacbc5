//! What people write out of habit with Jinja, pongo2, Liquid and Tera 1, and how it is written here. All of it is looked at
//! only after Tera has refused a source, and only at the place that it names.

use std::ops::Range;

use super::call::{Here, Kind, Level, call};
use super::go::DEEPEST;
use super::of_another_sort;
use super::old::{ENDS, keyword};
use super::tag::{Tag, tags};
use crate::config::Delimiters;
use crate::template::catalog::{Sort, components};
use crate::template::edit::Place;
use crate::template::entry::{Default, Entry};
use crate::template::error::did_you_mean;
use crate::template::filter::filters;
use crate::template::function::functions;

/// The tags that there are.
const TAGS: &[&str] = &[
    "block",
    "break",
    "component",
    "continue",
    "elif",
    "else",
    "endblock",
    "endcomponent",
    "endfilter",
    "endfor",
    "endif",
    "endset",
    "extends",
    "filter",
    "for",
    "if",
    "include",
    "raw",
    "set",
    "set_global",
];

/// Tags of other languages, and what they are here.
const TAGS_THERE: &[(&str, &str)] = &[
    ("assign", "a variable is set by `{% set name = ... %}`"),
    ("autoescape", "nothing is escaped here: leave it out"),
    ("call", "a macro is a component: `{% <name> %}...{% </name> %}` hands it a body"),
    ("capture", "what is written is kept by `{% set name %}...{% endset %}`"),
    ("case", "write `{% if a == 1 %}...{% elif a == 2 %}...{% endif %}`"),
    ("comment", "a comment is `{# ... #}`"),
    (
        "do",
        "a list grows by `{% set_global list = list | append(value=...) %}`, a map by `| insert(key=..., value=...)`",
    ),
    ("elseif", "it is `{% elif ... %}` here"),
    ("elsif", "it is `{% elif ... %}` here"),
    ("empty", "what stands for an empty list begins with `{% else %}`"),
    ("end", "an end says of what: `{% endfor %}`, `{% endif %}`"),
    ("endautoescape", "nothing is escaped here: leave it out"),
    ("endcall", "a macro is a component: `{% <name> %}...{% </name> %}` hands it a body"),
    ("endcomment", "a comment is `{# ... #}`"),
    ("endmacro", "a macro is a component: it ends with `{% endcomponent %}`"),
    ("endverbatim", "it is `{% endraw %}` here"),
    ("endwith", "a variable is set by `{% set name = ... %}`, which needs no end"),
    (
        "from",
        "components are known everywhere in a target: leave it out, and `{% include %}` the file that defines them",
    ),
    ("ifequal", "write `{% if a == b %}`"),
    ("ifnotequal", "write `{% if a != b %}`"),
    (
        "import",
        "components are known everywhere in a target: leave it out, and `{% include %}` the file that defines them",
    ),
    (
        "macro",
        "a macro is a component: `{% component name(argument) %}...{% endcomponent %}`, called as `{{ <name argument=\"a\" /> }}`",
    ),
    ("unless", "write `{% if not ... %}`"),
    ("verbatim", "it is `{% raw %}...{% endraw %}` here"),
    ("with", "a variable is set by `{% set name = ... %}`"),
];

/// Methods of values in Jinja, and what they are here.
const METHODS: &[(&str, &str)] = &[
    ("append", "a list has no methods: `list | append(value=...)` gives a longer one"),
    ("endswith", "a text has no methods: `text is ending_with(pat=\"b\")`"),
    ("format", "a text has no methods: join its parts with `~`"),
    (
        "get",
        "a map has no methods: its entries are `map.name` and `map[\"name\"]`, with `| default(value=\"\")` where one may be absent",
    ),
    ("items", "a map has no methods: `{% for key, value in map %}`"),
    ("iteritems", "a map has no methods: `{% for key, value in map %}`"),
    ("push", "a list has no methods: `list | append(value=...)` gives a longer one"),
    ("startswith", "a text has no methods: `text is starting_with(pat=\"a\")`"),
    ("strip", "a text has no methods: it is the filter `trim`"),
];

/// What to do about a syntax error.
pub(in crate::template) struct Advice {
    /// What to do.
    pub(in crate::template) hint: String,
    /// A name of which was said that it is unknown, where this says all of it.
    pub(in crate::template) says_all_of: Option<Range<usize>>,
    /// What stands in the source where this stands for more than the place that Tera names.
    pub(in crate::template) replaces: Option<Range<usize>>,
}

/// What to do about what Tera says of a range of a source, where that looks like a habit.
pub(in crate::template) fn advice(
    source: &str,
    delimiters: &Delimiters,
    message: &str,
    range: &Range<usize>,
) -> Option<Advice> {
    let hint = |hint: String| Some(Advice { hint, says_all_of: None, replaces: None });
    let plain = |text: &str| hint(text.to_owned());
    let all = tags(source, delimiters);
    if message == "unexpected end of input" {
        return unclosed(source, &all, delimiters).and_then(hint);
    }
    if message.starts_with("unexpected end of raw") {
        return hint(format!("what `raw` begins ends with `{} endraw {}`", delimiters.block.0, delimiters.block.1));
    }
    let tag = all.iter().find(|tag| tag.range.start <= range.start && range.start < tag.range.end)?;
    let (before, at) = (&source[tag.range.start..range.start], &source[range.start..tag.range.end]);
    let meant = source.get(range.clone()).unwrap_or_default();
    let behind = |text: &str| before.trim_end().ends_with(text);
    if message == "unknown tag" {
        return unknown_tag(source, &all, tag, meant).and_then(hint);
    }
    if message.starts_with("unexpected character") && at.starts_with('&') {
        return plain("both of two conditions are `a and b`");
    }
    if message.starts_with("found `|`") && behind("|") {
        return plain("one of two conditions is `a or b`");
    }
    if message.starts_with("found `!`") {
        return plain("the contrary of a condition is `not a`");
    }
    if message.starts_with("found `:`")
        && let Some(filter) = word_behind_pipe(before)
        && let Some(filter) = filters().map(|filter| &filter.entry).find(|entry| entry.name == filter)
    {
        let value = at[1..].trim_start();
        let value = &value[..literal_length(value)];
        let says_all_of = Some(range.start - filter.name.len()..range.start);
        let hint = match (filled(filter, &[value]), value) {
            (_, "") | (None, _) => "the arguments of filters stand in brackets, and have names".to_owned(),
            (Some(call), _) => format!("here it is `| {call}`"),
        };
        return Some(Advice { hint, says_all_of, replaces: None });
    }
    if (message.starts_with("found `}}`") || message.starts_with("found `%}`"))
        && let Some(bracket) = open_bracket(before)
    {
        return hint(format!("`{bracket}` is not closed"));
    }
    if (message.contains("expected identifier") || message.ends_with("expected ="))
        && let Some(advice) = positional(source, tag, range.start)
    {
        return Some(advice);
    }
    if message.starts_with("function calls are only allowed") || (message.starts_with("found `.`") && is_method(at)) {
        let name = at.trim_start_matches('.');
        let name = &name[..word_length(name)];
        if let Some((_, advice)) = METHODS.iter().find(|(method, _)| *method == name) {
            return plain(advice);
        }
        return of_another_sort(Sort::Function, name).and_then(hint);
    }
    if message.starts_with("found `.`") && at.starts_with("..")
        || message.starts_with("found `.`") && at.starts_with('.') && behind(".")
    {
        return plain("numbers in a row are `range(start=1, end=4)`, without the last");
    }
    if message.starts_with("found identifier but expected") {
        if tag.is_block && keyword(tag.inner) == "else" && meant == "if" {
            return plain("it is `{% elif ... %}` here");
        }
        if tag.is_block && keyword(tag.inner) == "include" && behind("include") {
            let name = &at[..at.find(|c: char| c.is_whitespace() || c == '%').unwrap_or(at.len())];
            return hint(if components().iter().any(|component| component.name == name) {
                format!(
                    "a component is called, and not included: `{{{{ <{name} ... /> }}}}`; `liveconf functions {name}` shows it"
                )
            } else {
                format!("the name of a file stands in quotes: `include \"{name}\"`")
            });
        }
        if tag.is_block && keyword(tag.inner) == "include" {
            return plain(
                "an included template sees what is set where it is included, and has to be there: leave it out",
            );
        }
    }
    if is_misplaced(tag) {
        let (open, close) = &delimiters.block;
        return hint(format!("a tag stands in other brackets: `{open} {} {close}`", tag.inner));
    }
    if message.contains("expected else") {
        return plain(if tag.is_block && keyword(tag.inner) == "for" {
            "a list of some items is `[item for item in list if item.port > 0]`, and a loop goes through that"
        } else {
            "a choice has both sides: `{{ a if condition else \"\" }}`"
        });
    }
    if message.starts_with("invalid syntax for `set`") && at[word_length(at)..].starts_with('.') {
        return plain("a variable is set as a whole: `{% set_global name = ... %}` keeps what a loop sets");
    }
    None
}

/// Whether what stands in `{{ }}` is a tag.
fn is_misplaced(tag: &Tag<'_>) -> bool {
    let mut words = tag.inner.split_whitespace();
    let is_tag = words.next().is_some_and(|word| ["elif", "for", "if", "include", "set", "set_global"].contains(&word));
    let begins = |word: &str| word.starts_with(|c: char| c.is_ascii_alphanumeric() || "_\"'(".contains(c));
    is_tag
        && !tag.is_block
        && words.next().is_some_and(|word| begins(word) && !["and", "if", "in", "is", "or"].contains(&word))
}

/// What is open at the end of a source.
fn unclosed(source: &str, tags: &[Tag<'_>], delimiters: &Delimiters) -> Option<String> {
    let (word, end, start) = open(tags)?;
    let line = Place::of(source, start).line;
    let (open, close) = &delimiters.block;
    Some(format!("`{open} {word} ... {close}` of line {line} is not closed: `{open} {end} {close}` is missing"))
}

/// The innermost tag that is open behind these, how it ends, and where it begins.
fn open<'s>(tags: &[Tag<'s>]) -> Option<(&'s str, &'static str, usize)> {
    let mut open = Vec::new();
    for tag in tags.iter().filter(|tag| tag.is_block) {
        let word = keyword(tag.inner);
        if let Some((_, end)) = ENDS.iter().find(|(start, _)| *start == word) {
            open.push((word, *end, tag.range.start));
        } else if ENDS.iter().any(|(_, end)| *end == word) {
            open.pop();
        }
    }
    open.pop()
}

fn unknown_tag(source: &str, all: &[Tag<'_>], tag: &Tag<'_>, word: &str) -> Option<String> {
    if let Some((_, own)) = TAGS_THERE.iter().find(|(there, _)| *there == word) {
        return Some((*own).to_owned());
    }
    if word == "else" && tag.inner.split_whitespace().nth(1) == Some("if") {
        return Some("it is `{% elif ... %}` here".into());
    }
    if !TAGS.contains(&word) {
        return did_you_mean(word, TAGS.iter().copied());
    }
    // A tag that there is stands where it may not.
    let before: Vec<&Tag<'_>> = all.iter().take_while(|other| other.range.start < tag.range.start).collect();
    let before: Vec<Tag<'_>> = before.into_iter().cloned().collect();
    match open(&before) {
        Some((opener, end, start)) => {
            let line = Place::of(source, start).line;
            Some(format!("open is `{opener}` of line {line}, which ends with `{end}`"))
        }
        None => Some(format!("nothing is open here that `{word}` could belong to")),
    }
}

/// A call whose arguments have no names, around a place in a tag, as it is written here.
fn positional(source: &str, tag: &Tag<'_>, place: usize) -> Option<Advice> {
    let text = &source[tag.range.clone()];
    let open = text[..place - tag.range.start].rfind('(')?;
    let (given, end) = arguments(&text[open + 1..])?;
    let given: Vec<Here> = given.into_iter().map(|argument| nested(argument, 0)).collect::<Option<_>>()?;
    let arguments: Vec<&str> = given.iter().map(|argument| argument.text.as_str()).collect();
    let name = &text[..open];
    let name = &name[name.trim_end_matches(|c: char| c.is_ascii_alphanumeric() || c == '_').len()..];
    let start = tag.range.start + open - name.len();
    let filter = filters().map(|filter| &filter.entry).find(|entry| entry.name == name);
    let function = functions().map(|function| &function.entry).find(|entry| entry.name == name);
    let is_piped = text[..open - name.len()].trim_end().ends_with('|');
    let written = match (filter, function) {
        (Some(filter), _) if is_piped => filled(filter, &arguments),
        _ if is_piped => None,
        (_, Some(range)) if range.name == "range" && arguments.len() == 2 => {
            Some(format!("range(start={}, end={})", arguments[0], arguments[1]))
        }
        (_, Some(function)) => filled(function, &arguments),
        // A filter takes what stands first before its `|`.
        (Some(filter), None) => arguments.split_first().and_then(|(subject, rest)| {
            let call = if rest.is_empty() { name.to_owned() } else { filled(filter, rest)? };
            Some(format!("{subject} | {call}"))
        }),
        (None, None) => call(name, &given, false).map(|here| here.text),
    };
    Some(Advice {
        hint: format!("here it is `{}`", written?),
        says_all_of: Some(start..start + name.len()),
        replaces: Some(start..tag.range.start + open + 1 + end),
    })
}

/// An argument of a call, which may itself be a call of another language.
fn nested(text: &str, depth: usize) -> Option<Here> {
    let word = word_length(text);
    let is_atom = literal_length(text) == text.len() || word == text.len();
    let as_it_is = |level| Some(Here { text: text.to_owned(), level, gives: Kind::Unknown });
    if is_atom {
        return as_it_is(Level::Atom);
    }
    let Some(inside) = text[word..].strip_prefix('(').filter(|_| word > 0) else {
        // A call within more than a call is not looked into.
        return if text.contains('(') { None } else { as_it_is(Level::Operator) };
    };
    let (given, end) = arguments(inside)?;
    if end != inside.len() || depth > DEEPEST {
        return None;
    }
    if given.iter().all(|argument| argument.contains('=')) {
        return as_it_is(Level::Atom);
    }
    let given: Vec<Here> = given.into_iter().map(|argument| nested(argument, depth + 1)).collect::<Option<_>>()?;
    call(&text[..word], &given, false)
}

/// A call with these arguments by the names that they have.
fn filled(entry: &Entry, arguments: &[&str]) -> Option<String> {
    let names = entry.arguments.iter().filter(|argument| argument.default == Default::Required);
    let others = entry.arguments.iter().filter(|argument| argument.default != Default::Required);
    let names: Vec<&str> = names.chain(others).map(|argument| argument.name).collect();
    if arguments.len() > names.len() || arguments.iter().any(|argument| argument.contains('=')) {
        return None;
    }
    let given: Vec<String> = names.iter().zip(arguments).map(|(name, value)| format!("{name}={value}")).collect();
    Some(format!("{}({})", entry.name, given.join(", ")))
}

/// The arguments of a call up to its `)`, and where that ends.
fn arguments(text: &str) -> Option<(Vec<&str>, usize)> {
    let (mut depth, mut quote, mut start, mut arguments) = (0_usize, None, 0, Vec::new());
    for (index, character) in text.char_indices() {
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (None, '"' | '\'' | '`') => quote = Some(character),
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')' | ',') if depth == 0 => {
                let argument = text[start..index].trim();
                if !argument.is_empty() {
                    arguments.push(argument);
                }
                start = index + 1;
                if character == ')' {
                    return Some((arguments, index + 1));
                }
            }
            (None, ')' | ']' | '}') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// The innermost bracket that is open at the end of a text, outside of its own texts.
fn open_bracket(text: &str) -> Option<char> {
    let (mut quote, mut open) = (None, Vec::new());
    // The delimiter of the tag opens nothing.
    for character in text.chars().skip(2) {
        match (quote, character) {
            (Some(end), _) if end == character => quote = None,
            (None, '"' | '\'' | '`') => quote = Some(character),
            (None, '(' | '[' | '{') => open.push(character),
            (None, ')' | ']' | '}') => _ = open.pop(),
            _ => {}
        }
    }
    open.pop()
}

/// The name of the filter that a text ends with.
fn word_behind_pipe(text: &str) -> Option<&str> {
    let text = text.trim_end();
    let rest = text.trim_end_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
    rest.trim_end().ends_with('|').then(|| &text[rest.len()..])
}

/// Whether a text begins with the call of a method.
fn is_method(text: &str) -> bool {
    let Some(name) = text.strip_prefix('.') else { return false };
    word_length(name) > 0 && name[word_length(name)..].starts_with('(')
}

fn word_length(text: &str) -> usize {
    text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len())
}

/// The length of the text or number that a text begins with; 0 where it is neither.
fn literal_length(text: &str) -> usize {
    match text.chars().next() {
        Some(quote @ ('"' | '\'')) => text[1..].find(quote).map_or(0, |end| end + 2),
        Some('0'..='9') => text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len()),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_translated_is_not_there() {
        assert!(TAGS.is_sorted() && TAGS_THERE.is_sorted() && METHODS.is_sorted());
        assert!(TAGS_THERE.iter().all(|(there, _)| !TAGS.contains(there)));
    }
}
