//! The whole way of a file, from bytes to its place, on real file systems.

mod back;
mod check;
mod commit;
mod destination;
mod drift;
mod gone;
mod leftovers;
mod metadata;
mod mounts;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command as Program;
use std::sync::Arc;
use std::time::Duration;

use super::{ApplyError, Committed, Staged};
use crate::config::{
    Check, Command, Drift, Gather, Guard, Owner, Placeholder, Program as Runs, Reload, Target, Template,
    TemplateSource, Wait, When, Writes,
};
use crate::process::Context;

/// A template for `dest`, with nothing set.
pub(super) fn template(dest: impl Into<PathBuf>) -> Template {
    let dest = dest.into();
    Template {
        name: dest.file_name().unwrap().to_string_lossy().into_owned(),
        source: TemplateSource::File("unused.tera".into()),
        dest,
        writes: Writes::One,
        mode: None,
        owner: Owner::default(),
        secret: false,
        create_dirs: false,
        in_place: false,
        backup: false,
        keep_previous: false,
        check: None,
        trim: true,
        delimiters: None,
    }
}

/// A target of these templates that reloads nothing.
pub(super) fn target(templates: impl Into<Vec<Template>>) -> Target {
    Target {
        name: "web".into(),
        templates: templates.into(),
        check: None,
        verify: None,
        reload: Reload::None,
        process: None,
        confirm: None,
        wait: Wait { min: Duration::ZERO, max: Duration::ZERO, gather: Gather::Burst },
        reload_interval: Duration::ZERO,
        splay: Duration::ZERO,
        lock: None,
        retry: (Duration::from_secs(1), Duration::from_secs(60)),
        render_timeout: Duration::from_secs(5),
        guard: Guard::default(),
        drift: Drift::Repair,
        drift_interval: Duration::from_secs(30),
    }
}

fn context() -> Context {
    Context {
        target: "web".into(),
        env_allow: Arc::new([]),
        process: None,
        remains: crate::process::Leavings::default(),
    }
}

/// Stages and commits one file without a check.
fn put(template: &Template, bytes: &[u8]) -> Result<Committed, ApplyError> {
    put_all(&target([template.clone()]), &[bytes])
}

/// Stages and commits without a check.
fn put_all(target: &Target, bytes: &[&[u8]]) -> Result<Committed, ApplyError> {
    stage(target, bytes)?.skip_check().commit()
}

fn stage(target: &Target, bytes: &[&[u8]]) -> Result<Staged, ApplyError> {
    let rendered: Vec<bytes::Bytes> = bytes.iter().map(|bytes| bytes::Bytes::copy_from_slice(bytes)).collect();
    Staged::stage(target, &rendered)
}

/// A check by a shell script in which `$STAGED0`, `$STAGED1`, `$DEST0` and `$WRAPPER` are the usual paths.
fn check(script: &str) -> Check {
    let variables = vec![
        ("STAGED0".to_owned(), Placeholder::Staged(0)),
        ("STAGED1".to_owned(), Placeholder::Staged(1)),
        ("DEST0".to_owned(), Placeholder::Dest(0)),
        ("WRAPPER".to_owned(), Placeholder::Wrapper),
    ];
    let program = Runs::Shell { script: script.to_owned(), variables };
    Check { command: Command { program, timeout: Duration::from_secs(20) }, wrapper: None, when: When::Always }
}

/// The names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Runs the test that calls it once more, alone, in a process that `wrapper` starts. Says whether this is that process;
/// the outer one has the result of the inner one asserted and is to return.
fn is_inner(wrapper: &[&str]) -> bool {
    const INNER: &str = "LIVECONF_TEST_INNER";
    let thread = std::thread::current();
    let test = thread.name().unwrap();
    if std::env::var(INNER).as_deref() == Ok(test) {
        return true;
    }
    let output = Program::new(wrapper[0])
        .args(&wrapper[1..])
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(INNER, test)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{test} in `{wrapper:?}`: {}\n{said}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    false
}

/// Whether this is the process in a mount namespace of its own, whose mounts end with it.
fn is_in_mount_namespace() -> bool {
    let wrapper: &[&str] =
        if rustix::process::geteuid().is_root() { &["unshare", "-m"] } else { &["unshare", "-r", "-m"] };
    is_inner(wrapper)
}

/// Runs a program that must succeed.
fn run(program: &str, arguments: &[&str]) {
    let status = Program::new(program).args(arguments).status().unwrap();
    assert!(status.success(), "{program} {arguments:?}: {status}");
}

/// Some tests give files to other users.
fn needs_root() {
    assert!(rustix::process::geteuid().is_root(), "this test gives files to other users and must be run as root");
}
