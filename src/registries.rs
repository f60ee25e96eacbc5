//! The registries at work: one driver task each, kept over a reload of the configuration where nothing changed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::config::Limits;
use crate::config::NamedRegistry;
use crate::heartbeat::Heart;
use crate::registry::Registry;
use crate::registry::clock::Clock;
use crate::registry::driver::{self, Standing};
use crate::registry::local::LocalFiles;
use crate::store::Store;
use crate::template::{CLOCK, LOCAL_FILES};

/// Driver tasks by the name of their registry. Dropping it ends them.
#[derive(Debug)]
pub struct Registries {
    store: Arc<Store>,
    heart: Heart,
    running: HashMap<Arc<str>, Running>,
    _machine: [AbortOnDropHandle<()>; 2],
}

#[derive(Debug)]
struct Running {
    kind: &'static str,
    fingerprint: [u8; 32],
    standing: watch::Receiver<Standing>,
    driver: AbortOnDropHandle<()>,
}

/// Registries as they are configured, by name.
pub type Configured = BTreeMap<Arc<str>, NamedRegistry>;

impl Registries {
    /// Starts a driver for each registry, and those for what templates ask of this machine. They answer `heart`.
    pub async fn start(configured: &Configured, store: &Arc<Store>, heart: &Heart) -> Self {
        let limits = configured.values().next().map(|registry| registry.limits).unwrap_or_default();
        let own = |name: &str, registry| drive(&name.into(), registry, limits, store, heart).0;
        let machine = [own(LOCAL_FILES, Arc::new(LocalFiles::default())), own(CLOCK, Arc::new(Clock))];
        let (store, heart) = (store.clone(), heart.clone());
        let mut registries = Self { store, heart, running: HashMap::new(), _machine: machine };
        registries.follow(configured).await;
        registries
    }

    /// Starts them for a command that ends soon.
    pub async fn start_briefly(configured: &Configured, store: &Arc<Store>) -> Self {
        let brief = |(name, named): (&Arc<str>, &NamedRegistry)| {
            let registry = named.registry.brief().unwrap_or_else(|| named.registry.clone());
            (name.clone(), NamedRegistry { registry, ..named.clone() })
        };
        Self::start(&configured.iter().map(brief).collect(), store, &Heart::default()).await
    }

    /// Makes the running drivers those of `configured`. A registry that is configured as before keeps its connection
    /// and its answers; the answers of one that is configured differently are forgotten, since they are another's.
    pub async fn follow(&mut self, configured: &Configured) {
        let is_same = |name: &Arc<str>, running: &mut Running| {
            configured.get(name).is_some_and(|registry| registry.fingerprint == running.fingerprint)
        };
        for (name, running) in self.running.extract_if(|name, running| !is_same(name, running)) {
            running.driver.abort();
            // Only when it has ended it cannot publish any more under a name that another one takes over.
            let _ = running.driver.await;
            self.store.remove_registry(&name);
        }
        for (name, registry) in configured {
            self.running.entry(name.clone()).or_insert_with(|| {
                let (driver, standing) =
                    drive(name, registry.registry.clone(), registry.limits, &self.store, &self.heart);
                Running { kind: registry.kind, fingerprint: registry.fingerprint, standing, driver }
            });
        }
    }

    /// How each stands, now and later, with the name of its kind; sorted by name.
    pub fn standings(&self) -> BTreeMap<Arc<str>, (&'static str, watch::Receiver<Standing>)> {
        let standing = |running: &Running| (running.kind, running.standing.clone());
        self.running.iter().map(|(name, running)| (name.clone(), standing(running))).collect()
    }
}

fn drive(
    name: &Arc<str>,
    registry: Arc<dyn Registry>,
    limits: Limits,
    store: &Arc<Store>,
    heart: &Heart,
) -> (AbortOnDropHandle<()>, watch::Receiver<Standing>) {
    let (sender, standing) = watch::channel(Standing::Idle);
    let pulse = heart.pulse(format!("registry `{name}`"));
    let driver = driver::drive(name.clone(), registry, limits, store.clone(), sender);
    // What it waits for is away at the worst; what it computes between two waits ends, or it is stuck.
    let driver = tokio::spawn(async move { pulse.attend(driver).await });
    (AbortOnDropHandle::new(driver), standing)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use futures_util::future::BoxFuture;

    use super::*;
    use crate::config::Limits;
    use crate::registry::{Answer, Asked, Data, Feed, Outage, Path, Query, Registry, Reply, Text, Watch};

    /// Answers everything with its own text, again and again; what it is about to say, an abort does not stop.
    #[derive(Debug, Clone, Copy)]
    struct Loud(&'static str);

    impl Registry for Loud {
        fn supports(&self, _: &Query) -> Result<(), String> {
            Ok(())
        }

        fn watch(&self) -> Box<dyn Watch> {
            Box::new(*self)
        }
    }

    impl Loud {
        async fn follow(self, feed: &mut Feed) -> Infallible {
            loop {
                let reply = |query: &Query| Reply { query: query.clone(), result: Ok(Answer::new(self.says(), 1)) };
                let replies = feed.wanted().keys().map(reply).collect();
                std::thread::sleep(Duration::from_millis(2));
                feed.publish(replies);
                tokio::task::yield_now().await;
            }
        }

        fn says(self) -> Data {
            Data::Key(Some(Text(self.0.into())))
        }
    }

    impl Watch for Loud {
        fn run<'a>(&'a mut self, feed: &'a mut Feed) -> BoxFuture<'a, Outage> {
            Box::pin(async move { match self.follow(feed).await {} })
        }
    }

    fn configured(text: &'static str) -> Configured {
        let named = |(name, text): (&str, &'static str)| {
            let (name, mut fingerprint): (Arc<str>, _) = (name.into(), [0; 32]);
            fingerprint[..text.len()].copy_from_slice(text.as_bytes());
            (
                name.clone(),
                NamedRegistry {
                    name,
                    kind: "loud",
                    registry: Arc::new(Loud(text)),
                    limits: Limits::default(),
                    remember: false,
                    fingerprint,
                },
            )
        };
        [("changes", text), ("stays", "same")].into_iter().map(named).collect()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn a_registry_says_nothing_in_the_name_of_its_successor() {
        let asked = |registry: &str| Asked { registry: registry.into(), query: Query::Key(Path::parse("k").unwrap()) };
        let (changes, stays) = (asked("changes"), asked("stays"));
        let store = Store::new();
        let mut registries = Registries::start(&configured("one"), &store, &Heart::default()).await;
        for text in ["two", "one"].into_iter().cycle().take(10) {
            let reader = store.reader();
            let ask = || reader.has_read(&reader.view(), [changes.clone(), stays.clone()].into());
            let answer = async |asked| {
                loop {
                    if let Some(answer) = reader.view().answer(asked) {
                        return answer.data.clone();
                    }
                    let _ = reader.changed().await;
                }
            };
            ask();
            answer(&changes).await;
            answer(&stays).await;
            registries.follow(&configured(text)).await;
            ask();
            assert!(reader.view().answer(&stays).is_some(), "what stays keeps its answers");
            let first = tokio::time::timeout(Duration::from_secs(30), answer(&changes)).await.unwrap();
            assert_eq!(first, Loud(text).says());
        }
    }
}
