//! Which files of a target are missing, for answers that may make files and replace none.

use std::fs;
use std::io::ErrorKind;

use bytes::Bytes;

use super::error::ApplyError;
use crate::config::{Target, Template, Writes};

/// Whether there is nothing at one of the destinations. Blocks on the disk.
pub fn lacks_a_file(target: &Target) -> bool {
    // Where that cannot be told, a file could not be put there either.
    let is_wanted = |template: &&Template| matches!(template.writes, Writes::One | Writes::Item);
    target.templates.iter().filter(is_wanted).any(|template| matches!(template.dest.try_exists(), Ok(false)))
}

/// Of each file what is there, and what was rendered of it where nothing is. Blocks on the disk.
pub fn beside_what_is_there(target: &Target, rendered: Vec<Bytes>) -> Result<Vec<Bytes>, ApplyError> {
    let files = target.templates.iter().zip(rendered).map(|(template, bytes)| match fs::read(&template.dest) {
        Ok(there) => Ok(there.into()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(bytes),
        Err(error) => Err(ApplyError::write(template, "read the file", error)),
    });
    files.collect()
}
