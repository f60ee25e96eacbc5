//! Maps, and what stands in for a value that is not there.

use std::collections::BTreeMap;

use tera::value::Key;
use tera::{Map, Value};

use super::super::absence::Beside;
use super::super::arguments::Arguments;
use super::super::entry::{Entry, Group, optional, or, required};
use super::super::error::{Failure, did_you_mean};
use super::super::lookup::unshown;
use super::super::near::{listed, quoted};
use super::super::record::{Render, Stop};
use super::{Filter, list_of, refused, wrong};

/// Maps.
pub(super) const MAPS: Group<Filter> = Group {
    name: "Maps",
    entries: &[
        Filter::of_tera(Entry {
            name: "keys",
            arguments: &[],
            takes: "map",
            gives: "the names in a map",
            empty: "`[]`",
            example: r#"{{ {"a": 1} | keys }}"#,
            output: r#"["a"]"#,
        }),
        Filter::of_tera(Entry {
            name: "values",
            arguments: &[],
            takes: "map",
            gives: "the values in a map",
            empty: "`[]`",
            example: r#"{{ {"a": 1} | values }}"#,
            output: "[1]",
        }),
        Filter::of_tera(Entry {
            name: "pairs",
            arguments: &[],
            takes: "map",
            gives: "list of lists of a name and its value; `for name, value in map` needs none",
            empty: "`[]`",
            example: r#"{{ {"a": 1} | pairs }}"#,
            output: r#"[["a", 1]]"#,
        }),
        Filter::new(
            get,
            Entry {
                name: "get",
                arguments: &[required("key"), optional("default")],
                takes: "map",
                gives: "the value of a name; the name may be computed",
                empty: "`default`, else fails",
                example: r#"{{ {"a": 1} | get(key="b", default=0) }}"#,
                output: "0",
            },
        ),
        Filter::new(
            merge,
            Entry {
                name: "merge",
                arguments: &[required("with")],
                takes: "map",
                gives: "both maps in one; what is in both is that of `with`, but maps in both are merged in turn, and lists are not; the names of the first come first",
                empty: "`with`",
                example: r#"{{ {"a": 1, "b": {"c": 1} } | merge(with={"a": 2, "b": {"d": 2} }) }}"#,
                output: r#"{"a": 2, "b": {"c": 1, "d": 2}}"#,
            },
        ),
        Filter::new(
            insert,
            Entry {
                name: "insert",
                arguments: &[required("key"), required("value")],
                takes: "map",
                gives: "the map with one more entry, or another value for it; the name may be computed",
                empty: "a map of the one entry",
                example: r#"{{ {"a": 1} | insert(key="b", value=2) }}"#,
                output: r#"{"a": 1, "b": 2}"#,
            },
        ),
        Filter::new(
            only,
            Entry {
                name: "only",
                arguments: &[required("keys")],
                takes: "map",
                gives: "the entries whose names are in the list; what is not there is left out",
                empty: "`{}`",
                example: r#"{{ {"a": 1, "b": 2} | only(keys=["a"]) }}"#,
                output: r#"{"a": 1}"#,
            },
        ),
        Filter::new(
            without,
            Entry {
                name: "without",
                arguments: &[required("keys")],
                takes: "map",
                gives: "the other entries",
                empty: "`{}`",
                example: r#"{{ {"a": 1, "b": 2} | without(keys=["a"]) }}"#,
                output: r#"{"b": 2}"#,
            },
        ),
        Filter::new(
            from_pairs,
            Entry {
                name: "from_pairs",
                arguments: &[],
                takes: "list",
                gives: "map out of pairs of a name and a value; the last of equal names counts",
                empty: "`{}`",
                example: r#"{{ ["a", "b"] | zip(with=[1, 2]) | from_pairs }}"#,
                output: r#"{"a": 1, "b": 2}"#,
            },
        ),
        Filter::new(
            nest,
            Entry {
                name: "nest",
                arguments: &[or("sep", r#""/""#)],
                takes: "map",
                gives: r#"nested maps out of names that are paths; a name that is both a value and a map is the map, with the value under `""`, as `tree` gives it"#,
                empty: "`{}`",
                example: r#"{{ {"db/port": 1, "db/host": 2} | nest }}"#,
                output: r#"{"db": {"host": 2, "port": 1}}"#,
            },
        ),
    ],
};

/// What is not there.
pub(super) const ABSENCE: Group<Filter> = Group {
    name: "What is not there",
    entries: &[Filter::of_tera(Entry {
        name: "default",
        arguments: &[required("value"), or("boolean", "false")],
        takes: "anything, also undefined",
        gives: "`value` for undefined; with `boolean=true` also for what is empty, 0 or false",
        empty: "what it was given; `value` with `boolean=true`",
        example: r#"{{ nothing | default(value="x") }}"#,
        output: "x",
    })],
};

/// How deep the maps of `nest` may be, as in `tree`.
const DEPTH: usize = 128;

/// The map that a filter was given.
fn map_of<'v>(value: &'v Value, filter: &str) -> Result<&'v Map, Stop> {
    value.as_map().ok_or_else(|| wrong(value, filter, "a map"))
}

/// The value of a name, else `default=`, which may be undefined and is handed on then.
pub(super) fn get(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let map = map_of(value, "get")?;
    let name = arguments.required_text("key", render)?;
    if let Some(found) = map.get(&Key::Str(name)) {
        return Ok(found.clone());
    }
    match arguments.value("default") {
        Ok(Some(default)) => return Ok(default.clone()),
        Err(_) => return Ok(Value::undefined()),
        Ok(None) => {}
    }
    // A name that was computed may be a value.
    let is_shown = render.is_written(name) || render.may_name(name, &render.known());
    let which = if is_shown { quoted(name) } else { "of that name".to_owned() };
    let (names, hidden) = render.fields(value);
    let own = || names.iter().map(String::as_str);
    let available = match listed(if is_shown { name } else { "" }, own()) {
        Some(list) => Some(format!("it has {list}{}", render.more(hidden))),
        None if map.is_empty() => Some("it is empty".to_owned()),
        None => (hidden > 0 && !render.is_secret).then(|| unshown("it", hidden)),
    };
    let meant = did_you_mean(name, own()).filter(|_| is_shown);
    let hint = meant.or_else(|| Some("`default=` stands in for what is not there".to_owned()));
    let failure = Failure::new(format!("the map has no entry {which}, and `get` has no `default=`"));
    Err(failure.teach(Beside { available, hint }).into())
}

/// Two maps in one, those in them too; what is in both is that of `with=`.
pub(super) fn merge(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let (base, over) = (map_of(value, "merge")?, arguments.map("with", render)?);
    Ok(Value::from(merged(base, over)))
}

fn merged(base: &Map, over: &Map) -> Map {
    let mut all = base.clone();
    for (name, value) in over {
        let both = all.get(name).and_then(Value::as_map).zip(value.as_map());
        let value = both.map_or_else(|| value.clone(), |(base, over)| Value::from(merged(base, over)));
        all.insert(name.clone(), value);
    }
    all
}

/// The map with one more entry.
pub(super) fn insert(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let mut map = map_of(value, "insert")?.clone();
    let item = arguments.value("value")?.ok_or_else(|| arguments.absent("value"))?;
    map.insert(arguments.required_text("key", render)?.to_owned().into(), item.clone());
    Ok(Value::from(map))
}

/// The entries that are named.
pub(super) fn only(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    chosen(value, "only", true, arguments, render)
}

/// The entries that are not named.
pub(super) fn without(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    chosen(value, "without", false, arguments, render)
}

fn chosen(
    value: &Value,
    filter: &str,
    is_kept: bool,
    arguments: &Arguments<'_>,
    render: &Render,
) -> Result<Value, Stop> {
    let names = arguments.texts("keys", render)?;
    let entries = map_of(value, filter)?.iter().filter(|(name, _)| names.contains(&&*name.to_string()) == is_kept);
    Ok(Value::from(entries.map(|(name, value)| (name.clone(), value.clone())).collect::<Map>()))
}

/// A map out of pairs.
pub(super) fn from_pairs(value: &Value, _: &Arguments<'_>, _: &Render) -> Result<Value, Stop> {
    let mut map = Map::new();
    for (index, item) in list_of(value, "from_pairs")?.iter().enumerate() {
        let wrong = || refused("from_pairs", &format!("item {} is no pair of a name and a value", index + 1));
        let Some([name, value]) = item.as_array() else { return Err(wrong()) };
        let name: Key<'static> = match name.as_str() {
            Some(name) => name.to_owned().into(),
            None if name.is_number() || name.is_bool() => name.to_string().into(),
            None => return Err(wrong()),
        };
        map.insert(name, value.clone());
    }
    Ok(Value::from(map))
}

/// Nested maps out of names that are paths.
pub(super) fn nest(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    #[derive(Default)]
    struct Folder {
        value: Option<Value>,
        names: BTreeMap<String, Folder>,
    }
    impl Folder {
        fn value(self) -> Value {
            if self.names.is_empty()
                && let Some(value) = self.value
            {
                return value;
            }
            let own = self.value.map(|value| (String::new(), value));
            let names = self.names.into_iter().map(|(name, folder)| (name, folder.value()));
            Value::from(own.into_iter().chain(names).map(|(name, value)| (name.into(), value)).collect::<Map>())
        }
    }

    let separator = arguments.text("sep", render)?.unwrap_or("/");
    if separator.is_empty() {
        return Err(arguments.refused("sep", "it is empty"));
    }
    let mut root = Folder::default();
    for (name, value) in map_of(value, "nest")? {
        let name = name.to_string();
        let segments: Vec<&str> = name.split(separator).filter(|segment| !segment.is_empty()).collect();
        if segments.len() > DEPTH {
            return Err(refused("nest", &format!("a name has more than {DEPTH} segments")));
        }
        let folder =
            segments.into_iter().fold(&mut root, |folder, name| folder.names.entry(name.to_owned()).or_default());
        folder.value = Some(value.clone());
    }
    if root.names.is_empty() && root.value.is_none() {
        return Ok(Value::from(Map::new()));
    }
    Ok(root.value())
}
