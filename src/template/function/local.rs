//! What comes from this machine: `env`, `file`.

use std::path::{Component, Path, PathBuf};

use tera::Value;

use super::super::LOCAL_FILES;
use super::super::arguments::Arguments;
use super::super::entry::{Entry, Group, optional, or, required};
use super::super::record::{Absent, Render, Stop};
use super::key::{absent, shown};
use super::{Function, Placeholder, mismatch};
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
