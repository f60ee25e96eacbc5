//! The process is told of the files that are in place, and what it owes is carried until it has taken them.

use std::time::SystemTime;

use super::way_back::Refusal;
use super::{Applier, Failure, patience};
use crate::apply::reload::Outcome;
use crate::apply::{ApplyError, ErrorKind, Hashes, Process, Refused, Told, tell, verify};
use crate::process::BootTime;
use crate::protection::Protection;
use crate::target::files::Files;

impl Applier {
    /// Tells the process to take the committed files. They count as owed until it has. Where files are not wanted, the
    /// earlier ones are put back first.
    pub async fn pay(&mut self) -> Outcome {
        self.try_to_pay().await.unwrap_or_else(|failure| Outcome::Failed(failure.to_string()))
    }

    pub(super) async fn try_to_pay(&mut self) -> Result<Outcome, Failure> {
        if self.is_going_back {
            return self.go_back().await;
        }
        let Some(in_place) = self.committed.clone() else {
            return Ok(Outcome::Failed("nothing was committed yet".to_owned()));
        };
        if !in_place.is_verified
            && let Err(error) = self.ask_verify().await
        {
            if error.kind() != ErrorKind::Refused {
                return Ok(Outcome::Failed(error.in_line()));
            }
            self.on_thread(|files| files.records.go_back(&files.target.name)).await?;
            let why = error.in_line();
            self.refusal = Some(Refusal::by_verify(why.clone(), &why, Some(in_place.hashes)));
            return self.go_back().await;
        }
        match self.tell(in_place.at).await? {
            (Told::Taken, _) => {
                self.settled(in_place.hashes).await?;
                Ok(Outcome::Taken)
            }
            (Told::NotRunning(reason), _) => Ok(Outcome::NotRunning(reason)),
            (Told::Failed(reason), _) => Ok(Outcome::Failed(reason)),
            (Told::Refused { reason, .. }, _) if Protection::Refusal.is_off() => {
                Ok(Outcome::Failed(format!("the process refuses the new files: {reason}")))
            }
            (Told::Refused { by, reason, took }, before) => {
                // There is nothing to go further back to.
                if let Some(version) = in_place.earlier {
                    return Ok(Outcome::Failed(format!("the process refuses {version} too: {reason}")));
                }
                let (hashes, refused) = (in_place.hashes, Refused::now(by, &reason));
                self.refusal = Some(Refusal::of_process(&reason, refused.clone()));
                self.on_thread(move |files| files.refuse(&hashes, refused, took, before)).await?;
                self.go_back().await
            }
        }
    }

    /// Tells the process of the files that are in place; also what it ran until then.
    pub(super) async fn tell(&mut self, at: BootTime) -> Result<(Told, Process), Failure> {
        self.start_process();
        let before = self.on_thread(Files::begin).await?;
        let began = SystemTime::now();
        #[cfg(test)]
        if let Some(played) = &self.played {
            self.journal.told = Some(began);
            return Ok((played().await, before));
        }
        if self.runs_ahead().await {
            self.journal.told = Some(began);
            return Ok((Told::Taken, before));
        }
        self.note_reload();
        // Processes are told seldom, and a target is to take little memory while none is.
        let telling = Box::pin(tell(self.target(), Some(at), &self.context));
        let told = self.pulse.outside(patience::tell(self.target()), telling).await;
        if told == Told::Taken {
            self.runtime.reloaded();
        }
        // Nobody was told where there is nobody.
        if !matches!(told, Told::NotRunning(_)) {
            self.journal.told = Some(began);
        }
        Ok((told, before))
    }

    pub(super) async fn ask_verify(&self) -> Result<(), ApplyError> {
        let verifying = verify(self.target(), &self.context, self.files.reloads());
        self.pulse.outside(patience::verify(self.target()), verifying).await
    }

    pub(super) async fn settled(&mut self, hashes: Hashes) -> Result<(), Failure> {
        self.on_thread(move |files| files.settle(&hashes)).await?;
        self.forget_what_is_gone();
        self.owed = false;
        self.journal.taken = Some(SystemTime::now());
        self.journal.taken_revision = self.journal.revision;
        Ok(())
    }
}
