//! What concerns the template itself.

use tera::Value;

use super::super::arguments::Arguments;
use super::super::entry::{Entry, Group, or, required};
use super::super::error::{ErrorKind, Failure, UNSHOWN};
use super::super::record::{Render, Stop};
use super::{Function, Placeholder};

/// The template itself.
pub(super) const TEMPLATE: Group<Function> = Group {
    name: "The template itself",
    entries: &[
        Function {
            entry: Entry {
                name: "fail",
                arguments: &[required("message")],
                takes: "",
                gives: "fails the render with this message; it is shown where the template holds it word by word, since a value may be part of any other. `throw` is another name for it",
                empty: "fails with an empty message",
                example: r#"{% if not exists(path="app/host") %}{{ fail(message="no host") }}{% endif %}ok"#,
                output: "ok",
            },
            question: None,
            placeholder: Placeholder::False,
            call: Some(fail),
        },
        Function {
            entry: Entry {
                name: "warn",
                arguments: &[required("message")],
                takes: "",
                gives: "writes nothing, and logs the message with target and template when the file is rendered; once until it changes, and at most once a minute. It is shown as that of `fail`",
                empty: "logs an empty message",
                example: r#"{% if not exists(path="app/tls") %}{{ warn(message="without TLS") }}{% endif %}ok"#,
                output: "ok",
            },
            question: None,
            placeholder: Placeholder::False,
            call: Some(warn),
        },
        Function {
            entry: Entry {
                name: "not_yet",
                arguments: &[required("message")],
                takes: "",
                gives: "leaves the file as it is until other answers come; the target waits and `status` shows the message as what is waited for, `once` ends with 3. It is shown as that of `fail`",
                empty: "waits with an empty message",
                example: r#"{% if service(name="web") | length < 2 %}{{ not_yet(message="two servers of web") }}{% endif %}ok"#,
                output: "ok",
            },
            question: None,
            placeholder: Placeholder::False,
            call: Some(not_yet),
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

/// `fail(message=)`: fails the render. The error shows the message where the template holds it word by word, and hides one
/// that was put together, since a value may be in it.
pub(super) fn fail(render: &mut Render, arguments: &Arguments<'_>) -> Result<Value, Stop> {
    give_up(ErrorKind::Function, render, arguments)
}

/// `not_yet(message=)`: ends the render; the target waits for other answers.
pub(super) fn not_yet(render: &mut Render, arguments: &Arguments<'_>) -> Result<Value, Stop> {
    give_up(ErrorKind::NotYet, render, arguments)
}

fn give_up(kind: ErrorKind, render: &Render, arguments: &Arguments<'_>) -> Result<Value, Stop> {
    let message = arguments.required_text("message", render)?;
    if !render.missing.is_empty() {
        return Err(Stop::Missing);
    }
    Err(Failure { suspect: true, ..Failure::of(kind, message) }.into())
}

/// `warn(message=)`: notes a message for the log.
pub(super) fn warn(render: &mut Render, arguments: &Arguments<'_>) -> Result<Value, Stop> {
    let message = arguments.required_text("message", render)?;
    let shown = if render.may_show(message) { message } else { UNSHOWN };
    render.warnings.insert(shown.to_owned());
    Ok(Value::none())
}
