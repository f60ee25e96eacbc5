//! What a program asked of the kernel, by strace, and its end at any of it.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::sys::signal::Signal;

use super::process::{Process, bound, find};
use super::{SOON, poll_until};

/// What a thread asks without doing anything that outlives it: memory, waiting, time. A kill there is a kill at the
/// call before or after.
const OF_NO_EFFECT: &str = "futex,epoll_wait,epoll_ctl,epoll_pwait,poll,ppoll,mmap,munmap,mprotect,madvise,mremap,brk,\
     rt_sigaction,rt_sigprocmask,rt_sigreturn,sigaltstack,clock_gettime,clock_nanosleep,nanosleep,sched_yield,\
     sched_getaffinity,gettid,getpid,getrandom,set_robust_list,rseq,restart_syscall,exit,exit_group,prctl,prlimit64";

/// Threads of a runtime with one worker: the main thread, and the worker; what comes after them is the pool for
/// blocking work, in which any thread may do anything.
const RUNTIME_THREADS: usize = 2;

/// One system call.
#[derive(Debug, Clone)]
pub struct Call {
    /// Its name.
    pub name: String,
    /// As strace wrote it.
    pub line: String,
    /// What it is about, the same in every run: the kind of its thread, its name, paths without their random parts,
    /// and how many like it that thread has made, with it.
    pub point: String,
    /// Which thread of the process made it, in the order of their ids.
    thread: usize,
    /// How many calls of this name that thread has made, with it: what strace counts by.
    of_thread: usize,
    /// The program did not come back from it.
    unfinished: bool,
}

/// A strace at work on a process.
pub struct Strace {
    process: Process,
    log: PathBuf,
    /// The threads of the process when it began.
    threads: Vec<u32>,
    /// The only one that is traced.
    only: Option<u32>,
}

impl Strace {
    /// Writes to `log` what the threads of a process do; with `kill`, what the thread does that made this call in
    /// another run, and kills the process at it.
    ///
    /// It must be at rest, or what it still does is killed.
    pub fn attach(id: u32, log: PathBuf, kill: Option<&Call>) -> Self {
        let mut threads: Vec<u32> = fs::read_dir(format!("/proc/{id}/task"))
            .unwrap()
            .map(|thread| thread.unwrap().file_name().to_str().unwrap().parse().unwrap())
            .collect();
        threads.sort_unstable();
        fs::write(&log, "").unwrap();

        // Without `--seccomp-bpf`: with it and a list of calls, strace 6.1 injects nothing.
        let mut command = bound(Signal::SIGKILL, find("strace"));
        command.args(["-y", "-qq", "-s", "0", "-e", "signal=none", "-e", &format!("trace=!{OF_NO_EFFECT}")]);
        // Another thread of the runtime may come to that number of calls first, but which one a call is made by is
        // always the same; in the pool it is not.
        let only = kill.filter(|call| call.thread < RUNTIME_THREADS).map(|call| threads[call.thread]);
        if let Some(call) = kill {
            command.args(["-e", &format!("inject={}:signal=KILL:when={}", call.name, call.of_thread)]);
        }
        let traced = if let Some(thread) = only {
            command.args(["-p", &thread.to_string()]);
            vec![thread]
        } else {
            command.args(["-f", "-p", &id.to_string()]);
            threads.clone()
        };
        command.arg("-o").arg(&log).stderr(Stdio::inherit());
        let mut process = Process::start(command);
        let tracer = format!("TracerPid:\t{}", process.id());
        poll_until(SOON, || {
            if let Some(status) = process.ended() {
                // It was not yet at rest, and is killed already.
                if fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| stat.contains(") Z ")) {
                    return Ok(());
                }
                panic!("strace ended with {status}: may this user trace processes (kernel.yama.ptrace_scope)?");
            }
            let is_traced = |thread: &u32| {
                let status = fs::read_to_string(format!("/proc/{id}/task/{thread}/status")).unwrap_or_default();
                status.lines().any(|line| line == tracer)
            };
            if traced.iter().all(is_traced) { Ok(()) } else { Err("strace has not attached".into()) }
        });
        Self { process, log, threads, only }
    }

    /// Ends it, after what is of interest has happened: all that the program, which works in `folder`, did.
    pub fn end(mut self, folder: &Path) -> Trace {
        // What it has not written yet came after. It is not asked to end, since it may wait for a thread first.
        self.process.kill();
        let text = fs::read_to_string(&self.log).unwrap();
        let folder = folder.display().to_string();
        let mut of_thread: HashMap<(usize, String), usize> = HashMap::new();
        let mut like_it: HashMap<(usize, String), usize> = HashMap::new();
        let mut open: HashMap<u32, usize> = HashMap::new();
        let mut calls: Vec<Call> = Vec::new();
        for line in text.lines() {
            // Of one thread, strace does not say which.
            let (id, line) = match self.only {
                Some(id) => (id, line),
                None => line.split_once(' ').map(|(id, line)| (id.parse().unwrap(), line.trim_start())).unwrap(),
            };
            if line.starts_with("<...") {
                if let Some(index) = open.remove(&id) {
                    calls[index].unfinished = line.ends_with("= ?");
                }
                continue;
            }
            let Some((name, arguments)) = line.split_once('(') else { continue };
            let thread = self.threads.iter().position(|known| *known == id).unwrap_or(self.threads.len());
            let count = of_thread.entry((thread, name.into())).or_default();
            *count += 1;
            // Threads wake each other as they like; a kill there is a kill at the call before or after.
            if arguments.contains("<anon_inode:[event") {
                continue;
            }
            let kind = if thread < RUNTIME_THREADS { "runtime" } else { "pool" };
            let about = format!("{kind} {name} {}", paths(arguments, &folder));
            let like_it = like_it.entry((thread, about.clone())).or_default();
            *like_it += 1;
            let suspended = line.ends_with("<unfinished ...>");
            if suspended {
                open.insert(id, calls.len());
            }
            calls.push(Call {
                name: name.into(),
                line: line.into(),
                point: format!("{about} #{like_it}"),
                thread,
                of_thread: *count,
                unfinished: suspended || line.ends_with("= ?"),
            });
        }
        Trace { calls }
    }
}

/// System calls, in the order in which they began.
#[derive(Debug)]
pub struct Trace {
    /// The calls.
    pub calls: Vec<Call>,
}

impl Trace {
    /// The calls from the first that `begins` to the last that `ends`.
    pub fn between(&self, begins: impl Fn(&Call) -> bool, ends: impl Fn(&Call) -> bool) -> &[Call] {
        let start = self.calls.iter().position(begins).expect("a call that begins it");
        let end = self.calls.iter().rposition(ends).expect("a call that ends it");
        &self.calls[start..=end]
    }

    /// The points of the calls that the program did not come back from.
    pub fn killed_at(&self) -> Vec<String> {
        self.calls.iter().filter(|call| call.unfinished).map(|call| call.point.clone()).collect()
    }
}

/// The paths among arguments that lie in `folder` or are relative, with what is random in a name replaced: those of
/// descriptors, in `<>`, and those in quotes; nothing of the result.
fn paths(arguments: &str, folder: &str) -> String {
    let arguments = arguments.split(") = ").next().unwrap_or_default().replace("<unfinished ...>", "");
    let mut found = Vec::new();
    for piece in arguments.split(['"', '<', '>']) {
        let inside = piece.strip_prefix(folder);
        let relative = piece.contains(".conf").then_some(piece);
        if let Some(path) = inside.or(relative) {
            // A staged file is called `.NAME.liveconf-RANDOM`.
            let path = path.split_once(".liveconf-").map_or(path.to_owned(), |(name, _)| format!("{name}.liveconf-*"));
            found.push(path);
        }
    }
    found.join(" ")
}
