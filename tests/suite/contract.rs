//! The contract that every kind of registry keeps. A kind is one line in `contract!` and an [`Origin`] in a file of
//! its own beside this: how its data is changed from outside, and how it is taken away and given back.

#[cfg(feature = "consul")]
mod consul;
#[cfg(feature = "etcd")]
mod etcd;
mod file;
mod model;

use rand::Rng;
use rand::rngs::StdRng;

use crate::support::liveconf::{Daemon, Job};
use crate::support::seed;

use model::{Change, Model};

/// Where the data of a registry lives: a server, a file.
trait Origin {
    /// The services that are there though nobody registered them.
    const SERVICES: &[&str] = &[];

    /// One that runs and is empty.
    fn start() -> Self;

    /// What stands under `registries: {NAME: ...}`.
    fn section(&self) -> String;

    /// Makes these changes in one step where the kind can; `after` is what is then there.
    fn commit(&mut self, changes: &[Change], after: &Model);

    /// The same with keys that vanish at [`Origin::expire`], for kinds that know such a thing.
    fn commit_leased(&mut self, changes: &[Change], after: &Model) {
        self.commit(changes, after);
    }

    /// Ends all that was committed with a lease; `gone` says the same as changes.
    fn expire(&mut self, gone: &[Change], after: &Model) {
        self.commit(gone, after);
    }

    /// Takes the registry away.
    fn cut(&mut self);

    /// Gives it back with the data that it had.
    fn mend(&mut self, model: &Model);
}

/// An origin, what is in it, and liveconf following it.
struct Scene<O> {
    origin: O,
    model: Model,
    job: Job,
    daemon: Daemon,
}

impl<O: Origin> Scene<O> {
    /// Begins with these changes made, and waits for the first file.
    fn start(changes: &[Change]) -> Self {
        let mut origin = O::start();
        let mut model = Model::default();
        model.apply(changes);
        origin.commit(changes, &model);
        let config = format!(
            "registries: {{main: {{{}}}}}
targets:
  all:
    templates: [{{src: all.tera, dest: all.conf}}]
    guard: {{empty_after: 0s}}
    wait: 1ms..50ms
    reload_interval: 0
",
            origin.section()
        );
        let job = Job::new(&config).with("all.tera", model::TEMPLATE);
        let daemon = job.start(&["run"]);
        let scene = Self { origin, model, job, daemon };
        scene.wait();
        scene
    }

    /// Makes changes, and waits until the file shows them.
    fn change(&mut self, changes: &[Change]) {
        self.model.apply(changes);
        self.origin.commit(changes, &self.model);
        self.wait();
    }

    /// Waits until the file is what the model renders to.
    #[track_caller]
    fn wait(&self) {
        self.job.wait_for("all.conf", &self.model.rendered(O::SERVICES));
    }
}

fn first_answer<O: Origin>() {
    Scene::<O>::start(&[]).daemon.stop();
    let full = [Change::put("app/a", "1"), Change::put("app/deep/b", "2"), Change::instance("web", "w1", 80)];
    Scene::<O>::start(&full).daemon.stop();
}

fn change<O: Origin>() {
    let mut scene = Scene::<O>::start(&[Change::put("app/a", "1")]);
    scene.change(&[Change::put("app/a", "2")]);
    scene.change(&[Change::put("app/a", "")]);
    scene.change(&[Change::put("app/a", "{{ key(path=\"app/b\") }} {% raw %} \\ \" ' $HOME ü\t")]);
    scene.change(&[Change::put("app/b", "1.10"), Change::put("app/c", "0x1F"), Change::put("app/deep/er/d", "yes")]);
    scene.change(&[Change::instance("web", "w2", 81), Change::instance("web", "w1", 80)]);
    scene.change(&[Change::instance("web", "w2", 82)]);
    scene.daemon.stop();
}

fn delete<O: Origin>() {
    let keys = ["app/a", "app/b", "app/deep/c", "app/deep/d", "one"].map(|key| Change::put(key, "x"));
    let mut scene = Scene::<O>::start(&keys);
    scene.change(&[Change::instance("web", "w1", 80), Change::instance("web", "w2", 80)]);
    scene.change(&[Change::delete("app/a"), Change::delete("one")]);
    scene.change(&[Change::delete_folder("app/deep")]);
    scene.change(&[Change::delete_instance("web", "w1")]);
    scene.change(&[Change::delete_instance("web", "w2"), Change::delete("app/b")]);
    assert_eq!(scene.model, Model::default());
    scene.change(&[Change::put("app/a", "again"), Change::instance("web", "w1", 90)]);
    scene.daemon.stop();
}

fn outage_and_recovery<O: Origin>() {
    let mut scene = Scene::<O>::start(&[Change::put("app/a", "1"), Change::instance("web", "w1", 80)]);
    scene.origin.cut();
    scene.daemon.wait_for_log("registry does not answer");
    scene.wait();
    scene.origin.mend(&scene.model);
    scene.change(&[Change::put("app/a", "2"), Change::instance("web", "w2", 80)]);
    scene.wait();

    // And a start while it is away: nothing is written until it answers.
    scene.daemon.stop();
    scene.origin.cut();
    scene.job.write("all.conf", "old");
    scene.daemon = scene.job.start(&["run"]);
    scene.daemon.wait_for_log("registry does not answer");
    assert_eq!(scene.job.read("all.conf").as_deref(), Some("old"));
    scene.origin.mend(&scene.model);
    scene.wait();
    scene.daemon.stop();
}

fn a_neighbour_of_like_name_is_not_below<O: Origin>() {
    let mut scene = Scene::<O>::start(&[Change::put("app/a", "1"), Change::put("apple", "2"), Change::put("one", "3")]);
    let before = scene.job.read("all.conf").unwrap();
    scene.change(&[Change::put("application/a", "1"), Change::put("app-2/a", "1"), Change::put("oneself", "1")]);
    scene.change(&[Change::instance("webs", "w1", 80), Change::instance("we", "w1", 80)]);
    let services = "service we\nservice webs\n";
    assert_eq!(scene.job.read("all.conf").unwrap().replace(services, ""), before);
    scene.daemon.stop();
}

fn a_thousand_random_changes<O: Origin>() {
    let mut random = seed::random("a_thousand_random_changes");
    let mut scene = Scene::<O>::start(&[]);
    let mut leased: Vec<Change> = Vec::new();
    let (mut made, mut waited) = (0, 0);
    while made < 1000 {
        match random.random_range(0..100) {
            0..8 if leased.is_empty() => {
                let changes =
                    vec![Change::put(&leased_key(&mut random), "leased"), Change::instance("web", "leased", 7)];
                scene.model.apply(&changes);
                scene.origin.commit_leased(&changes, &scene.model);
                leased = changes.iter().map(Change::undone).collect();
                made += changes.len();
            }
            8..16 if !leased.is_empty() => {
                scene.model.apply(&leased);
                scene.origin.expire(&leased, &scene.model);
                made += leased.len();
                leased.clear();
            }
            choice => {
                let several = if choice < 40 { random.random_range(2..8) } else { 1 };
                let changes = distinct((0..several).map(|_| any_change(&mut random)).collect());
                scene.model.apply(&changes);
                scene.origin.commit(&changes, &scene.model);
                made += changes.len();
            }
        }
        if made / 100 > waited {
            waited = made / 100;
            scene.wait();
        }
    }
    scene.wait();
    scene.daemon.stop();
}

fn leased_key(random: &mut StdRng) -> String {
    format!("app/leased/k{}", random.random_range(0..3))
}

fn any_change(random: &mut StdRng) -> Change {
    let number = random.random_range(0..20);
    let folder = ["app", "app/deep", "app/deep/er", "apple", "other"][random.random_range(0..5)];
    let key = format!("{folder}/k{number}");
    match random.random_range(0..20) {
        0..10 => Change::put(&key, &"v".repeat(random.random_range(0..40))),
        10..13 => Change::delete(&key),
        13 => Change::delete_folder(folder),
        14 => Change::put("one", &number.to_string()),
        15 => Change::delete("one"),
        16..19 => {
            Change::instance(["web", "api"][number % 2], &format!("i{number}"), random.random_range(1..=u16::MAX))
        }
        _ => Change::delete_instance(["web", "api"][number % 2], &format!("i{number}")),
    }
}

/// A transaction of etcd may touch a key only once.
fn distinct(changes: Vec<Change>) -> Vec<Change> {
    let mut kept: Vec<Change> = Vec::new();
    for change in changes {
        if !kept.iter().any(|other| other.overlaps(&change)) {
            kept.push(change);
        }
    }
    kept
}

macro_rules! contract {
    ($($(#[$condition:meta])* $name:ident: $origin:ty;)*) => {
        $($(#[$condition])* mod $name {
            use super::*;

            #[test]
            fn first_answer() { super::first_answer::<$origin>(); }
            #[test]
            fn change() { super::change::<$origin>(); }
            #[test]
            fn delete() { super::delete::<$origin>(); }
            #[test]
            fn outage_and_recovery() { super::outage_and_recovery::<$origin>(); }
            #[test]
            fn a_neighbour_of_like_name_is_not_below() { super::a_neighbour_of_like_name_is_not_below::<$origin>(); }
            #[test]
            fn a_thousand_random_changes() { super::a_thousand_random_changes::<$origin>(); }
        })*
    };
}

// One line a kind.
contract! {
    on_a_file: file::FileOrigin;
    #[cfg(feature = "etcd")]
    on_etcd: etcd::EtcdOrigin;
    #[cfg(feature = "consul")]
    on_consul: consul::Plain;
    #[cfg(feature = "consul")]
    on_consul_over_tls: consul::OverTls;
}
