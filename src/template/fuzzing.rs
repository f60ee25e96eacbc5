//! What may stand in a template before Tera sees it.

use super::edit::Edited;
use super::scan::{default_delimiters, scan};
use super::trim::edits;

/// Takes a text for a template: its pieces are the whole of it, and taking its block lines away leaves a text whose every
/// place has one in the source.
pub(crate) fn source(bytes: &[u8]) {
    let Ok(source) = std::str::from_utf8(bytes) else { return };
    let delimiters = default_delimiters();
    let Some(pieces) = scan(source, &delimiters) else { return };
    let mut end = 0;
    for piece in &pieces {
        assert!(piece.range.start == end && source.is_char_boundary(piece.range.end), "a gap between pieces");
        end = piece.range.end;
        for token in &piece.tokens {
            assert!(source.get(token.range.clone()).is_some(), "a token that is no text");
        }
    }
    assert_eq!(end, source.len(), "the pieces are the whole source");
    let edited = Edited::new(source, edits(source, &pieces, &delimiters));
    for (at, _) in edited.text.char_indices() {
        assert!(edited.origin(at) <= source.len(), "a place that is not in the source");
    }
}
