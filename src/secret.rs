//! Text that must never be shown, files that hold it, and the memory that it is in.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

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
