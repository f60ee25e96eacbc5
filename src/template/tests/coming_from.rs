//! The page for those who come from other tools has a row for each of their functions, and its templates load and render.

use std::collections::BTreeSet;

use super::super::catalog::sections;
use super::super::{foreign_name, plain};
use super::*;
use crate::reference::page::{COMING_FROM, Row, rows};

/// The functions of each tool, by the headings of the page.
const THEIRS: &[(&str, &[&str])] = &[
    (
        "confd",
        &[
            "add",
            "append",
            "atoi",
            "base",
            "base64Decode",
            "base64Encode",
            "camelcase",
            "coalesce",
            "contains",
            "datetime",
            "default",
            "dict",
            "dir",
            "div",
            "empty",
            "exists",
            "fileExists",
            "fromJson",
            "get",
            "getenv",
            "gets",
            "getv",
            "getvs",
            "hasKey",
            "hostname",
            "include",
            "indent",
            "join",
            "json",
            "jsonArray",
            "kebabcase",
            "keys",
            "list",
            "lookupIP",
            "lookupIPV4",
            "lookupIPV6",
            "lookupIfaceIPV4",
            "lookupIfaceIPV6",
            "lookupSRV",
            "ls",
            "lsdir",
            "map",
            "mod",
            "mul",
            "nindent",
            "nospace",
            "parseBool",
            "pluck",
            "quote",
            "regexFind",
            "regexMatch",
            "regexReplaceAll",
            "repeat",
            "replace",
            "reverse",
            "seq",
            "sha256sum",
            "snakecase",
            "sortByLength",
            "sortKVByLength",
            "split",
            "squote",
            "sub",
            "ternary",
            "toJson",
            "toLower",
            "toPrettyJson",
            "toUpper",
            "trimPrefix",
            "trimSuffix",
            "values",
        ],
    ),
    (
        "consul-template",
        &[
            "add",
            "base64Decode",
            "base64Encode",
            "base64URLDecode",
            "base64URLEncode",
            "byKey",
            "byMeta",
            "byPort",
            "byTag",
            "caLeaf",
            "caRoots",
            "connect",
            "contains",
            "containsAll",
            "containsAny",
            "containsNone",
            "containsNotAll",
            "datacenters",
            "divide",
            "env",
            "envOrDefault",
            "executeTemplate",
            "explode",
            "explodeMap",
            "exportedServices",
            "file",
            "hmacSHA256Hex",
            "importedServices",
            "in",
            "indent",
            "join",
            "key",
            "keyExists",
            "keyOrDefault",
            "loop",
            "ls",
            "maximum",
            "md5sum",
            "mergeMap",
            "mergeMapWithOverride",
            "minimum",
            "modulo",
            "multiply",
            "mustEnv",
            "node",
            "nodes",
            "nomadService",
            "nomadServices",
            "nomadVar",
            "nomadVarExists",
            "nomadVarList",
            "nomadVarListSafe",
            "parseBool",
            "parseFloat",
            "parseInt",
            "parseJSON",
            "parseUint",
            "parseYAML",
            "partitions",
            "peerings",
            "pkiCert",
            "plugin",
            "regexMatch",
            "regexReplaceAll",
            "replaceAll",
            "safeLs",
            "safeTree",
            "scratch.Get",
            "scratch.Key",
            "scratch.MapSet",
            "scratch.MapSetX",
            "scratch.MapValues",
            "scratch.Set",
            "scratch.SetX",
            "secret",
            "secrets",
            "service",
            "services",
            "sha256Hex",
            "sockaddr",
            "spew_dump",
            "spew_printf",
            "spew_sdump",
            "spew_sprintf",
            "split",
            "splitToMap",
            "subtract",
            "timestamp",
            "toJSON",
            "toJSONPretty",
            "toLower",
            "toTOML",
            "toTitle",
            "toUnescapedJSON",
            "toUnescapedJSONPretty",
            "toUpper",
            "toYAML",
            "tree",
            "trim",
            "trimPrefix",
            "trimSpace",
            "trimSuffix",
            "writeToFile",
        ],
    ),
    (
        "remco",
        &[
            "createMap",
            "createSet",
            "exists",
            "get",
            "gets",
            "getv",
            "getvs",
            "lookupIP",
            "lookupSRV",
            "ls",
            "lsdir",
            "parseJSON",
            "parseYAML",
            "toJSON",
            "toYAML",
        ],
    ),
    (
        "consul-templaterb",
        &[
            "coordinate.rtt",
            "current_weight",
            "endpoint.stats",
            "json",
            "kv",
            "nodes",
            "param",
            "render_file",
            "render_from_string",
            "return nil",
            "secret",
            "service",
            "service_address",
            "service_or_node_meta_value",
            "services",
            "status",
            "weights",
        ],
    ),
    (
        "Sprig",
        &[
            "abbrev",
            "add1",
            "ago",
            "all",
            "any",
            "b64dec",
            "b64enc",
            "bcrypt",
            "biggest",
            "cat",
            "ceil",
            "compact",
            "date",
            "dateInZone",
            "dateModify",
            "dig",
            "duration",
            "ext",
            "float64",
            "floor",
            "genPrivateKey",
            "has",
            "hasPrefix",
            "hasSuffix",
            "htpasswd",
            "initial",
            "int64",
            "isAbs",
            "kindIs",
            "kindOf",
            "mergeOverwrite",
            "omit",
            "plural",
            "prepend",
            "randAlphaNum",
            "regexFindAll",
            "regexQuoteMeta",
            "regexReplaceAllLiteral",
            "regexSplit",
            "rest",
            "semver",
            "semverCompare",
            "set",
            "sha1sum",
            "sha512sum",
            "sortAlpha",
            "splitList",
            "splitn",
            "substr",
            "toDate",
            "toRawJson",
            "toString",
            "trimAll",
            "trunc",
            "typeIs",
            "typeOf",
            "uniq",
            "unixEpoch",
            "unset",
            "until",
            "untilStep",
            "urlParse",
            "uuidv4",
        ],
    ),
];

/// How many functions may have no answer, besides those that wait for a registry.
const UNSUPPORTED: usize = 10;

#[test]
fn every_function_has_a_row() {
    let rows = rows(COMING_FROM);
    for (tool, names) in THEIRS {
        let told: BTreeSet<&str> =
            rows.iter().filter(|row| row.heading == *tool).flat_map(|row| row.codes(0)).collect();
        let left_out: Vec<&&str> = names.iter().filter(|name| !told.contains(**name)).collect();
        assert!(left_out.is_empty(), "{tool}: {left_out:?}");
    }
    let count = |tool: &str| THEIRS.iter().find(|(name, _)| *name == tool).unwrap().1.len();
    assert_eq!((count("confd"), count("consul-template")), (71, 103));
}

#[test]
fn what_is_not_supported_has_a_reason_and_is_little() {
    let rows = rows(COMING_FROM);
    let unsupported: Vec<&Row<'_>> = rows.iter().filter(|row| row.cells[1].contains("not supported")).collect();
    assert!(unsupported.len() <= UNSUPPORTED, "{unsupported:#?}");
    for row in rows.iter().filter(|row| THEIRS.iter().any(|(tool, _)| row.heading == *tool)) {
        let answered = row.cells[1].contains('`');
        let waits = row.cells[1] == "waits for its registry";
        assert!(answered || !row.cells[2].is_empty() && (waits || unsupported.iter().any(|it| std::ptr::eq(*it, row))));
    }
}

/// Who calls one by its old name is told what its row says, by the checks of a template and by `liveconf functions`; what is
/// something of another sort here is told to be that.
#[test]
fn an_old_name_gives_what_its_row_says() {
    let known: BTreeSet<&str> =
        sections().iter().flat_map(|section| &section.entries).map(|entry| entry.name).collect();
    let rows = rows(COMING_FROM);
    let mut told = 0;
    for (tool, names) in THEIRS {
        for name in names.iter().filter(|name| !name.contains(['.', ' ']) && !known.contains(*name)) {
            let row = rows.iter().find(|row| row.heading == *tool && row.codes(0).contains(name)).unwrap();
            let hint = foreign_name(name).unwrap();
            let (here, note) = (&row.cells[1], plain(&row.cells[2]));
            match here.as_str() {
                "**not supported**" if note == "as for confd" => assert!(hint.contains("is not supported: "), "{hint}"),
                "**not supported**" => assert!(hint.contains("is not supported: ") && hint.contains(&note), "{hint}"),
                "waits for its registry" => assert!(hint.contains(&format!("is not here yet: {note}")), "{hint}"),
                // A tool before may have the same call with other arguments.
                here => {
                    let call = plain(here).split(['"', '\'']).next().unwrap().to_owned();
                    assert!(hint.contains(&call) && hint.contains(&note), "{hint}");
                }
            }
            let written = format!("{{{{ {name}(a=1) }}}}");
            // Words of the language itself cannot be called.
            if ["in", "include", "set"].contains(name) {
                continue;
            }
            let error = &Bench::new().refused(&written)[0];
            assert_eq!(error.hint.as_deref(), Some(&*hint), "{error}");
            told += 1;
        }
    }
    assert!(told > 120, "{told}");
}

#[test]
fn every_template_loads_and_renders() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "part.tera", "part {{ name | default(value=\"\") }}");
    let mut templates = 0;
    for row in rows(COMING_FROM).into_iter().filter(|row| THEIRS.iter().any(|(tool, _)| row.heading == *tool)) {
        let sources = row.codes(1).into_iter().filter(|code| code.contains("{{") || code.contains("{%"));
        for source in sources {
            let mut bench = Bench::new().with_names();
            bench.environment.template_dirs = vec![folder.path().to_owned()];
            bench.environment.variables = BTreeMap::from([("REGION".into(), "eu".into())]);
            let rendering = bench.render(source);
            // What asks a registry has no answers here; the rest of it was checked when it was loaded.
            if rendering.missing.is_empty() {
                let output = rendering.output.unwrap_or_else(|error| panic!("{source}\n{error}"));
                assert!(!output.is_empty() || source.starts_with("{% if"), "{source} gives nothing");
            }
            templates += 1;
        }
    }
    assert!(templates > 150, "{templates}");
}
