//! The tags of a Go template in a source that Tera refuses, and what each of them is here.

use std::collections::BTreeMap;
use std::ops::Range;

use super::call::{Here, Kind, Level, call};
use super::go::{self, Action, Operand, Pipeline};
use super::tag::{Tag, tags};
use super::{hint_of, hint_of_field, is_foreign};
use crate::config::Delimiters;
use crate::template::error::MOST;
use crate::template::filter::filters;
use crate::template::function::functions;

/// A tag of a Go template.
pub(in crate::template) struct Old {
    /// Where it stands.
    pub(in crate::template) range: Range<usize>,
    /// What to write instead.
    pub(in crate::template) hint: String,
}

/// What is open where a tag stands, outermost first.
struct Open {
    /// How it ends here.
    end: &'static str,
    /// What `.` is within it, unless that is what it is around it.
    dot: Option<(String, Kind)>,
    /// Whether it was opened as a Go template does.
    is_go: bool,
}

/// Walks the tags of a source.
struct Walk<'d> {
    delimiters: &'d Delimiters,
    /// Whether more tags of our own are open at the end than there are `{% endfor %}` and the like.
    lacks_ends: bool,
    open: Vec<Open>,
    /// What the variables are called here, and stand for.
    variables: BTreeMap<String, (String, Kind)>,
}

/// The tags in a source that Tera refuses which no other language than that of Go templates writes, the
/// first of many.
pub(in crate::template) fn old_tags(source: &str, delimiters: &Delimiters) -> Vec<Old> {
    let tags = tags(source, delimiters);
    let blocks = || tags.iter().filter(|tag| tag.is_block).map(|tag| keyword(tag.inner));
    let starts = blocks().filter(|word| ENDS.iter().any(|(start, _)| start == word)).count();
    let ends = blocks().filter(|word| ENDS.iter().any(|(_, end)| end == word)).count();
    let mut walk = Walk { delimiters, lacks_ends: starts > ends, open: Vec::new(), variables: BTreeMap::new() };
    tags.iter().filter_map(|tag| walk.tag(tag)).take(MOST).collect()
}

/// The tags of ours that end another, by that.
pub(super) const ENDS: &[(&str, &str)] = &[
    ("for", "endfor"),
    ("if", "endif"),
    ("component", "endcomponent"),
    ("filter", "endfilter"),
    ("block", "endblock"),
];

/// The first word of a tag.
pub(super) fn keyword(inner: &str) -> &str {
    inner.split_whitespace().next().unwrap_or_default()
}

impl Walk<'_> {
    fn tag(&mut self, tag: &Tag<'_>) -> Option<Old> {
        if tag.is_block {
            self.own(tag.inner);
            return None;
        }
        let action = go::parse(tag.inner)?;
        // A variable may be called `end`. It is one unless something is open that nothing else ends.
        let is_within = self.open.last().is_some_and(|open| open.is_go || self.lacks_ends);
        let is_sure = match action {
            Action::Else | Action::End | Action::Leave(_) => is_within,
            _ => action.is_surely_go(&is_known),
        };
        if !is_sure {
            return None;
        }
        let hint = self.hint(action, tag);
        Some(Old { range: tag.range.clone(), hint })
    }

    /// Notes what a tag of our own opens or ends.
    fn own(&mut self, inner: &str) {
        let word = keyword(inner);
        if let Some((_, end)) = ENDS.iter().find(|(start, _)| *start == word) {
            self.open.push(Open { end, dot: None, is_go: false });
        } else if ENDS.iter().any(|(_, end)| *end == word) {
            self.open.pop();
        }
    }

    fn hint(&mut self, action: Action<'_>, tag: &Tag<'_>) -> String {
        // What opens a loop or a condition also says what `.` is, so the field is looked for before.
        let field = self.untold_field(&action).and_then(hint_of_field);
        let first = first_function(&action);
        let (kind, written) = match action {
            Action::Comment(text) => (Written::Comment, Some(text.to_owned())),
            Action::End => {
                let end = self.open.pop().map_or("endfor", |open| open.end);
                (Written::Block, Some(end.to_owned()))
            }
            Action::Else => (Written::Block, Some("else".to_owned())),
            Action::Leave(word) => (Written::Block, Some(word.to_owned())),
            Action::If(condition) => {
                let written = self.pipeline(&condition).map(|condition| format!("if {}", condition.text));
                self.open.push(Open { end: "endif", dot: None, is_go: true });
                (Written::Condition, written)
            }
            Action::ElseIf(condition) => {
                (Written::Condition, self.pipeline(&condition).map(|condition| format!("elif {}", condition.text)))
            }
            Action::Range(names, list) => (Written::Loop, self.range(&names, &list)),
            Action::With(name, of) => {
                let value = self.pipeline(&of);
                let name = name.map_or_else(|| self.free("value"), str::to_owned);
                let gives = value.as_ref().map_or(Kind::Untold, |value| value.gives);
                self.variables.insert(name.clone(), (name.clone(), gives));
                self.open.push(Open { end: "endif", dot: Some((name.clone(), gives)), is_go: true });
                let (open, close) = &self.delimiters.block;
                (Written::Block, value.map(|value| format!("set {name} = {} {close}{open} if {name}", value.text)))
            }
            Action::Set(name, of) => {
                let value = self.pipeline(&of);
                let gives = value.as_ref().map_or(Kind::Unknown, |value| value.gives);
                self.variables.insert(name.to_owned(), (name.to_owned(), gives));
                (Written::Set, value.map(|value| format!("set {name} = {}", value.text)))
            }
            Action::Print(pipeline) => (Written::Value, self.pipeline(&pipeline).map(|value| value.text)),
            Action::Define(name) => {
                self.open.push(Open { end: "endcomponent", dot: None, is_go: true });
                return part_of(&name, "a part that others take in is a component");
            }
            Action::Template(name) => return part_of(&name, "what takes in a part is a call of a component"),
        };
        match written {
            Some(written) => format!("here it is `{}`", self.written(tag, kind, &written)),
            None => field.or_else(|| hint_of(&first?)).unwrap_or_else(|| kind.advice().to_owned()),
        }
    }

    /// A tag with the same `-` as the one that it stands for.
    fn written(&self, tag: &Tag<'_>, kind: Written, inner: &str) -> String {
        let (open, close) = match kind {
            Written::Value => &self.delimiters.variable,
            Written::Comment => &self.delimiters.comment,
            _ => &self.delimiters.block,
        };
        let minus = |is_there: bool| if is_there { "-" } else { "" };
        format!("{open}{} {inner} {}{close}", minus(tag.trims.0), minus(tag.trims.1))
    }

    fn range(&mut self, names: &[&str], list: &Pipeline<'_>) -> Option<String> {
        let given = self.pipeline(list);
        let kind = given.as_ref().map_or(Kind::Untold, |given| given.gives);
        let (item, usual) = match kind {
            Kind::List(Kind::Instance) => (Kind::Instance, "instance"),
            Kind::List(Kind::Service) => (Kind::Service, "service"),
            Kind::List(Kind::Node) => (Kind::Node, "node"),
            Kind::List(Kind::Text) => (Kind::Text, "name"),
            Kind::List(item) => (*item, "entry"),
            Kind::Groups => (Kind::List(&Kind::Instance), "instances"),
            Kind::Unknown => (Kind::Unknown, "item"),
            _ => (Kind::Untold, "item"),
        };
        let name = names.last().map_or_else(|| self.free(usual), |name| (*name).to_owned());
        self.variables.insert(name.clone(), (name.clone(), item));
        if let ([number, _], Kind::List(_)) = (names, kind) {
            self.variables.insert((*number).to_owned(), ("loop.index0".to_owned(), Kind::Unknown));
        } else if let ([key, _], kind) = (names, kind)
            && kind != Kind::Groups
        {
            // Without the call it cannot be told whether it is the number of an item or the name of an entry.
            self.variables.insert((*key).to_owned(), ((*key).to_owned(), Kind::Untold));
        }
        self.open.push(Open { end: "endfor", dot: Some((name.clone(), item)), is_go: true });
        let given = given?.text;
        match (names, kind) {
            // Of a map the first name is that of the key, and a call alone does not tell whether it gives one.
            ([_, _], Kind::List(_)) | ([] | [_], Kind::List(_) | Kind::Unknown) => {
                Some(format!("for {name} in {given}"))
            }
            ([key, _], Kind::Groups) => Some(format!("for {key}, {name} in {given}")),
            ([] | [_], Kind::Groups) => Some(format!("for key, {name} in {given}")),
            _ => None,
        }
    }

    /// A name that nothing around it has.
    fn free(&self, usual: &str) -> String {
        let is_taken = |name: &str| self.open.iter().any(|open| open.dot.as_ref().is_some_and(|(dot, _)| dot == name));
        if is_taken(usual) { format!("inner_{usual}") } else { usual.to_owned() }
    }

    fn pipeline(&self, pipeline: &Pipeline<'_>) -> Option<Here> {
        let mut given: Option<Here> = None;
        for command in pipeline {
            given = Some(self.command(command, given)?);
        }
        given
    }

    fn command(&self, command: &[Operand<'_>], piped: Option<Here>) -> Option<Here> {
        match command {
            [Operand::Word(word @ ("true" | "false"))] if piped.is_none() => Some(Here::atom(*word)),
            [Operand::Word(name), arguments @ ..] => {
                let is_piped = piped.is_some();
                let arguments = arguments.iter().map(|argument| self.operand(argument));
                let arguments: Vec<Here> =
                    arguments.chain([piped].into_iter().flatten().map(Some)).collect::<Option<_>>()?;
                call(name, &arguments, is_piped)
            }
            [value] if piped.is_none() => self.operand(value),
            _ => None,
        }
    }

    /// The first field in an action that cannot be told from what it is a field of.
    fn untold_field<'a>(&self, action: &'a Action<'a>) -> Option<&'a [&'a str]> {
        let mut groups = vec![pipeline_of(action)?];
        while let Some(pipeline) = groups.pop() {
            for operand in pipeline.iter().flatten() {
                match operand {
                    Operand::Field(names) | Operand::Variable(_, names)
                        if !names.is_empty() && self.operand(operand).is_none() =>
                    {
                        return Some(names);
                    }
                    Operand::Group(group, _) => groups.push(group),
                    _ => {}
                }
            }
        }
        None
    }

    fn operand(&self, operand: &Operand<'_>) -> Option<Here> {
        match operand {
            Operand::Text(text) => Some(Here::text(text)),
            Operand::Number(number) => Some(Here::atom(*number)),
            Operand::Word(_) => self.command(std::slice::from_ref(operand), None),
            Operand::Field(names) => {
                let (dot, kind) = self.open.iter().rev().find_map(|open| open.dot.as_ref())?;
                field(dot, *kind, names)
            }
            Operand::Variable("", _) => None,
            Operand::Variable(name, names) => {
                let (name, kind) =
                    self.variables.get(*name).map_or((*name, Kind::Unknown), |(name, kind)| (name, *kind));
                field(name, kind, names)
            }
            // `(get "/a").Value` of confd.
            Operand::Group(group, names) => match (&group[..], &names[..]) {
                (_, []) => self.pipeline(group),
                ([command], ["Value"]) if command.first() == Some(&Operand::Word("get")) => self.pipeline(group),
                _ => None,
            },
        }
    }
}

/// What a tag of ours does.
#[derive(Clone, Copy)]
enum Written {
    Value,
    Comment,
    Condition,
    Loop,
    Set,
    Block,
}

impl Written {
    /// What to do where the whole tag cannot be told.
    fn advice(self) -> &'static str {
        match self {
            Self::Loop => {
                "a loop is `{% for instance in service(name=\"web\") %}`, of a map `{% for key, value in map %}`, and the number of \
                 an item is `loop.index0`"
            }
            Self::Condition => {
                "a condition is `{% if a == b and not c %}`, and a field of the item of a loop `instance.address`"
            }
            Self::Set => "a variable is set by `{% set name = key(path=\"app/host\") %}`",
            Self::Value | Self::Comment | Self::Block => {
                "the arguments of functions and filters have names: `{{ key(path=\"app/host\") | upper }}`; a field of the item \
                 of a loop is `instance.address`"
            }
        }
    }
}

/// What `define` and `template` are here.
fn part_of(name: &str, what: &str) -> String {
    let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    format!(
        "{what}: `{{% component {name}(item) %}}...{{% endcomponent %}}`, called as `{{{{ <{name} item={{item}} /> }}}}`; or a file \
         of its own: `{{% include \"{name}.tera\" %}}`"
    )
}

/// A field of a value, by the names that it has here.
fn field(name: &str, kind: Kind, fields: &[&str]) -> Option<Here> {
    let Some((first, rest)) = fields.split_first() else {
        if kind == Kind::Untold {
            return None;
        }
        return Some(Here { text: name.to_owned(), level: Level::Atom, gives: kind });
    };
    // The fields of a value of Go begin with a capital, and have other names here.
    let is_of_go = || first.starts_with(|c: char| c.is_ascii_uppercase());
    let rest = match (kind, *first, rest) {
        (Kind::Got, "Value", []) => return field(name, Kind::Text, &[]),
        (Kind::Instance, "Weights", ["Passing" | "Warning"]) | (Kind::Instance, "Checks", ["AggregatedStatus"]) => &[],
        (Kind::Unknown, ..) | (Kind::Instance, "ServiceMeta", _) | (Kind::Node, "Meta", _) | (_, _, []) => rest,
        _ => return None,
    };
    let own = match (kind, *first) {
        (Kind::Unknown, own) if !is_of_go() => own,
        (Kind::Instance, "Weights") => "weight",
        (Kind::Instance | Kind::Node, "Address") => "address",
        (Kind::Instance, "Port") => "port",
        (Kind::Instance, "ID") => "id",
        (Kind::Instance, "Node") => "node",
        (Kind::Instance, "Status" | "Checks") => "status",
        (Kind::Instance, "ServiceMeta") | (Kind::Node, "Meta") => "meta",
        (Kind::Instance | Kind::Service, "Name") | (Kind::Node, "Node") => "name",
        (Kind::Instance | Kind::Service, "Tags") => "tags",
        (Kind::Node, "Datacenter") => "datacenter",
        (Kind::Entry, "Key") => "key",
        (Kind::Pair, "Key") | (Kind::Entry, "Path") => "path",
        (Kind::Entry | Kind::Pair, "Value") => "value",
        _ => return None,
    };
    let path: Vec<&str> = [name, own].into_iter().chain(rest.iter().copied()).collect();
    Some(Here::atom(path.join(".")))
}

/// The function that a tag calls first, where what it is here cannot be told from the call.
fn first_function(action: &Action<'_>) -> Option<String> {
    let pipeline = pipeline_of(action)?;
    let name = |command: &Vec<Operand<'_>>| match command.first() {
        Some(Operand::Word(name)) => Some((*name).to_owned()),
        _ => None,
    };
    pipeline.iter().filter_map(name).find(|name| is_foreign(name))
}

/// What an action works on.
fn pipeline_of<'a>(action: &'a Action<'a>) -> Option<&'a Pipeline<'a>> {
    match action {
        Action::Range(_, pipeline)
        | Action::If(pipeline)
        | Action::ElseIf(pipeline)
        | Action::With(_, pipeline)
        | Action::Set(_, pipeline)
        | Action::Print(pipeline) => Some(pipeline),
        _ => None,
    }
}

/// The functions that every Go template has.
const OF_GO: &[&str] =
    &["and", "eq", "ge", "gt", "index", "le", "len", "lt", "ne", "not", "or", "print", "printf", "println"];

/// Whether a name is one of a function or filter, here or there.
fn is_known(name: &str) -> bool {
    OF_GO.contains(&name)
        || is_foreign(name)
        || functions().any(|function| function.entry.name == name)
        || filters().any(|filter| filter.entry.name == name)
}
