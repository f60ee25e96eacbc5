//! Arguments whose content can be judged before a render, because it is written out in the template.

use super::error::did_you_mean;
use crate::registry::{RecordType, Status};

/// What `ls(kind=)` may be.
pub(super) const KINDS: [(&str, &str); 3] = [("all", "all"), ("keys", "keys"), ("folders", "folders")];

/// What consul-template writes into one text with the name of a service, and the argument that it is here.
const PARTS: [(char, &str); 3] = [('@', "`datacenter=`"), ('~', "`near=`"), ('|', "`status=`")];

/// Why `text` cannot stand for this argument of this function, and what to write instead.
pub(super) fn refusal(function: &str, argument: &str, text: &str) -> Option<(String, Option<String>)> {
    match (function, argument) {
        ("service", "status") if text != "any" => one_of(argument, text, Status::NAMES.map(|(name, _)| name)),
        ("lookup", "type") => one_of(argument, text, RecordType::NAMES.map(|(name, _)| name)),
        ("ls", "kind") => one_of(argument, text, KINDS.map(|(name, _)| name)),
        ("service", "name") => {
            let (part, own) = PARTS.iter().find(|(part, _)| text.contains(*part))?;
            let message = format!("`{text}` is no name of a service: it holds `{part}`");
            let hint = format!("what stands around it are arguments here: {own} after `{part}`, `tag=` before `.`");
            Some((message, Some(hint)))
        }
        _ => None,
    }
}

fn one_of<const N: usize>(argument: &str, text: &str, names: [&str; N]) -> Option<(String, Option<String>)> {
    if names.contains(&text) {
        return None;
    }
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    let hint = if parts.len() > 1 && parts.iter().all(|part| names.contains(part)) {
        let list: Vec<String> = parts.iter().map(|part| format!("\"{part}\"")).collect();
        format!("several are a list: `{argument}=[{}]`", list.join(", "))
    } else {
        let list = names.map(|name| format!("`{name}`")).join(", ");
        did_you_mean(text, names).unwrap_or_else(|| format!("it is one of {list}"))
    };
    Some((format!("`{argument}` cannot be `{text}`"), Some(hint)))
}
