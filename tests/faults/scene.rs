//! What most rows look at: keys that all carry the generation that they were written in, a file that shows them all, and
//! a program that reads the file when it is told to.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::liveconf::{Daemon, Job, start};
use crate::support::process::{Process, bound};
use crate::support::reader::Reader;
use crate::support::{SOON, poll_until};

/// Keys of a generation. Consul takes 64 operations in a transaction.
pub(crate) const KEYS: usize = 40;

/// The registry of a scene that has a file for one.
const REGISTRY: &str = "registry/registry.yaml";

/// The file.
pub(crate) const FILE: &str = "out/app.conf";

/// One registry, one file, one program.
pub(crate) struct Scene {
    pub(crate) job: Job,
    program: Option<Process>,
}

impl Scene {
    /// With a section of `registries`, and more keys of the target, each line indented by four spaces.
    pub(crate) fn new(registry: &str, target: &str) -> Self {
        let config = format!(
            "registries:\n  main: {{{registry}}}
targets:
  program:
    templates:
      - content: |
          {{% for entry in prefix(path=\"app\") %}}
          {{{{ entry.key }}}}={{{{ entry.value }}}}
          {{% endfor %}}
        dest: {FILE}
    reload: {{signal: HUP, pid_file: program.pid}}
{target}"
        );
        let job = Job::new(&config);
        std::fs::create_dir(job.folder().path("out")).unwrap();
        // It puts what it has read there by rename, so that a look at it is never a look at a part.
        job.write(
            "program",
            format!(
                "read_it() {{ cat {FILE} > .served && mv .served served; }}\n\
                 trap 'echo >> reloads; read_it' HUP\n\
                 read_it\necho $$ > .pid; mv .pid program.pid\nwhile :; do sleep 0.02; done\n"
            ),
        );
        let mut scene = Self { job, program: None };
        scene.start_program();
        scene
    }

    /// With a file for a registry that holds the first generation, and changes that go at once.
    pub(crate) fn with_file(target: &str) -> Self {
        let scene = Self::new(
            &format!("file: {{path: {REGISTRY}}}"),
            &format!("    wait: 0\n    reload_interval: 0\n{target}"),
        );
        scene.change(1);
        scene
    }

    /// Writes a generation into the file that is the registry.
    pub(crate) fn change(&self, number: u64) {
        self.change_to(&number.to_string());
    }

    /// The same with another value for all keys.
    pub(crate) fn change_to(&self, value: &str) {
        let lines: Vec<String> = (0..KEYS).map(|key| format!("  \"{key:02}\": \"{value}\"\n")).collect();
        let lines = lines.concat();
        self.job.write(REGISTRY, format!("app:\n{lines}"));
    }

    /// Starts the program that reads the file, and waits until it can be told to.
    pub(crate) fn start_program(&mut self) {
        let mut program = bound(Signal::SIGKILL, "sh");
        program.arg("program").current_dir(self.job.folder().root());
        let program = self.program.insert(Process::start(program));
        self.job.wait_for("program.pid", &format!("{}\n", program.id()));
    }

    /// Ends that program; its pid file stays.
    pub(crate) fn end_program(&mut self) {
        self.program = None;
    }

    /// The keys of a generation with their values, to be written in one transaction.
    pub(crate) fn generation(number: u64) -> impl Iterator<Item = (String, String)> {
        (0..KEYS).map(move |key| (format!("app/{key:02}"), number.to_string()))
    }

    /// The generation that a text shows; none when it is not the whole of one.
    pub(crate) fn generation_of(text: &str) -> Option<u64> {
        let values: Vec<&str> = text.lines().filter_map(|line| line.split_once('=')).map(|(_, value)| value).collect();
        let all_same = values.windows(2).all(|pair| pair[0] == pair[1]);
        if values.len() == KEYS && all_same { values[0].parse().ok() } else { None }
    }

    /// Starts the program under test.
    pub(crate) fn start(&self) -> Daemon {
        self.job.start(&["run"])
    }

    /// Starts it without some protections.
    pub(crate) fn start_without(&self, protections: &str) -> Daemon {
        let mut command = self.job.command(&["run"]);
        command.env("LIVECONF_UNPROTECTED", protections);
        start(command)
    }

    /// Whether the file and the program show this generation.
    pub(crate) fn shows(&self, number: u64) -> Result<(), String> {
        for file in [FILE, "served"] {
            let found = self.job.read(file).as_deref().map(Self::generation_of);
            if found != Some(Some(number)) {
                return Err(format!("`{file}` should show generation {number}, but shows {found:?}"));
            }
        }
        Ok(())
    }

    /// Whether they do within this time.
    pub(crate) fn comes_to(&self, within: Duration, number: u64) -> Result<(), String> {
        let deadline = Instant::now() + within;
        loop {
            match self.shows(number) {
                Err(reason) if Instant::now() > deadline => return Err(format!("after {within:?}: {reason}")),
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
                Ok(()) => return Ok(()),
            }
        }
    }

    /// Waits until they do.
    #[track_caller]
    pub(crate) fn wait_for(&self, number: u64) {
        self.wait_for_within(SOON, number);
    }

    /// The same with a time of its own.
    #[track_caller]
    pub(crate) fn wait_for_within(&self, within: Duration, number: u64) {
        poll_until(within, || self.shows(number));
    }

    /// Waits until the file alone shows it, which is a moment before the program does.
    #[track_caller]
    pub(crate) fn wait_for_file(&self, within: Duration, number: u64) {
        poll_until(within, || match self.shown() {
            Some(found) if found == number => Ok(()),
            found => Err(format!("the file should show generation {number}, but shows {found:?}")),
        });
    }

    /// The generation that the file shows; none when it is not the whole of one.
    pub(crate) fn shown(&self) -> Option<u64> {
        self.job.read(FILE).as_deref().and_then(Self::generation_of)
    }

    /// How often the program was told to read the file.
    pub(crate) fn reloads(&self) -> usize {
        self.job.read("reloads").unwrap_or_default().lines().count()
    }

    /// The generation that the program shows.
    pub(crate) fn served(&self) -> Option<u64> {
        self.job.read("served").as_deref().and_then(Self::generation_of)
    }

    /// Fails unless there is nothing beside the file.
    #[track_caller]
    pub(crate) fn assert_nothing_left(&self) {
        let names = self.job.folder().names("out");
        assert!(names.iter().all(|name| !name.starts_with('.')), "{names:?}");
    }

    /// A reader that looks whether the file ever shows anything but a whole generation.
    pub(crate) fn reader(&self) -> Reader {
        let is_whole = |content: &[u8]| std::str::from_utf8(content).ok().and_then(Self::generation_of).is_some();
        Reader::start(self.job.folder().path(FILE), is_whole)
    }

    /// The same, and it also counts as torn when the file ever shows a generation before the last.
    pub(crate) fn forward_reader(&self) -> Reader {
        let newest = AtomicU64::new(0);
        let is_forward = move |content: &[u8]| {
            let generation = std::str::from_utf8(content).ok().and_then(Self::generation_of);
            generation.is_some_and(|generation| newest.fetch_max(generation, Ordering::Relaxed) <= generation)
        };
        Reader::start(self.job.folder().path(FILE), is_forward)
    }
}
