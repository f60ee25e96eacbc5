//! Services and nodes: `services`, `service`, `nodes`, `node`, `datacenters`.

use std::collections::BTreeSet;

use tera::Value;

use super::super::arguments::Arguments;
use super::super::entry::{Entry, Group, optional, or, required};
use super::super::record::{Absent, Render, Stop};
use super::super::view;
use super::key::absent;
use super::{Function, Placeholder, Written, asked, at_least, mismatch};
use crate::registry::{Aside, Computed, Data, NodeQuery, Query, ServiceQuery, Status, StatusFilter};

/// Services and nodes.
pub(super) const SERVICES: Group<Function> = Group {
    name: "Services and nodes",
    entries: &[
        Function {
            entry: Entry {
                name: "services",
                arguments: &[optional("tag")],
                takes: "",
                gives: "list of `{name, tags, registry}`, sorted by name; those with an instance that has the tag, if one is given",
                empty: "`[]`",
                example: r#"{{ services() | map(attribute="name") | join(sep=" ") }}"#,
                output: "mail web",
            },
            question: Some(|written| Some(Query::Services { tag: written("tag") })),
            placeholder: Placeholder::List,
            call: Some(services),
        },
        Function {
            entry: Entry {
                name: "service",
                arguments: &[
                    required("name"),
                    optional("tag"),
                    or("status", "\"passing\""),
                    optional("near"),
                    optional("datacenter"),
                    optional("filter"),
                    or("min", "0"),
                ],
                takes: "",
                gives: "list of instances, sorted by `id`, `node`, `address`, `port`; `tag` is a text or a list of which all must match; `status` is one, a list of them, or `\"any\"`; `near`, `datacenter` and `filter` are for Consul and refused by the other kinds",
                empty: "`[]`",
                example: r#"{% for i in service(name="web", tag="blue") %}{{ i.endpoint }}{% else %}127.0.0.1:1{% endfor %}"#,
                output: "10.0.0.1:80",
            },
            question: Some(question),
            placeholder: Placeholder::List,
            call: Some(service),
        },
        Function {
            entry: Entry {
                name: "nodes",
                arguments: &[optional("datacenter")],
                takes: "",
                gives: "list of `{name, address, meta, datacenter}`; of Consul, and of file registries without `datacenter`",
                empty: "`[]`",
                example: "{% for n in nodes() %}{{ n.address }} {{ n.name }}{% endfor %}",
                output: "10.0.0.1 n1",
            },
            question: Some(|written| Some(Query::Nodes { datacenter: written("datacenter") })),
            placeholder: Placeholder::List,
            call: Some(nodes),
        },
        Function {
            entry: Entry {
                name: "node",
                arguments: &[required("name"), optional("datacenter"), optional("default"), or("required", "false")],
                takes: "",
                gives: "a node as `nodes` lists it, with its `services`: the instances on it in whatever state, sorted by `name`, `id`, `address`, `port`; of Consul, and of file registries without `datacenter`",
                empty: "`default`, else undefined; with `required=true` the render fails",
                example: r#"{% set n = node(name="n1") %}{{ n.address }}{% for i in n.services %} {{ i.name }}:{{ i.port }}{% endfor %}"#,
                output: "10.0.0.1 web:80",
            },
            question: Some(|written| {
                Some(Query::Node(NodeQuery { datacenter: written("datacenter"), ..NodeQuery::named(written("name")?) }))
            }),
            placeholder: Placeholder::Map,
            call: Some(node),
        },
        Function {
            entry: Entry {
                name: "datacenters",
                arguments: &[],
                takes: "",
                gives: "list of the names of the datacenters, sorted; Consul is asked once a minute; of a file registry those of its nodes",
                empty: "`[]`",
                example: "{% for dc in datacenters() %}{{ dc }} {% endfor %}",
                output: "dc1 ",
            },
            question: Some(|_| Some(Query::Datacenters)),
            placeholder: Placeholder::List,
            call: Some(datacenters),
        },
    ],
};

/// `services(tag=)`: the services, those with a tag if one is given.
pub(super) fn services(render: &mut Render, arguments: &Arguments<'_>) -> Result<Value, Stop> {
    let tag = arguments.text("tag", render)?.map(str::to_owned);
    let asked = asked(render, arguments, Query::Services { tag })?;
    let answer = render.ask(&asked, arguments.flag("optional")?)?;
    let Data::Services(services) = &answer.data else { return Err(mismatch(&asked, &answer)) };
    Ok(answer.view.get_or_init(|| view::services(services, &asked.registry)).clone())
}

/// `service(name=, tag=, status="passing", near=, datacenter=, filter=, min=0)`: the instances of a service.
pub(super) fn service(render: &mut Render, arguments: &Arguments<'_>) -> Result<Value, Stop> {
    let name = arguments.required_text("name", render)?;
    if name.is_empty() {
        return Err(arguments.refused("name", "it is empty"));
    }
    let own = |name| Ok::<_, Stop>(arguments.text(name, render)?.map(str::to_owned));
    let (near, datacenter, filter) = (own("near")?, own("datacenter")?, own("filter")?);
    let status = status(render, arguments)?;
    let tags: BTreeSet<String> = arguments.texts("tag", render)?.into_iter().map(str::to_owned).collect();
    let mut others = tags.iter().chain(near.iter().chain(&datacenter).chain(&filter));
    let computed = Computed { name: !render.may_show(name), other: !others.all(|text| render.may_show(text)) };
    let computed = Aside(computed);
    let query = ServiceQuery { name: name.to_owned(), tags, status, near, datacenter, filter, computed };
    let asked = asked(render, arguments, Query::Service(query))?;
    let answer = render.ask(&asked, arguments.flag("optional")?)?;
    let Data::Service(instances) = &answer.data else { return Err(mismatch(&asked, &answer)) };
    at_least(render, arguments, &asked, instances.len())?;
    Ok(answer.view.get_or_init(|| view::instances(instances)).clone())
}

/// What `service()` asks, as far as registries differ in it.
pub(super) fn question(written: &Written<'_>) -> Option<Query> {
    Some(Query::Service(ServiceQuery {
        near: written("near"),
        datacenter: written("datacenter"),
        filter: written("filter"),
        ..ServiceQuery::passing(written("name")?)
    }))
}

fn status(render: &Render, arguments: &Arguments<'_>) -> Result<StatusFilter, Stop> {
    let written = arguments.texts("status", render)?;
    if written == ["any"] {
        return Ok(StatusFilter::All);
    }
    let states: BTreeSet<Status> =
        written.iter().map(|state| arguments.one_of("status", state, &Status::NAMES)).collect::<Result<_, _>>()?;
    // No state at all would never match anything; it stands for the default.
    Ok(StatusFilter::Any(if states.is_empty() { [Status::Passing].into() } else { states }))
}

/// `nodes(datacenter=)`: the nodes.
pub(super) fn nodes(render: &mut Render, arguments: &Arguments<'_>) -> Result<Value, Stop> {
    let datacenter = arguments.text("datacenter", render)?.map(str::to_owned);
    let asked = asked(render, arguments, Query::Nodes { datacenter })?;
    let answer = render.ask(&asked, arguments.flag("optional")?)?;
    let Data::Nodes(nodes) = &answer.data else { return Err(mismatch(&asked, &answer)) };
    Ok(answer.view.get_or_init(|| view::nodes(nodes)).clone())
}

/// `node(name=, datacenter=, default=, required=false)`: a node with what runs on it.
pub(super) fn node(render: &mut Render, arguments: &Arguments<'_>) -> Result<Value, Stop> {
    let name = arguments.required_text("name", render)?;
    if name.is_empty() {
        return Err(arguments.refused("name", "it is empty"));
    }
    let datacenter = arguments.text("datacenter", render)?.map(str::to_owned);
    let computed = Computed {
        name: !render.may_show(name),
        other: datacenter.as_ref().is_some_and(|datacenter| !render.may_show(datacenter)),
    };
    let query = NodeQuery { name: name.to_owned(), datacenter, computed: Aside(computed) };
    let asked = asked(render, arguments, Query::Node(query))?;
    let answer = match render.ask(&asked, arguments.flag("optional")?) {
        Err(Stop::Denied) => return absent(render, arguments, Absent::Query(asked)),
        answer => answer?,
    };
    match &answer.data {
        Data::Node(Some(found)) => Ok(answer.view.get_or_init(|| view::node(found)).clone()),
        Data::Node(None) => absent(render, arguments, Absent::Query(asked)),
        _ => Err(mismatch(&asked, &answer)),
    }
}

/// `datacenters()`: the names of the datacenters.
pub(super) fn datacenters(render: &mut Render, arguments: &Arguments<'_>) -> Result<Value, Stop> {
    let asked = asked(render, arguments, Query::Datacenters)?;
    let answer = render.ask(&asked, arguments.flag("optional")?)?;
    let Data::Datacenters(names) = &answer.data else { return Err(mismatch(&asked, &answer)) };
    Ok(answer.view.get_or_init(|| view::texts(names)).clone())
}
