//! How many files may be open at once. A transaction of thousands of files needs more than the 1,024 that a service manager
//! gives, and may take as many as it allows. The programs that we start get back what we were given, since some of them take
//! their size from it: right after their start, for want of a safe way to do that before.

use std::sync::{Mutex, PoisonError};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};
use tracing::debug;

/// What is open beside the files of a transaction: connections, watches, pipes, other targets.
const BESIDE: u64 = 256;

/// What one file of a transaction takes at most: the new one, the old one, and what is kept of that in memory.
const EACH: u64 = 3;

/// So many files are what any limit has room for: whoever sets a low one means it.
const FEW: usize = 16;

/// What we were given, once more is taken. The kernel keeps one limit for the whole process.
static GIVEN: Mutex<Option<Rlimit>> = Mutex::new(None);

/// Sees that a transaction of so many files may open them, as far as that is allowed.
pub fn make_room(files: usize) {
    if files <= FEW {
        return;
    }
    let needed = (files as u64).saturating_mul(EACH).saturating_add(BESIDE);
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let now = getrlimit(Resource::Nofile);
    let Some(current) = now.current.filter(|current| *current < needed) else { return };
    let more = now.maximum.map_or(needed, |maximum| maximum.min(needed));
    if more <= current {
        return;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(more), ..now }) {
        Ok(()) => _ = given.get_or_insert(now),
        Err(error) => debug!(%error, "cannot raise the limit on open files"),
    }
}

/// Gives a child that was just started the limit that we were given, if that is another by now.
pub(super) fn as_given(child: i32) {
    let Some(given) = *GIVEN.lock().unwrap_or_else(PoisonError::into_inner) else { return };
    if let Err(error) = prlimit(Pid::from_raw(child), Resource::Nofile, given) {
        debug!(child, %error, "the child keeps our limit on open files");
    }
}
