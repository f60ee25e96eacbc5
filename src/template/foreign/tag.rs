//! The tags of a source that Tera refuses, without what stands in `raw`. Where they end is told loosely: what stands in them may be any language.

use std::ops::Range;

use crate::config::Delimiters;
use crate::template::scan::Next;

/// How far the end of a tag is searched for, in bytes, where a quote in it may not be closed: from each of many such tags
/// the search would go to the end of the source.
const LONGEST: usize = 4096;

/// A tag.
#[derive(Clone)]
pub(super) struct Tag<'s> {
    /// Where it stands, delimiters included.
    pub(super) range: Range<usize>,
    /// What stands between its delimiters and the `-` within them.
    pub(super) inner: &'s str,
    /// Whether it is `{% ... %}` rather than `{{ ... }}`.
    pub(super) is_block: bool,
    /// Whether it takes away the white space before it, and behind it.
    pub(super) trims: (bool, bool),
}

/// The tags that print and the blocks, in order; one that does not end on its line or a later one is left out.
pub(super) fn tags<'s>(source: &'s str, delimiters: &Delimiters) -> Vec<Tag<'s>> {
    let kinds = [(&delimiters.comment, None), (&delimiters.block, Some(true)), (&delimiters.variable, Some(false))];
    let mut opens = kinds.map(|((open, _), _)| Next::new(source, open));
    let mut closes = kinds.map(|((_, close), _)| Next::new(source, close));
    let mut tags = Vec::new();
    let mut at = 0;
    while at < source.len() {
        let first = opens.iter_mut().enumerate().filter_map(|(kind, open)| Some((open.from(at)?, kind)));
        let Some((start, kind)) = first.min() else { break };
        let ((open, close), is_block) = kinds[kind];
        let inside = start + open.len();
        // What nothing closes is not searched for an end that may stand in quotes.
        let Some(plain) = closes[kind].from(inside) else {
            at = inside;
            continue;
        };
        let end = is_block.and_then(|_| end(&source[inside..], close)).map_or(plain, |length| inside + length);
        at = end + close.len();
        let Some(is_block) = is_block else { continue };
        let inner = &source[inside..end];
        let (inner, before) = inner.strip_prefix('-').map_or((inner, false), |inner| (inner, true));
        let (inner, behind) = inner.strip_suffix('-').map_or((inner, false), |inner| (inner, true));
        tags.push(Tag { range: start..at, inner: inner.trim(), is_block, trims: (before, behind) });
        // What stands between `raw` and its end is text.
        if is_block && inner.trim() == "raw" {
            at = raw_end(source, at, open).unwrap_or(source.len());
        }
    }
    tags
}

/// Where the tag begins that ends a `raw` whose text begins at a byte.
fn raw_end(source: &str, at: usize, open: &str) -> Option<usize> {
    let is_end = |start: &usize| {
        let inner = source[start + open.len()..].trim_start_matches('-').trim_start();
        inner.starts_with("endraw")
    };
    source[at..].match_indices(open).map(|(start, _)| at + start).find(is_end)
}

/// Where the delimiter that closes a tag stands, passing over texts in quotes, as far as a tag is long.
fn end(text: &str, close: &str) -> Option<usize> {
    let mut quote = None;
    let mut characters = text.char_indices().take_while(|(index, _)| *index < LONGEST);
    while let Some((index, character)) = characters.next() {
        match (quote, character) {
            (None, _) if text[index..].starts_with(close) => return Some(index),
            (None, '"' | '\'' | '`') => quote = Some(character),
            (Some('"' | '\''), '\\') => _ = characters.next(),
            (Some(open), _) if character == open => quote = None,
            _ => {}
        }
    }
    None
}
