//! What can go wrong with one read, sorted by what follows from it.

use std::fmt;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{StatusCode, Url};

use super::config::Clocks;
use super::cursor::jittered;
use super::request::Form;

/// Why a read gave no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nobody answered: refused, reset, timed out, no TLS.
    Away(String),
    /// Consul answers, and has no leader to ask.
    Leaderless(String),
    /// What answers is no Consul, or not where it was looked for.
    NotConsul(String),
    /// The token may not.
    Denied(String),
    /// Consul left out what the token may not read.
    Filtered,
    /// Consul does not understand the question.
    Refused(String),
    /// Consul asks for a pause; with `everywhere` for all that we ask.
    Busy { after: Option<Duration>, everywhere: bool },
    /// Consul failed in a way that says nothing.
    Broken(String),
    /// The answer could not be read.
    Unreadable(String),
    /// The answer is larger than `limits` allow.
    TooLarge(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away(text) => write!(f, "{text}{}", meaning(text)),
            Self::NotConsul(text) => write!(f, "this is no Consul: {text}"),
            Self::Unreadable(text) => f.write_str(text),
            Self::TooLarge(text) => write!(f, "the answer is too large: {text}"),
            Self::Leaderless(text) => write!(f, "no leader: {text}"),
            Self::Denied(text) => write!(f, "not allowed: {text}"),
            Self::Filtered => f.write_str(
                "the token may not read all of it (`X-Consul-Results-Filtered-By-ACLs`); `allow_filtered: true` takes \
                 what is left",
            ),
            Self::Refused(text) => write!(f, "refused: {text}"),
            Self::Busy { everywhere: false, .. } => f.write_str("asked too much of (status 429)"),
            Self::Busy { everywhere: true, .. } => f.write_str("overloaded (status 503)"),
            Self::Broken(text) => write!(f, "failed: {text}"),
        }
    }
}

/// What libraries mean by their errors, for people who only know what they configured.
fn meaning(error: &str) -> &'static str {
    if error.contains("InvalidContentType") {
        " (it speaks no TLS: write the address as `http://`)"
    } else if error.contains("invalid HTTP") || error.contains("unexpected message") {
        " (it speaks no HTTP)"
    } else {
        ""
    }
}

/// What is refused is tried again this much later for each that fails, so that of thousands twenty a second are.
const AMONG_MANY: Duration = Duration::from_millis(50);

/// What a failure of one read is judged by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Circumstances {
    /// Failures of this kind in a row, this one included, since the last answer.
    pub(super) failures: u32,
    /// How many reads fail.
    pub(super) failing: u32,
    /// Whether any read was answered since we are connected.
    pub(super) answered: bool,
    /// Whether another datacenter than the agent's own may have been asked.
    pub(super) elsewhere: bool,
}

/// What follows from a failure of one read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Consequence {
    /// It is about Consul: nothing more is sent.
    Outage,
    /// It is sent again after a pause; whoever wants it is told.
    Again { told: bool, pause: Duration },
}

impl Failure {
    /// What follows.
    pub(super) fn consequence(&self, circumstances: Circumstances, clocks: &Clocks) -> Consequence {
        let Circumstances { failures, failing, answered, elsewhere } = circumstances;
        let longest = clocks.denied_interval;
        let backoff = |first: u64| (Duration::from_millis(first) * (1 << failures.min(10))).min(longest);
        let (told, pause) = match self {
            // One connection may be lost alone; if the next is lost too, it is Consul. And of several servers another
            // may serve what one does not (https://developer.hashicorp.com/consul/docs/agent/limits): the next
            // connection may lead to one.
            Self::Away(_) | Self::Busy { after: None, everywhere: false } if failures == 1 => {
                (false, Duration::from_millis(10))
            }
            // Another datacenter may be away while ours is well.
            Self::Leaderless(_) if elsewhere => (true, backoff(100)),
            Self::NotConsul(_) if answered => (true, longest),
            Self::Away(_) | Self::Leaderless(_) | Self::NotConsul(_) | Self::Busy { everywhere: true, .. } => {
                return Consequence::Outage;
            }
            Self::Busy { after, everywhere: false } => (true, after.unwrap_or_else(|| backoff(500))),
            Self::Denied(_) | Self::Filtered | Self::Refused(_) | Self::TooLarge(_) => {
                (true, longest.max(AMONG_MANY.saturating_mul(failing)))
            }
            Self::Broken(_) => (failures > 1, backoff(100)),
            Self::Unreadable(_) => (true, backoff(100)),
        };
        Consequence::Again { told, pause: jittered(pause) }
    }
}

/// What the head of a successful answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Good {
    /// The index of the answer, at least 1.
    pub(super) index: u64,
    /// There is no such key; the body means nothing.
    pub(super) missing: bool,
    /// Consul left out what the token may not read (from 1.11).
    pub(super) filtered: bool,
}

/// What an answer says that is no success, whatever was asked.
pub(super) fn refusal(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
    judge(status, headers, body, Form::Indexed).err().unwrap_or_else(|| Failure::Broken(said(status, headers, body)))
}

/// Sorts an answer by its status, its headers and, if it is an error, what it says.
pub(super) fn judge(status: StatusCode, headers: &HeaderMap, body: &[u8], form: Form) -> Result<Good, Failure> {
    let index = headers.get("x-consul-index").and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let filtered = headers
        .get("x-consul-results-filtered-by-acls")
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"));
    let said = said(status, headers, body);
    match (status.as_u16(), index) {
        // An index must be at least 1, and 1 is always safe.
        (200, Some(index)) => Ok(Good { index: index.max(1), missing: false, filtered }),
        (200, None) if form == Form::WithoutIndex => Ok(Good { index: 1, missing: false, filtered }),
        (404, Some(index)) if matches!(form, Form::OrMissing | Form::OrMissingAtOnce) => {
            Ok(Good { index: index.max(1), missing: true, filtered })
        }
        (404, None) if form == Form::OrMissingAtOnce => Ok(Good { index: 1, missing: true, filtered }),
        (200..=299, _) => Err(Failure::NotConsul("the answer has no `X-Consul-Index`".to_owned())),
        (300..=399, _) => Err(Failure::NotConsul(redirect(headers))),
        (400, _) if said.contains("HTTP request to an HTTPS server") => {
            Err(Failure::NotConsul("it speaks TLS: write the address as `https://`".to_owned()))
        }
        (401 | 403 | 407, _) => Err(denied(said)),
        (404, _) => Err(Failure::NotConsul("it has no Consul API (status 404)".to_owned())),
        (429, _) => Err(Failure::Busy { after: retry_after(headers), everywhere: false }),
        (503, _) => Err(Failure::Busy { after: retry_after(headers), everywhere: true }),
        // A proxy that gave up on a long poll.
        (502 | 504, _) => Err(Failure::Away(said)),
        (400..=499, _) => Err(Failure::Refused(said)),
        _ => Err(server_error(said)),
    }
}

/// Consul 1.8 answers 500 to much that is not its fault; the text tells what it is.
fn server_error(said: String) -> Failure {
    let any = |texts: &[&str]| texts.iter().any(|text| said.contains(text));
    if any(&["Permission denied", "ACL not found"]) {
        denied(said)
    } else if any(&[
        "No path to datacenter",
        "boolean expression",
        "Failed to create filter",
        "failed to create filter",
    ]) {
        Failure::Refused(said)
    } else if any(&[
        "No cluster leader",
        "rpc error",
        "leadership",
        "not the leader",
        "raft",
        "No known Consul servers",
    ]) {
        Failure::Leaderless(said)
    } else {
        Failure::Broken(said)
    }
}

/// Who may not: the token, or nobody with a token that does not exist.
fn denied(said: String) -> Failure {
    if said.contains("ACL not found") {
        Failure::Denied(format!("Consul does not know the token: {said}"))
    } else {
        Failure::Denied(said)
    }
}

/// The first line of what an error says, for people. Consul says it in plain text; anything else is not its word.
fn said(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> String {
    const LONGEST: usize = 200;
    let plain = headers.get(CONTENT_TYPE).is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"));
    let text = if plain { String::from_utf8_lossy(&body[..body.len().min(4 * LONGEST)]) } else { "".into() };
    let line: String = text.trim().lines().next().unwrap_or_default().chars().take(LONGEST).collect();
    let line: String = line.chars().map(|character| if character.is_control() { '?' } else { character }).collect();
    if line.is_empty() {
        format!("status {}", status.as_u16())
    } else {
        format!("`{line}` (status {})", status.as_u16())
    }
}

/// Where it should go instead, without what may be secret in it.
fn redirect(headers: &HeaderMap) -> String {
    let to = headers.get(LOCATION).and_then(|value| value.to_str().ok()?.parse::<Url>().ok());
    let origin = to.as_ref().and_then(|to| Some(format!("{}://{}", to.scheme(), to.host_str()?)));
    match origin {
        Some(origin) => {
            format!("it redirects to `{origin}`, which is not followed: put the final address into `address`")
        }
        None => "it redirects, which Consul does not: put the final address into `address`".to_owned(),
    }
}

/// Seconds; as a date it is not worth its calendar, and our own pauses do.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    const LONGEST: u64 = 300;
    let seconds: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.min(LONGEST)))
}

/// An error and all its causes on one line.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Result<Good, Failure> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        judge(StatusCode::from_u16(status).unwrap(), &map, body.as_bytes(), Form::OrMissing)
    }

    #[test]
    fn what_concerns_one_read_ends_no_other() {
        let clocks = Clocks::default();
        let follows = |failure: &Failure, failures, answered, elsewhere| {
            match failure.consequence(Circumstances { failures, failing: 1, answered, elsewhere }, &clocks) {
                Consequence::Outage => "outage".to_owned(),
                // The jitter only lengthens, by up to a quarter.
                Consequence::Again { told, pause } => {
                    format!("{} {}", if told { "told" } else { "silent" }, pause.as_millis() / 10 * 4 / 5 > 790)
                }
            }
        };
        let said = || "said".to_owned();
        let once = |failure: Failure| follows(&failure, 1, true, false);
        assert_eq!(once(Failure::Away(said())), "silent false");
        assert_eq!(follows(&Failure::Away(said()), 2, true, true), "outage");
        assert_eq!(once(Failure::Leaderless(said())), "outage");
        assert_eq!(follows(&Failure::Leaderless(said()), 1, true, true), "told false");
        assert_eq!(once(Failure::NotConsul(said())), "told true");
        assert_eq!(follows(&Failure::NotConsul(said()), 1, false, false), "outage");
        assert_eq!(once(Failure::Denied(said())), "told true");
        assert_eq!(once(Failure::Refused(said())), "told true");
        assert_eq!(once(Failure::Busy { after: None, everywhere: true }), "outage");
        assert_eq!(once(Failure::Busy { after: None, everywhere: false }), "silent false");
        assert_eq!(follows(&Failure::Busy { after: None, everywhere: false }, 2, true, false), "told false");
        assert_eq!(once(Failure::Busy { after: Some(Duration::from_secs(20)), everywhere: false }), "told true");
        assert_eq!(once(Failure::Broken(said())), "silent false");
        assert_eq!(follows(&Failure::Broken(said()), 9, true, false), "told true");
        let among_many = Circumstances { failures: 1, failing: 2000, answered: true, elsewhere: false };
        let Consequence::Again { pause, .. } = Failure::Denied(said()).consequence(among_many, &clocks) else {
            panic!()
        };
        assert!(pause >= Duration::from_secs(100), "{pause:?}");
    }

    /// Statuses, headers and texts as Consul 1.8.7 gives them, but where said otherwise.
    #[test]
    fn answers_are_sorted_by_what_follows() {
        const PLAIN: (&str, &str) = ("content-type", "text/plain; charset=utf-8");
        const INDEX: (&str, &str) = ("x-consul-index", "1");
        let good = Good { index: 7, missing: false, filtered: false };
        assert_eq!(judged(200, &[("x-consul-index", "7")], "[]"), Ok(good));
        assert_eq!(judged(200, &[("x-consul-index", "0")], "[]"), Ok(Good { index: 1, ..good }));
        assert_eq!(judged(404, &[("x-consul-index", "7")], ""), Ok(Good { missing: true, ..good }));
        // From 1.11.
        let headers = [("x-consul-index", "7"), ("x-consul-results-filtered-by-acls", "true")];
        assert_eq!(judged(200, &headers, "[]"), Ok(Good { filtered: true, ..good }));
        for (status, headers, body, kind, says) in [
            (200, &[][..], "<html>", "NotConsul", "X-Consul-Index"),
            (301, &[("location", "https://me:hunter2@other/x?y")], "", "NotConsul", "`https://other`"),
            (301, &[("location", "/ui/")], "", "NotConsul", "redirects"),
            (404, &[], "", "NotConsul", "this is no Consul"),
            (400, &[PLAIN], "Client sent an HTTP request to an HTTPS server.\n", "NotConsul", "https://"),
            (400, &[PLAIN], "Invalid index", "Refused", "`Invalid index` (status 400)"),
            (403, &[PLAIN], "ACL not found", "Denied", "not allowed: Consul does not know the token: `ACL not found`"),
            (403, &[("content-type", "text/html")], "<p>hunter2", "Denied", "not allowed: status 403"),
            (500, &[PLAIN, INDEX], "No path to datacenter", "Refused", "No path"),
            (500, &[PLAIN, INDEX], "Failed to create boolean expression evaluator: 1:5 (4)", "Refused", "1:5"),
            (500, &[PLAIN, INDEX], "No cluster leader", "Leaderless", "no leader"),
            (500, &[PLAIN, INDEX], "rpc error making call: EOF", "Leaderless", "EOF"),
            (500, &[PLAIN], "rpc error making call: Permission denied", "Denied", "Permission"),
            (500, &[PLAIN], "rpc error making call: ACL not found", "Denied", "does not know the token"),
            (500, &[], "what\u{1b}[31m is\nhunter2", "Broken", "`what?[31m is`"),
            (503, &[("retry-after", "3")], "", "Busy { after: Some(3s), everywhere: true }", "503"),
            (429, &[], "Your IP is issuing too many concurrent connections", "Busy { after: None", "429"),
        ] {
            let failure = judged(status, headers, body).unwrap_err();
            assert!(format!("{failure:?}").starts_with(kind), "{status} {body}: {failure:?}");
            assert!(failure.to_string().contains(says), "{status} {body}: {failure}");
            assert!(!failure.to_string().contains("hunter2"), "{failure}");
        }
    }
}
