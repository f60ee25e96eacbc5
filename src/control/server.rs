//! The daemon's side: connections, what each may ask, and what it is answered.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::describe;
use super::report::{self, Outcome};
use super::request::{Refusal, RefusalKind, Reply, Request};
use super::roster::{Posted, Roster};
use super::socket::{Place, Socket};
use crate::heartbeat::Pulse;
use crate::registry::Asked;
use crate::target::{Done, OrderTask};

/// How many connections there may be at a time.
const CONNECTIONS: usize = 16;

/// How long a peer may take to send a request, and to take an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of a request.
const LARGEST: u64 = 8 << 10;

/// How often it is looked whether the socket is still there, and one that could not be made is tried again.
const LOOK: Duration = Duration::from_secs(30);

/// The pause after a connection could not be taken, for want of file descriptors.
const BREATH: Duration = Duration::from_millis(200);

/// The control socket at work.
#[derive(Debug)]
pub struct Control(JoinHandle<()>);

impl Control {
    /// Makes the socket and serves it. One that cannot be made is told in a warning and tried again now and then.
    pub fn start(place: Place, roster: watch::Receiver<Arc<Roster>>, pulse: Pulse) -> Self {
        Self(tokio::spawn(serve(place, roster, LOOK, pulse)))
    }

    /// Ends every connection and removes the socket.
    pub async fn stop(self) {
        self.0.abort();
        // The file is removed when the task has ended.
        let _ = self.0.await;
    }
}

/// Serves the socket for as long as the program runs, and looks that often whether there is one.
async fn serve(place: Place, roster: watch::Receiver<Arc<Roster>>, look: Duration, pulse: Pulse) {
    let mut is_told = false;
    loop {
        let at = place.clone();
        let bound = tokio::task::spawn_blocking(move || at.bind()).await;
        let path = place.path.display();
        match bound
            .map_err(io::Error::other)
            .and_then(|bound| bound)
            .and_then(|(socket, listener)| Ok((socket, UnixListener::from_std(listener)?)))
        {
            Ok((socket, listener)) => {
                if std::mem::take(&mut is_told) {
                    info!(socket = %path, "the control socket is there now");
                }
                accept(&socket, listener, &roster, look, &pulse).await;
                continue;
            }
            Err(error) if !is_told => {
                is_told = true;
                warn!(socket = %path, %error, "no control socket: `liveconf status` and the like do not work");
            }
            Err(_) => {}
        }
        pulse.attend(tokio::time::sleep(look)).await;
    }
}

/// Takes connections until the file of the socket is gone.
async fn accept(
    socket: &Socket,
    listener: UnixListener,
    roster: &watch::Receiver<Arc<Roster>>,
    look: Duration,
    pulse: &Pulse,
) {
    let own = rustix::process::geteuid().as_raw();
    let mut connections = Connections::default();
    let mut look = tokio::time::interval(look);
    // A disk that hangs keeps one thread, and nobody waits for it.
    let mut looking: Option<JoinHandle<bool>> = None;
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => connections.take(stream, own, roster.clone()),
                Err(error) => {
                    debug!(%error, "a connection to the control socket could not be taken");
                    tokio::time::sleep(BREATH).await;
                }
            },
            () = pulse.asked() => {}
            _ = look.tick(), if looking.is_none() => looking = Some(tokio::task::spawn_blocking(socket.look())),
            is_there = async { looking.as_mut()?.await.ok() }, if looking.is_some() => {
                looking = None;
                if is_there == Some(false) {
                    return;
                }
            }
        }
    }
}

/// The connections that there are, the oldest first. Dropped, they end.
#[derive(Default)]
struct Connections(VecDeque<Connection>);

struct Connection {
    task: JoinHandle<()>,
    /// It is carrying out a command that its peer may give, and is not to be ended for another.
    is_busy: Arc<AtomicBool>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Connections {
    /// Serves one more. Where there are too many, the oldest that does nothing makes room: who has something to say says
    /// it at once.
    fn take(&mut self, stream: UnixStream, own: u32, roster: watch::Receiver<Arc<Roster>>) {
        self.0.retain(|connection| !connection.task.is_finished());
        if self.0.len() >= CONNECTIONS {
            let idle = self.0.iter().position(|connection| !connection.is_busy.load(Ordering::Relaxed));
            let Some(oldest) = idle else {
                let reason = "too many commands are under way; try again when one has ended";
                let line = encode(&Reply::Refused(Refusal::new(RefusalKind::Busy, reason)));
                // Its buffer is empty, so this does not wait.
                let _ = stream.try_write(&line);
                return;
            };
            drop(self.0.remove(oldest));
        }
        let is_busy = Arc::new(AtomicBool::new(false));
        let Ok(peer) = stream.peer_cred() else { return };
        let session = Session { user: peer.uid(), own, roster, is_busy: is_busy.clone() };
        self.0.push_back(Connection { task: tokio::spawn(session.run(stream)), is_busy });
    }
}

/// One connection.
struct Session {
    /// The user at the other end.
    user: u32,
    /// The user that we run as.
    own: u32,
    roster: watch::Receiver<Arc<Roster>>,
    is_busy: Arc<AtomicBool>,
}

impl Session {
    /// Answers requests until the peer is done, or takes too long.
    async fn run(self, mut stream: UnixStream) {
        let (reader, mut writer) = stream.split();
        let mut reader = BufReader::new(reader);
        loop {
            let mut line = Vec::new();
            let mut limited = (&mut reader).take(LARGEST);
            let Ok(Ok(length)) = timeout(PATIENCE, limited.read_until(b'\n', &mut line)).await else { return };
            if length == 0 {
                return;
            }
            let is_whole = line.ends_with(b"\n");
            let reply = if is_whole {
                tokio::select! {
                    biased;
                    reply = self.answer(&line) => reply,
                    () = gone(&mut reader) => return,
                }
            } else {
                Reply::Refused(malformed("a request is a line"))
            };
            let written = timeout(PATIENCE, writer.write_all(&encode(&reply))).await;
            if !is_whole || !matches!(written, Ok(Ok(()))) {
                return;
            }
        }
    }

    async fn answer(&self, line: &[u8]) -> Reply {
        let Ok(request) = serde_json::from_slice::<Request>(line) else {
            return Reply::Refused(malformed("the request is none that this version knows"));
        };
        let may_command = self.user == 0 || self.user == self.own;
        if !may_command && !request.only_reads() {
            let reason =
                "only root and the user that liveconf runs as may do this; others may ask for `status` and `explain`";
            return Reply::Refused(Refusal::new(RefusalKind::Forbidden, reason));
        }
        self.is_busy.store(!request.only_reads(), Ordering::Relaxed);
        let reply = self.obey(request).await.unwrap_or_else(Reply::Refused);
        self.is_busy.store(false, Ordering::Relaxed);
        reply
    }

    async fn obey(&self, request: Request) -> Result<Reply, Refusal> {
        let roster = self.roster.borrow().clone();
        if roster.stopping && !request.only_reads() {
            return Err(Refusal::new(RefusalKind::Busy, "liveconf is about to stop"));
        }
        match request {
            Request::Status { targets } if targets.is_empty() => {
                Ok(Reply::Status(describe::status(&roster, roster.targets.iter())))
            }
            Request::Status { targets } => {
                let targets: Result<Vec<_>, _> = targets.iter().map(|name| find(&roster, name)).collect();
                Ok(Reply::Status(describe::status(&roster, targets?.into_iter())))
            }
            Request::Explain { target } => {
                Ok(Reply::Explanation(Box::new(describe::explanation(&roster, find(&roster, &target)?))))
            }
            Request::Release { target, query } => {
                let target = find(&roster, &target)?;
                match self.order(target, OrderTask::Release(query)).await? {
                    Done::Released(released) => {
                        Ok(self.outcome(&[&*target.name], released.iter().map(describe::name).collect()))
                    }
                    Done::NotHeld(held) => Err(not_held(&held)),
                    Done::Tried | Done::Paused => Ok(self.outcome(&[&*target.name], Vec::new())),
                }
            }
            Request::Pause { target } => self.set_paused(&roster, target.as_deref(), true),
            Request::Resume { target } => self.set_paused(&roster, target.as_deref(), false),
            Request::Apply { target } => {
                let targets = chosen(&roster, target.as_deref())?;
                let orders = targets.iter().map(|target| self.order(target, OrderTask::Apply));
                for done in futures_util::future::join_all(orders).await {
                    done?;
                }
                let names: Vec<&str> = targets.iter().map(|target| &*target.name).collect();
                Ok(self.outcome(&names, Vec::new()))
            }
        }
    }

    fn set_paused(&self, roster: &Roster, target: Option<&str>, paused: bool) -> Result<Reply, Refusal> {
        let targets = chosen(roster, target)?;
        for target in &targets {
            if target.desk.set_paused(paused) {
                let command = if paused { "pause" } else { "resume" };
                info!(target = &*target.name, user = self.user, "the operator asks for `{command}`");
            }
        }
        let names: Vec<&str> = targets.iter().map(|target| &*target.name).collect();
        Ok(self.outcome(&names, Vec::new()))
    }

    /// Has the target do something, and waits until it has. It may be in the middle of an apply, whose steps have their own
    /// bounds.
    async fn order(&self, target: &Posted, task: OrderTask) -> Result<Done, Refusal> {
        info!(target = &*target.name, user = self.user, "the operator asks for {task}");
        let done = target.desk.order(task);
        let mut roster = self.roster.clone();
        let gone = roster.wait_for(|roster| roster.stopping || roster.target(&target.name).is_none());
        let reason = tokio::select! {
            done = done => match done {
                Ok(done) => return Ok(done),
                Err(_) => "the target went away meanwhile",
            },
            _ = gone => "liveconf is about to stop, or the target went away",
        };
        Err(Refusal::new(RefusalKind::Busy, reason))
    }

    /// How these targets stand by now.
    fn outcome(&self, targets: &[&str], released: Vec<report::Name>) -> Reply {
        let roster = self.roster.borrow().clone();
        let targets = targets.iter().filter_map(|name| roster.target(name));
        let targets = targets.map(|target| describe::target(&roster, target)).collect();
        Reply::Outcome(Outcome { released, targets })
    }
}

/// Waits until the peer has gone: nobody takes the answer then, and what was not begun for it is left.
async fn gone(reader: &mut (impl AsyncBufRead + Unpin)) {
    match reader.fill_buf().await {
        // Its next request, which waits for its turn.
        Ok(more) if !more.is_empty() => std::future::pending().await,
        _ => {}
    }
}

fn chosen<'r>(roster: &'r Roster, target: Option<&str>) -> Result<Vec<&'r Posted>, Refusal> {
    target.map_or_else(|| Ok(roster.targets.iter().collect()), |name| Ok(vec![find(roster, name)?]))
}

fn find<'r>(roster: &'r Roster, name: &str) -> Result<&'r Posted, Refusal> {
    roster.target(name).ok_or_else(|| {
        let names: Vec<&str> = roster.targets.iter().map(|target| &*target.name).collect();
        let reason =
            format!("there is no target `{}`\n  = hint: the targets are {}", name.escape_debug(), names.join(", "));
        Refusal::new(RefusalKind::Unknown, reason)
    })
}

fn not_held(held: &[Asked]) -> Refusal {
    let reason = if held.is_empty() {
        "nothing is held back".to_owned()
    } else {
        let held: Vec<String> = held.iter().map(ToString::to_string).collect();
        format!("no answer of that name is held back\n  = hint: what is held back is {}", held.join(", "))
    };
    Refusal::new(RefusalKind::NotHeld, reason)
}

fn malformed(reason: &str) -> Refusal {
    let version = env!("CARGO_PKG_VERSION");
    let reason = format!("{reason}, says liveconf {version}: see to it that the running one is of the same version");
    Refusal::new(RefusalKind::Malformed, reason)
}

fn encode(reply: &Reply) -> Vec<u8> {
    // Text and numbers always become JSON.
    let mut line = serde_json::to_vec(reply).unwrap_or_default();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;
    use std::time::{Instant, SystemTime};

    use super::*;
    use crate::control::{AskError, ask};
    use crate::store::Store;

    fn serving(path: &Path) -> (watch::Sender<Arc<Roster>>, Control) {
        let now = SystemTime::now();
        let (roster, shown) = watch::channel(Arc::new(Roster {
            started: now,
            config: None,
            loaded: now,
            refused_configuration: None,
            refused_templates: None,
            stopping: false,
            registries: BTreeMap::new(),
            targets: Vec::new(),
            store: Store::new(),
            records: Arc::new(crate::apply::Records::open(&path.with_extension("state"))),
        }));
        let place = Place { path: path.to_owned(), group: None };
        (roster, Control(tokio::spawn(serve(place, shown, Duration::from_millis(20), Pulse::unheard("control")))))
    }

    /// Asks until there is an answer.
    async fn answer(path: &Path, request: &Request) -> Reply {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            match ask(path, request, Duration::from_secs(10)).await {
                Err(AskError::NotRunning(_)) if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                reply => return reply.unwrap(),
            }
        }
    }

    #[tokio::test]
    async fn a_socket_that_somebody_removed_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        // At first its place is taken.
        let path = folder.path().join("control.sock");
        std::fs::create_dir(&path).unwrap();
        let (_roster, control) = serving(&path);
        let status = Request::Status { targets: Vec::new() };
        tokio::time::sleep(Duration::from_millis(50)).await;
        std::fs::remove_dir(&path).unwrap();
        assert!(matches!(answer(&path, &status).await, Reply::Status(report::Status { well: true, .. })));
        for _ in 0..3 {
            std::fs::remove_file(&path).unwrap();
            assert!(matches!(answer(&path, &status).await, Reply::Status(_)));
        }
        control.stop().await;
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn nothing_is_begun_while_the_program_stops() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let (roster, control) = serving(&path);
        roster.send_modify(|roster| Arc::make_mut(roster).stopping = true);
        let Reply::Refused(refusal) = answer(&path, &Request::Apply { target: None }).await else { panic!() };
        assert_eq!(refusal.kind, RefusalKind::Busy);
        assert!(matches!(answer(&path, &Request::Status { targets: Vec::new() }).await, Reply::Status(_)));
        control.stop().await;
    }

    #[tokio::test]
    async fn commands_whose_peers_have_gone_make_room() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let (roster, control) = serving(&path);
        // A target whose task is busy for long: nobody carries out its orders.
        let desk = Arc::new(crate::target::Desk::new());
        let posted = Posted { name: "web".into(), files: Vec::new(), desk: desk.clone(), process: None };
        roster.send_modify(|roster| Arc::make_mut(roster).targets = vec![posted]);
        let status = Request::Status { targets: Vec::new() };
        assert!(matches!(answer(&path, &status).await, Reply::Status(_)));
        for _ in 0..CONNECTIONS {
            let apply = Request::Apply { target: None };
            assert!(matches!(ask(&path, &apply, Duration::from_millis(50)).await, Err(AskError::Late(_))));
        }
        let deadline = Instant::now() + Duration::from_secs(10);
        while !matches!(answer(&path, &status).await, Reply::Status(_)) {
            assert!(Instant::now() < deadline, "the commands of those who have gone are in the way");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        control.stop().await;
    }
}
