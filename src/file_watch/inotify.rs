//! What the kernel tells about names in folders (`inotify(7)`).
//!
//! Straight on the system calls: adding a watch gives the same number for the same folder each time, so watching
//! anew after every change needs no bookkeeping and notices a folder that was replaced. A library that keeps its
//! watches by path would hide exactly this.

use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

/// What is told about a watched folder. Reading a file tells nothing.
const WATCHED: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);

/// Something happened in a watched folder; folders go by the number that the kernel gave them.
#[derive(Debug)]
pub(super) enum Event {
    /// To a name in a folder.
    Name {
        /// The folder.
        folder: i32,
        /// The name in it.
        name: OsString,
        /// What happened.
        happening: Happening,
    },
    /// The folder itself was moved or removed.
    Folder {
        /// The folder.
        folder: i32,
    },
    /// More happened than the kernel could keep.
    Lost,
}

/// What happened to a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Happening {
    /// It is new; a regular file may be about to be written.
    Created,
    /// Somebody wrote to it, and has it open.
    Written,
    /// It is whole: closed by its writer, moved here, or a new folder.
    Whole,
    /// It was removed or moved away.
    Gone,
    /// Its mode or owner changed.
    Metadata,
}

/// An inotify instance.
#[derive(Debug)]
pub(super) struct Inotify {
    fd: AsyncFd<Arc<OwnedFd>>,
}

impl Inotify {
    /// Opens one; it watches nothing yet.
    #[expect(
        deprecated,
        reason = "its successor is an unsafe function, which this crate forbids; the descriptor is owned and stays open, \
                  which is all that it asks for"
    )]
    pub(super) fn new() -> io::Result<Self> {
        let fd = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        Ok(Self { fd: AsyncFd::new(Arc::new(fd))? })
    }

    /// What folders are added to.
    pub(super) fn descriptor(&self) -> Arc<OwnedFd> {
        self.fd.get_ref().clone()
    }

    /// Waits for events. Safe to cancel.
    pub(super) async fn next(&self) -> Vec<Event> {
        loop {
            // An error means that the runtime is shutting down.
            let Ok(mut ready) = self.fd.readable().await else { return std::future::pending().await };
            let events = self.drain();
            ready.clear_ready();
            if !events.is_empty() {
                return events;
            }
        }
    }

    /// All events that are there.
    pub(super) fn drain(&self) -> Vec<Event> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(self.fd.get_ref(), &mut buffer);
        let mut events = Vec::new();
        loop {
            match reader.next() {
                Ok(event) => events.extend(read_event(&event)),
                Err(Errno::INTR) => {}
                // There is no more; nothing else can happen to a valid descriptor and buffer.
                Err(_) => return events,
            }
        }
    }
}

fn read_event(event: &inotify::Event<'_>) -> Option<Event> {
    let (folder, flags) = (event.wd(), event.events());
    if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
        return Some(Event::Lost);
    }
    let Some(name) = event.file_name() else {
        let gone = ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::IGNORED | ReadFlags::UNMOUNT;
        return flags.intersects(gone | ReadFlags::ATTRIB).then_some(Event::Folder { folder });
    };
    let is_folder = flags.contains(ReadFlags::ISDIR);
    let happening = if flags.intersects(ReadFlags::CLOSE_WRITE | ReadFlags::MOVED_TO) {
        Happening::Whole
    } else if flags.contains(ReadFlags::CREATE) {
        if is_folder { Happening::Whole } else { Happening::Created }
    } else if flags.contains(ReadFlags::MODIFY) {
        Happening::Written
    } else if flags.intersects(ReadFlags::DELETE | ReadFlags::MOVED_FROM) {
        Happening::Gone
    } else {
        Happening::Metadata
    };
    Some(Event::Name { folder, name: OsStr::from_bytes(name.to_bytes()).to_owned(), happening })
}

/// Watches a folder and gives its number, which is the same each time for the same folder. Nothing if there is no such
/// folder.
pub(super) fn watch(descriptor: &OwnedFd, folder: &Path) -> io::Result<Option<i32>> {
    match inotify::add_watch(descriptor, folder, WATCHED) {
        Ok(number) => Ok(Some(number)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Watches a folder no longer.
pub(super) fn forget(descriptor: &OwnedFd, folder: i32) {
    // Fails for a folder that is gone, whose watch is gone with it.
    let _ = inotify::remove_watch(descriptor, folder);
}
