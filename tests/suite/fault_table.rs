//! The table of faults in the README says what the tests of the matrix do, and which rows nobody ran.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// The rows of the matrix.
const FAULTS: [&str; 54] = [
    "killed at any system call",
    "killed between rename and reload",
    "power loss",
    "the etcd member that is watched is killed",
    "the leader of etcd is killed under writes",
    "etcd loses its quorum, and gets it back",
    "etcd is restarted member by member",
    "all Consul servers are killed and started again",
    "a Consul agent stops in order, and starts again",
    "a registry is stopped by SIGSTOP",
    "packets vanish both ways",
    "packets vanish one way",
    "a server accepts and never answers",
    "a connection is reset in the middle of a frame",
    "a slow server",
    "a server that talks nonsense",
    "values and answers of many megabytes",
    "100,000 keys with 1 % churn a second",
    "one key is written without a pause",
    "compaction during an outage",
    "compaction all the while",
    "etcd is restored from a backup",
    "Consul is restored from a snapshot",
    "events are lost on the way",
    "events come twice, late, or out of order",
    "a token expires, a user is deleted, a password is rotated",
    "the rights to a prefix or a service are taken away",
    "too many requests, and no leader",
    "a limit on connections",
    "certificates that are expired, wrong, or renewed",
    "names that do not resolve, hang, or move",
    "the clock jumps, the machine sleeps",
    "no space on the disk of the destination",
    "no space, or errors, on the disk of the state folder",
    "a destination that must not be written",
    "a destination that is a mount of its own",
    "links that are exchanged under a write",
    "modes, owners, attributes, and the umask",
    "somebody edits or removes the destination",
    "a value that breaks the syntax",
    "files that pass the check and fail the reload",
    "a command that hangs, forks, or floods",
    "the process is down, and is started by hand",
    "a stale pid file, a pid in other use",
    "old workers pile up",
    "liveconf is stopped by SIGSTOP",
    "liveconf is asked to stop during an apply",
    "two liveconf on one destination",
    "the configuration is edited to nonsense",
    "no memory, no file descriptors, no threads",
    "hostile values",
    "another version takes over the state",
    "an odd order of starts",
    "random rows, one after the other",
];

/// Its first and last lines in the README.
const BEGIN: &str = "| row | fault | what is done, and what holds |\n|---|---|---|\n";

/// A test of a row.
struct Row {
    /// The first paragraph of its documentation.
    told: String,
    /// Why it is not run.
    ignored: Option<String>,
}

/// The tests of each row, in the order of their names.
fn rows() -> BTreeMap<usize, BTreeMap<String, Row>> {
    let mut rows: BTreeMap<usize, BTreeMap<String, Row>> = BTreeMap::new();
    for file in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults")) {
        let (mut documentation, mut ignored, mut is_test) = (Vec::new(), None, false);
        for line in fs::read_to_string(&file).unwrap().lines().map(str::trim) {
            if let Some(text) = line.strip_prefix("///") {
                documentation.push(text.trim().to_owned());
            } else if let Some(reason) = line.strip_prefix("#[ignore") {
                ignored = Some(reason.trim_matches([' ', '=', '"', ']']).to_owned());
            } else if line == "#[test]" {
                is_test = true;
            } else if let Some(name) = line.strip_prefix("fn row_").filter(|_| is_test) {
                let name = name.split('(').next().unwrap().to_owned();
                let number = name[..2].parse().unwrap_or_else(|_| panic!("`row_{name}` has no number"));
                let told = documentation.split(String::is_empty).next().unwrap_or_default().join(" ");
                assert!(!told.is_empty(), "`row_{name}` does not say what it does");
                rows.entry(number).or_default().insert(name, Row { told, ignored: ignored.take() });
                (documentation, is_test) = (Vec::new(), false);
            } else if !line.starts_with("#[") {
                (documentation, ignored, is_test) = (Vec::new(), None, false);
            }
        }
    }
    rows
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let of = |path: PathBuf| if path.is_dir() { sources(&path) } else { vec![path] };
    entries.flat_map(of).filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// The table as the tests have it.
fn table() -> String {
    let rows = rows();
    let mut table = BEGIN.to_owned();
    for (number, fault) in (1..).zip(FAULTS) {
        let tests = rows.get(&number).map(|tests| tests.values().map(line).collect::<Vec<_>>().join(" "));
        let tests = tests.unwrap_or_else(|| "**not run**: there is no test".to_owned());
        writeln!(table, "| {number} | {fault} | {tests} |").unwrap();
    }
    table
}

fn line(row: &Row) -> String {
    match &row.ignored {
        None => row.told.clone(),
        Some(reason) => format!("**Not run**: {reason}."),
    }
}

/// Written anew by `LIVECONF_WRITE=1 cargo test fault_table`.
#[test]
fn the_readme_has_a_line_for_each_row() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(&path).unwrap();
    let begin = readme.find(BEGIN).expect("the table of faults");
    let end = readme[begin..].find("\n\n").map_or(readme.len(), |length| begin + length + 1);
    let table = table();
    if std::env::var_os("LIVECONF_WRITE").is_some() {
        fs::write(&path, format!("{}{table}{}", &readme[..begin], &readme[end..])).unwrap();
    } else {
        assert_eq!(readme[begin..end], table, "`LIVECONF_WRITE=1 cargo test fault_table` writes it anew");
    }
}
