//! From what Tera reports to a [`TemplateError`] of ours.
//!
//! Some of Tera's messages hold values: numbers that are out of range, texts that are no number, names of fields.
//! So only messages that are known to hold none are passed on; of the others it is said what failed, not on what.

use std::ops::Range;

use super::absence::{Beside, OF_FOLDERS};
use super::again::Again;
use super::builtin::FOLDER;
use super::edit::Place;
use super::error::{ErrorKind, Failure, Note, TemplateError, UNSHOWN, did_you_mean, undefined};
use super::foreign;
use super::record::{Absent, Render};
use super::scan::{Token, TokenKind};
use super::source::Source;
use super::{component, lookup};
use crate::config::Delimiters;
use crate::registry::{Asked, Query};

/// The beginnings of Tera's messages in which everything comes from the template.
const PLAIN: &[&str] = &[
    "Argument `",
    "Array index must",
    "Block ",
    "Cannot compare `",
    "Cannot divide by 0",
    "Cannot slice",
    "Cannot sort: ",
    "Component argument `",
    "Implicit argument `",
    "Invalid type for the value",
    "Iteration not possible on type",
    "Key/value iteration is not possible",
    "Map keys must be",
    "Math operations can only",
    "Maximum render recursion depth",
    "Missing keyword argument",
    "Not a valid key type",
    "Only numbers can be",
    "Slice ",
    "Slicing step",
    "Spread operator",
    "String index must",
    "The `indentation` argument",
    "This filter can only",
    "Tried to use super()",
    "Value of type ",
    "Variable `",
    "`+` requires",
    "`in` cannot be used",
    "pluralize filter requires",
    "super() called",
];

/// The beginnings of Tera's messages that hold values, and what is said instead.
const REWRITTEN: &[(&str, &str)] = &[
    ("The string `", "the text is no number"),
    ("The float ", "the number is no whole number"),
    ("int filter `base`", "`base` of `int` must be from 2 to 36"),
    ("Unable to perform ", "the result of the arithmetic is out of range"),
    ("Operand `", "a number is out of range for arithmetic"),
    ("Exponent ", "the exponent is out of range"),
    ("Cannot negate ", "the number is out of range to be negated"),
    ("Number `", "the number is out of range"),
    ("Value `", "the number is out of range, or no whole number"),
    ("Function `range` would produce", "`range` would give more than 100,000 numbers"),
    ("Function `range` was called with a `start`", "`start` of `range` is greater than `end`"),
    ("Function `range`", "the arguments of `range` are out of range"),
    ("Invalid argument for `method`", "`method` of `round` is `ceil` or `floor`"),
    ("Value at index ", "an item of the list does not have the attribute"),
    ("Unknown argument(s) ", "the component was given an argument that it does not have"),
];

/// What is said first of a tag of another language.
const OLD_SYNTAX: &str = "this is the syntax of Go templates, as of confd and consul-template";

/// Where the rest is told.
const OLD_PAGE: &str = "the page \"coming from confd, consul-template or remco\" of the reference has the rest";

/// Notes why Tera does not read a source: where that is because of tags of a Go template, all of them, each with what it
/// is here, instead of what was said of them before.
pub(super) fn syntax(error: &tera::Error, source: &Source, delimiters: &Delimiters, errors: &mut Vec<TemplateError>) {
    let old = foreign::old_tags(&source.text, delimiters);
    let places: Vec<_> = old.iter().map(|tag| (source.place(tag.range.start), source.place(tag.range.end))).collect();
    let within = |error: &TemplateError| {
        let place = (error.line, error.column);
        error.file == source.file && places.iter().any(|(start, end)| *start <= place && place < *end)
    };
    errors.retain(|error| !within(error));
    let own = loading(error, std::slice::from_ref(source));
    if old.is_empty() {
        let range = match error.kind() {
            tera::ErrorKind::SyntaxError(report) => span(source, report),
            _ => 0..0,
        };
        let advice = advice(&own.message, source, delimiters, &range);
        if let Some(told) = advice.as_ref().and_then(|advice| advice.says_all_of.clone()) {
            errors.retain(|error| error.file != source.file || (error.line, error.column) != source.place(told.start));
        }
        let own = match advice.as_ref().and_then(|advice| advice.replaces.clone()) {
            Some(range) => source.error(range, ErrorKind::Syntax, own.message),
            None => own,
        };
        errors.push(own.hint(advice.map(|advice| advice.hint)));
    } else if !within(&own) && !own.message.starts_with("unexpected end of input") {
        // What is not closed is closed by a tag of the other language.
        errors.push(own);
    }
    for (number, tag) in old.into_iter().enumerate() {
        let error = source.error(tag.range, ErrorKind::Syntax, OLD_SYNTAX);
        errors.push(error.hint(if number == 0 { format!("{}; {OLD_PAGE}", tag.hint) } else { tag.hint }));
    }
}

/// An error of reading a template: all of its message comes from the template.
pub(super) fn loading(error: &tera::Error, sources: &[Source]) -> TemplateError {
    match error.kind() {
        tera::ErrorKind::SyntaxError(report) | tera::ErrorKind::RenderingError(report) => {
            located(report, sources, ErrorKind::Syntax, fragment(report.message()))
        }
        _ => {
            // References that do not lead anywhere come as one text of reports; the checks find them before.
            let text = error.to_string();
            let text = text.strip_prefix("error: ").unwrap_or(&text);
            let mut lines = text.lines();
            let message = fragment(lines.next().unwrap_or_default());
            match lines.next().and_then(|line| line.trim_start().strip_prefix("--> ")).and_then(place) {
                Some((name, line, column)) => match sources.iter().find(|source| source.name == name) {
                    Some(source) => {
                        let range = source.range((line, column), (line, column + 1));
                        source.error(range, ErrorKind::Syntax, message)
                    }
                    None => TemplateError::whole(name, message, ErrorKind::Syntax),
                },
                None => TemplateError::whole("templates", message, ErrorKind::Syntax),
            }
        }
    }
}

/// What to do about a syntax error, for those that newcomers make.
fn advice(message: &str, source: &Source, delimiters: &Delimiters, range: &Range<usize>) -> Option<foreign::Advice> {
    let general = || match message {
        _ if message.contains("expected identifier") || message.ends_with("expected =") => {
            Some("functions and filters take their arguments by name, such as `key(path=\"app/db\")`")
        }
        _ if message.starts_with("found `.`") || message.starts_with("found `[`") => {
            Some("give the result a name first: `{% set name = ... %}`, and then `name.field`")
        }
        _ => None,
    };
    foreign::advice(&source.text, delimiters, message, range)
        .or_else(|| Some(foreign::Advice { hint: general()?.to_owned(), says_all_of: None, replaces: None }))
}

/// An error of a render; `render` knows what was asked and what our own functions refused.
pub(super) fn rendering(
    error: &tera::Error,
    again: &Again<'_>,
    sources: &[Source],
    render: &mut Render,
) -> TemplateError {
    let failure = if render.failure.is_some() && render.lacks_names.get() && !render.is_secret {
        // The same render knows more names when it notes those that were read.
        let outcome = again.render(|_, _| Vec::new());
        outcome.and_then(|outcome| outcome.render.failure).or_else(|| render.failure.take())
    } else {
        render.failure.take()
    };
    let tera::ErrorKind::RenderingError(report) = error.kind() else {
        return failure.unwrap_or_else(|| Failure::new(safe(&error.to_string()))).whole(&again.entry.file);
    };
    let Some(source) = sources.iter().find(|source| source.name == report.filename()) else {
        let failure = failure.unwrap_or_else(|| tera_failure(report.message(), render));
        return failure.whole(report.filename());
    };
    let range = span(source, report);
    let caller = |(name, place): (String, Place)| {
        let source = sources.iter().find(|source| source.name == name)?;
        Some((source, source.edited.origin(place.offset(&source.edited.text))))
    };
    let callers: Vec<(&Source, usize)> = callers(error).into_iter().filter_map(caller).collect();
    let misfit = || component::misfit(report.message(), source, &range, again, render);
    let located = if let Some(misfit) = failure.is_none().then(misfit).flatten() {
        misfit.error(source, &callers, again, render)
    } else {
        let failure = failure.unwrap_or_else(|| tera_failure(report.message(), render));
        let failure = without_suspicion(failure, source);
        if let Some(located) = written_by_a_caller(&failure, source, &callers, render) {
            return located;
        }
        undefined_at(&failure, source, &range, &callers, again, render)
            .unwrap_or_else(|| name_the_absent(failure, source, &range, render).at(source, range.clone()))
    };
    TemplateError { notes: notes(&callers), ..located }
}

/// What a built-in component refused, at the place where its call holds it.
fn written_by_a_caller(
    failure: &Failure,
    source: &Source,
    callers: &[(&Source, usize)],
    render: &Render,
) -> Option<TemplateError> {
    let refused = render.refused.borrow_mut().take()?;
    let is_built_in = |source: &Source| source.name.starts_with(FOLDER);
    if failure.kind != ErrorKind::Function || !is_built_in(source) {
        return None;
    }
    let outer = callers.iter().position(|(source, _)| !is_built_in(source))?;
    let (caller, at) = callers[outer];
    let (what, range) = component::holding(&refused, caller, at)?;
    let mut failure = failure.clone();
    failure.message = format!("{what}: {}", failure.message);
    Some(TemplateError { notes: notes(&callers[outer + 1..]), ..failure.at(caller, range) })
}

/// What is said of something undefined where that is no question of what the registry holds.
fn undefined_at(
    failure: &Failure,
    source: &Source,
    range: &Range<usize>,
    callers: &[(&Source, usize)],
    again: &Again<'_>,
    render: &Render,
) -> Option<TemplateError> {
    let is_open = matches!(&failure.kind, ErrorKind::Undefined { absent } if absent.is_empty());
    // While something is missing the render is thrown away.
    let is_final = render.missing.is_empty();
    (is_open && is_final).then(|| lookup::undefined(&failure.message, source, range, callers, again)).flatten()
}

/// A value that was refused when it was printed, at the place of its expression where that was found.
pub(super) fn printing(failure: Option<Failure>, again: &Again<'_>) -> TemplateError {
    let failure = failure.unwrap_or_else(|| Failure::new("a value cannot be printed"));
    let Some((source, range, notes)) = again.find_refused() else { return failure.whole(&again.entry.file) };
    TemplateError { notes, ..failure.at(source, range) }
}

/// What Tera itself complains about, without values.
fn tera_failure(message: &str, render: &Render) -> Failure {
    if let Some(rest) = message.strip_prefix("Field `")
        && let Some((field, rest)) = rest.split_once("` is not defined")
    {
        let available = rest.strip_prefix(". Available fields: ").map_or_else(Vec::new, |list| known(list, render));
        let failure = undefined(format!("field `{field}` is not defined"));
        let listed = || format!("there is {}", crate::log::listed(&available));
        let hint = did_you_mean(field, available.iter().copied());
        return match hint.or_else(|| (!available.is_empty()).then(listed)) {
            Some(hint) => failure.hint(hint),
            None => failure,
        };
    }
    if let Some(rest) = message.strip_prefix("Variable `")
        && let Some((name, rest)) = rest.split_once("` is not defined.")
    {
        let available = rest.trim_start_matches(" Available variables: ").split(", ");
        let failure = undefined(format!("variable `{name}` is not defined"));
        return failure.teach(Beside::hint(did_you_mean(name, available)));
    }
    if message == "Tried to render a variable that is undefined" || message == "Cannot index into an undefined value" {
        return undefined("what stands here is undefined");
    }
    if let Some(rest) = message.strip_prefix("Key/value iteration is not possible on type ") {
        let given = rest.split(',').next().unwrap_or_default();
        return Failure::new(format!("a `for` with two names goes over a map, not {}", in_words(given)));
    }
    let shown = safe(message);
    if message.contains("undefined") {
        return undefined(shown);
    }
    let is_of_text =
        ["Math operations", "`+` requires", "Cannot compare"].iter().any(|start| message.starts_with(start))
            && message.contains("`string`");
    let hint = is_of_text.then(|| {
        "what a registry holds is text: `int` and `float` make a number of it, and `~` joins texts".to_owned()
    });
    Failure::new(shown).teach(Beside::hint(hint))
}

/// The names of fields that may be shown.
fn known<'m>(list: &'m str, render: &Render) -> Vec<&'m str> {
    let known = render.known();
    list.split(", ").filter(|name| render.may_name(name, &known)).collect()
}

/// A message of Tera without values.
fn safe(message: &str) -> String {
    if let Some((_, instead)) = REWRITTEN.iter().find(|(beginning, _)| message.starts_with(beginning)) {
        return (*instead).to_owned();
    }
    if PLAIN.iter().any(|beginning| message.starts_with(beginning)) {
        return in_words(&fragment(message));
    }
    "an operator or filter refuses what it was given".to_owned()
}

/// What Tera calls the types, and what they are called here.
const TYPES: &[(&str, &str)] = &[
    ("`string`", "text"),
    ("`array`", "a list"),
    ("`map/struct`", "a map"),
    ("`map`", "a map"),
    ("`bool`", "a truth value"),
    ("`bytes`", "bytes"),
    ("`none`", "none"),
    ("`undefined`", "undefined"),
    ("`u64`", "a number"),
    ("`i64`", "a number"),
    ("`f64`", "a number"),
    ("`u128`", "a number"),
    ("`i128`", "a number"),
    ("`&str`", "text"),
    ("`usize`", "a whole number from 0"),
    ("`isize`", "a whole number"),
    ("`u32`", "a whole number from 0"),
    ("`i32`", "a whole number"),
    ("`integer`", "a whole number"),
    ("`number`", "a number"),
    ("`float`", "a number"),
];

/// The names of types as users say them.
pub(super) fn in_words(message: &str) -> String {
    TYPES.iter().fold(message.to_owned(), |message, (of_tera, word)| message.replace(of_tera, word))
}

/// Lowercase at the beginning and no full stop at the end.
fn fragment(message: &str) -> String {
    let message = message.trim_end_matches('.');
    let mut characters = message.chars();
    match characters.next() {
        Some(first) => first.to_lowercase().chain(characters).collect(),
        None => String::new(),
    }
}

/// The message of `fail` or `not_yet` is shown when the template holds it as it is; what was put together may hold a value.
fn without_suspicion(mut failure: Failure, source: &Source) -> Failure {
    let literal = |token: &Token| matches!(&token.kind, TokenKind::Text(text) if *text == failure.message);
    let written = || source.pieces().iter().flat_map(|piece| &piece.tokens).any(literal);
    if failure.suspect && !written() {
        failure.message = format!("the template gave up with {UNSHOWN}");
    }
    failure
}

/// Names the keys that are not there in an error about something undefined.
pub(super) fn name_the_absent(mut failure: Failure, source: &Source, range: &Range<usize>, render: &Render) -> Failure {
    let ErrorKind::Undefined { absent } = &mut failure.kind else { return failure };
    // An error that knows what it needs has named it.
    if let [asked, ..] = &absent[..] {
        let beside = render.beside(&Absent::Query(asked.clone()));
        return failure.teach(beside);
    }
    let Some(last) = &render.last_absent else { return failure };
    // Where the place itself asks, what was asked last is what is not there. Elsewhere a variable may hold any of them.
    let inside = |token: &&Token| token.range.start >= range.start && token.range.end <= range.end;
    let mut tokens = source.pieces().iter().flat_map(|piece| &piece.tokens).filter(inside);
    let tokens: Vec<&Token> = tokens.by_ref().collect();
    let asks = tokens.iter().any(|token| ["key", "file", "env"].contains(&token.of(&source.text)));
    // Of several that were asked for, the one whose path stands there.
    let is_there = |absent: &&Absent| match absent {
        Absent::Query(Asked { query: Query::Key(path), .. }) => {
            tokens.iter().any(|token| matches!(&token.kind, TokenKind::Text(text) if text == path.as_str()))
        }
        Absent::Query(_) | Absent::Variable(_) => false,
    };
    let last = render.absent.iter().find(is_there).unwrap_or(last);
    let meant: Vec<&Absent> = if asks { vec![last] } else { render.absent.iter().collect() };
    *absent = meant
        .iter()
        .filter_map(|absent| match absent {
            Absent::Query(asked) => Some(asked.clone()),
            Absent::Variable(_) => None,
        })
        .collect();
    let names: Vec<String> = meant.iter().take(5).map(ToString::to_string).collect();
    let more =
        if meant.len() > names.len() { format!(" and {} more", meant.len() - names.len()) } else { String::new() };
    failure.message = format!("{}; not there: {}{more}", failure.message, names.join(", "));
    // Of several only one may be misspelt, and which is not known.
    let Beside { available, hint } = if let [only] = &meant[..] { render.beside(only) } else { Beside::default() };
    let hint = failure.hint.take().or(hint).or_else(|| Some(advice_on_absence(&meant, render)));
    failure.teach(Beside { available, hint })
}

/// What to do about something that is not there.
fn advice_on_absence(absent: &[&Absent], render: &Render) -> String {
    let keys = absent.iter().filter_map(|absent| match absent {
        Absent::Query(Asked { registry, query: Query::Key(path) }) => Some((registry, path)),
        Absent::Query(_) | Absent::Variable(_) => None,
    });
    if let Some((_, path)) = keys.clone().find(|(registry, path)| render.has_folder(registry, path)) {
        return format!("`{}` is a folder: {OF_FOLDERS}", path.shown());
    }
    let advice = "give `default=`, or ask with `if` before using it";
    if keys.count() > 0 { format!("{advice}; {OF_FOLDERS}") } else { advice.to_owned() }
}

fn span(source: &Source, report: &tera::ReportError) -> std::ops::Range<usize> {
    let span = report.span();
    source.range((span.start_line, span.start_col), (span.end_line, span.end_col))
}

fn located(report: &tera::ReportError, sources: &[Source], kind: ErrorKind, message: String) -> TemplateError {
    match sources.iter().find(|source| source.name == report.filename()) {
        Some(source) => source.error(span(source, report), kind, message),
        None => TemplateError::whole(report.filename(), message, kind),
    }
}

/// From where the place of an error was reached, innermost first: the name of a source, and where in what Tera got of it.
/// Tera gives that only as part of its report.
pub(super) fn callers(error: &tera::Error) -> Vec<(String, Place)> {
    let tera::ErrorKind::RenderingError(report) = error.kind() else { return Vec::new() };
    let text = error.to_string();
    let after_message = text.strip_prefix("error: ").and_then(|text| text.strip_prefix(report.message()));
    let after_message = after_message.unwrap_or_default();
    let places = after_message.split("\n\nnote: called from ").skip(1).filter_map(|note| place(note.lines().next()?));
    places.map(|(name, line, column)| (name.to_owned(), Place { line, column: column + 1 })).collect()
}

fn notes(callers: &[(&Source, usize)]) -> Vec<Note> {
    callers.iter().map(|(source, at)| source.note(*at)).collect()
}

/// Reads `NAME:LINE:COLUMN`; lines from 1 and columns from 0, as Tera counts inside.
fn place(text: &str) -> Option<(&str, usize, usize)> {
    let (rest, column) = text.trim_end().rsplit_once(':')?;
    let (name, line) = rest.rsplit_once(':')?;
    let column: usize = column.parse().ok()?;
    Some((name, line.parse().ok()?, column.checked_sub(1)?))
}
