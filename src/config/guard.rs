//! `guard: {max_drop, hold, empty_after, min_instances, prefixes}`.

use super::field::Field;
use super::model::Guard;
use super::problem::Complaint;
use crate::registry::Path;

/// Reads the guard of a target.
pub(super) fn read(field: Field<'_>) -> Option<Guard> {
    let mut section = field.section()?;
    let default = Guard::default();
    let max_drop = section.or("max_drop", default.max_drop, Field::percent);
    let hold = section.or("hold", default.hold, Field::duration);
    let empty_after = section.or("empty_after", default.empty_after, Field::duration_or_never);
    let min_instances = section.or("min_instances", default.min_instances, Field::integer);
    let prefixes = section.or("prefixes", default.prefixes, prefixes);
    let guard = Guard {
        max_drop: max_drop?,
        hold: hold?,
        empty_after: empty_after?,
        min_instances: min_instances?,
        prefixes: prefixes?,
    };
    if guard.is_off() {
        for key in ["max_drop", "hold", "min_instances", "prefixes"] {
            if let Some(field) = section.field(key) {
                let message = format!("`{key}` has no effect: `empty_after: 0s` turns the whole guard off");
                field.warn(Complaint::new(message).hint("leave `empty_after` out to hold what is emptied"));
            }
        }
    }
    Some(guard)
}

fn prefixes(field: Field<'_>) -> Option<Vec<Path>> {
    let items = if field.is_list() { field.items()? } else { vec![field] };
    // Every item is read before any is missed, so that each complains.
    let paths: Vec<_> = items.into_iter().map(path).collect();
    paths.into_iter().collect()
}

fn path(field: Field<'_>) -> Option<Path> {
    let text = field.expanded("a list of paths of keys")?;
    field.accept(Path::parse(&text).map_err(|error| Complaint::new(error.to_string())))
}
