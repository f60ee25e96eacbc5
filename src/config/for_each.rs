//! `for_each`: one template that writes a file for each item of a list.

use std::path::{Path, PathBuf};

use super::field::Field;
use super::model::{ForEach, Gone, Template, TemplateSource, Writes};
use super::places::Places;
use super::problem::Complaint;

/// How an expression is written.
const WITHOUT_BRACES: &str = "write it without braces and in quotes, such as `'services(tag=\"public\")'`";

/// What begins a tag of Tera.
const TAGS: [&str; 2] = ["{{", "{%"];

/// The items of a `for_each` and what becomes of files whose item is gone, before the destination is known.
pub(super) struct Items {
    items: TemplateSource,
    gone: Gone,
}

/// The folder of the files, and how their names are made.
pub(super) struct Destination {
    /// The folder with the name, in which `*` stands for what is made of the item.
    pub(super) path: PathBuf,
    name: TemplateSource,
}

impl Items {
    /// With the names of its files.
    pub(super) fn named(self, destination: &Destination) -> ForEach {
        let Self { items, gone } = self;
        ForEach { items, name: destination.name.clone(), gone }
    }
}

/// Reads `for_each: EXPRESSION`, or `for_each: {items: EXPRESSION, gone: remove}`.
pub(super) fn items(field: Field<'_>) -> Option<Items> {
    if !field.is_map() {
        return Some(Items { items: expression(field)?, gone: Gone::Remove });
    }
    let mut section = field.section()?;
    let items = section.required("items").and_then(expression);
    let gone =
        section.or("gone", Gone::Remove, |field| field.choice(&[("remove", Gone::Remove), ("keep", Gone::Keep)]));
    Some(Items { items: items?, gone: gone? })
}

fn expression(field: Field<'_>) -> Option<TemplateSource> {
    if field.is_list() {
        let hint = "put it in quotes, such as `'[item for item in services() if item.name != \"x\"]'`, or YAML takes the \
                    brackets for a list of its own";
        return field.misfit("an expression that gives a list", Some(hint.to_owned()));
    }
    let (text, places) = field.placed_text()?;
    if text.trim().is_empty() || TAGS.iter().any(|tag| text.contains(tag)) {
        return field.misfit("an expression that gives a list", Some(WITHOUT_BRACES.to_owned()));
    }
    let indented = text.len() - text.trim_start().len();
    let places = places.behind(&text, indented).before("{{ ".len());
    Some(inline(field, format!("{{{{ {} }}}}", text.trim()), places))
}

/// Reads the `dest` of a template with `for_each`: a folder, and a file name that is made of the item.
pub(super) fn destination(field: Field<'_>) -> Option<Destination> {
    let (text, places) = field.placed_text()?;
    let Some(tag) = first_tag(&text) else {
        return field.complain(
            Complaint::new("all items would be written to one file")
                .hint("put the item into the file name, such as `sites/{{ item.name }}.conf`"),
        );
    };
    let (folder, name) = text.split_at(text[..tag].rfind('/').map_or(0, |slash| slash + 1));
    if name.ends_with('/') || name.chars().any(char::is_control) {
        return field.complain(Complaint::new("`dest` is a folder").hint("name the files in it as well"));
    }
    let pattern = pattern(name);
    if pattern.contains('/') {
        return field.complain(Complaint::new("a folder in `dest` would come from the item").hint(
            "all files of a `for_each` are in one folder, which is written out; the item is part of the file name",
        ));
    }
    let path: PathBuf = field.document.base.join(folder).components().collect();
    Some(Destination {
        path: path.join(pattern),
        name: inline(field, name.to_owned(), places.behind(&text, folder.len())),
    })
}

impl Template {
    /// Whether this may be the file of an item of a template with `for_each`.
    pub fn writes_to(&self, path: &Path) -> bool {
        matches!(self.writes, Writes::Each(_)) && may_meet(&self.dest, path)
    }

    /// Whether it has `for_each`, and a file whose item is gone is to go too.
    pub fn removes_what_is_gone(&self) -> bool {
        matches!(&self.writes, Writes::Each(for_each) if for_each.gone == Gone::Remove)
    }

    /// The template of a file whose item is gone, so that it is [gone](Writes::Gone) or [kept](Writes::Kept) as well.
    #[must_use]
    pub fn left_over(&self, file: PathBuf, writes: Writes) -> Self {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self { name, dest: file, writes, check: None, ..self.clone() }
    }
}

/// Where the first tag of a path begins.
pub(super) fn first_tag(path: &str) -> Option<usize> {
    TAGS.iter().filter_map(|tag| path.find(tag)).min()
}

/// A name with `*` for each tag.
fn pattern(name: &str) -> String {
    let (mut pattern, mut rest) = (String::new(), name);
    while let Some(start) = first_tag(rest) {
        pattern.push_str(&rest[..start]);
        pattern.push('*');
        let end = ["}}", "%}"].iter().filter_map(|end| rest[start..].find(end)).min();
        rest = end.map_or("", |end| &rest[start + end + 2..]);
    }
    pattern + rest
}

/// Whether two destinations, each of which may be a pattern, may be one file.
pub(crate) fn may_meet(one: &Path, other: &Path) -> bool {
    let is_pattern = |path: &Path| path.as_os_str().as_encoded_bytes().contains(&b'*');
    if !is_pattern(one) && !is_pattern(other) {
        return one == other;
    }
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let ends = |name: &str| {
        let (before, after) = (name.split('*').next().unwrap_or_default(), name.rsplit('*').next().unwrap_or_default());
        (before.to_owned(), after.to_owned())
    };
    let ((before, after), (other_before, other_after)) = (ends(&name(one)), ends(&name(other)));
    one.parent() == other.parent()
        && (before.starts_with(&other_before) || other_before.starts_with(&before))
        && (after.ends_with(&other_after) || other_after.ends_with(&after))
}

fn inline(field: Field<'_>, content: String, places: Places) -> TemplateSource {
    TemplateSource::Inline { content, file: field.document.name.clone(), places }
}
