//! When new bytes become visible under a name.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

/// Sees what is renamed into folders.
pub(crate) struct Sight {
    arrivals: Receiver<(PathBuf, Instant)>,
}

impl Sight {
    /// Looks at these folders from now on.
    pub(crate) fn on(folders: &[&Path]) -> Self {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC).unwrap();
        let watched: Vec<_> = folders
            .iter()
            .map(|folder| (inotify.add_watch(*folder, AddWatchFlags::IN_MOVED_TO).unwrap(), folder.to_path_buf()))
            .collect();
        let (sender, arrivals) = mpsc::channel();
        // It sleeps in the kernel until something comes: one that polls would take a core from those it watches.
        thread::spawn(move || {
            while let Ok(events) = inotify.read_events() {
                let at = Instant::now();
                for event in events {
                    let folder = watched.iter().find(|(watch, _)| *watch == event.wd);
                    if let (Some((_, folder)), Some(name)) = (folder, event.name)
                        && sender.send((folder.join(name), at)).is_err()
                    {
                        return;
                    }
                }
            }
        });
        Self { arrivals }
    }

    /// When `file` was first seen with a content that holds `marker`.
    pub(crate) fn of(&self, file: &Path, marker: &str) -> Instant {
        self.change(file, marker, true)
    }

    /// When `file` was first seen with a content that holds `marker`, or with one that holds it no more.
    pub(crate) fn change(&self, file: &Path, marker: &str, present: bool) -> Instant {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok((path, at)) = self.arrivals.recv_timeout(left) else {
                let shows = if present { "does not show" } else { "still shows" };
                panic!("`{}` {shows} `{marker}`", file.display());
            };
            if path == file && fs::read_to_string(file).unwrap().contains(marker) == present {
                return at;
            }
        }
    }
}
