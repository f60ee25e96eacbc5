//! What bad configurations are told.

use proptest::prelude::*;

use super::*;

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
        "liveconf.yaml:10:15: a template of this target is called `a.conf` already, at liveconf.yaml:7:15 (it is called \
         after its file: write a `name` of its own beside its `dest`, such as `name: other`)",
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
        #[cfg(all(feature = "consul", feature = "etcd"))]
        if !BEYOND_THE_SCHEMA.iter().any(|known| expected.contains(known)) {
            assert_ne!(wrong(text), [""; 0], "the schema takes\n{text}");
        }
    }
}

/// What no schema can say: what stands elsewhere, in the file or on the command line, or inside of a text.
#[cfg(all(feature = "consul", feature = "etcd"))]
const BEYOND_THE_SCHEMA: &[&str] = &[
    // Another file of `conf.d` may add them.
    "there are no `targets`",
    // Placeholders, and where they stand.
    "stands for nothing",
    "names no template of the target",
    "may stand for any template of the target",
    "within single quotes",
    "the command does not use the wrapper",
    "or one placeholder such as",
    // Values that belong together.
    "without a reload",
    "does not reload on",
    "nothing names the process of",
    "`pid_file` is missing",
    "begin alike",
    "`src` itself",
    "there is no registry",
    "has no locks",
    "`registry` is missing",
    // Numbers that are compared.
    "found `2s..1s`",
    "found `299-200`",
    // Variables are those of the machine.
    "is not set",
    // YAML hands an editor a number, which may be that of `0o1210`.
    "found `648`",
    // The rest of a text.
    "takes an address such as",
    "are not sent",
    "the lock needs a folder of its own",
    "no `.` or `..` segments",
    "`wait` begins with `0`",
    "a zero byte",
    "there is no program to run",
    "cannot hold this",
];

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
        (
            "last_known_good: {after: soon}",
            "1:26: `after` takes a duration such as `100ms`, `2s` or `1h30m`, found `soon`",
        ),
        ("registries: {r: {file: {path: a, remember: 1}}}", "1:44: `remember` takes `true` or `false`, found `1`"),
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
fn a_bad_confirm_has_its_problem() {
    let url = "5:27: `url` takes an address such as `http://127.0.0.1:8080/health`";
    let status = "`status` takes a status such as `200`, a range such as `200-299`, or a list of these";
    let http = |more: &str| format!("{{http: {{url: 'http://a/', {more}}}}}");
    let lines = [
        ("nginx".into(), "5:14: `confirm` takes a mapping, found `nginx`".into()),
        ("{within: 1s}".into(), "5:14: it does not say what confirms".into()),
        ("{nginx: {}, within: 0}".into(), "5:34: `within` cannot be `0`".into()),
        ("{nginx: {}, tcp: {address: 'a:1'}}".into(), "5:14: `nginx` and `tcp` exclude each other".into()),
        ("{command: [a], shell: b}".into(), "5:36: `command` and `shell` exclude each other".into()),
        (
            "{command: [a, '{staged}']}".into(),
            "5:28: `{staged}` stands for nothing: the staged files are committed by then".into(),
        ),
        ("{tcp: {address: 'a:1'}, timeout: 1s}".into(), "5:38: unknown key `timeout`".into()),
        ("{tcp: {address: 'a:b'}}".into(), "5:30: `address` takes `host:port`, found `a:b`".into()),
        ("{tcp: {address: '::1:80'}}".into(), "5:30: `address` takes `host:port`, found `::1:80`".into()),
        ("{tcp: {}}".into(), "5:20: `address` is missing".into()),
        ("{http: {url: 'a:80/x'}}".into(), format!("{url}, found `a:80/x`")),
        ("{http: {url: '/x'}}".into(), format!("{url}, found `/x`")),
        ("{http: {url: 'https://a/'}}".into(), "5:27: `https` is not supported here".into()),
        ("{http: {url: 'http://u:p@a/'}}".into(), "5:27: a user and a password in the address are not sent".into()),
        (http("status: 99"), format!("5:48: {status}, found `99`")),
        (http("status: 299-200"), format!("5:48: {status}, found `299-200`")),
        (http("status: [200, ok]"), format!("5:54: {status}, found `ok`")),
        (http("status: []"), format!("5:48: {status}, found a list")),
        (http("headers: {'a b': c}"), "5:50: this is not the name of a header".into()),
        (http("headers: {a: \"b\\n\"}"), "5:53: header `a` cannot hold this".into()),
    ];
    let reload = "    reload: {signal: HUP, pid_file: p}\n    confirm: ";
    let table: Vec<(String, String)> =
        lines.map(|(confirm, expected): (String, String)| (target(&format!("{reload}{confirm}")), expected)).into();
    let table: Vec<(String, &str)> = table.iter().map(|(text, expected)| (text.clone(), expected.as_str())).collect();
    one_problem_each(&table);
    let other = |reload: &str, confirm: &str| target(&format!("    reload: {reload}\n    confirm: {confirm}"));
    one_problem_each(&[
        (other("{signal: USR1, pid_file: p}", "{nginx: {}}"), "5:22: nginx does not reload on `USR1`"),
        (other("{signal: QUIT, pid_file: p}", "{haproxy: {}}"), "5:24: haproxy does not reload on `QUIT`"),
        (other("{command: [a]}", "{nginx: {}}"), "5:22: nothing names the process of nginx"),
        (other("{command: [a]}", "{haproxy: {}}"), "5:24: nothing names the process of haproxy"),
    ]);
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
        ("guard: on", "4:12: `guard` takes a mapping, found `on`"),
        ("guard: {max_drop: 50}", "4:23: `max_drop` takes a share such as `50%`, found `50`"),
        ("guard: {max_drop: 150%}", "4:23: `max_drop` takes a share such as `50%`, found `150%`"),
        ("guard: {hold: long}", "4:19: `hold` takes a duration such as `100ms`, `2s` or `1h30m`, found `long`"),
        ("guard: {empty_after: 10}", "4:26: `empty_after` takes `never` or a duration such as `10m`, found `10`"),
        ("guard: {empty_after: ever}", "4:26: `empty_after` takes `never` or a duration such as `10m`, found `ever`"),
        ("guard: {min_instances: -1}", "4:28: `min_instances` takes a whole number, found `-1`"),
        ("guard: {prefixes: [a, b/../c]}", "4:27: a path has no `.` or `..` segments"),
        ("guard: {prefixes: [{a: b}]}", "4:24: `prefixes` takes a list of paths of keys, found a mapping"),
        ("guard: {max_dorp: 50%}", "4:13: unknown key `max_dorp`"),
        ("confirm: {nginx: {pid_file: p}}", "4:14: `confirm` without a reload: no process is told of the files"),
        ("verify: nginx -t", "4:13: `verify` takes a list of arguments or a mapping, found `nginx -t`"),
        ("verify: [nginx, '{wrapper}']", "4:21: `{wrapper}` stands for nothing: there is no `wrapper`"),
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
}

#[test]
fn placeholders_that_may_stand_for_any_template_are_refused() {
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
fn bad_locks_have_their_problem() {
    let without = "4:11: `lock` without a reload: there is nothing that others could wait for";
    one_problem_each(&[(target("    lock: {path: a}\n"), without)]);
    let locked = |registries: &str, lock: &str| {
        let reload = "reload: {command: [a]}";
        format!(
            "registries: {{{registries}}}\ntargets: {{t: {{templates: [{{src: a, dest: /a}}], {reload}, lock: {lock}}}}}\n"
        )
    };
    let (file, etcd) = ("f: {file: {path: a}}", "e: {etcd: {endpoints: a}}");
    let both = &format!("{file}, {etcd}");
    one_problem_each(&[
        (locked(etcd, "{}"), "2:78: `path` is missing"),
        (locked(etcd, "{path: /}"), "2:85: the lock needs a folder of its own"),
        (locked(etcd, "{path: a, holders: 0}"), "2:97: nobody could ever reload"),
        (locked(etcd, "{path: a, ttl: 0}"), "2:93: `ttl` cannot be `0`"),
        (
            locked(etcd, "{path: a, max_wait: no}"),
            "2:98: `max_wait` takes `never` or a duration such as `10m`, found `no`",
        ),
        (locked("", "{path: a}"), "2:78: there is no registry for it"),
        (locked(both, "{path: a}"), "2:78: `registry` is missing"),
        (locked(both, "{registry: g, path: a}"), "2:78: there is no registry `g`"),
        (locked(both, "{registry: f, path: a}"), "2:78: registry `f` (file) has no locks"),
    ]);
}

#[test]
fn bad_reloads_have_their_problem() {
    let lines = [
        ("reload: nginx -s reload", "4:13: `reload` takes `none` or a mapping, found `nginx -s reload`"),
        ("reload: {}", "4:13: `signal`, `systemd`, `haproxy`, `http`, `command` or `shell` is missing"),
        ("reload: {http: {}}", "4:20: `url` is missing"),
        ("reload: {http: {url: 'https://a/'}}", "4:26: `https` is not supported here"),
        ("reload: {http: {url: 'unix:/a'}}", "4:26: the socket stands beside the address"),
        (
            "reload: {http: {url: 'http://a/', method: HEAD}}",
            "4:47: `method` takes `POST`, `PUT`, `PATCH`, `DELETE` or `GET`, found `HEAD`",
        ),
        (
            "reload: {http: {url: 'http://a/', expect: ok}}",
            "4:47: `expect` takes a status such as `200`, a range such as `200-299`, or a list of these, found `ok`",
        ),
        (
            "reload: {http: {url: 'http://a/', expect: []}}",
            "4:47: `expect` takes a status such as `200`, a range such as `200-299`, or a list of these, found a list",
        ),
        (
            "reload: {http: {url: 'http://a/', body_file: '{staged}'}}",
            "4:50: `{staged}` stands for nothing: the staged files are committed by then",
        ),
        (
            "reload: {http: {url: 'http://a/', body_file: 'x{dest}'}}",
            "4:50: `body_file` takes a path, or one placeholder such as `{dest}`, found `x{dest}`",
        ),
        ("reload: {http: {url: 'http://a/', headers: {a: {}}}}", "4:52: `file` is missing"),
        ("reload: {http: {url: 'http://a/'}, timeout: 1s}", "4:49: `http` and `timeout` exclude each other"),
        ("reload: {http: {url: 'http://a/'}, systemd: {unit: a}}", "4:20: `systemd` and `http` exclude each other"),
        ("reload: {signal: HUP}", "4:13: `pid_file` is missing"),
        ("reload: {pid_file: a}", "4:24: `pid_file` goes with `signal`"),
        ("reload: {signal: HUB, pid_file: a}", "4:22: `signal` takes the name of a signal, found `HUB`"),
        ("reload: {signal: HUP, pid_file: a, timeout: 1s}", "4:49: `signal` and `timeout` exclude each other"),
        ("reload: {systemd: {}}", "4:23: `unit` is missing"),
        ("reload: {systemd: {unit: --now}}", "4:30: this is no name of a unit"),
        (
            "reload: {systemd: {unit: a, action: start}}",
            "4:41: `action` takes `reload`, `restart` or `reload-or-restart`, found `start`",
        ),
        ("reload: {systemd: {unit: a}, shell: b}", "4:41: `systemd` and `shell` exclude each other"),
        ("reload: {haproxy: {pid_file: a}}", "4:23: `socket` is missing"),
        ("reload: {haproxy: {socket: a}}", "4:23: nothing says how haproxy is reloaded where that is needed"),
        ("reload: {haproxy: {socket: a, master: b, timeout: 0}}", "4:55: `timeout` cannot be `0`"),
        ("reload: {haproxy: {socket: a, master: b}, command: [c]}", "4:56: `haproxy` and `command` exclude each other"),
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
    ];
    let table: Vec<_> = lines.iter().map(|(line, expected)| (target(&format!("    {line}\n")), *expected)).collect();
    one_problem_each(&table);
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
                    config: None, state_dir: None, environment: BTreeMap::new(), working_folder: "/".into(), uid: 1, command: Some(Vec::new()),
                };
                let documents = [document];
                let config = decode::config(&reading, &documents, Frame { file: None, base: "/".into(), identity: b"" }, &options);
                let (problems, _) = reading.finish(&[]);
                prop_assert!(config.is_some() || !problems.is_empty());
            }
        }
    }
}
