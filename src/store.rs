//! The store: the latest answer to every query, and who read it.
//!
//! It is the one owner of answers. Registries publish into it; a target takes a frozen [`View`] to render from and
//! says afterwards what it read. Latest wins, there is no queue, and an answer equal to the one before wakes nobody.
//! Its lock is held for look-ups and swaps only, never across an await.

use std::collections::HashMap;
use std::sync::Arc;

use crate::registry::{Answer, Asked, QueryError};

/// What the store holds of one query.
#[derive(Debug, Clone, Default)]
pub struct Slot {
    /// The last answer; none while the query was never answered.
    pub answer: Option<Arc<Answer>>,
    /// Why the last attempt gave no new answer, while that is so.
    pub error: Option<QueryError>,
    /// The publication that last changed the answer.
    pub changed: u64,
}

/// All answers at one moment, immutable; made in constant time.
#[derive(Debug, Clone, Default)]
pub struct View {
    slots: Arc<HashMap<Asked, Slot>>,
    publication: u64,
}

impl View {
    /// The answer to a query; none while it was never answered.
    pub fn answer(&self, asked: &Asked) -> Option<&Arc<Answer>> {
        self.slots.get(asked)?.answer.as_ref()
    }

    /// Why a query has no new answer, if that is so.
    pub fn error(&self, asked: &Asked) -> Option<&QueryError> {
        self.slots.get(asked)?.error.as_ref()
    }

    /// The number of the last publication that this view shows.
    pub fn publication(&self) -> u64 {
        self.publication
    }

    /// A view of these answers alone, for tests of templates.
    pub fn of(answers: impl IntoIterator<Item = (Asked, Answer)>) -> Self {
        let slots = answers
            .into_iter()
            .map(|(asked, answer)| (asked, Slot { answer: Some(Arc::new(answer)), error: None, changed: 1 }))
            .collect();
        Self { slots: Arc::new(slots), publication: 1 }
    }
}
