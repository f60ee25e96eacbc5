//! `{staged}`, `{dest}` and `{wrapper}` in commands and wrappers; every other brace is text.

use super::field::Field;
use super::model::Placeholder;
use super::problem::{Complaint, suggest};

/// What placeholders may stand for at one place of a target.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    /// The names of the templates of the target; none where the template has a problem of its own.
    pub(super) names: &'a [Option<String>],
    /// The template that `{staged}` and `{dest}` without a name stand for.
    pub(super) own: Option<usize>,
    /// Whether every template of the target writes many files.
    pub(super) many: bool,
    /// Whether the staged files are there when the command runs.
    pub(super) staged: bool,
    /// Whether there is a wrapper.
    pub(super) wrapper: bool,
}

/// A piece of a text.
pub(super) enum Token<'t> {
    /// Text, braces and all.
    Text(&'t str),
    /// A placeholder.
    Reference(Reference<'t>),
}

/// A placeholder as it is written.
#[derive(Clone, Copy)]
pub(super) struct Reference<'t> {
    /// With its braces.
    pub(super) text: &'t str,
    /// The word before the colon.
    word: &'t str,
    /// The name after the colon.
    name: Option<&'t str>,
}

/// The pieces of `text`, in order.
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    // Where the text begins that is not yet part of a token, and where the search goes on.
    let (mut start, mut from) = (0, 0);
    while let Some(brace) = text[from..].find('{').map(|offset| from + offset) {
        match reference(&text[brace..]) {
            Some(reference) => {
                if start < brace {
                    tokens.push(Token::Text(&text[start..brace]));
                }
                start = brace + reference.text.len();
                from = start;
                tokens.push(Token::Reference(reference));
            }
            None => from = brace + 1,
        }
    }
    if start < text.len() {
        tokens.push(Token::Text(&text[start..]));
    }
    tokens
}

/// The placeholder that `text` begins with.
fn reference(text: &str) -> Option<Reference<'_>> {
    let end = text.find('}')?;
    let inner = &text[1..end];
    let (word, name) = match inner.split_once(':') {
        Some((word, name)) => (word, Some(name)),
        None => (inner, None),
    };
    let known = matches!((word, name), ("staged" | "dest", _) | ("wrapper", None));
    known.then_some(Reference { text: &text[..=end], word, name })
}

impl Scope<'_> {
    /// What a placeholder stands for.
    pub(super) fn resolve(&self, reference: Reference<'_>) -> Result<Placeholder, Complaint> {
        let text = reference.text;
        match reference.word {
            "wrapper" if self.wrapper => Ok(Placeholder::Wrapper),
            "wrapper" => Err(Complaint::new("`{wrapper}` stands for nothing: there is no `wrapper`")
                .hint("write `wrapper: \"...\"` beside the command")),
            "staged" if !self.staged => {
                Err(Complaint::new(format!("`{text}` stands for nothing: the staged files are committed by then"))
                    .hint(format!("write `{}`", text.replacen("staged", "dest", 1))))
            }
            "staged" => self.template(reference).map(Placeholder::Staged),
            _ => self.template(reference).map(Placeholder::Dest),
        }
    }

    /// The index of the template that a placeholder means.
    fn template(&self, reference: Reference<'_>) -> Result<usize, Complaint> {
        let Reference { text, word, name } = reference;
        let known = self.names.iter().flatten().map(String::as_str);
        match name {
            Some(name) => self.names.iter().position(|known| known.as_deref() == Some(name)).ok_or_else(|| Complaint {
                message: format!("`{}` names no template of the target", text.escape_debug()),
                hint: suggest(name, known),
            }),
            None => self.own.ok_or_else(|| {
                let choices: Vec<String> = known.map(|name| format!("`{{{word}:{name}}}`")).collect();
                if self.many {
                    let complaint = Complaint::new(format!("`{text}` stands for no file here: every template writes many"));
                    return complaint.hint(if self.staged {
                        "give the template with `for_each` a `check` of its own, in which it stands for each of its files"
                    } else {
                        "write the folder that the files are in"
                    });
                }
                Complaint::new(format!("`{text}` may stand for any template of the target"))
                    .hint(format!("write one of {}", choices.join(", ")))
            }),
        }
    }

    /// The pieces of an argument or wrapper that stands at `field`.
    pub(super) fn pieces(&self, field: Field<'_>, text: &str) -> Option<Vec<Placeholder>> {
        let mut pieces = Some(Vec::new());
        for token in tokens(text) {
            let piece = match token {
                Token::Text(text) => Some(Placeholder::Text(text.to_owned())),
                Token::Reference(reference) => field.accept(self.resolve(reference)),
            };
            pieces = pieces.zip(piece).map(|(mut pieces, piece)| {
                pieces.push(piece);
                pieces
            });
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &str) -> String {
        tokens(text)
            .iter()
            .map(|token| match token {
                Token::Text(text) => format!("<{text}>"),
                Token::Reference(reference) => reference.text.to_uppercase(),
            })
            .collect()
    }

    #[test]
    fn only_known_placeholders_are_replaced() {
        let table = [
            ("", ""),
            ("plain", "<plain>"),
            ("{staged}", "{STAGED}"),
            ("-c={staged}!", "<-c=>{STAGED}<!>"),
            ("events {} http { include {staged}; }", "<events {} http { include >{STAGED}<; }>"),
            ("{staged:a.conf}{dest}{dest:b}{wrapper}", "{STAGED:A.CONF}{DEST}{DEST:B}{WRAPPER}"),
            ("{staged", "<{staged>"),
            ("{{staged}}", "<{>{STAGED}<}>"),
            (
                "{Staged} { staged } {stagedx} {wrapper:x} {} {{}}",
                "<{Staged} { staged } {stagedx} {wrapper:x} {} {{}}>",
            ),
            ("awk '{print $1}' ä{dest}ö", "<awk '{print $1}' ä>{DEST}<ö>"),
        ];
        for (text, tokens) in table {
            assert_eq!(show(text), tokens, "{text}");
        }
    }
}
