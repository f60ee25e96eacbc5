//! The way back: the version of a target's files that its process confirmed last, put in place again.

use std::path::PathBuf;

use super::destination::{Destination, Existing, Folders};
use super::error::ApplyError;
use super::metadata::{Metadata, SECRET_MODE};
use super::record::{Before, Live, Records, Saved, hash};
use super::transaction::{File, New, Staged};
use super::write::Temporary;
use crate::config::{Target, Template, Writes};
use crate::process::make_room;

/// Why the earlier files are not in place.
#[derive(Debug, thiserror::Error)]
pub enum GoBackError {
    /// Nobody knows any more what they held; no other try will help.
    #[error("{0}")]
    Lost(String),
    /// They could not be written; it may work the next time.
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

/// The version to go back to, staged.
#[derive(Debug)]
pub struct Earlier {
    /// Its files.
    pub staged: Staged,
    /// The destinations at which there was nothing then, and that stay as they are all the same: the process may have
    /// started with them.
    pub staying: Vec<PathBuf>,
}

impl Earlier {
    /// Stages what there was at every destination of `target` in the version to go back to: content, owner and mode. A
    /// file that was not there is removed by the commit where the process is known to have run without it; else it stays,
    /// since a command line or an `include` may name it by now. Blocks on the disk.
    pub fn stage(target: &Target, records: &Records) -> Result<Self, GoBackError> {
        make_room(target.templates.len());
        let (mut files, mut staying) = (Vec::with_capacity(target.templates.len()), Vec::new());
        let mut folders = Folders::default();
        for template in &target.templates {
            let file = earlier(&target.name, template, records, &mut folders)?;
            if matches!(records.before(&target.name, &template.dest), Before::Nothing) && file.hash.is_some() {
                staying.push(template.dest.clone());
            }
            files.push(file);
        }
        for file in &files {
            file.sync()?;
        }
        Ok(Self { staged: Staged::of(target, files), staying })
    }
}

/// Every destination of `target` as it is now, one after the other handed to `look`; the content of a file that
/// `is_private`, by the index of its template, is written nowhere else. Blocks on the disk.
pub fn each_live(
    target: &Target,
    is_private: impl Fn(usize) -> bool,
    mut look: impl FnMut(&Live<'_>),
) -> Result<(), ApplyError> {
    let mut folders = Folders::default();
    for (index, template) in target.templates.iter().enumerate() {
        let found = Destination::resolve_in(template, &mut folders)?;
        look(&Live::of(template, found.existing.as_ref(), is_private(index)));
    }
    Ok(())
}

impl<'a> Live<'a> {
    /// The destination of a template, and what is there; that may be private although the template is not secret.
    pub(super) fn of(template: &'a Template, existing: Option<&'a Existing>, is_private: bool) -> Self {
        Self {
            destination: &template.dest,
            file: existing.map(|existing| (existing.stat, existing.file.as_ref())),
            is_private: is_private || template.secret && !template.keep_previous,
        }
    }
}

fn earlier(target: &str, template: &Template, records: &Records, folders: &mut Folders) -> Result<File, GoBackError> {
    let destination = Destination::resolve_in(template, folders)?;
    if template.writes == Writes::Kept {
        return Ok(File::as_it_is(template, destination)?);
    }
    let existing = destination.existing.as_ref();
    let read = |error: std::io::Error| ApplyError::write(template, "read the file", error);
    let now = existing.and_then(|existing| existing.file.as_ref());
    let before = records.before(target, &template.dest);
    let saved = match before {
        Before::AsNow => return Ok(File::as_it_is(template, destination)?),
        Before::Nothing if existing.is_some() && !records.ran_earlier(target) => {
            return Ok(File::as_it_is(template, destination)?);
        }
        Before::Nothing => {
            let metadata = Metadata::of(template, None)?;
            let new = if existing.is_some() { New::Nothing } else { New::Same };
            return Ok(File::new(template, destination, metadata, None, new));
        }
        Before::File(saved) => saved,
    };
    // What was wide before it became secret does not become wide again.
    let is_narrowed = template.secret && template.mode.is_none();
    let mode = if is_narrowed { saved.mode & SECRET_MODE } else { saved.mode };
    let metadata = Metadata::exactly(mode, saved.user, saved.group, template.secret);
    if let (Some(existing), Some(now)) = (existing, now)
        && records.is_same(&saved, now).map_err(read)?
    {
        metadata.put_right(template.into(), now, &existing.stat)?;
        return Ok(File::as_it_is(template, destination)?);
    }
    let content = records.content(target, &template.dest, &saved).map_err(|error| match error.kind() {
        // The state folder may answer again.
        std::io::ErrorKind::TimedOut => ApplyError::write(template, "read the earlier file", error).into(),
        _ => lost(template, &saved, &error),
    })?;
    let hash = hash(&content).map_err(read)?;
    let new = Temporary::with(template, &destination, metadata, |new| new.copy_of(&content))?;
    Ok(File::new(template, destination, metadata, Some(hash), New::File(new)))
}

fn lost(template: &Template, saved: &Saved, error: &std::io::Error) -> GoBackError {
    let path = template.dest.display();
    GoBackError::Lost(if template.secret && !template.keep_previous && !saved.is_kept() {
        format!("the earlier `{path}` is not kept, since it is secret and has no `keep_previous: true`")
    } else {
        format!("the earlier `{path}` is not there any more: {error}")
    })
}
