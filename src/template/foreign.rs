//! Names that people bring along from other template languages, and what they are called here.

/// What confd, consul-template, Jinja and Tera 1 call functions.
const FUNCTIONS: &[(&str, &str)] = &[
    ("envOrDefault", "`env(name=..., default=...)`"),
    ("get", "`key(path=...)`"),
    ("get_env", "`env(name=..., default=...)`"),
    ("getenv", "`env(name=..., default=...)`"),
    ("gets", "`prefix(path=...)`"),
    ("getv", "`key(path=..., default=...)`"),
    ("getvs", "`prefix(path=...)`"),
    ("keyExists", "`exists(path=...)`"),
    ("keyOrDefault", "`key(path=..., default=...)`"),
    ("lsdir", "`ls(path=..., kind=\"folders\")`"),
    ("safeLs", "`ls(path=...)`"),
    ("safeTree", "`tree(path=...)`"),
];

/// What they call filters, also where these are functions there.
const FILTERS: &[(&str, &str)] = &[
    ("base", "`basename`"),
    ("base64Decode", "`base64_decode`"),
    ("base64Encode", "`base64_encode`"),
    ("count", "`length`"),
    ("d", "`default(value=...)`"),
    ("dir", "`dirname`"),
    ("downcase", "`lower`"),
    ("json", "`from_json`"),
    ("json_encode", "`to_json`"),
    ("parseInt", "`to_int`"),
    ("parseJSON", "`from_json`"),
    ("select", "`where(attribute=...)`"),
    ("selectattr", "`where(attribute=...)`"),
    ("sha256Hex", "`sha256`"),
    ("size", "`length`"),
    ("string", "`str`"),
    ("strip", "`trim`"),
    ("toJSON", "`to_json`"),
    ("toJSONPretty", "`to_json(pretty=true)`"),
    ("toLower", "`lower`"),
    ("toUpper", "`upper`"),
    ("toYAML", "`to_yaml`"),
    ("trimSpace", "`trim`"),
    ("upcase", "`upper`"),
];

/// What stands here for a function or filter of another language.
pub(super) fn translated(sort: &str, name: &str) -> Option<String> {
    let find = |names: &[(&str, &'static str)]| names.iter().find(|(foreign, _)| *foreign == name).map(|(_, own)| *own);
    let as_filter = || Some(format!("it is a filter here: `... |` {}", find(FILTERS)?));
    match sort {
        "function" => find(FUNCTIONS).map(|own| format!("it is {own} here")).or_else(as_filter),
        "filter" => find(FILTERS).map(|own| format!("it is {own} here")),
        _ => None,
    }
}

/// The same for a name of which the sort is not known.
pub(crate) fn translated_name(name: &str) -> Option<String> {
    translated("function", name)
}

#[cfg(test)]
mod tests {
    use super::super::filter::filters;
    use super::super::function::functions;
    use super::*;

    #[test]
    fn what_is_advised_is_there_and_what_is_translated_is_not() {
        let functions: Vec<_> = functions().map(|function| function.entry.name).collect();
        let filters: Vec<_> = filters().map(|filter| filter.entry.name).collect();
        for (table, known) in [(FUNCTIONS, &functions), (FILTERS, &filters)] {
            assert!(table.is_sorted_by_key(|(foreign, _)| *foreign));
            for (foreign, own) in table {
                let name = own.trim_matches('`').split('(').next().unwrap();
                assert!(known.contains(&name) && !known.contains(foreign), "{foreign}: {own}");
            }
        }
    }
}
