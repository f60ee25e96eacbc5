//! A line of those who want to do what only some may do at a time, such as the members of a fleet that are to reload.
//!
//! Who joins stands at its end; those in front may go, as many as may at a time. A place lasts for a time and has to be
//! renewed, so that one whose holder has died keeps nobody waiting for longer. A kind gives the four steps; when they are
//! taken, and what is said, is the same for all kinds and lies with the [target](crate::target).

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::{Outage, Path};

/// The longest that is shown of what another says of itself.
const LONGEST: usize = 400;

/// A place that is wanted in a line.
#[derive(Debug, Clone)]
pub struct Place {
    /// The folder of the line: one key below it for each place.
    pub line: Path,
    /// The longest time for which a place that is not renewed keeps others waiting.
    pub ttl: Duration,
    /// Who wants it, for people who look into the registry.
    pub holder: String,
}

/// Who stands in front of a place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ahead {
    /// How many.
    pub count: usize,
    /// What the first of them says of itself, who holds the lock; none where that is nobody, or not known.
    pub first: Option<String>,
}

impl Ahead {
    /// So many, of whom the first has left `value` in the registry. Anybody may write there: only what another liveconf
    /// says of itself is shown.
    pub fn new(count: usize, value: Option<&[u8]>) -> Self {
        let first = value.and_then(|value| str::from_utf8(value).ok()).filter(|_| count > 0);
        let is_ours = |text: &&str| {
            let words: Vec<&str> = text.split(' ').collect();
            matches!(words[..], ["host", _, "pid", pid, "target", ..] if pid.parse::<u32>().is_ok())
                && text.len() <= LONGEST
                && !text.chars().any(char::is_control)
        };
        Self { count, first: first.filter(is_ours).map(str::to_owned) }
    }
}

/// One who stands in a line, or is about to. Every step may be dropped at any await and tried again.
pub trait Line: Send {
    /// Stands at the end of the line; a place from before is given up.
    fn join(&mut self) -> BoxFuture<'_, Result<(), Outage>>;

    /// Who stands in front; none where the place is lost.
    fn ahead(&mut self) -> BoxFuture<'_, Result<Option<Ahead>, Outage>>;

    /// Renews the place; whether there was one still.
    fn renew(&mut self) -> BoxFuture<'_, Result<bool, Outage>>;

    /// Gives the place up, if there is one.
    fn leave(&mut self) -> BoxFuture<'_, Result<(), Outage>>;
}

/// What a kind gives for that: the same steps, which fail in its own way.
pub trait Steps: Send {
    /// Why a step failed.
    type Failure: Send;

    /// [`Line::join`].
    fn try_join(&mut self) -> impl Future<Output = Result<(), Self::Failure>> + Send;

    /// [`Line::ahead`].
    fn try_ahead(&mut self) -> impl Future<Output = Result<Option<Ahead>, Self::Failure>> + Send;

    /// [`Line::renew`].
    fn try_renew(&mut self) -> impl Future<Output = Result<bool, Self::Failure>> + Send;

    /// [`Line::leave`].
    fn try_leave(&mut self) -> impl Future<Output = Result<(), Self::Failure>> + Send;

    /// What to say of a failure, with what to do.
    fn outage(&self, failure: &Self::Failure) -> Outage;
}

impl<S: Steps> Line for S {
    fn join(&mut self) -> BoxFuture<'_, Result<(), Outage>> {
        async { self.try_join().await.map_err(|failure| self.outage(&failure)) }.boxed()
    }

    fn ahead(&mut self) -> BoxFuture<'_, Result<Option<Ahead>, Outage>> {
        async { self.try_ahead().await.map_err(|failure| self.outage(&failure)) }.boxed()
    }

    fn renew(&mut self) -> BoxFuture<'_, Result<bool, Outage>> {
        async { self.try_renew().await.map_err(|failure| self.outage(&failure)) }.boxed()
    }

    fn leave(&mut self) -> BoxFuture<'_, Result<(), Outage>> {
        async { self.try_leave().await.map_err(|failure| self.outage(&failure)) }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_another_of_us_says_of_itself_is_shown() {
        let shown = |value: &str| Ahead::new(1, Some(value.as_bytes())).first;
        let ours = "host web-1 pid 4711 target shop";
        assert_eq!(shown(ours).as_deref(), Some(ours));
        assert_eq!(
            shown("host web-1 pid 1 target of two words").as_deref(),
            Some("host web-1 pid 1 target of two words")
        );
        for other in
            ["", "hunter2", "host a pid b target c", "host a pid 1 target c\nx", "host a pid 1", &ours.repeat(20)]
        {
            assert_eq!(shown(other), None, "{other:?}");
        }
        assert_eq!(Ahead::new(1, Some(b"\xff")).first, None);
        assert_eq!(Ahead::new(0, Some(ours.as_bytes())), Ahead::default(), "that is us");
    }
}
