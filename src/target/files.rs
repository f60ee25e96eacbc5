//! The work on the files of a target and on its record. It blocks, so it goes to threads.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::applier::Failure;
use super::left::Left;
use crate::apply::{
    self, Checked, Committed, Earlier, GoBackError, Hashes, Judgement, Live, Look, Owed, Places, Process, Provisional,
    Records, Refused, Staged, Version,
};
use crate::config::{Reload, Target, Template, Writes};

/// The files of one target.
#[derive(Clone)]
pub(super) struct Files {
    /// The target with a template for each file, as of the last render.
    pub(super) target: Arc<Target>,
    /// The target as it is configured.
    configured: Arc<Target>,
    /// Files of items that are gone of which nothing is known now: they stay listed.
    unknown: Arc<BTreeSet<PathBuf>>,
    pub(super) records: Arc<Records>,
    /// Commit without `check` and `verify`.
    pub(super) no_check: bool,
    /// For each file whether it has shown answers that are not to be remembered: its content is then not kept on the disk.
    pub(super) unremembered: Arc<[AtomicBool]>,
}

/// How far the files have come.
pub(super) enum Reached {
    /// Every destination equals its render already: by us in an earlier life, or by somebody else.
    InPlace(Hashes, Places),
    /// Checks are to agree first.
    Unchecked(Staged),
    /// They are in place, and `verify` is to agree.
    Unverified(Provisional),
    /// They are in place.
    Committed(Committed),
    /// They rest on an answer that is too empty to replace what is there, and nothing was touched.
    Held,
    /// The process refused these files before, and nothing was touched.
    Refused {
        /// The earlier files are to be put back, or the process is to be told of them.
        is_open: bool,
        /// Why, where that is known.
        refused: Option<Refused>,
    },
    /// `verify` refused these files before, and nothing was touched.
    RefusedByVerify,
    /// A stop was asked for, and nothing was touched.
    Stopped,
}

/// The earlier files are in place.
pub(super) struct WentBack {
    pub(super) committed: Committed,
    pub(super) version: Version,
    /// Those of the files that were not there then, and stay.
    pub(super) staying: Vec<PathBuf>,
}

/// Files that are in place, and that the process runs.
pub(super) struct InForce {
    pub(super) hashes: Hashes,
    /// What they hold, in the order of the templates.
    pub(super) bytes: Vec<Bytes>,
}

impl Files {
    /// The work on the files of `target`.
    pub(super) fn new(target: Arc<Target>, records: Arc<Records>, no_check: bool) -> Self {
        let unremembered = target.templates.iter().map(|_| AtomicBool::new(false)).collect();
        Self { configured: target.clone(), unknown: Arc::default(), target, records, no_check, unremembered }
    }

    /// Whether a template has `for_each`.
    pub(super) fn has_items(&self) -> bool {
        self.configured.templates.iter().any(|template| matches!(template.writes, Writes::Each(_)))
    }

    /// The work on the files of `target`, which has a template for each of them. Those of items that are gone come to it;
    /// all of them stay where that is said.
    pub(super) fn of_items(&self, target: &Arc<Target>, all_stay: bool) -> Self {
        let (left, unknown) = self.left(target, all_stay);
        let target = if left.is_empty() {
            target.clone()
        } else {
            let templates = target.templates.iter().cloned().chain(left).collect();
            Arc::new(Target { templates, ..Target::clone(target) })
        };
        let was = self.target.templates.iter().zip(self.unremembered.iter());
        let was: HashMap<&Path, bool> =
            was.map(|(template, noted)| (template.dest.as_path(), noted.load(Ordering::Relaxed))).collect();
        let is_unremembered = |template: &Template| {
            // Nobody knows any more what an earlier life has put into it.
            let is_unknown = matches!(template.writes, Writes::Gone | Writes::Kept);
            AtomicBool::new(was.get(template.dest.as_path()).copied().unwrap_or(is_unknown))
        };
        let unremembered = target.templates.iter().map(is_unremembered).collect();
        Self { target, unknown: unknown.into(), unremembered, ..self.clone() }
    }

    /// What stands behind the files that were rendered of `target`: those of items that are gone, which stay or go, those
    /// that go last. With what stays listed and is none of them.
    fn left(&self, target: &Target, all_stay: bool) -> (Vec<Template>, BTreeSet<PathBuf>) {
        let name = &*self.configured.name;
        let (mut goes, mut stays) = (Vec::new(), Vec::new());
        let (mut unknown, mut others, mut elsewhere) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        for left in Left::of(&self.configured, target, &self.records.listed(name), all_stay) {
            match left {
                Left::Goes(template) => goes.push(template),
                Left::Stays(template) => stays.push(template),
                Left::Others { file, was_to_go } => {
                    if was_to_go {
                        let file = file.display();
                        warn!(target = name, %file, "its item is gone, and it stays: it is not what was put there");
                    }
                    others.insert(file);
                }
                Left::Elsewhere(file) => {
                    if !self.unknown.contains(&file) {
                        elsewhere.push(file.display().to_string());
                    }
                    unknown.insert(file);
                }
                Left::Unknown(file, error) => {
                    if let Some(error) = error {
                        let file = file.display();
                        warn!(target = name, %file, %error, "its item is gone, and it cannot be looked at");
                    }
                    unknown.insert(file);
                }
            }
        }
        if !elsewhere.is_empty() {
            let files = crate::log::listed(&elsewhere);
            warn!(target = name, files, "files of items of an earlier `dest` stay; remove them if they are not wanted");
        }
        self.records.forget_items(name, &others);
        stays.append(&mut goes);
        (stays, unknown)
    }

    /// Notes which files of items are there for good.
    fn keep_items(&self, hashes: &Hashes) {
        if self.has_items() {
            self.records.keep_items(&self.target.name, hashes, |path| self.unknown.contains(path));
        }
    }

    /// Notes that files of items are about to be written, or hold already what would be.
    fn add_items(&self, mut written: Hashes) {
        if self.has_items() {
            let items = self.target.templates.iter().filter(|template| template.writes == Writes::Item);
            let items: HashSet<&Path> = items.map(|template| template.dest.as_path()).collect();
            written.retain(|path, _| items.contains(path.as_path()));
            self.records.add_items(&self.target.name, written);
        }
    }

    /// The same without the files that are gone, once they are gone for good; how many are left.
    pub(super) fn without_gone(&self) -> (Self, usize) {
        let left: Vec<Template> =
            self.target.templates.iter().filter(|template| template.writes != Writes::Gone).cloned().collect();
        let count = left.len();
        if count == self.target.templates.len() {
            return (self.clone(), count);
        }
        let target = Arc::new(Target { templates: left, ..Target::clone(&self.target) });
        (Self { target, ..self.clone() }, count)
    }

    /// Goes over to the files of the task before, as long as nothing is rendered.
    pub(super) fn of_task_before(&self, before: &Target) -> Self {
        if !self.has_items() {
            return self.clone();
        }
        let templates = before.templates.clone();
        let unremembered = templates.iter().map(|_| AtomicBool::new(true)).collect();
        let target = Arc::new(Target { templates, ..Target::clone(&self.configured) });
        Self { target, unremembered, ..self.clone() }
    }

    /// The destinations as they are configured, in the order of the templates.
    pub(super) fn configured_destinations(&self) -> Vec<PathBuf> {
        self.configured.templates.iter().map(|template| template.dest.clone()).collect()
    }

    /// Whether there is nothing at one of the destinations. Of items nothing is known before the first render but what an
    /// earlier life has written.
    pub(super) fn lacks_a_file(&self) -> bool {
        let is_missing = |file: &Path| matches!(file.try_exists(), Ok(false));
        let is_first = self.has_items() && Arc::ptr_eq(&self.target, &self.configured);
        apply::lacks_a_file(&self.target) || is_first && self.records.listed(&self.target.name).files().any(is_missing)
    }

    /// Whether the content of the file at this index is not to be kept on the disk.
    fn is_unremembered(&self, index: usize) -> bool {
        self.unremembered.get(index).is_some_and(|unremembered| unremembered.load(Ordering::Relaxed))
    }

    /// The next files show what they should from answers of which some are not to be remembered, or none are.
    pub(super) fn note_unremembered(&self, unremembered: &[bool]) {
        for (noted, _) in self.unremembered.iter().zip(unremembered).filter(|(_, unremembered)| **unremembered) {
            noted.store(true, Ordering::Relaxed);
        }
    }

    /// Whether there is a process that is told of the files.
    pub(super) fn reloads(&self) -> bool {
        self.target.reload != Reload::None
    }

    /// Whether anything comes after the commit. Otherwise nothing can be owed, and there is no record.
    pub(super) fn settles(&self) -> bool {
        self.reloads() || self.target.verify.is_some()
    }

    /// Whether the files are looked at once they are in place.
    pub(super) fn verifies(&self) -> bool {
        self.target.verify.is_some() && !self.no_check
    }

    /// Stages, and commits unless a check is due, one of the files that are `unproven` would replace another, or these
    /// files were refused before. They come in the place of what was `put` there last, as far as that is known.
    pub(super) fn stage(
        &self,
        rendered: &[Bytes],
        unproven: &[bool],
        refused_by_verify: Option<&Hashes>,
        put: Option<Hashes>,
        stop: &CancellationToken,
    ) -> Result<Reached, Failure> {
        let staged = Staged::stage(&self.target, rendered)?.over(put);
        if self.has_items() {
            staged.refuse_strangers(&self.target, &self.configured, &self.records.listed(&self.target.name))?;
        }
        if unproven.iter().enumerate().any(|(index, unproven)| *unproven && staged.replaces(index)) {
            return Ok(Reached::Held);
        }
        let hashes = staged.hashes();
        if refused_by_verify == Some(&hashes) {
            return Ok(Reached::RefusedByVerify);
        }
        if self.settles()
            && let Judgement::Refused { is_open } = self.records.judge(&self.target.name, &hashes, &self.terms())
        {
            return Ok(Reached::Refused { is_open, refused: self.refused() });
        }
        if staged.is_unchanged() {
            return Ok(Reached::InPlace(hashes, staged.places()));
        }
        // What goes to the process first, goes there before the files are in place.
        if matches!(self.target.reload, Reload::Haproxy(_)) {
            return Ok(Reached::Unchecked(staged));
        }
        if self.no_check {
            return self.commit(staged.skip_check(), stop);
        }
        match staged.without_check(&self.target, self.reloads()) {
            Ok(checked) => self.commit(checked, stop),
            Err(staged) => Ok(Reached::Unchecked(staged)),
        }
    }

    pub(super) fn commit(&self, mut checked: Checked, stop: &CancellationToken) -> Result<Reached, Failure> {
        if stop.is_cancelled() {
            return Ok(Reached::Stopped);
        }
        if self.has_items() {
            // A check takes its time, and what was ours before it may be somebody else's by now.
            let listed = self.records.listed(&self.target.name);
            checked.sparing(|file| matches!(listed.look(file), Ok(Look::Ours | Look::Nothing)));
            let strangers = checked.strangers(&self.target, &listed);
            if !strangers.is_empty() {
                let files: Vec<String> = strangers.iter().map(|file| file.display().to_string()).collect();
                let (target, files) = (&*self.target.name, crate::log::listed(&files));
                warn!(target, files, "files of items replace files of which is not known who wrote them");
            }
        }
        if self.settles() {
            self.records.before_commit(&self.target.name, &self.replaced(&checked));
        }
        self.add_items(checked.hashes());
        if self.verifies() {
            return Ok(Reached::Unverified(checked.try_out()?));
        }
        let committed = checked.commit()?;
        if !self.settles() {
            self.keep_items(committed.hashes());
        }
        Ok(Reached::Committed(committed))
    }

    /// The files in place with their hashes, where the process is known to run exactly these.
    pub(super) fn that_run(&self) -> Option<InForce> {
        let read =
            |template: &Template| Some((template.dest.clone(), Bytes::from(std::fs::read(&template.dest).ok()?)));
        let files: Vec<_> = self.target.templates.iter().map(read).collect::<Option<_>>()?;
        let hashes = files.iter().map(|(path, bytes)| (path.clone(), format!("{:x}", Sha256::digest(bytes)))).collect();
        let is_settled = self.records.owed(&self.target.name, &hashes, false) == Owed::Settled;
        is_settled.then(|| InForce { hashes, bytes: files.into_iter().map(|(_, bytes)| bytes).collect() })
    }

    /// The first file that is to be there and is not.
    pub(super) fn first_missing(&self) -> Option<PathBuf> {
        let is_missing = |template: &&Template| matches!(template.dest.try_exists(), Ok(false));
        let wanted = |template: &&Template| matches!(template.writes, Writes::One | Writes::Item);
        self.target.templates.iter().filter(wanted).find(is_missing).map(|template| template.dest.clone())
    }

    /// What a commit replaces.
    fn replaced<'a>(&'a self, checked: &'a Checked) -> Vec<Live<'a>> {
        checked.replaced(&self.target, |index| self.is_unremembered(index))
    }

    /// Puts these bytes in place again, which were there before; none where only owner or mode were to be put right. They
    /// were checked when they came there first. The process may have read what it finds instead, so from now on a reload
    /// is owed, after a crash too.
    pub(super) fn repair(&self, bytes: &[Bytes]) -> Result<Option<Committed>, Failure> {
        let staged = Staged::stage(&self.target, bytes)?;
        if staged.is_unchanged() {
            return Ok(None);
        }
        let checked = staged.skip_check();
        if self.settles() {
            self.records.before_commit(&self.target.name, &self.replaced(&checked));
            self.begin();
        }
        Ok(Some(checked.commit()?))
    }

    /// Takes the files that were found in place for what the process runs if nothing says otherwise; whether a reload
    /// is owed.
    pub(super) fn adopt(&self, hashes: &Hashes) -> bool {
        self.add_items(hashes.clone());
        if !self.settles() {
            self.keep_items(hashes);
            return false;
        }
        let owed = self.records.owed(&self.target.name, hashes, true);
        if owed != Owed::Owed {
            self.settle(hashes);
        }
        owed == Owed::Owed
    }

    /// A reload begins; what the process ran until now.
    pub(super) fn begin(&self) -> Process {
        self.records.begin(&self.target.name)
    }

    /// The process runs the files that are in place.
    pub(super) fn settle(&self, hashes: &Hashes) {
        let name = &self.target.name;
        self.keep_items(hashes);
        let mut settling = self.records.settling(name, hashes);
        let kept = apply::each_live(&self.target, |index| self.is_unremembered(index), |live| settling.keep(live));
        if let Err(error) = kept {
            tracing::warn!(target = &**name, "the files that are confirmed cannot be kept: {error}");
            settling.keep_nothing();
        }
        settling.confirm();
    }

    /// The earlier files are to be put back once more. Where their content `is_other` by now, the process may have read that.
    pub(super) fn go_back_again(&self, is_other: bool) {
        if is_other {
            self.begin();
        }
        self.records.go_back(&self.target.name);
    }

    /// The process refuses these files; `took` and `before` as for [`Records::refuse`].
    pub(super) fn refuse(&self, hashes: &Hashes, refused: Refused, took: bool, before: Process) {
        self.records.refuse(&self.target.name, (hashes, &self.terms()), refused, took, before);
    }

    /// Why the process refused the files that it refused last, where that is known.
    pub(super) fn refused(&self) -> Option<Refused> {
        self.records.refused(&self.target.name)
    }

    /// Puts the earlier files in place of those that are not wanted.
    pub(super) fn go_back(&self, refused_by_verify: Option<&Hashes>) -> Result<WentBack, GoBackError> {
        let version = self.records.version(&self.target.name);
        let Earlier { staged, staying } = Earlier::stage(&self.target, &self.records)?;
        let hashes = staged.hashes();
        if refused_by_verify == Some(&hashes) || self.records.is_refused(&self.target.name, &hashes) {
            return Err(GoBackError::Lost(match version {
                Version::Confirmed => "they are the last confirmed ones".to_owned(),
                Version::Found => {
                    "none were confirmed yet, and nothing was there before liveconf first wrote".to_owned()
                }
            }));
        }
        Ok(WentBack { committed: staged.skip_check().commit()?, version, staying })
    }

    /// Stands for how the files are looked at, and the process told of them. What was refused is tried again when that is
    /// another; a program of another version may say the same in another way, and then tries once more, too.
    fn terms(&self) -> String {
        let Target { templates, check, verify, reload, process, confirm, .. } = &*self.configured;
        let checks: Vec<_> = templates.iter().map(|template| &template.check).collect();
        format!("{:?}", (checks, check, verify, reload, process, confirm))
    }
}
