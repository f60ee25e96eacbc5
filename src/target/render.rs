//! Rendering all templates of a target from one view, each only when something that it read has changed.

mod spread;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tokio::task::JoinHandle;
use tracing::warn;

use self::spread::Written;
use super::state::Cause;
use super::turn::{Turns, Work};
use crate::config::{Target, Template, Writes};
use crate::guard::Guard;
use crate::heartbeat::Pulse;
use crate::log::{Line, Repeats};
use crate::registry::{Asked, Query, RecordType};
use crate::store::{Earlier, Reader, View};
use crate::template::{Each, ErrorKind, Rendering, TemplateError, Templates};

/// A render that calls functions notices by itself that its time is over, and can say where; it is given this long to.
const NOTICED_WITHIN: Duration = Duration::from_millis(100);

/// What one try to render a target gave.
#[derive(Debug)]
pub enum Render {
    /// Every template, from one view.
    Complete(Complete),
    /// Some queries are not answered yet; they are followed from now on.
    Waiting(Waiting),
    /// It failed.
    Failed(RenderFailure),
}

/// What a render waits for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Queries that are not answered.
    pub missing: BTreeSet<Asked>,
    /// What a template says is not enough yet.
    pub not_yet: Option<String>,
    /// What it asked besides, and got.
    read: BTreeSet<Asked>,
    /// The publication that it saw.
    publication: u64,
}

impl Waiting {
    /// Whether another render may come further: all that was missing has arrived, be it as a refusal that the last
    /// render did not see, or what it did read has changed, so that it may ask for other things.
    pub fn is_over(&self, view: &View) -> bool {
        let arrived = |asked: &Asked| {
            let refused = view.error(asked).is_some() && view.changed_since(self.publication, [asked]);
            view.answer(asked).is_some() || refused
        };
        let waits_for_queries = !self.missing.is_empty() || self.not_yet.is_none();
        waits_for_queries && self.missing.iter().all(arrived) || view.changed_since(self.publication, &self.read)
    }
}

/// Why a target could not be rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderFailure {
    /// A template failed; the same answers would fail it again.
    #[error(transparent)]
    Template(#[from] Box<TemplateError>),
    /// It took too long, or the one before that did still runs.
    #[error("the templates did not render within `render_timeout` ({})", humantime::format_duration(*.0))]
    TimedOut(Duration),
    /// A defect of the program.
    #[error("internal error: a render panicked; please report this")]
    Panicked,
}

impl RenderFailure {
    /// Whether a key that the template needs is not there, so that it may yet come.
    pub fn is_absent_key(&self) -> bool {
        matches!(self, Self::Template(error) if matches!(&error.kind, ErrorKind::Undefined { absent } if !absent.is_empty()))
    }
}

/// The rendered files of a target.
#[derive(Debug, Clone)]
pub struct Complete {
    /// The target with a template for each file: one with `for_each` stands there once for each of its own.
    pub target: Arc<Target>,
    /// Their contents, in the order of the templates.
    pub files: Vec<Bytes>,
    /// The newest revision of an answer that was read.
    pub revision: u64,
    /// For each file whether its guard does not know yet whether it lacks what an earlier run has put into it: such a
    /// file may be created, and replaces none.
    pub unproven: Vec<bool>,
    /// Whether this is so of the items of a `for_each`: then no file goes because its item does.
    pub unproven_items: bool,
    /// For each file whether it shows answers of a registry that is not to be remembered.
    pub unremembered: Vec<bool>,
    /// Why they may differ from what was last put in place.
    pub cause: Cause,
    /// The view that they were rendered from; see [`Renderer::placed`].
    pub view: View,
    /// The registries that did not answer, so that saved answers stand in, and when the oldest of these were saved.
    pub earlier: BTreeMap<Arc<str>, SystemTime>,
}

/// Renders one target, and keeps what did not change.
pub struct Renderer {
    target: Arc<Target>,
    templates: Arc<Templates>,
    turns: Turns,
    pulse: Pulse,
    kept: Vec<Option<Kept>>,
    /// None where nothing is held back.
    guard: Option<Guard>,
    /// The registries whose answers are not to be remembered.
    unremembered: BTreeSet<Arc<str>>,
    /// A render that went past its time and cannot be ended from outside.
    stuck: Option<JoinHandle<Pass>>,
    /// The publication that the files show; none before the first were put in place.
    placed: Option<u64>,
    /// The queries that the guard has shown another way since.
    turned: BTreeSet<Asked>,
    /// What was said of weights that are no numbers.
    weights: Repeats,
    /// What was said of what the templates warn of.
    warnings: Repeats,
    /// The target with a template for each file, as of the last render.
    spread: Arc<Target>,
}

/// The last good render of one template.
#[derive(Debug, Clone)]
struct Kept {
    publication: u64,
    reads: BTreeSet<Asked>,
    /// See [`Each::named_by`].
    named_by: BTreeSet<Asked>,
    no_weights: usize,
    warnings: BTreeSet<String>,
    files: Written,
}

/// One pass over the templates of a target.
#[derive(Debug)]
struct Pass {
    kept: Vec<Option<Kept>>,
    /// All that was asked, answered or not.
    reads: BTreeSet<Asked>,
    missing: BTreeSet<Asked>,
    /// What the first template says that says so is not enough yet.
    not_yet: Option<String>,
    error: Option<Box<TemplateError>>,
}

impl Complete {
    /// Each file with its template.
    pub fn by_template(&self) -> impl Iterator<Item = (&Template, &Bytes)> {
        self.target.templates.iter().zip(&self.files)
    }
}

impl Renderer {
    /// A renderer that has rendered nothing yet.
    pub fn new(target: Arc<Target>, templates: Arc<Templates>, turns: Turns) -> Self {
        let kept = vec![None; target.templates.len()];
        let (unremembered, turned) = (BTreeSet::new(), BTreeSet::new());
        let (weights, warnings) = (Repeats::default(), Repeats::default());
        let (pulse, spread) = (Pulse::unheard("target"), target.clone());
        Self {
            target,
            spread,
            templates,
            turns,
            pulse,
            kept,
            guard: None,
            unremembered,
            stuck: None,
            placed: None,
            turned,
            weights,
            warnings,
        }
    }

    /// Shows by this pulse that it makes progress.
    pub fn set_pulse(&mut self, pulse: Pulse) {
        self.pulse = pulse;
    }

    /// Has answers held back that lose too much.
    pub fn set_guard(&mut self, guard: Option<Guard>) {
        self.guard = guard;
    }

    /// Has told apart what shows answers of these registries.
    pub fn set_unremembered(&mut self, registries: BTreeSet<Arc<str>>) {
        self.unremembered = registries;
    }

    /// The guard, where there is one.
    pub fn guard(&mut self) -> Option<&mut Guard> {
        self.guard.as_mut()
    }

    /// The files of the render that showed this publication are in place.
    pub fn placed(&mut self, publication: u64) {
        self.placed = Some(publication);
        self.turned.clear();
    }

    /// What the last good render of each template has read and may be remembered: of a `secret` template whose earlier
    /// version is not kept on the disk (`keep_previous`), no answer that holds values.
    pub fn memorable(&self) -> BTreeSet<&Asked> {
        let templates = self.target.templates.iter().zip(&self.kept);
        let reads = templates.flat_map(|(template, kept)| {
            let is_private = template.secret && !template.keep_previous;
            let reads = kept.iter().flat_map(|kept| &kept.reads);
            reads.filter(move |asked| !is_private || !holds_values(&asked.query))
        });
        reads.collect()
    }

    /// What the last good render of each template has asked, in their order.
    pub fn reads(&self) -> impl Iterator<Item = &BTreeSet<Asked>> {
        self.kept.iter().flatten().map(|kept| &kept.reads)
    }

    /// For each template, in their order, what only its items and the names of its files were made of.
    pub fn named_by(&self) -> impl Iterator<Item = &BTreeSet<Asked>> {
        self.kept.iter().flatten().map(|kept| &kept.named_by)
    }

    /// Renders from the newest view, and tells the store what was read.
    pub async fn render(&mut self, reader: &Reader) -> Render {
        self.render_with(reader, None).await
    }

    /// The same with `earlier` answers where there is none yet. Nothing of it is kept for the next render.
    pub async fn render_earlier(&mut self, reader: &Reader, earlier: &Arc<Earlier>) -> Render {
        self.render_with(reader, Some(earlier)).await
    }

    async fn render_with(&mut self, reader: &Reader, earlier: Option<&Arc<Earlier>>) -> Render {
        let (view, mut pass) = loop {
            let view = self.view(reader, earlier);
            let pass = match self.pass(&view, earlier.is_none()).await {
                Ok(pass) => pass,
                Err(failure) => return Render::Failed(failure),
            };
            // What an earlier life has accepted of this may have to be shown instead.
            if !self.guard.as_mut().is_some_and(|guard| guard.recall(&view, &pass.reads)) {
                break (view, pass);
            }
        };
        let revision = revision(&view, &pass.reads);
        let waits = !pass.missing.is_empty() || pass.not_yet.is_some() && pass.error.is_none();
        let waiting = waits.then(|| Waiting {
            read: pass.reads.difference(&pass.missing).cloned().collect(),
            missing: pass.missing,
            not_yet: pass.not_yet,
            publication: view.publication(),
        });
        let is_whole = waiting.is_none() && pass.error.is_none() && earlier.is_none();
        if let Some(guard) = self.guard.as_mut().filter(|_| is_whole) {
            guard.note_reads(&view, &pass.reads, Instant::now());
        }
        let kept = || pass.kept.iter().flatten();
        let is_unproven = |kept: &Kept| self.guard.as_ref().is_some_and(|guard| guard.is_unproven(&kept.reads));
        let is_unremembered = |kept: &Kept| {
            !self.unremembered.is_empty() && kept.reads.iter().any(|asked| self.unremembered.contains(&asked.registry))
        };
        let saved = earlier_registries(&view, &pass.reads);
        let of_each = |is: &dyn Fn(&Kept) -> bool| {
            kept().flat_map(|kept| std::iter::repeat_n(is(kept), kept.files.contents().count())).collect()
        };
        let is_many = |kept: &&Kept| matches!(kept.files, Written::Each(_));
        let unproven_items = kept().filter(is_many).any(&is_unproven);
        let (unproven, unremembered) = (of_each(&is_unproven), of_each(&is_unremembered));
        if waiting.is_none() && pass.error.is_none() {
            self.spread = spread::spread(&self.target, &self.spread, kept().map(|kept| &kept.files));
        }
        let complete = Complete {
            target: self.spread.clone(),
            files: kept().flat_map(|kept| kept.files.contents()).cloned().collect(),
            revision,
            unproven,
            unproven_items,
            unremembered,
            cause: if saved.is_empty() { self.cause(&view, &pass.reads) } else { Cause::Saved },
            earlier: saved,
            view,
        };
        if earlier.is_none() {
            self.kept = std::mem::take(&mut pass.kept);
            self.tell_weights(is_whole);
            self.tell_warnings(is_whole);
        }
        reader.has_read(&complete.view, pass.reads);
        match (waiting, pass.error) {
            (Some(waiting), _) => Render::Waiting(waiting),
            (None, Some(error)) => Render::Failed(error.into()),
            (None, None) => Render::Complete(complete),
        }
    }

    /// Says that weights were ignored. Whose they are is a value of the registry.
    fn tell_weights(&mut self, is_whole: bool) {
        let (now, target) = (Instant::now(), &*self.target.name);
        let count: usize = self.kept.iter().flatten().map(|kept| kept.no_weights).sum();
        if count == 0 {
            if is_whole {
                let _ = self.weights.recovered(now);
            }
        } else if self.weights.failed(now, "weights") != Line::Silent {
            let instead = "the weights of the registry stand in";
            warn!(target, count, "ignored weights in `meta` that are no whole number from 0 to 65535: {instead}");
        }
    }

    /// Says what templates warn of.
    fn tell_warnings(&mut self, is_whole: bool) {
        let (now, target) = (Instant::now(), &*self.target.name);
        let templates = self.target.templates.iter().zip(&self.kept);
        let warnings: Vec<(&str, &str)> = templates
            .flat_map(|(template, kept)| {
                kept.iter().flat_map(|kept| &kept.warnings).map(|text| (&*template.name, &**text))
            })
            .collect();
        if warnings.is_empty() {
            if is_whole {
                let _ = self.warnings.recovered(now);
            }
        } else if self.warnings.failed(now, &format!("{warnings:?}")) != Line::Silent {
            for (template, message) in warnings {
                warn!(target, template, "a template warns: {message}");
            }
        }
    }

    /// The newest view, as the guard shows it.
    fn view(&mut self, reader: &Reader, earlier: Option<&Arc<Earlier>>) -> View {
        let mut view = reader.view();
        if let Some(guard) = &mut self.guard {
            view = guard.apply(view, Instant::now());
            let turned = guard.take_turned();
            for kept in &mut self.kept {
                kept.take_if(|kept| !kept.reads.is_disjoint(&turned));
            }
            self.turned.extend(turned);
        }
        match earlier {
            Some(earlier) => view.backed_by(earlier.clone()),
            None => view,
        }
    }

    /// One pass over the templates, on a thread and within the time that it may take; `go_on` with what was kept.
    async fn pass(&mut self, view: &View, go_on: bool) -> Result<Pass, RenderFailure> {
        let timeout = self.target.render_timeout;
        self.stuck.take_if(|thread| thread.is_finished());
        if self.stuck.is_some() {
            return Err(RenderFailure::TimedOut(timeout));
        }
        let kept = if go_on { self.kept.clone() } else { vec![None; self.kept.len()] };
        let (target, templates, from) = (self.target.clone(), self.templates.clone(), view.clone());
        let work = move || pass(&target, &templates, kept, &from);
        match self.turns.run(&self.pulse, Some(timeout + NOTICED_WITHIN), work).await {
            Work::Done(pass) => Ok(pass),
            Work::Panicked => Err(RenderFailure::Panicked),
            Work::Late(thread) => {
                self.stuck = Some(thread);
                Err(RenderFailure::TimedOut(timeout))
            }
        }
    }

    /// Why this render may differ from what is in place.
    fn cause(&self, view: &View, reads: &BTreeSet<Asked>) -> Cause {
        let Some(placed) = self.placed else { return Cause::First };
        let changed = |asked: &&Asked| view.changed_since(placed, [*asked]) || self.turned.contains(*asked);
        Cause::of(reads.iter().filter(changed).cloned())
    }
}

/// Whether what answers a query may be a secret: names of keys and what a catalog tells of services are none.
fn holds_values(query: &Query) -> bool {
    match query {
        Query::Key(_) | Query::Prefix(_) | Query::File(_) => true,
        // Addresses are none either; a text may hold anything.
        Query::Lookup(query) => query.record == RecordType::Txt,
        Query::Exists(_)
        | Query::Listing(_)
        | Query::Services { .. }
        | Query::Service(_)
        | Query::Nodes { .. }
        | Query::Node(_)
        | Query::Datacenters
        | Query::Time { .. } => false,
    }
}

fn pass(target: &Target, templates: &Templates, mut kept: Vec<Option<Kept>>, view: &View) -> Pass {
    let mut reads = BTreeSet::new();
    let mut missing = BTreeSet::new();
    let (mut not_yet, mut error) = (None, None);
    for (index, kept) in kept.iter_mut().enumerate() {
        if let Some(kept) = kept
            && !view.changed_since(kept.publication, &kept.reads)
        {
            reads.extend(kept.reads.iter().cloned());
            continue;
        }
        let is_many = target.templates.get(index).is_some_and(|template| matches!(template.writes, Writes::Each(_)));
        let rendering = if is_many {
            templates.render_each(index, view).map(|Each { files, named_by }| {
                let files = files.into_iter().map(|(name, bytes)| (name, bytes.into()));
                (Written::Each(files.collect()), named_by)
            })
        } else {
            templates.render(index, view).map(|bytes| (Written::One(bytes.into()), BTreeSet::new()))
        };
        reads.extend(rendering.reads.iter().chain(&rendering.missing).cloned());
        if !rendering.missing.is_empty() {
            missing.extend(rendering.missing);
            continue;
        }
        match rendering.output {
            Ok((files, named_by)) => {
                let Rendering { reads, no_weights, warnings, .. } = rendering;
                *kept = Some(Kept { publication: view.publication(), reads, named_by, no_weights, warnings, files });
            }
            Err(failed) if failed.kind == ErrorKind::NotYet => {
                let TemplateError { message, file, line, .. } = &failed;
                not_yet.get_or_insert_with(|| format!("{message} ({file}:{line})"));
            }
            Err(failed) => error = error.or(Some(Box::new(failed))),
        }
    }
    Pass { kept, reads, missing, not_yet, error }
}

fn revision(view: &View, reads: &BTreeSet<Asked>) -> u64 {
    reads.iter().filter_map(|asked| view.answer(asked)).map(|answer| answer.revision).max().unwrap_or(0)
}

fn earlier_registries(view: &View, reads: &BTreeSet<Asked>) -> BTreeMap<Arc<str>, SystemTime> {
    let mut registries = BTreeMap::new();
    for asked in reads {
        if let Some(saved) = view.earlier(asked) {
            let oldest = registries.entry(asked.registry.clone()).or_insert(saved);
            *oldest = saved.min(*oldest);
        }
    }
    registries
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{Answer, Data, Path, Query, QueryError, Reply, Text};
    use crate::store::Store;

    fn asked(path: &str) -> Asked {
        Asked { registry: "main".into(), query: Query::Key(Path::parse(path).unwrap()) }
    }

    fn answered(path: &str, value: &'static str) -> Reply {
        Reply { query: asked(path).query, result: Ok(Answer::new(Data::Key(Some(Text(value.into()))), 1)) }
    }

    fn refused(path: &str) -> Reply {
        Reply { query: asked(path).query, result: Err(QueryError::denied("permission denied")) }
    }

    /// A render that read `a` and waits for `b` and `c`.
    fn waiting(publication: u64) -> Waiting {
        let (missing, read) = ([asked("b"), asked("c")].into(), [asked("a")].into());
        Waiting { missing, not_yet: None, read, publication }
    }

    #[test]
    fn a_render_is_worth_another_try_when_all_has_arrived_or_what_it_read_has_changed() {
        let store = Store::new();
        let main: Arc<str> = "main".into();
        let _wanted = store.add_registry(&main);
        let reader = store.reader();
        reader.has_read(&reader.view(), ["a", "b", "c"].map(asked).into());
        store.publish(&main, vec![answered("a", "1")]);
        let waiting_now = waiting(reader.view().publication());
        assert!(!waiting_now.is_over(&reader.view()));

        store.publish(&main, vec![answered("b", "1")]);
        assert!(!waiting_now.is_over(&reader.view()), "`c` is still missing");
        store.publish(&main, vec![refused("c")]);
        assert!(waiting_now.is_over(&reader.view()), "a refusal may be what an optional query waits for");
        let seen = waiting(reader.view().publication());
        store.publish(&main, vec![refused("c")]);
        assert!(!seen.is_over(&reader.view()), "the same refusal brings nothing new");

        store.publish(&main, vec![answered("a", "2")]);
        assert!(seen.is_over(&reader.view()), "the template may not ask for `c` any more");
    }

    #[test]
    fn a_template_that_says_not_yet_is_rendered_again_when_what_it_read_has_changed() {
        let store = Store::new();
        let main: Arc<str> = "main".into();
        let _wanted = store.add_registry(&main);
        let reader = store.reader();
        reader.has_read(&reader.view(), ["a", "b"].map(asked).into());
        store.publish(&main, vec![answered("a", "1")]);
        let publication = reader.view().publication();
        let not_yet = Some("two of them".to_owned());
        let waiting = Waiting { missing: BTreeSet::new(), not_yet, read: [asked("a")].into(), publication };
        assert!(!waiting.is_over(&reader.view()));
        store.publish(&main, vec![answered("b", "1")]);
        assert!(!waiting.is_over(&reader.view()), "it did not read `b`");
        // Another template of the target lacks an answer.
        let both = Waiting { missing: [asked("b")].into(), ..waiting.clone() };
        assert!(both.is_over(&reader.view()));
        store.publish(&main, vec![answered("a", "2")]);
        assert!(waiting.is_over(&reader.view()));
    }
}
