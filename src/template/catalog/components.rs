//! The components that are built in, as their page of the reference tells of them. A test makes that page of the comments
//! in `templates/`, of the definitions below these and of what the examples give, so nothing is told twice.

use super::super::builtin::{BUILTINS, Builtin};

const PAGE: &str = include_str!("../../reference/components.md");

/// What is told of a component.
#[derive(Debug)]
pub(crate) struct Component {
    /// Its name, such as `nginx.upstream`.
    pub(crate) name: &'static str,
    /// What it writes, in Markdown.
    pub(crate) summary: &'static str,
    /// Its arguments, in the order in which they are told.
    pub(crate) arguments: Vec<ComponentArgument>,
    /// What becomes of instances in each state, where that differs: the state, and what is written for it, in Markdown.
    pub(crate) states: Vec<(String, String)>,
    /// What else there is to know, such as what it reads and who judged it; a paragraph each, in Markdown.
    pub(crate) notes: Vec<&'static str>,
    /// A call.
    pub(crate) example: &'static str,
    /// What that call gives with the registry of [`sample`].
    pub(crate) output: &'static str,
    /// The template that defines it, which begins with its documentation.
    pub(crate) source: &'static str,
}

/// What is told of an argument.
#[derive(Debug)]
pub(crate) struct ComponentArgument {
    /// Its name.
    pub(crate) name: String,
    /// What it takes, such as `text`.
    pub(crate) takes: String,
    /// What stands in where it is not given, as it is written in a template; nothing where it must be given.
    pub(crate) default: Option<String>,
    /// What it means, in Markdown.
    pub(crate) meaning: String,
}

impl Component {
    /// The program that it is for, which its name begins with.
    pub(crate) fn program(&self) -> &'static str {
        self.name.split_once('.').map_or(self.name, |(program, _)| program)
    }

    /// How it is called, with the arguments that must be given and `...` for those that may be.
    pub(crate) fn call(&self) -> String {
        let required = self.arguments.iter().filter(|argument| argument.default.is_none());
        let mut call = format!("<{}", self.name);
        for argument in required.clone() {
            call.extend([" ", &argument.name, "="]);
        }
        call + if required.count() < self.arguments.len() { " ... />" } else { " />" }
    }
}

/// All of them, in the order of the reference.
pub(crate) fn components() -> Vec<Component> {
    BUILTINS.iter().map(component).collect()
}

/// The registry of their examples.
pub(crate) fn sample() -> &'static str {
    fenced(PAGE, "yaml").0
}

/// What the page says of one, whose paragraphs come as the page is written: summary, arguments, the rest, example.
fn component(builtin: &Builtin) -> Component {
    let heading = format!("\n### `{}`\n\n", builtin.component);
    let section = PAGE.split_once(&heading).map_or("", |(_, section)| section);
    let (text, code) = section.split_once("\n\n`in.tera`:\n").unwrap_or((section, ""));
    let (example, after) = fenced(code, "jinja");
    let (output, _) = fenced(after, "text");
    let mut paragraphs = text.split("\n\n");
    let mut told = Component {
        name: builtin.component,
        summary: paragraphs.next().unwrap_or_default(),
        arguments: Vec::new(),
        states: Vec::new(),
        notes: Vec::new(),
        example: example.trim_end(),
        output,
        source: builtin.source,
    };
    for paragraph in paragraphs {
        let mut rows = paragraph.lines().filter_map(cells);
        match rows.next().map(|head| head.len()) {
            Some(4) => told.arguments.extend(rows.skip(1).filter_map(argument)),
            Some(_) => told.states.extend(rows.skip(1).filter_map(state)),
            None => told.notes.push(paragraph.trim()),
        }
    }
    told
}

/// The cells of the row of a table.
fn cells(line: &str) -> Option<Vec<String>> {
    let row = line.strip_prefix('|')?.strip_suffix('|')?.replace("\\|", "\0");
    Some(row.split('|').map(|cell| cell.trim().replace('\0', "|")).collect())
}

fn state(cells: Vec<String>) -> Option<(String, String)> {
    <[String; 2]>::try_from(cells).ok().map(Into::into)
}

fn argument(cells: Vec<String>) -> Option<ComponentArgument> {
    let [name, takes, default, meaning] = <[String; 4]>::try_from(cells).ok()?;
    let bare = |text: String| text.replace('`', "");
    let default = Some(bare(default)).filter(|default| !default.is_empty());
    Some(ComponentArgument { name: bare(name), takes: bare(takes), default, meaning })
}

/// The text of the first block that is fenced as this language, and what follows the block.
fn fenced<'p>(page: &'p str, language: &str) -> (&'p str, &'p str) {
    let begun = page.split_once(&format!("```{language}\n")).map_or("", |(_, block)| block);
    begun.split_once("```\n").unwrap_or((begun, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_the_page_says_is_told() {
        for component in components() {
            let Component { name, summary, arguments, notes, example, output, .. } = &component;
            assert!(summary.ends_with('.') && !arguments.is_empty(), "{name}");
            let comment = component.source.split(" #}").next().unwrap();
            for ComponentArgument { name: argument, takes, meaning, .. } in arguments {
                assert!(comment.contains(&format!("\n   {argument} ")), "{name}: {argument}");
                assert!(!takes.is_empty() && !meaning.is_empty(), "{name}: {argument}");
            }
            assert!(notes.iter().any(|note| note.starts_with("Reads ")), "{name}: {notes:?}");
            assert!(notes.iter().all(|note| !note.contains("|---|") && !note.contains("```")), "{name}: {notes:?}");
            assert!(example.contains(&format!("<{name} ")) && !output.is_empty(), "{name}");
            assert!(PAGE.contains(&format!("```jinja\n{example}\n```\n\ngives:\n\n```text\n{output}```\n")), "{name}");
        }
        assert!(sample().starts_with("services:\n  web:\n") && sample().ends_with("}\n"));
    }

    #[test]
    fn what_may_be_left_out_of_a_call_is() {
        let call = |name| components().iter().find(|component| component.name == name).unwrap().call();
        assert_eq!(call("nginx.upstream"), "<nginx.upstream name= servers= ... />");
        assert_eq!(call("haproxy.acl"), "<haproxy.acl patterns= />");
    }
}
