//! A target's task with a registry that the test is.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::apply::Records;
use crate::config::{self, LoadOptions};
use crate::guard::{Guard, Memory, Reason};
use crate::plan::Plan;
use crate::registry::{Answer, Data, Query, Reply, ServiceName};
use crate::store::Store;

const HOLD: Duration = Duration::from_millis(300);

/// A task that lists the services of the registry `main`, which is the test itself.
pub(super) fn listing(folder: &Path, guard: config::Guard, store: &Arc<Store>, desk: &Arc<Desk>) -> Task {
    let text = "registries: {main: {file: {path: none}}}
targets:
  web:
    templates:
      - {content: '{% for found in services() %}{{ found.name }} {% endfor %}', dest: out, name: out}
    wait: 0
    reload_interval: 0
";
    std::fs::write(folder.join("liveconf.yaml"), text).unwrap();
    let options = LoadOptions {
        config: Some("liveconf.yaml".into()),
        state_dir: None,
        environment: BTreeMap::new(),
        working_folder: folder.to_owned(),
        uid: 1000,
        command: Some(Vec::new()),
    };
    let plan = Plan::load(config::load(&options).unwrap(), &BTreeMap::new()).unwrap_or_else(|_| panic!());
    let records = Arc::new(Records::open(&folder.join("state")));
    let guard = Guard::new("web".into(), guard, ["main".into()], Memory::default());
    Task::new(plan.applier(0, &records, Options::default()).guarded_by(Some(guard)), store.reader(), desk.clone())
}

fn publish(store: &Store, names: &[&str]) {
    let service = |name: &&str| ServiceName { name: (*name).to_owned(), tags: Vec::new() };
    let data = Data::Services(names.iter().map(service).collect());
    let reply = Reply { query: Query::Services { tag: None }, result: Ok(Answer::new(data, 1)) };
    store.publish(&"main".into(), vec![reply]);
}

#[tokio::test]
async fn what_is_held_stands_in_the_state_and_passes_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new();
    let mut wanted = store.add_registry(&"main".into());
    let rule = || config::Guard { hold: HOLD, ..config::Guard::default() };
    let desk = Arc::new(Desk::new());
    let task = listing(folder.path(), rule(), &store, &desk);
    let mut state = desk.state();
    let stop = CancellationToken::new();
    let running = tokio::spawn(task.run(stop.clone()));
    let file = || std::fs::read_to_string(folder.path().join("out")).unwrap();
    let is_held = |state: &State| matches!(state.phase, Phase::Settled { .. }) && !state.held.is_empty();

    wanted.wait_for(|wanted| !wanted.is_empty()).await.unwrap();
    publish(&store, &["a", "b", "c", "d"]);
    state.wait_for(|state| matches!(state.phase, Phase::Settled { .. })).await.unwrap();
    assert_eq!(file(), "a b c d ");
    let number = *wanted.borrow_and_update().values().next().unwrap();

    publish(&store, &["a"]);
    let held = state.wait_for(is_held).await.unwrap().held.clone();
    assert_eq!((held.len(), held[0].loss.reason, held[0].loss.after), (1, Reason::Drop, 1));
    assert_eq!(file(), "a b c d ");
    // After the hold the registry is asked again, and until it answers the hold lasts.
    wanted.wait_for(|wanted| wanted.values().all(|now| *now > number)).await.unwrap();
    assert!(held[0].loss.since.elapsed() >= HOLD && is_held(&state.borrow()));
    publish(&store, &["a"]);
    state.wait_for(|state| state.held.is_empty()).await.unwrap();
    assert_eq!(file(), "a ");
    stop.cancel();
    running.await.unwrap();

    // The next program knows nothing of what there was.
    let desk = Arc::new(Desk::new());
    let task = listing(folder.path(), rule(), &store, &desk);
    let mut state = desk.state();
    publish(&store, &[]);
    let stop = CancellationToken::new();
    let running = tokio::spawn(task.run(stop.clone()));
    let held = state.wait_for(|state| state.phase == Phase::Held).await.unwrap().held.clone();
    assert_eq!((held[0].loss.reason, held[0].loss.before, file()), (Reason::Nothing, None, "a ".to_owned()));
    wanted.wait_for(|wanted| wanted.values().any(|now| *now > number + 1)).await.unwrap();
    publish(&store, &[]);
    state.wait_for(|state| matches!(state.phase, Phase::Settled { .. })).await.unwrap();
    assert_eq!((file(), state.borrow().held.len()), (String::new(), 0));
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn an_order_that_a_stop_comes_before_is_done_by_the_next_task() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new();
    let mut wanted = store.add_registry(&"main".into());
    let desk = Arc::new(Desk::new());
    let task = |desk: &Arc<Desk>| listing(folder.path(), config::Guard::default(), &store, desk);
    let file = || std::fs::read_to_string(folder.path().join("out")).unwrap_or_default();

    // Paused from the start, it finds out what is asked and writes nothing.
    desk.set_paused(true);
    let stop = CancellationToken::new();
    let running = tokio::spawn(task(&desk).run(stop.clone()));
    wanted.wait_for(|wanted| !wanted.is_empty()).await.unwrap();
    publish(&store, &["a"]);
    assert_eq!(desk.order(OrderTask::Apply).await, Ok(Done::Paused));
    assert_eq!(desk.order(OrderTask::Release(None)).await, Ok(Done::NotHeld(Vec::new())));
    assert_eq!(file(), "");
    stop.cancel();
    running.await.unwrap();

    let outcome = desk.order(OrderTask::Apply);
    desk.set_paused(false);
    let stop = CancellationToken::new();
    stop.cancel();
    task(&desk).run(stop).await;
    assert_eq!(file(), "");
    let stop = CancellationToken::new();
    let running = tokio::spawn(task(&desk).run(stop.clone()));
    assert_eq!(outcome.await, Ok(Done::Tried));
    assert_eq!(file(), "a ");
    assert!(matches!(desk.state().borrow().phase, Phase::Settled { .. }));
    stop.cancel();
    running.await.unwrap();
}
