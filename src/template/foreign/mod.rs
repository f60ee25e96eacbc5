//! Names that people bring along from other template languages, and what they are called here.

/// What confd, consul-template, Jinja and Tera 1 call functions.
const FUNCTIONS: &[(&str, &str)] = &[
    ("byKey", "`tree(path=...)`"),
    ("connect", "`service(name=...)`"),
    ("datetime", "`now(every=...)`"),
    ("envOrDefault", "`env(name=..., default=...)`"),
    ("explode", "`tree(path=...)`"),
    ("fileExists", "`file(path=...)`"),
    ("get", "`key(path=...)`"),
    ("get_env", "`env(name=..., default=...)`"),
    ("getenv", "`env(name=..., default=...)`"),
    ("gets", "`prefix(path=...)`"),
    ("getv", "`key(path=..., default=...)`"),
    ("getvs", "`prefix(path=...)`"),
    ("hostname", "`env(name=...)`"),
    ("keyExists", "`exists(path=...)`"),
    ("keyOrDefault", "`key(path=..., default=...)`"),
    ("kv", "`key(path=...)`"),
    ("loop", "`range(end=...)`"),
    ("lsdir", "`ls(path=..., kind=\"folders\")`"),
    ("mustEnv", "`env(name=..., required=true)`"),
    ("param", "`env(name=...)`"),
    ("safeLs", "`ls(path=...)`"),
    ("safeTree", "`tree(path=...)`"),
    ("seq", "`range(start=..., end=...)`"),
    ("timestamp", "`now(every=...)`"),
];

/// What they call filters, also where these are functions there.
const FILTERS: &[(&str, &str)] = &[
    ("atoi", "`to_int`"),
    ("base", "`basename`"),
    ("base64Decode", "`base64_decode`"),
    ("base64Encode", "`base64_encode`"),
    ("base64URLDecode", "`base64_decode(url=true)`"),
    ("base64URLEncode", "`base64_encode(url=true)`"),
    ("byMeta", "`group_by(attribute=...)`"),
    ("byPort", "`group_by(attribute=...)`"),
    ("byTag", "`group_by(attribute=\"tags\")`"),
    ("camelcase", "`pascal_case`"),
    ("count", "`length`"),
    ("d", "`default(value=...)`"),
    ("dir", "`dirname`"),
    ("downcase", "`lower`"),
    ("explodeMap", "`nest`"),
    ("fromJson", "`from_json`"),
    ("hmacSHA256Hex", "`hmac(key=...)`"),
    ("json", "`from_json`"),
    ("jsonArray", "`from_json`"),
    ("json_encode", "`to_json`"),
    ("kebabcase", "`kebab_case`"),
    ("maximum", "`max`"),
    ("md5sum", "`md5`"),
    ("mergeMap", "`merge(with=...)`"),
    ("mergeMapWithOverride", "`merge(with=...)`"),
    ("minimum", "`min`"),
    ("nindent", "`indent(first=true)`"),
    ("parseFloat", "`to_float`"),
    ("parseInt", "`to_int`"),
    ("parseJSON", "`from_json`"),
    ("parseUint", "`to_int`"),
    ("parseYAML", "`from_yaml`"),
    ("pluck", "`map(attribute=...)`"),
    ("regexFind", "`regex_find(pat=...)`"),
    ("regexMatch", "`regex_match(pat=...)`"),
    ("regexReplaceAll", "`regex_replace(pat=..., to=...)`"),
    ("replaceAll", "`replace(from=..., to=...)`"),
    ("select", "`where(attribute=...)`"),
    ("selectattr", "`where(attribute=...)`"),
    ("sha256Hex", "`sha256`"),
    ("sha256sum", "`sha256`"),
    ("size", "`length`"),
    ("snakecase", "`snake_case`"),
    ("sortByLength", "`sort_by_length`"),
    ("sortKVByLength", "`sort_by_length(attribute=\"key\")`"),
    ("splitToMap", "`split_map`"),
    ("squote", "`shell_quote`"),
    ("string", "`str`"),
    ("strip", "`trim`"),
    ("toJSON", "`to_json`"),
    ("toJSONPretty", "`to_json(pretty=true)`"),
    ("toJson", "`to_json`"),
    ("toLower", "`lower`"),
    ("toPrettyJson", "`to_json(pretty=true)`"),
    ("toTOML", "`to_toml`"),
    ("toTitle", "`title`"),
    ("toUnescapedJSON", "`to_json`"),
    ("toUnescapedJSONPretty", "`to_json(pretty=true)`"),
    ("toUpper", "`upper`"),
    ("toYAML", "`to_yaml`"),
    ("trimPrefix", "`trim_prefix(pat=...)`"),
    ("trimSpace", "`trim`"),
    ("trimSuffix", "`trim_suffix(pat=...)`"),
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
