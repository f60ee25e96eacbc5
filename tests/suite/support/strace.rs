//! What a program asked of the kernel, by strace, and its end at any of it.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// What a thread asks without doing anything that outlives it: memory, waiting, time. A kill there is a kill at the
/// call before or after.
const OF_NO_EFFECT: &str = "futex,epoll_wait,epoll_ctl,epoll_pwait,poll,ppoll,mmap,munmap,mprotect,madvise,mremap,brk,\
     rt_sigaction,rt_sigprocmask,rt_sigreturn,sigaltstack,clock_gettime,clock_nanosleep,nanosleep,sched_yield,\
     sched_getaffinity,gettid,getpid,getrandom,set_robust_list,rseq,restart_syscall,exit,exit_group,prctl,prlimit64";

/// One system call.
#[derive(Debug, Clone)]
pub struct Call {
    /// Its name.
    pub name: String,
    /// As strace wrote it.
    pub line: String,
    /// How many calls of this name its thread has made with it: what strace counts by.
    pub of_thread: usize,
    /// What it is about, the same in every run: name, paths without their random parts, and how many like it came
    /// before.
    pub point: String,
    /// The program did not come back from it.
    unfinished: bool,
}

/// System calls of all threads of a program, in the order in which they began.
#[derive(Debug)]
pub struct Trace {
    /// The calls.
    pub calls: Vec<Call>,
}

impl Trace {
    /// The arguments of strace, before the program and its own: writes what happens to `log`, and kills at `inject`.
    pub fn arguments(log: &Path, inject: Option<&Call>) -> Vec<String> {
        let mut arguments: Vec<String> = ["-f", "-y", "-qq", "--seccomp-bpf", "-s", "0", "-o"].map(Into::into).into();
        arguments.push(log.display().to_string());
        arguments.extend(["-e".into(), "signal=none".into(), "-e".into(), format!("trace=!{OF_NO_EFFECT}")]);
        if let Some(call) = inject {
            arguments.extend(["-e".into(), format!("inject={}:signal=KILL:when={}", call.name, call.of_thread)]);
        }
        arguments
    }

    /// Reads what strace wrote about a program that works in `folder`.
    pub fn read(log: &Path, folder: &Path) -> Self {
        let text = fs::read_to_string(log).unwrap();
        let folder = folder.display().to_string();
        let mut of_thread: HashMap<(String, String), usize> = HashMap::new();
        let mut calls: Vec<Call> = Vec::new();
        let mut open: HashMap<String, usize> = HashMap::new();
        for line in text.lines() {
            let (thread, rest) = line.split_once(' ').unwrap();
            let rest = rest.trim_start();
            if rest.starts_with("<...") {
                if let Some(index) = open.remove(thread) {
                    calls[index].unfinished = rest.ends_with("= ?");
                }
                continue;
            }
            let Some((name, arguments)) = rest.split_once('(') else { continue };
            let count = of_thread.entry((thread.into(), name.into())).or_default();
            *count += 1;
            let suspended = rest.ends_with("<unfinished ...>");
            if suspended {
                open.insert(thread.into(), calls.len());
            }
            calls.push(Call {
                name: name.into(),
                line: rest.into(),
                of_thread: *count,
                point: format!("{name} {}", paths(arguments, &folder)),
                unfinished: suspended || rest.ends_with("= ?"),
            });
        }
        Self { calls }
    }

    /// Only the calls from the first that `begins`, with points that count from there; none if there is no such call.
    pub fn from(mut self, begins: impl Fn(&Call) -> bool) -> Self {
        let start = self.calls.iter().position(begins).unwrap_or(self.calls.len());
        self.calls.drain(..start);
        let mut before: HashMap<String, usize> = HashMap::new();
        for call in &mut self.calls {
            let count = before.entry(call.point.clone()).or_default();
            *count += 1;
            call.point = format!("{} #{count}", call.point);
        }
        self
    }

    /// The points of the calls that the program did not come back from.
    pub fn killed_at(&self) -> Vec<String> {
        self.calls.iter().filter(|call| call.unfinished).map(|call| call.point.clone()).collect()
    }
}

/// The paths among arguments that lie in `folder`, with what is random in a name replaced.
fn paths(arguments: &str, folder: &str) -> String {
    let mut found = Vec::new();
    for piece in arguments.split(['"', '<', '>', '(', ')', ',']) {
        let Some(path) = piece.strip_prefix(folder) else {
            // Relative to a folder that is open.
            if piece.starts_with('.') && piece.len() > 1 && !piece.contains(' ') {
                found.push(without_random(piece));
            }
            continue;
        };
        found.push(without_random(path));
    }
    found.join(" ")
}

/// A staged file is called `.NAME.liveconf-RANDOM`.
fn without_random(path: &str) -> String {
    match path.split_once(".liveconf-") {
        Some((name, _)) => format!("{name}.liveconf-*"),
        None => path.to_owned(),
    }
}
