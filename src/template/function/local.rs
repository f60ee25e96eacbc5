//! What comes from this machine or from the template itself: `env`, `file`, `throw`.

use tera::Value;

use super::super::LOCAL_FILES;
use super::super::arguments::Arguments;
use super::super::error::Failure;
use super::super::record::{Absent, Render, Stop};
use super::key::{absent, shown};
use super::mismatch;
use crate::registry::{Asked, COMPUTED, Data, FilePath, Query};

/// `env(name=, default=, required=false)`: a variable of the environment, as it was at the start.
pub(super) fn env(render: &mut Render, arguments: &Arguments<'_>) -> Result<Value, Stop> {
    let name = arguments.required_text("name", render)?;
    if let Some(value) = render.environment.variables.get(name) {
        return Ok(Value::from(value.as_str()));
    }
    let shown = if render.may_show(name) { name } else { COMPUTED };
    absent(render, arguments, Absent::Variable(shown.to_owned()))
}

/// `file(path=, default=, required=false)`: the text of a file, relative to the configuration.
pub(super) fn file(render: &mut Render, arguments: &Arguments<'_>) -> Result<Value, Stop> {
    let path = arguments.required_text("path", render)?;
    if path.is_empty() || path.contains('\0') {
        return Err(arguments.refused("path", "it is no path of a file"));
    }
    let asked = Asked { registry: LOCAL_FILES.into(), query: Query::File(file_path(render, path)) };
    let answer = render.ask(&asked, false)?;
    match &answer.data {
        Data::Key(Some(text)) => shown(render, &answer, text, &asked),
        Data::Key(None) => absent(render, arguments, Absent::Query(asked)),
        _ => Err(mismatch(&asked, &answer)),
    }
}

/// The path of a file, of which no more is shown than may be.
fn file_path(render: &mut Render, written: &str) -> FilePath {
    let path = render.environment.base.join(written);
    let shown = written.split('/').map(|segment| match segment {
        "" | "." | ".." => segment,
        _ if render.may_show(segment) => segment,
        _ => COMPUTED,
    });
    let shown = shown.collect::<Vec<_>>().join("/");
    if shown == written { path.into() } else { FilePath::computed(path, render.environment.base.join(shown)) }
}

/// `throw(message=)`: fails the render. The error shows the message where the template holds it word by word, and
/// hides one that was put together, since a value may be in it.
pub(super) fn throw(render: &mut Render, arguments: &Arguments<'_>) -> Result<Value, Stop> {
    let message = arguments.required_text("message", render)?;
    if !render.missing.is_empty() {
        return Err(Stop::Missing);
    }
    Err(Failure { suspect: true, ..Failure::new(message) }.into())
}
