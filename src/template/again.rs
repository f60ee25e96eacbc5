//! A render that failed, done once more to find out what its error does not tell.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tera::TeraResult;

use super::Environment;
use super::each::ITEM;
use super::edit::{Edit, Edited, Place};
use super::load::Parsed;
use super::record::{self, Render};
use super::render::Given;
use super::scan::{Piece, scan};
use super::source::Source;
use super::words::Names;
use crate::store::View;

/// A render that failed.
pub(super) struct Again<'a> {
    /// What it rendered.
    pub(super) parsed: &'a Parsed,
    /// The source that it began with.
    pub(super) entry: &'a Source,
    /// What it was given.
    pub(super) given: &'a Given<'a>,
    /// What it could reach.
    pub(super) environment: &'a Arc<Environment>,
    /// What it saw.
    pub(super) view: &'a View,
    /// When it has taken too long, with all that is done again.
    pub(super) deadline: Instant,
}

/// What such a render came to.
pub(super) struct Outcome {
    /// How it ended.
    pub(super) result: TeraResult<()>,
    /// What it left.
    pub(super) render: Render,
    /// What Tera got of each source.
    changed: Vec<Edited>,
}

impl Again<'_> {
    /// Renders with changes of what Tera gets of each source.
    pub(super) fn render(&self, change: impl Fn(&Source, &str) -> Vec<Edit>) -> Option<Outcome> {
        let changed = self.parsed.sources.iter().map(|source| {
            let text = &source.edited.text;
            Edited::new(text, change(source, text))
        });
        let changed: Vec<Edited> = changed.collect();
        let texts = self.parsed.sources.iter().zip(&changed).map(|(source, changed)| (&*source.name, &*changed.text));
        let mut tera = self.parsed.dialect.tera.clone();
        tera.add_raw_templates(texts.collect::<Vec<_>>()).ok()?;
        let left = self.left()?;
        let words = self.parsed.words.clone();
        let Given { context, listed, is_secret } = self.given;
        let (result, render) =
            record::during(Arc::clone(self.environment), self.view.clone(), words, *is_secret, left, || {
                record::with(|render| {
                    render.names = Names::beside(listed);
                    render.read_names = Some(HashSet::new()).into();
                });
                tera.render_to(&self.entry.name, context, io::sink())
            });
        Some(Outcome { result, render: render?, changed })
    }

    /// Where a place of a source that was changed stands in the source as it is written.
    pub(super) fn origin(&self, outcome: &Outcome, name: &str, place: Place) -> Option<(&Source, usize)> {
        let number = self.parsed.sources.iter().position(|source| source.name == name)?;
        let (source, changed) = (&self.parsed.sources[number], outcome.changed.get(number)?);
        Some((source, source.edited.origin(changed.origin(place.offset(&changed.text)))))
    }

    /// The pieces of what Tera gets.
    pub(super) fn pieces(&self, text: &str) -> Vec<Piece> {
        scan(text, &self.parsed.dialect.delimiters).unwrap_or_default()
    }

    /// The names of the variables that the render was given.
    pub(super) fn variables(&self) -> impl Iterator<Item = &'static str> {
        self.given.context.contains_key(ITEM).then_some(ITEM).into_iter()
    }

    fn left(&self) -> Option<Duration> {
        self.deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }
}
