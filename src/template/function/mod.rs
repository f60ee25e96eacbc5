//! The functions of templates.
//!
//! To add one: a Rust function in a file of this folder, and an entry in the group of that file. Its arguments are listed
//! there, so that a template that misspells one is refused when it is loaded, and so is all that the reference and
//! `liveconf functions` tell of it.

mod key;
mod local;
mod lookup;
mod service;
mod template;

pub(super) use lookup::NAMES;
use tera::{Kwargs, State, Tera, TeraResult, Value};

use super::arguments::Arguments;
use super::each;
use super::entry::{Entry, Group};
use super::error::Failure;
use super::near::quoted;
use super::print;
use super::record::{self, PLACEHOLDER, Render, Stop};
use crate::registry::{Answer, Asked, COMPUTED, Query, ServiceQuery, StatusFilter};

/// A function of templates.
#[derive(Debug)]
pub(super) struct Function {
    /// What is told of it; those that ask a question also take `registry=` and `optional=`.
    pub(super) entry: Entry,
    /// The question that it asks a registry, for functions that ask one.
    pub(super) question: Option<fn(&Written<'_>) -> Option<Query>>,
    /// What stands in while an answer is missing, and where the question is not allowed.
    placeholder: Placeholder,
    /// What it does; none for one that Tera brings along.
    call: Option<Call>,
}

/// What a function does.
type Call = fn(&mut Render, &Arguments<'_>) -> Result<Value, Stop>;

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

/// All functions.
pub(super) const FUNCTIONS: &[&Group<Function>] =
    &[&key::KEYS, &service::SERVICES, &NAMES, &local::MACHINE, &template::TEMPLATE];

/// Other names of functions, which are told of under their own.
const ALIASES: &[(&str, &str)] = &[("throw", "fail")];

/// The name that a function is told of under.
pub(super) fn own_name(name: &str) -> &str {
    ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, own)| own)
}

/// All functions, without their groups.
pub(super) fn functions() -> impl Iterator<Item = &'static Function> {
    FUNCTIONS.iter().flat_map(|group| group.entries)
}

/// The function that stands at the beginning of every loop, so that a loop which writes nothing ends in time.
pub(super) const TICK: &str = "__tick";

/// Puts all functions into `tera`.
pub(super) fn register(tera: &mut Tera) {
    for function in functions() {
        let Some(call) = function.call else { continue };
        let own = function.entry.name;
        let aliases = ALIASES.iter().filter(|(_, of)| *of == own).map(|(alias, _)| *alias);
        for name in aliases.chain([own]) {
            tera.register_function(name, move |kwargs: Kwargs, _: &State| function.run(call, &kwargs));
        }
    }
    tera.register_function(TICK, |_: Kwargs, _: &State| {
        record::with(|render| render.check_deadline().map_err(|failure| fail(render, failure)))
            .unwrap_or(Ok(()))
            .map(|()| Value::none())
    });
    print::register(tera);
    each::register(tera);
}

/// Notes why the render stops; Tera carries only text.
pub(super) fn fail(render: &mut Render, failure: Failure) -> tera::Error {
    render.failure = Some(failure);
    tera::Error::message("stopped by a function or filter")
}

impl Function {
    /// One that Tera brings along.
    const fn of_tera(entry: Entry) -> Self {
        Self { entry, question: None, placeholder: Placeholder::False, call: None }
    }

    fn run(&self, call: Call, kwargs: &Kwargs) -> TeraResult<Value> {
        let call = |render: &mut Render| {
            let arguments = Arguments::new(self.entry.name, kwargs);
            let given = render.check_deadline().map_err(Stop::Failed).and_then(|()| call(render, &arguments));
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

/// The query of a call with the registry that it goes to: the one that is named, or the only one of its sort.
fn asked(render: &Render, arguments: &Arguments<'_>, query: Query) -> Result<Asked, Stop> {
    let registries = &render.environment.registries;
    let (registry, _) = if let Some(name) = arguments.text("registry", render)? {
        registries.get_key_value(name).ok_or_else(|| {
            // What was written may be a value.
            let names: Vec<String> = registries.keys().map(|name| format!("`{name}`")).collect();
            let failure = arguments.refusal("registry", "there is no registry of this name");
            failure.hint(format!("there is {}", names.join(", ")))
        })?
    } else {
        let mut of_its_sort = render.environment.registries_for(&query);
        match (of_its_sort.next(), of_its_sort.next()) {
            (Some(only), None) => only,
            (None, _) => return Err(Failure::new("there is no registry to ask").into()),
            _ => return Err(arguments.absent("registry")),
        }
    };
    Ok(Asked { registry: registry.clone(), query })
}

/// Fails when there are fewer than `min=` things.
fn at_least(render: &Render, arguments: &Arguments<'_>, asked: &Asked, count: usize) -> Result<(), Stop> {
    match arguments.count("min")? {
        Some(min) if (count as u64) < min => {
            let entries = if count == 1 { "entry" } else { "entries" };
            let are = if min == 1 { "is" } else { "are" };
            let which = match &asked.query {
                // Of a name that nobody registered it is no matter.
                Query::Service(query) if render.view.answer(asked).is_some_and(|answer| answer.unknown.is_none()) => {
                    let_through(query)
                }
                _ => String::new(),
            };
            let failure = Failure::new(format!("{asked} has {count} {entries}{which}, and `min={min}` {are} wanted"));
            let is_service = !which.is_empty();
            Err(if count == 0 || is_service { failure.teach(render.beside_nothing(asked)) } else { failure }.into())
        }
        _ => Ok(()),
    }
}

/// Which instances a question lets through: " with tag `a` in state `passing`".
fn let_through(query: &ServiceQuery) -> String {
    let tags = match (&query.tags, query.computed.0.other) {
        (tags, _) if tags.is_empty() => String::new(),
        (_, true) => format!(" with tag `{COMPUTED}`"),
        (tags, false) => format!(" with tag {}", tags.iter().map(|tag| quoted(tag)).collect::<Vec<_>>().join(" and ")),
    };
    match &query.status {
        StatusFilter::All => format!("{tags} in any state"),
        StatusFilter::Any(states) => {
            let states: Vec<String> = states.iter().map(|state| format!("`{}`", state.as_str())).collect();
            format!("{tags} in state {}", states.join(" or "))
        }
    }
}

/// A registry gave another sort of answer than was asked for, which is an error of its kind.
fn mismatch(asked: &Asked, _: &Answer) -> Stop {
    Failure::new(format!("the answer to {asked} is not of the sort that was asked for")).into()
}
