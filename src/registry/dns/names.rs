//! Names as templates ask for them, and the names that stand for them on the wire.

use hickory_resolver::proto::rr::Name;

/// The longest name, without the dot at its end (RFC 1035, 2.3.4).
const LONGEST: usize = 253;
const LONGEST_LABEL: usize = 63;

/// Whether this is a name that can be asked for: labels of letters, digits, `-` and `_`, with dots between them. What else
/// the protocol could carry has no place in a file of configuration.
pub(super) fn is_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        (1..=LONGEST_LABEL).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    name.len() <= LONGEST && name.split('.').all(is_label)
}

/// What a name server says, as text without the dot at its end; none where it is no such name.
pub(super) fn shown(name: &Name) -> Option<String> {
    let text = name.to_ascii();
    let text = text.strip_suffix('.').unwrap_or(&text);
    is_name(text).then(|| text.to_owned())
}

/// The whole names to ask for, one after the other until one is there: as the C library does it (resolv.conf(5)), a name
/// with `ndots` dots or more is first taken as it is, one with fewer last, and one that ends in a dot only so.
pub(super) fn candidates(name: &str, search: &[Name], ndots: usize) -> Vec<Name> {
    let Ok(whole) =
        Name::from_ascii(name.strip_suffix('.').map_or_else(|| format!("{name}."), |name| format!("{name}.")))
    else {
        return Vec::new();
    };
    if name.ends_with('.') {
        return vec![whole];
    }
    let mut relative = whole.clone();
    relative.set_fqdn(false);
    let mut names: Vec<Name> = search
        .iter()
        .filter_map(|domain| {
            let mut name = relative.clone().append_domain(domain).ok()?;
            name.set_fqdn(true);
            Some(name)
        })
        .collect();
    let at = if name.matches('.').count() >= ndots { 0 } else { names.len() };
    names.insert(at, whole);
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        let (label, long) = ("a".repeat(63), format!("{}.a", ["b".repeat(62).as_str(); 4].join(".")));
        assert_eq!(long.len(), LONGEST);
        for name in ["a", "a.b", "a.b.", "_web._tcp.x-1.example", &label, &long] {
            assert!(is_name(name), "{name}");
        }
        let (label, long) = ("a".repeat(64), format!("{long}a"));
        for name in ["", ".", "a..b", ".a", "a b", "a\n", "a;b", "ä.example", "a\\032b", "*.a", "a/b", &label, &long] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn a_name_is_looked_for_as_the_c_library_does() {
        let search = [Name::from_ascii("a.example.").unwrap(), Name::from_ascii("b.example.").unwrap()];
        let tried = |name: &str, ndots| {
            candidates(name, &search, ndots).iter().map(Name::to_ascii).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(tried("web", 1), "web.a.example. web.b.example. web.");
        assert_eq!(tried("web.x", 1), "web.x. web.x.a.example. web.x.b.example.");
        assert_eq!(tried("web.x", 5), "web.x.a.example. web.x.b.example. web.x.");
        assert_eq!(tried("web.", 5), "web.");
        assert_eq!(candidates("web", &[], 1).len(), 1);
    }
}
