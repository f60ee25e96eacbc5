//! Apply: from rendered bytes to checked files and a reloaded process.
//!
//! The types make the order unbreakable:
//!
//! ```text
//! Staged::stage ─▶ Staged ─▶ check ─▶ Checked ─▶ try out ─▶ Provisional ─▶ verify ─▶ Committed ─▶ tell ─▶ Told
//!     (dropped: its temporary files are gone)     (dropped: the old files are back)
//! ```
//!
//! - [`Staged`]: every file of the target is beside its destination with its final owner and mode, on the disk and not
//!   yet visible, or was found unchanged.
//! - [`Checked`]: the checks agreed. It is the only thing that can be committed.
//! - [`Provisional`]: all files are in place, and the old ones are at hand until [`verify`](verify()) has looked at the
//!   live ones. Without `verify` a commit goes without it.
//! - [`Committed`]: all files are in place.
//! - [`Told`]: what became of the process: the [`reload`] and what [`confirm`] saw of it.
//!
//! [`Records`] remember across restarts where each target stands: what its process confirmed, whether it is
//! still owed a reload, what it refused, and the version of its files to go back to, which [`Earlier`] stages.
//! Only the `write` module renames or writes a destination.

mod check;
mod claim;
mod commit;
pub mod confirm;
mod destination;
mod drift;
mod error;
mod http;
mod metadata;
mod missing;
mod placeholder;
mod record;
mod go_back;
mod refused;
pub mod reload;
mod standing;
mod sweep;
mod tell;
mod transaction;
mod verify;
mod write;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use claim::{Claims, Taken};
pub use commit::{Committed, Provisional};
pub use drift::{Drifted, Inspection, Wrong};
pub use error::{ApplyError, ErrorKind};
pub use go_back::{Earlier, GoBackError, each_live};
pub use metadata::look_up_owner;
pub use missing::{beside_what_is_there, lacks_a_file};
pub use record::{Held, Listed, Live, Lock, Look, Records};
pub use refused::{By, Refused};
pub use standing::{Judgement, Owed, Process, Version};
pub use sweep::sweep;
pub use tell::{Told, tell};
pub use transaction::{Checked, Staged};
pub use verify::verify;

/// The content of each destination of a target, as hexadecimal SHA-256, by its configured path.
pub type Hashes = BTreeMap<PathBuf, String>;

/// Where each destination of a target is, behind all symlinks, by its configured path.
pub type Places = BTreeMap<PathBuf, PathBuf>;
