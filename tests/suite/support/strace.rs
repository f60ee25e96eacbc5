//! What a program asks of the kernel, by strace, which can also hold it at the door.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::process::{Process, bound, find};
use super::{SOON, poll_until};

/// What a thread asks without doing anything that outlives it: memory, waiting, time, other threads. An end there is
/// an end at the call before or after.
const OF_NO_EFFECT: &str = "futex,epoll_wait,epoll_ctl,epoll_pwait,poll,ppoll,mmap,munmap,mprotect,madvise,mremap,brk,\
     rt_sigaction,rt_sigprocmask,rt_sigreturn,sigaltstack,clock_gettime,clock_nanosleep,nanosleep,sched_yield,\
     sched_getaffinity,gettid,getpid,getrandom,set_robust_list,rseq,clone3,restart_syscall,exit,exit_group,prctl,\
     prlimit64,geteuid,fcntl";

/// What threads wake each other with, as they like.
const WAKING: [&str; 3] = ["[eventfd]", "[eventpoll]", "inotify"];

/// One system call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Its name.
    pub name: String,
    /// What it is, the same in every run: its name, what it is about, and how many like it there were, with it.
    pub point: String,
    /// The kernel has answered.
    pub finished: bool,
}

/// A strace at work on all threads of a process.
pub struct Strace {
    process: Process,
    log: PathBuf,
}

impl Strace {
    /// Writes to `log` what a process does. With `hold`, calls of that name wait before they are made, so that there is
    /// time to end the process just there.
    pub fn attach(id: u32, log: PathBuf, hold: Option<(&str, Duration)>) -> Self {
        let trace = format!("trace=!{OF_NO_EFFECT}");
        let hold = hold.map(|(name, time)| format!("inject={name}:delay_enter={}", time.as_micros()));
        let mut arguments = vec!["-e", &trace];
        arguments.extend(hold.iter().flat_map(|hold| ["-e", hold]));
        Self::with(id, log, &arguments)
    }

    /// The same with arguments of strace that say what is written and what is made of it.
    pub fn with(id: u32, log: PathBuf, arguments: &[&str]) -> Self {
        fs::write(&log, "").unwrap();
        // Without `--seccomp-bpf`: with it and a list of calls, strace 6.1 injects nothing.
        let mut command = bound(Signal::SIGKILL, find("strace"));
        command.args(["-f", "-y", "-qq", "-s", "0", "-e", "signal=none"]).args(arguments);
        command.arg("-p").arg(id.to_string()).arg("-o").arg(&log).stderr(Stdio::inherit());
        let mut process = Process::start(command);
        let tracer = format!("TracerPid:\t{}", process.id());
        poll_until(SOON, || {
            if let Some(status) = process.ended() {
                panic!("strace ended with {status}: may this user trace processes (kernel.yama.ptrace_scope)?");
            }
            let is_traced = |thread: &Path| {
                // A thread that has ended meanwhile is as good.
                let status = fs::read_to_string(thread.join("status"));
                status.map_or(true, |status| status.lines().any(|line| line == tracer))
            };
            let threads = fs::read_dir(format!("/proc/{id}/task")).unwrap();
            if threads.flatten().all(|thread| is_traced(&thread.path())) {
                Ok(())
            } else {
                Err("strace has not attached to every thread".into())
            }
        });
        Self { process, log }
    }

    /// What the program, which works in `folder`, has done so far, in the order in which it began, from the first call
    /// on whose line `begins`.
    pub fn calls(&self, folder: &Path, begins: fn(&str) -> bool) -> Vec<Call> {
        let text = fs::read_to_string(&self.log).unwrap();
        let folder = folder.display().to_string();
        let mut like_it: HashMap<String, usize> = HashMap::new();
        let mut open: HashMap<&str, usize> = HashMap::new();
        let mut calls: Vec<Call> = Vec::new();
        let mut begun = false;
        for line in text.lines() {
            let Some((thread, line)) = line.split_once(' ') else { continue };
            let line = line.trim_start();
            if line.starts_with("<...") {
                if let Some(index) = open.remove(thread) {
                    calls[index].finished = is_finished(line);
                }
                continue;
            }
            begun |= begins(line);
            let Some((name, arguments)) = line.split_once('(').filter(|_| begun) else { continue };
            if WAKING.iter().any(|kind| arguments.contains(kind)) {
                continue;
            }
            let about = format!("{name} {}", subject(arguments, &folder));
            let count = like_it.entry(about.clone()).or_default();
            *count += 1;
            if !is_finished(line) {
                open.insert(thread, calls.len());
            }
            calls.push(Call { name: name.into(), point: format!("{about} #{count}"), finished: is_finished(line) });
        }
        calls
    }

    /// The lines that it wrote and that hold all of these.
    pub fn lines(&self, fragments: &[&str]) -> Vec<String> {
        let text = fs::read_to_string(&self.log).unwrap();
        let holds = |line: &&str| fragments.iter().all(|fragment| line.contains(fragment));
        text.lines().filter(holds).map(str::to_owned).collect()
    }

    /// Ends it; the process goes on.
    pub fn end(mut self) {
        // It is not asked, since it may wait for a thread first.
        self.process.kill();
    }
}

/// Whether a line of strace has the kernel's answer.
fn is_finished(line: &str) -> bool {
    line.rsplit_once(" = ").is_some_and(|(_, answer)| answer != "?")
}

/// What a call is about: the files of descriptors, in `<>`, and the texts in quotes, with what is random in them
/// replaced; nothing of the answer.
fn subject(arguments: &str, folder: &str) -> String {
    let arguments = arguments.rsplit_once(" = ").map_or(arguments, |(arguments, _)| arguments);
    let arguments = arguments.replace("<unfinished ...>", "");
    let mut found = Vec::new();
    // What stands between two of these is by turns between texts and a text. Buffers are left empty by `-s 0`, and are
    // not there yet when a call that fills them is not finished.
    for piece in arguments.split(['"', '<', '>']).skip(1).step_by(2).filter(|piece| !piece.is_empty()) {
        let piece = piece.replace(folder, ".");
        // A staged file is called `.NAME.liveconf-RANDOM`; pipes and sockets have numbers.
        let piece = piece.split_once(".liveconf-").map_or(piece.clone(), |(name, _)| format!("{name}.liveconf-*"));
        // An earlier version is called by a hash of what it holds.
        let piece = piece.split_once(".earlier/").map_or(piece.clone(), |(name, _)| format!("{name}.earlier/*"));
        found.push(piece.split_once(":[").map_or(piece.clone(), |(kind, _)| kind.to_owned()));
    }
    found.join(" ")
}
