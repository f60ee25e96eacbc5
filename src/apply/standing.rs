//! Where a target stands: what its process confirmed, what it may run instead, and what it refused (SEMANTICS 7).
//!
//! Plain data, and the decisions over them as functions without side effects. [`Records`](super::Records) keep one for
//! each target in memory and on disk, and whoever applies asks it what is to be done.

use std::collections::BTreeMap;
use std::fmt;

use super::refused::Refused;

/// Hashes of the files of a target, by destination, in the form in which they are kept.
pub(super) type Keyed = BTreeMap<String, String>;

/// Where one target stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Standing {
    /// The files that the process confirmed last, or those that were there before we wrote the first.
    confirmed: Option<Keyed>,
    /// They are those that were there before, and no process has confirmed any yet.
    is_found: bool,
    /// What the process runs.
    process: Process,
    /// The files that the process refused last.
    bad: Option<Bad>,
    /// The files in place are not wanted: the earlier ones are to be put back.
    is_going_back: bool,
}

/// Files that a process refused. They are not tried again until they, or the terms, are others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bad {
    pub(super) files: Keyed,
    /// What stands for how they were looked at, and the process told of them; none where that was not noted yet.
    pub(super) terms: Option<String>,
    /// Who refused them, when and why; none where that was not noted yet.
    pub(super) refused: Option<Refused>,
}

/// Which files those are that come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Those that the process confirmed last.
    Confirmed,
    /// No process has confirmed any yet: those that were there before we wrote the first.
    Found,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Confirmed => "the last confirmed files",
            Self::Found => "the files from before liveconf first wrote",
        })
    }
}

/// What a process runs, as far as we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Process {
    /// What it ran before we wrote anything; it was told nothing yet.
    #[default]
    Untold,
    /// Exactly what is confirmed.
    Settled,
    /// A reload began and was not confirmed: it may run what is confirmed, what was written since, or some of both.
    Unknown,
}

/// What a target's standing says about a render.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owed {
    /// The process has confirmed exactly these files.
    Settled,
    /// Nothing is known and every destination already holds its render: it is settled from now on, without a reload.
    Adopt,
    /// The process is to be told, once the files are in place.
    Owed,
}

/// What is to be done with a render.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// It is to be put in place, where it is not.
    Wanted,
    /// The process refused it. The earlier files stay, or come back.
    Refused {
        /// The files or the process are not what they should be instead: files are to be put back, or a reload is owed.
        is_open: bool,
    },
}

impl Standing {
    /// Settled on these files, as a record says.
    pub(super) fn settled(confirmed: Keyed, bad: Option<Bad>) -> Self {
        Self { confirmed: Some(confirmed), is_found: false, process: Process::Settled, bad, is_going_back: false }
    }

    /// Not settled, as a record says: whatever was under way may have happened or not. Where files were refused, putting
    /// the earlier ones back may have been under way.
    pub(super) fn unsettled(confirmed: Option<Keyed>, bad: Option<Bad>) -> Self {
        Self { confirmed, is_found: false, process: Process::Unknown, is_going_back: bad.is_some(), bad }
    }

    /// The same, where what is confirmed `is_found`, as a record says.
    pub(super) fn found(self, is_found: bool) -> Self {
        Self { is_found, ..self }
    }

    /// The same, where a record may not tell of all that happened.
    pub(super) fn doubted(self) -> Self {
        let is_found = self.is_found;
        Self::unsettled(self.confirmed, self.bad).found(is_found)
    }

    /// Changes each hash into another form.
    pub(super) fn each_hash(&mut self, mut change: impl FnMut(&mut String)) {
        let bad = self.bad.iter_mut().flat_map(|bad| bad.files.values_mut().chain(&mut bad.terms));
        self.confirmed.iter_mut().flat_map(Keyed::values_mut).chain(bad).for_each(&mut change);
    }

    /// Whether the process runs what is confirmed, and nothing else is in place. A record may say so.
    pub(super) fn is_settled(&self) -> bool {
        self.process == Process::Settled && !self.is_going_back
    }

    /// The files that are confirmed.
    pub(super) fn confirmed(&self) -> Option<&Keyed> {
        self.confirmed.as_ref()
    }

    /// Whether those are what was there before we wrote the first.
    pub(super) fn is_found(&self) -> bool {
        self.is_found
    }

    /// The files that were refused last.
    pub(super) fn bad(&self) -> Option<&Bad> {
        self.bad.as_ref()
    }

    /// Which files those are that come back.
    pub(super) fn version(&self) -> Version {
        let is_confirmed = !self.is_found && self.confirmed.as_ref().is_some_and(|files| !files.is_empty());
        if is_confirmed { Version::Confirmed } else { Version::Found }
    }

    /// Whether the process is known to have run with the files that come back, and so without those that were not there
    /// then. Otherwise it may have started with all that is in place by now.
    pub(super) fn ran_earlier(&self) -> bool {
        self.version() == Version::Confirmed || self.process != Process::Unknown
    }

    /// The newest answers give these files. Others than those that were refused are tried, and the same under other
    /// `terms`; then the refusal is forgotten: whoever changes the data back and forth asks for another try.
    pub(super) fn judge(&mut self, rendered: &Keyed, terms: &str) -> Judgement {
        if let Some(bad) = &mut self.bad
            && bad.files == *rendered
            && bad.terms.get_or_insert_with(|| terms.to_owned()) == terms
        {
            return Judgement::Refused { is_open: self.is_going_back || self.process == Process::Unknown };
        }
        self.forgive();
        Judgement::Wanted
    }

    /// What was refused is to be tried again.
    pub(super) fn forgive(&mut self) {
        self.bad = None;
        self.is_going_back = false;
    }

    /// These files are in place. What does the process know of them?
    pub(super) fn owed(&self, in_place: &Keyed) -> Owed {
        if self.is_settled() && self.confirmed.as_ref() == Some(in_place) { Owed::Settled } else { Owed::Owed }
    }

    /// A reload begins. Gives what the process ran until now, for the case that it keeps all of that.
    pub(super) fn begin(&mut self) -> Process {
        std::mem::replace(&mut self.process, Process::Unknown)
    }

    /// What had begun is taken back: the process runs what it ran `before`.
    pub(super) fn take_back(&mut self, before: Process) {
        self.process = before;
    }

    /// The process runs these files, and they are in place.
    pub(super) fn confirm(&mut self, in_place: Keyed) {
        self.confirmed = Some(in_place);
        self.is_found = false;
        self.process = Process::Settled;
        self.is_going_back = false;
    }

    /// The process refuses these `bad` files. `took` says whether it may run some of them; if not it runs what it ran
    /// `before` the reload.
    pub(super) fn refuse(&mut self, bad: Bad, took: bool, before: Process) {
        self.bad = Some(bad);
        self.is_going_back = true;
        if !took {
            self.process = before;
        }
    }

    /// The files in place are not wanted, and the process was not told of them.
    pub(super) fn go_back(&mut self) {
        self.is_going_back = true;
    }

    /// The earlier files are in place again, which are these. Whether the process is to be told of them.
    pub(super) fn went_back(&mut self, in_place: Keyed) -> bool {
        self.is_going_back = false;
        self.process = match self.process {
            // What is there is what was there before the first of ours.
            Process::Untold => Process::Settled,
            Process::Settled if self.confirmed.as_ref() == Some(&in_place) => Process::Settled,
            _ => Process::Unknown,
        };
        self.is_found = self.version() == Version::Found;
        self.confirmed = Some(in_place);
        self.process == Process::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(content: &str) -> Keyed {
        Keyed::from([("/etc/a".to_owned(), content.to_owned())])
    }

    /// Refused as ever.
    fn bad(content: &str) -> Bad {
        Bad { files: files(content), terms: Some("as ever".to_owned()), refused: None }
    }

    /// Settled on A.
    fn standing() -> Standing {
        Standing::settled(files("A"), None)
    }

    #[test]
    fn a_change_is_owed_until_it_is_confirmed() {
        let mut standing = standing();
        assert_eq!(standing.judge(&files("B"), "as ever"), Judgement::Wanted);
        assert_eq!(standing.owed(&files("B")), Owed::Owed);
        assert_eq!(standing.begin(), Process::Settled);
        assert_eq!((standing.is_settled(), standing.owed(&files("A"))), (false, Owed::Owed));
        standing.confirm(files("B"));
        assert_eq!((standing.is_settled(), standing.owed(&files("B"))), (true, Owed::Settled));
    }

    #[test]
    fn who_kept_all_of_the_old_is_not_told_of_it_again() {
        for (took, is_told) in [(false, false), (true, true)] {
            let mut standing = standing();
            let before = standing.begin();
            standing.refuse(bad("B"), took, before);
            assert!(!standing.is_settled(), "the refused files are still in place");
            assert_eq!(standing.judge(&files("B"), "as ever"), Judgement::Refused { is_open: true });
            assert_eq!(standing.went_back(files("A")), is_told);
            if is_told {
                standing.begin();
                standing.confirm(files("A"));
            }
            assert!(standing.is_settled());
            assert_eq!(standing.judge(&files("B"), "as ever"), Judgement::Refused { is_open: false });
        }
    }

    #[test]
    fn what_was_under_way_before_a_refusal_is_not_forgotten() {
        let mut standing = standing();
        // B failed, and C is refused: the process may still run B.
        standing.begin();
        let before = standing.begin();
        standing.refuse(bad("C"), false, before);
        assert!(standing.went_back(files("A")));
        // A record tells nothing of what was under way.
        let mut standing = Standing::unsettled(Some(files("A")), None);
        let before = standing.begin();
        standing.refuse(bad("C"), false, before);
        assert!(standing.went_back(files("A")));
    }

    #[test]
    fn a_first_refusal_leaves_a_process_as_it_was() {
        let mut standing = Standing::default();
        let before = standing.begin();
        standing.refuse(bad("B"), false, before);
        assert!(!standing.went_back(Keyed::new()));
        assert!(standing.is_settled());
        assert_eq!(standing.owed(&files("B")), Owed::Owed);
    }

    #[test]
    fn other_files_than_those_in_force_before_are_told() {
        let mut standing = standing();
        standing.go_back();
        assert!(standing.went_back(files("edited")), "the process runs A");
    }

    #[test]
    fn a_refusal_is_forgotten_when_the_data_change() {
        let mut standing = standing();
        let before = standing.begin();
        standing.refuse(bad("B"), false, before);
        standing.went_back(files("A"));
        assert_eq!(standing.judge(&files("A"), "as ever"), Judgement::Wanted);
        assert_eq!((standing.bad(), standing.owed(&files("A"))), (None, Owed::Settled));
        assert_eq!(standing.judge(&files("B"), "as ever"), Judgement::Wanted);
    }

    #[test]
    fn a_crash_on_the_way_back_is_finished() {
        let mut standing = Standing::unsettled(Some(files("A")), Some(Bad { terms: None, ..bad("B") }));
        assert_eq!(standing.judge(&files("B"), "as ever"), Judgement::Refused { is_open: true });
        assert!(standing.went_back(files("A")));
        assert!(!standing.is_settled());
    }

    #[test]
    fn a_refusal_is_forgotten_when_the_terms_change() {
        // One that a program before this one has noted is for the terms that are seen first.
        for noted in [None, Some("as ever".to_owned())] {
            let mut standing = Standing::unsettled(Some(files("A")), Some(Bad { terms: noted, ..bad("B") }));
            assert_eq!(standing.judge(&files("B"), "as ever"), Judgement::Refused { is_open: true });
            assert_eq!(standing.judge(&files("B"), "mended"), Judgement::Wanted);
            assert_eq!((standing.bad(), standing.is_going_back), (None, false));
        }
    }

    #[test]
    fn what_a_process_may_have_started_with_is_not_what_it_ran_without() {
        let mut first = Standing::default();
        assert_eq!((first.version(), first.ran_earlier()), (Version::Found, true), "it was told nothing yet");
        let before = first.begin();
        first.refuse(bad("B"), false, before);
        assert!(first.ran_earlier(), "it kept what it ran");
        first.begin();
        assert!(!first.ran_earlier(), "nobody knows when it was started");
        assert!(first.clone().went_back(files("found")));
        first.went_back(files("found"));
        assert_eq!((first.version(), first.ran_earlier()), (Version::Found, false));
        first.confirm(files("B"));
        first.begin();
        assert_eq!((first.version(), first.ran_earlier()), (Version::Confirmed, true));
        // A record says as much.
        assert_eq!(Standing::unsettled(Some(files("A")), None).found(true).version(), Version::Found);
        assert!(!Standing::unsettled(None, None).ran_earlier());
        assert!(Standing::settled(Keyed::new(), None).found(true).ran_earlier());
        assert!(!Standing::settled(files("A"), None).found(true).doubted().ran_earlier());
    }
}
