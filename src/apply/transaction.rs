//! The files of a target as one transaction: staged, checked, committed, all or none (FAULTS F-11).

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::check::{Checking, is_due};
use super::destination::{Destination, Folders, mount_point};
use super::drift::{Drifted, Wrong};
use super::error::{ApplyError, Subject};
use super::metadata::Metadata;
use super::placeholder::Paths;
use super::record::{Live, hash};
use super::write::{Placed, Temporary, overwrite, remove, scratch, truncate};
use super::{Hashes, Listed, Places};
use crate::config::{Target, Template, Writes};
use crate::process::{Context, make_room};
use crate::protection::Protection;

/// Every file of a target, found unchanged or written beside its destination: complete, on the disk, with its final
/// owner and mode, and not visible yet. Dropping it removes what was written.
#[derive(Debug)]
pub struct Staged {
    target: Arc<str>,
    files: Vec<File>,
    /// What was put there last, as far as that is known.
    put: Option<Hashes>,
}

/// Staged files whose checks have agreed.
#[derive(Debug)]
pub struct Checked(Staged);

/// One file of a target.
#[derive(Debug)]
pub(super) struct File {
    /// The name of its template.
    pub(super) template: String,
    /// Its configured path.
    pub(super) configured: PathBuf,
    pub(super) secret: bool,
    /// What it replaces is kept as `DEST.bak`.
    pub(super) backup: bool,
    pub(super) metadata: Metadata,
    /// The hash of what is in place after a commit; none where there is then no file.
    pub(super) hash: Option<String>,
    pub(super) destination: Destination,
    pub(super) new: New,
}

/// What a commit makes of a file.
#[derive(Debug)]
pub(super) enum New {
    /// Nothing: it already holds its bytes.
    Same,
    /// This comes into its place.
    File(Temporary),
    /// It is removed, since there was none.
    Nothing,
}

impl Staged {
    /// Writes what differs beside its destination. `rendered` holds the bytes of each template of `target`, in order; what
    /// stands there for a file whose item is gone does not count.
    ///
    /// A file that holds its bytes already is not written; its owner and mode are put right on the spot where they
    /// differ from what is configured. Blocks on the disk.
    ///
    /// # Panics
    ///
    /// When there are not as many renders as templates.
    pub fn stage(target: &Target, rendered: &[Bytes]) -> Result<Self, ApplyError> {
        assert_eq!(target.templates.len(), rendered.len(), "one render for each template");
        make_room(rendered.len());
        let mut folders = Folders::default();
        let mut files: Vec<File> = Vec::with_capacity(rendered.len());
        let mut by_path: HashMap<PathBuf, usize> = HashMap::with_capacity(rendered.len());
        for (template, bytes) in target.templates.iter().zip(rendered) {
            let file = File::stage(template, bytes, &mut folders)?;
            if let Some(twin) = by_path.insert(file.destination.path(), files.len()) {
                let why = format!("it is the same file as `{}`, by a symlink", files[twin].configured.display());
                return Err(ApplyError::unfit(template, why, "give each template a file of its own"));
            }
            files.push(file);
        }
        for file in files.iter().filter(|file| file.backup) {
            let backup = file.destination.folder.path.join(file.destination.backup_name());
            if let Some(other) = by_path.get(&backup) {
                let why = format!("its backup would replace `{}`", files[*other].configured.display());
                return Err(ApplyError::unfit(file.subject(), why, "leave out `backup`, or give them other names"));
            }
        }
        // All are written before the first is waited for: the disk takes them together.
        for file in &files {
            file.sync()?;
        }
        Ok(Self::of(target, files))
    }

    /// These files of `target`.
    pub(super) fn of(target: &Target, files: Vec<File>) -> Self {
        Self { target: Arc::clone(&target.name), files, put: None }
    }

    /// The same in the place of what was `put` there last: what is otherwise by now was changed by somebody else.
    #[must_use]
    pub fn over(self, put: Option<Hashes>) -> Self {
        Self { put, ..self }
    }

    /// Whether every destination holds its bytes already.
    pub fn is_unchanged(&self) -> bool {
        !self.files.iter().any(File::is_changed)
    }

    /// Whether a file that is there already would get other bytes, by the index of its template.
    pub fn replaces(&self, index: usize) -> bool {
        self.files.get(index).is_some_and(|file| file.is_changed() && file.destination.existing.is_some())
    }

    /// The files of items that would replace what is not among the `listed` ones, by their index.
    pub fn strangers(&self, target: &Target, listed: &Listed) -> Vec<usize> {
        let items = target.templates.iter().enumerate().filter(|(_, template)| template.writes == Writes::Item);
        let replaced: Vec<usize> = items.map(|(index, _)| index).filter(|index| self.replaces(*index)).collect();
        if replaced.is_empty() {
            return replaced;
        }
        let ours: HashSet<&Path> = listed.files().collect();
        replaced.into_iter().filter(|index| !ours.contains(&*self.files[*index].configured)).collect()
    }

    /// Refuses to replace somebody's file by that of an item: one that is not among the `listed` ones, where others of
    /// its template are. Where none of these is listed nothing is known of an earlier life, and all may be ours.
    pub fn refuse_strangers(&self, target: &Target, configured: &Target, listed: &Listed) -> Result<(), ApplyError> {
        let is_known = |path: &Path| {
            let mut of = configured.templates.iter().filter(|template| template.writes_to(path));
            of.any(|template| listed.files().any(|file| template.writes_to(file)))
        };
        let strangers = self.strangers(target, listed);
        let Some(first) = strangers.iter().find(|index| is_known(&self.files[**index].configured)) else {
            return Ok(());
        };
        let why = match strangers.len() - 1 {
            0 => "a file that liveconf did not write is in the place of that of an item".to_owned(),
            more => {
                format!(
                    "a file that liveconf did not write is in the place of that of an item, and so with {more} more"
                )
            }
        };
        let hint = "move it away or remove it, give the item another name, or leave the item out in `for_each`";
        Err(ApplyError::unfit(self.files[*first].subject(), why, hint))
    }

    /// The hash of what each destination holds after a commit.
    pub fn hashes(&self) -> Hashes {
        self.files.iter().filter_map(|file| Some((file.configured.clone(), file.hash.clone()?))).collect()
    }

    /// Where each destination is, behind all symlinks.
    pub fn places(&self) -> Places {
        self.files.iter().map(|file| (file.configured.clone(), file.destination.path())).collect()
    }

    /// Runs the checks of the changed templates, then that of the target. `reload_follows` says whether a reload comes
    /// after the commit; some checks are only for then. When nothing changed nothing is run.
    pub async fn check(self, target: &Target, context: &Context, reload_follows: bool) -> Result<Checked, ApplyError> {
        let Some(first) = self.files.iter().find(|file| file.is_changed()) else { return Ok(Checked(self)) };
        if !self.files.iter().any(|file| matches!(file.new, New::File(_))) {
            // They are still there before the commit, so that a check would only see what it has agreed to.
            tracing::debug!(target = &*self.target, "no check runs: files of items that are gone are all that changes");
        }
        let paths = Paths {
            staged: self.files.iter().map(File::staged_path).collect(),
            destinations: self.files.iter().map(|file| file.configured.clone()).collect(),
            wrapper: None,
        };
        for (file, template) in self.files.iter().zip(&target.templates) {
            if let (Some(check), New::File(new)) = (&template.check, &file.new)
                && is_due(check, reload_follows)
            {
                let beside = (new.folder(), file.destination.name.as_os_str());
                let subject = format!("template `{}`, new file for `{}`", file.template, file.configured.display());
                let checking = Checking { check, what: "check", subject, secret: file.secret, beside };
                checking.run(paths.clone(), context).await?;
            }
        }
        if let (Some(check), New::File(new)) = (&target.check, &first.new)
            && is_due(check, reload_follows)
        {
            let beside = (new.folder(), first.destination.name.as_os_str());
            let secret = self.files.iter().any(|file| file.secret);
            let checking = Checking { check, what: "check", subject: String::new(), secret, beside };
            checking.run(paths, context).await?;
        }
        Ok(Checked(self))
    }

    /// Takes the files for checked where none of their checks is due, and gives them back where one is.
    pub fn without_check(self, target: &Target, reload_follows: bool) -> Result<Checked, Self> {
        let of_templates = self.files.iter().zip(&target.templates).filter(|(file, _)| file.is_changed());
        let mut checks = of_templates.filter_map(|(_, template)| template.check.as_ref()).chain(&target.check);
        if checks.any(|check| is_due(check, reload_follows)) { Err(self) } else { Ok(Checked(self)) }
    }

    /// Takes the files unchecked, because the operator said so.
    pub fn skip_check(self) -> Checked {
        Checked(self)
    }
}

impl Checked {
    /// Every destination that the commit changes, as it is now; `is_private` as for
    /// [`each_live`](super::each_live).
    pub fn replaced<'a>(&'a self, target: &'a Target, is_private: impl Fn(usize) -> bool) -> Vec<Live<'a>> {
        let files = self.0.files.iter().zip(&target.templates).enumerate().filter(|(_, (file, _))| file.is_changed());
        let live = |(index, (file, template)): (usize, (&'a File, &'a Template))| {
            Live::of(template, file.destination.existing.as_ref(), is_private(index))
        };
        files.map(live).collect()
    }

    /// The hash of what each destination holds after a commit.
    pub fn hashes(&self) -> Hashes {
        self.0.hashes()
    }

    /// The configured paths of the files of items that replace what is not among the `listed` ones.
    pub fn strangers(&self, target: &Target, listed: &Listed) -> Vec<&Path> {
        self.0.strangers(target, listed).into_iter().map(|index| &*self.0.files[index].configured).collect()
    }

    /// Lets stay what was to be removed, and is not ours any more, as `is_ours` says of its configured path.
    pub fn sparing(&mut self, is_ours: impl Fn(&Path) -> bool) {
        let going = self.0.files.iter_mut().filter(|file| matches!(file.new, New::Nothing));
        for file in going.filter(|file| !is_ours(&file.configured)) {
            let path = file.configured.display();
            tracing::warn!(file = %path, "its item is gone, and it stays: somebody changed it meanwhile");
            file.new = New::Same;
        }
    }

    /// Where each destination is, behind all symlinks.
    pub(super) fn places(&self) -> Places {
        self.0.places()
    }

    /// What somebody else changed and the commit replaces.
    pub(super) fn drifted(&self) -> Vec<Drifted> {
        let Some(put) = &self.0.put else { return Vec::new() };
        let changed = self.0.files.iter().filter(|file| file.is_changed());
        let drifted = changed.filter_map(|file| Some((file, file.drifted(put.get(&file.configured)?)?)));
        drifted.map(|(file, wrong)| Drifted { file: file.configured.clone(), wrong }).collect()
    }

    /// Its target and its files.
    pub(super) fn into_parts(self) -> (Arc<str>, Vec<File>) {
        (self.0.target, self.0.files)
    }
}

impl File {
    fn stage(template: &Template, bytes: &[u8], folders: &mut Folders) -> Result<Self, ApplyError> {
        let destination = Destination::resolve_in(template, folders)?;
        if template.writes == Writes::Kept {
            return Self::as_it_is(template, destination);
        }
        let existing = destination.existing.as_ref();
        let metadata = Metadata::of(template, existing.map(|existing| &existing.stat))?;
        if template.writes == Writes::Gone {
            let new = if existing.is_some() { New::Nothing } else { New::Same };
            return Ok(Self::new(template, destination, metadata, None, new));
        }
        let failed = |step| move |error: std::io::Error| ApplyError::write(template, step, error);
        let new = if destination.holds(bytes).map_err(failed("read the file"))? {
            if let Some((stat, file)) = existing.and_then(|existing| Some((&existing.stat, existing.file.as_ref()?)))
                && metadata.put_right(template.into(), file, stat)?
            {
                tracing::info!(file = %template.dest.display(), "put owner and mode of the file right");
            }
            New::Same
        } else if Protection::Staging.is_off() {
            truncate(&destination, bytes).map_err(failed("write into the file"))?;
            New::Same
        } else {
            if template.backup {
                destination.refuse_backup(template)?;
            }
            let new = Temporary::with(template, &destination, metadata, |new| new.write(bytes))?;
            new.verify(bytes).map_err(failed("read the new file back"))?;
            New::File(new)
        };
        let hash = Some(format!("{:x}", Sha256::digest(bytes)));
        Ok(Self::new(template, destination, metadata, hash, new))
    }

    /// A file that stays as it is.
    pub(super) fn as_it_is(template: &Template, destination: Destination) -> Result<Self, ApplyError> {
        let existing = destination.existing.as_ref();
        let metadata = Metadata::of(template, existing.map(|existing| &existing.stat))?;
        let now = existing.and_then(|existing| existing.file.as_ref());
        let hash = now.map(hash).transpose();
        let hash = hash.map_err(|error| ApplyError::write(template, "read the file", error))?;
        Ok(Self::new(template, destination, metadata, hash, New::Same))
    }

    /// A file of which `new` is to be made; `hash` is that of what is then there.
    pub(super) fn new(
        template: &Template,
        mut destination: Destination,
        metadata: Metadata,
        hash: Option<String>,
        new: New,
    ) -> Self {
        if matches!(new, New::Same) {
            destination.close();
        }
        Self {
            template: template.name.clone(),
            configured: template.dest.clone(),
            secret: template.secret,
            backup: template.backup,
            metadata,
            hash,
            destination,
            new,
        }
    }

    /// Brings what is written to the disk.
    pub(super) fn sync(&self) -> Result<(), ApplyError> {
        let New::File(new) = &self.new else { return Ok(()) };
        new.sync().map_err(|error| ApplyError::write(self.subject(), "bring the file to the disk", error))
    }

    /// Whether a commit changes it.
    pub(super) fn is_changed(&self) -> bool {
        !matches!(self.new, New::Same)
    }

    /// What is wrong with what is there, where this was `put` there last.
    fn drifted(&self, put: &str) -> Option<Wrong> {
        let Some(existing) = &self.destination.existing else { return Some(Wrong::Gone) };
        let now = hash(existing.file.as_ref()?).ok()?;
        (now != put).then_some(Wrong::Edited)
    }

    fn subject(&self) -> Subject<'_> {
        Subject { template: &self.template, destination: &self.configured }
    }

    /// Where a check finds the content: a file that did not change stands for itself.
    fn staged_path(&self) -> PathBuf {
        match &self.new {
            New::File(new) => new.path(),
            New::Same | New::Nothing => self.configured.clone(),
        }
    }

    /// Makes of the file what is to be made of it, if anything.
    pub(super) fn place(&mut self, keep: bool) -> Result<Option<Placed>, ApplyError> {
        let new = match std::mem::replace(&mut self.new, New::Same) {
            New::Same => return Ok(None),
            New::Nothing => {
                return remove(&mut self.destination)
                    .map_err(|error| ApplyError::write(self.subject(), "remove the file", error));
            }
            New::File(new) => new,
        };
        if self.destination.is_mount_point {
            if let Some(existing) = &self.destination.existing
                && let Some(file) = &existing.file
            {
                self.metadata.put_right(self.subject(), file, &existing.stat)?;
            }
            return overwrite(&new, &self.destination, self.subject()).map(Some);
        }
        self.destination.warn_of_links();
        match new.place(&mut self.destination, keep) {
            Ok(placed) => Ok(Some(placed)),
            Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => Err(mount_point(self.subject())),
            Err(error) => Err(ApplyError::write(self.subject(), "replace the file", error)),
        }
    }
}

impl Temporary {
    /// A new file beside a destination, filled, with its final owner and mode, and read back.
    pub(super) fn with(
        template: &Template,
        destination: &Destination,
        metadata: Metadata,
        fill: impl FnOnce(&mut Self) -> std::io::Result<()>,
    ) -> Result<Self, ApplyError> {
        let failed = |step| move |error: std::io::Error| ApplyError::write(template, step, error);
        let folder = if destination.is_mount_point {
            scratch(destination).map_err(failed("create a file beside it"))?
        } else {
            Arc::clone(&destination.folder)
        };
        let mut new = Self::create(&folder, &destination.name).map_err(failed("create a file beside it"))?;
        fill(&mut new).map_err(failed("write the new file"))?;
        if !destination.is_mount_point {
            let existing = destination.existing.as_ref().and_then(|existing| existing.file.as_ref());
            metadata.give(template.into(), new.file(), existing)?;
        }
        Ok(new)
    }
}
