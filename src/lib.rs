//! liveconf keeps configuration files true to a registry.
//!
//! People who run nginx, HAProxy or any other program that only reads static files put liveconf beside it: it watches
//! a registry, renders templates when something changes, replaces the files atomically, checks them, and signals or
//! reloads the program. What it promises: never lose an update, never lose a reload, never leave a broken file, never
//! exit because a registry is away.
//!
//! # Data flow
//!
//! ```text
//! registry (one per name)              store                          target task (one per target)
//!   one watch, many queries  ──▶   query -> Arc<Answer>   ──▶     did an answer I read change?  no: sleep
//!   error: keep the answers,       latest wins, no queue,         yes: quiet period, then apply
//!   back off, try again            equal answers wake nobody      failed: retry with back-off, still owed
//! ```
//!
//! A template asks [queries](registry::Query) through its functions. What the frozen [view](store::View) does not hold
//! yet is followed from then on, and the output is thrown away until every query is answered. An
//! [apply](target::Applier) renders, stages, checks and commits all files of a target as one transaction, then makes
//! its process take them; a reload that was not taken stays *owed*, over a crash too, and what the process refuses is put
//! back to the version that it confirmed last.
//!
//! # Layout
//!
//! The modules stand in the order in which data flow through them; `src/`, read in this order, is the program.
//!
//! | module | what it owns |
//! |---|---|
//! | [`cli`] | arguments in, exit code out; one file a command |
//! | [`config`] | what was written, what it means, and every problem with its place |
//! | [`plan`] | a configuration whose templates were found good; nothing starts from less |
//! | [`daemon`] | signals, shutdown, and loading configuration and templates anew |
//! | [`registries`], [`registry`] | where data come from: the driver around every kind, and one file a kind |
//! | [`store`] | the answers, and who read them |
//! | [`template`] | from a view to bytes; Tera stays behind it |
//! | [`guard`] | which answers are held back, since they would empty or gut an upstream |
//! | [`remembered`] | the last answers that targets accepted, on the disk for the next start |
//! | [`target`] | when to apply: quiet period, retries, what is owed, what waits at its gate |
//! | [`apply`] | stage, check, commit, verify, reload, confirm, and the way back; the only writer of destinations |
//! | [`process`] | child processes and signals; the programs that we run beside their files ([`supervise`](process::supervise)), and orphans |
//! | [`control`] | the socket that tells how everything stands, and takes commands |
//! | [`service_manager`] | what systemd is told: ready, reloading, stopping, how everything stands, that we live |
//! | [`capture`] | the answers as a fixture, with stand-ins for secrets |
//! | [`backoff`], [`exit`], [`file_watch`], [`heartbeat`], [`log`], [`protection`], [`secret`], [`yaml`] | single things that several of these use |
//!
//! # Who owns what
//!
//! State has one owner each: a registry's watch its connection and cursor, the store its answers, a target task its
//! files, its holds, its owed reload and its retry times, a supervisor task its program, the daemon the signals and the
//! shutdown. A target reaches its program through a [handle](process::supervise::Handle) in the
//! [context](process::Context) of its commands. Readers get immutable snapshots. No lock is held across an await, and
//! nothing is global but the log, and what the kernel keeps for the process as a whole: the list of our own children, and the
//! limit on open files.
//!
//! # Invariants
//!
//! Each has a test.
//!
//! - An answer is immutable, and an error never clears one.
//! - No render sees an unanswered query; a render is a function of templates and view.
//! - One transaction at a time for a target, and only [`apply`] renames or writes a destination.
//! - No commit before its check, where one is given, has passed.
//! - A commit ends confirmed, restored, or visibly owed, whatever comes between: a failure, a refusal, a stop, a crash.
//! - What a process refused is not tried again before the data change.
//! - Who polls a destination never sees a partial, empty or missing file.
//! - A file is removed only where its item is gone and it still holds what we wrote, or on the way back where the process
//!   ran without it.
//! - An answer that loses too much reaches no file before its hold is over.
//! - A supervised program never starts before its files are there, never outlives us, and is never started anew because
//!   our own configuration was loaded anew.
//! - The exit code of a child of ours is taken by whoever waits for it; every other child is reaped.
//! - Secrets never leave through logs, errors, diffs, arguments or file modes.
//!
//! What users write and see, key by key, is in the [reference](mod@reference).
//!
//! # Where the next thing belongs
//!
//! - A registry kind: one file in [`registry`], one line in [`registry::KINDS`], one line in the contract test.
//! - A lock that a registry kind can keep: a [`registry::line::Line`] beside it.
//! - A template function or filter: one entry of the group in its file, in [`template`].
//! - A component: one file in `templates/`, one entry in the list of those built in, in [`template`].
//! - A way to reload a process: one file in [`apply::reload`].
//! - A command: one file in [`cli`]. What a running daemon is asked or told: a [request](control::Request) besides.

#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        clippy::unwrap_used,
        reason = "tests write their own files, and fail by a panic"
    )
)]

#[cfg(not(target_os = "linux"))]
compile_error!("liveconf runs on Linux only: it relies on pidfd, renameat and inotify");

pub mod cli;
pub mod config;
pub mod plan;
pub mod daemon;
pub mod registries;
pub mod registry;
pub mod store;
pub mod template;
pub mod guard;
pub mod remembered;
pub mod target;
pub mod apply;
pub mod process;
pub mod control;
pub mod service_manager;

pub mod reference;

pub mod backoff;
pub mod capture;
pub mod exit;
pub mod file_watch;
pub mod heartbeat;
pub mod log;
pub mod protection;
pub mod secret;
pub mod yaml;

#[doc(hidden)]
#[cfg(any(test, fuzzing))]
pub mod fuzzing;

pub use cli::run;
