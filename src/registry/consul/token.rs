//! The token that reads are sent with, which may change while the program runs.

use std::path::PathBuf;

use reqwest::header::HeaderValue;
use tokio::sync::watch;
use tracing::{info, warn};

use super::config::Config;
use crate::file_watch::{FileWatch, POLL_INTERVAL};
use crate::registry::Outage;
use crate::secret::read_failure;

/// The present token and the file that it comes from.
#[derive(Debug)]
pub(super) struct Token {
    file: Option<PathBuf>,
    current: watch::Sender<Option<HeaderValue>>,
    files: FileWatch,
}

impl Token {
    /// The token of the configuration, read from its file where there is one.
    pub(super) async fn open(config: &Config) -> Result<Self, Outage> {
        let mut files = FileWatch::new(POLL_INTERVAL);
        files.follow(config.token_file.clone()).await;
        let token = match (&config.token_file, &config.token) {
            (Some(file), _) => Some(read(file).await.map_err(Outage)?),
            (None, Some(token)) => Some(header(token.reveal()).map_err(|reason| Outage(format!("`token` {reason}")))?),
            (None, None) => None,
        };
        Ok(Self { file: config.token_file.clone(), current: watch::Sender::new(token), files })
    }

    /// The token as it changes.
    pub(super) fn follow(&self) -> watch::Receiver<Option<HeaderValue>> {
        self.current.subscribe()
    }

    /// Reads the file of the token of `registry` again whenever it changes. Does not end. Safe to cancel.
    pub(super) async fn keep(&mut self, registry: &str) {
        let Some(file) = self.file.clone() else { return std::future::pending().await };
        loop {
            self.files.changed().await;
            match read(&file).await {
                Ok(token) => {
                    let changed = self.current.send_if_modified(|current| {
                        let differs = current.as_ref() != Some(&token);
                        *current = Some(token);
                        differs
                    });
                    if changed {
                        info!(registry, file = %file.display(), "the token of Consul was read anew");
                    }
                }
                Err(reason) => warn!(registry, "the last token of Consul stays in use: {reason}"),
            }
        }
    }
}

async fn read(file: &std::path::Path) -> Result<HeaderValue, String> {
    let shown = file.display();
    let text = tokio::fs::read_to_string(file)
        .await
        .map_err(|error| format!("the token file `{shown}` cannot be read: {}", read_failure(file, &error)))?;
    header(text.trim()).map_err(|reason| format!("the token file `{shown}` {reason}"))
}

fn header(token: &str) -> Result<HeaderValue, &'static str> {
    if token.is_empty() {
        return Err("is empty");
    }
    let mut value = HeaderValue::from_str(token).map_err(|_| "holds characters that no token has")?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_line_and_never_shown() {
        let token = header("hunter2").unwrap();
        assert_eq!(token.as_bytes(), b"hunter2");
        assert!(!format!("{token:?}").contains("hunter2"));
        assert!(header("").is_err());
        assert!(header("a\nb").is_err());
    }
}
