//! `${VAR}` in scalars.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::problem::Complaint;
use crate::secret::CREDENTIALS_DIRECTORY;

/// `text` with `${VAR}` and `${VAR:-default}` replaced from `environment` and `$$` by `$`; every other `$` is text.
/// As in a shell, `:-` also stands in for a variable that is empty.
pub(super) fn expand<'a>(text: &'a str, environment: &BTreeMap<String, String>) -> Result<Cow<'a, str>, Complaint> {
    if !text.contains('$') {
        return Ok(Cow::Borrowed(text));
    }
    Ok(Cow::Owned(pieces(text, environment)?.iter().map(|piece| piece.text).collect()))
}

/// A piece of a text.
pub(super) struct Piece<'a> {
    /// What stands there in the end.
    pub(super) text: &'a str,
    /// Where what it is made of begins.
    pub(super) origin: usize,
    /// Whether it is what is written there.
    pub(super) is_written: bool,
}

/// The pieces of `text`, with those of variables replaced.
pub(super) fn pieces<'a>(
    text: &'a str,
    environment: &'a BTreeMap<String, String>,
) -> Result<Vec<Piece<'a>>, Complaint> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while let Some(dollar) = text[at..].find('$').map(|before| at + before) {
        let behind = &text[dollar + 1..];
        pieces.push(Piece { text: &text[at..dollar], origin: at, is_written: true });
        if behind.starts_with('$') {
            pieces.push(Piece { text: "$", origin: dollar, is_written: false });
            at = dollar + 2;
        } else if let Some(inner) = behind.strip_prefix('{') {
            let Some((reference, after)) = inner.split_once('}') else {
                return Err(Complaint::new("a `${` has no `}`").hint("write `$${` for the text itself"));
            };
            pieces.push(Piece { text: value(reference, environment)?, origin: dollar, is_written: false });
            at = text.len() - after.len();
        } else {
            pieces.push(Piece { text: "$", origin: dollar, is_written: true });
            at = dollar + 1;
        }
    }
    pieces.push(Piece { text: &text[at..], origin: at, is_written: true });
    Ok(pieces)
}

/// What a reference, the text between the braces, stands for.
fn value<'a>(reference: &'a str, environment: &'a BTreeMap<String, String>) -> Result<&'a str, Complaint> {
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !is_name {
        return Err(Complaint::new(format!("`${{{reference}}}` names no variable"))
            .hint("write `${NAME}` or `${NAME:-default}`, and `$${` for the text itself"));
    }
    let set = environment.get(name).map(String::as_str);
    match default {
        Some(default) => Ok(set.filter(|value| !value.is_empty()).unwrap_or(default)),
        None => set.ok_or_else(|| {
            Complaint::new(format!("the variable `{name}` is not set")).hint(if name == CREDENTIALS_DIRECTORY {
                "systemd sets it for a unit that is given credentials: add `LoadCredential=NAME:FILE`; where you run \
                 liveconf by hand, set it to a folder that holds them"
                    .to_owned()
            } else {
                format!("set it, give a default (`${{{name}:-value}}`), or write `$${{{name}}}` for the text itself")
            })
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_credentials_the_hint_says_where_they_come_from() {
        let complaint = expand("${CREDENTIALS_DIRECTORY}/consul-token", &BTreeMap::new()).unwrap_err();
        assert_eq!(&*complaint.message, "the variable `CREDENTIALS_DIRECTORY` is not set");
        assert!(complaint.hint.unwrap().contains("`LoadCredential=NAME:FILE`"));
    }

    #[test]
    fn variables_are_expanded() {
        let environment = BTreeMap::from([("HOST".into(), "h".into()), ("EMPTY".into(), String::new())]);
        let table = [
            ("plain", Ok("plain")),
            ("${HOST}:${PORT:-80}", Ok("h:80")),
            ("[${EMPTY}][${EMPTY:-x}][${NONE:-}]", Ok("[][x][]")),
            ("$$ $${HOST} $host $ 5$", Ok("$ ${HOST} $host $ 5$")),
            ("a$$${HOST}", Ok("a$h")),
            ("${HOST:-a:-b}${NO:-a:-b}", Ok("ha:-b")),
            ("${NONE}", Err("the variable `NONE` is not set")),
            ("${HOST", Err("a `${` has no `}`")),
            ("${}", Err("`${}` names no variable")),
            ("${a b}", Err("`${a b}` names no variable")),
            ("${1}", Err("`${1}` names no variable")),
        ];
        for (text, expected) in table {
            let got = expand(text, &environment);
            assert_eq!(got.as_deref().map_err(|complaint| &*complaint.message), expected, "{text}");
        }
    }
}
