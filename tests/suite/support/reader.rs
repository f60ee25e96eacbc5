//! A reader that looks at a destination again and again, as a program may at any moment.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What a reader saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// How often it opened, read and closed the file.
    pub reads: u64,
    /// Reads of no byte.
    pub empty: u64,
    /// Reads of something that no render ever gave.
    pub partial: u64,
    /// Times when there was no file.
    pub missing: u64,
    /// Different contents, one after the other.
    pub versions: u64,
    /// The longest time for which nothing new was there.
    pub longest: Duration,
    /// How long it read.
    pub elapsed: Duration,
}

impl Seen {
    /// Fails unless every read was of a whole file, and there were many of them: some thousand a second on a machine at
    /// rest, hundreds on one that has ten times as much to do as it can.
    #[track_caller]
    pub fn assert_always_whole(&self) {
        assert_eq!((self.partial, self.empty, self.missing), (0, 0, 0), "{self:?}");
        let each_second = self.reads / self.elapsed.as_secs().max(1);
        assert!(each_second >= 200, "only {each_second} reads a second: {self:?}");
    }
}

/// A thread that reads.
pub struct Reader {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Seen>>,
}

impl Reader {
    /// Reads `path` until it is stopped; `is_whole` says whether a content is one that a render gave.
    pub fn start(path: PathBuf, is_whole: impl Fn(&[u8]) -> bool + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let started = Instant::now();
            let mut seen = Seen::default();
            let (mut last, mut changed) = (Vec::new(), started);
            while !stopped.load(Ordering::Relaxed) {
                seen.reads += 1;
                match fs::read(&path) {
                    Ok(content) if content.is_empty() => seen.empty += 1,
                    Ok(content) if content == last => {}
                    Ok(content) if is_whole(&content) => {
                        seen.versions += 1;
                        seen.longest = seen.longest.max(changed.elapsed());
                        (last, changed) = (content, Instant::now());
                    }
                    Ok(_) => seen.partial += 1,
                    Err(error) if error.kind() == ErrorKind::NotFound => seen.missing += 1,
                    Err(error) => panic!("failed to read {}: {error}", path.display()),
                }
                // The pace of the reader itself: some 3,000 reads a second, and room for what it watches.
                thread::sleep(Duration::from_micros(250));
            }
            seen.elapsed = started.elapsed();
            seen
        });
        Self { stop, thread: Some(thread) }
    }

    /// Ends it: what it saw.
    pub fn stop(mut self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
