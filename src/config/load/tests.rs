mod bad;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use nix::sys::signal::Signal;

use super::*;
use crate::config::{
    Command, ConfirmKind, Gather, Guard, LogFormat, Placeholder, Program, Reload, TemplateSource, Wait, When, describe,
};
#[cfg(all(feature = "consul", feature = "etcd"))]
use crate::reference::schema::judge::wrong;
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
            section.path("ca_file").or_else(|| section.ecosystem("ETCDCTL_CACERT").map(PathBuf::from));
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
            command: Some(Vec::new()),
        };
        let loaded = load_from(&options, FAKES, Path::new("/nonexistent"));
        #[cfg(all(feature = "consul", feature = "etcd"))]
        if loaded.is_ok() {
            let text = fs::read_to_string(self.path("liveconf.yaml")).unwrap();
            assert_eq!(wrong(&text), [""; 0], "the schema refuses\n{text}");
        }
        loaded
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
    file: {path: registry.yaml, remember: false}
template_dirs: [templates, /usr/share/liveconf]
state_dir: state
log: {level: debug, format: json}
env: {allow: [APP_TOKEN]}
files: {allow: [certificates, /etc/ssl]}
limits: {value: 1MB, output: 1MiB}
grace: 3s
last_known_good: {after: 1m}
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
    guard: {max_drop: 30%, hold: 1m, empty_after: 10m, min_instances: 2, prefixes: [/app/up/, plain]}
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
    assert_eq!(config.files_allow, [setup.path("certificates"), "/etc/ssl".into()]);
    assert_eq!((config.limits.value, config.limits.output), (1_000_000, 1 << 20));
    assert_eq!(config.grace, Duration::from_secs(3));
    assert_eq!(config.last_known_good_after, Duration::from_mins(1));
    assert!(registry.remember && !config.registries["local"].remember);
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
    let TemplateSource::Inline { content: given, file, places } = &second.source else { panic!() };
    assert_eq!(
        (given, file.as_str(), places.of(given, 0), places.of(given, 3).0),
        (&content, "liveconf.yaml", (24, 1), 25)
    );
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
    let guard = Guard {
        max_drop: 30,
        hold: Duration::from_mins(1),
        empty_after: Some(Duration::from_mins(10)),
        min_instances: 2,
        prefixes: ["app/up", "plain"].map(|path| crate::registry::Path::parse(path).unwrap()).into(),
    };
    assert_eq!(nginx.guard, guard);

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
    let guard =
        Guard { max_drop: 50, hold: Duration::from_secs(30), empty_after: None, min_instances: 0, prefixes: vec![] };
    assert_eq!(haproxy.guard, guard);

    assert_eq!((plain.wait.min, plain.wait.max), (Duration::ZERO, Duration::ZERO));
    assert_eq!(plain.reload, Reload::None);
    assert!(plain.check.is_none());
}

#[test]
fn a_haproxy_that_takes_changes_while_it_runs_is_confirmed_by_its_own_master() {
    let confirmed = |reload: &str, more: &str| {
        let (_, config) = good(&target(&format!("    reload: {{haproxy: {{socket: /s, {reload}}}}}\n{more}")));
        let confirm = config.targets[0].confirm.clone().unwrap();
        let ConfirmKind::Haproxy { socket } = confirm.kind else { panic!("{confirm:?}") };
        (socket, confirm.pid_file, confirm.told_at_once, confirm.within, confirm.destinations.len())
    };
    let within = Duration::from_secs(10);
    assert_eq!(confirmed("master: /m", ""), (Some("/m".into()), None, true, within, 1));
    assert_eq!(confirmed("pid_file: /p", ""), (None, Some("/p".into()), true, within, 1));
    let own = "    confirm: {haproxy: {}, within: 3s}\n";
    let own = confirmed("master: /m, pid_file: /p", own);
    assert_eq!(own, (Some("/m".into()), Some("/p".into()), true, Duration::from_secs(3), 1));
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
    guard: {empty_after: 0s, max_drop: 30%}
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
            "liveconf.yaml:16:40: `max_drop` has no effect: `empty_after: 0s` turns the whole guard off",
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
fn a_second_registry_of_a_kind_takes_away_what_a_variable_filled() {
    let load = |authority: &str, registries: &str| {
        let mut setup = Setup::new(&[("liveconf.yaml", &format!("registries:\n{registries}{}", target("")))]);
        setup.environment.insert("ETCDCTL_CACERT".into(), authority.into());
        setup.load().unwrap()
    };
    let (one, more) = ("  r: {etcd: {endpoints: x}}\n", "  s: {etcd: {endpoints: y}}\n  t: {etcd: {endpoints: z}}\n");
    let (alone, among) = (load("/ca", one), load("/ca", &format!("{one}{more}")));
    let fingerprint = |config: &Config| config.registries["r"].fingerprint;
    assert_ne!(fingerprint(&alone), fingerprint(&among));
    assert_eq!(fingerprint(&load("", one)), fingerprint(&among), "an empty variable is none");
    assert!(alone.warnings.is_empty());
    let warnings: Vec<_> = among.warnings.iter().map(ToString::to_string).collect();
    let told = "liveconf.yaml:2:13: `ETCDCTL_CACERT` is set and fills nothing: there are several registries of this kind \
                (write `${ETCDCTL_CACERT}` where it is meant)";
    assert_eq!(warnings, [told]);

    // What the file says itself, nothing fills: beside others it stays the registry that it was.
    let written = |more: &str| load("/ca", &format!("  r: {{etcd: {{endpoints: x, ca_file: /own}}}}\n{more}"));
    assert_eq!(fingerprint(&written("")), fingerprint(&written("  s: {etcd: {endpoints: y, ca_file: /own}}\n")));
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
