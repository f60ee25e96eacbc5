//! Filters that make a value safe for the files of one program, or for environments. Registry values are hostile: these
//! fail the render rather than let a value mean something else than itself.

use std::collections::HashMap;

use tera::{Map, Value};

use super::super::arguments::{Arguments, attribute};
use super::super::entry::{Entry, Group, or, required};
use super::super::error::Failure;
use super::super::near;
use super::super::record::{Render, Stop};
use super::list::lacks;
use super::place::{printable, refused};
use super::{Filter, list_of, text_of, text_or_number};

/// What makes a value safe for the files of one program, or for environments.
pub(super) const PROGRAMS: Group<Filter> = Group {
    name: "For the files of one program",
    entries: &[
        Filter::new(
            directive,
            Entry {
                name: "directive",
                arguments: &[or("without", r#""""#)],
                takes: "text, number",
                gives: "text on one line that has none of the characters in `without`; for what the author of a template writes into a directive, and not for values",
                empty: "empty",
                example: r#"{{ "max_fails=2" | directive(without=";") }}"#,
                output: "max_fails=2",
            },
        ),
        Filter::new(
            env_name,
            Entry {
                name: "env_name",
                arguments: &[],
                takes: "text",
                gives: "the path of a key as the name of a variable; in upper case, with `_` for `/`, `-` and `.`",
                empty: "fails",
                example: r#"{{ "db/max-size" | env_name }}"#,
                output: "DB_MAX_SIZE",
            },
        ),
        Filter::new(
            env_names,
            Entry {
                name: "env_names",
                arguments: &[required("prefix")],
                takes: "list",
                gives: "list of `{name, value}` out of one of `{key, value}`; `name` is `env_name` of `prefix` and the key, and two keys of one name fail the render",
                empty: "`[]`",
                example: r#"{% for v in prefix(path="app/db") | env_names(prefix="DB_") %}{{ v.name }}={{ v.value }} {% endfor %}"#,
                output: "DB_POOL=10 DB_USER=shop ",
            },
        ),
        Filter::new(
            env_quote,
            Entry {
                name: "env_quote",
                arguments: &[],
                takes: "text, number",
                gives: "text in double quotes for a file of variables; a shell and systemd read it; no control character but a tab",
                empty: r#"`""`"#,
                example: r#"{{ "a $b" | env_quote }}"#,
                output: r#""a \$b""#,
            },
        ),
        Filter::new(
            haproxy_pattern,
            Entry {
                name: "haproxy_pattern",
                arguments: &[or("word", "false")],
                takes: "text, number",
                gives: "a line of a file of patterns or a map of HAProxy; with `word=true` its key, without white space; no `#` at its beginning, no white space at its ends",
                empty: "fails",
                example: r#"{{ "a b" | haproxy_pattern }}"#,
                output: "a b",
            },
        ),
        Filter::new(
            label_name,
            Entry {
                name: "label_name",
                arguments: &[],
                takes: "text",
                gives: "the name of a label of Prometheus, with `_` for `-` and `.`; none that begins with `__`",
                empty: "fails",
                example: r#"{{ "app-version" | label_name }}"#,
                output: "app_version",
            },
        ),
        Filter::new(
            nginx_map_key,
            Entry {
                name: "nginx_map_key",
                arguments: &[],
                takes: "text, number",
                gives: "what `map` of nginx compares with, in double quotes; `default`, `~` and their like lose their meaning",
                empty: r#"`""`"#,
                example: r#"{{ "~a" | nginx_map_key }}"#,
                output: r#""\\~a""#,
            },
        ),
        Filter::new(
            pgbouncer_quote,
            Entry {
                name: "pgbouncer_quote",
                arguments: &[],
                takes: "text, number",
                gives: "text in single quotes for a connection string of PgBouncer; no control character",
                empty: "`''`",
                example: r#"{{ "it's" | pgbouncer_quote }}"#,
                output: "'it''s'",
            },
        ),
        Filter::new(
            systemd_quote,
            Entry {
                name: "systemd_quote",
                arguments: &[],
                takes: "text, number",
                gives: "text in double quotes for a unit of systemd; `%` is doubled, no control character",
                empty: r#"`""`"#,
                example: r#"{{ "5% b" | systemd_quote }}"#,
                output: r#""5%% b""#,
            },
        ),
    ],
};

/// A text in double quotes for a file of variables that a POSIX shell or systemd reads: both take `\"`, `\\`, `` \` `` and
/// `\$` for the character itself (POSIX.1, XCU 2.2.3; `os-release(5)`). Control characters are refused, but for a tab.
pub(super) fn env_quote(value: &Value, _: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let text = text_or_number(value, "env_quote")?;
    if text.chars().any(|c| c.is_control() && c != '\t') {
        return Err(refused("env_quote", "it holds a control character", value, render));
    }
    Ok(quoted(&text, |c| matches!(c, '"' | '\\' | '`' | '$').then_some('\\')))
}

/// The name of a variable of the environment out of the path of a key: in upper case, with `_` for `/`, `-` and `.`.
pub(super) fn env_name(value: &Value, _: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    variable(text_of(value, "env_name")?, "env_name", render).map(Value::from)
}

/// The variables that keys are: what is called `key` becomes `name`. Two of one name are refused.
pub(super) fn env_names(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let prefix = arguments.required_text("prefix", render)?;
    let items = list_of(value, "env_names")?;
    // Whatever the keys are called.
    if !is_identifier(&variable_of(&format!("{prefix}a"))) {
        render.note_refused(prefix);
        let why = "it has other characters than letters, digits, `_`, `/`, `-` and `.`, or begins with a digit";
        return Err(arguments.refused("prefix", why));
    }
    let mut variables = Vec::with_capacity(items.len());
    let mut keys: HashMap<String, &str> = HashMap::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let field = |path| attribute(item, path).ok_or_else(|| lacks(path, index, item, "env_names", render));
        let (key, value) = (text_of(field("key")?, "env_names")?, field("value")?);
        let name = variable(&format!("{prefix}{key}"), "env_names", render)?;
        if let Some(before) = keys.insert(name.clone(), key) {
            // What stands in no list and in no template may be a value.
            let shown = |key: &str| render.lists_key(key) || render.is_written(key);
            let twins = if shown(before) && shown(key) {
                format!(
                    "keys {} and {} have one name, {}",
                    near::quoted(before),
                    near::quoted(key),
                    near::quoted(&name)
                )
            } else {
                "two keys have one name".to_owned()
            };
            let hint = "`/`, `-` and `.` become `_`, and small letters capital ones: give one of them another name";
            return Err(Failure::new(format!("`env_names` refuses what it was given: {twins}")).hint(hint).into());
        }
        let fields = [("name".into(), Value::from(name)), ("value".into(), value.clone())];
        variables.push(Value::from(fields.into_iter().collect::<Map>()));
    }
    Ok(Value::from(variables))
}

/// The name of a variable of the environment.
fn variable(text: &str, filter: &str, render: &Render) -> Result<String, Stop> {
    let name = variable_of(text);
    if is_identifier(&name) {
        return Ok(name);
    }
    let why = "it has other characters than letters, digits, `_`, `/`, `-` and `.`, begins with a digit, or is empty";
    Err(refused_name(filter, why, text, render))
}

/// What a path is as the name of a variable, if it can be one.
fn variable_of(text: &str) -> String {
    let letter = |c: char| if "/-.".contains(c) { '_' } else { c.to_ascii_uppercase() };
    text.chars().map(letter).collect()
}

/// The failure of a filter that refuses a name, with the key that is called so.
fn refused_name(filter: &str, why: &str, name: &str, render: &Render) -> Stop {
    let origin = render.origin_of_name(name).or_else(|| render.origin(&Value::from(name)));
    let origin = origin.map(|origin| format!(": {origin}")).unwrap_or_default();
    Failure::new(format!("`{filter}` refuses what it was given: {why}{origin}")).into()
}

/// A text in double quotes for a unit of systemd, which reads `\"` and `\\` in them, and `%%` for a `%`, which begins a
/// specifier otherwise (`systemd.syntax(7)`, `systemd.unit(5)`). Control characters are refused.
pub(super) fn systemd_quote(value: &Value, _: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let text = printable(value, "systemd_quote", render)?;
    Ok(quoted(&text, |c| match c {
        '"' | '\\' => Some('\\'),
        '%' => Some('%'),
        _ => None,
    }))
}

/// A value in single quotes for a connection string of PgBouncer, in which a single quote is doubled and nothing else has
/// a meaning. Control characters are refused.
pub(super) fn pgbouncer_quote(value: &Value, _: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let text = printable(value, "pgbouncer_quote", render)?;
    Ok(Value::from(format!("'{}'", text.replace('\'', "''"))))
}

/// The name of a label of Prometheus, with `_` for `-` and `.`. Those that begin with `__` are its own.
pub(super) fn label_name(value: &Value, _: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let text = text_of(value, "label_name")?;
    let name = text.replace(['-', '.'], "_");
    if is_identifier(&name) && !name.starts_with("__") {
        return Ok(Value::from(name));
    }
    let why =
        "it has other characters than letters, digits, `_`, `-` and `.`, begins with a digit or `__`, or is empty";
    Err(refused_name("label_name", why, text, render))
}

/// What `map` of nginx compares with, in double quotes. A backslash before it makes a text of `default`, `hostnames`,
/// `include`, `volatile` and of what begins with `~` or a backslash (`ngx_http_map_module`).
pub(super) fn nginx_map_key(value: &Value, _: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let text = printable(value, "nginx_map_key", render)?;
    let has_meaning =
        ["default", "hostnames", "include", "volatile"].contains(&text.as_ref()) || text.starts_with(['~', '\\']);
    let text = if has_meaning { format!("\\{text}").into() } else { text };
    Ok(quoted(&text, |c| matches!(c, '"' | '\\').then_some('\\')))
}

/// A line of a file of patterns of HAProxy, or with `word=true` its first word. White space at both ends would vanish,
/// an empty line too, and `#` begins a comment.
pub(super) fn haproxy_pattern(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let text = printable(value, "haproxy_pattern", render)?;
    let why = if text.is_empty() || text.starts_with('#') {
        "it is empty or begins with `#`"
    } else if text.trim() != text {
        "it begins or ends with white space"
    } else if arguments.flag("word")? && text.contains(char::is_whitespace) {
        "it holds white space, which ends the key"
    } else {
        return Ok(Value::from(text));
    };
    Err(refused("haproxy_pattern", why, value, render))
}

/// What the author of a template writes into a directive as it is. It is on one line and has none of the characters
/// in `without=`, which would end the directive, so that a value which strays in here stays within it.
pub(super) fn directive(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let without = arguments.text("without", render)?.unwrap_or_default();
    let text = printable(value, "directive", render)?;
    if let Some(held) = text.chars().find(|&c| without.contains(c)) {
        // What `without` says may be a value too.
        let held = if render.is_written(without) {
            format!("a {}", near::quoted(&held.to_string()))
        } else {
            "one of the characters in `without`".to_owned()
        };
        return Err(refused(
            "directive",
            &format!("it holds {held}, with which the directive would end"),
            value,
            render,
        ));
    }
    Ok(Value::from(text))
}

/// A text in double quotes, with the character that `escape` gives before each that needs one.
fn quoted(text: &str, escape: impl Fn(char) -> Option<char>) -> Value {
    let escaped = text.chars().flat_map(|c| escape(c).into_iter().chain([c]));
    Value::from(std::iter::once('"').chain(escaped).chain(['"']).collect::<String>())
}

/// What C and most others take for a name.
fn is_identifier(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
