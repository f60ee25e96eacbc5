//! A line of those who want to do what only some may do at a time, such as the members of a fleet that are to reload.
//!
//! Who joins stands at its end; those in front may go, as many as may at a time. A place lasts for a time and has to be
//! renewed, so that one whose holder has died keeps nobody waiting for longer. A kind gives the four steps; when they are
//! taken, and what is said, is the same for all kinds and lies with the [target](crate::target).

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::{Outage, Path};

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

/// One who stands in a line, or is about to. Every step may be dropped at any await and tried again.
pub trait Line: Send {
    /// Stands at the end of the line; a place from before is given up.
    fn join(&mut self) -> BoxFuture<'_, Result<(), Outage>>;

    /// How many stand in front; none where the place is lost.
    fn ahead(&mut self) -> BoxFuture<'_, Result<Option<usize>, Outage>>;

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
    fn try_ahead(&mut self) -> impl Future<Output = Result<Option<usize>, Self::Failure>> + Send;

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

    fn ahead(&mut self) -> BoxFuture<'_, Result<Option<usize>, Outage>> {
        async { self.try_ahead().await.map_err(|failure| self.outage(&failure)) }.boxed()
    }

    fn renew(&mut self) -> BoxFuture<'_, Result<bool, Outage>> {
        async { self.try_renew().await.map_err(|failure| self.outage(&failure)) }.boxed()
    }

    fn leave(&mut self) -> BoxFuture<'_, Result<(), Outage>> {
        async { self.try_leave().await.map_err(|failure| self.outage(&failure)) }.boxed()
    }
}
