//! What is told of a function, a filter or a test: by the reference, by `liveconf functions`, and by the checks of a
//! template that is loaded. Each stands in the file of what it tells of, and nowhere else.

/// Something that a template can name.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its arguments, those that must be given first.
    pub(crate) arguments: &'static [Argument],
    /// What stands before the `|` of a filter or the `is` of a test: `text`, `number`, `list`, `map`, `truth value`,
    /// several of them, or `anything`. Any other fails the render, and so does what is undefined unless that is named.
    /// Empty for a function.
    pub(crate) takes: &'static str,
    /// What it gives, in Markdown; up to the first `;` in a few words.
    pub(crate) gives: &'static str,
    /// What it gives for what is empty or not there, in Markdown.
    pub(crate) empty: &'static str,
    /// A template that shows it, with the answers of [`SAMPLE`](super::catalog::SAMPLE).
    pub(crate) example: &'static str,
    /// What that template gives.
    pub(crate) output: &'static str,
}

/// A keyword argument.
#[derive(Debug)]
pub(crate) struct Argument {
    /// Its name.
    pub(crate) name: &'static str,
    /// What stands in where it is not given.
    pub(crate) default: Default,
}

/// What stands in for an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Default {
    /// Nothing can: it must be given.
    Required,
    /// Nothing does.
    None,
    /// This, as it is written in a template.
    Written(&'static str),
}

/// Things of one kind for one purpose, under one heading of the reference.
#[derive(Debug)]
pub(crate) struct Group<T: 'static> {
    /// The heading.
    pub(crate) name: &'static str,
    /// What there is, in the order in which it is told.
    pub(crate) entries: &'static [T],
}

/// An argument that must be given.
pub(crate) const fn required(name: &'static str) -> Argument {
    Argument { name, default: Default::Required }
}

/// An argument that may be given.
pub(crate) const fn optional(name: &'static str) -> Argument {
    Argument { name, default: Default::None }
}

/// An argument for which this stands in, as it is written in a template.
pub(crate) const fn or(name: &'static str, default: &'static str) -> Argument {
    Argument { name, default: Default::Written(default) }
}

impl Entry {
    /// How it is written: `name(required=, [optional=], other=default)`.
    pub(crate) fn signature(&self) -> String {
        if self.arguments.is_empty() {
            // A function is called with brackets, whatever stands in them.
            return format!("{}{}", self.name, if self.takes.is_empty() { "()" } else { "" });
        }
        let argument = |Argument { name, default }: &Argument| match default {
            Default::Required => format!("{name}="),
            Default::None => format!("[{name}=]"),
            Default::Written(default) => format!("{name}={default}"),
        };
        format!("{}({})", self.name, self.arguments.iter().map(argument).collect::<Vec<_>>().join(", "))
    }
}
