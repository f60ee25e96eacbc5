//! Text that must never be shown, files that hold it, and the memory that it is in.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The variable that names the folder of the credentials that systemd gave us
/// (<https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html#Credentials>).
pub const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// A password or a token: it has neither `Debug` with its content nor `Display`, so it cannot reach a log,
/// an error or a status by accident. [`Secret::reveal`] is the one way to its text.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes `text` out of sight.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one place that sends it to the server that it belongs to.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

/// Those of the files that everybody on this machine may read, as far as their own mode says.
pub async fn open_to_all(files: Vec<PathBuf>) -> Vec<PathBuf> {
    const OTHERS_READ: u32 = 0o004;
    let mut open = Vec::new();
    for file in files {
        let mode = tokio::fs::metadata(&file).await.map(|metadata| metadata.permissions().mode());
        // One that is missing is named by whoever reads it.
        if mode.is_ok_and(|mode| mode & OTHERS_READ != 0) {
            open.push(file);
        }
    }
    open
}

/// Why a file with a secret cannot be read; of a credential that systemd was to give us, also what to do.
pub fn read_failure(file: &Path, error: &io::Error) -> String {
    let credentials = std::env::var_os(CREDENTIALS_DIRECTORY).filter(|_| error.kind() == io::ErrorKind::NotFound);
    match credentials.and_then(|credentials| advice(file, Path::new(&credentials))) {
        Some(advice) => format!("{error}; {advice}"),
        None => error.to_string(),
    }
}

fn advice(file: &Path, credentials: &Path) -> Option<String> {
    let name = file.strip_prefix(credentials).ok()?.display();
    Some(format!("the unit gives no credential of this name: add `LoadCredential={name}:FILE`, and restart it"))
}

/// Keeps the memory of this process from everybody but root: no core dump is written, and another process of the same user
/// can neither trace it nor read its memory or its environment. Its children are as any other: the kernel undoes it when
/// they execute their program.
pub fn hide_memory() {
    // Where the kernel refuses, as a sandbox may have it, nothing is worse than it was.
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

#[cfg(test)]
mod tests {
    use std::fs::{File, Permissions};

    use super::*;

    #[test]
    fn a_credential_that_is_missing_is_told_by_its_name() {
        let credentials = Path::new("/run/credentials/liveconf.service");
        let hint = advice(&credentials.join("consul-token"), credentials).unwrap();
        assert!(hint.contains("`LoadCredential=consul-token:FILE`"), "{hint}");
        assert_eq!(advice(Path::new("/etc/liveconf/token"), credentials), None);
    }

    #[test]
    fn hidden_memory_is_not_dumped() {
        use rustix::process::{DumpableBehavior, dumpable_behavior, set_dumpable_behavior};
        let before = dumpable_behavior().unwrap();
        hide_memory();
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        set_dumpable_behavior(before).unwrap();
    }

    #[test]
    fn a_secret_shows_nothing_of_itself() {
        let shown = format!("{:?} {:#?}", Secret::new("hunter2"), Some(Secret::new("hunter2")));
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[tokio::test]
    async fn files_that_everybody_may_read_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let files = [("a", 0o600), ("b", 0o640), ("c", 0o644)].map(|(name, mode)| {
            let file = folder.path().join(name);
            File::create(&file).unwrap().set_permissions(Permissions::from_mode(mode)).unwrap();
            file
        });
        let missing = folder.path().join("missing");
        assert_eq!(open_to_all([files.to_vec(), vec![missing]].concat()).await, files[2..]);
    }
}
