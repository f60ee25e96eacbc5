use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::group::Group;
use super::handle::Order;
use super::leftover::Note;
use super::{Handle, Phase, Ran, Run, State, Stop, Supervised};
use crate::config::Process;
use crate::heartbeat::Heart;
use crate::process::BootTime;

/// Until something on a busy machine has surely come about.
const SOON: Duration = Duration::from_secs(30);

/// A program under supervision, with what it tells.
struct Scene {
    supervised: Supervised,
    handle: Handle,
    over: mpsc::UnboundedReceiver<u8>,
    heart: Heart,
    _folder: tempfile::TempDir,
}

impl Scene {
    /// This script, started.
    async fn new(script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let arguments = ["sh", "-c", script].map(OsString::from).to_vec();
        let kill_timeout = Duration::from_millis(100);
        let process = Arc::new(Process { arguments, kill_timeout, ..Process::test("sh") });
        let (sender, over) = mpsc::unbounded_channel();
        let (target, heart) = (Arc::<str>::from("web"), Heart::default());
        let supervised = super::start(process, [target.clone()].into(), folder.path(), sender, &heart);
        let handle = supervised.handle(&target);
        handle.in_place();
        let mut scene = Self { supervised, handle, over, heart, _folder: folder };
        scene.until(|state| state.phase == Phase::Running).await;
        scene
    }

    async fn until(&mut self, is_so: impl FnMut(&State) -> bool) -> Option<Run> {
        let mut state = self.supervised.state();
        let found = timeout(SOON, state.wait_for(is_so)).await.expect("it should come to that").expect("it is over");
        found.run
    }
}

/// Keeps a process from ending for as long as this is there: its tracer, which does not move, has to let it go. None where
/// nobody may trace.
fn hold(pid: i32) -> Option<Child> {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-p", &pid.to_string()]).stderr(Stdio::null());
    let mut tracer = strace.spawn().ok()?;
    let is_traced = || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        status.lines().any(|line| line == format!("TracerPid:\t{}", tracer.id()))
    };
    let since = Instant::now();
    while !is_traced() {
        if since.elapsed() > SOON {
            tracer.kill().unwrap();
            tracer.wait().unwrap();
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    kill(Pid::from_raw(tracer.id().cast_signed()), Signal::SIGSTOP).unwrap();
    Some(tracer)
}

fn let_go(mut tracer: Child) {
    tracer.kill().unwrap();
    tracer.wait().unwrap();
}

fn is_there(pid: i32) -> bool {
    Group::of(pid).is_some_and(|group| group.has_leader())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_started_beside_a_process_that_does_not_end() {
    let mut scene = Scene::new("sleep 600").await;
    let first = scene.handle.current().unwrap().pid;
    let Some(tracer) = hold(first) else { return };
    let handle = scene.handle.clone();
    let restart = tokio::spawn(async move { handle.restart().await });
    scene.until(|state| state.phase == Phase::Hanging).await;
    let told = |ran| matches!(ran, Ran::Not(why) if why.contains(&first.to_string()) && why.contains("does not end"));
    assert!(told(timeout(SOON, restart).await.unwrap().unwrap()), "whoever waits is told");
    assert!(told(timeout(SOON, scene.handle.restart()).await.unwrap()));
    assert!(told(timeout(SOON, scene.handle.run(BootTime::now(), true)).await.unwrap()));
    assert_eq!(scene.handle.current().unwrap().pid, first);
    assert_eq!(scene.heart.ask(Duration::ZERO), [""; 0]);

    let_go(tracer);
    let second = scene.until(|state| state.phase == Phase::Running).await.unwrap().pid;
    assert_ne!(second, first);
    assert!(!is_there(first));
    scene.supervised.stop(Stop::Ask(Signal::SIGTERM));
    assert_eq!(timeout(SOON, scene.supervised.stopped()).await.unwrap(), Some(143));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn targets_that_come_while_an_earlier_run_hangs_are_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut earlier = Command::new("sleep").arg("600").process_group(0).spawn().unwrap();
    let group = Group::of(earlier.id().cast_signed()).unwrap();
    let Some(tracer) = hold(group.leader) else {
        earlier.kill().unwrap();
        earlier.wait().unwrap();
        return;
    };
    let note = Note::new(folder.path(), "test");
    note.write(group).unwrap();
    let arguments = ["sleep", "600"].map(OsString::from).to_vec();
    let process = Process { arguments, kill_timeout: Duration::from_millis(100), ..Process::test("sleep") };
    let process = Arc::new(process);
    let (sender, over) = mpsc::unbounded_channel();
    let (web, site, heart) = (Arc::<str>::from("web"), Arc::<str>::from("site"), Heart::default());
    let supervised = super::start(process.clone(), [web.clone()].into(), folder.path(), sender, &heart);
    let mut scene = Scene { handle: supervised.handle(&site), supervised, over, heart, _folder: folder };
    scene.supervised.handle(&web).in_place();
    scene.until(|state| state.phase == Phase::Hanging).await;
    scene.supervised.redefine(process, [web, site.clone()].into());
    scene.until(|state| state.phase == Phase::Waiting([site.clone()].into())).await;

    let_go(tracer);
    earlier.wait().unwrap();
    let gone = timeout(SOON, async {
        while note.read().is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    gone.await.expect("what hung is gone");
    let ran = timeout(SOON, scene.handle.run(BootTime::now(), true)).await.unwrap();
    assert!(matches!(&ran, Ran::Not(why) if why.contains("waits for the files of target `site`")), "{ran:?}");
    assert_eq!(scene.handle.current(), None);
    scene.handle.in_place();
    scene.until(|state| state.phase == Phase::Running).await;
    scene.supervised.stop(Stop::Ask(Signal::SIGTERM));
    assert_eq!(timeout(SOON, scene.supervised.stopped()).await.unwrap(), Some(143));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_does_not_wait_for_what_hangs() {
    let mut scene = Scene::new("sleep 600").await;
    let Some(tracer) = hold(scene.handle.current().unwrap().pid) else { return };
    scene.supervised.stop(Stop::Ask(Signal::SIGTERM));
    assert_eq!(timeout(SOON, scene.supervised.stopped()).await.unwrap(), Some(1));
    let_go(tracer);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_defect_of_the_supervisor_ends_its_program_and_us() {
    let mut scene = Scene::new("trap '' TERM; sleep 600 & echo; while :; do sleep 0.02; done").await;
    let group = Group::of(scene.handle.current().unwrap().pid).unwrap();
    scene.supervised.orders().send(Order::Panic).unwrap();
    assert_eq!(timeout(SOON, scene.over.recv()).await.unwrap(), Some(1), "liveconf ends with an error");
    assert_eq!(group.members(BootTime::now()), [0; 0], "nothing of it is left");
    assert_eq!(timeout(SOON, scene.supervised.stopped()).await.unwrap(), None);
    assert_eq!(scene.handle.reload(Signal::SIGHUP).await, Ran::Not("liveconf stops".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_shows_that_it_makes_progress() {
    let mut scene = Scene::new("exec sleep 600").await;
    for _ in 0..3 {
        assert_eq!(scene.heart.ask(SOON), [""; 0]);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    scene.supervised.orders().send(Order::Block(Duration::from_secs(2))).unwrap();
    // The thread that stands still may be the one that all timers wait for, so this one uses none.
    let since = Instant::now();
    while scene.heart.ask(Duration::from_millis(200)) != ["process `test`"] {
        assert!(since.elapsed() < SOON, "a supervisor that stands still is found");
        std::thread::sleep(Duration::from_millis(20));
    }
    scene.supervised.stop(Stop::Now);
    timeout(SOON, scene.supervised.stopped()).await.unwrap();
}
