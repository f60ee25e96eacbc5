//! The tables of a page of the reference. That of the page for those who come from other tools is where the hints for the
//! names of their functions are from.

/// The page for those who come from other tools.
pub(crate) const COMING_FROM: &str = include_str!("coming_from.md");

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

impl Row<'_> {
    /// What stands in backticks in a cell.
    pub(crate) fn codes(&self, cell: usize) -> Vec<&str> {
        self.cells.get(cell).map_or("", String::as_str).split('`').skip(1).step_by(2).collect()
    }

    /// The one thing that stands in backticks in a cell.
    #[cfg(test)]
    pub(crate) fn code(&self, cell: usize) -> &str {
        match self.codes(cell)[..] {
            [code] => code,
            _ => panic!("one thing in backticks is expected in cell {cell} of {self:?}"),
        }
    }
}

/// The rows of all tables of a page.
pub(crate) fn rows(page: &str) -> Vec<Row<'_>> {
    let (mut rows, mut heading, mut table) = (Vec::new(), "", String::new());
    for line in prose(page) {
        if let Some(cells) = cells(line) {
            if table.is_empty() {
                table = cells.into_iter().next().unwrap_or_default();
            } else {
                rows.push(Row { heading, table: table.clone(), cells });
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

/// The cells of a row, if the line is one.
fn cells(line: &str) -> Option<Vec<String>> {
    let row = line.strip_prefix("| ")?;
    let row = row.strip_suffix('|').unwrap_or(row).replace("\\|", "\0");
    Some(row.split('|').map(|cell| cell.trim().replace('\0', "|")).collect())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::page::{CONFIGURATION, OPERATION, TEMPLATES};

    #[test]
    fn every_row_has_the_cells_of_its_head() {
        for page in [COMING_FROM, CONFIGURATION, OPERATION, TEMPLATES] {
            let mut head = 0;
            for line in prose(page) {
                assert!(!line.starts_with("| ") || line.ends_with('|'), "a row that never ends: {line}");
                match cells(line).map(|cells| cells.len()) {
                    Some(count) if head == 0 => head = count,
                    Some(count) => assert_eq!(count, head, "{line}"),
                    None if line.starts_with("|-") => {}
                    None => head = 0,
                }
            }
        }
    }
}
