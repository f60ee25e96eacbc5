//! `init`: a small configuration that works, to begin with.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use super::args::{Common, Init, InitKind};
use super::ask::print;
use super::say;
use super::schema::SCHEMA;
use crate::exit::Exit;

/// What is written for a program.
struct Program {
    /// The targets of the configuration.
    target: &'static str,
    /// The files beside it: name and text.
    files: &'static [(&'static str, &'static str)],
    /// What its template reads.
    reads: Reads,
    /// What is run when its file is there.
    then: &'static [&'static str],
}

/// What a template reads.
#[derive(Debug, Clone, Copy)]
enum Reads {
    /// The instances of the service `web`.
    Service,
    /// The keys below `app`.
    Keys,
}

/// A kind of registry.
struct Registry {
    name: &'static str,
    /// What stands below its name in the configuration.
    section: &'static str,
    /// Files with what a template reads, by what that is.
    service: Data,
    keys: Data,
}

/// How what a template reads comes into a registry.
enum Data {
    /// In a file of its own, with this text.
    File(&'static str),
    /// By a command.
    Command(&'static str),
}

impl InitKind {
    fn program(self) -> Program {
        match self {
            Self::Nginx => Program {
                target: include_str!("init/nginx/target.yaml"),
                files: &[
                    ("web.conf.tera", include_str!("init/nginx/web.conf.tera")),
                    ("nginx.conf", include_str!("init/nginx/nginx.conf")),
                ],
                reads: Reads::Service,
                then: &["nginx -p \"$PWD\" -c nginx.conf"],
            },
            Self::Haproxy => Program {
                target: include_str!("init/haproxy/target.yaml"),
                files: &[("haproxy.cfg.tera", include_str!("init/haproxy/haproxy.cfg.tera"))],
                reads: Reads::Service,
                then: &["haproxy -W -D -f haproxy.cfg -p haproxy.pid"],
            },
            Self::Prometheus => Program {
                target: include_str!("init/prometheus/target.yaml"),
                files: &[("targets.json.tera", include_str!("init/prometheus/targets.json.tera"))],
                reads: Reads::Service,
                then: &["cat targets.json"],
            },
            Self::Env => Program {
                target: include_str!("init/env/target.yaml"),
                files: &[("app.env.tera", include_str!("init/env/app.env.tera"))],
                reads: Reads::Keys,
                then: &["cat app.env"],
            },
        }
    }
}

/// The kinds of registries, each with a little data.
const REGISTRIES: &[Registry] = &[
    Registry {
        name: "file",
        section: "    file: {path: registry.yaml}\n",
        service: Data::File(
            "# Edit it while `liveconf run` runs.\nservices:\n  web:\n    - {address: 127.0.0.1, port: 8081}\n",
        ),
        keys: Data::File("# Edit it while `liveconf run` runs.\napp:\n  db/host: db.internal\n  db/port: 5432\n"),
    },
    Registry {
        name: "consul",
        section: "    # Where Consul is, and with which token, say the variables that `consul` reads (CONSUL_HTTP_ADDR,\n    \
                  # CONSUL_HTTP_TOKEN_FILE ...), else it is http://127.0.0.1:8500.\n    consul: {}\n",
        service: Data::Command("consul services register -name=web -id=web-1 -address=127.0.0.1 -port=8081"),
        keys: Data::Command("consul kv put app/db/host db.internal"),
    },
    Registry {
        name: "etcd",
        section: "    # Where etcd is, and who asks, say the variables that `etcdctl` reads (ETCDCTL_ENDPOINTS, ETCDCTL_USER\n    \
                  # ...), else it is http://127.0.0.1:2379.\n    etcd: {}\n",
        service: Data::Command("etcdctl put /services/web/web-1 127.0.0.1:8081"),
        keys: Data::Command("etcdctl put /app/db/host db.internal"),
    },
];

/// What an editor completes and checks the configuration with, and what it is called there.
const SCHEMA_FILE: &str = "liveconf.schema.json";

/// Writes the files and says what to run next.
pub(super) fn run(common: &Common, options: &Init) -> Exit {
    let registry = match registry(common.job.registries()) {
        Ok(registry) => registry,
        Err(reason) => {
            say::error(format_args!("{reason}"));
            return Exit::Usage;
        }
    };
    if let Some(reason) = no_folder(&options.folder) {
        say::error(format_args!("nothing was written: {reason}"));
        return Exit::Failed;
    }
    let program = options.kind.program();
    let data = match program.reads {
        Reads::Service => &registry.service,
        Reads::Keys => &registry.keys,
    };
    let config = format!(
        "# yaml-language-server: $schema={SCHEMA_FILE}\nregistries:\n  main:\n{}\n{}",
        registry.section, program.target
    );
    let mut files = vec![("liveconf.yaml", config.as_str())];
    files.extend(program.files);
    let mut commands = Vec::new();
    if options.folder != Path::new(".") {
        commands.push(format!("cd {}", quoted(&options.folder)));
    }
    match data {
        Data::File(text) => files.push(("registry.yaml", text)),
        Data::Command(command) => commands.push((*command).to_owned()),
    }
    commands.extend(["liveconf check".to_owned(), "liveconf once".to_owned()]);
    commands.extend(program.then.iter().map(|command| (*command).to_owned()));
    commands.push("liveconf run".to_owned());

    let taken: Vec<String> = files
        .iter()
        .map(|(name, _)| options.folder.join(name))
        .filter(|path| path.symlink_metadata().is_ok())
        .map(|path| path.display().to_string())
        .collect();
    if !taken.is_empty() {
        say::error_with(format_args!("nothing was written, since this is in the way:"), &taken);
        return Exit::Failed;
    }
    // One that is there is as good, and `liveconf schema` makes it anew.
    if options.folder.join(SCHEMA_FILE).symlink_metadata().is_err() {
        files.push((SCHEMA_FILE, SCHEMA));
    }
    if let Err((name, error)) = write_all(&options.folder, &files) {
        say::error(format_args!("failed to write `{}`: {error}", options.folder.join(name).display()));
        return Exit::Failed;
    }
    let mut text = String::new();
    for (name, _) in &files {
        // Writing to a text cannot fail.
        let _ = writeln!(text, "wrote {}", options.folder.join(name).display());
    }
    text.push_str("\nnext:\n\n");
    for command in commands {
        let _ = writeln!(text, "  {command}");
    }
    print(&text).err().unwrap_or(Exit::Done)
}

/// The kind of registry that `--registry` gives; what is wrong with it.
fn registry(given: &[String]) -> Result<&'static Registry, String> {
    let names: Vec<&str> = REGISTRIES.iter().map(|registry| registry.name).collect();
    let known = |kind: &str| REGISTRIES.iter().find(|registry| registry.name == kind);
    let kinds = format!("`--registry` takes the kind alone, one of {}", names.join(", "));
    let [given] = given else {
        let what =
            if given.is_empty() { "say which registry it follows" } else { "it follows one registry, not several" };
        return Err(format!("{what}\n  = hint: {kinds}"));
    };
    if let Some(registry) = known(given) {
        return Ok(registry);
    }
    // What else a job takes: `NAME=KIND:ADDRESS`. The address may hold a password.
    let (before, address) = given.split_once(':').map_or((&**given, None), |(before, after)| (before, Some(after)));
    let kind = before.rsplit('=').next().unwrap_or(before);
    let shown = if address.is_some() { format!("{before}:...") } else { before.to_owned() };
    Err(match known(kind) {
        Some(_) => format!(
            "`--registry {shown}` says more than the kind of registry\n  = hint: `--registry {kind}` is all that `init` \
             takes; what else there is to say goes into `liveconf.yaml`"
        ),
        None => format!("`--registry {shown}` is no kind of registry that `init` begins with\n  = hint: {kinds}"),
    })
}

/// Why no folder is there, nor can be made, under this path.
fn no_folder(path: &Path) -> Option<String> {
    let shown = path.display();
    match path.metadata() {
        Ok(found) if found.is_dir() => None,
        Ok(_) => Some(format!("`{shown}` is no folder")),
        Err(_) if path.is_symlink() => Some(format!("`{shown}` is no folder, but a symbolic link that leads to none")),
        Err(_) => None,
    }
}

/// Writes each file where nothing is; which one could not be.
fn write_all<'f>(folder: &Path, files: &[(&'f str, &str)]) -> Result<(), (&'f str, io::Error)> {
    for (name, text) in files {
        let write = || {
            fs::create_dir_all(folder)?;
            let mut file = OpenOptions::new().write(true).create_new(true).open(folder.join(name))?;
            file.write_all(text.as_bytes())
        };
        write().map_err(|error| (*name, error))?;
    }
    Ok(())
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-');
    let dashes = if text.starts_with('-') { "./" } else { "" };
    if text.chars().all(is_plain) {
        format!("{dashes}{text}")
    } else {
        format!("{dashes}'{}'", text.replace('\'', "'\\''"))
    }
}
