//! The schema against the reader of the configuration: what one refuses so does the other, wherever a schema can say it.
#![expect(clippy::disallowed_methods, reason = "what a test reads is written in the simple way")]

use std::path::{Path, PathBuf};

use super::super::page::{CONFIGURATION, blocks, rows};
use super::super::tests::{read, section_of, with, write};
use super::judge::wrong;
use super::*;
use crate::config::describe;

#[test]
fn the_schema_is_made_of_the_reference() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/reference/liveconf.schema.json");
    let text = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
    if std::env::var_os("LIVECONF_WRITE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let how = "LIVECONF_WRITE=1 cargo test --lib reference::schema";
    assert!(written == text, "`liveconf.schema.json` is not what the reference says; `{how}` writes it anew");
}

/// What an editor shows of a key is what the reference says of it.
#[test]
fn every_key_is_described() {
    let schema = schema();
    for (heading, definition) in schema["definitions"].as_object().unwrap() {
        for (key, property) in definition["properties"].as_object().unwrap() {
            let is_kind = heading == "registry";
            let described = property["description"].as_str().is_some_and(|text| text.contains("Takes "));
            assert!(described || is_kind, "{heading}: {key}");
        }
    }
}

/// What `check` says of a configuration: nothing, where it takes it.
fn checked(text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "liveconf.yaml", text);
    read(folder.path()).err().map(|problems| describe(&problems)).unwrap_or_default()
}

/// Every configuration that the documentation shows, and where.
fn shown() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = Vec::new();
    for entry in std::fs::read_dir(root.join("examples")).unwrap() {
        let path = entry.unwrap().path().join("liveconf.yaml");
        if let Ok(text) = std::fs::read_to_string(&path) {
            all.push((path.display().to_string(), text));
        }
    }
    for page in ["README.md", "src/reference/operation.md"] {
        let text = std::fs::read_to_string(root.join(page)).unwrap();
        for block in text.split("\n```yaml").skip(1) {
            let block = block.split_once('\n').unwrap().1.split("\n```").next().unwrap();
            if block.contains("\ntargets:") || block.starts_with("targets:") {
                all.push((page.to_owned(), block.to_owned()));
            }
        }
    }
    all.extend(blocks(CONFIGURATION).into_iter().map(|block| (format!("configuration.md:{}", block.line), block.text)));
    all
}

#[test]
fn everything_that_is_shown_is_as_the_schema_says() {
    let shown = shown();
    assert!(shown.len() > 10, "{}", shown.len());
    for (name, text) in shown {
        assert_eq!(wrong(&text), [""; 0], "{name}");
        if let Some(folder) = name.strip_suffix("/liveconf.yaml") {
            let reference = text.lines().next().unwrap().strip_prefix("# yaml-language-server: $schema=").unwrap();
            assert!(PathBuf::from(folder).join(reference).is_file(), "{name}");
        }
    }
}

/// What only the reader knows: other keys, variables, and what YAML hands an editor as a number.
const BEYOND: &[&str] = &[
    // Variables may fill it, or stand for something else.
    "found `${",
    "there is no password for it",
    "there is no `username` for it",
    "there is no `key_file` for it",
    "there is no `cert_file` for it",
    "the address is not `https`",
    // What else there is.
    "there is no registry `",
    "needs a `ttl` of 2s or more",
    "the command does not use the wrapper",
    // The inside of a text.
    "a path has no `.` or `..` segments",
    "holds `//` or a control character",
    "is wrong: ",
    "has a path, which etcd does not",
    "holds no host",
    "is no address of a server",
    "has no host",
    "holds no valid port",
    "cannot stand before `/v1`",
    "10 minutes at most",
    // It is 420 for YAML, and `mode` takes it, as it takes the 99 that is `0o143`.
    "found `0o644`",
    "found `99`",
];

/// Values of every form, with `; ` between them.
const VALUES: &str = "\
0; 0s; 5; 6; -1; 1.5; 010; 644; 0o644; '0644'; 9999; 1s; 1s..2s; 2 s; 5x; 1h30m; 1M; never; none; true; 'false';
maybe; yes; x; ''; ' '; a/b; ~/a; '~'; /a; ./a; ..; -a; 'a:b'; 'a:b:c'; ':b'; 'a b'; 50%; '050%'; 101%; 64KiB;
8 MB; 8M; 0B; HUP; sigusr1; HUB; TERM; 200; 99; 200-299; [200, 204-206]; [x]; []; [[a]]; [a, b]; ['<%', '%>'];
{}; {a: b}; {x: {}}; null; 'a{b}'; '{{ a }}'; http://a/; https://a/; 'a:80'; always; restart; json; etcd.service;
${NONE:-x}; ${NONE:-1s}";

/// Each key with values of every form (a part of them, or all with `LIVECONF_FAULTS=full`): the schema takes what the reader takes, and refuses what it refuses.
#[test]
fn each_key_takes_what_the_reader_takes() {
    let share = if std::env::var("LIVECONF_FAULTS").is_ok_and(|run| run == "full") { 1 } else { 32 };
    let mut compared = 0;
    let mut differ = Vec::new();
    let rows = rows(CONFIGURATION).into_iter().filter(|row| row.table == "key");
    for (number, row) in rows.enumerate() {
        let section = section_of(row.heading);
        // They stand in the frame already, so a second one would be a key that stands twice.
        let in_the_frame = matches!(
            (section, row.code(0)),
            ("", "registries" | "targets") | ("web", "templates" | "check" | "reload" | "guard" | "confirm")
        );
        if in_the_frame {
            continue;
        }
        let values = VALUES.split(';').map(str::trim).enumerate();
        for (_, value) in values.filter(|(other, _)| (number + other) % share == 0) {
            let text = with(section, &format!("{}: {value}", row.code(0)));
            if serde_yaml::from_str::<serde_yaml::Value>(&text).is_err() {
                continue;
            }
            let (problems, refused) = (checked(&text), wrong(&text));
            compared += 1;
            if problems.is_empty() != refused.is_empty() && !BEYOND.iter().any(|known| problems.contains(known)) {
                differ.push(format!(
                    "{} / {}: {value}\n    check: {problems}\n    schema: {refused:?}",
                    row.heading,
                    row.code(0)
                ));
            }
        }
    }
    assert!(differ.is_empty(), "{} of {compared}\n{}", differ.len(), differ.join("\n"));
    assert!(compared > 10_000 / share, "{compared}");
}

const GOOD: &str = "registries: {main: {file: {path: x}}}
targets:
  t:
    templates: [{content: x, dest: out, secret: true, mode: 640}]
    check: {command: [test, -s, '{staged}'], when: always}
    reload: {signal: HUP, pid_file: p}
    confirm: {tcp: {address: 'a:1'}}
    guard: {hold: 3s}
    gather: '${GATHER:-always}'
    wait: 1s..2s
";

/// The most of its template.
const MOST: &str = "dest: out, secret: true, mode: 640";

/// What is wrong, and the place that the schema blames: the key or value itself, and not what it stands in.
#[test]
fn the_key_that_is_wrong_is_blamed() {
    assert_eq!((checked(GOOD), wrong(GOOD)), (String::new(), Vec::new()));
    let (target, template) = ("/targets/t", "/targets/t/templates/0");
    let at = |of: &str, key: &str| format!("{of}/{key}: ");
    let mut failures = Vec::new();
    for (right, bad, blamed) in [
        ("registries:", "registrys:", "/registrys: ".into()),
        ("file:", "fiel:", "/registries/main/fiel: ".into()),
        ("path:", "pth:", "/registries/main/file/pth: ".into()),
        ("{path: x}", "", "/registries/main/file: ".into()),
        ("{file: {path: x}}", "{}", "/registries/main: ".into()),
        ("{file: {path: x}}", "{file: {path: x}, etcd: {}}", "/registries/main: ".into()),
        ("main:", "../main:", "/../main: ".into()),
        ("templates:", "template:", at(target, "template")),
        ("[{content: x, dest: out, secret: true, mode: 640}]", "[]", at(target, "templates")),
        ("[{content: x, dest: out, secret: true, mode: 640}]", "[a]", at(target, "templates/0")),
        ("dest:", "destination:", at(template, "destination")),
        (", dest: out", "", format!("{template}: ")),
        ("content: x, ", "", format!("{template}: ")),
        ("content: x", "content: x, src: y", at(template, "content")),
        ("dest: out", "dest: out/", at(template, "dest")),
        ("dest: out", "dest: 'a{{ item }}'", at(template, "dest")),
        ("secret: true", "secret: maybe", at(template, "secret")),
        ("mode: 640", "mode: rw-r--r--", at(template, "mode")),
        ("mode: 640", "mode: '648'", at(template, "mode")),
        ("mode: 640", "owner: 'a:b', group: c", at(template, "group")),
        ("mode: 640", "for_each: x", at(template, "dest")),
        (MOST, "dest: 'a{{ item }}', for_each: {gone: keep}", format!("{template}/for_each: ")),
        (MOST, "dest: 'a{{ item }}', for_each: {items: x, gnoe: keep}", at(template, "for_each/gnoe")),
        ("mode: 640", "check: {comand: [a]}", at(template, "check/comand")),
        ("mode: 640", "delimiters: {block: [a]}", at(template, "delimiters/block")),
        ("when: always", "when: never", at(target, "check/when")),
        ("when: always", "shell: x", at(target, "check/shell")),
        ("when: always", "timeout: 5", at(target, "check/timeout")),
        ("check: {command: [test, -s, '{staged}'], when: always}", "check: nginx -t", at(target, "check")),
        ("check: {command: [test, -s, '{staged}'], when: always}", "check: []", at(target, "check")),
        ("check: {command: [test, -s, '{staged}'], when: always}", "check: {timeout: 1s}", at(target, "check")),
        ("signal: HUP", "signal: HUB", at(target, "reload/signal")),
        ("signal: HUP", "sginal: HUP", at(target, "reload/sginal")),
        ("signal: HUP", "command: [a]", at(target, "reload/pid_file")),
        ("signal: HUP", "signal: HUP, timeout: 1s", at(target, "reload/timeout")),
        ("reload: {signal: HUP, pid_file: p}", "reload: nginx -s reload", at(target, "reload")),
        ("{signal: HUP, pid_file: p}", "yes", at(target, "reload")),
        ("{signal: HUP, pid_file: p}", "{systemd: {}}", at(target, "reload/systemd")),
        ("{signal: HUP, pid_file: p}", "{haproxy: {socket: a}}", at(target, "reload/haproxy")),
        ("{signal: HUP, pid_file: p}", "{http: {url: 'https://a'}}", at(target, "reload/http/url")),
        ("tcp:", "tpc:", at(target, "confirm/tpc")),
        ("{tcp:", "{nginx: {}, tcp:", at(target, "confirm/tcp")),
        ("address: 'a:1'", "address: a", at(target, "confirm/tcp/address")),
        ("address:", "adress:", at(target, "confirm/tcp/adress")),
        ("hold:", "holds:", at(target, "guard/holds")),
        ("guard: {hold: 3s}", "guard: [3s]", at(target, "guard")),
        ("guard: {hold: 3s}", "lock: {}", at(target, "lock")),
        ("guard: {hold: 3s}", "lock: {path: a, holders: 0}", at(target, "lock/holders")),
        ("hold: 3s", "max_drop: 50", at(target, "guard/max_drop")),
        ("wait: 1s..2s", "wait: 5", at(target, "wait")),
        ("wait: 1s..2s", "retry: 0", at(target, "retry")),
        ("wait: 1s..2s", "process: {restart: never}", at(target, "process")),
        ("'${GATHER:-always}'", "sometimes", at(target, "gather")),
    ] {
        let text = GOOD.replacen(right, bad, 1);
        assert_ne!(text, GOOD, "{right}");
        let wrong = wrong(&text);
        let of = |place: &str| wrong.iter().filter(|problem| problem.starts_with(place)).count();
        // What it stands in may be said to lack what was misspelt, and nothing else is wrong.
        let parent = blamed.rsplit_once('/').map_or("", |(parent, _)| parent);
        let around = if blamed.starts_with(&format!("{parent}: ")) { 0 } else { of(&format!("{parent}: ")) };
        if checked(&text).is_empty() || of(&blamed) == 0 || of(blamed.trim_end_matches(": ")) + around < wrong.len() {
            failures.push(format!("{bad}: {wrong:?} and not {blamed}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
