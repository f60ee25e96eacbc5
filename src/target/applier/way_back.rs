//! The way back: files that were refused make room for the earlier ones, and it is noted what is in place instead.

use std::fmt;
use std::path::PathBuf;
use std::time::SystemTime;

use tracing::warn;

use super::{Applier, Failure, InPlace, paths};
use crate::apply::reload::Outcome;
use crate::apply::{By, Committed, GoBackError, Hashes, Inspection, Refused, Told, Version};
use crate::log::listed;
use crate::target::files::{Files, WentBack};

/// Files that were refused.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    /// By whom, and why.
    pub(super) reason: String,
    /// What is in place instead.
    pub(super) instead: String,
    /// The files, when it was `verify` that refused them. What the process refused is in its record.
    pub(super) by_verify: Option<Hashes>,
    /// What is kept of it; none where an earlier life has kept nothing.
    pub(super) refused: Option<Refused>,
}

impl Refusal {
    /// `verify` said no of these files, or could not be asked.
    pub(super) fn by_verify(reason: String, why: &str, files: Option<Hashes>) -> Self {
        Self { reason, instead: String::new(), by_verify: files, refused: Some(Refused::now(By::Verify, why)) }
    }

    /// The process said no.
    pub(super) fn of_process(reason: &str, refused: Refused) -> Self {
        let reason = format!("the process refuses the new files: {reason}");
        Self { reason, instead: String::new(), by_verify: None, refused: Some(refused) }
    }

    /// The process said no of `what` in an earlier life, or before configuration was loaded anew.
    pub(super) fn earlier(what: &str, refused: Option<Refused>) -> Self {
        let when = refused.as_ref().map(|refused| format!(", {refused}")).unwrap_or_default();
        let reason = format!(
            "the process refused {what} before{when}; they are tried again when the data or the configuration of the \
             target change"
        );
        Self { reason, instead: String::new(), by_verify: None, refused }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)?;
        f.write_str(&self.instead)
    }
}

impl Applier {
    /// Puts the earlier files in place of those that are refused, and tells the process of them if it may run anything
    /// else.
    pub(super) async fn go_back(&mut self) -> Result<Outcome, Failure> {
        self.is_going_back = true;
        self.owed = false;
        if self.refusal.is_none() {
            let refused = self.on_thread(Files::refused).await?;
            self.refusal = Some(Refusal::earlier("newer files", refused));
        }
        let by_verify = self.refusal.as_ref().and_then(|refusal| refusal.by_verify.clone());
        let WentBack { committed, version, staying } =
            match self.on_thread(move |files| files.go_back(by_verify.as_ref())).await? {
                Ok(went_back) => went_back,
                Err(GoBackError::Lost(why)) => {
                    // No other try will help.
                    self.is_going_back = false;
                    return Ok(Outcome::Rejected(self.refused(&format!("; they stay in place, since {why}"))));
                }
                Err(GoBackError::Apply(error)) => {
                    let refused = self.refused("; they are in place until those from before can be put back");
                    return Ok(Outcome::Failed(format!("{refused}: {}", error.in_line())));
                }
            };
        let (hashes, at) = (committed.hashes().clone(), committed.at());
        let now = hashes.clone();
        let is_owed = self.on_thread(move |files| files.records.went_back(&files.target.name, &now)).await?;
        self.is_going_back = false;
        self.journal.restored = Some(SystemTime::now());
        self.journal.revision = self.journal.taken_revision;
        self.owed = is_owed && self.files.reloads();
        self.committed = Some(InPlace {
            hashes: hashes.clone(),
            at,
            is_verified: true,
            earlier: Some(version),
            asks_record: false,
            bytes: None,
        });
        self.inspection = Inspection::new(committed.places().clone());
        let staying = if staying.is_empty() {
            String::new()
        } else {
            format!(", but for what was not there then and stays: {}", paths(&staying))
        };
        let what = match version {
            Version::Confirmed => "the last confirmed version is back",
            Version::Found => "what was there before liveconf first wrote is back",
        };
        // Of many refusals in a short time the log is not told of each. This line says what it was in any case.
        let refused = self.refused_last().map(Refused::in_short);
        warn!(target = &*self.target().name, refused, "{what}: {}{staying}", restored(&committed));
        let refused = self.refused(&format!("; {version} are back{staying}"));
        if !self.owed || self.no_reload {
            return Ok(Outcome::Rejected(refused));
        }
        Ok(Outcome::Rejected(match self.tell(at).await?.0 {
            Told::Taken => {
                self.settled(hashes).await?;
                refused
            }
            Told::NotRunning(why) => format!("{refused}, and the process was not told of them yet: {why}"),
            Told::Failed(why) => format!("{refused}, and it did not work to tell the process of them: {why}"),
            Told::Refused { reason, .. } => format!("{refused}, and the process refuses these as well: {reason}"),
        }))
    }

    /// Who refused the newest files, when and why, as far as that is known.
    pub fn refused_last(&self) -> Option<&Refused> {
        self.refusal.as_ref()?.refused.as_ref()
    }

    /// Notes what is in place instead of what was refused; all of it.
    pub(super) fn refused(&mut self, instead: &str) -> String {
        let refusal = self.refusal.get_or_insert_with(|| Refusal::earlier("newer files", None));
        instead.clone_into(&mut refusal.instead);
        refusal.to_string()
    }
}

/// What was put back, for a log line.
fn restored(committed: &Committed) -> String {
    let one = |path: &PathBuf| match committed.hashes().get(path) {
        Some(_) => path.display().to_string(),
        None => format!("{} (removed)", path.display()),
    };
    match committed.changed() {
        [] => "nothing had to be written".to_owned(),
        changed => listed(&changed.iter().map(one).collect::<Vec<_>>()),
    }
}
