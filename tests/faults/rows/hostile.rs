//! Values that want to be more than values.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::pace;
use crate::strain::most_memory;
use crate::support::etcd::Etcd;
use crate::support::etcd_client::{Client, put, put_bytes};
use crate::support::liveconf::{Daemon, Job};
use crate::support::{SOON, poll_until};

/// What becomes of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It stands in the file as it is.
    Literal,
    /// The render fails, and the file stays as it was.
    Refused,
}

/// A template that does something with the value of a key, and what that value may be.
struct Case {
    name: &'static str,
    template: &'static str,
    good: &'static str,
    hostile: String,
    fate: Fate,
}

fn case(
    name: &'static str,
    template: &'static str,
    good: &'static str,
    hostile: impl Into<String>,
    fate: Fate,
) -> Case {
    Case { name, template, good, hostile: hostile.into(), fate }
}

/// Aliases that make 10^9 items of a few lines.
fn bomb() -> String {
    let level = |number: u32| format!("l{number}: &l{number} [{}]\n", vec![format!("*l{}", number - 1); 10].join(","));
    format!("l0: &l0 [x,x,x,x,x,x,x,x,x,x]\n{}", (1..9).map(level).collect::<String>())
}

/// `VALUE` is the value.
fn cases() -> Vec<Case> {
    use Fate::{Literal, Refused};
    let print = "{{ VALUE }}";
    vec![
        case("variable", print, "1", "{{ key(path=\"secret\") }}{{ __tera_context }}", Literal),
        case("include", print, "1", "{% include \"/etc/passwd\" %}", Literal),
        case("itself", print, "1", "{% extends \"itself\" %}{% block a %}{{ super() }}{% endblock %}", Literal),
        case("path", print, "1", "../../../../etc/passwd", Literal),
        case("lines", "listen {{ VALUE }};", "1", "1\nlisten 0.0.0.0:80;", Refused),
        case("escape", print, "1", "\u{1b}]0;title\u{7}", Refused),
        case("loop", "{% for i in range(end=VALUE | to_int) %}x{% endfor %}", "3", "1000000000", Refused),
        case(
            "loops",
            "{% for i in range(end=VALUE | to_int) %}{% for j in range(end=VALUE | to_int) %}\
             {% for k in range(end=VALUE | to_int) %}x{% endfor %}{% endfor %}{% endfor %}",
            "3",
            "100000",
            Refused,
        ),
        case(
            "silent-loops",
            "{% set n = VALUE | to_int %}{% for i in range(end=n) %}{% for j in range(end=n) %}\
             {% for k in range(end=n) %}{% endfor %}{% endfor %}{% endfor %}done",
            "3",
            "10000",
            Refused,
        ),
        case("json", "{{ VALUE | from_json | length }}", "[1]", "[".repeat(200_000), Refused),
        case("yaml", "{{ VALUE | from_yaml | length }}", "[1]", "[".repeat(200_000), Refused),
        case("bomb", "{{ VALUE | from_yaml | length }}", "[1]", bomb(), Refused),
        case("number", "{{ VALUE | to_int + 1 }}", "3", "9".repeat(10_000), Refused),
        case("length", "{{ VALUE | length }}", "abc", "x".repeat(9_000_000), Refused),
    ]
}

fn config(etcd: &Etcd, cases: &[Case]) -> String {
    let target = |case: &Case| {
        let template = case.template.replace("VALUE", &format!("key(path=\"hostile/{}\")", case.name));
        format!(
            "  {0}:
    templates:
      - {{content: '{template}', dest: out/{0}.conf}}
    wait: 0
    reload_interval: 0
    render_timeout: {1}
",
            case.name,
            pace::either("1s", "5s")
        )
    };
    let targets: String = cases.iter().map(target).collect();
    format!(
        "registries: {{main: {{etcd: {}}}}}
targets:
  good:
    templates: [{{content: '{{{{ key(path=\"good\") }}}}', dest: out/good.conf}}]
    wait: 0
    reload_interval: 0
{targets}",
        etcd.section_with("prefix: ''")
    )
}

/// Fails unless the target that has nothing to do with it follows its registry within 5 s.
fn goes_on(job: &Job, client: &Client, daemon: &mut Daemon, with: &str) {
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string();
    client.put("good", &number);
    let asked = Instant::now();
    poll_until(SOON, || {
        assert!(daemon.is_running(), "{with}: {:#?}", daemon.log());
        if job.read("out/good.conf").as_ref() == Some(&number) { Ok(()) } else { Err(format!("{with}: not there")) }
    });
    assert!(asked.elapsed() < Duration::from_secs(5), "{with}: {:?}", asked.elapsed());
}

/// Values in etcd were templates, paths, endless loops, bombs and floods: each stood in its file as it was or failed its own render, within time and memory, and all others went on.
#[test]
fn row_51_hostile_values() {
    let etcd = Etcd::with(&["--max-request-bytes=16777216"]);
    let client = etcd.client();
    let cases = cases();
    let job = Job::new(&config(&etcd, &cases));
    fs::create_dir(job.folder().path("out")).unwrap();
    client.put("good", "first");
    client.put("secret", "hunter2");
    for case in &cases {
        client.put(&format!("hostile/{}", case.name), case.good);
    }
    // Names that want to be paths, or are none.
    let names: [&[u8]; 6] =
        [b"hostile/../../etc/x", b"hostile//x", b"hostile/a\0b", b"hostile/\xff", b"hostile/..", b"/"];
    client.txn(names.iter().map(|name| put_bytes(name, "x")).collect());
    let mut daemon = job.start(&["run"]);
    let file = |case: &Case| job.read(&format!("out/{}.conf", case.name));
    let mut before = Vec::new();
    for case in &cases {
        before.push(poll_until(SOON, || file(case).ok_or_else(|| format!("no {}: {:#?}", case.name, daemon.log()))));
    }

    for (case, before) in cases.iter().zip(&before) {
        let key = format!("hostile/{}", case.name);
        let errors = daemon.logged("not applied").len();
        client.txn(vec![put(&key, &case.hostile)]);
        let since = Instant::now();
        match case.fate {
            Fate::Literal => job.wait_for(&format!("out/{}.conf", case.name), &case.hostile),
            Fate::Refused => {
                poll_until(SOON, || match daemon.logged("not applied").len() {
                    now if now > errors => Ok(()),
                    _ => Err(format!("{} is not refused: {:?}", case.name, file(case).map(|text| text.len()))),
                });
                assert_eq!(file(case).as_ref(), Some(before), "{}", case.name);
            }
        }
        let took = since.elapsed();
        println!("{}: {took:?}", case.name);
        assert!(took < Duration::from_secs(pace::either(5, 8)), "{}: {took:?}", case.name);
        goes_on(&job, &client, &mut daemon, case.name);
        client.put(&key, case.good);
        poll_until(SOON, || match file(case) {
            Some(text) if text == *before => Ok(()),
            _ => Err(format!("{} does not come back", case.name)),
        });
    }
    let memory = most_memory(&daemon);
    let payload = 9_000_000;
    println!("at most {} MiB of memory", memory >> 20);
    assert!(memory < (64 << 20) + 6 * payload, "{memory} bytes");
    // What was left behind by a render that was given up ends as well.
    let idle = || crate::strain::Strain::begin(&daemon);
    thread::sleep(Duration::from_secs(pace::either(2, 30)));
    let strain = idle();
    thread::sleep(Duration::from_secs(3));
    strain.assert_light(&daemon);
    let log = daemon.log().join("\n");
    assert!(!log.contains("hunter2"), "{log}");
    let names = job.folder().names("out");
    assert_eq!(names.len(), cases.len() + 1, "{names:?}");
    daemon.stop();
}

/// The file that is a registry became a bomb of aliases, a deep nest, not text, and far too large, in three formats: each was refused with its place, the last good answer stayed, and the mended file was followed.
#[test]
fn row_51_hostile_registry_files() {
    for (name, good) in [("r.yaml", "x: good\n"), ("r.json", "{\"x\": \"good\"}"), ("r.toml", "x = \"good\"\n")] {
        let corpus: [(&str, Vec<u8>); 6] = [
            ("bomb", bomb().into_bytes()),
            ("nest", "[".repeat(100_000).into_bytes()),
            ("nest of maps", "{\"x\":".repeat(100_000).into_bytes()),
            ("not text", b"x: \xff\xfe\x00".to_vec()),
            ("random", (0..100_000).map(|_| rand::random::<u8>()).collect()),
            ("large", [good.as_bytes(), &vec![b'#'; 100 << 20]].concat()),
        ];
        for (what, content) in corpus {
            let job = Job::new(&format!(
                "registries: {{main: {{file: {{path: registry/{name}}}}}}}
targets:
  program:
    templates: [{{content: '{{{{ key(path=\"x\") }}}}', dest: out.conf}}]
    wait: 0
    reload_interval: 0
"
            ))
            .with(&format!("registry/{name}"), good);
            let mut daemon = job.start(&["run"]);
            job.wait_for("out.conf", "good");
            job.write(&format!("registry/{name}"), content);
            let since = Instant::now();
            let told = daemon.wait_for_log("the last answers stay");
            println!("{name}, {what}: {:?}", since.elapsed());
            assert!(told.contains(name) && since.elapsed() < Duration::from_secs(5), "{told}");
            assert_eq!(job.read("out.conf").as_deref(), Some("good"), "{name} with {what}");
            job.write(&format!("registry/{name}"), good.replace("good", "mended"));
            job.wait_for("out.conf", "mended");
            // No more than a file that is as large as it may be.
            let memory = most_memory(&daemon);
            assert!(memory < (64 + 6 * 64) << 20, "{name} with {what}: {memory} bytes");
            assert!(daemon.is_running());
            daemon.stop();
        }
    }
}
