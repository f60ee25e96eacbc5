//! A page of the reference as tests read it: its tables and its fenced blocks.

pub(crate) use super::table::{COMING_FROM, Row, rows};

/// The page about the configuration.
pub(crate) const CONFIGURATION: &str = include_str!("configuration.md");

/// The page about templates.
pub(crate) const TEMPLATES: &str = include_str!("templates.md");

/// The page about commands and what happens when.
pub(crate) const OPERATION: &str = include_str!("operation.md");

/// A fenced block.
#[derive(Debug)]
pub(crate) struct Block<'p> {
    /// The line of its first line in the page.
    pub(crate) line: usize,
    /// The line of text before it, such as "`liveconf.yaml`:" or "gives:", without the colon.
    pub(crate) title: &'p str,
    /// Its text.
    pub(crate) text: String,
}

impl Block<'_> {
    /// The file whose text it is, by its title.
    pub(crate) fn file(&self) -> Option<&str> {
        self.title.strip_prefix('`')?.strip_suffix('`')
    }
}

/// What stands in backticks in the first column of the tables under a heading whose first column has this name.
pub(crate) fn terms<'p>(page: &'p str, heading: &str, table: &str) -> Vec<String> {
    let wanted = |row: &Row<'p>| row.heading == heading && row.table == table;
    let rows = rows(page).into_iter().filter(wanted);
    rows.flat_map(|row| row.codes(0).into_iter().map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// The fenced blocks of a page.
pub(crate) fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut open: Option<Block<'_>> = None;
    let mut before = "";
    for (number, line) in (1..).zip(page.lines()) {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(_)) => {
                let title =
                    before.strip_suffix(':').unwrap_or_else(|| panic!("line {number}: a block without a title"));
                open = Some(Block { line: number + 1, title, text: String::new() });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => block.text.extend([line, "\n"]),
            (None, None) if line.is_empty() => {}
            (None, None) => before = line,
        }
    }
    assert!(open.is_none(), "a fence that never ends");
    blocks
}
