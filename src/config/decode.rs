//! From documents to what they mean together.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::command;
use super::control;
use super::document::{Document, Reading};
use super::field::Field;
use super::for_each;
use super::http::BodyFile;
use super::lock;
use super::model::{Config, Control, Limits, LogConfig, Reload, Target};
use super::options::LoadOptions;
use super::problem::Complaint;
use super::process::Supervises;
use super::registries;
use super::section::Section;
use super::state;
use super::target;
use crate::yaml::{Node, Value};

/// How long the first answers may be away before missing files are made of saved ones.
const LAST_KNOWN_GOOD_AFTER: Duration = Duration::from_secs(10);

/// What surrounds the documents.
pub(super) struct Frame<'a> {
    /// The main file, if there is one.
    pub(super) file: Option<PathBuf>,
    /// The folder that relative paths start from.
    pub(super) base: PathBuf,
    /// What tells this configuration from others.
    pub(super) identity: &'a [u8],
}

/// A name with what stands under it, in one of the documents.
type Entry<'a> = (Field<'a>, Field<'a>);

/// Reads the documents, the first of which is the main one; notes what is wrong.
pub(super) fn config<'a>(
    reading: &'a Reading<'a>,
    documents: &'a [Document],
    frame: Frame<'_>,
    options: &LoadOptions,
) -> Option<Config> {
    let (main, additions) = documents.split_first()?;
    let mut sections = vec![Field::root(reading, main).section()?];
    sections.extend(additions.iter().filter_map(|document| Field::root(reading, document).section()));
    let entries = |sections: &mut [Section<'a>], key: &str| -> Vec<Entry<'a>> {
        let maps: Vec<Field<'a>> = sections.iter_mut().filter_map(|section| section.field(key)).collect();
        maps.into_iter().filter_map(Field::entries).flatten().filter(|(name, _)| is_named(*name)).collect()
    };
    let registries = distinct(entries(&mut sections, "registries"));
    let names: Vec<&str> = registries.iter().map(|(_, value)| value.key).collect();
    let run = Supervises::of(options.command.as_deref());
    let (mut targets, locks) = targets(entries(&mut sections, "targets"), &run);

    let main = sections.first_mut()?;
    let nothing = |node: &Node| node.is_null() || matches!(&node.value, Value::Map(entries) if entries.is_empty());
    if documents.iter().filter_map(|document| document.root.get("targets")).all(nothing) {
        main.problem("targets", "there are no `targets`: nothing to do", None);
    }
    if run.process().is_some() && targets.iter().flatten().all(|target| target.process != run.process().cloned()) {
        let hint = "leave the command out, or one of the `process`";
        main.problem(
            "targets",
            "every target has a `process` of its own: nothing is left for the command",
            Some(hint.into()),
        );
    }
    let template_dirs = main.or("template_dirs", vec![frame.base.join("templates")], paths);
    let state_dir = state_dir(main, frame.identity, options);
    let control = main.or("control", Control::default(), control::read);
    let log = main.or("log", LogConfig::default(), log);
    let env_allow = main.or("env", Vec::new(), |field| field.section()?.or("allow", Vec::new(), Field::texts));
    let files_allow = main.or("files", Vec::new(), |field| field.section()?.or("allow", Vec::new(), paths));
    let limits = main.or("limits", Limits::default(), limits);
    let registries = registries::read(&registries, limits.unwrap_or_default());
    for (name, field) in locks {
        let mut targets = targets.iter_mut().flatten();
        if let Some(lock) = targets.find(|target| *target.name == *name).and_then(|target| target.lock.as_mut()) {
            let _ = lock::resolve(lock, field, &names, &registries);
        }
    }
    let last_known_good_after = main.or("last_known_good", LAST_KNOWN_GOOD_AFTER, |field| {
        field.section()?.or("after", LAST_KNOWN_GOOD_AFTER, Field::duration)
    });
    let grace = main.or("grace", Duration::from_secs(8), Field::duration);

    Some(Config {
        file: frame.file,
        base: frame.base,
        registries,
        targets: targets?,
        template_dirs: template_dirs?,
        state_dir: state_dir?,
        env_allow: env_allow?,
        files_allow: files_allow?,
        limits: limits?,
        log: log?,
        last_known_good_after: last_known_good_after?,
        grace: grace?,
        control: control?,
        warnings: Vec::new(),
    })
}

/// The state folder, which `name` or what tells the configuration from others may name.
pub(super) fn state_dir(main: &mut Section<'_>, identity: &[u8], options: &LoadOptions) -> Option<PathBuf> {
    let (name, configured) = (main.optional("name", name), main.optional("state_dir", Field::path));
    let name = name?.unwrap_or_else(|| state::hashed_name(identity));
    Some(state::folder(options, configured?, &name))
}

/// The entries whose names are not taken by an entry before; two files may not say the same name.
fn distinct(entries: Vec<Entry<'_>>) -> Vec<Entry<'_>> {
    let mut kept: Vec<Entry<'_>> = Vec::new();
    for (name, value) in entries {
        match kept.iter().find(|(_, other)| other.key == value.key) {
            Some((first, _)) => {
                let message = format!("registry `{}` is already at {}", value.key, first.place());
                name.note(Complaint::new(message).hint("give one of them another name"));
            }
            None => kept.push((name, value)),
        }
    }
    kept
}

/// Reads the targets; entries of one name are one target, all but one of which add templates only. Also where the locks of
/// which stand.
fn targets<'a>(entries: Vec<Entry<'a>>, run: &Supervises) -> (Option<Vec<Target>>, Vec<(&'a str, Field<'a>)>) {
    let mut groups: Vec<(&str, Vec<Entry<'a>>)> = Vec::new();
    for (name, value) in entries {
        match groups.iter_mut().find(|(other, _)| *other == value.key) {
            Some((_, group)) => group.push((name, value)),
            None => groups.push((value.key, vec![(name, value)])),
        }
    }
    let written: Vec<Option<target::Written<'_>>> =
        groups.iter().map(|(name, group)| read_target(name, group, run)).collect();
    refuse_equal_destinations(written.iter().flatten());
    warn_of_equal_reloads(written.iter().flatten());
    let locks = groups.iter().zip(&written).filter_map(|((name, _), written)| Some((*name, written.as_ref()?.lock?)));
    let locks = locks.collect();
    (written.into_iter().map(|written| written?.target).collect(), locks)
}

/// Reads the target that all entries of `group` are about.
fn read_target<'a>(name: &str, group: &[Entry<'a>], run: &Supervises) -> Option<target::Written<'a>> {
    let says_more = |value: &Field<'_>| {
        value.entries().is_some_and(|entries| entries.iter().any(|(_, setting)| setting.key != "templates"))
    };
    let home = group.iter().position(|(_, value)| says_more(value)).unwrap_or(0);
    let first = group.get(home)?.0;
    let mut sections = Vec::new();
    for (index, (entry, value)) in group.iter().enumerate() {
        if index != home && says_more(value) {
            let message = format!("the settings of target `{name}` are already at {}", first.place());
            entry.note(Complaint::new(message).hint("another file may add `templates` to it, and nothing else"));
        } else {
            sections.push(value.section()?);
        }
    }
    // Before the home stand none but additions, each of which is a section.
    let mut section = sections.remove(home);
    Some(target::read(name, &mut section, &mut sections, run))
}

fn refuse_equal_destinations<'a, 'w: 'a>(written: impl Iterator<Item = &'a target::Written<'w>>) {
    let mut seen: BTreeMap<&Path, Field<'w>> = BTreeMap::new();
    let all: Vec<&target::Destination<'w>> = written.flat_map(|written| &written.destinations).collect();
    for (index, destination) in all.iter().enumerate() {
        let (path, field) = (destination.path.as_path(), destination.field);
        if let Some(first) = seen.get(path) {
            let message = format!("`{}` is already written by the template at {}", path.display(), first.place());
            field.note(Complaint::new(message));
            continue;
        }
        seen.insert(path, field);
        let meets = |other: &&&target::Destination<'w>| {
            let is_pattern = destination.is_pattern || other.is_pattern;
            is_pattern && other.path != destination.path && for_each::may_meet(&destination.path, &other.path)
        };
        if let Some(other) = all[..index].iter().find(meets) {
            let message = format!("it may be a file that the template at {} writes", other.field.place());
            let hint = "give the files of a `for_each` a folder of their own, or names that begin or end otherwise";
            field.note(Complaint::new(message).hint(hint));
        }
    }
}

fn warn_of_equal_reloads<'a, 'w: 'a>(written: impl Iterator<Item = &'a target::Written<'w>>) {
    let mut seen: Vec<(&Target, Field<'w>)> = Vec::new();
    for written in written {
        let (Some(target), Some(field)) = (&written.target, written.reload) else { continue };
        let comparable = match &target.reload {
            // A program that several targets share is started once for all of them.
            Reload::None | Reload::Process(_) => false,
            Reload::Signal { .. } | Reload::Systemd(_) | Reload::Haproxy(_) => true,
            Reload::Http(http) => !matches!(http.body_file, Some(BodyFile::Dest(_))),
            Reload::Command(command) => command::is_fixed(&command.program),
        };
        if !comparable {
            continue;
        }
        if let Some((first, place)) = seen.iter().find(|(other, _)| other.reload == target.reload) {
            let message = format!("target `{}` at {} has the same reload", first.name, place.place());
            field.warn(
                Complaint::new(message).hint("a target is one process: put the templates of a process into one target"),
            );
        }
        seen.push((target, field));
    }
}

fn name(field: Field<'_>) -> Option<String> {
    let text = field.text()?;
    if is_name(&text) { Some(text) } else { field.complain(name_complaint(&text)) }
}

/// Whether an entry has a name that may become part of paths and log lines.
fn is_named(name: Field<'_>) -> bool {
    let text = name.node.text().unwrap_or_default();
    if is_name(text) {
        return true;
    }
    name.note(name_complaint(text));
    false
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && !text.starts_with(['.', '-'])
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

fn name_complaint(text: &str) -> Complaint {
    Complaint::new(format!("`{}` cannot be a name", text.escape_debug()))
        .hint("a name has up to 64 letters, digits, `.`, `_` and `-`, and begins with a letter, a digit or `_`")
}

fn paths(field: Field<'_>) -> Option<Vec<PathBuf>> {
    let items = if field.is_list() { field.items()? } else { vec![field] };
    let paths: Vec<Option<PathBuf>> = items.into_iter().map(Field::path).collect();
    paths.into_iter().collect()
}

fn log(field: Field<'_>) -> Option<LogConfig> {
    let mut section = field.section()?;
    let default = LogConfig::default();
    let level = section.or("level", default.level, |field| field.choice(LogConfig::LEVELS));
    let format = section.or("format", default.format, |field| field.choice(LogConfig::FORMATS));
    Some(LogConfig { level: level?, format: format? })
}

fn limits(field: Field<'_>) -> Option<Limits> {
    let mut section = field.section()?;
    let default = Limits::default();
    let mut size = |key, default| section.or(key, default, nonzero_size);
    let (response, value) = (size("response", default.response), size("value", default.value));
    let output = size("output", default.output);
    let keys = section.or("keys", default.keys, |field| match field.integer()? {
        0 => field.complain(Complaint::new(format!("`{}` cannot be `0`", field.key))),
        keys => Some(keys),
    });
    Some(Limits { response: response?, keys: keys?, value: value?, output: output? })
}

fn nonzero_size(field: Field<'_>) -> Option<u64> {
    match field.size()? {
        0 => field.complain(Complaint::new(format!("`{}` cannot be `0`", field.key))),
        size => Some(size),
    }
}
