//! Filters of text.

use std::fmt::Write as _;

use tera::Value;

use super::super::arguments::Arguments;
use super::super::entry::{Entry, Group, optional, or, required};
use super::super::error::{ErrorKind, Failure};
use super::super::record::{Render, Stop};
use super::{Filter, complete, refused, text_of, text_or_number};

/// Text.
pub(super) const TEXT: Group<Filter> = Group {
    name: "Text",
    entries: &[
        Filter::new(
            basename,
            Entry {
                name: "basename",
                arguments: &[],
                takes: "text",
                gives: "the last segment of a path",
                empty: "empty text",
                example: r#"{{ "a/b/c" | basename }}"#,
                output: "c",
            },
        ),
        Filter::new(
            dirname,
            Entry {
                name: "dirname",
                arguments: &[],
                takes: "text",
                gives: "the path without its last segment",
                empty: "empty text; so for one segment",
                example: r#"{{ "a/b/c" | dirname }}"#,
                output: "a/b",
            },
        ),
        Filter::of_tera(Entry {
            name: "split",
            arguments: &[required("pat")],
            takes: "text",
            gives: "list of the parts between every `pat`",
            empty: r#"`[""]`"#,
            example: r#"{{ "a,b" | split(pat=",") }}"#,
            output: r#"["a", "b"]"#,
        }),
        Filter::new(
            split_list,
            Entry {
                name: "split_list",
                arguments: &[or("pat", r#"",""#)],
                takes: "text",
                gives: "list of the parts between every `pat`, without white space around them; empty ones are left out",
                empty: "`[]`",
                example: r#"{% for name in key(path="sites/shop/names") | split_list %}{{ name }};{% endfor %}"#,
                output: "shop.example;www.shop.example;",
            },
        ),
        Filter::new(
            lines,
            Entry {
                name: "lines",
                arguments: &[],
                takes: "text",
                gives: "list of lines, without their ends",
                empty: "`[]`",
                example: r#"{{ "x y" | replace(from=" ", to="\n") | lines }}"#,
                output: r#"["x", "y"]"#,
            },
        ),
        Filter::of_tera(Entry {
            name: "replace",
            arguments: &[required("from"), required("to")],
            takes: "text",
            gives: "every `from` replaced",
            empty: "empty text",
            example: r#"{{ "a.b" | replace(from=".", to="-") }}"#,
            output: "a-b",
        }),
        Filter::of_tera(Entry {
            name: "trim",
            arguments: &[optional("pat")],
            takes: "text",
            gives: "without white space, or any number of `pat`, at both ends",
            empty: "empty text",
            example: r#"{{ " a " | trim }}"#,
            output: "a",
        }),
        Filter::of_tera(Entry {
            name: "trim_start",
            arguments: &[optional("pat")],
            takes: "text",
            gives: "the same at the beginning",
            empty: "empty text",
            example: r#"{{ "//a" | trim_start(pat="/") }}"#,
            output: "a",
        }),
        Filter::of_tera(Entry {
            name: "trim_end",
            arguments: &[optional("pat")],
            takes: "text",
            gives: "the same at the end",
            empty: "empty text",
            example: r#"{{ "a/" | trim_end(pat="/") }}"#,
            output: "a",
        }),
        Filter::new(
            trim_prefix,
            Entry {
                name: "trim_prefix",
                arguments: &[required("pat")],
                takes: "text",
                gives: "without `pat` at the beginning, once",
                empty: "empty text",
                example: r#"{{ "v1.2" | trim_prefix(pat="v") }}"#,
                output: "1.2",
            },
        ),
        Filter::new(
            trim_suffix,
            Entry {
                name: "trim_suffix",
                arguments: &[required("pat")],
                takes: "text",
                gives: "without `pat` at the end, once",
                empty: "empty text",
                example: r#"{{ "web.service" | trim_suffix(pat=".service") }}"#,
                output: "web",
            },
        ),
        Filter::of_tera(Entry {
            name: "truncate",
            arguments: &[required("length"), or("end", r#""…""#)],
            takes: "text",
            gives: "shortened to so many characters, with `end` behind them",
            empty: "empty text",
            example: r#"{{ "abcdef" | truncate(length=3, end="") }}"#,
            output: "abc",
        }),
        Filter::of_tera(Entry {
            name: "indent",
            arguments: &[or("width", "4"), or("indentation", r#"" ""#), or("first", "false"), or("blank", "false")],
            takes: "text",
            gives: "lines indented, but the first; `first` and `blank` say whether the first and empty ones are too",
            empty: "empty text",
            example: r#"{{ "a: 1\nb: 2" | indent(width=2, first=true) }}"#,
            output: "  a: 1\n  b: 2",
        }),
        Filter::new(
            pad_start,
            Entry {
                name: "pad_start",
                arguments: &[required("width"), or("fill", r#"" ""#)],
                takes: "text, number",
                gives: "as wide as `width` characters, with `fill` before it",
                empty: "`fill` only",
                example: r#"{{ 7 | pad_start(width=3, fill="0") }}"#,
                output: "007",
            },
        ),
        Filter::new(
            pad_end,
            Entry {
                name: "pad_end",
                arguments: &[required("width"), or("fill", r#"" ""#)],
                takes: "text, number",
                gives: "the same with `fill` behind it",
                empty: "`fill` only",
                example: r#"{{ "web" | pad_end(width=5, fill=".") }}80"#,
                output: "web..80",
            },
        ),
        Filter::new(
            repeat,
            Entry {
                name: "repeat",
                arguments: &[required("n")],
                takes: "text",
                gives: "so many times",
                empty: "empty text; so for `n=0`",
                example: r#"{{ "ab" | repeat(n=2) }}"#,
                output: "abab",
            },
        ),
        Filter::new(
            nospace,
            Entry {
                name: "nospace",
                arguments: &[],
                takes: "text",
                gives: "without any white space",
                empty: "empty text",
                example: r#"{{ "a b c" | nospace }}"#,
                output: "abc",
            },
        ),
        Filter::new(
            quote,
            Entry {
                name: "quote",
                arguments: &[],
                takes: "text, number",
                gives: "in double quotes, with the escapes of JSON",
                empty: r#"`""`"#,
                example: r#"{{ 'say "hi"' | quote }}"#,
                output: r#""say \"hi\"""#,
            },
        ),
        Filter::new(
            str,
            Entry {
                name: "str",
                arguments: &[],
                takes: "anything",
                gives: "any value as it would be printed",
                empty: "empty text; `[]`, `{}`",
                example: r#"{{ 5 | str ~ "s" }}"#,
                output: "5s",
            },
        ),
        Filter::of_tera(Entry {
            name: "wordcount",
            arguments: &[],
            takes: "text",
            gives: "number of words",
            empty: "0",
            example: r#"{{ "a b" | wordcount }}"#,
            output: "2",
        }),
        Filter::of_tera(Entry {
            name: "pluralize",
            arguments: &[or("singular", r#""""#), or("plural", r#""s""#)],
            takes: "number",
            gives: "an ending; `singular` for 1 and -1",
            empty: "`plural` for 0",
            example: r#"{{ "server" ~ (2 | pluralize) }}"#,
            output: "servers",
        }),
        Filter::of_tera(Entry {
            name: "newlines_to_br",
            arguments: &[],
            takes: "text",
            gives: "newlines as `<br>`",
            empty: "empty text",
            example: r#"{{ "a" | newlines_to_br }}"#,
            output: "a",
        }),
        Filter::of_tera(Entry {
            name: "escape",
            arguments: &[],
            takes: "text",
            gives: "the text as it is, since nothing is escaped",
            empty: "empty text",
            example: r#"{{ "a<b" | escape }}"#,
            output: "a<b",
        }),
        Filter::of_tera(Entry {
            name: "escape_html",
            arguments: &[],
            takes: "text",
            gives: "escaped for HTML",
            empty: "empty text",
            example: r#"{{ "a<b" | escape_html }}"#,
            output: "a&lt;b",
        }),
        Filter::of_tera(Entry {
            name: "escape_xml",
            arguments: &[],
            takes: "text",
            gives: "escaped for XML",
            empty: "empty text",
            example: r#"{{ "a<b" | escape_xml }}"#,
            output: "a&lt;b",
        }),
        Filter::new(
            safe,
            Entry {
                name: "safe",
                arguments: &[],
                takes: "anything",
                gives: "marked as good where it stands, whatever it holds ([lines and control characters](#lines-and-control-characters))",
                empty: "empty text",
                example: r#"{{ "a" | safe }}"#,
                output: "a",
            },
        ),
    ],
};

/// The last segment of a path.
pub(super) fn basename(value: &Value, _: &Arguments<'_>, _: &Render) -> Result<Value, Stop> {
    let path = text_of(value, "basename")?.trim_end_matches('/');
    Ok(Value::from(path.rsplit('/').next().unwrap_or_default()))
}

/// The path without its last segment; empty for a single segment.
pub(super) fn dirname(value: &Value, _: &Arguments<'_>, _: &Render) -> Result<Value, Stop> {
    let path = text_of(value, "dirname")?.trim_end_matches('/');
    let directory =
        path.rsplit_once('/').map_or("", |(directory, _)| if directory.is_empty() { "/" } else { directory });
    Ok(Value::from(directory))
}

/// The parts between every `pat=`, without white space around them; empty ones are left out.
pub(super) fn split_list(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let text = text_of(value, "split_list")?;
    let pat = arguments.text("pat", render)?.unwrap_or(",");
    if pat.is_empty() {
        return Err(arguments.refused("pat", "it is empty"));
    }
    let parts = text.split(pat).map(str::trim).filter(|part| !part.is_empty());
    Ok(Value::from(parts.map(Value::from).collect::<Vec<_>>()))
}

/// The lines of a text, without their ends.
pub(super) fn lines(value: &Value, _: &Arguments<'_>, _: &Render) -> Result<Value, Stop> {
    Ok(Value::from(text_of(value, "lines")?.lines().map(Value::from).collect::<Vec<_>>()))
}

/// A text without a beginning, which is taken away once.
pub(super) fn trim_prefix(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let (text, prefix) = (text_of(value, "trim_prefix")?, arguments.required_text("pat", render)?);
    Ok(Value::from(text.strip_prefix(prefix).unwrap_or(text)))
}

/// A text without an end, which is taken away once.
pub(super) fn trim_suffix(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let (text, suffix) = (text_of(value, "trim_suffix")?, arguments.required_text("pat", render)?);
    Ok(Value::from(text.strip_suffix(suffix).unwrap_or(text)))
}

/// A text or number, as wide as `width=` characters, with `fill=` before it.
pub(super) fn pad_start(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let (text, fill) = padding(value, "pad_start", arguments, render)?;
    Ok(Value::from(fill + &text))
}

/// The same with `fill=` behind it.
pub(super) fn pad_end(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let (text, fill) = padding(value, "pad_end", arguments, render)?;
    Ok(Value::from(text + &fill))
}

/// A text or number, and what fills it up to `width=`.
fn padding(value: &Value, filter: &str, arguments: &Arguments<'_>, render: &Render) -> Result<(String, String), Stop> {
    let text = text_or_number(value, filter)?.into_owned();
    let width = arguments.count("width")?.ok_or_else(|| arguments.absent("width"))?;
    let fill = arguments.text("fill", render)?.unwrap_or(" ");
    if fill.chars().count() != 1 {
        return Err(arguments.refused("fill", "it is one character"));
    }
    let missing = width.saturating_sub(text.chars().count() as u64);
    Ok((text, repeated(fill, missing, render)?))
}

/// A text `n=` times.
pub(super) fn repeat(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let text = text_of(value, "repeat")?;
    let n = arguments.count("n")?.ok_or_else(|| arguments.absent("n"))?;
    Ok(Value::from(repeated(text, n, render)?))
}

/// A text `n` times, unless that is more than may be written.
fn repeated(text: &str, n: u64, render: &Render) -> Result<String, Stop> {
    if n.saturating_mul(text.len() as u64) > render.environment.limits.output {
        return Err(Failure::of(ErrorKind::Limit, "what would be repeated is over `limits.output`").into());
    }
    Ok(text.repeat(usize::try_from(n).unwrap_or(usize::MAX)))
}

/// A text without white space.
pub(super) fn nospace(value: &Value, _: &Arguments<'_>, _: &Render) -> Result<Value, Stop> {
    Ok(Value::from(text_of(value, "nospace")?.split_whitespace().collect::<String>()))
}

/// A text in double quotes, with the escapes of JSON, which C, TOML, YAML and most formats read alike.
pub(super) fn quote(value: &Value, _: &Arguments<'_>, _: &Render) -> Result<Value, Stop> {
    let text = text_or_number(value, "quote")?;
    serde_json::to_string(&text).map(Value::from).map_err(|_| refused("quote", "it cannot be quoted"))
}

/// Any value as it would be printed.
pub(super) fn str(value: &Value, _: &Arguments<'_>, _: &Render) -> Result<Value, Stop> {
    complete(value, "str")?;
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write!(text, "{value}");
    Ok(Value::from(text))
}

/// Any value as it would be printed, marked as good; Tera's own would let through what is undefined.
pub(super) fn safe(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    Ok(str(value, arguments, render)?.mark_safe())
}

/// The output of an include or a component that stands on a line of its own: one newline ends it, nothing stays
/// nothing.
pub(super) fn line(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let newline = if arguments.flag("crlf")? { "\r\n" } else { "\n" };
    let output = text_of(value, "include")?;
    if output.len() as u64 > render.environment.limits.output {
        return Err(Failure::of(ErrorKind::Limit, "the output is over `limits.output`").into());
    }
    let content = output.trim_end_matches(['\n', '\r']);
    let line = if output.is_empty() { String::new() } else { format!("{content}{newline}") };
    // Every value in it was looked at when it was printed.
    Ok(Value::from(line).mark_safe())
}

/// What it was given; undefined was refused before.
#[expect(clippy::unnecessary_wraps, reason = "all filters have one signature")]
pub(super) fn present(value: &Value, _: &Arguments<'_>, _: &Render) -> Result<Value, Stop> {
    Ok(value.clone())
}
