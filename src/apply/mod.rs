//! Apply: from rendered bytes to checked files and a reloaded process.
//!
//! The types make the order unbreakable:
//!
//! ```text
//! Staged::stage ─▶ Staged ─▶ check ─▶ Checked ─▶ commit ─▶ Committed ─▶ reload ─▶ Outcome
//!     (dropped: its temporary files are gone)
//! ```
//!
//! - [`Staged`]: every file of the target is beside its destination with its final owner and mode, on the disk and not
//!   yet visible, or was found unchanged.
//! - [`Checked`]: the checks agreed. It is the only thing that can be committed.
//! - [`Committed`]: all files are in place. `verify` will stand between it and the reload: it then holds the versions
//!   that were there before until the live files have been looked at.
//! - [`reload::Outcome`]: what became of the process. `confirm` will stand behind it.
//!
//! [`Records`] remember across restarts which targets still owe their process a reload. Only the `write` module
//! renames or writes a destination.

mod check;
mod claim;
pub mod confirm;
mod destination;
mod error;
mod metadata;
mod placeholder;
mod record;
pub mod reload;
mod sweep;
mod transaction;
mod write;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use claim::{Claims, Taken};
pub use error::{ApplyError, ErrorKind};
pub use metadata::look_up_owner;
pub use record::{Held, Lock, Owed, Records};
pub use sweep::sweep;
pub use transaction::{Checked, Committed, Staged};

/// The content of each destination of a target, as hexadecimal SHA-256, by its configured path.
pub type Hashes = BTreeMap<PathBuf, String>;
