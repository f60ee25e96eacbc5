//! A page of the reference as tests read it: its tables and its fenced blocks.

/// The page about the configuration.
pub(crate) const CONFIGURATION: &str = include_str!("configuration.md");

/// The page about templates.
pub(crate) const TEMPLATES: &str = include_str!("templates.md");

/// The page for those who come from other tools.
pub(crate) const COMING_FROM: &str = include_str!("coming_from.md");

/// The page about commands and what happens when.
pub(crate) const OPERATION: &str = include_str!("operation.md");

/// A row of a table, without its head.
#[derive(Debug)]
pub(crate) struct Row<'p> {
    /// The heading that it stands under, without its `#`.
    pub(crate) heading: &'p str,
    /// The name of its first column.
    pub(crate) table: String,
    /// Its cells, as they are written but for `\|`.
    pub(crate) cells: Vec<String>,
}

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

impl Row<'_> {
    /// What stands in backticks in a cell.
    pub(crate) fn codes(&self, cell: usize) -> Vec<&str> {
        self.cells[cell].split('`').skip(1).step_by(2).collect()
    }

    /// The one thing that stands in backticks in a cell.
    pub(crate) fn code(&self, cell: usize) -> &str {
        match self.codes(cell)[..] {
            [code] => code,
            _ => panic!("one thing in backticks is expected in cell {cell} of {self:?}"),
        }
    }
}

impl Block<'_> {
    /// The file whose text it is, by its title.
    pub(crate) fn file(&self) -> Option<&str> {
        self.title.strip_prefix('`')?.strip_suffix('`')
    }
}

/// The rows of all tables of a page.
pub(crate) fn rows(page: &str) -> Vec<Row<'_>> {
    let (mut rows, mut heading, mut table) = (Vec::new(), "", Vec::new());
    for line in prose(page) {
        if let Some(row) = line.strip_prefix("| ") {
            let row = row.strip_suffix('|').unwrap_or_else(|| panic!("a row that never ends: {line}"));
            let cells: Vec<String> =
                row.replace("\\|", "\0").split('|').map(|cell| cell.trim().replace('\0', "|")).collect();
            if table.is_empty() {
                table = cells;
            } else {
                assert_eq!(cells.len(), table.len(), "{line}");
                rows.push(Row { heading, table: table[0].clone(), cells });
            }
        } else if !line.starts_with("|-") {
            table.clear();
            if line.starts_with('#') {
                heading = line.trim_start_matches('#').trim();
            }
        }
    }
    rows
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

/// The lines outside of fenced blocks.
fn prose(page: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    page.lines().filter(move |line| {
        let fence = line.starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}
