//! The keyword arguments of a call, read with the checks that all functions and filters share.

use tera::value::Key;
use tera::{Kwargs, Map, Value};

use super::error::{ErrorKind, Failure, did_you_mean, undefined};
use super::record::{Render, Stop};
use crate::registry::Path;

/// The arguments of one call. Which names there are was checked when the template was loaded.
pub(super) struct Arguments<'a> {
    call: &'a str,
    kwargs: &'a Kwargs,
}

impl<'a> Arguments<'a> {
    /// The arguments of a call of the function or filter `call`.
    pub(super) fn new(call: &'a str, kwargs: &'a Kwargs) -> Self {
        Self { call, kwargs }
    }

    /// A value of any type; `Undefined` counts as not given, so that `default=` may be passed on.
    pub(super) fn any(&self, name: &'a str) -> Option<&'a Value> {
        self.kwargs.get::<&Value>(name).ok().flatten().filter(|value| !value.is_undefined())
    }

    /// A value that must be defined when it is given.
    pub(super) fn value(&self, name: &'a str) -> Result<Option<&'a Value>, Stop> {
        match self.kwargs.get::<&Value>(name).ok().flatten() {
            Some(value) if value.is_undefined() => {
                Err(undefined(format!("`{name}` of `{}` is undefined", self.call)).into())
            }
            other => Ok(other),
        }
    }

    /// A text.
    pub(super) fn text(&self, name: &'a str, render: &Render) -> Result<Option<&'a str>, Stop> {
        let Some(value) = self.value(name)? else { return Ok(None) };
        self.as_text(name, value, render).map(Some)
    }

    /// A text that must be given.
    pub(super) fn required_text(&self, name: &'a str, render: &Render) -> Result<&'a str, Stop> {
        self.text(name, render)?.ok_or_else(|| self.absent(name))
    }

    /// One text or a list of texts; empty when it is not given.
    pub(super) fn texts(&self, name: &'a str, render: &Render) -> Result<Vec<&'a str>, Stop> {
        let Some(value) = self.value(name)? else { return Ok(Vec::new()) };
        match value.as_array() {
            Some(items) => items.iter().map(|item| self.as_text(name, item, render)).collect(),
            None => Ok(vec![self.as_text(name, value, render)?]),
        }
    }

    /// `true` or `false`; false when it is not given.
    pub(super) fn flag(&self, name: &'a str) -> Result<bool, Stop> {
        let Some(value) = self.value(name)? else { return Ok(false) };
        value.as_bool().ok_or_else(|| self.wrong_type(name, "`true` or `false`", value))
    }

    /// A number of things.
    pub(super) fn count(&self, name: &'a str) -> Result<Option<u64>, Stop> {
        let Some(value) = self.value(name)? else { return Ok(None) };
        value.as_u64().map(Some).ok_or_else(|| self.wrong_type(name, "a number from 0", value))
    }

    /// A whole number, also a negative one.
    pub(super) fn integer(&self, name: &'a str) -> Result<Option<i64>, Stop> {
        let Some(value) = self.value(name)? else { return Ok(None) };
        let number = value.as_i64().filter(|_| value.is_number());
        number.map(Some).ok_or_else(|| self.wrong_type(name, "a whole number", value))
    }

    /// A list that must be given.
    pub(super) fn list(&self, name: &'a str, render: &Render) -> Result<&'a [Value], Stop> {
        let value = self.value(name)?.ok_or_else(|| self.absent(name))?;
        if value.as_str().is_some_and(|text| render.is_placeholder(text)) {
            return Err(Stop::Missing);
        }
        value.as_array().ok_or_else(|| self.wrong_type(name, "a list", value))
    }

    /// A map that must be given.
    pub(super) fn map(&self, name: &'a str, render: &Render) -> Result<&'a Map, Stop> {
        let value = self.value(name)?.ok_or_else(|| self.absent(name))?;
        if value.as_str().is_some_and(|text| render.is_placeholder(text)) {
            return Err(Stop::Missing);
        }
        value.as_map().ok_or_else(|| self.wrong_type(name, "a map", value))
    }

    /// A path of a key.
    pub(super) fn path(&self, name: &'a str, render: &mut Render) -> Result<Path, Stop> {
        let text = self.required_text(name, render)?;
        Path::parse(text).map(|path| render.showing(path)).map_err(|error| self.refused(name, &error.to_string()))
    }

    /// A name out of a list of names, with what it stands for.
    pub(super) fn one_of<T: Copy>(&self, name: &'a str, text: &str, choices: &[(&str, T)]) -> Result<T, Stop> {
        choices.iter().find(|(choice, _)| *choice == text).map(|(_, meaning)| *meaning).ok_or_else(|| {
            let known = choices.iter().map(|(choice, _)| *choice);
            let list = known.clone().map(|choice| format!("`{choice}`")).collect::<Vec<_>>().join(", ");
            let hint = did_you_mean(text, known).unwrap_or_else(|| format!("it is one of {list}"));
            Failure::new(format!("`{name}` of `{}` is none of the names it may be", self.call)).hint(hint).into()
        })
    }

    /// The failure of an argument whose content is refused.
    pub(super) fn refused(&self, name: &str, why: &str) -> Stop {
        self.refusal(name, why).into()
    }

    /// The same for whoever has advice to add.
    pub(super) fn refusal(&self, name: &str, why: &str) -> Failure {
        Failure::new(format!("`{name}` of `{}` is refused: {why}", self.call))
    }

    /// The failure of an argument that must be given.
    pub(super) fn absent(&self, name: &str) -> Stop {
        Failure::of(ErrorKind::Syntax, format!("`{}` needs `{name}=`", self.call)).into()
    }

    fn as_text(&self, name: &str, value: &'a Value, render: &Render) -> Result<&'a str, Stop> {
        let text = value.as_str().ok_or_else(|| self.wrong_type(name, "text", value))?;
        if render.is_placeholder(text) { Err(Stop::Missing) } else { Ok(text) }
    }

    fn wrong_type(&self, name: &str, wanted: &str, value: &Value) -> Stop {
        Failure::new(format!("`{name}` of `{}` must be {wanted}, not {}", self.call, type_name(value))).into()
    }
}

/// What a value is, for messages.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value.name() {
        "undefined" => "undefined",
        "none" => "none",
        "bool" => "a truth value",
        "string" => "text",
        "array" => "a list",
        "bytes" => "bytes",
        "map/struct" => "a map",
        _ => "a number",
    }
}

/// The attribute at a path such as `meta.zone`. A name that holds dots itself goes first.
pub(super) fn attribute<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    let map: &Map = value.as_map()?;
    // By way of the index: a look-up by `Key` ties the lifetime of what it gives to that of the path.
    let get = |name| map.get_index_of(&Key::Str(name)).and_then(|index| map.get_index(index)).map(|(_, found)| found);
    if let Some(found) = get(path) {
        return Some(found);
    }
    let (first, rest) = path.split_once('.')?;
    attribute(get(first)?, rest)
}
