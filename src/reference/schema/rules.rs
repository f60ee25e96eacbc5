//! What keys of one section have to do with each other. A test holds this against the reader: what one refuses so does
//! the other.

use serde_json::{Value, json};

use super::scalar::{NO_TAG, with};

/// The rules of what stands under a heading of the reference, as keywords of its schema.
pub(super) fn rules(heading: &str) -> Vec<Value> {
    match heading {
        "`file`" | "`lock`" => vec![required(&["path"])],
        "`for_each`" => vec![required(&["items"])],
        "`systemd`" => vec![required(&["unit"])],
        "`tcp`" => vec![required(&["address"])],
        "`http`" | "A reload by HTTP" => vec![required(&["url"])],
        "`haproxy` as a reload" => vec![required(&["socket"]), one_of_some(&["master", "pid_file"])],
        "Targets" => vec![json!({"minProperties": 1})],
        "Templates" => of_templates(),
        "`check`" | "`process`" => one_of(&["command", "shell"]),
        "`reload`" => {
            let mut rules = one_of(&["signal", "systemd", "haproxy", "http", "command", "shell"]);
            rules.extend(["systemd", "haproxy", "http", "command", "shell"].map(|kind| excludes(kind, &["pid_file"])));
            rules.extend(["systemd", "haproxy", "http", "signal"].map(|kind| excludes(kind, &["timeout"])));
            rules
        }
        "`confirm`" => {
            let mut rules = one_of(&["nginx", "haproxy", "http", "tcp", "command", "shell"]);
            rules.extend(["nginx", "haproxy", "http", "tcp"].map(|kind| excludes(kind, &["timeout"])));
            rules
        }
        "`nginx`" => vec![json!({"if": given(&["max_hold"]), "then": required(&["max_old_workers"])})],
        _ => Vec::new(),
    }
}

/// Those of templates: what the name of the file has to do with `for_each` among them.
fn of_templates() -> Vec<Value> {
    let dest = |pattern: &str, message: &str| json!({"properties": {"dest": {"pattern": format!(r"{pattern}|\$\{{"), "patternErrorMessage": message}}});
    let of_many = dest(
        r"\{[{%]",
        "all items would be written to one file: put the item into the name, such as `sites/{{ item.name }}.conf`",
    );
    let of_one = dest(NO_TAG, "a tag in `dest` stands for nothing without `for_each`");
    let with_group = json!({"required": ["owner"], "properties": {"owner": {"type": "string", "pattern": "^[^$:]+:"}}});
    let twice = json!({"type": "null", "errorMessage": "the group is given twice, by `owner` and by `group`"});
    let mut rules = one_of(&["src", "content"]);
    rules.extend([
        required(&["dest"]),
        dest("[^/]$", "`dest` is a folder: name the file in it as well"),
        json!({"if": given(&["for_each"]), "then": of_many, "else": of_one}),
        json!({"if": with_group, "then": {"properties": {"group": twice}}}),
    ]);
    rules
}

/// The keys that must be there: they may not be `null` either, which counts as absent.
pub(super) fn must_be_given(heading: &str, key: &str) -> bool {
    rules(heading).iter().any(|rule| rule["required"].as_array().is_some_and(|keys| keys.contains(&json!(key))))
}

fn required(keys: &[&str]) -> Value {
    json!({"required": keys})
}

/// All of these keys are there, with more than nothing.
fn given(keys: &[&str]) -> Value {
    let something: serde_json::Map<String, Value> =
        keys.iter().map(|key| ((*key).to_owned(), json!({"not": {"type": "null"}}))).collect();
    json!({"required": keys, "properties": something})
}

/// One of these keys or more.
fn one_of_some(keys: &[&str]) -> Value {
    let all: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
    let message = json!({"errorMessage": format!("one of {} is missing", all.join(", "))});
    json!({"anyOf": keys.iter().map(|key| with(given(&[key]), &message)).collect::<Vec<_>>()})
}

/// Exactly one of these keys; a second one is what the mistake is told of.
fn one_of(keys: &[&str]) -> Vec<Value> {
    let mut rules = vec![one_of_some(keys)];
    rules.extend((1..keys.len()).map(|after| excludes(keys[after - 1], &keys[after..])));
    rules
}

/// Beside one key there is none of the others.
fn excludes(key: &str, others: &[&str]) -> Value {
    let nothing = |other: &&str| {
        let message = format!("`{key}` and `{other}` exclude each other");
        ((*other).to_owned(), json!({"type": "null", "errorMessage": message}))
    };
    let nothing: serde_json::Map<String, Value> = others.iter().map(nothing).collect();
    json!({"if": given(&[key]), "then": {"properties": nothing}})
}
