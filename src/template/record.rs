//! What one render sees and what it asked.
//!
//! Components do not see the state of their caller, so view and record stand in a cell of the thread for the length
//! of one render; [`during`] fills the cell and empties it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::{ErrorKind, Failure};
use super::lookup::Lack;
use super::words::{Names, Words};
use super::{Environment, Value};
use crate::registry::{Answer, Asked, Data, Path, Query};
use crate::store::View;

/// What a text argument or value holds that depends on an answer which is not there yet.
pub(super) const PLACEHOLDER: &str = "\0";

/// The render that is under way on this thread.
pub(super) struct Render {
    /// What templates may reach.
    pub(super) environment: Arc<Environment>,
    /// The answers.
    pub(super) view: View,
    /// What was asked, and has an answer.
    pub(super) reads: BTreeSet<Asked>,
    /// What was asked, and has none yet.
    pub(super) missing: BTreeSet<Asked>,
    /// What was asked for without a default and is not there.
    pub(super) absent: BTreeSet<Absent>,
    /// The last of these.
    pub(super) last_absent: Option<Absent>,
    /// What the templates hold word by word.
    pub(super) words: Arc<Words>,
    /// The names that were listed.
    pub(super) names: Names,
    /// The items of a `for_each`.
    pub(super) items: Vec<Value>,
    /// Why a function of ours stopped the render.
    pub(super) failure: Option<Failure>,
    /// Whether what is printed may have several lines.
    pub(super) prints_lines: bool,
    /// How many includes and components in the middle of a line are under way: nothing in them has a line of its own.
    pub(super) within_line: u32,
    /// The patterns that were compiled.
    pub(super) patterns: RefCell<HashMap<String, Arc<regex::Regex>>>,
    /// What the template warns of.
    pub(super) warnings: BTreeSet<String>,
    /// How many weights were written as what is none.
    pub(super) no_weights: Cell<usize>,
    /// The bytes of all values that were printed.
    pub(super) printed: u64,
    /// The expression that is printed, in a render that is to find one: the number of its source, and where it stands.
    pub(super) printing: Option<(usize, Range<usize>)>,
    /// How many expressions were begun, in a render that is to find one.
    pub(super) begun: usize,
    /// What last lacked a field, in a render that is to find it.
    pub(super) lack: Option<Lack>,
    /// The text that was refused.
    pub(super) refused: RefCell<Option<String>>,
    /// Whether names of fields were withheld from a message.
    pub(super) lacks_names: Cell<bool>,
    /// The names that `from_json` and its like read, in a render that is to find what another lacked.
    pub(super) read_names: RefCell<Option<HashSet<String>>>,
    /// Whether what is rendered is a secret.
    pub(super) is_secret: bool,
    deadline: Instant,
    timeout: Duration,
}

/// Something that was asked for without a default and is not there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Absent {
    /// A key or a file.
    Query(Asked),
    /// An environment variable.
    Variable(String),
}

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Query(asked) => asked.fmt(f),
            Self::Variable(name) => write!(f, "variable `{name}`"),
        }
    }
}

/// Why a function has no value to give.
pub(super) enum Stop {
    /// It depends on an answer that is not there yet: a placeholder stands in.
    Missing,
    /// The registry does not allow the question, and the template does not insist: it is as if nothing were there.
    Denied,
    /// The render fails.
    Failed(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Render>> = const { RefCell::new(None) };
}

/// Runs `action` as a render on this thread, and gives what it left. The cell is emptied on a panic too.
pub(super) fn during<T>(
    environment: Arc<Environment>,
    view: View,
    words: Arc<Words>,
    is_secret: bool,
    timeout: Duration,
    action: impl FnOnce() -> T,
) -> (T, Option<Render>) {
    struct Guard;
    impl Drop for Guard {
        fn drop(&mut self) {
            CURRENT.take();
        }
    }

    let render = Render {
        environment,
        view,
        reads: BTreeSet::new(),
        missing: BTreeSet::new(),
        absent: BTreeSet::new(),
        last_absent: None,
        words,
        names: Names::default(),
        items: Vec::new(),
        failure: None,
        prints_lines: false,
        within_line: 0,
        patterns: RefCell::default(),
        warnings: BTreeSet::new(),
        no_weights: Cell::new(0),
        printed: 0,
        printing: None,
        begun: 0,
        lack: None,
        refused: RefCell::default(),
        lacks_names: Cell::new(false),
        read_names: RefCell::default(),
        is_secret,
        deadline: Instant::now() + timeout,
        timeout,
    };
    CURRENT.set(Some(render));
    let _guard = Guard;
    let result = action();
    (result, CURRENT.take())
}

/// The render of this thread, if there is one.
pub(super) fn with<T>(action: impl FnOnce(&mut Render) -> T) -> Option<T> {
    CURRENT.with_borrow_mut(|current| current.as_mut().map(action))
}

impl Render {
    /// The answer to a query, which is noted as read or as missing. What we may not ask counts as not there when it is
    /// `optional`.
    pub(super) fn ask(&mut self, asked: &Asked, optional: bool) -> Result<Arc<Answer>, Stop> {
        if let Some(answer) = self.view.answer(asked) {
            let answer = Arc::clone(answer);
            if !self.reads.contains(asked) {
                self.names.note(&answer);
                self.reads.insert(asked.clone());
            }
            return Ok(answer);
        }
        // What was answered once is supported; so this is asked for new queries only.
        if let Some(registry) = self.environment.registries.get(&asked.registry)
            && let Err(refusal) = registry.supports(&asked.query).and_then(|()| registry.knows(&asked.query))
        {
            return Err(Failure::new(format!("registry `{}` {refusal}", asked.registry)).into());
        }
        if optional && self.view.error(asked).is_some_and(|error| error.denied) {
            self.reads.insert(asked.clone());
            return Err(Stop::Denied);
        }
        self.missing.insert(asked.clone());
        Err(Stop::Missing)
    }

    /// Whether it was seen that there is something below a path.
    pub(super) fn has_folder(&self, registry: &str, path: &Path) -> bool {
        self.reads.iter().filter(|asked| *asked.registry == *registry).any(|asked| {
            let data = self.view.answer(asked).map(|answer| &answer.data);
            match (&asked.query, data) {
                (_, Some(Data::Prefix(entries))) => entries.iter().any(|entry| path.relative(&entry.path).is_some()),
                (Query::Exists(other), Some(Data::Exists(exists))) => other == path && *exists,
                (Query::Listing(folder), Some(Data::Listing(names))) => {
                    folder.relative(path.as_str()).is_some_and(|name| names.folders.iter().any(|folder| folder == name))
                }
                _ => false,
            }
        })
    }

    /// Notes which text is refused, so that its place is found if it is written somewhere.
    pub(super) fn note_refused(&self, text: &str) {
        *self.refused.borrow_mut() = Some(text.to_owned());
    }

    /// Fails when the render has taken too long.
    pub(super) fn check_deadline(&self) -> Result<(), Failure> {
        if Instant::now() < self.deadline { Ok(()) } else { Err(late(self.timeout)) }
    }

    /// Whether a text stands for something that is not there yet. Without anything missing it is the registry's own.
    pub(super) fn is_placeholder(&self, text: &str) -> bool {
        !self.missing.is_empty() && text.contains(PLACEHOLDER)
    }
}

/// The failure of a render that took too long.
pub(super) fn late(timeout: Duration) -> Failure {
    Failure::of(ErrorKind::Timeout, format!("the render takes longer than {}", humantime::format_duration(timeout)))
        .hint("make the template simpler, or raise `render_timeout`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_the_render() {
        let panicked = std::panic::catch_unwind(|| {
            during(Arc::default(), View::default(), Arc::default(), false, Duration::from_secs(1), || {
                assert!(with(|_| ()).is_some());
                std::panic::resume_unwind(Box::new("stop"))
            })
        });
        assert!(panicked.is_err());
        assert!(with(|_| ()).is_none());
    }
}
