//! Maps, and what stands in for a value that is not there.

use super::super::entry::{Entry, Group, optional, or, required};
use super::Filter;

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
        Filter::of_tera(Entry {
            name: "get",
            arguments: &[required("key"), optional("default")],
            takes: "map",
            gives: "the value of a name; the name may be computed",
            empty: "`default`, else fails",
            example: r#"{{ {"a": 1} | get(key="b", default=0) }}"#,
            output: "0",
        }),
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
