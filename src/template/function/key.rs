//! Keys and folders: `key`, `exists`, `prefix`, `tree`, `ls`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tera::Value;

use super::super::arguments::Arguments;
use super::super::entry::{Entry, Group, optional, or, required};
use super::super::error::{ErrorKind, Failure};
use super::super::filter::glob;
use super::super::literal::KINDS;
use super::super::record::{Absent, Render, Stop};
use super::super::view;
use super::{Function, Placeholder, Written, asked, at_least, mismatch};
use crate::registry::{Answer, Asked, Data, Path, Query, Text};

/// Keys and folders.
pub(super) const KEYS: Group<Function> = Group {
    name: "Keys and folders",
    entries: &[
        Function {
            entry: Entry {
                name: "key",
                arguments: &[required("path"), optional("default"), or("required", "false"), or("base64", "false")],
                takes: "",
                gives: "the value of a key as text; with `base64=true` its bytes as base64",
                empty: "`default`, else undefined; with `required=true` the render fails",
                example: r#"{{ key(path="app/host") }}:{{ key(path="app/port", default="80") }}"#,
                output: "shop.local:80",
            },
            question: Some(|written| path(written).map(Query::Key)),
            placeholder: Placeholder::Text,
            call: Some(key),
        },
        Function {
            entry: Entry {
                name: "exists",
                arguments: &[required("path")],
                takes: "",
                gives: "whether there is a key or a folder",
                empty: "`false`",
                example: r#"{% if exists(path="app/tls") %}on{% else %}off{% endif %}"#,
                output: "off",
            },
            question: Some(|written| path(written).map(Query::Exists)),
            placeholder: Placeholder::False,
            call: Some(exists),
        },
        Function {
            entry: Entry {
                name: "prefix",
                arguments: &[required("path"), optional("glob"), or("min", "0")],
                takes: "",
                gives: "list of `{key, path, value}` at any depth below a folder; `key` relative, `path` whole; sorted by the bytes of `key`; with `glob` those whose `key` matches as in `glob_match`, such as `\"*\"` for what is in the folder itself",
                empty: "`[]`",
                example: r#"{% for e in prefix(path="sites", glob="*/port") %}{{ e.key | dirname }}={{ e.value }} {% endfor %}"#,
                output: "blog=8081 shop=8080 ",
            },
            question: Some(|written| path(written).map(Query::Prefix)),
            placeholder: Placeholder::List,
            call: Some(prefix),
        },
        Function {
            entry: Entry {
                name: "tree",
                arguments: &[required("path"), or("min", "0")],
                takes: "",
                gives: "the keys below a folder as nested maps, sorted; a name that is both key and folder is the folder, with its value under `\"\"`",
                empty: "`{}`",
                example: r#"{% for name, site in tree(path="sites") %}{{ name }}:{{ site.port }} {% endfor %}"#,
                output: "blog:8081 shop:8080 ",
            },
            question: Some(|written| path(written).map(Query::Prefix)),
            placeholder: Placeholder::Map,
            call: Some(tree),
        },
        Function {
            entry: Entry {
                name: "ls",
                arguments: &[required("path"), or("kind", "\"all\""), or("min", "0")],
                takes: "",
                gives: "the direct names in a folder, each once, sorted; `kind` is `\"all\"`, `\"keys\"` or `\"folders\"`",
                empty: "`[]`",
                example: r#"{% for name in ls(path="sites") %}{{ name }}:{{ key(path="sites/" ~ name ~ "/port") }} {% endfor %}"#,
                output: "blog:8081 shop:8080 ",
            },
            question: Some(|written| path(written).map(Query::Listing)),
            placeholder: Placeholder::List,
            call: Some(ls),
        },
    ],
};

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

/// `prefix(path=, glob=, min=0)`: the keys below a folder, all or those that match.
pub(super) fn prefix(render: &mut Render, arguments: &Arguments<'_>) -> Result<Value, Stop> {
    let path = arguments.path("path", render)?;
    let asked = asked(render, arguments, Query::Prefix(path))?;
    let answer = render.ask(&asked, arguments.flag("optional")?)?;
    let Data::Prefix(entries) = &answer.data else { return Err(mismatch(&asked, &answer)) };
    let limit = render.environment.limits.value;
    let Some(text) = arguments.text("glob", render)? else {
        at_least(render, arguments, &asked, entries.len())?;
        view::check_entries(entries, &asked, limit)?;
        return Ok(answer.view.get_or_init(|| view::entries(entries)).clone());
    };
    let pattern = glob("glob", text, arguments, render)?;
    let matching: Vec<_> = entries.iter().filter(|entry| pattern.is_match(&entry.key)).cloned().collect();
    at_least(render, arguments, &asked, matching.len())?;
    // What does not match is not looked at: it may be what no template can show.
    view::check_entries(&matching, &asked, limit)?;
    Ok(view::entries(&matching))
}

/// `tree(path=, min=0)`: the keys below a folder as nested maps.
pub(super) fn tree(render: &mut Render, arguments: &Arguments<'_>) -> Result<Value, Stop> {
    let path = arguments.path("path", render)?;
    let asked = asked(render, arguments, Query::Prefix(path))?;
    let answer = render.ask(&asked, arguments.flag("optional")?)?;
    let Data::Prefix(entries) = &answer.data else { return Err(mismatch(&asked, &answer)) };
    view::check_entries(entries, &asked, render.environment.limits.value)?;
    let tree = if let Some(tree) = answer.tree.get() {
        tree.clone()
    } else {
        let tree = view::tree(entries, &asked)?;
        answer.tree.get_or_init(|| tree).clone()
    };
    at_least(render, arguments, &asked, tree.len().unwrap_or_default())?;
    Ok(tree)
}

/// `ls(path=, kind="all", min=0)`: the direct names in a folder.
pub(super) fn ls(render: &mut Render, arguments: &Arguments<'_>) -> Result<Value, Stop> {
    let path = arguments.path("path", render)?;
    let kind = arguments.text("kind", render)?.unwrap_or("all");
    let kind = arguments.one_of("kind", kind, &KINDS)?;
    let asked = asked(render, arguments, Query::Listing(path))?;
    let answer = render.ask(&asked, arguments.flag("optional")?)?;
    let Data::Listing(names) = &answer.data else { return Err(mismatch(&asked, &answer)) };
    let lists = answer.view.get_or_init(|| view::names(names));
    let list = lists.get_from_path(kind).cloned().ok_or_else(|| mismatch(&asked, &answer))?;
    at_least(render, arguments, &asked, list.len().unwrap_or_default())?;
    Ok(list)
}
