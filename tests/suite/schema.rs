//! `liveconf schema`: every example is as it says, and what is misspelt is not.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::liveconf::{Job, example};

fn schema() -> Value {
    let output = Job::empty().run(&["schema"]);
    output.assert_code(0);
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/reference/liveconf.schema.json");
    assert_eq!(output.stdout, fs::read_to_string(committed).unwrap());
    serde_json::from_str(&output.stdout).unwrap()
}

/// What is wrong with a value: the part of JSON Schema that the schema uses, and nothing else.
fn wrong(schema: &Value, root: &Value, value: &Value, at: &str) -> Vec<String> {
    let mut all = Vec::new();
    for (keyword, rule) in schema.as_object().unwrap() {
        match keyword.as_str() {
            "$schema" | "title" | "description" | "definitions" => {}
            "$ref" => {
                let name = rule.as_str().unwrap().strip_prefix("#/definitions/").unwrap();
                all.extend(wrong(&root["definitions"][name], root, value, at));
            }
            "allOf" => all.extend(rule.as_array().unwrap().iter().flat_map(|rule| wrong(rule, root, value, at))),
            "anyOf" => {
                let tried: Vec<_> = rule.as_array().unwrap().iter().map(|rule| wrong(rule, root, value, at)).collect();
                if !tried.iter().any(Vec::is_empty) {
                    all.push(tried.into_iter().max_by_key(|problems| problems.join("").len()).unwrap().join("; "));
                }
            }
            "type" => {
                let types = rule.as_array().cloned().unwrap_or_else(|| vec![rule.clone()]);
                if !types.contains(&json!(type_of(value))) {
                    all.push(format!("{at}: is {}", type_of(value)));
                }
            }
            "enum" => {
                if !rule.as_array().unwrap().contains(value) {
                    all.push(format!("{at}: {value} is none of {rule}"));
                }
            }
            "pattern" => {
                assert_eq!(rule, "\\$\\{");
                if value.as_str().is_some_and(|text| !text.contains("${")) {
                    all.push(format!("{at}: no variable"));
                }
            }
            "minProperties" | "maxProperties" => {
                let number = value.as_object().map_or(1, serde_json::Map::len) as u64;
                let limit = rule.as_u64().unwrap();
                if (keyword == "minProperties" && number < limit) || (keyword == "maxProperties" && number > limit) {
                    all.push(format!("{at}: has {number} members"));
                }
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    all.extend(wrong(rule, root, item, &format!("{at}[{index}]")));
                }
            }
            "properties" | "additionalProperties" => {
                let known = &schema["properties"];
                for (key, member) in value.as_object().into_iter().flatten() {
                    let at = format!("{at}.{key}");
                    match (keyword.as_str(), known.get(key)) {
                        ("properties", Some(rule)) => all.extend(wrong(rule, root, member, &at)),
                        ("additionalProperties", None) if *rule == false => all.push(format!("{at}: unknown key")),
                        ("additionalProperties", None) => all.extend(wrong(rule, root, member, &at)),
                        _ => {}
                    }
                }
            }
            other => panic!("the schema uses `{other}`"),
        }
    }
    all
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A configuration as an editor sees it.
fn read(text: &str) -> Value {
    serde_json::to_value(serde_yaml::from_str::<serde_yaml::Value>(text).unwrap()).unwrap()
}

/// Every configuration that the documentation shows, and what it is called.
fn shown() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(example("")).unwrap() {
        let path = entry.unwrap().path().join("liveconf.yaml");
        if let Ok(text) = fs::read_to_string(&path) {
            all.push((path.display().to_string(), text));
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for page in ["README.md", "src/reference/configuration.md"] {
        let text = fs::read_to_string(root.join(page)).unwrap();
        for block in text.split("\n```yaml").skip(1) {
            let block = block.split_once('\n').unwrap().1.split("\n```").next().unwrap();
            if block.contains("\ntargets:") || block.starts_with("targets:") {
                all.push((page.to_owned(), block.to_owned()));
            }
        }
    }
    all
}

#[test]
fn every_example_is_as_the_schema_says() {
    let schema = schema();
    let shown = shown();
    assert!(shown.len() > 9, "{}", shown.len());
    for (name, text) in shown {
        assert_eq!(wrong(&schema, &schema, &read(&text), ""), [""; 0], "{name}");
        if let Some(folder) = name.strip_suffix("/liveconf.yaml") {
            let reference = text.lines().next().unwrap().strip_prefix("# yaml-language-server: $schema=").unwrap();
            assert!(PathBuf::from(folder).join(reference).is_file(), "{name}");
        }
    }
}

#[test]
fn what_is_misspelt_is_refused_by_both() {
    let schema = schema();
    let good = "registries: {main: {file: {path: x}}}
targets:
  t:
    templates: [{content: x, dest: out, secret: true}]
    check: {command: [test, -s, '{staged}'], when: always}
    reload: {command: [b]}
    confirm: {tcp: {address: 'a:1'}}
    guard: {hold: 3s}
    gather: '${GATHER:-always}'
";
    let job = Job::new(good);
    job.run(&["check"]).assert_code(0);
    assert_eq!(wrong(&schema, &schema, &read(good), ""), [""; 0]);
    for (right, misspelt) in [
        ("registries:", "registrys:"),
        ("file:", "fiel:"),
        ("path:", "pth:"),
        ("templates:", "template:"),
        ("dest:", "destination:"),
        ("secret: true", "secret: maybe"),
        ("when: always", "when: never"),
        ("reload: {command", "reload: {comand"),
        ("tcp:", "tpc:"),
        ("address:", "adress:"),
        ("hold:", "holds:"),
        ("guard: {hold: 3s}", "guard: [3s]"),
        ("{file: {path: x}}", "{}"),
    ] {
        let bad = good.replacen(right, misspelt, 1);
        assert_ne!(bad, good);
        assert!(!wrong(&schema, &schema, &read(&bad), "").is_empty(), "{misspelt}");
        job.write("liveconf.yaml", &bad);
        job.run(&["check"]).assert_code(2);
    }
}
