//! One render of one template.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::{ErrorKind, Failure, TemplateError};
use super::record::{Render, late};
use super::{Rendering, Templates, message, record};
use crate::store::View;

/// How many writes go by between two looks at the clock.
const WRITES: u32 = 256;

impl Templates {
    /// Renders the template at `index` of the target from a view. Synchronous: it takes up to `render_timeout`, or
    /// longer in a filter of Tera's own that is given megabytes.
    pub fn render(&self, index: usize, view: &View) -> Rendering {
        let failed = |file: &str, message: String| Rendering {
            reads: BTreeSet::new(),
            missing: BTreeSet::new(),
            no_weights: 0,
            warnings: BTreeSet::new(),
            output: Err(TemplateError::whole(file, message, ErrorKind::Function)),
        };
        let Some((parsed, number)) = self.entries.get(index) else {
            return failed("templates", format!("the target has no template {index}"));
        };
        let source = parsed.source(*number);
        let start = Instant::now();
        let mut output = Output::new(self.environment.limits.output, self.timeout);
        let (rendered, render) =
            record::during(Arc::clone(&self.environment), view.clone(), parsed.words.clone(), self.timeout, || {
                parsed.tera.render_to(&source.name, &tera::Context::new(), &mut output)
            });
        let Some(mut render) = render else { return failed(&source.file, "the render lost its record".into()) };
        let output = match (rendered, output.stopped) {
            (Ok(()), None) => Ok(output.bytes),
            (_, Some(stopped)) => {
                Err(TemplateError::whole(&source.file, stopped.message, stopped.kind).hint(stopped.hint))
            }
            (Err(error), None) if is_of_print(&error) && render.failure.is_some() => {
                let left = self.timeout.saturating_sub(start.elapsed());
                let place = parsed.find_refused(&source.name, &self.environment, view, left);
                Err(message::printing(render.failure.take(), place, source))
            }
            (Err(error), None) => Err(message::rendering(&error, &parsed.sources_in_pieces(), source, &mut render)),
        };
        let Render { reads, missing, no_weights, warnings, .. } = render;
        Rendering { reads, missing, no_weights: no_weights.get(), warnings, output }
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
