//! The tags of a source that Tera refuses, without what stands in `raw`. Where they end is told loosely: what stands in them may be any language.

use std::ops::Range;

use crate::config::Delimiters;

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
    let mut tags = Vec::new();
    let mut at = 0;
    while at < source.len() {
        let opens = kinds.iter().filter_map(|(pair, is_block)| Some((source[at..].find(&pair.0)?, *pair, *is_block)));
        let Some((before, (open, close), is_block)) = opens.min_by_key(|(before, ..)| *before) else { break };
        let start = at + before;
        let inside = start + open.len();
        let end = match is_block {
            None => source[inside..].find(close.as_str()),
            Some(_) => end(&source[inside..], close).or_else(|| source[inside..].find(close.as_str())),
        };
        let Some(end) = end.map(|length| inside + length) else {
            at = inside;
            continue;
        };
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

/// Where the delimiter that closes a tag stands, passing over texts in quotes.
fn end(text: &str, close: &str) -> Option<usize> {
    let mut quote = None;
    let mut characters = text.char_indices();
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
