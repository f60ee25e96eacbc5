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
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        expanded.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some(inner) = rest.strip_prefix('{') {
            let Some((reference, after)) = inner.split_once('}') else {
                return Err(Complaint::new("a `${` has no `}`").hint("write `$${` for the text itself"));
            };
            expanded.push_str(value(reference, environment)?);
            rest = after;
        } else {
            expanded.push('$');
        }
    }
    expanded.push_str(rest);
    Ok(Cow::Owned(expanded))
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
