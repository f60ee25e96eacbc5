//! What a scalar may look like, for each word of the column *takes* in the reference.
//!
//! Every scalar may hold `${VAR}`, so everything else is a pattern beside that. YAML hands an editor numbers and truth values
//! where the reader of the configuration sees their text; where these make no difference, they are let through.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// Text without `{{` and `{%`.
pub(super) const NO_TAG: &str = r"^[^{]*(\{[^{%][^{]*)*\{?$";

/// The durations that may be no time at all.
const MAY_BE_NOTHING: [&str; 7] = ["grace", "after", "hold", "kill_timeout", "reload_interval", "settle", "splay"];

const DURATION: &str = "a duration such as `100ms`, `2s` or `1h30m`";

/// One duration, with the units of `humantime`.
const TIME: &str = concat!(
    r"(0|([0-9]+(\.[0-9]+)? ?(nanos|nsec|ns|usec|[uµ]s|millis|msec|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h",
    r"|days?|d|weeks?|wks?|w|months?|years?|yrs?|y) ?)+)",
);

/// What a scalar is that takes this, without anything that is no scalar; none for what takes none.
pub(super) fn scalar(heading: &str, key: &str, takes: &str) -> Option<Value> {
    let seconds = |before: &str, after: &str| format!("^({before}{TIME}{after})$");
    Some(match takes {
        "text" | "program" | "group" | "user" => match (heading, key) {
            ("Templates", "group") => text(r"^[^\s:/]+$", "the name or number of a group"),
            ("`tcp`", "address") => text(r"^(\[[^\]]*\]|[^:]+):[1-9][0-9]{0,4}$", "`host:port`"),
            (_, "url") => {
                text("^http://[^/@]", "an address such as `http://127.0.0.1:8080/health`; `https` needs a command")
            }
            (_, "shell") => text(r"\S", "a script for `sh -c`"),
            ("Templates", "name") => text(r"^[^{}\x00-\x1f]+$", "a name without braces and control characters"),
            _ => any(),
        },
        "name" => match key {
            "signal" | "stop_signal" => signal(),
            "unit" => text(r"^[A-Za-z0-9:_.\\@][A-Za-z0-9:_.\\@-]*$", "the name of a unit, such as `nginx.service`"),
            // Of a lock that names none there is one.
            "registry" => with(text(&format!("^({NAME})?$"), A_NAME), &json!({"minimum": 0})),
            _ => with(text(&format!("^{NAME}$"), A_NAME), &json!({"minimum": 0})),
        },
        "path" | "path, `none`" | "path, `{dest}`" => path(),
        // Digits that YAML takes for a number are what they stand for, so `0o644` is 420 by then.
        "octal digits" => {
            let mode = text(r"^(0o)?0?[0-7]{3,4}$", "octal digits such as `644` or `0600`");
            with(mode, &json!({"type": ["string", "integer"], "minimum": 0o040, "maximum": 7777}))
        }
        "`user` or `user:group`" => text(r"^[^\s:/]+(:[^\s:/]+)?$", "`user` or `user:group`, by name or number"),
        "expression" => text(NO_TAG, "an expression without braces, such as `services(tag=\"public\")`"),
        "duration" if MAY_BE_NOTHING.contains(&key) => no_number(text(&seconds("", ""), DURATION)),
        "duration" => something(text(&seconds("", ""), DURATION)),
        "`never`, duration" => no_number(text(&seconds("never|", ""), "`never` or a duration such as `10m`")),
        "range, duration" | "range or duration" => {
            let range = format!("^{TIME}( ?\\.\\. ?{TIME})?$");
            something(text(&range, "a range such as `1s..60s` or a duration, and does not begin with `0`"))
        }
        "range, duration, `0`" => {
            let range = format!("^{TIME}( ?\\.\\. ?{TIME})?$");
            no_number(text(&range, "a range such as `100ms..2s`, a duration, or `0`"))
        }
        "size" => something(text("^[0-9]+ *([kKmMgG][iI]?)?[bB]$", "a size such as `64KiB` or `8MB`")),
        "share" => with(text("^(100|[1-9]?[0-9])%$", "a share such as `50%`"), &json!({"type": ["string"]})),
        "number" => {
            let least = match key {
                "holders" | "keys" => 1,
                "max_connections" => 6,
                _ => 0,
            };
            whole(text("^(0|[1-9][0-9]*)$", "a whole number"), least)
        }
        "number, `none`" => whole(text("^(none|0|[1-9][0-9]*)$", "a whole number or `none`"), 0),
        "`true`, `false`" => {
            let flag = text("^(true|false)$", "`true` or `false`");
            with(flag, &json!({"type": ["boolean", "string"]}))
        }
        _ => return None,
    })
}

/// What names of registries and targets look like.
pub(super) const NAME: &str = "[A-Za-z0-9_][A-Za-z0-9._-]{0,63}";

/// The same for people.
pub(super) const A_NAME: &str = "up to 64 letters, digits, `.`, `_` and `-`, not beginning with `.` or `-`";

/// Any text: in YAML that is whatever stands there.
pub(super) fn any() -> Value {
    json!({"type": ["string", "number", "boolean"]})
}

/// Text of this form. Editors show one message for what has another form, and one for what is no text.
pub(super) fn text(pattern: &str, what: &str) -> Value {
    let message = format!("takes {what}");
    let pattern = format!(r"{pattern}|\$\{{");
    with(any(), &json!({"pattern": pattern, "patternErrorMessage": message, "errorMessage": message}))
}

/// A path.
pub(super) fn path() -> Value {
    text("^([^~]|~[^/])", "a path; write `${HOME}` for `~`")
}

/// One of several words, which editors complete.
pub(super) fn words(all: &[&str]) -> Value {
    let variable = json!({"type": "string", "pattern": "\\$\\{"});
    json!({"anyOf": [{"enum": all}, variable]})
}

/// The name of a signal, in any case.
fn signal() -> Value {
    signal_of(Signal::iterator())
}

/// One of these signals, in any case.
pub(super) fn signal_of(signals: impl IntoIterator<Item = Signal>) -> Value {
    let any_case = |text: &str| -> String {
        text.chars()
            .map(|c| if c.is_ascii_alphabetic() { format!("[{c}{}]", c.to_ascii_lowercase()) } else { c.to_string() })
            .collect()
    };
    let names: Vec<String> = signals.into_iter().map(|signal| any_case(&signal.as_str()[3..])).collect();
    let pattern = format!("^({})?({})$", any_case("SIG"), names.join("|"));
    with(text(&pattern, "the name of a signal, such as `HUP`, `USR1` or `USR2`"), &json!({"type": ["string"]}))
}

/// A status of HTTP, or a range of them.
pub(super) fn status() -> Value {
    let status = text("^[1-5][0-9]{2}( ?- ?[1-5][0-9]{2})?$", "a status such as `200`, or a range such as `200-299`");
    with(status, &json!({"type": ["string", "integer"], "minimum": 100, "maximum": 599}))
}

/// What needs a unit and is more than nothing.
fn something(value: Value) -> Value {
    let digit = json!({"pattern": r"[1-9]|\$\{", "patternErrorMessage": "cannot be `0`"});
    with(value, &json!({"type": ["string"], "allOf": [digit]}))
}

/// What needs a unit: the only number without one is 0.
fn no_number(value: Value) -> Value {
    let nothing = json!({"const": 0, "errorMessage": value["errorMessage"]});
    with(value, &json!({"type": ["string", "integer"], "if": {"type": "integer"}, "then": nothing}))
}

fn whole(value: Value, least: u64) -> Value {
    with(value, &json!({"type": ["string", "integer"], "minimum": least}))
}

/// A value with further keywords, which go before its own.
pub(super) fn with(mut value: Value, more: &Value) -> Value {
    let (members, more) = (value.as_object_mut().unwrap(), more.as_object().unwrap());
    members.extend(more.iter().map(|(name, value)| (name.clone(), value.clone())));
    value
}
