//! One template of a target.

use std::path::{Component, Path, PathBuf};

use super::field::Field;
use super::for_each;
use super::model::{Check, Delimiters, Owner, Template, TemplateSource, Writes};
use super::problem::Complaint;
use super::section::Section;
use super::units;

/// A template before its check is read, which may name its siblings.
pub(super) struct Draft<'a> {
    /// Its name, as far as it can be told.
    pub(super) name: Option<String>,
    /// Where its name comes from.
    pub(super) name_field: Option<Field<'a>>,
    /// It has `for_each`.
    pub(super) writes_many: bool,
    /// Where its destination stands.
    pub(super) dest_field: Option<Field<'a>>,
    /// Its own check.
    pub(super) check: Option<Field<'a>>,
    /// The template without its check; none where something is wrong.
    pub(super) template: Option<Template>,
}

/// Reads a template.
pub(super) fn draft<'a>(section: &mut Section<'a>) -> Draft<'a> {
    let source = source(section);
    let dest_field = section.required("dest");
    let for_each_field = section.field("for_each");
    let (dest, writes) = match for_each_field {
        None => (dest_field.and_then(dest), Some(Writes::One)),
        Some(field) => {
            let (items, dest) = (for_each::items(field), dest_field.and_then(for_each::destination));
            let writes = items.zip(dest.as_ref()).map(|(items, dest)| Writes::Each(Box::new(items.named(dest))));
            (dest.map(|dest| dest.path), writes)
        }
    };
    let given = section.field("name");
    let name = match given {
        Some(field) => name(field),
        None => dest.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned()),
    };
    let mode = section.optional("mode", mode);
    let owner = owner(section);
    let secret = section.or("secret", false, Field::flag);
    let create_dirs = section.or("create_dirs", false, Field::flag);
    let in_place = section.or("in_place", false, Field::flag);
    if for_each_field.is_some() && in_place == Some(true) {
        section.problem("in_place", "`in_place` is for one file that is there, and `for_each` makes many", None);
    }
    let backup = section.or("backup", false, Field::flag);
    let keep_previous = section.or("keep_previous", false, Field::flag);
    let trim = section.or("trim", true, Field::flag);
    let delimiters = section.optional("delimiters", delimiters);
    let check = section.field("check");
    if let (Some(TemplateSource::File(source)), Some(dest), Some(field)) = (&source, &dest, dest_field)
        && normalised(source) == normalised(dest)
    {
        field.note(Complaint::new("`dest` is `src` itself: the template would be overwritten"));
    }
    let template = || {
        Some(Template {
            name: name.clone()?,
            source: source?,
            dest: dest?,
            writes: writes?,
            mode: mode?,
            owner: owner?,
            secret: secret?,
            create_dirs: create_dirs?,
            in_place: in_place?,
            backup: backup?,
            keep_previous: keep_previous?,
            check: None::<Check>,
            trim: trim?,
            delimiters: delimiters?,
        })
    };
    let writes_many = for_each_field.is_some();
    Draft { template: template(), writes_many, name_field: given.or(dest_field), name, dest_field, check }
}

fn source(section: &mut Section<'_>) -> Option<TemplateSource> {
    match (section.field("src"), section.field("content")) {
        (Some(_), Some(content)) => content.complain(Complaint::new("`src` and `content` exclude each other")),
        (Some(src), None) => src.path().map(TemplateSource::File),
        (None, Some(field)) => {
            let (content, places) = field.placed_text()?;
            Some(TemplateSource::Inline { content, file: field.document.name.clone(), places })
        }
        (None, None) => {
            section.problem("src", "`src` is missing", Some("a template is a file, `src`, or text, `content`".into()));
            None
        }
    }
}

fn dest(field: Field<'_>) -> Option<PathBuf> {
    let path = field.path()?;
    let folder = field.node.text().is_some_and(|text| text.ends_with('/') || text.ends_with("/."));
    if path.file_name().is_none() || folder {
        return field.complain(Complaint::new("`dest` is a folder").hint("name the file in it as well"));
    }
    if path.to_str().is_some_and(|path| for_each::first_tag(path).is_some()) {
        return field.complain(
            Complaint::new("a tag in `dest` stands for nothing without `for_each`")
                .hint("`for_each: 'EXPRESSION'` writes a file for each `item` of a list"),
        );
    }
    // Without `.` and doubled slashes, so that messages show what is meant.
    Some(path.components().collect())
}

/// A path without `..`, as far as its text tells: what two destinations are compared by.
pub(super) fn normalised(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => _ = clean.pop(),
            Component::CurDir => {}
            other => clean.push(other),
        }
    }
    clean
}

fn name(field: Field<'_>) -> Option<String> {
    let text = field.text()?;
    if text.is_empty() || text.contains(['{', '}']) || text.chars().any(char::is_control) {
        return field.misfit("a name without braces and control characters", None);
    }
    Some(text)
}

fn mode(field: Field<'_>) -> Option<u32> {
    let expected = "octal digits such as `644` or `0600`";
    match units::mode(&field.expanded(expected)?) {
        Some(mode) => Some(mode),
        None => field.misfit(expected, None),
    }
}

/// `owner: user[:group]` and `group`.
fn owner(section: &mut Section<'_>) -> Option<Owner> {
    let owner = section.optional("owner", |field| {
        let expected = "`user` or `user:group`";
        let text = field.expanded(expected)?;
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (&*text, None),
        };
        if !is_account(user) || !group.is_none_or(is_account) {
            return field.misfit(expected, text.starts_with(':').then(|| "write `group` for a group alone".into()));
        }
        Some((user.to_owned(), group.map(str::to_owned)))
    });
    let group = section.optional("group", |field| {
        let text = field.expanded("the name of a group")?;
        if is_account(&text) { Some(text.into_owned()) } else { field.misfit("the name of a group", None) }
    });
    let (owner, group) = (owner?, group?);
    if group.is_some() && matches!(owner, Some((_, Some(_)))) {
        section.problem("group", "the group is given twice, by `owner` and by `group`", None);
        return None;
    }
    let (user, own) = owner.unzip();
    Some(Owner { user, group: group.or(own.flatten()) })
}

fn is_account(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c.is_control() || matches!(c, ':' | '/'))
}

/// `delimiters: {block: ["<%", "%>"], ...}`; those that are left out stay as they are.
fn delimiters(field: Field<'_>) -> Option<Delimiters> {
    let mut section = field.section()?;
    let block = pair(&mut section, "block", "{%", "%}");
    let variable = pair(&mut section, "variable", "{{", "}}");
    let comment = pair(&mut section, "comment", "{#", "#}");
    let delimiters = Delimiters { block: block?, variable: variable?, comment: comment? };
    let [block, variable, comment] = [&delimiters.block.0, &delimiters.variable.0, &delimiters.comment.0];
    if block == variable || block == comment || variable == comment {
        return field.complain(Complaint::new("two of the delimiters begin alike"));
    }
    Some(delimiters)
}

fn pair(section: &mut Section<'_>, key: &str, start: &str, end: &str) -> Option<(String, String)> {
    let Some(field) = section.field(key) else { return Some((start.into(), end.into())) };
    let texts = field.texts()?;
    match <[String; 2]>::try_from(texts) {
        // The template engine takes two bytes, no more and no fewer.
        Ok([start, end]) if start.len() == 2 && end.len() == 2 => Some((start, end)),
        _ => field.misfit("two texts of two bytes each, such as `[\"<%\", \"%>\"]`", None),
    }
}
