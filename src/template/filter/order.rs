//! Lists: order, groups, doubles. Every result has a defined order.

use std::cmp::Ordering;
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tera::value::{Key, ValueKind};
use tera::{Map, Value};

use super::super::arguments::{Arguments, attribute};
use super::super::entry::{Entry, Group, optional, or, required};
use super::super::record::{Render, Stop};
use super::list::{each_once, lacks};
use super::{Filter, list_of, refused};

/// Order and groups.
pub(super) const ORDER: Group<Filter> = Group {
    name: "Order and groups",
    entries: &[
        Filter::new(
            sort,
            Entry {
                name: "sort",
                arguments: &[optional("attribute")],
                takes: "list",
                gives: "sorted; `sort_by` knows several attributes, `natural_sort` numbers in names",
                empty: "`[]`",
                example: "{{ [2, 1] | sort }}",
                output: "[1, 2]",
            },
        ),
        Filter::new(
            sort_by,
            Entry {
                name: "sort_by",
                arguments: &[required("attribute"), optional("default"), or("reverse", "false")],
                takes: "list",
                gives: "sorted by one attribute, or a list of them; equal items keep their order; `default` is the value where there is none",
                empty: "`[]`",
                example: r#"{{ [{"a": 2}, {"a": 1}] | sort_by(attribute="a") }}"#,
                output: r#"[{"a": 1}, {"a": 2}]"#,
            },
        ),
        Filter::new(
            natural_sort,
            Entry {
                name: "natural_sort",
                arguments: &[optional("attribute"), optional("default"), or("reverse", "false")],
                takes: "list",
                gives: "sorted as people read; numbers in texts count as numbers; `default` is the value of the attribute where there is none",
                empty: "`[]`",
                example: r#"{{ ["w10", "w2"] | natural_sort }}"#,
                output: r#"["w2", "w10"]"#,
            },
        ),
        Filter::new(
            sort_by_length,
            Entry {
                name: "sort_by_length",
                arguments: &[optional("attribute"), or("reverse", "false")],
                takes: "list",
                gives: "sorted by the number of characters of the texts, or of an attribute; with `reverse=true` the longest first, as for paths where the first match counts",
                empty: "`[]`",
                example: r#"{{ ["/a/b", "/", "/a"] | sort_by_length(reverse=true) }}"#,
                output: r#"["/a/b", "/a", "/"]"#,
            },
        ),
        Filter::new(
            group_by,
            Entry {
                name: "group_by",
                arguments: &[required("attribute"), optional("default")],
                takes: "list",
                gives: "map from the values of an attribute to the items that have it, sorted; where the attribute is a list, such as `tags`, to those that have the value in it; items where it is `none` are left out; `default` is the value where there is none",
                empty: "`{}`",
                example: r#"{{ [{"z": "b"}, {"z": "a"}] | group_by(attribute="z") }}"#,
                output: r#"{"a": [{"z": "a"}], "b": [{"z": "b"}]}"#,
            },
        ),
        Filter::new(
            unique,
            Entry {
                name: "unique",
                arguments: &[],
                takes: "list",
                gives: "each item once, the first of equals",
                empty: "`[]`",
                example: "{{ [2, 1, 2] | unique }}",
                output: "[2, 1]",
            },
        ),
        Filter::new(
            unique_by,
            Entry {
                name: "unique_by",
                arguments: &[required("attribute"), optional("default")],
                takes: "list",
                gives: "the first item for each value of an attribute; `default` is the value where there is none",
                empty: "`[]`",
                example: r#"{{ [{"a": 1, "b": 1}, {"a": 1, "b": 2}] | unique_by(attribute="a") }}"#,
                output: r#"[{"a": 1, "b": 1}]"#,
            },
        ),
        Filter::new(
            pick,
            Entry {
                name: "pick",
                arguments: &[required("n"), required("seed"), or("by", r#""id""#)],
                takes: "list",
                gives: "so many items, the same as long as they are there: what comes and goes changes as few as can be (rendezvous hashing); `seed` tells one machine from another, `by` names the attribute that tells the items apart, of texts it is the text",
                empty: "`[]`; all items where there are fewer",
                example: r#"{{ service(name="web") | pick(n=1, seed=env(name="LIVECONF_EXAMPLE", default="host-1")) | map(attribute="id") }}"#,
                output: r#"["a"]"#,
            },
        ),
    ],
};

/// A map from the values of an attribute to the items that have it; sorted, the items in their order. Where the attribute is
/// a list, such as `tags`, an item is in the group of each of its values. Items where it is `none` are left out.
pub(super) fn group_by(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let path = arguments.required_text("attribute", render)?;
    let default = arguments.value("default")?;
    let mut groups: BTreeMap<Key<'static>, Vec<Value>> = BTreeMap::new();
    for (index, item) in list_of(value, "group_by")?.iter().enumerate() {
        let found = attribute(item, path).or(default).ok_or_else(|| lacks(path, index, item, "group_by", render))?;
        let names = found.as_array().unwrap_or(std::slice::from_ref(found));
        let names: Result<BTreeSet<_>, Stop> =
            names.iter().filter(|name| !name.is_none()).map(|name| scalar(name, "group_by")).collect();
        for name in names? {
            groups.entry(name).or_default().push(item.clone());
        }
    }
    Ok(Value::from(groups.into_iter().map(|(key, items)| (key, Value::from(items))).collect::<Map>()))
}

/// The items sorted, or sorted by an attribute; equal ones keep their order.
pub(super) fn sort(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    if arguments.any("attribute").is_some() {
        return sorted(value, "sort", arguments, render);
    }
    let mut items = list_of(value, "sort")?.to_vec();
    items.sort();
    if !items.is_sorted_by(|left, right| left.partial_cmp(right).is_some()) {
        return Err(refused("sort", "the items are not of one type, or have no order"));
    }
    Ok(Value::from(items))
}

/// The items sorted by one or several attributes; items that are equal in them keep their order.
pub(super) fn sort_by(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    sorted(value, "sort_by", arguments, render)
}

fn sorted(value: &Value, filter: &str, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let paths = arguments.texts("attribute", render)?;
    let reverse = arguments.flag("reverse")?;
    let default = arguments.value("default")?;
    let mut decorated: Vec<(Vec<&Value>, &Value)> = Vec::new();
    for (index, item) in list_of(value, filter)?.iter().enumerate() {
        let lacking = |path: &&str| lacks(path, index, item, filter, render);
        let keys = paths.iter().map(|path| attribute(item, path).or(default).ok_or_else(|| lacking(path)));
        decorated.push((keys.collect::<Result<_, _>>()?, item));
    }
    let comparable = |(left, right): (&&Value, &&Value)| left.partial_cmp(right).is_some();
    if let Some((first, rest)) = decorated.split_first()
        && !rest.iter().all(|(keys, _)| first.0.iter().zip(keys).all(comparable))
    {
        return Err(refused(filter, "the attribute is not of one type in all items"));
    }
    decorated.sort_by(|(left, _), (right, _)| {
        let order = left.iter().zip(right).map(|(left, right)| left.cmp(right)).find(|order| order.is_ne());
        let order = order.unwrap_or(Ordering::Equal);
        if reverse { order.reverse() } else { order }
    });
    Ok(Value::from(decorated.into_iter().map(|(_, item)| item.clone()).collect::<Vec<_>>()))
}

/// The items sorted as people read them: `web2` before `web10`.
pub(super) fn natural_sort(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let path = arguments.text("attribute", render)?;
    let default = arguments.value("default")?;
    let reverse = arguments.flag("reverse")?;
    let mut decorated = Vec::new();
    for (index, item) in list_of(value, "natural_sort")?.iter().enumerate() {
        let key = match path {
            Some(path) => {
                attribute(item, path).or(default).ok_or_else(|| lacks(path, index, item, "natural_sort", render))?
            }
            None => item,
        };
        decorated.push((key.to_string(), item));
    }
    decorated.sort_by(|(left, _), (right, _)| if reverse { natural(right, left) } else { natural(left, right) });
    Ok(Value::from(decorated.into_iter().map(|(_, item)| item.clone()).collect::<Vec<_>>()))
}

/// Each item once, the first of those that are equal.
pub(super) fn unique(value: &Value, _: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    each_once(list_of(value, "unique")?, |_| true, render)
}

/// The first item for each value of an attribute.
pub(super) fn unique_by(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let path = arguments.required_text("attribute", render)?;
    let default = arguments.value("default")?;
    let mut seen = BTreeSet::new();
    let mut kept = Vec::new();
    for (index, item) in list_of(value, "unique_by")?.iter().enumerate() {
        let found = attribute(item, path).or(default).ok_or_else(|| lacks(path, index, item, "unique_by", render))?;
        if seen.insert(scalar(found, "unique_by")?) {
            kept.push(item.clone());
        }
    }
    Ok(Value::from(kept))
}

/// The texts sorted by their length, or items by that of an attribute; equal ones keep their order.
pub(super) fn sort_by_length(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let path = arguments.text("attribute", render)?;
    let reverse = arguments.flag("reverse")?;
    let mut decorated = Vec::new();
    for (index, item) in list_of(value, "sort_by_length")?.iter().enumerate() {
        let text = text_in(item, path, index, "sort_by_length", render)?;
        decorated.push((text.chars().count(), item));
    }
    decorated.sort_by(|(left, _), (right, _)| if reverse { right.cmp(left) } else { left.cmp(right) });
    Ok(Value::from(decorated.into_iter().map(|(_, item)| item.clone()).collect::<Vec<_>>()))
}

/// The `n=` items with the highest hashes of `seed=` and their name (rendezvous hashing: Thaler and Ravishankar, 1998), in
/// their order. Whether an item is among them does not depend on the others but for how many of them are before it.
pub(super) fn pick(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let items = list_of(value, "pick")?;
    let n = arguments.count("n")?.ok_or_else(|| arguments.absent("n"))?;
    let seed = arguments.required_text("seed", render)?;
    let by = arguments.text("by", render)?.unwrap_or("id");
    let mut ranked = Vec::new();
    for (index, item) in items.iter().enumerate() {
        render.check_deadline()?;
        let name = text_in(item, Some(by).filter(|_| !item.is_string()), index, "pick", render)?;
        // The length keeps seed and name apart.
        let hash = Sha256::new().chain_update((seed.len() as u64).to_be_bytes()).chain_update(seed);
        ranked.push((hash.chain_update(name).finalize(), index));
    }
    ranked.sort_by(|left, right| right.cmp(left));
    ranked.truncate(usize::try_from(n).unwrap_or(usize::MAX));
    let mut picked: Vec<usize> = ranked.into_iter().map(|(_, index)| index).collect();
    picked.sort_unstable();
    Ok(Value::from(picked.into_iter().map(|index| items[index].clone()).collect::<Vec<_>>()))
}

/// A text, or the text that an attribute of an item is.
fn text_in<'v>(
    item: &'v Value,
    path: Option<&str>,
    index: usize,
    filter: &str,
    render: &Render,
) -> Result<&'v str, Stop> {
    let found = match path {
        Some(path) => attribute(item, path).ok_or_else(|| lacks(path, index, item, filter, render))?,
        None => item,
    };
    found.as_str().ok_or_else(|| refused(filter, &format!("item {} is no text, and has no text there", index + 1)))
}

/// Values that are looked for.
#[derive(Default)]
pub(super) struct Members<'v> {
    scalars: BTreeSet<Key<'static>>,
    /// Lists, maps and fractions, by a fingerprint that equal ones share: they have no order that agrees with equality.
    others: HashMap<u64, Vec<&'v Value>>,
}

impl<'v> Members<'v> {
    pub(super) fn of(values: &'v [Value], render: &Render) -> Result<Self, Stop> {
        let mut members = Self::default();
        for value in values {
            render.check_deadline()?;
            members.insert(value);
        }
        Ok(members)
    }

    /// Whether the value was not among them.
    pub(super) fn insert(&mut self, value: &'v Value) -> bool {
        if let Some(key) = Self::key(value) {
            return self.scalars.insert(key);
        }
        let alike = self.others.entry(fingerprint(value)).or_default();
        let is_new = !alike.contains(&value);
        if is_new {
            alike.push(value);
        }
        is_new
    }

    pub(super) fn has(&self, value: &Value) -> bool {
        match Self::key(value) {
            Some(key) => self.scalars.contains(&key),
            None => self.others.get(&fingerprint(value)).is_some_and(|alike| alike.contains(&value)),
        }
    }

    /// What equal values have in common; 1.0 equals 1.
    fn key(value: &Value) -> Option<Key<'static>> {
        let whole = |value: &Value| value.as_number()?.as_integer();
        let key = |number: i128| i64::try_from(number).map_or(Key::I128(number), Key::I64);
        scalar(value, "").ok().or_else(|| whole(value).map(key))
    }
}

/// A number that equal values share, whatever the order of their names is, and that others hardly ever do.
fn fingerprint(value: &Value) -> u64 {
    let mut hash = DefaultHasher::new();
    if let Some(items) = value.as_array() {
        for item in items {
            fingerprint(item).hash(&mut hash);
        }
    } else if let Some(map) = value.as_map() {
        let entry = |(name, value): (&Key<'_>, &Value)| {
            let mut hash = DefaultHasher::new();
            (name, fingerprint(value)).hash(&mut hash);
            hash.finish()
        };
        map.iter().map(entry).fold(0, u64::wrapping_add).hash(&mut hash);
    } else if let Some(key) = Members::key(value) {
        key.hash(&mut hash);
    } else {
        value.as_number().map(|number| number.as_float().to_bits()).hash(&mut hash);
    }
    hash.finish()
}

/// A value that can stand as the name in a map.
fn scalar(value: &Value, filter: &str) -> Result<Key<'static>, Stop> {
    match value.kind() {
        ValueKind::String => Ok(Key::String(Arc::from(value.as_str().unwrap_or_default()))),
        ValueKind::Bool => Ok(Key::Bool(value.is_truthy())),
        _ => match (value.as_i64(), value.as_i128(), value.as_u128()) {
            (Some(number), ..) => Ok(Key::I64(number)),
            (_, Some(number), _) => Ok(Key::I128(number)),
            (.., Some(number)) => Ok(Key::U128(number)),
            _ => Err(refused(filter, "it works on text, whole numbers and truth values")),
        },
    }
}

/// Compares runs of digits as numbers and everything else by its bytes.
fn natural(left: &str, right: &str) -> Ordering {
    let (mut a, mut b) = (left, right);
    while let (Some(x), Some(y)) = (a.chars().next(), b.chars().next()) {
        if x.is_ascii_digit() && y.is_ascii_digit() {
            let (digits_a, rest_a) = digits(a);
            let (digits_b, rest_b) = digits(b);
            let order = (digits_a.len(), digits_a).cmp(&(digits_b.len(), digits_b));
            if order.is_ne() {
                return order;
            }
            (a, b) = (rest_a, rest_b);
        } else if x == y {
            (a, b) = (&a[x.len_utf8()..], &b[y.len_utf8()..]);
        } else {
            return x.cmp(&y);
        }
    }
    // Texts that differ only in leading zeros still have one order.
    a.len().cmp(&b.len()).then_with(|| left.cmp(right))
}

/// The digits at the beginning without leading zeros, and what follows them.
fn digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (text[..end].trim_start_matches('0'), &text[end..])
}
