//! What calls of the functions of confd, consul-template and remco are here, where that can be told from the call alone.

use super::chain_of;

/// What stands here for an expression of another language.
#[derive(Debug, Clone)]
pub(super) struct Here {
    /// How it is written.
    pub(super) text: String,
    /// How tightly it holds together.
    pub(super) level: Level,
    /// What it gives.
    pub(super) gives: Kind,
}

/// How tightly an expression holds together, the tightest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// A call, a name or a text.
    Atom,
    /// What a filter gives.
    Filter,
    /// Parts that are joined by `~`.
    Joined,
    /// Anything with an operator.
    Operator,
}

/// What a value is, as far as its fields are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Anything; the names of its fields are those that were given to it, as in JSON.
    Unknown,
    /// What the row of the page calls otherwise than the template does.
    Untold,
    /// A key of which confd gives the value as a field.
    Got,
    /// A text.
    Text,
    /// An instance of a service.
    Instance,
    /// A service of the catalog.
    Service,
    /// A node.
    Node,
    /// A key with its value, whose key is relative.
    Entry,
    /// The same with the whole path as its key.
    Pair,
    /// A list of these.
    List(&'static Kind),
    /// A map of lists of instances.
    Groups,
}

impl Here {
    /// An expression that holds together by itself.
    pub(super) fn atom(text: impl Into<String>) -> Self {
        Self { text: text.into(), level: Level::Atom, gives: Kind::Unknown }
    }

    /// A text.
    pub(super) fn text(text: &str) -> Self {
        let escaped: String = text
            .chars()
            .map(|character| match character {
                '"' => "\\\"".to_owned(),
                '\\' => "\\\\".to_owned(),
                '\n' => "\\n".to_owned(),
                '\t' => "\\t".to_owned(),
                '\r' => "\\r".to_owned(),
                other => other.to_string(),
            })
            .collect();
        Self { gives: Kind::Text, ..Self::atom(format!("\"{escaped}\"")) }
    }

    fn giving(self, gives: Kind) -> Self {
        Self { gives, ..self }
    }

    fn operator(text: String) -> Self {
        Self { text, level: Level::Operator, gives: Kind::Unknown }
    }

    /// Handed to filters.
    fn piped(&self, filters: &str) -> Self {
        let text = format!("{} | {filters}", self.within(Level::Filter));
        Self { text, level: Level::Filter, gives: Kind::Unknown }
    }

    /// The text, in brackets where it does not hold together tightly enough.
    pub(super) fn within(&self, level: Level) -> String {
        if self.level > level { format!("({})", self.text) } else { self.text.clone() }
    }

    /// The text that it is, where it is written out.
    fn literal(&self) -> Option<&str> {
        let text = self.text.strip_prefix('"')?.strip_suffix('"')?;
        (!text.contains(['"', '\\'])).then_some(text)
    }

    fn is_literal(&self) -> bool {
        self.level == Level::Atom && (self.text.starts_with('"') || self.text.starts_with(|c: char| c.is_ascii_digit()))
    }
}

/// The functions that take one value and are filters here, as the page has them.
const OF_ONE: &[&str] = &[
    "atoi",
    "base",
    "base64Decode",
    "base64Encode",
    "base64URLDecode",
    "base64URLEncode",
    "camelcase",
    "dir",
    "explodeMap",
    "fromJson",
    "kebabcase",
    "keys",
    "md5sum",
    "nospace",
    "parseFloat",
    "parseInt",
    "parseJSON",
    "parseUint",
    "parseYAML",
    "quote",
    "reverse",
    "sha256Hex",
    "sha256sum",
    "snakecase",
    "sortByLength",
    "squote",
    "toJSON",
    "toJSONPretty",
    "toJson",
    "toLower",
    "toPrettyJson",
    "toTOML",
    "toTitle",
    "toUnescapedJSON",
    "toUnescapedJSONPretty",
    "toUpper",
    "toYAML",
    "trimSpace",
    "values",
];

/// What a call is here: its arguments in order, what a pipe hands over as the last of them. Nothing where the call alone
/// does not tell.
pub(super) fn call(name: &str, arguments: &[Here], is_piped: bool) -> Option<Here> {
    let texts: Vec<&str> = arguments.iter().map(|argument| argument.text.as_str()).collect();
    let with = |call: &str, given: &[(&str, &str)]| {
        let given: Vec<String> = given.iter().map(|(name, value)| format!("{name}={value}")).collect();
        Here::atom(format!("{call}({})", given.join(", "))).giving(Kind::Text)
    };
    let operators = |operator: &str| {
        let operands: Vec<String> = arguments.iter().map(|argument| argument.within(Level::Joined)).collect();
        Here::operator(operands.join(&format!(" {operator} ")))
    };
    if OF_ONE.contains(&name) {
        let [value] = arguments else { return None };
        return Some(value.piped(&chain_of(name)?));
    }
    Some(match (name, &texts[..]) {
        ("get", [path]) => with("key", &[("path", path)]).giving(Kind::Got),
        ("key" | "getv", [path]) => with("key", &[("path", path)]),
        ("keyOrDefault" | "getv", [path, default]) => with("key", &[("path", path), ("default", default)]),
        ("exists" | "keyExists", [path]) => with("exists", &[("path", path)]),
        ("gets", [_]) => pattern(&arguments[0])?.giving(Kind::List(&Kind::Pair)),
        ("getvs", [_]) => pattern(&arguments[0])?.piped("map(attribute=\"value\")"),
        // In Consul a key has no `/` at its beginning, and for confd it has one.
        ("ls", [path]) if path.starts_with("\"/") => with("ls", &[("path", path)]).giving(Kind::List(&Kind::Text)),
        ("ls", [path]) => with("prefix", &[("path", path), ("glob", "\"*\"")]).giving(Kind::List(&Kind::Entry)),
        ("tree", [path]) => with("prefix", &[("path", path)]).giving(Kind::List(&Kind::Entry)),
        ("safeLs", [path]) => {
            with("prefix", &[("path", path), ("glob", "\"*\""), ("min", "1")]).giving(Kind::List(&Kind::Entry))
        }
        ("lsdir", [path]) => with("ls", &[("path", path), ("kind", "\"folders\"")]).giving(Kind::List(&Kind::Text)),
        ("service", [_, more @ ..]) => service(&arguments[0], more)?,
        ("datacenters", []) => Here::atom("datacenters()").giving(Kind::List(&Kind::Text)),
        ("services", []) => Here::atom("services()").giving(Kind::List(&Kind::Service)),
        ("nodes", []) => Here::atom("nodes()").giving(Kind::List(&Kind::Node)),
        ("env" | "getenv", [variable]) => with("env", &[("name", variable), ("default", "\"\"")]),
        ("envOrDefault" | "getenv", [variable, default]) => with("env", &[("name", variable), ("default", default)]),
        ("mustEnv", [variable]) => with("env", &[("name", variable), ("required", "true")]),
        ("file", [path]) => with("file", &[("path", path)]),
        ("fileExists", [path]) => Here::operator(format!("file(path={path}) is defined")),
        ("printf", [_, ..]) => printf(arguments)?,
        ("eq", [_, _]) => operators("=="),
        ("ne", [_, _]) => operators("!="),
        ("lt", [_, _]) => operators("<"),
        ("le", [_, _]) => operators("<="),
        ("gt", [_, _]) => operators(">"),
        ("ge", [_, _]) => operators(">="),
        ("and", [_, _, ..]) => operators("and"),
        ("or" | "coalesce", [_, _, ..]) => operators("or"),
        ("add", [_, _]) => operators("+"),
        ("mul" | "multiply", [_, _]) => operators("*"),
        ("not" | "empty", [_]) => Here::operator(format!("not {}", arguments[0].within(Level::Filter))),
        ("len", [_]) => arguments[0].piped("length"),
        ("json" | "jsonArray", [_]) => arguments[0].piped("from_json"),
        ("parseBool", [_]) => Here::operator(format!("{} == \"true\"", arguments[0].within(Level::Joined))),
        ("index", [_, keys @ ..]) if !keys.is_empty() => {
            let gives = match (arguments[0].gives, keys) {
                (Kind::List(item), [_]) => *item,
                _ => Kind::Unknown,
            };
            Here::atom(format!("{}[{}]", arguments[0].within(Level::Atom), keys.join("]["))).giving(gives)
        }
        ("loop", [end]) => Here::atom(format!("range(end={end})")),
        ("loop", [start, end]) => Here::atom(format!("range(start={start}, end={end})")),
        ("seq", [start, end]) => {
            let (_, end): (u32, u32) = (start.parse().ok()?, end.parse().ok()?);
            Here::atom(format!("range(start={start}, end={})", u64::from(end) + 1))
        }
        ("in", [list, value]) => Here::operator(format!("{value} in {list}")),
        ("contains" | "split" | "join" | "trimPrefix" | "trimSuffix", [_, _]) => {
            of_two(name, &arguments[0], &arguments[1], is_piped)?
        }
        ("replace", [_, from, to, "-1"]) if !is_piped => arguments[0].piped(&format!("replace(from={from}, to={to})")),
        ("replaceAll", [from, to, _]) => arguments[2].piped(&format!("replace(from={from}, to={to})")),
        ("regexMatch", [pattern, _]) => arguments[1].piped(&format!("regex_match(pat={pattern})")),
        ("regexReplaceAll", [pattern, to, _]) if is_piped => {
            arguments[2].piped(&format!("regex_replace(pat={pattern}, to={to})"))
        }
        ("default", [value, _]) => arguments[1].piped(&format!("default(value={value})")),
        ("indent", [columns, _]) => arguments[1].piped(&format!("indent(width={columns}, first=true)")),
        ("byTag", [_]) => arguments[0].piped("group_by(attribute=\"tags\")").giving(Kind::Groups),
        ("byPort", [_]) => arguments[0].piped("group_by(attribute=\"port\")").giving(Kind::Groups),
        _ => return None,
    })
}

/// What a pattern such as `/app/*/port` asks: the folder, and what stands behind it.
fn pattern(pattern: &Here) -> Option<Here> {
    let literal = pattern.literal().filter(|literal| !literal.contains('['))?;
    let wild = literal.find(['*', '?'])?;
    let (folder, glob) = literal.split_at(literal[..wild].rfind('/')?);
    let folder = if folder.is_empty() { "/" } else { folder };
    Some(Here::atom(format!("prefix(path=\"{folder}\", glob=\"{}\")", glob.trim_start_matches('/'))))
}

/// `"tag.name@datacenter~near|filter"` and the filter behind it.
fn service(written: &Here, more: &[&str]) -> Option<Here> {
    /// What Consul calls the states of an instance.
    const STATES: &[&str] = &["passing", "warning", "critical", "maintenance"];
    let instances = Kind::List(&Kind::Instance);
    let Some(literal) = written.literal() else {
        let parts: Vec<&str> = written.text.split(" ~ ").collect();
        let given = match parts[..] {
            [name, "\"@\"", datacenter] => format!("name={name}, datacenter={datacenter}"),
            [name, datacenter] if name.ends_with("@\"") => {
                format!("name={}\", datacenter={datacenter}", name.trim_end_matches("@\""))
            }
            // What else is put together may be more than a name.
            [name] if !name.contains('"') => format!("name={name}"),
            _ => return None,
        };
        return more.is_empty().then(|| Here::atom(format!("service({given})")).giving(instances));
    };
    let (rest, filter) = literal.split_once('|').map_or((literal, None), |(rest, filter)| (rest, Some(filter)));
    let (rest, near) = rest.split_once('~').map_or((rest, None), |(rest, near)| (rest, Some(near)));
    let (rest, datacenter) = rest.split_once('@').map_or((rest, None), |(rest, name)| (rest, Some(name)));
    let (tag, name) = rest.split_once('.').map_or((None, rest), |(tag, name)| (Some(tag), name));
    let filter = match (filter, more) {
        (filter, []) => filter,
        (None, [filter]) => Some(filter.strip_prefix('"')?.strip_suffix('"')?),
        _ => return None,
    };
    let given = [("name", Some(name)), ("tag", tag), ("datacenter", datacenter), ("near", near)];
    let given = given.into_iter().filter_map(|(argument, value)| Some(format!("{argument}=\"{}\"", value?)));
    let mut given: Vec<String> = given.collect();
    let states: Vec<&str> = filter.iter().flat_map(|filter| filter.split(',')).map(str::trim).collect();
    match &states[..] {
        [] | ["passing"] => {}
        ["any"] => given.push("status=\"any\"".to_owned()),
        states if states.iter().all(|state| STATES.contains(state)) => {
            given.push(format!("status=[\"{}\"]", states.join("\", \"")));
        }
        _ => return None,
    }
    let is_plain = |name: &str| !name.is_empty() && !name.contains(['.', '/', '?', '&', '=']);
    is_plain(name).then(|| Here::atom(format!("service({})", given.join(", "))).giving(instances))
}

/// Texts and values joined as a format says.
fn printf(arguments: &[Here]) -> Option<Here> {
    let (format, mut values) = arguments.split_first().map(|(format, values)| (format.literal(), values.iter()))?;
    let mut parts: Vec<String> = Vec::new();
    let mut rest = format?;
    while let Some((before, after)) = rest.split_once('%') {
        if !before.is_empty() {
            parts.push(Here::text(before).text);
        }
        rest = after.strip_prefix(['s', 'v', 'd'])?;
        parts.push(values.next()?.within(Level::Filter));
    }
    if !rest.is_empty() {
        parts.push(Here::text(rest).text);
    }
    let level = if parts.len() == 1 { Level::Atom } else { Level::Joined };
    (values.next().is_none() && !parts.is_empty()).then(|| Here { text: parts.join(" ~ "), level, gives: Kind::Text })
}

/// A function whose two arguments confd takes in one order and consul-template in the other: the one that is written out
/// is the separator, the prefix, or the element.
fn of_two(name: &str, one: &Here, other: &Here, is_piped: bool) -> Option<Here> {
    let (subject, given) = match (one.is_literal(), other.is_literal()) {
        _ if is_piped => (other, one),
        (true, false) => (other, one),
        (false, true) => (one, other),
        _ => return None,
    };
    Some(match name {
        "split" => subject.piped(&format!("split(pat={})", given.text)),
        "join" => subject.piped(&format!("join(sep={})", given.text)),
        "trimPrefix" => subject.piped(&format!("trim_prefix(pat={})", given.text)),
        "trimSuffix" => subject.piped(&format!("trim_suffix(pat={})", given.text)),
        _ => Here::operator(format!("{} in {}", given.text, subject.within(Level::Joined))),
    })
}
