//! One render of one template.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tera::Context;

use super::again::Again;
use super::error::{ErrorKind, Failure, TemplateError};
use super::load::{Entry, Parsed};
use super::record::{Render, late};
use super::words::{Listed, Names};
use super::{Rendering, Templates, message, record};
use crate::store::View;

/// How many writes go by between two looks at the clock.
const WRITES: u32 = 256;

/// What one render of one source gave.
pub(super) struct One {
    pub(super) rendering: Rendering,
    /// The items, where the source gives those of a `for_each`.
    pub(super) items: Vec<tera::Value>,
    /// The names that a registry listed on the way.
    pub(super) names: Names,
}

/// What a source is rendered with, besides the view.
pub(super) struct Given<'a> {
    /// The variables.
    pub(super) context: &'a Context,
    /// Names that registries listed before, which the variables may hold.
    pub(super) listed: &'a Listed,
    /// Whether what is made is a secret.
    pub(super) is_secret: bool,
}

impl Templates {
    /// Renders the template at `index` of the target from a view. Synchronous: it takes up to `render_timeout`, or
    /// longer in a filter of Tera's own that is given megabytes.
    pub fn render(&self, index: usize, view: &View) -> Rendering {
        let Some(Entry { content: (parsed, number), secret, .. }) = self.entries.get(index) else {
            return failed("templates", format!("the target has no template {index}"));
        };
        let given = Given { context: &Context::new(), listed: &Listed::default(), is_secret: *secret };
        self.one(parsed, *number, &given, view, self.timeout).rendering
    }

    /// Renders one source with what it is given.
    pub(super) fn one(&self, parsed: &Parsed, number: usize, given: &Given<'_>, view: &View, timeout: Duration) -> One {
        let Given { context, listed, is_secret } = given;
        let source = parsed.source(number);
        let deadline = Instant::now() + timeout;
        let environment = &self.environment;
        let mut output = Output::new(self.environment.limits.output, timeout);
        let (rendered, render) =
            record::during(Arc::clone(environment), view.clone(), parsed.words.clone(), *is_secret, timeout, || {
                record::with(|render| render.names = Names::beside(listed));
                parsed.tera.render_to(&source.name, context, &mut output)
            });
        let Some(mut render) = render else {
            let rendering = failed(&source.file, "the render lost its record".into());
            return One { rendering, items: Vec::new(), names: Names::default() };
        };
        let output = match (rendered, output.stopped) {
            (Ok(()), None) => Ok(output.bytes),
            (_, Some(stopped)) => Err(stopped.whole(&source.file)),
            (Err(error), None) => {
                let again = Again { parsed, entry: source, given, environment, view, deadline };
                Err(if is_of_print(&error) && render.failure.is_some() {
                    message::printing(render.failure.take(), &again)
                } else {
                    message::rendering(&error, &again, &parsed.sources_in_pieces(), &mut render)
                })
            }
        };
        let Render { reads, missing, no_weights, warnings, items, names, .. } = render;
        One { rendering: Rendering { reads, missing, no_weights: no_weights.get(), warnings, output }, items, names }
    }
}

fn failed(file: &str, message: String) -> Rendering {
    Rendering {
        reads: BTreeSet::new(),
        missing: BTreeSet::new(),
        no_weights: 0,
        warnings: BTreeSet::new(),
        output: Err(TemplateError::whole(file, message, ErrorKind::Function)),
    }
}

/// Whether a render ended where a value was printed, of which Tera says nothing but that.
fn is_of_print(error: &tera::Error) -> bool {
    !matches!(error.kind(), tera::ErrorKind::RenderingError(_))
}

/// Where a render writes: it stops one that writes too much or takes too long.
struct Output {
    bytes: Vec<u8>,
    limit: u64,
    timeout: Duration,
    deadline: Instant,
    writes: u32,
    stopped: Option<Failure>,
}

impl Output {
    fn new(limit: u64, timeout: Duration) -> Self {
        Self { bytes: Vec::new(), limit, timeout, deadline: Instant::now() + timeout, writes: 0, stopped: None }
    }
}

impl Write for &mut Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writes = self.writes.wrapping_add(1);
        if self.bytes.len() as u64 + bytes.len() as u64 > self.limit {
            let message = format!("the output has more than {} bytes", self.limit);
            self.stopped = Some(Failure::of(ErrorKind::Limit, message).hint("raise `limits.output`"));
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if self.writes.is_multiple_of(WRITES) && Instant::now() >= self.deadline {
            self.stopped = Some(late(self.timeout));
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
