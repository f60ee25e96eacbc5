//! Semantic versions (semver.org), and what they have to match.

use semver::{Version, VersionReq};
use tera::{Map, Value};

use super::super::arguments::Arguments;
use super::super::entry::{Entry, Group, optional, or, required};
use super::super::record::{Render, Stop};
use super::input::{self, Why, read_or_default, trimmed};
use super::{Filter, place};

/// Semantic versions.
pub(super) const VERSIONS: Group<Filter> = Group {
    name: "Versions",
    entries: &[
        Filter::new(
            from_semver,
            Entry {
                name: "from_semver",
                arguments: &[optional("default")],
                takes: "text",
                gives: "map of the parts of a semantic version; `version`, `major`, `minor`, `patch`, `pre`, `build`; a `v` may stand before it, and numbers that are left out at its end are 0",
                empty: "`default`, else fails",
                example: r#"{% set v = "v1.10-rc.1" | from_semver %}{{ v.version }} {{ v.minor }}"#,
                output: "1.10.0-rc.1 10",
            },
        ),
        Filter::new(
            semver_compare,
            Entry {
                name: "semver_compare",
                arguments: &[required("with")],
                takes: "text",
                gives: "how it compares with another version; -1, 0 or 1: it comes before `with`, is equal, or comes after",
                empty: "fails",
                example: r#"{{ "1.9" | semver_compare(with="1.10") }}"#,
                output: "-1",
            },
        ),
        Filter::new(
            semver_matches,
            Entry {
                name: "semver_matches",
                arguments: &[required("requirement"), optional("default")],
                takes: "text",
                gives: "whether a version meets a requirement; each version in it has an operator as in Cargo, `,` is and, `||` is or; a pre-release meets only what names one of the same numbers",
                empty: "`default`, else fails",
                example: r#"{{ "1.5.2" | semver_matches(requirement=">=1.2, <2") }}"#,
                output: "true",
            },
        ),
        Filter::new(
            semver_sort,
            Entry {
                name: "semver_sort",
                arguments: &[optional("attribute"), or("reverse", "false")],
                takes: "list",
                gives: "versions, or what has one as an attribute, from the oldest to the newest",
                empty: "`[]`",
                example: r#"{{ ["1.10", "1.9"] | semver_sort }}"#,
                output: r#"["1.9", "1.10"]"#,
            },
        ),
    ],
};

/// The parts of a version.
fn from_semver(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let parts = version(trimmed(value, "from_semver")?).map(|version| {
        let parts = [
            ("version", Value::from(version.to_string())),
            ("major", Value::from(version.major)),
            ("minor", Value::from(version.minor)),
            ("patch", Value::from(version.patch)),
            ("pre", Value::from(version.pre.as_str())),
            ("build", Value::from(version.build.as_str())),
        ];
        Value::from(parts.into_iter().map(|(name, part)| (name.into(), part)).collect::<Map>())
    });
    read_or_default(parts, value, "from_semver", arguments, render)
}

/// -1, 0 or 1: whether a version comes before `with=`, is equal to it, or comes after it.
fn semver_compare(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let text = trimmed(value, "semver_compare")?;
    let with = version(arguments.required_text("with", render)?).map_err(|why| arguments.refused("with", &why))?;
    let order = version(text).map(|version| Value::from(version.cmp_precedence(&with) as i8));
    order.map_err(|why| place::refused("semver_compare", &why, value, render))
}

/// Whether a version meets `requirement=`.
fn semver_matches(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let text = trimmed(value, "semver_matches")?;
    let alternatives = requirement(arguments.required_text("requirement", render)?)
        .map_err(|why| arguments.refused("requirement", &why))?;
    let matches = version(text).map(|version| Value::from(alternatives.iter().any(|all| all.matches(&version))));
    read_or_default(matches, value, "semver_matches", arguments, render)
}

/// Versions, or what has one as an attribute, from the oldest to the newest.
fn semver_sort(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let read = |value: &Value| version(value.as_str().ok_or("it is no text")?.trim());
    input::sorted(value, "semver_sort", arguments, render, read, Version::cmp_precedence)
}

/// A version; a `v` may stand before it, and numbers that are left out at its end are 0.
fn version(text: &str) -> Result<Version, Why> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let (numbers, rest) = text.split_at(text.find(['-', '+']).unwrap_or(text.len()));
    let mut parts: Vec<&str> = numbers.split('.').collect();
    if parts.len() > 3 {
        return Err("it has more than three numbers".into());
    }
    for (name, part) in ["major", "minor", "patch"].iter().zip(&parts) {
        let why = match part.parse::<u64>() {
            _ if part.is_empty() => "is missing",
            _ if !part.bytes().all(|byte| byte.is_ascii_digit()) => "has other characters than digits",
            _ if part.len() > 1 && part.starts_with('0') => "has a zero ahead of it",
            Err(_) => "is too large",
            Ok(_) => continue,
        };
        return Err(format!("its {name} number {why}"));
    }
    parts.resize(3, "0");
    Version::parse(&format!("{}{rest}", parts.join(".")))
        .map_err(|_| "what follows its numbers is no pre-release or build as of semver.org".into())
}

/// What versions have to match: `||` between alternatives, `,` between what has to hold together.
fn requirement(text: &str) -> Result<Vec<VersionReq>, Why> {
    text.split("||")
        .enumerate()
        .map(|(index, all)| {
            let place = if text.contains("||") { format!("alternative {}: ", index + 1) } else { String::new() };
            for part in all.split(',').map(str::trim) {
                // What programs make of a version alone differs: some take it for exactly this one, some for `^`.
                let has_wildcard = part.splitn(3, '.').any(|number| matches!(number, "*" | "x" | "X"));
                if !has_wildcard && !part.starts_with(['=', '>', '<', '~', '^']) {
                    return Err(format!("{place}an operator is missing, one of `=`, `>`, `>=`, `<`, `<=`, `~`, `^`"));
                }
            }
            VersionReq::parse(all).map_err(|_| format!("{place}it is no requirement such as `>=1.2, <2`"))
        })
        .collect()
}
