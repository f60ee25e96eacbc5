//! The desk of a target: what its tasks lay out for the operator, and what the operator asks of them.
//!
//! It outlives the tasks: when configuration or templates are loaded anew, the next task goes on with what the one before
//! knew, stays paused, and does what was asked and not begun.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::{Notify, oneshot, watch};

use super::applier::Legacy;
use super::gate::Place;
use super::state::State;
use super::task::Troubles;
use crate::registry::Asked;

/// What the operator sees of one target and asks of it. The task of the target writes the state, the control socket the
/// rest.
#[derive(Debug)]
pub struct Desk {
    state: watch::Sender<State>,
    /// What the last task has left to the next.
    legacy: Mutex<Option<(Legacy, Troubles)>>,
    /// The place in the line of a lock that the last task has left to the next.
    place: Mutex<Option<Place>>,
    requests: Mutex<Requests>,
    /// Rings when there is something new among them.
    bell: Notify,
}

#[derive(Debug, Default)]
struct Requests {
    /// Since when nothing is applied.
    paused: Option<SystemTime>,
    /// What is to be done, the oldest first.
    orders: VecDeque<Order>,
}

/// Something that the operator wants done now.
#[derive(Debug)]
pub struct Order {
    /// What is to be done.
    pub task: OrderTask,
    /// Takes what came of it. Once nobody waits for that any more, it is not begun.
    pub done: oneshot::Sender<Done>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderTask {
    /// Render and apply, without any wait, also what the process refused before.
    Apply,
    /// Let pass what the guard holds back: what is called so, or all.
    Release(Option<String>),
}

/// What came of an order; what came of the apply stands in the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// An apply was tried.
    Tried,
    /// Nothing was done, since the target is paused.
    Paused,
    /// These pass from now on, and an apply was tried unless the target is paused.
    Released(Vec<Asked>),
    /// Nothing that is held back is called so; these are.
    NotHeld(Vec<Asked>),
}

impl fmt::Display for OrderTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Apply => f.write_str("`apply`"),
            Self::Release(_) => f.write_str("`release`"),
        }
    }
}

impl Desk {
    /// The desk of a target that has done nothing yet.
    pub fn new() -> Self {
        let state = watch::Sender::new(State::new());
        let (legacy, place, requests) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { state, legacy, place, requests, bell: Notify::new() }
    }

    /// The state, now and later.
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Changes the state. Only the task of the target does.
    pub(super) fn lay_out(&self, change: impl FnOnce(&mut State)) {
        self.state.send_modify(change);
    }

    /// Leaves to the next task what this one knows.
    pub(super) fn bequeath(&self, legacy: Legacy, troubles: Troubles) {
        *self.legacy.lock().unwrap_or_else(PoisonError::into_inner) = Some((legacy, troubles));
    }

    /// Takes what the task before has left. One that ended in any other way than by a stop has left nothing.
    pub(super) fn take_legacy(&self) -> Option<(Legacy, Troubles)> {
        self.legacy.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Leaves a place in the line of a lock to the next task, which is sure to come.
    pub(super) fn keep_place(&self, place: Option<Place>) {
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = place;
    }

    /// Takes the place that the task before has left.
    pub(super) fn take_place(&self) -> Option<Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Since when the target is paused, if it is.
    pub fn paused(&self) -> Option<SystemTime> {
        self.requests().paused
    }

    /// Has nothing applied from now on, or has that end. What is under way ends first. Whether that is a change.
    pub fn set_paused(&self, paused: bool) -> bool {
        let mut requests = self.requests();
        if requests.paused.is_some() == paused {
            return false;
        }
        requests.paused = paused.then(SystemTime::now);
        drop(requests);
        self.bell.notify_one();
        true
    }

    /// Has something done, after what was ordered before.
    pub fn order(&self, task: OrderTask) -> oneshot::Receiver<Done> {
        let (done, outcome) = oneshot::channel();
        let orders = &mut self.requests().orders;
        // Who asks again and again, and does not wait, leaves no more than one behind.
        orders.retain(|order| !order.done.is_closed());
        orders.push_back(Order { task, done });
        self.bell.notify_one();
        outcome
    }

    /// The oldest order that somebody waits for.
    pub(super) fn next_order(&self) -> Option<Order> {
        let orders = &mut self.requests().orders;
        std::iter::from_fn(|| orders.pop_front()).find(|order| !order.done.is_closed())
    }

    /// Leaves an order to the next task.
    pub(super) fn leave(&self, order: Order) {
        self.requests().orders.push_front(order);
        self.bell.notify_one();
    }

    /// Waits until there is something new of the operator's. Safe to cancel.
    pub(super) async fn called(&self) {
        self.bell.notified().await;
    }

    /// A panic elsewhere leaves whole values behind: every change under the lock is one step.
    fn requests(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Desk {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn orders_are_done_in_turn_unless_nobody_waits_any_more() {
        let desk = Desk::new();
        let first = desk.order(OrderTask::Apply);
        let gone = desk.order(OrderTask::Release(Some("gone".to_owned())));
        let last = desk.order(OrderTask::Release(None));
        desk.called().await;
        drop(gone);
        let order = desk.next_order().unwrap();
        assert_eq!(order.task, OrderTask::Apply);
        desk.leave(order);
        desk.next_order().unwrap().done.send(Done::Tried).unwrap();
        assert_eq!(first.await, Ok(Done::Tried));
        desk.next_order().unwrap().done.send(Done::Released(Vec::new())).unwrap();
        assert_eq!(last.await, Ok(Done::Released(Vec::new())));
        assert!(desk.next_order().is_none());
    }

    #[test]
    fn a_pause_keeps_its_beginning() {
        let desk = Desk::new();
        assert!(desk.set_paused(true));
        let since = desk.paused();
        assert!(since.is_some() && !desk.set_paused(true) && desk.paused() == since);
        assert!(desk.set_paused(false) && desk.paused().is_none() && !desk.set_paused(false));
    }
}
