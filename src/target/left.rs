//! Files of items that are gone: what becomes of each.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use crate::apply::{Listed, Look};
use crate::config::{Target, Template, Writes};

/// A listed file whose item is gone.
#[derive(Debug)]
pub enum Left {
    /// It goes. It may be away already, and comes back with the others where they are refused.
    Goes(Template),
    /// It stays, and is ours: it goes when its template says so, and its process has read it.
    Stays(Template),
    /// It is what somebody else made of it, or of its place, and not ours any more.
    Others {
        /// The file.
        file: PathBuf,
        /// It would have gone.
        was_to_go: bool,
    },
    /// It is of an earlier `dest` and still there: it stays, and stays listed for the day on which that `dest` comes back.
    Elsewhere(PathBuf),
    /// Nobody knows, so it stays listed; why, where it is more than a folder that is away.
    Unknown(PathBuf, Option<io::Error>),
}

impl Left {
    /// What becomes of each listed file of the target that is `configured` and none of those that were rendered, which
    /// `spread` has. All stay where they are to `stay`. Reads these files.
    pub fn of(configured: &Target, spread: &Target, listed: &Listed, stay: bool) -> Vec<Self> {
        let wanted: HashSet<&Path> = spread.templates.iter().map(|template| template.dest.as_path()).collect();
        let left = |file: &Path| {
            let mut of = configured.templates.iter().filter(|template| template.writes_to(file));
            let Some(template) = of.next() else {
                let is_there = matches!(listed.look(file), Ok(Look::Ours | Look::Other));
                return is_there.then(|| Self::Elsewhere(file.to_owned()));
            };
            let goes = std::iter::once(template).chain(of).find(|template| template.removes_what_is_gone());
            let file = file.to_owned();
            Some(match (listed.look(&file), goes) {
                (Ok(Look::Away), _) => Self::Unknown(file, None),
                (Err(error), _) => Self::Unknown(file, Some(error)),
                (Ok(Look::Ours), None) => Self::Stays(template.left_over(file, Writes::Kept)),
                (Ok(Look::Ours), Some(goes)) if stay => Self::Stays(goes.left_over(file, Writes::Kept)),
                (Ok(Look::Nothing | Look::Other), Some(_)) if stay => Self::Unknown(file, None),
                (Ok(Look::Ours | Look::Nothing), Some(goes)) => Self::Goes(goes.left_over(file, Writes::Gone)),
                (Ok(Look::Nothing | Look::Other), goes) => Self::Others { file, was_to_go: goes.is_some() },
            })
        };
        listed.files().filter(|file| !wanted.contains(file)).filter_map(left).collect()
    }
}
