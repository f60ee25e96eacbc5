//! A job without a configuration file: flags become the nodes that a file would have, and are read alike.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::decode::{self, Frame};
use super::document::{Document, Reading};
use super::load::finish;
use super::model::Config;
use super::options::LoadOptions;
use super::problem::Problem;
use crate::registry::{KINDS, Kind};
use crate::yaml::{self, Node, Scalar, Value};

/// The name of the one target of a job.
const TARGET: &str = "main";

/// A small job that is given by flags. `${VAR}` is not expanded in it: the shell did that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Job {
    /// `--registry [NAME=]KIND:ADDRESS`, such as `file:registry.yaml`; the name is that of the kind unless given.
    pub registries: Vec<String>,
    /// `--template SOURCE:DESTINATION`, relative to the working folder.
    pub templates: Vec<String>,
    /// `--check SCRIPT`: a check for `sh -c`, with placeholders.
    pub check: Option<String>,
    /// `--reload SCRIPT`: a reload for `sh -c`.
    pub reload: Option<String>,
    /// `--mode MODE` of all files.
    pub mode: Option<String>,
    /// `--owner USER[:GROUP]` of all files.
    pub owner: Option<String>,
}

/// The configuration that a job stands for: one target with all its templates.
pub fn from_job(job: &Job, options: &LoadOptions) -> Result<Config, Vec<Problem>> {
    job_with(job, options, KINDS)
}

/// [`from_job`] with these kinds.
pub(super) fn job_with(job: &Job, options: &LoadOptions, kinds: &[Kind]) -> Result<Config, Vec<Problem>> {
    let reading = Reading::new(&options.environment, kinds);
    let base: &Path = &options.working_folder;
    let mut flags = Flags { labels: Vec::new(), problems: Vec::new() };
    let root = flags.root(job, kinds);
    let Flags { labels, problems } = flags;
    for problem in problems {
        reading.problem(problem);
    }

    let documents = [Document::of_flags(labels, base, root)];
    // What is owed belongs to the files, whatever the other flags of the next run.
    let destinations: BTreeSet<&str> = job.templates.iter().filter_map(|flag| Some(flag.split_once(':')?.1)).collect();
    let identity = format!("{} {destinations:?}", base.display());
    let frame = Frame { file: None, base: PathBuf::from(base), identity: identity.as_bytes() };
    let config = decode::config(&reading, &documents, frame, options);
    finish(reading, &[], config)
}

/// Makes nodes of flags. The line of a node is the number of its flag.
struct Flags {
    labels: Vec<String>,
    problems: Vec<Problem>,
}

impl Flags {
    fn root(&mut self, job: &Job, kinds: &[Kind]) -> Node {
        let mut registries: Vec<(Node, Node)> = Vec::new();
        for flag in &job.registries {
            if let Some(registry) = self.registry(flag, kinds) {
                if registries.iter().any(|(name, _)| name.text() == registry.0.text()) {
                    let name = registry.0.text().unwrap_or_default();
                    let hint = format!("name one of them, as in `--registry other={flag}`");
                    self.problem(format!("a second registry is called `{name}`"), Some(hint));
                }
                registries.push(registry);
            }
        }
        let mut shared = Vec::new();
        for (key, value) in [("mode", &job.mode), ("owner", &job.owner)] {
            if let Some(value) = value {
                shared.push(self.setting(key, value));
            }
        }
        if job.templates.is_empty() {
            self.problems.push(Problem::of_file(
                "command line",
                "the job has no template",
                Some("write `--template in.tera:out.conf`".into()),
            ));
        }
        let templates: Vec<Node> = job.templates.iter().filter_map(|flag| self.template(flag, &shared)).collect();
        let mut target = vec![(text("templates", 0), Node { value: Value::List(templates), line: 0, column: 0 })];
        for (key, script) in [("check", &job.check), ("reload", &job.reload)] {
            if let Some(script) = script {
                let (key, script) = self.setting(key, script);
                let line = key.line;
                target.push((key, map(vec![(text("shell", line), script)], line)));
            }
        }
        let targets = map(vec![(text(TARGET, 0), map(target, 0))], 0);
        map(vec![(text("registries", 0), map(registries, 0)), (text("targets", 0), targets)], 0)
    }

    /// The number of a new flag.
    fn number(&mut self, label: impl Into<String>) -> usize {
        self.labels.push(label.into());
        self.labels.len()
    }

    /// Notes a problem with the newest flag.
    fn problem(&mut self, message: impl std::fmt::Display, hint: Option<String>) {
        let label = self.labels.last().map(String::as_str).unwrap_or_default();
        self.problems.push(Problem::of_file("command line", format!("{label}: {message}"), hint));
    }

    fn setting(&mut self, key: &str, value: &str) -> (Node, Node) {
        let line = self.number(format!("--{key}"));
        (text(key, line), text(value, line))
    }

    fn registry(&mut self, flag: &str, kinds: &[Kind]) -> Option<(Node, Node)> {
        // What stands behind the colon may hold a password, and is not shown.
        let Some((head, address)) = flag.split_once(':') else {
            self.number("--registry");
            self.problem(
                "no `KIND:ADDRESS`",
                Some(
                    "such as `file:registry.yaml`, `consul:http://127.0.0.1:8500` or `etcd:http://127.0.0.1:2379`"
                        .into(),
                ),
            );
            return None;
        };
        let line = self.number(format!("--registry {head}"));
        let (name, kind) = head.split_once('=').unwrap_or((head, head));
        // The reader of registries says which kinds there are.
        let Some(known) = kinds.iter().find(|known| known.name == kind) else {
            return Some((text(name, line), map(vec![(text(kind, line), map(Vec::new(), line))], line)));
        };
        let Ok(body) = yaml::parse(&(known.from_address)(address)) else {
            self.problem("the address cannot be read", None);
            return None;
        };
        let body = renumbered(body, line);
        Some((text(name, line), map(vec![(text(kind, line), body)], line)))
    }

    fn template(&mut self, flag: &str, shared: &[(Node, Node)]) -> Option<Node> {
        let line = self.number(format!("--template {flag}"));
        let parts: Vec<&str> = flag.split(':').collect();
        let [source, destination] = parts[..] else {
            let hint = match parts.len() {
                1 => "write both files, as in `in.tera:out.conf`",
                _ => "a name that holds a `:` needs a configuration file",
            };
            self.problem("no `SOURCE:DESTINATION`", Some(hint.into()));
            return None;
        };
        let mut entries = vec![(text("src", line), text(source, line)), (text("dest", line), text(destination, line))];
        entries.extend_from_slice(shared);
        Some(map(entries, line))
    }
}

fn text(text: &str, line: usize) -> Node {
    Node { value: Value::Scalar(Scalar { text: text.to_owned(), plain: false, null: false }), line, column: 0 }
}

fn map(entries: Vec<(Node, Node)>, line: usize) -> Node {
    Node { value: Value::Map(entries), line, column: 0 }
}

fn renumbered(node: Node, line: usize) -> Node {
    let value = match node.value {
        Value::Scalar(scalar) => Value::Scalar(scalar),
        Value::List(items) => Value::List(items.into_iter().map(|item| renumbered(item, line)).collect()),
        Value::Map(entries) => Value::Map(
            entries.into_iter().map(|(key, value)| (renumbered(key, line), renumbered(value, line))).collect(),
        ),
    };
    Node { value, line, column: 0 }
}

#[cfg(test)]
mod tests;
