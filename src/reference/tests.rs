//! The configuration and the templates of the reference, read and rendered by the program itself.
#![expect(clippy::disallowed_methods, reason = "what a test reads is written in the simple way")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::page::{COMING_FROM, CONFIGURATION, OPERATION, TEMPLATES, blocks, rows, terms};
use super::schema::judge::wrong;
use crate::config::{
    Config, ConfirmKind, LoadOptions, NamedRegistry, Placeholder, Problem, ProcessReload, Program, Reload, Section,
    describe, describe_as, load,
};
use crate::exit::Exit;
use crate::heartbeat::Heart;
use crate::plan::Plan;
use crate::registries::Registries;
use crate::registry::dns::stub::{Says, Server};
use crate::registry::file::Fixture;
use crate::store::Store;
use crate::target::{Render, Renderer};
use crate::template::catalog::{SAMPLE, Sample, Sort, sections};
use crate::template::entry;

/// Where the keys of a section are explained: its own key, and the heading. The sections of a target have its name.
const SECTIONS: &[(&str, &str)] = &[
    ("", "Top level"),
    ("env", "`env`"),
    ("files", "`files`"),
    ("limits", "`limits`"),
    ("last_known_good", "`last_known_good`"),
    ("log", "`log`"),
    ("control", "`control`"),
    ("file", "`file`"),
    ("etcd", "`etcd`"),
    ("services", "`services`"),
    ("consul", "`consul`"),
    ("dns", "`dns`"),
    ("web", "Targets"),
    ("templates", "Templates"),
    ("for_each", "`for_each`"),
    ("delimiters", "`delimiters`"),
    ("check", "`check`"),
    ("reload", "`reload`"),
    ("systemd", "`systemd`"),
    ("reload haproxy", "`haproxy` as a reload"),
    ("reload http", "A reload by HTTP"),
    ("process", "`process`"),
    ("guard", "`guard`"),
    ("lock", "`lock`"),
    ("confirm", "`confirm`"),
    ("nginx", "`nginx`"),
    ("haproxy", "`haproxy`"),
    ("http", "`http`"),
    ("tcp", "`tcp`"),
];

pub(super) fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

pub(super) fn read(folder: &Path) -> Result<Config, Vec<Problem>> {
    load(&LoadOptions {
        config: Some("liveconf.yaml".into()),
        state_dir: None,
        environment: BTreeMap::new(),
        working_folder: folder.to_owned(),
        uid: 1000,
        command: Some(Vec::new()),
    })
}

/// The configuration in a folder. What is wrong with it, and what it warns of, fails the test.
fn configuration(folder: &Path) -> Config {
    let config = read(folder).unwrap_or_else(|problems| panic!("{}", describe(&problems)));
    assert!(config.warnings.is_empty(), "{}", describe_as("warning", &config.warnings));
    config
}

fn configuration_of(text: &str) -> Config {
    assert_eq!(wrong(text), [""; 0], "the schema refuses\n{text}");
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "liveconf.yaml", text);
    configuration(folder.path())
}

/// The configuration that is the example of the page.
fn example() -> Config {
    let folder = tempfile::tempdir().unwrap();
    for block in blocks(CONFIGURATION) {
        let file = block.file().unwrap_or_else(|| panic!("configuration.md, line {}: whose is this?", block.line));
        write(folder.path(), file, &block.text);
    }
    configuration(folder.path())
}

#[test]
fn every_key_that_is_read_is_explained_and_no_other() {
    let asked = Section::asked(|| {
        assert_eq!(example().targets.len(), 2);
        configuration_of(&with("consul", "strict: false"));
        configuration_of(&with("dns", ""));
        for kind in ["http", "tcp", "systemd", "process"] {
            configuration_of(&with(kind, ""));
        }
    });
    // Two sections have one key.
    let reload = Section::asked(|| {
        for kind in ["reload haproxy", "reload http"] {
            configuration_of(&with(kind, ""));
        }
    });
    for (section, heading) in SECTIONS {
        let (asked, section) = match section.strip_prefix("reload ") {
            Some(kind) => (&reload, kind),
            None => (&asked, *section),
        };
        let read: BTreeSet<&str> = asked.iter().filter(|(of, _)| of == section).map(|(_, key)| key.as_str()).collect();
        let explained = terms(CONFIGURATION, heading, "key");
        assert!(!read.is_empty(), "the example has no `{section}`");
        assert_eq!(explained.iter().map(String::as_str).collect::<BTreeSet<_>>(), read, "under {heading}");
    }
    let known = |section: &str| section == "balancer" || SECTIONS.iter().any(|(known, _)| *known == section);
    let unknown: Vec<_> = asked.iter().filter(|(section, _)| !known(section)).collect();
    assert!(unknown.is_empty(), "under no heading: {unknown:?}");
}

/// A configuration with one key of a section given, or none.
pub(super) fn with(section: &str, line: &str) -> String {
    let own = |of: &str| if of == section { line } else { "" };
    let (registry, delimiters) = match section {
        "file" => (format!("file: {{path: x, {line}}}"), String::new()),
        "etcd" => (format!("etcd: {{{line}}}"), String::new()),
        "consul" => (format!("consul: {{{line}}}"), String::new()),
        "dns" => (format!("dns: {{{line}}}"), String::new()),
        "lock" => ("etcd: {}".into(), String::new()),
        "services" => (format!("etcd: {{services: {{{line}}}}}"), String::new()),
        "delimiters" => ("file: {path: x}".into(), format!("delimiters: {{{line}}}")),
        _ => ("file: {path: x}".into(), String::new()),
    };
    let nested = if ["env", "files", "limits", "last_known_good", "log", "control"].contains(&section) {
        format!("{section}: {{{line}}}")
    } else {
        String::new()
    };
    let confirm = match section {
        "http" => format!("http: {{url: 'http://a/', {line}}}"),
        "tcp" => format!("tcp: {{address: 'a:1', {line}}}"),
        "nginx" => format!("nginx: {{pid_file: /a, max_old_workers: 9, {line}}}"),
        "haproxy" => format!("haproxy: {{pid_file: /a, {line}}}"),
        _ => format!("command: [c], {}", own("confirm")),
    };
    let base = if line.starts_with("registries:") || line.starts_with("targets:") { "" } else { own("") };
    let lock = if section == "lock" { format!("lock: {{path: a, {line}}}") } else { String::new() };
    let process = if section == "process" { format!("process: {{command: [a], {line}}}") } else { String::new() };
    let reload = match section {
        "systemd" => format!("systemd: {{unit: a, {line}}}"),
        "reload haproxy" => format!("haproxy: {{socket: /s, pid_file: /p, {line}}}"),
        "reload http" => format!("http: {{url: 'http://a/', {line}}}"),
        _ => format!("command: [b], {}", own("reload")),
    };
    format!(
        "{base}\n{nested}\nregistries: {{main: {{{registry}}}}}\ntargets:\n  web:\n    {}\n    {lock}\n    {process}\n    templates: \
         [{{src: in, dest: /out, {} {delimiters}}}]\n    check: {{command: [a, '{{staged}}'], {}}}\n    reload: \
         {{{reload}}}\n    guard: {{{}}}\n    confirm: {{{confirm}}}\n",
        own("web"),
        own("templates"),
        own("check"),
        own("guard"),
    )
}

/// All that a configuration means, wherever it stands. The fingerprint of a registry tells a written default from none.
fn meaning(text: &str) -> String {
    let mut config = Config { state_dir: "/".into(), ..configuration_of(text) };
    for NamedRegistry { fingerprint, .. } in config.registries.values_mut() {
        *fingerprint = [0; 32];
    }
    let folder = config.base.display().to_string();
    format!("{config:?}").replace(&folder, "/base")
}

/// The section that a heading is about.
pub(super) fn section_of(heading: &str) -> &'static str {
    let known = SECTIONS.iter().find(|(_, other)| *other == heading);
    known.unwrap_or_else(|| panic!("{heading}")).0
}

#[test]
fn every_default_is_what_stands_in_for_the_key() {
    let mut compared = 0;
    for row in rows(CONFIGURATION).into_iter().filter(|row| row.table == "key") {
        let section = section_of(row.heading);
        let is_value = row.cells[2].starts_with('`') && row.cells[2].ends_with('`') && row.codes(2).len() == 1;
        // A reload of its own stands in the frame, and no registry at all would be another frame.
        let in_the_frame = matches!(
            (section, row.code(0)),
            ("", "registries" | "template_dirs") | ("web", "reload" | "guard" | "confirm")
        );
        if is_value && !in_the_frame {
            let given = with(section, &format!("{}: {}", row.code(0), row.code(2)));
            assert_eq!(meaning(&given), meaning(&with(section, "")), "{row:?}");
            compared += 1;
        }
    }
    assert!(compared > 30, "{compared}");
    let config = configuration_of(&with("", ""));
    assert_eq!(config.template_dirs.len(), 1);
    assert!(config.template_dirs[0].ends_with("templates"));
    let without = configuration_of("targets: {t: {templates: [{src: in, dest: /out}]}}");
    assert_eq!(without.targets[0].reload, Reload::None);
}

#[test]
fn every_word_that_a_key_takes_is_taken() {
    for row in rows(CONFIGURATION).into_iter().filter(|row| row.table == "key" && row.codes(1).len() > 1) {
        if row.cells[1].replace('`', "").split(", ").count() != row.codes(1).len() {
            continue;
        }
        let section = section_of(row.heading);
        for word in row.codes(1) {
            configuration_of(&with(section, &format!("{}: {word}", row.code(0))));
        }
    }
}

#[test]
fn placeholders_become_what_is_shown() {
    /// The list is complete as long as this is.
    fn word(placeholder: &Placeholder) -> Option<&'static str> {
        match placeholder {
            Placeholder::Text(_) => None,
            Placeholder::Staged(_) => Some("staged"),
            Placeholder::Dest(_) => Some("dest"),
            Placeholder::Wrapper => Some("wrapper"),
        }
    }
    let check = |check: &str| {
        let target = format!("{{templates: [{{src: in, dest: /out, name: NAME}}], check: {{{check}}}}}");
        let config = configuration_of(&format!("targets: {{t: {target}}}"));
        config.targets[0].check.clone().unwrap().command.program
    };
    let mut words = BTreeSet::new();
    for row in rows(CONFIGURATION).into_iter().filter(|row| row.heading == "Placeholders") {
        let placeholder = row.code(0);
        let more = "wrapper: '{staged}'";
        let more = if placeholder == "{wrapper}" { more } else { "when: always" };
        let Program::Shell { script, .. } = check(&format!("shell: 'x {{staged}} {placeholder}', {more}")) else {
            panic!("{placeholder}")
        };
        assert_eq!(script.replace("_1\"", "_N\""), format!("x \"$LIVECONF_STAGED\" {}", row.code(3)));
        let Program::Arguments(arguments) = check(&format!("command: [x, '{{staged}}', '{placeholder}'], {more}"))
        else {
            panic!("{placeholder}")
        };
        let [piece] = &arguments[2][..] else { panic!("{placeholder}") };
        assert!(placeholder[1..].starts_with(word(piece).unwrap_or("text")), "{placeholder}");
        words.extend(word(piece));
    }
    assert_eq!(words.into_iter().collect::<Vec<_>>(), ["dest", "staged", "wrapper"]);
}

#[test]
fn every_reload_is_shown_and_can_be_configured() {
    let mut kinds = BTreeSet::new();
    for row in rows(CONFIGURATION).into_iter().filter(|row| row.heading == "`reload`" && row.table == "form") {
        let form = row.code(0).replace("[...]", "[a]").replace("url: ...", "url: 'http://a/'");
        let form = form.replace("...", "a").replace("FILE", "/f");
        let is_ours = form == "restart" || form.contains("signal") && !form.contains("pid_file");
        let process = if is_ours { ", process: {command: [a]}" } else { "" };
        let config = configuration_of(&format!(
            "targets: {{t: {{templates: [{{src: in, dest: /out}}], reload: {form}{process}}}}}"
        ));
        // A new kind has a row, and a line here.
        kinds.insert(match &config.targets[0].reload {
            Reload::None => "none",
            Reload::Signal { .. } => "signal",
            Reload::Systemd(_) => "systemd",
            Reload::Haproxy(_) => "haproxy",
            Reload::Http(_) => "http",
            Reload::Process(ProcessReload::Signal(_)) => "signal to the process",
            Reload::Process(ProcessReload::Restart) => "restart",
            Reload::Command(command) => match command.program {
                Program::Arguments(_) => "command",
                Program::Shell { .. } => "shell",
            },
        });
    }
    assert_eq!(
        kinds.into_iter().collect::<Vec<_>>(),
        ["command", "haproxy", "http", "none", "restart", "shell", "signal", "signal to the process", "systemd"]
    );
}

#[test]
fn the_reloads_of_programs_are_read() {
    let rows = rows(CONFIGURATION);
    let shown: Vec<_> = rows.iter().filter(|row| row.heading == "A reload by HTTP" && row.table == "program").collect();
    for row in &shown {
        let target = format!("templates: [{{src: in, dest: /out}}], reload: {}", row.code(1));
        let config = configuration_of(&format!("targets: {{t: {{{target}}}}}"));
        assert!(matches!(config.targets[0].reload, Reload::Http(_)), "{row:?}");
    }
    assert_eq!(shown.len(), 3);
}

#[test]
fn every_confirm_is_shown_and_can_be_configured() {
    let mut kinds = BTreeSet::new();
    for row in rows(CONFIGURATION).into_iter().filter(|row| row.heading == "`confirm`" && row.table == "kind") {
        let form = row.code(0).replace("[...]", "[a]").replace("url: ...", "url: 'http://a/'").replace("...", "a");
        let form = form.replace("FILE", "/f").replace("HOST:PORT", "a:1");
        let target = "templates: [{src: in, dest: /out}], reload: {signal: HUP, pid_file: /p}";
        let config = configuration_of(&format!("targets: {{t: {{{target}, confirm: {form}}}}}"));
        // A new kind has a row, and a line here.
        kinds.insert(match &config.targets[0].confirm.as_ref().unwrap().kind {
            ConfirmKind::Nginx { .. } => "nginx",
            ConfirmKind::Haproxy { socket: None } => "haproxy",
            ConfirmKind::Haproxy { socket: Some(_) } => "haproxy by its socket",
            ConfirmKind::Http(_) => "http",
            ConfirmKind::Tcp { .. } => "tcp",
            ConfirmKind::Command(command) => match command.program {
                Program::Arguments(_) => "command",
                Program::Shell { .. } => "shell",
            },
        });
    }
    let all = ["command", "haproxy", "haproxy by its socket", "http", "nginx", "shell", "tcp"];
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), all);
}

#[test]
fn every_exit_code_is_explained() {
    // A new code does not compile before it has its number here.
    let number = |exit| match exit {
        Exit::Done => "0",
        Exit::Failed => "1",
        Exit::Usage => "2",
        Exit::NotReady => "3",
        Exit::Differs => "4",
        Exit::Process(_) => "any",
    };
    let all = [Exit::Done, Exit::Failed, Exit::Usage, Exit::NotReady, Exit::Differs, Exit::Process(9)].map(number);
    assert_eq!(terms(OPERATION, "Exit codes", "code"), all);
}

#[test]
fn every_line_of_the_log_that_is_named_is_written() {
    fn sources(folder: &Path, text: &mut String) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.extension() {
                None => sources(&path, text),
                Some(extension) if extension == "rs" => text.push_str(&std::fs::read_to_string(path).unwrap()),
                Some(_) => {}
            }
        }
    }
    let mut text = String::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut text);
    let rows = rows(OPERATION);
    let lines: Vec<&str> = rows
        .iter()
        .filter(|row| row.heading == "What is logged" && row.code(0) != "debug")
        .flat_map(|row| row.codes(1))
        .collect();
    assert!(lines.len() > 15, "{lines:?}");
    for line in lines {
        assert!(text.contains(&format!("\"{line}")) || text.contains(&format!("{line};")), "`{line}` is not written");
    }
}

/// The files of an example of the page about templates, and what it has to give.
#[derive(Default)]
struct Example {
    files: BTreeMap<String, String>,
    variables: BTreeMap<String, String>,
    /// What stands in for the registries.
    fixture: Option<String>,
    line: usize,
}

#[tokio::test]
async fn templates_give_what_is_shown() {
    let mut example = Example::default();
    let mut shown = 0;
    for block in blocks(TEMPLATES) {
        if let Some(file) = block.file() {
            example.files.insert(file.to_owned(), block.text);
            example.line = block.line;
        } else {
            let outcome = outcome(&std::mem::take(&mut example)).await;
            let rendered = match (block.title, outcome) {
                ("gives", outcome) => outcome.unwrap_or_else(|error| panic!("line {}: {error}", block.line)),
                ("fails", outcome) => format!("{}\n", outcome.expect_err("an example that fails")),
                _ => panic!("templates.md, line {}: nobody reads this", block.line),
            };
            assert_eq!(rendered, block.text, "templates.md, line {}", block.line);
            shown += 1;
        }
    }
    assert!(example.files.is_empty(), "templates.md, line {}: this gives nothing", example.line);
    assert!(shown > 4, "{shown}");
}

/// The examples of functions and filters, with the registry that the page shows.
#[tokio::test]
async fn functions_give_what_is_shown() {
    for entry in sections().into_iter().flat_map(|section| section.entries) {
        let files = [("registry.yaml", SAMPLE), ("in.tera", entry.example)];
        let files = files.map(|(name, text)| (name.to_owned(), text.to_owned()));
        let output = rendered(&Example { files: files.into(), ..Example::default() }).await;
        assert_eq!(output, entry.output, "{}", entry.example);
    }
}

/// What the page and `liveconf functions lookup` show as a fixture stands in for a registry of kind `dns`.
#[tokio::test]
async fn fixtures_of_names_give_what_is_shown() {
    let section = sections().into_iter().find(|section| section.name == "Names").unwrap();
    let Sample::Fixture(sample) = section.sample() else { panic!("{:?}", section.sample()) };
    let of_page = TEMPLATES.split('`').find(|code| code.starts_with("./snapshot: ") && code.contains("lookup: "));
    let of_page = of_page.expect("a fixture that is written by hand").replace('\n', " ");
    let of_page = format!("./registries: {{names: {{{of_page}}}}}");
    for (fixture, expected) in [(sample, section.entries[0].output), (&of_page, "10.0.0.7 ")] {
        let files = [("in.tera".to_owned(), section.entries[0].example.to_owned())];
        let example = Example { files: files.into(), fixture: Some(fixture.to_owned()), ..Example::default() };
        assert_eq!(rendered(&example).await, expected, "{fixture}");
    }
}

/// What stands in for the functions of other tools gives something too; `near` and `datacenter` are for Consul alone.
#[tokio::test]
async fn what_others_have_gives_something() {
    let mut templates = 0;
    for row in rows(COMING_FROM) {
        let is_rendered = |code: &&str| {
            (code.contains("{{ ") || code.contains("{% "))
                && !["near=", "datacenter="].iter().any(|it| code.contains(it))
        };
        for source in row.codes(1).into_iter().filter(is_rendered) {
            let files = [
                ("registry.yaml", SAMPLE),
                ("in.tera", source),
                ("part.tera", "part {{ name | default(value=\"\") }}"),
            ];
            let files = files.map(|(name, text)| (name.to_owned(), text.to_owned()));
            let variables = BTreeMap::from([("REGION".to_owned(), "eu".to_owned())]);
            let output = rendered(&Example { files: files.into(), variables, ..Example::default() }).await;
            assert!(!output.trim().is_empty() || source.starts_with("{% if") || source.contains("set x ="), "{source}");
            templates += 1;
        }
    }
    assert!(templates > 200, "{templates}");
}

/// The default that is written in a call is the one that stands in.
#[tokio::test]
async fn written_defaults_change_nothing() {
    for section in sections() {
        let before = if section.sort == Sort::Filter { "| " } else { "" };
        for entry in section.entries {
            let defaults = entry.arguments.iter().filter_map(|argument| match argument.default {
                entry::Default::Written(default) if !entry.example.contains(&format!("{}=", argument.name)) => {
                    Some(format!("{}={default}", argument.name))
                }
                _ => None,
            });
            let defaults = defaults.collect::<Vec<_>>().join(", ");
            if defaults.is_empty() {
                continue;
            }
            let name = format!("{before}{}", entry.name);
            let (example, called) = (entry.example, format!("{name}("));
            let given = match example.split_once(&called) {
                Some((ahead, behind)) => format!("{ahead}{called}{defaults}, {behind}"),
                None => example.replacen(&name, &format!("{called}{defaults})"), 1),
            };
            let files = [("registry.yaml".to_owned(), SAMPLE.to_owned()), ("in.tera".to_owned(), given.clone())];
            assert_eq!(rendered(&Example { files: files.into(), ..Example::default() }).await, entry.output, "{given}");
        }
    }
}

/// What an example gives.
async fn rendered(example: &Example) -> String {
    outcome(example).await.unwrap_or_else(|error| panic!("line {}: {error}", example.line))
}

/// What an example gives, or why it fails. The registry and the configuration may be left out.
async fn outcome(example: &Example) -> Result<String, String> {
    let folder = tempfile::tempdir().unwrap();
    let names = Server::start().await;
    names.says("db.example", Says::addresses(600, &[[10, 0, 0, 8], [10, 0, 0, 7]]));
    names.says("_web._tcp.example", Says::service(600, "web.example", 80));
    write(folder.path(), "registry.yaml", "{}");
    write(
        folder.path(),
        "liveconf.yaml",
        &format!(
            "registries: {{main: {{file: {{path: registry.yaml}}}}, names: {{dns: {{servers: \"{}\"}}}}}}\n\
             targets: {{t: {{templates: [{{src: in.tera, dest: out}}]}}}}\n",
            names.address
        ),
    );
    for (name, text) in &example.files {
        write(folder.path(), name, text);
    }
    let mut variables = example.variables.clone();
    variables.insert("SOURCE_DATE_EPOCH".to_owned(), "1769847000".to_owned());
    let mut config = configuration(folder.path());
    if let Some(text) = &example.fixture {
        let registries = config.registries.keys().cloned().collect();
        let fixture = Fixture::of_text(Path::new("fixture.yaml"), text.clone(), &registries).unwrap();
        for (name, named) in &mut config.registries {
            named.registry = fixture.registry(name, named.registry.clone());
        }
    }
    let plan = Plan::load(config, &variables);
    let plan = plan.unwrap_or_else(|errors| panic!("line {}: {}", example.line, errors[0]));
    let store = Store::new();
    let _registries = Registries::start(&plan.config.registries, &store, &Heart::default()).await;
    let (target, templates) = plan.targets[0].clone();
    let (mut renderer, reader) = (Renderer::new(target, templates, plan.turns.clone()), store.reader());
    let output = async {
        loop {
            match renderer.render(&reader).await {
                Render::Complete(complete) => return Ok(String::from_utf8(complete.files[0].to_vec()).unwrap()),
                Render::Failed(failure) => {
                    let folder = format!("{}/", folder.path().display());
                    return Err(failure.to_string().replace(&folder, ""));
                }
                Render::Waiting(waiting) => {
                    while !waiting.is_over(&reader.view()) {
                        reader.changed().await;
                    }
                }
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), output).await.unwrap()
}
