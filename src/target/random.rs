//! Any sequence of changes, failures, crashes and restarts ends settled on the newest data, with the fewest reloads: the
//! real applier, on real files and records, against a process that the test plays and a model of what it should run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use futures_util::FutureExt as _;
use proptest::prelude::*;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::applier::Played;
use super::*;
use crate::apply::reload::Outcome;
use crate::apply::{By, Owed, Records, Told, sweep};
use crate::config::{self, LoadOptions};
use crate::plan::Plan;
use crate::registry::{Answer, Asked, Data, Path as Key, Query, Reply, Text, Wanted};
use crate::store::{Reader, Store};

/// Two files, one target.
const CONFIG: &str = "registries: {main: {file: {path: none}}}
targets:
  web:
    templates:
      - {content: '{{ key(path=\"a\") }}', dest: etc/a}
      - {content: '{{ key(path=\"b\") }}', dest: etc/b}
    reload: {command: [unused]}
";

/// What a process makes of files: it refuses those that begin so, having kept all of the old or taken some of the new.
const KEEPS: &str = "refused";
const TAKES: &str = "half taken";

/// The data of both keys. All are equally good but for those that the process refuses.
const DATA: [[&str; 2]; 6] = [["1", "1"], ["1", "2"], ["3", "2"], [KEEPS, "1"], [KEEPS, "2"], [TAKES, "1"]];

/// One thing that happens.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// The registry has these data.
    Change(usize),
    /// The next time that the process is told, this happens.
    Fault(Fault),
    /// Time passes.
    Wait,
    /// We end and start again.
    Restart,
    /// Configuration and templates are loaded anew.
    Hangup,
    /// The process ends and starts again, where it can with the files that are there. It cannot with files that nobody
    /// has told it of yet and that it would refuse: these stay, since nobody refused them, and the reload is owed.
    ProcessRestart,
    /// The folder of the files goes away, or comes back.
    Block(bool),
}

/// What goes wrong when a process is told.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// It does not run for a moment.
    IsAway,
    /// Nobody tells it.
    Fails,
    /// It takes the files, and nobody learns of it.
    FailsAfterwards,
    /// We are killed before it is told.
    CrashesBefore,
    /// We are killed when it has been told.
    CrashesAfterwards,
}

/// The process and what is about to happen to it.
#[derive(Debug, Default)]
struct Process {
    /// What it runs.
    runs: Vec<Option<String>>,
    faults: Vec<Fault>,
    /// How often it was told.
    told: usize,
    /// How often it refused files.
    refused: usize,
}

/// All that there is.
struct World {
    folder: tempfile::TempDir,
    plan: Plan,
    store: Arc<Store>,
    _wanted: tokio::sync::watch::Receiver<Wanted>,
    process: Arc<Mutex<Process>>,
    crash: Arc<Notify>,
    records: Arc<Records>,
    applier: Applier,
    reader: Reader,
    /// The number of the data that the registry has.
    data: usize,
    /// What the process confirmed last, or what was there before.
    confirmed: Vec<Option<String>>,
    /// Faults and crashes since everything was settled: each may cost reloads.
    troubles: usize,
    /// How often the process had refused files when everything was settled or the data changed.
    refused: usize,
}

/// What is in the files.
fn files(folder: &Path) -> Vec<Option<String>> {
    ["a", "b"].map(|name| fs::read_to_string(folder.join("etc").join(name)).ok()).into()
}

fn data(number: usize) -> Vec<Option<String>> {
    DATA[number].map(|text| Some(text.to_owned())).into()
}

fn is_refused(files: &[Option<String>]) -> bool {
    files[0].as_deref().is_some_and(|text| text == KEEPS || text == TAKES)
}

impl Process {
    /// It is told to take what is in the folder.
    fn take(&mut self, folder: &Path) -> Told {
        let now = files(folder);
        if !folder.join("etc").exists() {
            return Told::Failed("there are no files".into());
        }
        match now[0].as_deref() {
            Some(KEEPS) => {
                self.refused += 1;
                Told::Refused { by: By::Reload, reason: "refused".into(), took: false }
            }
            Some(TAKES) => {
                self.refused += 1;
                self.runs = now;
                Told::Refused { by: By::Confirm, reason: "ill".into(), took: true }
            }
            _ => {
                self.runs = now;
                Told::Taken
            }
        }
    }
}

impl World {
    fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        fs::create_dir(folder.path().join("etc")).unwrap();
        fs::write(folder.path().join("liveconf.yaml"), CONFIG).unwrap();
        let options = LoadOptions {
            config: Some("liveconf.yaml".into()),
            state_dir: None,
            environment: BTreeMap::new(),
            working_folder: folder.path().to_owned(),
            uid: 1000,
            command: Some(Vec::new()),
        };
        let plan = Plan::load(config::load(&options).unwrap(), &BTreeMap::new()).unwrap_or_else(|_| panic!());
        let store = Store::new();
        let wanted = store.add_registry(&"main".into());
        let process = Arc::new(Mutex::new(Process { runs: files(folder.path()), ..Process::default() }));
        let (reader, crash) = (store.reader(), Arc::new(Notify::new()));
        let records = Arc::new(Records::open(&folder.path().join("state")));
        let applier = plan.applier(0, &records, Options::default());
        let confirmed = files(folder.path());
        let mut world = Self {
            folder,
            plan,
            store,
            _wanted: wanted,
            process,
            crash,
            records,
            applier,
            reader,
            data: 0,
            confirmed,
            // Nothing was applied yet.
            troubles: 1,
            refused: 0,
        };
        world.start();
        world.reader.has_read(&world.reader.view(), ["a", "b"].map(asked).into());
        world.publish(0);
        world
    }

    fn publish(&mut self, number: usize) {
        let reply = |key: &str, text: &'static str| Reply {
            query: asked(key).query,
            result: Ok(Answer::new(Data::Key(Some(Text(text.into()))), 1)),
        };
        self.store.publish(&"main".into(), vec![reply("a", DATA[number][0]), reply("b", DATA[number][1])]);
        self.data = number;
    }

    /// A new applier, as after a start.
    fn start(&mut self) {
        self.applier = self.new_applier();
    }

    /// A new one that goes on with what the last has left, as after a hangup.
    fn hang_up(&mut self) {
        let new = self.new_applier();
        let before = std::mem::replace(&mut self.applier, new);
        self.applier.inherit(before.into_legacy());
    }

    fn new_applier(&self) -> Applier {
        let (process, crash) = (self.process.clone(), self.crash.clone());
        let folder: PathBuf = self.folder.path().to_owned();
        let played: Played = Arc::new(move || {
            let (process, crash, folder) = (process.clone(), crash.clone(), folder.clone());
            async move {
                let fault = {
                    let mut process = process.lock().unwrap();
                    process.told += 1;
                    process.faults.pop()
                };
                match fault {
                    None => return process.lock().unwrap().take(&folder),
                    Some(Fault::IsAway) => return Told::NotRunning("there is no process".into()),
                    Some(Fault::Fails) => return Told::Failed("not told".into()),
                    Some(Fault::FailsAfterwards) => {
                        process.lock().unwrap().take(&folder);
                        return Told::Failed("too late".into());
                    }
                    Some(Fault::CrashesBefore) => {}
                    Some(Fault::CrashesAfterwards) => drop(process.lock().unwrap().take(&folder)),
                }
                crash.notify_one();
                std::future::pending().await
            }
            .boxed()
        });
        self.plan.applier(0, &self.records, Options::default()).played_by(played)
    }

    /// What a crash leaves: the files and the process.
    fn restart(&mut self) {
        sweep(&self.plan.config.targets);
        self.records = Arc::new(Records::open(&self.folder.path().join("state")));
        self.start();
    }

    fn refusals(&self) -> usize {
        self.process().refused
    }

    fn process(&self) -> std::sync::MutexGuard<'_, Process> {
        self.process.lock().unwrap()
    }

    /// One attempt, and what is owed after it once more; ended by a crash it goes on with a new start.
    async fn act(&mut self) {
        loop {
            let crash = self.crash.clone();
            let stop = CancellationToken::new();
            let worked = async {
                let attempt = self.applier.attempt(&self.reader, &stop).await;
                let mut outcome = match attempt {
                    Attempt::Applied(applied) => applied.reload,
                    Attempt::Failed(_) => None,
                    other => panic!("{other:?}"),
                };
                if self.applier.owes() && !matches!(outcome, Some(Outcome::Failed(_) | Outcome::NotRunning(_))) {
                    outcome = Some(self.applier.pay().await);
                }
                outcome
            };
            let crashed = tokio::select! {
                outcome = worked => {
                    if outcome == Some(Outcome::Taken) {
                        self.confirmed = files(self.folder.path());
                    }
                    false
                }
                () = crash.notified() => true,
            };
            if !crashed {
                return;
            }
            self.troubles += 1;
            self.restart();
        }
    }

    async fn happen(&mut self, event: Event) {
        match event {
            Event::Change(number) => {
                if DATA[number] != DATA[self.data] {
                    self.refused = self.refusals();
                }
                let clean = self.is_clean();
                let before = self.process().told;
                let changed = DATA[number] != DATA[self.data];
                self.publish(number);
                self.act().await;
                let told = self.process().told - before;
                if clean {
                    // The files that are in place anyway cost nothing, and what is refused is taken back.
                    let expected = match data(number) {
                        _ if !changed => 0,
                        now if now == self.confirmed && told == 0 => 0,
                        // The first files that it took have none to go back to.
                        now if now[0].as_deref() == Some(TAKES) && !self.has_confirmed_nothing() => 2,
                        _ => 1,
                    };
                    assert_eq!(told, expected, "after {event:?}");
                }
                return;
            }
            Event::Fault(fault) => {
                self.troubles += 1;
                self.process().faults.push(fault);
                return;
            }
            Event::Restart => self.restart(),
            Event::Hangup => self.hang_up(),
            Event::ProcessRestart => {
                self.troubles += 1;
                let folder = self.folder.path().to_owned();
                if folder.join("etc").exists() && !is_refused(&files(&folder)) {
                    self.process().runs = files(&folder);
                }
            }
            Event::Block(blocked) => {
                self.troubles += 1;
                let (here, away) = (self.folder.path().join("etc"), self.folder.path().join("away"));
                let (from, to) = if blocked { (here, away) } else { (away, here) };
                let _ = fs::rename(from, to);
            }
            Event::Wait => {}
        }
        let (clean, before) = (self.is_clean(), self.process().told);
        self.act().await;
        if clean {
            assert_eq!(self.process().told, before, "nothing was owed, and {event:?} told the process");
        }
    }

    /// Whether it has confirmed no files, and there were none before.
    fn has_confirmed_nothing(&self) -> bool {
        self.confirmed.iter().all(Option::is_none)
    }

    /// Whether nothing is left to do, and nothing is about to go wrong.
    fn is_clean(&self) -> bool {
        let process = self.process();
        self.troubles == 0 && process.faults.is_empty() && process.runs == self.confirmed
    }

    /// All faults end. What has to be true then?
    async fn settle(&mut self) {
        self.process().faults.clear();
        let _ = fs::rename(self.folder.path().join("away"), self.folder.path().join("etc"));
        self.act().await;
        self.act().await;
        let (wanted, now) = (data(self.data), files(self.folder.path()));
        assert!(!self.applier.owes(), "something is owed for ever");
        if is_refused(&wanted) {
            // What it may have started with stays where nothing was confirmed yet.
            let stays = self.has_confirmed_nothing() && now == wanted;
            assert!(stays || now == self.confirmed, "what was confirmed last is back, and not {now:?}");
            assert!(self.applier.refusal().is_some());
        } else {
            assert_eq!(now, wanted, "the newest data are in the files");
            self.confirmed.clone_from(&now);
            assert_eq!(self.applier.refusal(), None);
        }
        // Of files that were refused and stay it may have taken none, or some.
        assert!(is_refused(&now) || self.process().runs == now, "the process runs what is in the files");
        // Once is enough, also for a next life.
        let told = self.process().told;
        self.restart();
        self.act().await;
        assert_eq!(self.process().told, told, "a restart reloads nobody");
        assert_eq!(files(self.folder.path()), now);
        if !is_refused(&wanted) {
            assert_eq!(self.owed(), Owed::Settled);
        }
        let names: BTreeSet<_> = fs::read_dir(self.folder.path().join("etc"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert!(names.iter().all(|name| name == "a" || name == "b"), "{names:?}");
        self.troubles = 0;
        self.refused = self.refusals();
    }

    /// What the record on disk says of the files.
    fn owed(&self) -> Owed {
        use sha2::{Digest as _, Sha256};
        let target = &self.plan.targets[0].0;
        let hash = |path: &Path| format!("{:x}", Sha256::digest(fs::read(path).unwrap()));
        let hashes = target.templates.iter().map(|template| (template.dest.clone(), hash(&template.dest))).collect();
        Records::open(&self.folder.path().join("state")).owed("web", &hashes, true)
    }
}

fn asked(key: &str) -> Asked {
    Asked { registry: "main".into(), query: Query::Key(Key::parse(key).unwrap()) }
}

fn event() -> impl Strategy<Value = Event> {
    let fault = prop_oneof![
        Just(Fault::IsAway),
        Just(Fault::Fails),
        Just(Fault::FailsAfterwards),
        Just(Fault::CrashesBefore),
        Just(Fault::CrashesAfterwards),
    ];
    prop_oneof![
        6 => (0..DATA.len()).prop_map(Event::Change),
        3 => fault.prop_map(Event::Fault),
        1 => Just(Event::Wait),
        2 => Just(Event::Restart),
        1 => Just(Event::Hangup),
        1 => Just(Event::ProcessRestart),
        1 => any::<bool>().prop_map(Event::Block),
    ]
}

fn play(parts: &[Vec<Event>]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut world = World::new();
        for events in parts {
            for event in events {
                world.happen(*event).await;
                let process = world.process();
                // Files that were refused are tried again after a crash or other data alone.
                assert!(process.refused - world.refused <= 1 + world.troubles, "{event:?}");
            }
            world.settle().await;
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_ends_settled_on_the_newest_data(
        parts in prop::collection::vec(prop::collection::vec(event(), 1..8), 1..4)
    ) {
        play(&parts);
    }
}
