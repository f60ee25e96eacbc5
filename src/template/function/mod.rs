//! The functions of templates.
//!
//! To add one: a Rust function in a file of this folder, and an entry in [`FUNCTIONS`]. Its arguments are listed
//! there, so that a template that misspells one is refused when it is loaded.

mod key;
mod local;
mod service;

use tera::{Kwargs, State, Tera, TeraResult, Value};

use super::arguments::Arguments;
use super::error::Failure;
use super::print;
use super::record::{self, PLACEHOLDER, Render, Stop};
use crate::registry::{Answer, Asked, Query};

/// A function of templates.
#[derive(Debug)]
pub(super) struct Function {
    /// Its name.
    pub(super) name: &'static str,
    /// The arguments that must be given.
    pub(super) required: &'static [&'static str],
    /// The arguments that may be given.
    pub(super) optional: &'static [&'static str],
    /// The question that it asks a registry, for functions that ask one: these also take `registry=` and `optional=`.
    pub(super) question: Option<fn(&Written<'_>) -> Option<Query>>,
    /// What stands in while an answer is missing, and where the question is not allowed.
    placeholder: Placeholder,
    call: fn(&mut Render, &Arguments<'_>) -> Result<Value, Stop>,
}

/// The arguments of a call as far as they can be told before a render: the text of one by its name, with a stand-in for
/// what only a render can tell, and nothing where it is not given.
pub(super) type Written<'w> = dyn Fn(&str) -> Option<String> + 'w;

/// What stands in for a value that is not there yet, so that the template goes on asking.
#[derive(Debug, Clone, Copy)]
enum Placeholder {
    Text,
    List,
    Map,
    False,
}

/// All functions, beside Tera's `range` and `super`.
pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "key",
        required: &["path"],
        optional: &["default", "required", "base64"],
        question: Some(|written| key::path(written).map(Query::Key)),
        placeholder: Placeholder::Text,
        call: key::key,
    },
    Function {
        name: "exists",
        required: &["path"],
        optional: &[],
        question: Some(|written| key::path(written).map(Query::Exists)),
        placeholder: Placeholder::False,
        call: key::exists,
    },
    Function {
        name: "prefix",
        required: &["path"],
        optional: &["min"],
        question: Some(|written| key::path(written).map(Query::Prefix)),
        placeholder: Placeholder::List,
        call: key::prefix,
    },
    Function {
        name: "tree",
        required: &["path"],
        optional: &[],
        question: Some(|written| key::path(written).map(Query::Prefix)),
        placeholder: Placeholder::Map,
        call: key::tree,
    },
    Function {
        name: "ls",
        required: &["path"],
        optional: &["kind"],
        question: Some(|written| key::path(written).map(Query::Listing)),
        placeholder: Placeholder::List,
        call: key::ls,
    },
    Function {
        name: "services",
        required: &[],
        optional: &["tag"],
        question: Some(|written| Some(Query::Services { tag: written("tag") })),
        placeholder: Placeholder::List,
        call: service::services,
    },
    Function {
        name: "service",
        required: &["name"],
        optional: &["tag", "status", "near", "datacenter", "filter", "min"],
        question: Some(service::question),
        placeholder: Placeholder::List,
        call: service::service,
    },
    Function {
        name: "nodes",
        required: &[],
        optional: &["datacenter"],
        question: Some(|written| Some(Query::Nodes { datacenter: written("datacenter") })),
        placeholder: Placeholder::List,
        call: service::nodes,
    },
    Function {
        name: "env",
        required: &["name"],
        optional: &["default", "required"],
        question: None,
        placeholder: Placeholder::Text,
        call: local::env,
    },
    Function {
        name: "file",
        required: &["path"],
        optional: &["default", "required"],
        question: None,
        placeholder: Placeholder::Text,
        call: local::file,
    },
    Function {
        name: "throw",
        required: &["message"],
        optional: &[],
        question: None,
        placeholder: Placeholder::False,
        call: local::throw,
    },
];

/// The function that stands at the beginning of every loop, so that a loop which writes nothing ends in time.
pub(super) const TICK: &str = "__tick";

/// The functions that Tera brings along, with their arguments.
pub(super) const TERA_FUNCTIONS: &[(&str, &[&str])] = &[("range", &["start", "end", "step_by"]), ("super", &[])];

/// Puts all functions into `tera`.
pub(super) fn register(tera: &mut Tera) {
    for function in FUNCTIONS {
        tera.register_function(function.name, move |kwargs: Kwargs, _: &State| function.run(&kwargs));
    }
    tera.register_function(TICK, |_: Kwargs, _: &State| {
        record::with(|render| render.check_deadline().map_err(|failure| fail(render, failure)))
            .unwrap_or(Ok(()))
            .map(|()| Value::none())
    });
    print::register(tera);
}

/// Notes why the render stops; Tera carries only text.
pub(super) fn fail(render: &mut Render, failure: Failure) -> tera::Error {
    render.failure = Some(failure);
    tera::Error::message("stopped by a function or filter")
}

impl Function {
    fn run(&self, kwargs: &Kwargs) -> TeraResult<Value> {
        let call = |render: &mut Render| {
            let arguments = Arguments::new(self.name, kwargs);
            let given = render.check_deadline().map_err(Stop::Failed).and_then(|()| (self.call)(render, &arguments));
            match given {
                Ok(value) => Ok(value),
                Err(Stop::Missing) => Ok(self.placeholder.value()),
                Err(Stop::Denied) => match arguments.count("min") {
                    Ok(None | Some(0)) => Ok(self.placeholder.value()),
                    _ => Err(fail(render, Failure::new("the question is not allowed, and `min=` wants entries"))),
                },
                Err(Stop::Failed(failure)) => Err(fail(render, failure)),
            }
        };
        record::with(call).unwrap_or_else(|| Err(tera::Error::message("called outside of a render")))
    }
}

impl Placeholder {
    fn value(self) -> Value {
        match self {
            Self::Text => Value::from(PLACEHOLDER),
            Self::List => Value::from(Vec::<Value>::new()),
            Self::Map => Value::from(tera::Map::new()),
            Self::False => Value::from(false),
        }
    }
}

/// The query of a call with the registry that it goes to.
fn asked(render: &Render, arguments: &Arguments<'_>, query: Query) -> Result<Asked, Stop> {
    let registries = &render.environment.registries;
    let registry = match arguments.text("registry", render)? {
        Some(name) => registries.get_key_value(name).ok_or_else(|| {
            // What was written may be a value.
            let names: Vec<String> = registries.keys().map(|name| format!("`{name}`")).collect();
            let failure = arguments.refusal("registry", "there is no registry of this name");
            failure.hint(format!("there is {}", names.join(", ")))
        })?,
        None => match (registries.iter().next(), registries.len()) {
            (Some(only), 1) => only,
            (None, _) => return Err(Failure::new("there is no registry to ask").into()),
            _ => return Err(arguments.absent("registry")),
        },
    }
    .0;
    Ok(Asked { registry: registry.clone(), query })
}

/// Fails when there are fewer than `min=` things.
fn at_least(arguments: &Arguments<'_>, asked: &Asked, count: usize) -> Result<(), Stop> {
    match arguments.count("min")? {
        Some(min) if (count as u64) < min => {
            Err(Failure::new(format!("{asked} has {count} entries, and `min={min}` are wanted")).into())
        }
        _ => Ok(()),
    }
}

/// A registry gave another sort of answer than was asked for, which is an error of its kind.
fn mismatch(asked: &Asked, _: &Answer) -> Stop {
    Failure::new(format!("the answer to {asked} is not of the sort that was asked for")).into()
}
