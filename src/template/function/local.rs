//! What comes from this machine: `env`, `file`, `now`.

use std::num::NonZeroU64;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use tera::Value;

use super::super::arguments::Arguments;
use super::super::entry::{Entry, Group, optional, or, required};
use super::super::error::Failure;
use super::super::record::{Absent, Render, Stop};
use super::super::{CLOCK, LOCAL_FILES};
use super::key::{absent, shown};
use super::{Function, Placeholder, mismatch};
use crate::config::duration;
use crate::registry::clock::stepped;
use crate::registry::{Asked, COMPUTED, Data, FilePath, Query};

/// This machine.
pub(super) const MACHINE: Group<Function> = Group {
    name: "This machine",
    entries: &[
        Function {
            entry: Entry {
                name: "env",
                arguments: &[required("name"), optional("default"), or("required", "false")],
                takes: "",
                gives: "a variable of the environment as it was at the start; never `CONSUL_HTTP_AUTH`, `CONSUL_HTTP_TOKEN`, `ETCDCTL_PASSWORD`, `ETCDCTL_USER`, `VAULT_TOKEN`, unless `env: {allow: [..]}` lists them",
                empty: "as for `key`; a variable that is set to nothing is empty text",
                example: r#"{{ key(path="region/" ~ env(name="LIVECONF_EXAMPLE", default="eu")) }}"#,
                output: "Frankfurt",
            },
            question: None,
            placeholder: Placeholder::Text,
            call: Some(env),
        },
        Function {
            entry: Entry {
                name: "file",
                arguments: &[required("path"), optional("default"), or("required", "false")],
                takes: "",
                gives: "the text of a file, followed as it changes; relative to the configuration. A path that is put together leads to a file below the folder of the configuration, or one of `files: {allow: [..]}`, else the render fails",
                empty: "as for `key`; an empty file is empty text",
                example: r#"{{ file(path="motd", default="welcome") }}"#,
                output: "welcome",
            },
            question: None,
            placeholder: Placeholder::Text,
            call: Some(file),
        },
        Function {
            entry: Entry {
                name: "now",
                arguments: &[required("every")],
                takes: "",
                gives: "the Unix time at which the present step of `every` began, such as `1h`; the file is rendered anew with each step. The least is `1m`; steps count from 1970 in UTC, so that those of `1d` begin at midnight there. Where the variable `SOURCE_DATE_EPOCH` is set it is the time, as for tests",
                empty: "is always there",
                example: r#"{{ now(every="1h") | to_date(timezone="Europe/Berlin", format="%Y-%m-%d %H:00") }}"#,
                output: "2026-01-31 09:00",
            },
            question: None,
            placeholder: Placeholder::Text,
            call: Some(now),
        },
    ],
};

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
    let roots = || render.environment.roots.iter().chain([&render.environment.base]);
    // A part of any other may be a value.
    if !render.is_written(path) && !roots().any(|root| is_within(&render.environment.base.join(path), root)) {
        let why = "it is put together, and leads out of the folder of the configuration";
        let failure = arguments.refusal("path", why);
        return Err(failure.hint("list the folder under `files: {allow: [..]}`, or write the path in one text").into());
    }
    let asked = Asked { registry: LOCAL_FILES.into(), query: Query::File(file_path(render, path)) };
    let answer = render.ask(&asked, false)?;
    match &answer.data {
        Data::Key(Some(text)) => shown(render, &answer, text, &asked),
        Data::Key(None) => absent(render, arguments, Absent::Query(asked)),
        _ => Err(mismatch(&asked, &answer)),
    }
}

/// What says which time it is, in seconds since 1970, wherever that is not to be asked of a clock
/// (<https://reproducible-builds.org/specs/source-date-epoch/>).
const SOURCE_DATE_EPOCH: &str = "SOURCE_DATE_EPOCH";

/// `now(every=)`: the time at which the present step began, in seconds since 1970.
pub(super) fn now(render: &mut Render, arguments: &Arguments<'_>) -> Result<Value, Stop> {
    let every = match duration(arguments.required_text("every", render)?) {
        Ok(every) if every >= Duration::from_secs(60) && every.subsec_nanos() == 0 => every.as_secs(),
        Ok(_) => return Err(arguments.refused("every", "it is at least `1m`, in whole seconds")),
        Err(_) => return Err(arguments.refused("every", "it is no duration such as `1h`, `30m` or `1d`")),
    };
    // At least a minute.
    let every = NonZeroU64::new(every).unwrap_or(NonZeroU64::MIN);
    if let Some(time) = render.environment.variables.get(SOURCE_DATE_EPOCH) {
        let time: u64 = time
            .trim()
            .parse()
            .map_err(|_| Failure::new(format!("the variable `{SOURCE_DATE_EPOCH}` is no number of seconds")))?;
        return Ok(Value::from(stepped(time, every)));
    }
    let asked = Asked { registry: CLOCK.into(), query: Query::Time { every } };
    let answer = render.ask(&asked, false)?;
    let Data::Key(Some(text)) = &answer.data else { return Err(mismatch(&asked, &answer)) };
    let time: Option<u64> = std::str::from_utf8(&text.0).ok().and_then(|text| text.parse().ok());
    time.map(Value::from).ok_or_else(|| mismatch(&asked, &answer))
}

/// Whether a path leads to something below a folder, with its `..` taken as they are written.
fn is_within(path: &Path, root: &Path) -> bool {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain.starts_with(root) && plain != root
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
