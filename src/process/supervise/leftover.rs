//! What a supervised program of an earlier life left: one whose liveconf was killed may still hold its port.
//!
//! A note in the state folder names its process group as long as there may be one.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::group::Group;

/// How long the disk of the state folder may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where the note is kept.
#[derive(Debug, Clone)]
pub(super) struct Note(PathBuf);

#[derive(Debug, Serialize, Deserialize)]
struct Written {
    /// Numbers of processes mean nothing after a boot.
    boot: String,
    group: Group,
}

impl Note {
    /// The note about the program of this name.
    pub(super) fn new(state_dir: &Path, name: &str) -> Self {
        Self(state_dir.join(format!("{name}.process")))
    }

    /// [`Note::read`] on a thread that may hang, which is not waited for longer than a moment: its program is to run all
    /// the same.
    pub(super) async fn find(&self) -> Option<Group> {
        let note = self.clone();
        on_thread(move || note.read()).await.flatten()
    }

    /// [`Note::write`] in the same way.
    pub(super) async fn put(&self, group: Group) -> io::Result<()> {
        let note = self.clone();
        on_thread(move || note.write(group)).await.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
    }

    /// [`Note::remove`] in the same way. One that is written late names a group that is not there.
    pub(super) async fn take_away(&self) {
        let note = self.clone();
        on_thread(move || note.remove()).await;
    }

    /// The group that an earlier life of ours has noted in this life of the machine. A note that cannot be read is none.
    pub(super) fn read(&self) -> Option<Group> {
        let written: Written = serde_json::from_slice(&fs::read(&self.0).ok()?).ok()?;
        (written.boot == boot()?).then_some(written.group)
    }

    /// Notes a group. A note that is cut short by a crash is none, and neither is lost with it.
    pub(super) fn write(&self, group: Group) -> io::Result<()> {
        let Some(boot) = boot() else { return Ok(()) };
        let written = serde_json::to_vec(&Written { boot, group })?;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
        options.open(&self.0)?.write_all(&written)
    }

    /// There is no such group any more.
    pub(super) fn remove(&self) {
        let _ = fs::remove_file(&self.0);
    }
}

async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::time::timeout(PATIENCE, tokio::task::spawn_blocking(work)).await.ok()?.ok()
}

/// What tells this life of the machine from every other (random(4)).
fn boot() -> Option<String> {
    Some(fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;

    use super::*;

    #[test]
    fn a_note_is_read_in_the_same_life_of_the_machine() {
        let folder = tempfile::tempdir().unwrap();
        let note = Note::new(folder.path(), "web");
        assert_eq!(note.read(), None);
        let mut child = std::process::Command::new("sleep").arg("60").process_group(0).spawn().unwrap();
        let group = Group::of(child.id().cast_signed()).unwrap();
        note.write(group).unwrap();
        assert_eq!(note.read(), Some(group));
        let path = folder.path().join("web.process");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace(&boot().unwrap(), "another")).unwrap();
        assert_eq!(note.read(), None);
        fs::write(&path, &text[..text.len() / 2]).unwrap();
        assert_eq!(note.read(), None);
        note.write(group).unwrap();
        note.remove();
        assert_eq!(note.read(), None);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
