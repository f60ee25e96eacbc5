//! `for_each`: the items of a template, and the names of the files that are made of them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Instant;

use tera::{Context, Kwargs, Map, State, Tera, TeraResult, Value};

use super::arguments::type_name;
use super::error::{ErrorKind, Failure, TemplateError, undefined};
use super::function::fail;
use super::load::{Entry, Parsed};
use super::near::quoted;
use super::record::{self, Render};
use super::render::Given;
use super::words::Listed;
use super::{Rendering, Templates};
use crate::registry::Asked;
use crate::store::View;

/// The function that the expression of a `for_each` is handed to.
pub(super) const ITEMS: &str = "__items";

/// What a template calls the item that a file is made of.
pub(super) const ITEM: &str = "item";

/// How many files one template may write: a transaction opens up to three files for each, all at once, and has to fit
/// `render_timeout`.
const MOST: usize = 5_000;

/// The longest name of a file, in bytes: `NAME_MAX` of limits.h on Linux.
const LONGEST: usize = 255;

/// Characters that are not seen, or that change the order of others: those that Unicode calls default ignorable
/// (`DerivedCoreProperties.txt`, among them all that turn the writing direction), separators of lines and paragraphs, anchors
/// of annotations, the blank of Braille, and the planes for private use.
const UNSEEN: [RangeInclusive<char>; 21] = [
    '\u{ad}'..='\u{ad}',
    '\u{34f}'..='\u{34f}',
    '\u{61c}'..='\u{61c}',
    '\u{115f}'..='\u{1160}',
    '\u{17b4}'..='\u{17b5}',
    '\u{180b}'..='\u{180f}',
    '\u{200b}'..='\u{200f}',
    '\u{2028}'..='\u{2029}',
    '\u{202a}'..='\u{202e}',
    '\u{2060}'..='\u{206f}',
    '\u{2800}'..='\u{2800}',
    '\u{3164}'..='\u{3164}',
    '\u{fe00}'..='\u{fe0f}',
    '\u{feff}'..='\u{feff}',
    '\u{ffa0}'..='\u{ffa0}',
    '\u{fff0}'..='\u{fff8}',
    '\u{fff9}'..='\u{fffb}',
    '\u{1bca0}'..='\u{1bca3}',
    '\u{1d173}'..='\u{1d17a}',
    '\u{e0000}'..='\u{e0fff}',
    '\u{f0000}'..='\u{10ffff}',
];

/// What the names of our own temporary files hold.
const OUR_OWN: &str = ".liveconf-";

/// Puts the function into `tera`.
pub(super) fn register(tera: &mut Tera) {
    tera.register_function(ITEMS, |kwargs: Kwargs, _: &State| -> TeraResult<Value> {
        let note = |render: &mut Render| match items(kwargs.get::<&Value>("of").ok().flatten(), render) {
            Ok(items) => {
                render.items = items;
                // It prints nothing.
                Ok(Value::none())
            }
            Err(failure) => Err(fail(render, failure)),
        };
        record::with(note).unwrap_or_else(|| Ok(Value::none()))
    });
}

/// The items of a list, or of a map the entries as `{key, value}`.
fn items(given: Option<&Value>, render: &Render) -> Result<Vec<Value>, Failure> {
    let given = given.filter(|given| !given.is_undefined());
    let given = given.ok_or_else(|| undefined("what `for_each` was given is undefined"))?;
    let items = match (given.as_array(), given.as_map()) {
        (Some(items), _) => items.to_vec(),
        (None, Some(map)) => {
            let entry = |(key, value): (&tera::value::Key<'_>, &Value)| {
                let entry = [("key".into(), Value::from(key.to_string())), ("value".into(), value.clone())];
                Value::from(entry.into_iter().collect::<Map>())
            };
            map.iter().map(entry).collect()
        }
        (None, None) if given.as_str().is_some_and(|text| render.is_placeholder(text)) => Vec::new(),
        (None, None) => {
            let failure = Failure::new(format!("`for_each` takes a list or a map, not {}", type_name(given)));
            return Err(failure.hint("`from_json`, `split` and `lines` make a list of a text"));
        }
    };
    if items.len() > MOST {
        return Err(Failure::of(
            ErrorKind::Limit,
            format!("`for_each` has {} items, and {MOST} are allowed", items.len()),
        ));
    }
    Ok(items)
}

/// What a template with `for_each` gives.
#[derive(Debug, Default)]
pub struct Each {
    /// The bytes of each file, by its name.
    pub files: BTreeMap<String, Vec<u8>>,
    /// What only the items and the names of the files were made of, and no file shows.
    pub named_by: BTreeSet<Asked>,
}

impl Templates {
    /// Renders the template at `index`, which has `for_each`. Synchronous, as [`Templates::render`].
    pub fn render_each(&self, index: usize, view: &View) -> Rendering<Each> {
        let deadline = Instant::now() + self.timeout;
        let mut all = Rendering {
            reads: BTreeSet::new(),
            missing: BTreeSet::new(),
            no_weights: 0,
            warnings: BTreeSet::new(),
            output: Ok(()),
        };
        let Some(Entry { content: (content, number), each: Some((each, items, name)), secret }) =
            self.entries.get(index)
        else {
            let message = format!("the template {index} of the target has no `for_each`");
            all.fail(TemplateError::whole("templates", message, ErrorKind::Function));
            return all.map(|()| Each::default());
        };
        let one = |parsed: &Arc<Parsed>, number, context: &Context, listed: &Listed| {
            let given = Given { context, listed, is_secret: *secret };
            self.one(parsed, number, &given, view, deadline.saturating_duration_since(Instant::now()))
        };
        let listed = one(each, *items, &Context::new(), &Listed::default());
        all.take(listed.rendering);
        let seen = listed.names.listed();
        let (mut named_by, mut shown) = (all.reads.clone(), BTreeSet::new());
        let mut files: BTreeMap<String, (usize, Vec<u8>)> = BTreeMap::new();
        let count = listed.items.len();
        for (number_of_item, item) in (1..).zip(listed.items) {
            let mut variables = Context::new();
            variables.insert_value(ITEM, item);
            let this = format!("item {number_of_item} of {count}");
            let called = name_of(variables.get(ITEM), &seen).filter(|_| !secret).map(|name| format!(" ({name})"));
            let named = one(each, *name, &variables, &seen).rendering.of(&this).hinting(in_a_name);
            named_by.extend(named.reads.iter().cloned());
            let is_hidden = each.source(*name).text.starts_with('.');
            let named = all.take(named).map(|name| file_name(name, is_hidden));
            let this = match &named {
                Some(Ok(file)) if !secret => format!("{this}, whose file is `{file}`"),
                _ => this,
            };
            let content = one(content, *number, &variables, &seen).rendering.of(&this);
            shown.extend(content.reads.iter().cloned());
            let content = all.take(content);
            // What waits for an answer asks on, so that all is asked at once.
            let (Some(named), Some(content), true) = (named, content, all.missing.is_empty()) else { continue };
            let why = match named {
                Ok(file) => match files.insert(file, (number_of_item, content)) {
                    None => continue,
                    Some((first, _)) => format!("has the name of that of item {first}"),
                },
                Err(why) => why,
            };
            let called = called.unwrap_or_default();
            let message = format!("the file of item {number_of_item} of {count}{called} {why}");
            let error = each.source(*name).whole(message);
            all.fail(error.hint(WAY_OUT.to_owned()));
            break;
        }
        named_by.retain(|asked| !shown.contains(asked));
        let files = files.into_iter().map(|(name, (_, bytes))| (name, bytes)).collect();
        all.map(|()| Each { files, named_by })
    }
}

/// What to do about an item that no file can be named after.
const WAY_OUT: &str = "leave such items out, as in `'[item for item in services() if item.name | regex_match(pat=\"^[a-z]+$\")]'`, or \
                       make another name of them";

/// How an item is called, where that is a name that a registry listed: a service, a node or a key. A value is never shown.
fn name_of(item: Option<&Value>, listed: &Listed) -> Option<String> {
    let item = item?;
    let of_map = |wanted: &str| {
        let map = item.as_map()?;
        map.iter().find(|(key, _)| key.to_string() == wanted).and_then(|(_, value)| value.as_str())
    };
    let name = item.as_str().or_else(|| of_map("name")).or_else(|| of_map("key"))?;
    let is_listed = listed.contains(name) || name.split('/').all(|part| listed.contains(part));
    let is_unseen = |c: char| UNSEEN.iter().any(|unseen| unseen.contains(&c));
    let escaped = |c: char| if is_unseen(c) { c.escape_unicode().collect() } else { c.to_string() };
    (is_listed && !name.is_empty()).then(|| quoted(&name.chars().map(escaped).collect::<String>()))
}

/// In the name of a file nothing helps that lets a control character through.
fn in_a_name(error: TemplateError) -> TemplateError {
    let is_of_control = error.hint.as_deref().is_some_and(|hint| hint.contains("`| safe`"));
    if is_of_control { error.hint(WAY_OUT.to_owned()) } else { error }
}

impl<T> Rendering<T> {
    /// The same of an item of a `for_each`.
    fn of(mut self, item: &str) -> Self {
        self.output = self.output.map_err(|error| TemplateError { item: Some(item.to_owned()), ..error });
        self
    }

    /// The same with other hints.
    fn hinting(mut self, hinting: impl FnOnce(TemplateError) -> TemplateError) -> Self {
        self.output = self.output.map_err(hinting);
        self
    }
}

impl Rendering<()> {
    /// Takes in what another render of the same view asked; what it gave, unless it failed.
    fn take<T>(&mut self, other: Rendering<T>) -> Option<T> {
        self.reads.extend(other.reads);
        self.missing.extend(other.missing);
        self.no_weights += other.no_weights;
        self.warnings.extend(other.warnings);
        other.output.map_err(|error| self.fail(error)).ok()
    }

    /// The first error is the one that is told.
    fn fail(&mut self, error: TemplateError) {
        if self.output.is_ok() {
            self.output = Err(error);
        }
    }
}

/// The name of a file that is made of an item, or why it is none. The name itself comes of a registry, and is not shown. It begins with a dot only
/// where that is written out: `conf.d/*.conf` of nginx and others finds no such file, which would be missed in silence.
fn file_name(name: Vec<u8>, may_be_hidden: bool) -> Result<String, String> {
    let Ok(name) = String::from_utf8(name) else { return Err("has a name that is not UTF-8".into()) };
    let why = match name.as_str() {
        "" => "has an empty name".to_owned(),
        "." | ".." => "has the name of a folder".to_owned(),
        name if name.contains('/') => "has a `/` in its name, which would lead into another folder".to_owned(),
        name if name.contains(char::is_control) => "has a control character in its name".to_owned(),
        name if name.contains(|c| UNSEEN.iter().any(|unseen| unseen.contains(&c))) => {
            "has a character in its name that is not seen, or that turns others around".to_owned()
        }
        name if name.starts_with('-') => "has a name that begins with `-`, as options of commands do".to_owned(),
        name if name.len() > LONGEST => format!("has a name of {} bytes, and {LONGEST} are allowed", name.len()),
        name if name.contains(OUR_OWN) => format!("has `{OUR_OWN}` in its name, as our temporary files have"),
        name if name.starts_with('.') && !may_be_hidden => {
            "has a name that begins with `.`, which no `*.conf` of a program finds".to_owned()
        }
        _ => return Ok(name),
    };
    Err(why)
}
