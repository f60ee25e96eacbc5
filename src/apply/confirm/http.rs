//! Confirmed by the answer to an HTTP request.

use bytes::Bytes;

use super::probe::Failed;
use crate::apply::http::{Missed, Shown, send};
use crate::config::Http;

/// The most of a body that is looked through.
const LIMIT: usize = 1 << 20;

/// Asks once. A redirect is an answer like any other, and not followed.
pub(super) async fn attempt(http: &Http) -> Result<(), Failed> {
    let started = tokio::time::Instant::now();
    let answer = send(&http.request, Bytes::new()).await.map_err(|missed| match missed {
        Missed::Absent(reason) | Missed::Failed(reason) => Failed::Yet(reason),
    })?;
    let (status, shown) = (answer.status, Shown(&http.request));
    if !http.status.iter().any(|range| range.contains(&status)) {
        return Err(Failed::Yet(format!("`{shown}` answers {status}")));
    }
    let Some(text) = &http.body else { return Ok(()) };
    let body = answer.beginning(LIMIT, http.request.timeout.saturating_sub(started.elapsed())).await;
    // What the body holds may come from a registry, so it is not told.
    if contains(&body, text.as_bytes()) {
        Ok(())
    } else {
        Err(Failed::Yet(format!("`{shown}` answers {status} without the text that `body` asks for")))
    }
}

fn contains(body: &[u8], text: &[u8]) -> bool {
    text.is_empty() || body.windows(text.len()).any(|window| window == text)
}
