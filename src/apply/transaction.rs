//! The files of a target as one transaction: staged, checked, committed, all or none (FAULTS F-11).

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::Hashes;
use super::check::{Checking, is_due};
use super::destination::{Destination, Folder, mount_point};
use super::error::{ApplyError, Subject};
use super::metadata::Metadata;
use super::placeholder::Paths;
use super::write::{Placed, Temporary, overwrite, scratch, sync_folder, truncate};
use crate::config::{Target, Template};
use crate::process::{BootTime, Context};
use crate::protection::Protection;

/// Every file of a target, found unchanged or written beside its destination: complete, on the disk, with its final
/// owner and mode, and not visible yet. Dropping it removes what was written.
#[derive(Debug)]
pub struct Staged {
    target: Arc<str>,
    files: Vec<File>,
}

/// Staged files whose checks have agreed.
#[derive(Debug)]
pub struct Checked(Staged);

/// A target whose files are in place.
#[derive(Debug, Clone)]
pub struct Committed {
    changed: Vec<PathBuf>,
    hashes: Hashes,
    at: BootTime,
}

/// One file of a target.
#[derive(Debug)]
struct File {
    template: String,
    configured: PathBuf,
    secret: bool,
    backup: bool,
    metadata: Metadata,
    hash: String,
    destination: Destination,
    /// None when the destination already holds these bytes.
    new: Option<Temporary>,
}

impl Staged {
    /// Writes what differs beside its destination. `rendered` holds the bytes of each template of `target`, in order.
    ///
    /// A file that holds its bytes already is not written; its owner and mode are put right on the spot where they
    /// differ from what is configured. Blocks on the disk.
    ///
    /// # Panics
    ///
    /// When there are not as many renders as templates.
    pub fn stage(target: &Target, rendered: &[Bytes]) -> Result<Self, ApplyError> {
        assert_eq!(target.templates.len(), rendered.len(), "one render for each template");
        let mut files: Vec<File> = Vec::with_capacity(rendered.len());
        for (template, bytes) in target.templates.iter().zip(rendered) {
            let file = File::stage(template, bytes)?;
            if let Some(twin) = files.iter().find(|other| other.destination.path() == file.destination.path()) {
                let why = format!("it is the same file as `{}`, by a symlink", twin.configured.display());
                return Err(ApplyError::unfit(template, why, "give each template a file of its own"));
            }
            files.push(file);
        }
        // All are written before the first is waited for: the disk takes them together.
        for file in &files {
            if let Some(new) = &file.new {
                new.sync().map_err(|error| ApplyError::write(file.subject(), "bring the file to the disk", error))?;
            }
        }
        Ok(Self { target: Arc::clone(&target.name), files })
    }

    /// Whether every destination holds its bytes already.
    pub fn is_unchanged(&self) -> bool {
        self.files.iter().all(|file| file.new.is_none())
    }

    /// Whether a file that is there already would get other bytes, by the index of its template.
    pub fn replaces(&self, index: usize) -> bool {
        self.files.get(index).is_some_and(|file| file.new.is_some() && file.destination.existing.is_some())
    }

    /// The hash of what each destination holds after a commit.
    pub fn hashes(&self) -> Hashes {
        self.files.iter().map(|file| (file.configured.clone(), file.hash.clone())).collect()
    }

    /// Runs the checks of the changed templates, then that of the target. `reload_follows` says whether a reload comes
    /// after the commit; some checks are only for then. When nothing changed nothing is run.
    pub async fn check(self, target: &Target, context: &Context, reload_follows: bool) -> Result<Checked, ApplyError> {
        let Some(first) = self.files.iter().find(|file| file.new.is_some()) else { return Ok(Checked(self)) };
        let paths = Paths {
            staged: self.files.iter().map(File::staged_path).collect(),
            destinations: self.files.iter().map(|file| file.configured.clone()).collect(),
            wrapper: None,
        };
        for (file, template) in self.files.iter().zip(&target.templates) {
            if let (Some(check), Some(new)) = (&template.check, &file.new)
                && is_due(check, reload_follows)
            {
                let beside = (new.folder(), file.destination.name.as_os_str());
                let checking = Checking { check, subject: file.subject().to_string(), secret: file.secret, beside };
                checking.run(paths.clone(), context).await?;
            }
        }
        if let (Some(check), Some(new)) = (&target.check, &first.new)
            && is_due(check, reload_follows)
        {
            let beside = (new.folder(), first.destination.name.as_os_str());
            let secret = self.files.iter().any(|file| file.secret);
            let checking = Checking { check, subject: format!("target `{}`", self.target), secret, beside };
            checking.run(paths, context).await?;
        }
        Ok(Checked(self))
    }

    /// Takes the files for checked where none of their checks is due, and gives them back where one is.
    pub fn without_check(self, target: &Target, reload_follows: bool) -> Result<Checked, Self> {
        let of_templates = self.files.iter().zip(&target.templates).filter(|(file, _)| file.new.is_some());
        let mut checks = of_templates.filter_map(|(_, template)| template.check.as_ref()).chain(&target.check);
        if checks.any(|check| is_due(check, reload_follows)) { Err(self) } else { Ok(Checked(self)) }
    }

    /// Takes the files unchecked, because the operator said so.
    pub fn skip_check(self) -> Checked {
        Checked(self)
    }
}

impl Checked {
    /// The hash of what each destination holds after a commit.
    pub fn hashes(&self) -> Hashes {
        self.0.hashes()
    }

    /// Puts every changed file in the place of the old one. When one of them fails, those before it are put back: all or
    /// none, while we live. Blocks on the disk.
    pub fn commit(self) -> Result<Committed, ApplyError> {
        let hashes = self.0.hashes();
        let mut files: Vec<File> = self.0.files.into_iter().filter(|file| file.new.is_some()).collect();
        let changed = files.iter().map(|file| file.configured.clone()).collect();
        // Writing into a file fails more easily than a rename, and is taken back less surely.
        files.sort_by_key(|file| file.destination.is_mount_point);
        let last = files.len().saturating_sub(1);
        let mut placed: Vec<(File, Placed)> = Vec::with_capacity(files.len());
        for (index, mut file) in files.into_iter().enumerate() {
            let keep = file.backup || index != last;
            match file.place(keep) {
                Ok(Some(done)) => placed.push((file, done)),
                Ok(None) => {}
                Err(error) => return Err(undo(placed, error)),
            }
        }
        let at = BootTime::now();
        finish(&self.0.target, placed);
        Ok(Committed { changed, hashes, at })
    }
}

/// Puts back what is in place already, the last first.
fn undo(placed: Vec<(File, Placed)>, mut error: ApplyError) -> ApplyError {
    for (file, placed) in placed.into_iter().rev() {
        if let Err(failure) = placed.undo() {
            error = error.noting(&format!("`{}` could not be put back: {failure}", file.configured.display()));
        }
    }
    error
}

/// Lets go of the old files or makes them backups, and makes the new names last. The new files are visible by now and
/// the process is told of them whatever happens here, so that it never stays behind its files.
fn finish(target: &str, placed: Vec<(File, Placed)>) {
    let mut folders: Vec<(Arc<Folder>, PathBuf)> = Vec::with_capacity(placed.len());
    for (file, placed) in placed {
        let folder = Arc::clone(placed.folder());
        if !folders.iter().any(|(other, _)| other.path == folder.path) {
            folders.push((folder, file.configured.clone()));
        }
        let backup = file.backup.then(|| file.destination.backup_name());
        if let Err(error) = placed.finish(backup.as_deref()) {
            let path = file.configured.display();
            tracing::error!(target, file = %path, %error, "the file that was there before could not be kept as a backup");
        }
    }
    for (folder, file) in folders {
        if let Err(error) = sync_folder(&folder) {
            tracing::error!(target, file = %file.display(), %error, "the file is in place, but may be lost in a power cut");
        }
    }
}

impl Committed {
    /// The configured paths of the files that changed.
    pub fn changed(&self) -> &[PathBuf] {
        &self.changed
    }

    /// The hash of what each destination holds now.
    pub fn hashes(&self) -> &Hashes {
        &self.hashes
    }

    /// The moment at which the last file was in place: a process that started after it has read them all.
    pub fn at(&self) -> BootTime {
        self.at
    }
}

impl File {
    fn stage(template: &Template, bytes: &[u8]) -> Result<Self, ApplyError> {
        let destination = Destination::resolve(template)?;
        let existing = destination.existing.as_ref();
        let metadata = Metadata::of(template, existing.map(|existing| &existing.stat))?;
        let failed = |step| move |error: std::io::Error| ApplyError::write(template, step, error);
        let new = if destination.holds(bytes).map_err(failed("read the file"))? {
            if let Some((stat, file)) = existing.and_then(|existing| Some((&existing.stat, existing.file.as_ref()?)))
                && metadata.put_right(template.into(), file, stat)?
            {
                tracing::info!(file = %template.dest.display(), "put owner and mode of the file right");
            }
            None
        } else if Protection::Staging.is_off() {
            truncate(&destination, bytes).map_err(failed("write into the file"))?;
            None
        } else {
            if template.backup {
                destination.refuse_backup(template)?;
            }
            Some(write(template, &destination, metadata, bytes)?)
        };
        Ok(Self {
            template: template.name.clone(),
            configured: template.dest.clone(),
            secret: template.secret,
            backup: template.backup,
            metadata,
            hash: format!("{:x}", Sha256::digest(bytes)),
            destination,
            new,
        })
    }

    fn subject(&self) -> Subject<'_> {
        Subject { template: &self.template, destination: &self.configured }
    }

    /// Where a check finds the content: a file that did not change stands for itself.
    fn staged_path(&self) -> PathBuf {
        self.new.as_ref().map_or_else(|| self.configured.clone(), Temporary::path)
    }

    /// Puts the new file in place, if there is one.
    fn place(&mut self, keep: bool) -> Result<Option<Placed>, ApplyError> {
        let Some(new) = self.new.take() else { return Ok(None) };
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

/// Writes `bytes` beside the destination.
fn write(
    template: &Template,
    destination: &Destination,
    metadata: Metadata,
    bytes: &[u8],
) -> Result<Temporary, ApplyError> {
    let failed = |step| move |error: std::io::Error| ApplyError::write(template, step, error);
    let folder = if destination.is_mount_point {
        scratch(destination).map_err(failed("create a file beside it"))?
    } else {
        Arc::clone(&destination.folder)
    };
    let mut new = Temporary::create(&folder, &destination.name).map_err(failed("create a file beside it"))?;
    new.write(bytes).map_err(failed("write the new file"))?;
    if !destination.is_mount_point {
        let existing = destination.existing.as_ref().and_then(|existing| existing.file.as_ref());
        metadata.give(template.into(), new.file(), existing)?;
    }
    new.verify(bytes).map_err(failed("read the new file back"))?;
    Ok(new)
}
