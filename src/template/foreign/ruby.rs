//! Templates in ERB, as consul-templaterb has them. To Tera they are text, and would be written as they stand.

use crate::template::error::{ErrorKind, TemplateError};
use crate::template::scan::PieceKind;
use crate::template::source::Source;

/// What is said of the first tag of ERB in a source that has no tag of ours; nothing of any other source.
pub(in crate::template) fn of_ruby(source: &Source) -> Option<TemplateError> {
    if source.pieces().iter().any(|piece| piece.kind != PieceKind::Text) {
        return None;
    }
    let start = source.text.find("<%")?;
    let end = start + source.text[start..].find("%>")? + "%>".len();
    let message = "this is the syntax of ERB, as of consul-templaterb, and is written into the file as it stands";
    let hint = "a value is `{{ key(path=\"app/host\") }}` here, and a loop `{% for instance in service(name=\"web\") %}...{% endfor %}`; \
                the page \"coming from confd, consul-template or remco\" of the reference has the rest";
    Some(source.error(start..end, ErrorKind::Syntax, message).hint(hint.to_owned()))
}
