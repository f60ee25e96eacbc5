//! What hostile values make of the shipped templates: the render fails, or the value is not in the file, and then real
//! nginx and HAProxy take it for what it was meant to be. Among them are those of FAULTS R-11 that passed `nginx -t` and
//! `haproxy -c` with a server block, and with a listener, that nobody had configured.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::thread;

use serde_json::{Value, json};

use crate::support::folder::Folder;
use crate::support::liveconf::{Job, example};
use crate::support::process::find;

/// What every hostile value holds.
const MARK: &str = "evil";

const VALUES: [&str; 18] = [
    "10.0.0.1:80; } server { listen 6666; location / { root /evil; } } upstream z { server 10.0.0.2:80",
    "10.0.0.1:80;}server{listen 6666;root /evil;}upstream z{server 10.0.0.2",
    "10.0.0.1:80 check\n    listen evil\n    bind 127.0.0.1:6666",
    "10.0.0.1\r\nbind evil",
    "10.0.0.1 evil",
    "evil;",
    "evil}",
    "evil{",
    "\"evil",
    "'evil",
    "#evil",
    "$evil",
    "${evil}",
    "%[env(evil)]",
    "evil\\",
    "$(touch evil)",
    "-evil /",
    "evil\u{0}\u{1b}[2J",
];

/// Which program takes the file.
#[derive(Debug, Clone, Copy)]
enum Taker {
    /// As a part of `http { }`.
    Nginx,
    Haproxy,
    Nobody,
}

/// Every shipped template by its example, and who takes what it writes.
const TEMPLATES: [(&str, &str, Taker); 9] = [
    ("ci", "app.ini.tera", Taker::Nobody),
    ("container", "web-api.conf.tera", Taker::Nginx),
    ("entrypoint", "web-api.conf.tera", Taker::Nginx),
    ("haproxy-consul", "haproxy.cfg.tera", Taker::Haproxy),
    ("nginx-consul", "web-api.conf.tera", Taker::Nginx),
    ("nginx-etcd", "web.conf.tera", Taker::Nginx),
    ("static", "upstreams.conf.tera", Taker::Nginx),
    ("systemd", "web-api.conf.tera", Taker::Nginx),
    ("two-registries", "web-api.conf.tera", Taker::Nginx),
];

/// Registries in which one sort of field is hostile, beside an instance that is not.
fn registries(value: &str) -> [(&'static str, Value); 5] {
    let good = || json!({"id": "good", "address": "10.0.0.9", "port": 80, "tags": ["primary", "replica"]});
    let keys = json!({"name": "shop", "keepalive": "4", "features": {"a": "on"}});
    let with = |instance: Value, app: &Value, settings: &Value| {
        let service = || json!([good(), instance]);
        json!({
            "app": app, "web-api": settings,
            "services": {"web-api": service(), "web": service(), "db": service()},
        })
    };
    let no_settings = json!({});
    let of_text = json!({
        "id": value, "name": value, "node": value, "zone": value, "address": "10.0.0.8", "port": 80,
        "tags": [value, "primary", "replica"], "meta": {"weight": value, value.replace('\0', ""): "x"},
    });
    let mut service = with(good(), &keys, &no_settings);
    service["services"] =
        json!({value.replace('\0', ""): [good()], "web-api": [good()], "web": [good()], "db": [good()]});
    let app = json!({"name": value, "workers": value, "keepalive": value, "features": {"a": value}});
    let settings = json!({"max_body_size": value, "timeout": value, "maintenance": value});
    let address = json!({"id": "bad", "address": value, "port": 80, "tags": ["primary", "replica"]});
    [
        ("an address", with(address, &keys, &no_settings)),
        ("the other fields of an instance", with(of_text, &keys, &no_settings)),
        ("the name of a service", service),
        ("keys", with(good(), &app, &no_settings)),
        ("settings", with(good(), &keys, &settings)),
    ]
}

/// What became of one template with one registry: whether it was rendered.
fn judge(name: &str, template: &str, taker: Taker, job: &Job) -> Result<bool, String> {
    let output = job.run(&["render", "--timeout", "1s"]);
    if output.stderr.contains(MARK) {
        return Err(format!("{name}: the value is shown: {}", output.stderr));
    }
    if output.code != 0 {
        let says_where = output.stderr.contains(".tera:") || output.stderr.contains("registry.json:");
        return if output.code == 1 || output.code == 3 && says_where {
            Ok(false)
        } else {
            Err(format!("{name}/{template}: exit code {}: {}", output.code, output.stderr))
        };
    }
    if output.stdout.contains(MARK) || output.stdout.contains("6666") {
        return Err(format!("{name}/{template}: the value is in the file:\n{}", output.stdout));
    }
    let folder = job.folder();
    folder.write("out", &output.stdout);
    let mut command = match taker {
        Taker::Nobody => return Ok(true),
        Taker::Haproxy => {
            let mut command = Command::new(find("haproxy"));
            command.args(["-c", "-q", "-f"]).arg(folder.path("out"));
            command
        }
        Taker::Nginx => {
            let include = folder.path("out").display().to_string();
            folder.write(
                "nginx.conf",
                format!("pid /dev/null; error_log stderr; events {{}} http {{ access_log off; include {include}; }}"),
            );
            let mut command = Command::new(find("nginx"));
            command.args(["-t", "-q", "-c"]).arg(folder.path("nginx.conf")).arg("-p").arg(folder.root());
            command
        }
    };
    let check = command.output().unwrap();
    if check.status.success() {
        Ok(true)
    } else {
        Err(format!(
            "{name}: what was rendered is no configuration: {}{}",
            output.stdout,
            String::from_utf8_lossy(&check.stderr)
        ))
    }
}

fn config(name: &str, template: &str) -> String {
    let source = example(name).join(template).display().to_string();
    let names: &[&str] = if name == "two-registries" { &["catalog", "settings"] } else { &["main"] };
    let registries: Vec<String> =
        names.iter().map(|name| format!("{name}: {{file: {{path: registry.json}}}}")).collect();
    format!(
        "registries: {{{}}}\ntargets: {{a: {{templates: [{{src: '{source}', dest: out}}]}}}}\n",
        registries.join(", ")
    )
}

#[test]
fn no_shipped_template_lets_a_value_out_of_its_place() {
    let problems = Mutex::new(Vec::new());
    let rendered = Mutex::new((0, 0));
    thread::scope(|scope| {
        for (name, template, taker) in TEMPLATES {
            let (problems, rendered) = (&problems, &rendered);
            scope.spawn(move || {
                let job = Job::new(&config(name, template));
                let text = fs::read_to_string(example(name).join(template)).unwrap();
                for value in VALUES {
                    // Where a template asks for nothing of the sort, there is nothing to try.
                    let asked = registries(value).into_iter().filter(|(what, _)| match *what {
                        "keys" => text.contains("path=\"app"),
                        "settings" => text.contains("path=\"web-api"),
                        "the name of a service" => text.contains("services("),
                        _ => true,
                    });
                    for (what, registry) in asked {
                        job.write("registry.json", registry.to_string());
                        match judge(name, template, taker, &job) {
                            Ok(true) => rendered.lock().unwrap().0 += 1,
                            Ok(false) => rendered.lock().unwrap().1 += 1,
                            Err(problem) => problems.lock().unwrap().push(format!("{what} {value:?}: {problem}")),
                        }
                    }
                }
            });
        }
    });
    let problems = problems.into_inner().unwrap();
    assert!(problems.is_empty(), "{} problems, the first: {:#?}", problems.len(), &problems[..problems.len().min(3)]);
    let (rendered, refused) = rendered.into_inner().unwrap();
    assert!(rendered + refused >= TEMPLATES.len() * VALUES.len() * 2);
    assert!(rendered > 100 && refused > 30, "both happen: {rendered} rendered, {refused} refused");
}

#[test]
fn every_shipped_template_is_tried() {
    let mut shipped: Vec<PathBuf> = Vec::new();
    for folder in fs::read_dir(example("")).unwrap() {
        let files = fs::read_dir(folder.unwrap().path()).unwrap().map(|file| file.unwrap().path());
        shipped.extend(files.filter(|path| path.extension().is_some_and(|extension| extension == "tera")));
    }
    shipped.sort();
    let mut tried: Vec<PathBuf> = TEMPLATES.iter().map(|(name, template, _)| example(name).join(template)).collect();
    tried.sort();
    assert_eq!(shipped, tried);
}

/// What the quote filters make of texts, read back by the programs themselves.
#[test]
fn nginx_and_haproxy_read_what_was_quoted() {
    let texts = [
        "plain",
        "two words",
        "semi;colon",
        "{brace}",
        "#hash",
        "back\\slash",
        "\\n",
        "a\\",
        "qu\"ote",
        "5%",
        "a'b",
        "$x",
    ];
    for text in texts {
        let registry = json!({"v": text}).to_string();
        let quoted = |filter: &str| {
            let job = Job::new(&format!(
                "registries: {{main: {{file: {{path: registry.json}}}}}}\ntargets: {{a: {{templates: [{{content: '{{{{ key(path=\"v\") | {filter} }}}}', dest: out}}]}}}}\n"
            ))
            .with("registry.json", &registry);
            let output = job.run(&["render"]);
            (output.code == 0).then_some(output.stdout)
        };
        assert_eq!(quoted("nginx_quote").is_none(), text.contains('$'), "{text}");
        assert_eq!(quoted("haproxy_quote(log_format=false)").is_none(), text.contains('\''), "{text}");
        assert_eq!(quoted("haproxy_quote").is_none(), text.contains('\'') || text.contains('%'), "{text}");
        if let Some(word) = quoted("nginx_quote") {
            // A name that nginx does not know is an error, and it repeats the name as it read it.
            let folder = Folder::new();
            folder.write("nginx.conf", format!("error_log stderr; pid /dev/null; events {{}} {word};"));
            let output =
                Command::new(find("nginx")).args(["-t", "-q", "-c"]).arg(folder.path("nginx.conf")).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(said.contains(&format!("unknown directive \"{text}\"")), "{text}: {said}");
        }
        if let Some(word) = quoted("haproxy_quote(log_format=false)") {
            let folder = Folder::new();
            folder.write("haproxy.cfg", format!("global\n    {word}\n"));
            let output =
                Command::new(find("haproxy")).args(["-c", "-f"]).arg(folder.path("haproxy.cfg")).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(said.contains(&format!("unknown keyword '{text}'")), "{text}: {said}");
        }
    }
}
