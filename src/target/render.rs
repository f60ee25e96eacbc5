//! Rendering all templates of a target from one view, each only when something that it read has changed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinHandle;

use crate::config::Target;
use crate::registry::Asked;
use crate::store::{Reader, View};
use crate::template::{ErrorKind, TemplateError, Templates};

/// A render that calls functions notices by itself that its time is over, and can say where; it is given this long to.
const NOTICED_WITHIN: Duration = Duration::from_millis(100);

/// What one try to render a target gave.
#[derive(Debug)]
pub enum Render {
    /// Every template, from one view.
    Complete(Complete),
    /// Some queries are not answered yet; they are followed from now on.
    Waiting(BTreeSet<Asked>),
    /// It failed.
    Failed(RenderFailure),
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

/// The rendered files of a target, in the order of its templates.
#[derive(Debug, Clone)]
pub struct Complete {
    /// Their contents.
    pub files: Vec<Bytes>,
    /// The newest revision of an answer that was read.
    pub revision: u64,
}

/// Renders one target, and keeps what did not change.
pub struct Renderer {
    target: Arc<Target>,
    templates: Arc<Templates>,
    kept: Vec<Option<Kept>>,
    /// A render that went past its time and cannot be ended from outside.
    stuck: Option<JoinHandle<Pass>>,
}

/// The last good render of one template.
#[derive(Debug, Clone)]
struct Kept {
    publication: u64,
    reads: BTreeSet<Asked>,
    bytes: Bytes,
}

/// One pass over the templates of a target.
#[derive(Debug)]
struct Pass {
    kept: Vec<Option<Kept>>,
    /// All that was asked, answered or not.
    reads: BTreeSet<Asked>,
    missing: BTreeSet<Asked>,
    error: Option<Box<TemplateError>>,
}

impl Renderer {
    /// A renderer that has rendered nothing yet.
    pub fn new(target: Arc<Target>, templates: Arc<Templates>) -> Self {
        let kept = vec![None; target.templates.len()];
        Self { target, templates, kept, stuck: None }
    }

    /// Renders from the newest view, and tells the store what was read.
    pub async fn render(&mut self, reader: &Reader) -> Render {
        let timeout = self.target.render_timeout;
        self.stuck.take_if(|thread| thread.is_finished());
        if self.stuck.is_some() {
            return Render::Failed(RenderFailure::TimedOut(timeout));
        }
        let view = reader.view();
        let (templates, kept, from) = (self.templates.clone(), self.kept.clone(), view.clone());
        let mut thread = tokio::task::spawn_blocking(move || pass(&templates, kept, &from));
        let pass = match tokio::time::timeout(timeout + NOTICED_WITHIN, &mut thread).await {
            Ok(Ok(pass)) => pass,
            Ok(Err(_panicked)) => return Render::Failed(RenderFailure::Panicked),
            Err(_elapsed) => {
                self.stuck = Some(thread);
                return Render::Failed(RenderFailure::TimedOut(timeout));
            }
        };
        let complete = pass.missing.is_empty() && pass.error.is_none();
        let revision = revision(&view, &pass.reads);
        reader.has_read(&view, pass.reads, complete);
        self.kept = pass.kept;
        if !pass.missing.is_empty() {
            return Render::Waiting(pass.missing);
        }
        if let Some(error) = pass.error {
            return Render::Failed(error.into());
        }
        let files = self.kept.iter().flatten().map(|kept| kept.bytes.clone()).collect();
        Render::Complete(Complete { files, revision })
    }
}

fn pass(templates: &Templates, mut kept: Vec<Option<Kept>>, view: &View) -> Pass {
    let mut reads = BTreeSet::new();
    let mut missing = BTreeSet::new();
    let mut error = None;
    for (index, kept) in kept.iter_mut().enumerate() {
        if let Some(kept) = kept
            && !view.changed_since(kept.publication, &kept.reads)
        {
            reads.extend(kept.reads.iter().cloned());
            continue;
        }
        let rendering = templates.render(index, view);
        reads.extend(rendering.reads.iter().chain(&rendering.missing).cloned());
        if !rendering.missing.is_empty() {
            reads.extend(rendering.missing.iter().cloned());
            missing.extend(rendering.missing);
            continue;
        }
        match rendering.output {
            Ok(bytes) => {
                *kept = Some(Kept { publication: view.publication(), reads: rendering.reads, bytes: bytes.into() });
            }
            Err(failed) => error = error.or(Some(Box::new(failed))),
        }
    }
    Pass { kept, reads, missing, error }
}

fn revision(view: &View, reads: &BTreeSet<Asked>) -> u64 {
    reads.iter().filter_map(|asked| view.answer(asked)).map(|answer| answer.revision).max().unwrap_or(0)
}
