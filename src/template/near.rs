//! Names that are close to a misspelt one, and lists of names for messages.

/// The most names that a message lists.
const LISTED: usize = 12;

/// The longest part of a name that is shown, in characters.
const SHOWN: usize = 64;

/// The most names that are compared with a misspelt one, so that a message is made in no time.
const COMPARED: usize = 5000;

/// How alike two names are: what is meant is over [`MEANT`].
fn likeness(written: &str, name: &str) -> f64 {
    // The one knows exchanged letters in short names, the other common beginnings.
    let edits = strsim::normalized_damerau_levenshtein(written, name) + 0.2;
    edits.max(strsim::jaro_winkler(written, name))
}

/// How alike a name is that may be meant.
const MEANT: f64 = 0.8;

/// The name that is meant by what was written, when one of them is close to it.
pub(super) fn nearest<'a>(written: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    names
        .into_iter()
        .take(COMPARED)
        .map(|name| (likeness(written, name), name))
        .filter(|(likeness, _)| *likeness > MEANT)
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .map(|(_, name)| name)
}

/// The names that there are, those first that are most like what was written: "`a`, `b` and 3 more". None where there are
/// none.
pub(super) fn listed<'a>(written: &str, names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let mut names: Vec<&str> = names.into_iter().collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        return None;
    }
    let compared = names.len().min(COMPARED);
    names[..compared].sort_by(|left, right| likeness(written, right).total_cmp(&likeness(written, left)));
    let more = names.len().saturating_sub(LISTED);
    names.truncate(LISTED);
    let list = names.into_iter().map(quoted).collect::<Vec<_>>().join(", ");
    Some(if more > 0 { format!("{list} and {more} more") } else { list })
}

/// A name in backticks, shortened, with its control characters as they are written in a text.
pub(super) fn quoted(name: &str) -> String {
    if name.is_empty() {
        return "`\"\"`".to_owned();
    }
    let mut shown = String::from("`");
    for character in name.chars().take(SHOWN) {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown.push_str(if name.chars().nth(SHOWN).is_some() { "…`" } else { "`" });
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_come_first() {
        assert_eq!(listed("nmae", ["zone", "name", "names", "a"]).unwrap(), "`name`, `names`, `zone`, `a`");
        assert_eq!(listed("", ["b", "a", "b"]).unwrap(), "`a`, `b`");
        assert_eq!(listed("x", []), None);
        let many: Vec<String> = (0..30).map(|number| format!("n{number:02}")).collect();
        let list = listed("n07", many.iter().map(String::as_str)).unwrap();
        assert!(list.starts_with("`n07`, ") && list.ends_with(" and 18 more"), "{list}");
        assert_eq!(nearest("kye", ["service", "key"]), Some("key"));
        assert_eq!(nearest("upper", ["service"]), None);
    }

    #[test]
    fn a_hostile_name_is_cut_and_escaped() {
        assert_eq!(quoted("a\nb\u{1b}"), r"`a\nb\u{1b}`");
        assert_eq!(quoted(""), r#"`""`"#);
        assert_eq!(quoted(&"ä".repeat(65)), format!("`{}…`", "ä".repeat(64)));
    }
}
