//! What concerns the template itself.

use tera::Value;

use super::super::arguments::Arguments;
use super::super::entry::{Entry, Group, or, required};
use super::super::error::Failure;
use super::super::record::{Render, Stop};
use super::{Function, Placeholder};

/// The template itself.
pub(super) const TEMPLATE: Group<Function> = Group {
    name: "The template itself",
    entries: &[
        Function {
            entry: Entry {
                name: "throw",
                arguments: &[required("message")],
                takes: "",
                gives: "fails the render with this message; it is shown where the template holds it word by word, since a value may be part of any other",
                empty: "fails with an empty message",
                example: r#"{% if not exists(path="app/host") %}{{ throw(message="no host") }}{% endif %}ok"#,
                output: "ok",
            },
            question: None,
            placeholder: Placeholder::False,
            call: Some(throw),
        },
        Function::of_tera(Entry {
            name: "range",
            arguments: &[required("end"), or("start", "0"), or("step_by", "1")],
            takes: "",
            gives: "list of whole numbers, without `end`; at most 100,000",
            empty: "`[]` where `end` is `start`; fails where it is less",
            example: "{% for i in range(start=1, end=4) %}w{{ i }} {% endfor %}",
            output: "w1 w2 w3 ",
        }),
        Function::of_tera(Entry {
            name: "super",
            arguments: &[],
            takes: "",
            gives: "the block that a template extends; within `block` only",
            empty: "empty text for an empty block",
            example: "{% block b %}base{% endblock %}",
            output: "base",
        }),
    ],
};

/// `throw(message=)`: fails the render. The error shows the message where the template holds it word by word, and
/// hides one that was put together, since a value may be in it.
pub(super) fn throw(render: &mut Render, arguments: &Arguments<'_>) -> Result<Value, Stop> {
    let message = arguments.required_text("message", render)?;
    if !render.missing.is_empty() {
        return Err(Stop::Missing);
    }
    Err(Failure { suspect: true, ..Failure::new(message) }.into())
}
