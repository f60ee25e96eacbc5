//! Templates from the outside: a source and answers go in, bytes or an error come out.

mod any_input;
mod canary;
mod coming_from;
mod components;
mod each;
mod errors;
mod filters;
mod format;
mod functions;
mod inputs;
mod lines;
mod loading;
mod old;
mod numbers;
mod print;
mod reference;
mod speed;
mod teach;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use super::{CLOCK, Environment, ErrorKind, LOCAL_FILES, Rendering, TemplateError, Templates};
use crate::config::{Drift, Gather, Guard, Owner, Places, Reload, Target, Template, TemplateSource, Wait, Writes};
use crate::registry::{
    Answer, Asked, Data, Entry, Instance, LookupQuery, Names, Node, NodeQuery, NodeServices, Path, Query, RecordType,
    Registry, ServiceName, ServiceQuery, Status, StatusFilter, Text, Watch,
};
use crate::store::View;

/// A registry that supports everything, or everything but nodes and nearness, or one for names.
#[derive(Debug)]
enum Fake {
    Full,
    Limited,
    Names,
}

impl Registry for Fake {
    fn supports(&self, query: &Query) -> Result<(), String> {
        match (self, query) {
            (Self::Limited, Query::Nodes { .. }) => Err("has no nodes".into()),
            (Self::Limited, Query::Service(ServiceQuery { near: Some(_), .. })) => Err("has no `near=`".into()),
            (Self::Full | Self::Limited, Query::Lookup(_)) => Err("does no DNS look-ups".into()),
            _ => Ok(()),
        }
    }

    fn answers_lookups(&self) -> bool {
        matches!(self, Self::Names)
    }

    fn watch(&self) -> Box<dyn Watch> {
        unreachable!("templates open no watches")
    }
}

/// What a test renders with.
struct Bench {
    environment: Environment,
    answers: Vec<(Asked, Answer)>,
    timeout: Duration,
    trim: bool,
    secret: bool,
}

impl Bench {
    fn new() -> Self {
        let registries = BTreeMap::from([("main".into(), Arc::new(Fake::Full) as Arc<dyn Registry>)]);
        let environment = Environment { registries, base: "/base".into(), ..Environment::default() };
        Self { environment, answers: Vec::new(), timeout: Duration::from_secs(5), trim: true, secret: false }
    }

    fn answer(mut self, query: Query, data: Data) -> Self {
        let registry = match query {
            Query::File(_) => LOCAL_FILES,
            Query::Time { .. } => CLOCK,
            Query::Lookup(_) => "names",
            _ => "main",
        };
        self.answers.push((Asked { registry: registry.into(), query }, Answer::new(data, 1)));
        self
    }

    /// With a registry for names.
    fn with_names(mut self) -> Self {
        self.environment.registries.insert("names".into(), Arc::new(Fake::Names));
        self
    }

    fn key(self, name: &str, value: &str) -> Self {
        self.answer(Query::Key(path(name)), Data::Key(Some(text(value))))
    }

    fn no_key(self, name: &str) -> Self {
        self.answer(Query::Key(path(name)), Data::Key(None))
    }

    fn prefix(self, name: &str, entries: &[(&str, &str)]) -> Self {
        let entry = |(key, value): &(&str, &str)| Arc::new(Entry::new(*key, format!("{name}/{key}"), text(value)));
        let entries = entries.iter().map(entry).collect();
        self.answer(Query::Prefix(path(name)), Data::Prefix(entries))
    }

    fn service(self, name: &str, instances: Vec<Instance>) -> Self {
        let instances = instances.into_iter().map(Arc::new).collect();
        self.answer(Query::Service(ServiceQuery::passing(name)), Data::Service(instances))
    }

    fn load(&self, sources: &[TemplateSource]) -> Result<Templates, Vec<TemplateError>> {
        let template =
            |source: &TemplateSource| Template { trim: self.trim, secret: self.secret, ..template(source.clone()) };
        let target = Target { render_timeout: self.timeout, ..target(sources.iter().map(template).collect()) };
        load(target, &self.environment)
    }

    fn view(self) -> View {
        View::of(self.answers)
    }

    /// Renders a source that must load.
    fn render(self, source: &str) -> Rendering {
        let templates = self.load(&[inline(source)]).unwrap_or_else(|errors| panic!("{}", errors[0]));
        templates.render(0, &self.view())
    }

    /// The output of a source of which nothing is missing.
    fn output(self, source: &str) -> String {
        let rendering = self.render(source);
        assert!(rendering.missing.is_empty(), "{:?}", rendering.missing);
        String::from_utf8(rendering.output.unwrap_or_else(|error| panic!("{source}\n{error}"))).unwrap()
    }

    /// The error of rendering a source of which nothing is missing.
    fn error(self, source: &str) -> TemplateError {
        let rendering = self.render(source);
        assert!(rendering.missing.is_empty(), "{:?}", rendering.missing);
        rendering.output.map(|bytes| String::from_utf8(bytes).unwrap()).expect_err(source)
    }

    /// The errors of loading a source.
    fn refused(&self, source: &str) -> Vec<TemplateError> {
        self.load(&[inline(source)]).err().unwrap_or_else(|| panic!("loads: {source}"))
    }
}

/// Loads one target alone.
fn load(target: Target, environment: &Environment) -> Result<Templates, Vec<TemplateError>> {
    Templates::load(&[target], environment.clone()).map(|mut all| all.remove(0))
}

fn inline(content: &str) -> TemplateSource {
    TemplateSource::Inline { content: content.into(), file: "test.conf".into(), places: Places::default() }
}

fn template(source: TemplateSource) -> Template {
    Template {
        name: "out".into(),
        source,
        dest: "/out".into(),
        writes: Writes::One,
        mode: None,
        owner: Owner::default(),
        secret: false,
        create_dirs: false,
        in_place: false,
        backup: false,
        keep_previous: false,
        check: None,
        trim: true,
        delimiters: None,
    }
}

fn target(templates: Vec<Template>) -> Target {
    let second = Duration::from_secs(1);
    Target {
        name: "target".into(),
        templates,
        check: None,
        verify: None,
        reload: Reload::None,
        process: None,
        confirm: None,
        wait: Wait { min: second, max: second, gather: Gather::Burst },
        reload_interval: second,
        splay: Duration::ZERO,
        lock: None,
        retry: (second, second),
        render_timeout: Duration::from_secs(5),
        guard: Guard::default(),
        drift: Drift::Repair,
        drift_interval: Duration::from_secs(30),
    }
}

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

fn text(value: &str) -> Text {
    Text(value.as_bytes().to_vec().into())
}

fn key_of(name: &str) -> Asked {
    Asked { registry: "main".into(), query: Query::Key(path(name)) }
}

fn instance(id: &str, address: &str, port: u16) -> Instance {
    Instance {
        id: id.into(),
        name: "web".into(),
        node: "n1".into(),
        address: address.into(),
        port,
        tags: vec!["a".into(), "b".into()],
        meta: BTreeMap::from([("canary".into(), "yes".into())]),
        weight: 1,
        status: Status::Passing,
        zone: "z".into(),
        registry: "main".into(),
        view: std::sync::OnceLock::new(),
    }
}

fn write(folder: &FilePath, name: &str, content: &str) -> TemplateSource {
    let file = folder.join(name);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, content).unwrap();
    TemplateSource::File(file)
}
