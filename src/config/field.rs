//! One value of the configuration, read as what it has to be.

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use super::document::{Document, Reading};
use super::expand::{expand, pieces};
use super::places::Places;
use super::problem::Complaint;
use super::section::Section;
use super::units::{self, Misfit};
use crate::secret::Secret;
use crate::yaml::{Node, Value};

/// One value with the key that it stands under. A reader notes a problem and gives nothing when the value is not
/// what it has to be.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) reading: &'a Reading<'a>,
    pub(super) document: &'a Document,
    pub(super) key: &'a str,
    pub(super) node: &'a Node,
}

impl<'a> Field<'a> {
    /// The whole of a document.
    pub(super) fn root(reading: &'a Reading<'a>, document: &'a Document) -> Self {
        Self { reading, document, key: "", node: &document.root }
    }

    /// Text, with `${VAR}` expanded.
    pub(super) fn text(self) -> Option<String> {
        self.expanded("text").map(Cow::into_owned)
    }

    /// Text, with `${VAR}` expanded, and where its parts stand in the file.
    pub(super) fn placed_text(self) -> Option<(String, Places)> {
        let text = self.text()?;
        let written = self.node.text().unwrap_or_default();
        let places = self.document.places(self.node);
        if text == written || !self.document.expands() {
            return Some((text, places));
        }
        // The same text as above, or it would not have come back.
        let pieces = pieces(written, self.reading.environment).ok()?;
        let pieces: Vec<_> = pieces.iter().map(|piece| (piece.text.len(), piece.origin, piece.is_written)).collect();
        Some((text, places.replaced(written, &pieces)))
    }

    /// A list of texts; a single text is a list of one.
    pub(super) fn texts(self) -> Option<Vec<String>> {
        let items = match &self.node.value {
            Value::List(_) => self.items()?,
            Value::Scalar(_) | Value::Map(_) => vec![self],
        };
        // Every item is read before any is missed, so that each complains.
        let texts: Vec<_> =
            items.into_iter().map(|item| item.expanded("a list of texts").map(Cow::into_owned)).collect();
        texts.into_iter().collect()
    }

    /// A path; a relative one starts at the folder of the configuration.
    pub(super) fn path(self) -> Option<PathBuf> {
        let text = self.expanded("a path")?;
        if text.is_empty() || text.contains('\0') {
            return self.misfit("a path", None);
        }
        if text == "~" || text.starts_with("~/") {
            return self.misfit("a path", Some("write `${HOME}` for `~`".into()));
        }
        Some(self.document.base.join(&*text))
    }

    /// `true` or `false`.
    pub(super) fn flag(self) -> Option<bool> {
        let expected = "`true` or `false`";
        match &*self.expanded(expected)? {
            "true" => Some(true),
            "false" => Some(false),
            _ => self.misfit(expected, None),
        }
    }

    /// A whole number.
    pub(super) fn integer(self) -> Option<u64> {
        self.measure("a whole number", units::integer)
    }

    /// A duration with its unit.
    pub(super) fn duration(self) -> Option<Duration> {
        self.measure(units::DURATION, units::duration)
    }

    /// A duration with its unit, longer than nothing.
    pub(super) fn nonzero_duration(self) -> Option<Duration> {
        let duration = self.duration()?;
        if duration.is_zero() {
            self.complain(Complaint::new(format!("`{}` cannot be `0`", self.key)))
        } else {
            Some(duration)
        }
    }

    /// `never`, or a duration with its unit.
    #[expect(clippy::option_option, reason = "nothing comes back for a wrong value, and `never` is a right one")]
    pub(super) fn duration_or_never(self) -> Option<Option<Duration>> {
        self.measure("`never` or a duration such as `10m`", |text| match text {
            "never" => Ok(None),
            text => units::duration(text).map(Some),
        })
    }

    /// A size in bytes with its unit.
    pub(super) fn size(self) -> Option<u64> {
        self.measure("a size such as `64KiB` or `8MB`", units::size)
    }

    /// A share of a hundred with its sign.
    pub(super) fn percent(self) -> Option<u64> {
        self.measure("a share such as `50%`", units::percent)
    }

    /// A password or token.
    pub(super) fn secret(self) -> Option<Secret> {
        self.text().map(Secret::new)
    }

    /// One of several words.
    pub(super) fn choice<T: Copy>(self, choices: &[(&str, T)]) -> Option<T> {
        let names: Vec<String> = choices.iter().map(|(name, _)| format!("`{name}`")).collect();
        let expected = match names.split_last() {
            Some((last, before)) if !before.is_empty() => format!("{} or {last}", before.join(", ")),
            _ => names.concat(),
        };
        let text = self.expanded(&expected)?;
        match choices.iter().find(|(name, _)| *name == text) {
            Some((_, choice)) => Some(*choice),
            None => self.misfit(&expected, None),
        }
    }

    /// The items of a list.
    pub(super) fn items(self) -> Option<Vec<Field<'a>>> {
        match &self.node.value {
            Value::List(items) => Some(items.iter().map(|node| Field { node, ..self }).collect()),
            Value::Scalar(_) | Value::Map(_) => self.misfit("a list", None),
        }
    }

    /// The entries of a mapping whose keys are names: each key with its value. Null is a mapping without entries.
    pub(super) fn entries(self) -> Option<Vec<(Field<'a>, Field<'a>)>> {
        match &self.node.value {
            Value::Map(entries) => Some(
                entries
                    .iter()
                    .map(|(key, value)| {
                        let name = key.text().unwrap_or_default();
                        (Field { node: key, ..self }, Field { key: name, node: value, ..self })
                    })
                    .collect(),
            ),
            Value::Scalar(scalar) if scalar.null => Some(Vec::new()),
            Value::Scalar(_) | Value::List(_) => self.misfit("a mapping", None),
        }
    }

    /// A mapping that is read key by key. Null is a mapping without keys.
    pub(super) fn section(self) -> Option<Section<'a>> {
        match &self.node.value {
            Value::Map(_) => Some(Section::new(self)),
            Value::Scalar(scalar) if scalar.null => Some(Section::new(self)),
            Value::Scalar(_) | Value::List(_) => self.misfit("a mapping", None),
        }
    }

    /// Whether the value is a scalar, a list or a mapping decides how it is read.
    pub(super) fn is_map(self) -> bool {
        matches!(self.node.value, Value::Map(_))
    }

    /// See [`Field::is_map`].
    pub(super) fn is_list(self) -> bool {
        matches!(self.node.value, Value::List(_))
    }

    /// Notes a problem here.
    pub(super) fn note(self, complaint: Complaint) {
        self.reading.problem(self.document.problem(self.node, complaint));
    }

    /// Notes a problem here and gives nothing, as the end of a reader.
    pub(super) fn complain<T>(self, complaint: Complaint) -> Option<T> {
        self.note(complaint);
        None
    }

    /// The value; a complaint instead of one is noted here.
    pub(super) fn accept<T>(self, result: Result<T, Complaint>) -> Option<T> {
        result.map_or_else(|complaint| self.complain(complaint), Some)
    }

    /// Notes a warning here.
    pub(super) fn warn(self, complaint: Complaint) {
        self.reading.warning(self.document.problem(self.node, complaint));
    }

    /// Where it stands.
    pub(super) fn place(self) -> String {
        self.document.place(self.node)
    }

    /// Notes that the value is not what it has to be.
    pub(super) fn misfit<T>(self, expected: &str, hint: Misfit) -> Option<T> {
        let subject = if self.key.is_empty() { "the configuration".into() } else { format!("`{}`", self.key) };
        let message = format!("{subject} takes {expected}, found {}", self.found());
        self.complain(Complaint { message, hint })
    }

    /// The text of a scalar with its variables replaced.
    pub(super) fn expanded(self, expected: &str) -> Option<Cow<'a, str>> {
        match &self.node.value {
            Value::Scalar(scalar) if !scalar.null => self.accept(self.expand(&scalar.text)),
            Value::Scalar(_) | Value::List(_) | Value::Map(_) => self.misfit(expected, None),
        }
    }

    pub(super) fn expand(self, text: &'a str) -> Result<Cow<'a, str>, Complaint> {
        if self.document.expands() { expand(text, self.reading.environment) } else { Ok(Cow::Borrowed(text)) }
    }

    /// What `read` makes of the text; a hint is not told where the text may be a secret.
    pub(super) fn measure<T>(self, expected: &str, read: impl Fn(&str) -> Result<T, Misfit>) -> Option<T> {
        match read(&self.expanded(expected)?) {
            Ok(value) => Some(value),
            Err(hint) => self.misfit(expected, hint.filter(|_| !self.is_variable())),
        }
    }

    /// What stands here, as it is written: what a variable stands for may be a secret.
    fn found(self) -> String {
        match &self.node.value {
            Value::Scalar(scalar) if scalar.null => "nothing".into(),
            Value::Scalar(scalar) => {
                let short: String = scalar.text.chars().take(60).collect();
                let dots = if short.len() < scalar.text.len() { "..." } else { "" };
                format!("`{}{dots}`", short.escape_debug())
            }
            Value::List(_) => "a list".into(),
            Value::Map(_) => "a mapping".into(),
        }
    }

    /// Whether the value comes, at least in part, from the environment.
    /// A message with the variables of this value in the place of what they gave.
    pub(super) fn with_variables(self, message: String) -> String {
        match &self.node.value {
            Value::Scalar(scalar) if self.is_variable() => match self.expand(&scalar.text) {
                Ok(given) if !given.is_empty() => {
                    // Of an address it may be what follows its user that is shown.
                    let shown = given.rsplit('@').next().unwrap_or_default().to_owned();
                    let message = message.replace(&*given, &scalar.text);
                    if shown.is_empty() { message } else { message.replace(&shown, &scalar.text) }
                }
                _ => message,
            },
            Value::Scalar(_) | Value::Map(_) => message,
            Value::List(items) => {
                items.iter().fold(message, |message, node| Field { node, ..self }.with_variables(message))
            }
        }
    }

    fn is_variable(self) -> bool {
        self.document.expands() && self.node.text().is_some_and(|text| text.contains("${"))
    }
}
