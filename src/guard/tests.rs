//! A guarded query by itself, against its rule in other words; and a guard between a store and its render.

use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::*;
use crate::registry::{Answer, Data, Names, Path, Reply, ServiceName, ServiceQuery};
use crate::store::{EarlierAnswer, Reader, Store};

const SECOND: Duration = Duration::from_secs(1);

fn services(count: usize) -> Data {
    let service = |number| ServiceName { name: format!("s{number}"), tags: Vec::new() };
    Data::Services((0..count).map(service).collect())
}

fn answer(count: usize) -> Arc<Answer> {
    Arc::new(Answer::new(services(count), 1))
}

fn rule() -> Rule {
    Rule { max_drop: 50, hold: 30 * SECOND, empty_after: None, min: 0 }
}

/// One query with a clock and the registry around it.
struct Trial {
    rule: Rule,
    query: GuardedQuery,
    now: Instant,
    /// What the registry says.
    there: usize,
    /// The number of the last question that it has answered.
    serial: u64,
    /// The number of the last question.
    question: u64,
}

impl Trial {
    fn new(rule: Rule, first: usize) -> Self {
        let query = GuardedQuery::accepting(answer(first));
        Self { rule, query, now: Instant::now(), there: first, serial: 0, question: 0 }
    }

    /// Registry says that there are so many.
    fn say(&mut self, count: usize) -> Option<Event> {
        self.there = count;
        self.query.observe(&self.rule, &answer(count), self.serial, self.now)
    }

    /// Time goes by, and what is due then is asked.
    fn wait(&mut self, time: Duration) {
        self.now += time;
        if self.query.due(&self.rule).is_some_and(|due| due <= self.now) {
            self.question += 1;
            self.query.asked(self.question);
        }
    }

    /// The registry answers the last question.
    fn confirm(&mut self) -> Option<Event> {
        self.serial = self.question;
        self.say(self.there)
    }

    /// How many a template sees; none while it is not known what there was before.
    fn shown(&self) -> Option<usize> {
        self.query.before()
    }

    fn due_in(&self) -> Option<Duration> {
        self.query.due(&self.rule).map(|due| due - self.now)
    }
}

#[test]
fn what_is_emptied_is_held_without_limit_until_something_returns() {
    let mut trial = Trial::new(rule(), 3);
    assert_eq!(trial.say(0), Some(Event::Begun));
    assert_eq!((trial.shown(), trial.due_in()), (Some(3), None));
    trial.wait(Duration::from_hours(1000));
    assert_eq!((trial.say(0), trial.shown()), (None, Some(3)));
    assert_eq!(trial.say(1), Some(Event::Ended(End::Returned, Duration::from_hours(1000))));
    assert_eq!((trial.shown(), trial.query.is_held()), (Some(1), false));
}

#[test]
fn what_is_emptied_passes_after_its_time_once_it_is_confirmed() {
    let mut trial = Trial::new(Rule { empty_after: Some(600 * SECOND), ..rule() }, 3);
    trial.say(0);
    assert_eq!(trial.due_in(), Some(600 * SECOND));
    trial.wait(599 * SECOND);
    assert_eq!((trial.confirm(), trial.shown()), (None, Some(3)), "its time is not over");
    trial.wait(SECOND);
    assert_eq!(trial.due_in(), None, "it is asked once");
    assert_eq!((trial.say(0), trial.shown()), (None, Some(3)), "this was read before it was asked");
    assert_eq!(trial.confirm(), Some(Event::Ended(End::Confirmed, 600 * SECOND)));
    assert_eq!(trial.shown(), Some(0));
}

#[test]
fn a_large_loss_passes_after_its_time_and_a_small_one_at_once() {
    for (before, after, held) in
        [(10, 5, false), (10, 4, true), (4, 2, false), (4, 1, true), (3, 1, false), (5, 3, false)]
    {
        let mut trial = Trial::new(rule(), before);
        let event = trial.say(after);
        assert_eq!((event, trial.due_in()), (held.then_some(Event::Begun), held.then_some(30 * SECOND)), "{before}");
        trial.wait(30 * SECOND);
        trial.confirm();
        assert_eq!(trial.shown(), Some(after));
    }
    let mut trial = Trial::new(Rule { max_drop: 100, ..rule() }, 10);
    assert_eq!((trial.say(1), trial.shown()), (None, Some(1)));
    let mut trial = Trial::new(Rule { max_drop: 0, ..rule() }, 10);
    assert_eq!((trial.say(9), trial.shown()), (Some(Event::Begun), Some(10)));
}

#[test]
fn a_minimum_is_never_undercut() {
    let mut trial = Trial::new(Rule { min: 2, empty_after: Some(SECOND), hold: SECOND, ..rule() }, 10);
    for count in [1, 0] {
        trial.say(count);
        trial.wait(1000 * SECOND);
        assert_eq!((trial.confirm(), trial.shown()), (None, Some(10)), "{count}");
    }
    trial.say(2);
    trial.wait(SECOND);
    trial.confirm();
    assert_eq!(trial.shown(), Some(2));
    assert_eq!((trial.say(1), trial.say(2)), (Some(Event::Begun), Some(Event::Ended(End::Returned, Duration::ZERO))));
}

#[test]
fn nothing_that_turns_into_little_gives_the_rest_its_time() {
    let mut trial = Trial::new(rule(), 10);
    trial.say(0);
    trial.wait(600 * SECOND);
    trial.say(1);
    assert_eq!((trial.shown(), trial.due_in()), (Some(10), Some(30 * SECOND)));
    trial.wait(30 * SECOND);
    trial.say(0);
    assert_eq!((trial.confirm(), trial.shown()), (None, Some(10)), "what was asked of little confirms no nothing");
    trial.say(6);
    assert_eq!(trial.shown(), Some(6));
}

#[test]
fn the_operator_lets_anything_pass() {
    let mut trial = Trial::new(Rule { min: 5, ..rule() }, 10);
    assert_eq!(trial.query.release(trial.now), None, "nothing is held back");
    trial.say(4);
    trial.say(1);
    trial.wait(SECOND);
    assert_eq!(trial.query.release(trial.now), Some(Event::Ended(End::Released, SECOND)));
    assert_eq!(trial.shown(), Some(1));
    assert_eq!((trial.say(1), trial.shown()), (None, Some(1)), "it stays released");
    assert_eq!((trial.say(0), trial.shown()), (Some(Event::Begun), Some(1)), "what is lost then is another loss");
}

#[test]
fn nothing_at_the_start_is_unproven_until_it_is_confirmed() {
    let start = |rule: Rule, first| {
        let now = Instant::now();
        let query = GuardedQuery::starting(&rule, answer(first), now);
        Trial { rule, query, now, there: first, serial: 0, question: 0 }
    };
    assert_eq!(start(rule(), 1).shown(), Some(1));
    let mut trial = start(rule(), 0);
    assert!(trial.query.is_unproven() && trial.query.shown().is_none());
    assert_eq!(trial.due_in(), Some(30 * SECOND));
    trial.wait(30 * SECOND);
    assert_eq!(trial.confirm(), Some(Event::Ended(End::Confirmed, 30 * SECOND)));
    assert_eq!(trial.shown(), Some(0));

    let mut trial = start(rule(), 0);
    trial.query.prove();
    assert_eq!((trial.shown(), trial.query.is_held()), (Some(0), false));
    let mut trial = start(Rule { min: 2, ..rule() }, 1);
    trial.wait(1000 * SECOND);
    assert_eq!((trial.confirm(), trial.shown()), (None, None));
    assert!(matches!(trial.say(2), Some(Event::Ended(End::Returned, _))));
}

#[derive(Debug, Clone)]
enum Step {
    Say(usize),
    Wait(u32),
    Confirm,
    Release,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => prop_oneof![Just(0), 0..12_usize].prop_map(Step::Say),
        3 => (0..60_u32).prop_map(Step::Wait),
        2 => Just(Step::Confirm),
        1 => Just(Step::Release),
    ];
    proptest::collection::vec(step, 0..40)
}

proptest! {
    /// Whatever comes: what is shown falls only by what may be lost at once, by the operator, or by what was asked for
    /// after its time had passed without a break.
    #[test]
    fn nothing_else_makes_less_of_it(
        steps in steps(),
        first in 0..12_usize,
        max_drop in prop_oneof![Just(0), Just(50), Just(100), 0..=100_u64],
        empty_after in proptest::option::of(1..90_u32),
        min in 0..4_usize,
    ) {
        let rule = Rule { max_drop, hold: 30 * SECOND, empty_after: empty_after.map(|seconds| seconds * SECOND), min };
        let mut trial = Trial::new(rule.clone(), first);
        let serious = |before: usize, after: usize| {
            let too_few_of_many = before >= 4 && (after as u64) * 100 < (before as u64) * (100 - max_drop);
            before > after && (after == 0 || after < min || too_few_of_many)
        };
        // How serious a loss is, and how long it is held back.
        let class = |after: usize| match after {
            after if after < min => (0, None),
            0 => (1, rule.empty_after),
            _ => (2, Some(rule.hold)),
        };
        // Since when the registry has said what is of this class.
        let mut since = trial.now;
        for step in steps {
            let before = trial.shown().unwrap();
            let (there, held) = (trial.there, trial.query.is_held());
            match step {
                Step::Say(count) => {
                    if !held || class(count) != class(there) {
                        since = trial.now;
                    }
                    trial.say(count);
                }
                Step::Wait(seconds) => trial.wait(seconds * SECOND),
                Step::Confirm => drop(trial.confirm()),
                Step::Release => drop(trial.query.release(trial.now)),
            }
            let after = trial.shown().unwrap();
            let passed = class(trial.there).1.is_some_and(|limit| trial.now - since >= limit);
            match step {
                Step::Release => prop_assert_eq!(after, trial.there),
                Step::Confirm if passed => prop_assert_eq!(after, trial.there),
                _ if serious(before, trial.there) => prop_assert_eq!(after, before, "{:?}", step),
                _ => prop_assert_eq!(after, trial.there, "what is no loss is shown at once: {:?}", step),
            }
            prop_assert_eq!(trial.query.is_held(), after != trial.there);
        }
        // What may end by time does, once the registry answers.
        for _ in 0..2 {
            trial.wait(100 * SECOND);
            trial.confirm();
        }
        if class(trial.there).1.is_some() {
            prop_assert_eq!(trial.shown(), Some(trial.there));
        }
    }
}

/// A guard of one registry, its store and its reader.
struct Scene {
    store: Arc<Store>,
    reader: Reader,
    guard: Guard,
    memory: Memory,
    start: Instant,
}

impl Scene {
    fn new(rule: config::Guard) -> Self {
        let store = Store::new();
        let main: Arc<str> = "main".into();
        store.add_registry(&main);
        store.add_registry(&"site".into());
        let memory = Memory::default();
        let guard = Guard::new("nginx".into(), rule, [main], memory.clone());
        Self { reader: store.reader(), store, guard, memory, start: Instant::now() }
    }

    /// A whole render that reads these: how much each of them shows.
    fn render(&mut self, seconds: u32, reads: &[Asked]) -> Vec<usize> {
        let now = self.start + seconds * SECOND;
        let reads: BTreeSet<Asked> = reads.iter().cloned().collect();
        let view = self.guard.apply(self.reader.view(), now);
        self.guard.note_reads(&view, &reads, now);
        self.reader.has_read(&view, reads.clone());
        reads.iter().map(|asked| view.answer(asked).map_or(0, |answer| query::count(answer))).collect()
    }

    fn publish(&self, asked: &Asked, data: Data) {
        let result = Ok(Answer::new(data, 1));
        self.store.publish(&asked.registry, vec![Reply { query: asked.query.clone(), result }]);
    }
}

fn asked(registry: &str, query: Query) -> Asked {
    Asked { registry: registry.into(), query }
}

fn named(registry: &str) -> Asked {
    asked(registry, Query::Services { tag: None })
}

#[test]
fn a_held_query_keeps_its_answer_and_every_other_goes_on() {
    let mut scene = Scene::new(config::Guard::default());
    let (one, other) = (named("main"), asked("main", Query::Services { tag: Some("x".into()) }));
    let reads = [one.clone(), other.clone()];
    scene.render(0, &reads);
    scene.publish(&one, services(3));
    scene.publish(&other, services(3));
    assert_eq!(scene.render(0, &reads), [3, 3]);
    assert!(!scene.guard.is_unproven(&reads.clone().into()));
    scene.guard.prove();

    scene.publish(&one, services(0));
    scene.publish(&other, services(2));
    assert_eq!(scene.render(1, &reads), [3, 2]);
    assert_eq!(scene.guard.take_turned(), [one.clone()].into());
    let [Held { asked, loss }] = &scene.guard.held()[..] else { panic!() };
    assert_eq!((asked, loss.reason, loss.before, loss.after), (&one, Reason::Nothing, Some(3), 0));
    assert_eq!((loss.since, loss.limit, scene.guard.due()), (scene.start + SECOND, None, None));

    // The next task of the target goes on where this one ends.
    let rule = config::Guard::default();
    scene.guard = Guard::new("nginx".into(), rule, ["main".into()], scene.memory.clone());
    assert_eq!(scene.render(2, &reads), [3, 2]);
    assert_eq!(scene.guard.release(Some(&other), scene.start), [], "it is not held back");
    assert_eq!(scene.guard.held().len(), 1);
    assert_eq!(scene.guard.release(None, scene.start + 3 * SECOND), std::slice::from_ref(&one));
    assert_eq!((scene.guard.held(), scene.guard.take_turned()), (vec![], [one].into()));
    assert_eq!(scene.render(3, &reads), [0, 2]);
}

#[test]
fn a_hold_that_had_its_time_has_its_query_read_again() {
    let mut scene = Scene::new(config::Guard::default());
    let one = named("main");
    let reads = std::slice::from_ref(&one);
    scene.render(0, reads);
    scene.publish(&one, services(10));
    scene.render(0, reads);
    scene.guard.prove();
    scene.publish(&one, services(2));
    assert_eq!(scene.render(5, reads), [10]);
    assert_eq!(scene.guard.due(), Some(scene.start + 35 * SECOND));

    let mut early = Vec::new();
    scene.guard.confirm(scene.start + 34 * SECOND, |due| {
        early.extend(due.clone());
        0
    });
    assert_eq!(early, []);
    scene.guard.confirm(scene.start + 35 * SECOND, |due| scene.reader.read_again(due));
    assert_eq!((scene.render(36, reads), scene.guard.due()), (vec![10], None));
    let _ = scene.reader.take_changes();
    scene.publish(&one, services(2));
    assert!(scene.reader.take_changes().is_some(), "an equal answer that was asked for wakes the target");
    assert_eq!((scene.render(37, reads), scene.guard.held()), (vec![2], vec![]));
}

#[test]
fn services_nodes_and_chosen_prefixes_are_guarded_and_files_never() {
    let path = |text: &str| Path::parse(text).unwrap();
    let prefixes = vec![path("app/up")];
    let guard = Scene::new(config::Guard { prefixes, min_instances: 2, ..config::Guard::default() }).guard;
    let min = |registry: &str, query: Query| guard.rule_for(&asked(registry, query)).map(|rule| rule.min);
    let service = || Query::Service(ServiceQuery::passing("web"));
    assert_eq!(min("main", service()), Some(2));
    assert_eq!(min("site", service()), None, "somebody wrote the file so");
    assert_eq!(min("main", Query::Services { tag: None }), Some(0));
    assert_eq!(min("main", Query::Nodes { datacenter: None }), Some(0));
    for (text, expected) in [("app/up", Some(0)), ("app/up/web", Some(0)), ("app/upper", None), ("app", None)] {
        assert_eq!(min("main", Query::Prefix(path(text))), expected, "{text}");
        assert_eq!(min("main", Query::Listing(path(text))), expected, "{text}");
        assert_eq!(min("main", Query::Key(path(text))), None, "{text}");
    }
    let names = Names { keys: vec!["a".into()], folders: vec!["b".into(), "c".into()] };
    assert_eq!(query::count(&Answer::new(Data::Listing(names), 1)), 3);
}

#[test]
fn a_first_answer_of_nothing_is_unproven_at_the_start_alone() {
    let mut scene = Scene::new(config::Guard::default());
    let one = named("main");
    let reads: BTreeSet<Asked> = [one.clone()].into();
    scene.render(0, std::slice::from_ref(&one));
    scene.publish(&one, services(0));
    scene.render(0, std::slice::from_ref(&one));
    assert!(scene.guard.is_unproven(&reads) && !scene.guard.is_unproven(&BTreeSet::new()));
    scene.guard.hold_unproven(scene.start);
    let [Held { loss, .. }] = &scene.guard.held()[..] else { panic!() };
    assert_eq!((loss.reason, loss.before, loss.limit), (Reason::Nothing, None, Some(30 * SECOND)));
    scene.guard.prove();
    assert!(!scene.guard.is_unproven(&reads) && scene.guard.held().is_empty());

    // What is asked for the first time later stands in no file; and what is not asked any more is forgotten.
    let later = asked("main", Query::Services { tag: Some("x".into()) });
    scene.render(1, std::slice::from_ref(&later));
    scene.publish(&later, services(0));
    assert_eq!(scene.render(2, std::slice::from_ref(&later)), [0]);
    assert!(!scene.guard.is_unproven(&[later.clone()].into()));
    assert!(scene.memory.lock().queries.keys().eq([&later]));
}

#[test]
fn what_an_earlier_life_accepted_stands_for_what_is_asked_first() {
    let (one, other) = (named("main"), asked("main", Query::Services { tag: Some("x".into()) }));
    let unread = asked("main", Query::Services { tag: Some("y".into()) });
    let saved = |asked: &Asked, count| {
        let earlier = EarlierAnswer { answer: answer(count), saved: SystemTime::UNIX_EPOCH };
        (asked.clone(), earlier)
    };
    let earlier: Earlier = [saved(&one, 3), saved(&unread, 3)].into();
    let mut scene = Scene::new(config::Guard::default());
    scene.memory = Memory::of(Some(Arc::new(earlier)));
    scene.guard = Guard::new("nginx".into(), config::Guard::default(), ["main".into()], scene.memory.clone());
    let reads: BTreeSet<Asked> = [one.clone(), other.clone()].into();

    // The first render asks, and nothing is answered yet.
    let view = scene.guard.apply(scene.reader.view(), scene.start);
    assert!(!scene.guard.recall(&view, &reads), "there is nothing to show instead of");
    scene.reader.has_read(&view, reads.clone());
    for asked in [&one, &other, &unread] {
        scene.publish(asked, services(0));
    }
    // What was accepted before is held on to without limit; of the rest nobody knows.
    assert_eq!(scene.render(1, &[one.clone(), other.clone()]), [3, 0]);
    assert!(scene.guard.is_unproven(&[other.clone()].into()) && !scene.guard.is_unproven(&[one.clone()].into()));
    let [Held { asked, loss }, Held { asked: unknown, .. }] = &scene.guard.held()[..] else { panic!() };
    assert_eq!((asked, loss.before, loss.limit, unknown), (&one, Some(3), None, &other));
    scene.guard.prove();
    assert_eq!(scene.render(2, &[unread]), [0], "by now it stands in no file");
}

#[test]
fn what_was_answered_before_it_was_asked_is_looked_at_once_more() {
    let one = named("main");
    let earlier = EarlierAnswer { answer: answer(3), saved: SystemTime::UNIX_EPOCH };
    let mut scene = Scene::new(config::Guard::default());
    // Another target asks it, too.
    scene.render(0, std::slice::from_ref(&one));
    scene.publish(&one, services(0));
    scene.memory = Memory::of(Some(Arc::new([(one.clone(), earlier)].into())));
    scene.guard = Guard::new("nginx".into(), config::Guard::default(), ["main".into()], scene.memory.clone());
    let view = scene.guard.apply(scene.reader.view(), scene.start);
    assert_eq!(view.answer(&one).map(|answer| query::count(answer)), Some(0));
    assert!(scene.guard.recall(&view, &[one.clone()].into()), "the render is worth nothing");
    let view = scene.guard.apply(scene.reader.view(), scene.start);
    assert_eq!(view.answer(&one).map(|answer| query::count(answer)), Some(3));
    assert!(!scene.guard.recall(&view, &[one].into()));
}
