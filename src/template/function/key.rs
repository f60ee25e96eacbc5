//! Keys and folders: `key`, `exists`, `prefix`, `tree`, `ls`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tera::Value;

use super::super::arguments::Arguments;
use super::super::error::{ErrorKind, Failure};
use super::super::literal::KINDS;
use super::super::record::{Absent, Render, Stop};
use super::super::view;
use super::{Written, asked, at_least, mismatch};
use crate::registry::{Answer, Asked, Data, Path, Query, Text};

/// The path of a call as it is written.
pub(super) fn path(written: &Written<'_>) -> Option<Path> {
    Path::parse(&written("path")?).ok()
}

/// `key(path=, default=, required=false, base64=false, optional=false)`: the text of a key.
pub(super) fn key(render: &mut Render, arguments: &Arguments<'_>) -> Result<Value, Stop> {
    let path = arguments.path("path", render)?;
    if path.is_root() {
        return Err(arguments.refused("path", "the root is a folder, not a key"));
    }
    let asked = asked(render, arguments, Query::Key(path))?;
    let base64 = arguments.flag("base64")?;
    let answer = match render.ask(&asked, arguments.flag("optional")?) {
        Err(Stop::Denied) => return absent(render, arguments, Absent::Query(asked)),
        answer => answer?,
    };
    match &answer.data {
        Data::Key(Some(text)) if base64 => {
            view::within(text, render.environment.limits.value, || asked.to_string())?;
            Ok(Value::from(STANDARD.encode(&text.0)))
        }
        Data::Key(Some(text)) => shown(render, &answer, text, &asked),
        Data::Key(None) => absent(render, arguments, Absent::Query(asked)),
        _ => Err(mismatch(&asked, &answer)),
    }
}

/// The text of a key or file, converted once for each answer.
pub(super) fn shown(render: &Render, answer: &Answer, text: &Text, asked: &Asked) -> Result<Value, Stop> {
    let limit = render.environment.limits.value;
    if let Some(value) = answer.view.get() {
        view::within(text, limit, || asked.to_string())?;
        return Ok(value.clone());
    }
    let value = Value::from(view::text(text, limit, || asked.to_string()).map_err(|failure| match failure.kind {
        ErrorKind::Function if matches!(asked.query, Query::Key(_)) => {
            failure.hint("`key(path=..., base64=true)` gives its bytes as base64")
        }
        _ => failure,
    })?);
    Ok(answer.view.get_or_init(|| value).clone())
}

/// What a call gives when the thing is not there: its default, else undefined; with `required=true` nothing.
pub(super) fn absent(render: &mut Render, arguments: &Arguments<'_>, absent: Absent) -> Result<Value, Stop> {
    if arguments.flag("required")? {
        return Err(match absent {
            Absent::Query(asked) => {
                let message = format!("{asked} is not there, and it is required");
                Failure::of(ErrorKind::Undefined { absent: vec![asked] }, message)
            }
            Absent::Variable(name) => Failure::new(format!("variable `{name}` is not set, and it is required")),
        }
        .into());
    }
    if let Some(default) = arguments.any("default") {
        return Ok(default.clone());
    }
    render.absent.insert(absent.clone());
    render.last_absent = Some(absent);
    Ok(Value::undefined())
}

/// `exists(path=)`: whether there is a key or a folder.
pub(super) fn exists(render: &mut Render, arguments: &Arguments<'_>) -> Result<Value, Stop> {
    let path = arguments.path("path", render)?;
    let asked = asked(render, arguments, Query::Exists(path))?;
    let answer = render.ask(&asked, arguments.flag("optional")?)?;
    match answer.data {
        Data::Exists(exists) => Ok(Value::from(exists)),
        _ => Err(mismatch(&asked, &answer)),
    }
}

/// `prefix(path=, min=0)`: the keys below a folder.
pub(super) fn prefix(render: &mut Render, arguments: &Arguments<'_>) -> Result<Value, Stop> {
    let path = arguments.path("path", render)?;
    let asked = asked(render, arguments, Query::Prefix(path))?;
    let answer = render.ask(&asked, arguments.flag("optional")?)?;
    let Data::Prefix(entries) = &answer.data else { return Err(mismatch(&asked, &answer)) };
    at_least(arguments, &asked, entries.len())?;
    view::check_entries(entries, &asked, render.environment.limits.value)?;
    Ok(answer.view.get_or_init(|| view::entries(entries)).clone())
}

/// `tree(path=)`: the keys below a folder as nested maps.
pub(super) fn tree(render: &mut Render, arguments: &Arguments<'_>) -> Result<Value, Stop> {
    let path = arguments.path("path", render)?;
    let asked = asked(render, arguments, Query::Prefix(path))?;
    let answer = render.ask(&asked, arguments.flag("optional")?)?;
    let Data::Prefix(entries) = &answer.data else { return Err(mismatch(&asked, &answer)) };
    view::check_entries(entries, &asked, render.environment.limits.value)?;
    if let Some(tree) = answer.tree.get() {
        return Ok(tree.clone());
    }
    let tree = view::tree(entries, &asked)?;
    Ok(answer.tree.get_or_init(|| tree).clone())
}

/// `ls(path=, kind="all")`: the direct names in a folder.
pub(super) fn ls(render: &mut Render, arguments: &Arguments<'_>) -> Result<Value, Stop> {
    let path = arguments.path("path", render)?;
    let kind = arguments.text("kind", render)?.unwrap_or("all");
    let kind = arguments.one_of("kind", kind, &KINDS)?;
    let asked = asked(render, arguments, Query::Listing(path))?;
    let answer = render.ask(&asked, arguments.flag("optional")?)?;
    let Data::Listing(names) = &answer.data else { return Err(mismatch(&asked, &answer)) };
    let lists = answer.view.get_or_init(|| view::names(names));
    lists.get_from_path(kind).cloned().ok_or_else(|| mismatch(&asked, &answer))
}
