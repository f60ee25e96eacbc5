use std::collections::BTreeMap;

use super::super::load::tests::FAKES;
use super::*;
use crate::config::{Placeholder, Program, Reload, TemplateSource};

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn read(job: &Job) -> Result<Config, Vec<String>> {
    let options = LoadOptions {
        config: None,
        state_dir: None,
        environment: BTreeMap::from([("XDG_STATE_HOME".into(), "/state".into())]),
        working_folder: "/job".into(),
        uid: 1000,
        command: Some(Vec::new()),
    };
    job_with(job, &options, FAKES).map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

#[test]
fn flags_become_a_configuration() {
    let job = Job {
        registries: strings(&["file:registry.yaml", "main=etcd:http://127.0.0.1:2379"]),
        templates: strings(&["in.tera:out.conf", "/b.tera:/etc/${b}"]),
        check: Some("nginx -t -c '{staged:out.conf}'".into()),
        reload: Some("kill -HUP $(cat \"$PIDFILE\")".into()),
        mode: Some("0640".into()),
        owner: None,
    };
    let config = read(&job).unwrap();
    assert_eq!(config.file, None);
    assert_eq!(config.base, Path::new("/job"));
    assert!(config.state_dir.starts_with("/state/liveconf"));
    let registries: Vec<String> =
        config.registries.values().map(|registry| format!("{}={:?}", registry.name, registry.registry)).collect();
    assert_eq!(registries, [r#"file=Fake("/job/registry.yaml")"#, r#"main=Fake("http://127.0.0.1:2379")"#]);
    let [target] = &config.targets[..] else { panic!() };
    assert_eq!(&*target.name, "main");
    assert_eq!(target.templates[0].source, TemplateSource::File("/job/in.tera".into()));
    assert_eq!(target.templates[0].dest, Path::new("/job/out.conf"));
    assert_eq!(target.templates[1].dest, Path::new("/etc/${b}"));
    assert!(target.templates.iter().all(|template| template.mode == Some(0o640)));
    let Program::Shell { script, variables } = &target.check.as_ref().unwrap().command.program else { panic!() };
    assert_eq!(script, "nginx -t -c \"$LIVECONF_STAGED_1\"");
    assert_eq!(variables, &[("LIVECONF_STAGED_1".to_owned(), Placeholder::Staged(0))]);
    let Reload::Command(reload) = &target.reload else { panic!() };
    let script = "kill -HUP $(cat \"$PIDFILE\")".to_owned();
    assert_eq!(reload.program, Program::Shell { script, variables: Vec::new() });
    assert_eq!(config.warnings, []);
}

#[test]
fn wrong_flags_are_named() {
    let job = Job {
        registries: strings(&["registry.yaml", "fil:x", "file:a", "file:b", "etcd=file:"]),
        templates: strings(&["in.tera", "a:b:c", "a:b", "c:./b"]),
        check: Some("nginx '-c {staged}'".into()),
        mode: Some("rw".into()),
        ..Job::default()
    };
    let expected = [
        "command line: --registry: no `KIND:ADDRESS` (such as `file:registry.yaml`, `consul:http://127.0.0.1:8500` or `etcd:http://127.0.0.1:2379`)",
        "command line: --registry file: a second registry is called `file` (name one of them, as in `--registry other=file:b`)",
        "command line: --template in.tera: no `SOURCE:DESTINATION` (write both files, as in `in.tera:out.conf`)",
        "command line: --template a:b:c: no `SOURCE:DESTINATION` (a name that holds a `:` needs a configuration file)",
        "command line: --registry fil: `fil` is no kind of registry (did you mean `file`?)",
    ];
    let found = read(&job).unwrap_err();
    for line in expected {
        assert!(found.iter().any(|found| found == line), "{line}\nis not in {found:#?}");
    }
    let job = Job {
        templates: strings(&["in:out"]),
        mode: Some("rw".into()),
        check: Some("x '-c {staged}'".into()),
        ..Job::default()
    };
    assert_eq!(
        read(&job).unwrap_err(),
        [
            "command line: --mode: `mode` takes octal digits such as `644` or `0600`, found `rw`",
            "command line: --check: `{staged}` stands within single quotes, where it cannot be replaced (take it out of there, \
         or write `$LIVECONF_STAGED` yourself)",
        ]
    );
    assert_eq!(
        read(&Job::default()).unwrap_err()[0],
        "command line: the job has no template (write `--template in.tera:out.conf`)"
    );
}
