use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use nix::sys::signal::Signal;
use proptest::prelude::*;

use super::*;
use crate::config::{Command, Gather, LogFormat, Placeholder, Program, Reload, TemplateSource, Wait, When, describe};
use crate::registry::{Feed, Outage, Query, Registry, Watch};

/// A registry that shows what its section said.
#[derive(Debug)]
#[expect(dead_code, reason = "its `Debug` is what is looked at")]
struct Fake(String);

impl Registry for Fake {
    fn supports(&self, _: &Query) -> Result<(), String> {
        Ok(())
    }

    fn watch(&self) -> Box<dyn Watch> {
        struct Never;
        impl Watch for Never {
            fn run<'a>(&'a mut self, _: &'a mut Feed) -> BoxFuture<'a, Outage> {
                Box::pin(std::future::pending())
            }
        }
        Box::new(Never)
    }
}

/// Kinds that are read like the real ones, and independent of them.
pub(in crate::config) const FAKES: &[Kind] = &[
    Kind {
        name: "file",
        decode: |section| {
            let Some(path) = section.path("path") else {
                section.problem("path", "`path` is missing", None);
                return None;
            };
            Some(Arc::new(Fake(path.display().to_string())) as Arc<dyn Registry>)
        },
        from_address: |address| format!("{{path: {address:?}}}"),
    },
    Kind {
        name: "etcd",
        decode: |section| {
            let endpoints = section.texts("endpoints");
            let endpoints = endpoints.or_else(|| Some(vec![section.ecosystem("ETCDCTL_ENDPOINTS")?]));
            section.secret("password");
            section.path("ca_file");
            Some(Arc::new(Fake(endpoints?.join(","))) as Arc<dyn Registry>)
        },
        from_address: |address| format!("{{endpoints: [{address:?}]}}"),
    },
];

const ENVIRONMENT: &[(&str, &str)] =
    &[("HOME", "/home/me"), ("PORT", "2379"), ("ETCDCTL_ENDPOINTS", "http://ecosystem:2379")];

/// A folder of configuration files.
struct Setup {
    folder: tempfile::TempDir,
    environment: BTreeMap<String, String>,
}

impl Setup {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let environment = ENVIRONMENT.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Self { folder, environment }
    }

    fn load(&self) -> Result<Config, Vec<Problem>> {
        let options = LoadOptions {
            config: Some("liveconf.yaml".into()),
            state_dir: None,
            environment: self.environment.clone(),
            working_folder: self.folder.path().to_owned(),
            uid: 1000,
        };
        load_from(&options, FAKES, Path::new("/nonexistent"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// The problems of these files, each on one line.
fn problems(files: &[(&str, &str)]) -> Vec<String> {
    match Setup::new(files).load() {
        Ok(config) => panic!("it was taken: {config:?}"),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

/// The configuration that is nothing but this text.
fn good(text: &str) -> (Setup, Config) {
    let setup = Setup::new(&[("liveconf.yaml", text)]);
    match setup.load() {
        Ok(config) => (setup, config),
        Err(problems) => panic!("{}", describe(&problems)),
    }
}

/// The configuration with one target `t`, whose one template is `in` for `/o/out`, and these lines of the target.
fn target(lines: &str) -> String {
    format!("targets:\n  t:\n    templates: [{{src: in, dest: /o/out}}]\n{lines}")
}

const FULL: &str = r#"
name: web
registries:
  main:
    etcd: {endpoints: ["http://a:${PORT}", http://b:2379], password: "${PW:-none}", ca_file: tls/ca.pem}
  local:
    file: {path: registry.yaml}
template_dirs: [templates, /usr/share/liveconf]
state_dir: state
log: {level: debug, format: json}
env: {allow: [APP_TOKEN]}
limits: {value: 1MB, output: 1MiB}
grace: 3s
targets:
  nginx:
    templates:
      - src: nginx/upstreams.conf.tera
        dest: /etc/nginx/conf.d/./upstreams.conf
        mode: 644
        owner: root:adm
      - content: |

          # {{ x }}
        dest: out/secret
        name: cert
        mode: "0600"
        owner: www
        group: www
        secret: true
        create_dirs: true
        in_place: true
        backup: true
        trim: false
        delimiters: {block: ["<%", "%>"], variable: ["[[", "]]"]}
        check: [openssl, x509, -in, "{staged}"]
    check:
      command: [nginx, -t, -q, -c, "{wrapper}"]
      wrapper: "events {} http { include {staged:upstreams.conf}; }"
      timeout: 10s
      when: reload
    reload: {signal: HUP, pid_file: run/nginx.pid}
    wait: 200ms..4s
    gather: always
    reload_interval: 5s
    splay: 1m
    retry: 2s..30s
    render_timeout: 1s
    guard: {}
  haproxy:
    templates: [{src: h.tera, dest: /etc/haproxy/haproxy.cfg}]
    check: {shell: 'haproxy -c -f {staged}'}
    reload: {command: [systemctl, reload, haproxy], timeout: 1m30s}
  plain:
    templates: [{src: p, dest: p.out}]
    wait: 0
    reload: none
"#;

#[test]
fn a_full_configuration_is_read() {
    let (setup, config) = good(FULL);
    assert_eq!(config.file, Some(setup.path("liveconf.yaml")));
    assert_eq!(config.base, setup.folder.path());
    let registry = &config.registries["main"];
    assert_eq!(
        (registry.kind, format!("{:?}", registry.registry)),
        ("etcd", r#"Fake("http://a:2379,http://b:2379")"#.into())
    );
    assert_eq!(config.registries["local"].kind, "file");
    assert_eq!(config.template_dirs, [setup.path("templates"), "/usr/share/liveconf".into()]);
    assert_eq!(config.state_dir, setup.path("state"));
    assert_eq!((config.log.level, config.log.format), (tracing::Level::DEBUG, LogFormat::Json));
    assert_eq!(config.env_allow, ["APP_TOKEN"]);
    assert_eq!((config.limits.value, config.limits.output), (1_000_000, 1 << 20));
    assert_eq!(config.grace, Duration::from_secs(3));
    assert_eq!(config.warnings, []);

    let names: Vec<&str> = config.targets.iter().map(|target| &*target.name).collect();
    assert_eq!(names, ["nginx", "haproxy", "plain"]);
    let [nginx, haproxy, plain] = &config.targets[..] else { panic!() };

    let first = &nginx.templates[0];
    assert_eq!(first.name, "upstreams.conf");
    assert_eq!(first.source, TemplateSource::File(setup.path("nginx/upstreams.conf.tera")));
    assert_eq!(first.dest.as_os_str(), "/etc/nginx/conf.d/upstreams.conf");
    assert_eq!(first.mode, Some(0o644));
    assert_eq!((first.owner.user.as_deref(), first.owner.group.as_deref()), (Some("root"), Some("adm")));
    assert!(first.trim && !first.secret && !first.create_dirs && !first.in_place && !first.backup);

    let second = &nginx.templates[1];
    assert_eq!(second.name, "cert");
    let content = "\n# {{ x }}\n".to_owned();
    assert_eq!(second.source, TemplateSource::Inline { content, file: "liveconf.yaml".into(), line: 22 });
    assert_eq!(second.dest, setup.path("out/secret"));
    assert_eq!(second.mode, Some(0o600));
    assert_eq!((second.owner.user.as_deref(), second.owner.group.as_deref()), (Some("www"), Some("www")));
    assert!(!second.trim && second.secret && second.create_dirs && second.in_place && second.backup);
    let delimiters = second.delimiters.as_ref().unwrap();
    assert_eq!(delimiters.block, ("<%".into(), "%>".into()));
    assert_eq!(delimiters.comment, ("{#".into(), "#}".into()));
    let text = |text: &str| vec![Placeholder::Text(text.into())];
    assert_eq!(
        second.check.as_ref().unwrap().command.program,
        Program::Arguments(vec![text("openssl"), text("x509"), text("-in"), vec![Placeholder::Staged(1)]])
    );

    let check = nginx.check.as_ref().unwrap();
    assert_eq!((check.command.timeout, check.when), (Duration::from_secs(10), When::Reload));
    let wrapper = check.wrapper.as_ref().unwrap();
    assert_eq!(wrapper[1], Placeholder::Staged(0));
    assert_eq!(nginx.reload, Reload::Signal { signal: Signal::SIGHUP, pid_file: setup.path("run/nginx.pid") });
    let (min, max) = (Duration::from_millis(200), Duration::from_secs(4));
    assert_eq!(nginx.wait, Wait { min, max, gather: Gather::Always });
    assert_eq!((nginx.reload_interval, nginx.splay), (Duration::from_secs(5), Duration::from_mins(1)));
    assert_eq!(nginx.retry, (Duration::from_secs(2), Duration::from_secs(30)));
    assert_eq!(nginx.render_timeout, Duration::from_secs(1));

    let Program::Shell { script, variables } = &haproxy.check.as_ref().unwrap().command.program else { panic!() };
    assert_eq!(script, "haproxy -c -f \"$LIVECONF_STAGED\"");
    assert_eq!(variables, &[("LIVECONF_STAGED".to_owned(), Placeholder::Staged(0))]);
    let program = Program::Arguments(vec![text("systemctl"), text("reload"), text("haproxy")]);
    assert_eq!(haproxy.reload, Reload::Command(Command { program, timeout: Duration::from_secs(90) }));
    let (min, max) = (Duration::from_millis(100), Duration::from_secs(2));
    assert_eq!(haproxy.wait, Wait { min, max, gather: Gather::Burst });
    assert_eq!((haproxy.reload_interval, haproxy.splay), (Duration::from_secs(1), Duration::ZERO));
    assert_eq!(haproxy.retry, (Duration::from_secs(1), Duration::from_mins(1)));
    assert_eq!(haproxy.render_timeout, Duration::from_secs(5));

    assert_eq!((plain.wait.min, plain.wait.max), (Duration::ZERO, Duration::ZERO));
    assert_eq!(plain.reload, Reload::None);
    assert!(plain.check.is_none());
}

#[test]
fn what_is_left_out_has_a_default() {
    let (setup, config) = good(&target(""));
    assert!(config.registries.is_empty());
    assert_eq!(config.template_dirs, [setup.path("templates")]);
    let state = config.state_dir.to_str().unwrap();
    assert!(state.starts_with("/home/me/.local/state/liveconf/"), "{state}");
    assert_eq!(config.grace, Duration::from_secs(8));
    assert_eq!(config.log, crate::config::LogConfig::default());
    assert_eq!(config.limits, crate::config::Limits::default());
    assert_eq!(config.targets[0].reload, Reload::None);
    // Another folder is another configuration.
    assert_ne!(good(&target("")).1.state_dir, config.state_dir);
}

#[test]
fn every_problem_comes_at_once_and_in_order() {
    let text = "\
registries:
  main: {ectd: {}}
targets:
  nginx:
    templates:
      - src: a.tera
        dest: a.conf
        mode: rw-r--r--
      - src: b.tera
        dest: ./x/../a.conf
        secret: yes
    check: [nginx, -t, -c, '{stagd}', '{staged:c.conf}']
    relod: none
    splay: 5
grase: 8s
";
    let expected = [
        "liveconf.yaml:2:10: `ectd` is no kind of registry (did you mean `etcd`?)",
        "liveconf.yaml:8:15: `mode` takes octal digits such as `644` or `0600`, found `rw-r--r--`",
        "liveconf.yaml:10:15: a template of this target is called `a.conf` already, at liveconf.yaml:7:15 (give it a \
         `name` of its own)",
        "liveconf.yaml:11:17: `secret` takes `true` or `false`, found `yes`",
        "liveconf.yaml:12:39: `{staged:c.conf}` names no template of the target (did you mean `a.conf`?)",
        "liveconf.yaml:13:5: unknown key `relod` (did you mean `reload`?)",
        "liveconf.yaml:14:12: `splay` takes a duration such as `100ms`, `2s` or `1h30m`, found `5` (it needs a unit, \
         such as `5s` or `5ms`)",
        "liveconf.yaml:15:1: unknown key `grase` (did you mean `grace`?)",
    ];
    assert_eq!(problems(&[("liveconf.yaml", text)]), expected);
}

/// Each of these texts has one problem: its place with its message, without the hint.
fn one_problem_each(table: &[(String, &str)]) {
    for (text, expected) in table {
        let Err(found) = Setup::new(&[("liveconf.yaml", text)]).load() else {
            panic!(
                "taken:
{text}"
            )
        };
        let found: Vec<String> =
            found.iter().map(|problem| format!("{}:{}: {}", problem.line, problem.column, problem.message)).collect();
        assert_eq!(found, [*expected], "\n{text}");
    }
}

#[test]
fn bad_files_have_their_problem() {
    let mut table = vec![
        (String::new(), "1:1: there are no `targets`: nothing to do"),
        ("targets:".into(), "1:1: there are no `targets`: nothing to do"),
        ("targets: {}".into(), "1:10: there are no `targets`: nothing to do"),
        ("targets: []".into(), "1:10: `targets` takes a mapping, found a list"),
        ("- a".into(), "1:1: the configuration takes a mapping, found a list"),
        ("just text".into(), "1:1: the configuration takes a mapping, found `just text`"),
        ("targets: {t: x}".into(), "1:14: `t` takes a mapping, found `x`"),
        ("targets: {t: }".into(), "1:12: target `t` has no templates"),
        ("targets: {t: {templates: []}}".into(), "1:26: target `t` has no templates"),
        ("targets: {-t: {templates: [{src: a, dest: b}]}}".into(), "1:11: `-t` cannot be a name"),
        ("targets: {../t: {templates: [{src: a, dest: b}]}}".into(), "1:11: `../t` cannot be a name"),
    ];
    let lines = [
        ("name: a/b", "1:7: `a/b` cannot be a name"),
        ("registries: {r: {}}", "1:17: registry `r` has no kind"),
        ("registries: {r: x}", "1:17: `r` takes a mapping, found `x`"),
        ("registries: {r: {zookeeper: {}}}", "1:18: `zookeeper` is no kind of registry"),
        ("registries: {r: {file: {path: a}, etcd: {}}}", "1:35: registry `r` has more than one kind"),
        ("registries: {r: {file: {}}}", "1:24: `path` is missing"),
        ("registries: {r: {file: {path: a, pth: b}}}", "1:34: unknown key `pth`"),
        ("registries: {r: {file: [a]}}", "1:24: `file` takes a mapping, found a list"),
        ("log: {level: loud}", "1:14: `level` takes `error`, `warn`, `info`, `debug` or `trace`, found `loud`"),
        ("log: {format: xml}", "1:15: `format` takes `text` or `json`, found `xml`"),
        ("limits: {value: 8}", "1:17: `value` takes a size such as `64KiB` or `8MB`, found `8`"),
        ("limits: {output: 0}", "1:18: `output` cannot be `0`"),
        ("env: {alow: [A]}", "1:7: unknown key `alow`"),
        ("grace: soon", "1:8: `grace` takes a duration such as `100ms`, `2s` or `1h30m`, found `soon`"),
        ("state_dir: [a]", "1:12: `state_dir` takes a path, found a list"),
        ("template_dirs: [a, {}]", "1:20: `template_dirs` takes a path, found a mapping"),
        ("status: {listen: 127.0.0.1:9533}", "1:1: unknown key `status`"),
        ("state_dir: ${NOWHERE}/x", "1:12: the variable `NOWHERE` is not set"),
        ("grace: 1s\ngrace: 2s", "2:1: key `grace` stands twice, first at line 1"),
        ("grace: [1s", "2:8: illegal placement of ':' indicator"),
    ];
    table.extend(lines.map(|(line, expected)| (format!("{line}\n{}", target("")), expected)));
    one_problem_each(&table);
}

#[test]
fn bad_targets_have_their_problem() {
    let lines = [
        ("wait: 5", "4:11: `wait` takes a range such as `100ms..2s`, a duration, or `0`, found `5`"),
        ("wait: 2s..1s", "4:11: `wait` takes a range such as `100ms..2s`, a duration, or `0`, found `2s..1s`"),
        ("wait: 0..1s", "4:11: `wait` begins with `0`"),
        ("gather: never", "4:13: `gather` takes `burst` or `always`, found `never`"),
        ("retry: 0", "4:12: `retry` cannot begin with `0`"),
        ("render_timeout: 0s", "4:21: `render_timeout` cannot be `0`"),
        ("guard: {max_drop: 50%}", "4:12: `guard` is not supported by this version yet"),
        ("confirm: {nginx: {}}", "4:14: `confirm` is not supported by this version yet"),
        ("verify: [nginx, -t]", "4:13: `verify` is not supported by this version yet"),
        ("reload: nginx -s reload", "4:13: `reload` takes `none` or a mapping, found `nginx -s reload`"),
        ("reload: {}", "4:13: `signal`, `command` or `shell` is missing"),
        ("reload: {signal: HUP}", "4:13: `pid_file` is missing"),
        ("reload: {pid_file: a}", "4:24: `pid_file` goes with `signal`"),
        ("reload: {signal: HUB, pid_file: a}", "4:22: `signal` takes the name of a signal, found `HUB`"),
        ("reload: {signal: HUP, pid_file: a, timeout: 1s}", "4:49: `signal` and `timeout` exclude each other"),
        ("reload: {command: [a], shell: b}", "4:35: `command` and `shell` exclude each other"),
        ("reload: {command: []}", "4:23: there is no program to run"),
        ("reload: {command: ['']}", "4:23: there is no program to run"),
        ("reload: {shell: ' '}", "4:21: there is no program to run"),
        ("reload: {command: nginx -s reload}", "4:23: `command` takes a list of arguments, found `nginx -s reload`"),
        ("reload: {command: [a], timeout: 0}", "4:37: `timeout` cannot be `0`"),
        (
            "reload: {shell: 'a {staged}'}",
            "4:21: `{staged}` stands for nothing: the staged files are committed by then",
        ),
        ("check: nginx -t", "4:12: `check` takes a list of arguments or a mapping, found `nginx -t`"),
        ("check: []", "4:12: there is no program to run"),
        ("check: [a, [b]]", "4:16: `check` takes a list of texts, found a list"),
        ("check: {timeout: 1s}", "4:12: `command` or `shell` is missing"),
        ("check: [a, '{wrapper}']", "4:16: `{wrapper}` stands for nothing: there is no `wrapper`"),
        ("check: {command: [a, '{staged}'], wrapper: x}", "4:48: the command does not use the wrapper"),
        (
            "check: {command: [a, '{wrapper}'], wrapper: 'x {wrapper}'}",
            "4:49: `{wrapper}` stands for nothing: there is no `wrapper`",
        ),
        ("check: {command: [a, '{staged}'], when: later}", "4:45: `when` takes `always` or `reload`, found `later`"),
        ("check: [a, '{staged:out2}']", "4:16: `{staged:out2}` names no template of the target"),
        (
            "check: {shell: \"sh -c 'x {staged}'\"}",
            "4:20: `{staged}` stands within single quotes, where it cannot be replaced",
        ),
        ("check: [a, \"{staged}\\0\"]", "4:16: a command cannot hold a zero byte"),
    ];
    let table: Vec<_> = lines.iter().map(|(line, expected)| (target(&format!("    {line}\n")), *expected)).collect();
    one_problem_each(&table);

    let two = |line: &str| {
        format!(
            "targets:\n  t:\n    templates:\n      - {{src: a, dest: /a}}\n      - {{src: b, dest: /b}}\n    {line}\n"
        )
    };
    one_problem_each(&[
        (two("check: [a, '{staged}']"), "6:16: `{staged}` may stand for any template of the target"),
        (two("check: [a, '{staged:a}', '{dest}']"), "6:30: `{dest}` may stand for any template of the target"),
    ]);
}

#[test]
fn bad_templates_have_their_problem() {
    let entries = [
        ("dest: /o", "1:27: `src` is missing"),
        ("src: a", "1:27: `dest` is missing"),
        ("src: a, content: b, dest: /o", "1:45: `src` and `content` exclude each other"),
        ("src: a, dest: o/", "1:42: `dest` is a folder"),
        ("src: a, dest: /", "1:42: `dest` is a folder"),
        ("src: a, dest: x/../a", "1:42: `dest` is `src` itself: the template would be overwritten"),
        ("src: a, dest: ''", "1:42: `dest` takes a path, found ``"),
        ("src: a, dest: ~/o", "1:42: `dest` takes a path, found `~/o`"),
        ("src: a, dest: /o, mode: 648", "1:52: `mode` takes octal digits such as `644` or `0600`, found `648`"),
        ("src: a, dest: /o, mode: 6", "1:52: `mode` takes octal digits such as `644` or `0600`, found `6`"),
        ("src: a, dest: /o, mode: u=rw", "1:52: `mode` takes octal digits such as `644` or `0600`, found `u=rw`"),
        ("src: a, dest: /o, owner: 'a:b:c'", "1:53: `owner` takes `user` or `user:group`, found `a:b:c`"),
        ("src: a, dest: /o, owner: ':b'", "1:53: `owner` takes `user` or `user:group`, found `:b`"),
        ("src: a, dest: /o, owner: 'a:b', group: c", "1:67: the group is given twice, by `owner` and by `group`"),
        ("src: a, dest: /o, group: 'a b'", "1:53: `group` takes the name of a group, found `a b`"),
        ("src: a, dest: /o, name: 'a}'", "1:52: `name` takes a name without braces and control characters, found `a}`"),
        ("src: a, dest: /o, trim: 1", "1:52: `trim` takes `true` or `false`, found `1`"),
        ("src: a, dest: /o, sauce: x", "1:46: unknown key `sauce`"),
        (
            "src: a, dest: /o, delimiters: {block: ['<', '>']}",
            "1:66: `block` takes two texts of two bytes each, such as `[\"<%\", \"%>\"]`, found a list",
        ),
        ("src: a, dest: /o, delimiters: {block: ['{{', '}}']}", "1:58: two of the delimiters begin alike"),
        ("src: a, dest: /o, check: {shell: 'x {staged:y}'}", "1:61: `{staged:y}` names no template of the target"),
    ];
    let table: Vec<_> = entries
        .iter()
        .map(|(entry, expected)| (format!("targets: {{t: {{templates: [{{{entry}}}]}}}}"), *expected))
        .collect();
    one_problem_each(&table);
}

#[test]
fn files_of_conf_d_add_to_the_main_file() {
    let setup = Setup::new(&[
        ("liveconf.yaml", "targets:\n  web:\n    reload: none\n    splay: 2s\n"),
        ("conf.d/20-more.yaml", "targets: {web: {templates: [{src: b, dest: /b}]}}"),
        (
            "conf.d/10-more.yaml",
            "registries: {r: {file: {path: r.yaml}}}\ntargets:\n  web: {templates: [{src: a.tera, dest: a}]}\n  db: {templates: [{src: c, dest: /c}]}",
        ),
        ("conf.d/ignored.txt", "x: ["),
        ("conf.d/.hidden.yaml", "x: ["),
    ]);
    let config = setup.load().unwrap_or_else(|problems| panic!("{}", describe(&problems)));
    let names: Vec<&str> = config.targets.iter().map(|target| &*target.name).collect();
    assert_eq!(names, ["web", "db"]);
    let dests: Vec<PathBuf> = config.targets[0].templates.iter().map(|template| template.dest.clone()).collect();
    // Relative to the main file.
    assert_eq!(dests, [setup.path("a"), "/b".into()]);
    assert_eq!(config.targets[0].splay, Duration::from_secs(2));
    let registry = format!("{:?}", config.registries["r"].registry);
    assert_eq!(registry, format!("Fake({:?})", setup.path("r.yaml").display().to_string()));
}

#[test]
fn what_stands_in_two_files_names_both() {
    let found = problems(&[
        (
            "liveconf.yaml",
            "registries: {r: {file: {path: r}}}\ntargets: {web: {templates: [{src: a, dest: /o}], splay: 1s}}",
        ),
        (
            "conf.d/a.yaml",
            "registries: {r: {etcd: {endpoints: x}}}\ntargets:\n  web: {splay: 2s}\n  db: {templates: [{src: a, dest: //o}]}\ngrace: 1s",
        ),
    ]);
    let expected = [
        "conf.d/a.yaml:1:14: registry `r` is already at liveconf.yaml:1:14 (give one of them another name)",
        "conf.d/a.yaml:3:3: the settings of target `web` are already at liveconf.yaml:2:11 (another file may add \
         `templates` to it, and nothing else)",
        "conf.d/a.yaml:4:35: `/o` is already written by the template at liveconf.yaml:2:44",
        "conf.d/a.yaml:5:1: unknown key `grace` (known are `registries`, `targets`)",
    ];
    assert_eq!(found, expected);
}

#[test]
fn files_that_cannot_be_read_are_all_named() {
    let found = problems(&[("liveconf.yaml", "a: ["), ("conf.d/a.yaml", "b: }"), ("conf.d/b.yaml/x", "")]);
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[0].starts_with("liveconf.yaml:"), "{found:?}");
    assert!(found[1].starts_with("conf.d/a.yaml:1:4: "), "{found:?}");
    assert!(found[2].starts_with("conf.d/b.yaml: cannot be read: Is a directory"), "{found:?}");
}

#[test]
fn what_is_most_likely_not_meant_is_a_warning() {
    let (_setup, config) = good(
        "targets:
  a:
    templates: [{src: a, dest: /a, check: [true, '{dest}']}]
    check: [nginx, -t]
    reload: {signal: HUP, pid_file: p}
  b:
    templates: [{src: b, dest: /b}]
    check: {shell: 'grep -q x \"$LIVECONF_STAGED\"'}
    reload: {pid_file: ./p, signal: SIGHUP}
  c:
    templates: [{src: c, dest: /c}]
    reload: {shell: 'touch {dest}'}
  d:
    templates: [{src: d, dest: /d}]
    reload: {shell: 'touch {dest}'}
",
    );
    let warnings: Vec<String> =
        config.warnings.iter().map(|warning| format!("{}: {}", warning.place(), warning.message)).collect();
    assert_eq!(
        warnings,
        [
            "liveconf.yaml:3:43: this check never looks at the new files: it runs before they are put in place",
            "liveconf.yaml:4:12: this check never looks at the new files: it runs before they are put in place",
            "liveconf.yaml:9:13: target `a` at liveconf.yaml:5:13 has the same reload",
        ]
    );
}

#[test]
fn the_ecosystem_fills_in_for_a_single_registry() {
    let (_setup, config) = good(&format!("registries: {{r: {{etcd: }}}}\n{}", target("")));
    assert_eq!(format!("{:?}", config.registries["r"].registry), r#"Fake("http://ecosystem:2379")"#);
    let text = format!("registries: {{r: {{etcd: }}, s: {{etcd: {{endpoints: x}}}}}}\n{}", target(""));
    let found = problems(&[("liveconf.yaml", &text)]);
    assert_eq!(found, ["liveconf.yaml:1:22: registry `r` is not complete"]);
}

#[test]
fn fingerprints_follow_what_is_meant() {
    let fingerprint = |section: &str, port: &str| {
        let mut setup = Setup::new(&[("liveconf.yaml", &format!("registries:\n  r: {section}\n{}", target("")))]);
        setup.environment.insert("PORT".into(), port.into());
        setup.load().unwrap().registries["r"].fingerprint
    };
    let one = fingerprint("{etcd: {endpoints: ['http://a:${PORT}']}}", "1");
    assert_eq!(one, fingerprint("\n    etcd:\n      endpoints: [\"http://a:1\"] # the same\n ", "2"));
    assert_ne!(one, fingerprint("{etcd: {endpoints: ['http://a:${PORT}']}}", "2"));
    assert_ne!(one, fingerprint("{etcd: {endpoints: 'http://a:1'}}", "1"));
    assert_ne!(one, fingerprint("{etcd: {endpoints: ['http://a:1'], password: x}}", "1"));
}

#[test]
fn secrets_of_the_file_are_not_told() {
    let text = "registries:\n  r:\n    etcd: {endpoints: x, passwrod: hunter2}\n  s:\n    etcd:\n      pasword: hunter2\n      \
                password: [hunter2]\ntargets: {t: {templates: [{src: a, dest: b}]}}\n";
    let Err(problems) = Setup::new(&[("liveconf.yaml", text)]).load() else { panic!() };
    let told = describe(&problems);
    assert!(told.contains("unknown key `passwrod`") && told.contains("`password` takes text, found a list"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
}

proptest! {
    #[test]
    fn any_text_is_taken_or_told_what_is_wrong(text in proptest::collection::vec(
        prop_oneof![
            Just("targets:"), Just("registries:"), Just("t:"), Just("templates:"), Just("- "), Just("src: a"), Just("dest: b"),
            Just("check:"), Just("reload:"), Just("wait: 1s"), Just("shell: "), Just("'{staged}"), Just("{wrapper}"), Just("\n"),
            Just("\n  "), Just("\n    "), Just(" "), Just("{"), Just("}"), Just("["), Just("]"), Just(", "), Just("${A:-x}"),
            Just("${"), Just("null"), Just("&a "), Just("*a"), Just("<<: "), Just("mode: 9"), Just("file: {path: x}"), Just("é"),
        ],
        0..40,
    )) {
        let text = text.concat();
        let setup = Setup::new(&[]);
        match Document::parse("x", setup.folder.path(), text) {
            Err(problem) => prop_assert!(problem.line >= 1),
            Ok(document) => {
                let reading = Reading::new(&setup.environment, FAKES);
                let options = LoadOptions {
                    config: None, state_dir: None, environment: BTreeMap::new(), working_folder: "/".into(), uid: 1,
                };
                let documents = [document];
                let config = decode::config(&reading, &documents, Frame { file: None, base: "/".into(), identity: b"" }, &options);
                let (problems, _) = reading.finish(&[]);
                prop_assert!(config.is_some() || !problems.is_empty());
            }
        }
    }
}
