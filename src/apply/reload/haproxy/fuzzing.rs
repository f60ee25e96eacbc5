//! Any file and any answer, as [`crate::fuzzing`] has them.

use super::difference::difference;
use super::plan::{Removed, plan};
use super::sections;
use super::table::Table;

/// A configuration, and behind a zero byte what HAProxy says of its servers: whatever they are, each command that comes of
/// them is one line, and nothing is between a file and itself.
pub(crate) fn files(bytes: &[u8]) {
    let (file, answer) = bytes.split_at(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
    let table = Table::parse(&String::from_utf8_lossy(answer.get(1..).unwrap_or_default())).unwrap_or(Table::empty());
    let Ok(read) = sections::read(file) else { return };
    for section in &read.sections {
        let rows = table.rows.iter().filter(|row| row.section == section.name);
        let Ok(plan) = plan(section, rows, |_| false, &Removed::new()) else { continue };
        for step in plan.steps() {
            assert!(!step.line.contains(['\n', '\r', '\\', '<', '"', '\'']), "{:?}", step.line);
            assert!(
                step.line.split(';').all(|command| command.contains(" server ")
                    || command.contains('/')
                    || command.starts_with("enable dynamic-cookie backend ")),
                "{:?}",
                step.line
            );
        }
    }
    let path = std::path::Path::new("/haproxy.cfg");
    // A byte at the end is a line of its own, or another end of the last.
    let other = [file, b"x"].concat();
    assert!(difference([(path, file, file)]).is_ok_and(|same| same.sections.is_empty()));
    let _ = difference([(path, file, &other[..])]);
}
