//! The templates that come with liveconf. They lie in `templates/`; a target finds them as `liveconf/...`, and their
//! components need no include.
//!
//! To add one: a file in `templates/` and an entry in [`BUILTINS`].

use super::edit::{Edit, Edited};
use super::scan::{PieceKind, default_delimiters, scan};
use crate::config::Delimiters;

/// What the names of built-in templates begin with.
pub(super) const FOLDER: &str = "liveconf/";

/// A built-in template.
#[derive(Debug)]
pub(super) struct Builtin {
    /// What an include calls it.
    pub(super) name: &'static str,
    /// The components that it defines.
    pub(super) components: &'static [&'static str],
    /// Its source, with the usual delimiters.
    pub(super) source: &'static str,
}

/// The built-in templates. A target has those that it includes or whose components it calls.
pub(super) const BUILTINS: &[Builtin] = &[
    Builtin {
        name: "liveconf/haproxy/servers.tera",
        components: &["haproxy.servers"],
        source: include_str!("../../templates/haproxy/servers.tera"),
    },
    Builtin {
        name: "liveconf/nginx/upstream.tera",
        components: &["nginx.upstream"],
        source: include_str!("../../templates/nginx/upstream.tera"),
    },
];

/// The source with other delimiters in the place of the usual ones.
pub(super) fn with_delimiters(source: &str, delimiters: &Delimiters) -> String {
    let usual = default_delimiters();
    let mut edits = Vec::new();
    for piece in scan(source, &usual).unwrap_or_default() {
        let (start, end) = match piece.kind {
            PieceKind::Text => continue,
            PieceKind::Block => &delimiters.block,
            PieceKind::Variable => &delimiters.variable,
            PieceKind::Comment => &delimiters.comment,
        };
        let range = piece.range;
        edits.push(Edit { range: range.start..range.start + 2, text: start.clone() });
        edits.push(Edit { range: range.end - 2..range.end, text: end.clone() });
    }
    Edited::new(source, edits).text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_templates_take_other_delimiters_byte_for_byte() {
        let pair = |start: &str, end: &str| (start.to_owned(), end.to_owned());
        let delimiters = Delimiters { block: pair("<%", "%>"), variable: pair("<<", ">>"), comment: pair("<#", "#>") };
        for Builtin { name, source, .. } in BUILTINS {
            let changed = with_delimiters(source, &delimiters);
            assert_eq!(changed.len(), source.len(), "{name}");
            let pieces = scan(&changed, &delimiters).unwrap();
            assert_eq!(pieces.len(), scan(source, &default_delimiters()).unwrap().len(), "{name}");
        }
    }
}
