//! What the documentation shows works: every snippet of the README, and every example.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::folder::Folder;
use crate::support::liveconf::{BINARY, Job, example, run_to_end, start};
use crate::support::process::{find, search_path};

/// A fenced block: what stands after the fence, the line of the first line of its text, the text.
struct Block {
    info: String,
    line: usize,
    text: String,
}

fn blocks(markdown: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in (1..).zip(markdown.lines()) {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(info)) => open = Some(Block { info: info.into(), line: number + 1, text: String::new() }),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => block.text.extend([line, "\n"]),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a fence that never ends");
    blocks
}

fn readme() -> Vec<Block> {
    blocks(&fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap())
}

/// A command that finds `liveconf`, whose own variables say nothing.
fn with_liveconf(job: &Job, command: Command) -> Command {
    let mut command = job.prepare(command, &[]);
    command.env("PATH", format!("{}:{}", Path::new(BINARY).parent().unwrap().display(), search_path()));
    command
}

/// The files and the sessions of the README, one after the other in one folder, as a reader would follow it.
#[test]
fn the_readme_does_what_it_shows() {
    let job = Job::empty();
    let mut sessions = 0;
    for block in readme() {
        match (&*block.info, block.info.split_once(" file=")) {
            // `.ci/run` runs both as they stand: they build, and install. Another shows the line of `examples/entrypoint`.
            ("sh" | "dockerfile", _) => {}
            (_, Some((_, file))) => job.write(file, &block.text),
            ("console", _) => {
                session(&job, &block);
                sessions += 1;
            }
            (other, _) => panic!("README.md:{}: nobody runs a block of `{other}`", block.line),
        }
    }
    // Its configuration is of a registry on etcd.
    if cfg!(feature = "etcd") {
        job.run(&["check"]).assert_code(0);
    }
    assert!(sessions > 0, "the README shows no session");
}

/// Runs the lines that begin with `$`, and compares what they print with the lines that follow.
fn session(job: &Job, block: &Block) {
    for step in block.text.split("$ ").skip(1) {
        let (line, expected) = step.split_once('\n').unwrap();
        let mut shell = Command::new("bash");
        shell.args(["-euc", line]);
        let output = run_to_end(with_liveconf(job, shell));
        output.assert_code(0);
        assert_eq!(output.stdout, expected, "README.md:{}: $ {line}", block.line);
    }
}

#[test]
fn the_readme_begins_with_the_two_commands() {
    let commands: Vec<_> = readme().into_iter().filter(|block| block.info == "sh").map(|block| block.text).collect();
    assert_eq!(commands, ["examples/static/run\n", ".ci/setup && cargo test\n"]);
}

#[test]
fn static_file() {
    let job = Job::of(Folder::copy_of(example("static")));
    let mut command = with_liveconf(&job, Command::new(job.folder().path("run")));
    command.env("LIVECONF", BINARY);
    let mut daemon = start(command);
    let expected = job.read("expected.conf").unwrap();
    job.wait_for("out/upstreams.conf", &expected);
    daemon.wait_for_log(&format!("true to              {}", job.folder().path("registry.yaml").display()));
    assert_eq!(job.wait_for_lines("out/upstreams.conf.reloads", 1).len(), 1);

    let registry = job.read("registry.yaml").unwrap();
    job.write("registry.yaml", registry.replace("weight: 2", "weight: 5"));
    job.wait_for("out/upstreams.conf", &expected.replace("weight=2", "weight=5"));
    assert_eq!(job.wait_for_lines("out/upstreams.conf.reloads", 2).len(), 2);
    // What the README of the example promises for an empty list and for a quote that stays open.
    job.write("registry.yaml", "services: {}\n");
    daemon.wait_for_log("check");
    job.write("registry.yaml", "app:\n  x: \"open\n");
    daemon.wait_for_log("registry.yaml:");
    assert_eq!(job.read("out/upstreams.conf"), Some(expected.replace("weight=2", "weight=5")));
    daemon.stop();
}

#[test]
fn one_shot_in_ci() {
    let job = Job::of(Folder::copy_of(example("ci")));
    let verify = || {
        let mut command = with_liveconf(&job, Command::new(job.folder().path("verify")));
        command.env("LIVECONF", BINARY);
        run_to_end(command)
    };
    verify().assert_code(0);
    let fixture = job.read("fixture.yaml").unwrap();
    job.write("fixture.yaml", fixture.replace("workers: 4", "workers: 8"));
    let output = verify();
    output.assert_code(1);
    assert!(output.stdout.contains("-workers = 4\n+workers = 8\n"), "{}", output.stdout);
    job.run(&["once"]).assert_code(0);
    verify().assert_code(0);
    job.write("app.ini.tera", "{{ key(pth=\"app/name\") }}");
    verify().assert_code(2).assert_says(&["app.ini.tera:1:", "`pth`"]);
}

/// The commands of the pipeline, as they stand there.
#[test]
fn a_pipeline_tests_templates() {
    let job = Job::of(Folder::copy_of(example("ci")));
    let pipeline = job.read("pipeline.yaml").unwrap();
    let script = pipeline.split_once("  script:\n").unwrap().1;
    let commands: Vec<&str> = script.lines().filter_map(|line| line.trim().strip_prefix("- ")).collect();
    assert_eq!(commands, ["liveconf check", "liveconf test tests", "liveconf diff"]);
    let run = |line: &str| {
        let mut shell = Command::new("bash");
        shell.args(["-euc", line]);
        run_to_end(with_liveconf(&job, shell))
    };
    for command in &commands {
        run(command).assert_code(0);
    }
    let template = job.read("app.ini.tera").unwrap();
    job.write("app.ini.tera", template.replace("default=\"2\"", "default=\"3\""));
    let output = run(commands[1]);
    output.assert_code(1).assert_says(&["3 cases: 2 ok, 1 failed"]);
    assert!(output.stdout.contains("\n-workers = 2\n+workers = 3\n"), "{}", output.stdout);
}

/// Those that need servers stand in `scenarios`.
#[test]
fn every_example_is_known() {
    let mut names: Vec<_> = fs::read_dir(example("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "ci",
            "container",
            "entrypoint",
            "haproxy-consul",
            "nginx-consul",
            "nginx-etcd",
            "static",
            "systemd",
            "two-registries"
        ]
    );
    for name in names {
        let folder = example(name.to_str().unwrap());
        assert!(folder.join("README.md").is_file(), "{} has no README", folder.display());
    }
}

/// Every wrapper that is shown, around a file whose path holds a space.
#[test]
fn wrappers_bear_paths_with_spaces() {
    find("nginx");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut shown: Vec<(String, String)> = Vec::new();
    for entry in fs::read_dir(example("")).unwrap() {
        let path = entry.unwrap().path().join("liveconf.yaml");
        shown.extend(fs::read_to_string(&path).map(|text| (path.display().to_string(), text)));
    }
    for page in ["README.md", "src/reference/configuration.md"] {
        let blocks = blocks(&fs::read_to_string(root.join(page)).unwrap());
        let yaml = blocks.into_iter().filter(|block| block.info.starts_with("yaml"));
        shown.extend(yaml.map(|block| (format!("{page}:{}", block.line), block.text)));
    }
    let mut tried = 0;
    for (name, text) in shown {
        let config: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
        let targets = config["targets"].as_mapping().into_iter().flatten();
        for check in targets.map(|(_, target)| &target["check"]).filter(|check| !check["wrapper"].is_null()) {
            let check = serde_json::to_string(check).unwrap();
            let config = format!(
                "targets:\n  t:\n    templates: [{{content: '# nothing', dest: my files/upstreams.conf, create_dirs: true}}]\n    \
                 check: {check}\n"
            );
            let job = Job::new(&config);
            let output = job.run(&["once", "--log-level", "debug"]);
            assert_eq!(output.code, 0, "{name}: {}", output.stderr);
            assert_eq!(job.read("my files/upstreams.conf").as_deref(), Some("# nothing"), "{name}");
            tried += 1;
        }
    }
    assert!(tried > 7, "{tried}");
}
