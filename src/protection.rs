//! Protections that a test can switch off, to see that it would notice their lack.
//!
//! Builds with debug assertions leave out what `LIVECONF_UNPROTECTED` names, separated by commas. A release build has no
//! such switch.

/// What keeps a fault from doing harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// The record on disk of a reload that is owed.
    Owed,
    /// Consistent reads of Consul, at first and after whatever went wrong.
    Consistent,
    /// The guard against answers that empty an upstream.
    Guard,
    /// Reading everything again when a connection to etcd is made again.
    Relist,
    /// The audit that finds events that etcd lost.
    Audit,
    /// Writing beside the destination, and renaming.
    Staging,
    /// Refusing bytes that the process refused before.
    Refusal,
}

impl Protection {
    /// Its name in the variable.
    fn name(self) -> &'static str {
        match self {
            Self::Owed => "owed",
            Self::Consistent => "consistent",
            Self::Guard => "guard",
            Self::Relist => "relist",
            Self::Audit => "audit",
            Self::Staging => "staging",
            Self::Refusal => "refusal",
        }
    }

    /// Whether a test switched it off.
    pub fn is_off(self) -> bool {
        cfg!(debug_assertions)
            && std::env::var("LIVECONF_UNPROTECTED")
                .is_ok_and(|names| names.split(',').any(|name| name.trim() == self.name()))
    }
}
