//! Names: `lookup`.

use tera::Value;

use super::super::arguments::Arguments;
use super::super::entry::{Entry, Group, optional, or, required};
use super::super::record::{Absent, Render, Stop};
use super::super::view;
use super::key::absent;
use super::{Function, Placeholder, Written, asked, at_least, mismatch};
use crate::registry::{Aside, Data, LookupQuery, Query, RecordType};

/// Names.
pub(in crate::template) const NAMES: Group<Function> = Group {
    name: "Names",
    entries: &[Function {
        entry: Entry {
            name: "lookup",
            arguments: &[
                required("name"),
                or("type", "\"A\""),
                optional("default"),
                or("required", "false"),
                or("min", "0"),
            ],
            takes: "",
            gives: "list of what DNS says of a name, asked of a registry of kind `dns`: addresses for the `type` `\"A\"`, `\"AAAA\"` or `\"IP\"`, which is both, IPv4 first; names for `\"CNAME\"`, texts for `\"TXT\"`, sorted; for `\"SRV\"` instances as `service` gives them, sorted by priority, with the host name as `address` and `meta.priority`",
            empty: "`default`, else undefined; with `required=true` the render fails",
            example: r#"{% for ip in lookup(name="db.example") %}{{ ip }} {% endfor %}"#,
            output: "10.0.0.7 10.0.0.8 ",
        },
        question: Some(question),
        placeholder: Placeholder::List,
        call: Some(lookup),
    }],
};

/// What `lookup()` asks, as far as registries differ in it.
fn question(written: &Written<'_>) -> Option<Query> {
    Some(Query::Lookup(LookupQuery::addresses(written("name")?)))
}

/// `lookup(name=, type="A", default=, required=false, min=0)`: what DNS says of a name.
pub(super) fn lookup(render: &mut Render, arguments: &Arguments<'_>) -> Result<Value, Stop> {
    let name = arguments.required_text("name", render)?;
    if name.is_empty() {
        return Err(arguments.refused("name", "it is empty"));
    }
    let record = match arguments.text("type", render)? {
        Some(written) => arguments.one_of("type", written, &RecordType::NAMES)?,
        None => RecordType::A,
    };
    let computed = Aside(!render.may_show(name));
    let query = LookupQuery { name: name.to_owned(), record, computed };
    let asked = asked(render, arguments, Query::Lookup(query))?;
    let answer = render.ask(&asked, arguments.flag("optional")?)?;
    let (count, make): (usize, fn(&Data) -> Value) = match &answer.data {
        Data::Records(records) => (records.len(), |data| match data {
            Data::Records(records) => view::texts(records),
            _ => Value::none(),
        }),
        Data::Service(instances) => (instances.len(), |data| match data {
            Data::Service(instances) => view::instances(instances),
            _ => Value::none(),
        }),
        _ => return Err(mismatch(&asked, &answer)),
    };
    if count == 0 {
        return absent(render, arguments, Absent::Query(asked));
    }
    at_least(render, arguments, &asked, count)?;
    Ok(answer.view.get_or_init(|| make(&answer.data)).clone())
}
