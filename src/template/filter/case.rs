//! The case of letters, and the forms in which names are written.

use tera::Value;

use super::super::arguments::Arguments;
use super::super::entry::{Entry, Group};
use super::super::record::{Render, Stop};
use super::{Filter, text_of};

/// The case of letters.
pub(super) const CASES: Group<Filter> = Group {
    name: "Case",
    entries: &[
        Filter::of_tera(Entry {
            name: "upper",
            arguments: &[],
            takes: "text",
            gives: "upper case",
            empty: "empty text",
            example: r#"{{ "a" | upper }}"#,
            output: "A",
        }),
        Filter::of_tera(Entry {
            name: "lower",
            arguments: &[],
            takes: "text",
            gives: "lower case",
            empty: "empty text",
            example: r#"{{ "A" | lower }}"#,
            output: "a",
        }),
        Filter::of_tera(Entry {
            name: "capitalize",
            arguments: &[],
            takes: "text",
            gives: "the first letter upper, the others lower case",
            empty: "empty text",
            example: r#"{{ "aB" | capitalize }}"#,
            output: "Ab",
        }),
        Filter::of_tera(Entry {
            name: "title",
            arguments: &[],
            takes: "text",
            gives: "the first letter of each word upper, the others lower case",
            empty: "empty text",
            example: r#"{{ "a b" | title }}"#,
            output: "A B",
        }),
        Filter::new(
            snake_case,
            Entry {
                name: "snake_case",
                arguments: &[],
                takes: "text",
                gives: "words in lower case with `_` between; a word ends at everything but letters and digits, and before an upper case letter",
                empty: "empty text",
                example: r#"{{ "maxOpen HTTPConnections" | snake_case }}"#,
                output: "max_open_http_connections",
            },
        ),
        Filter::new(
            kebab_case,
            Entry {
                name: "kebab_case",
                arguments: &[],
                takes: "text",
                gives: "the same with `-` between",
                empty: "empty text",
                example: r#"{{ "max_open connections" | kebab_case }}"#,
                output: "max-open-connections",
            },
        ),
        Filter::new(
            camel_case,
            Entry {
                name: "camel_case",
                arguments: &[],
                takes: "text",
                gives: "the words without anything between, each but the first with an upper case letter",
                empty: "empty text",
                example: r#"{{ "max_open-connections" | camel_case }}"#,
                output: "maxOpenConnections",
            },
        ),
        Filter::new(
            pascal_case,
            Entry {
                name: "pascal_case",
                arguments: &[],
                takes: "text",
                gives: "the same, also the first",
                empty: "empty text",
                example: r#"{{ "max_open-connections" | pascal_case }}"#,
                output: "MaxOpenConnections",
            },
        ),
    ],
};

/// `max_open_connections`.
pub(super) fn snake_case(value: &Value, _: &Arguments<'_>, _: &Render) -> Result<Value, Stop> {
    Ok(Value::from(words(text_of(value, "snake_case")?).join("_")))
}

/// `max-open-connections`.
pub(super) fn kebab_case(value: &Value, _: &Arguments<'_>, _: &Render) -> Result<Value, Stop> {
    Ok(Value::from(words(text_of(value, "kebab_case")?).join("-")))
}

/// `maxOpenConnections`.
pub(super) fn camel_case(value: &Value, _: &Arguments<'_>, _: &Render) -> Result<Value, Stop> {
    let words = words(text_of(value, "camel_case")?);
    let (first, rest) = words.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
    Ok(Value::from(first.to_owned() + &rest.iter().map(|word| capitalized(word)).collect::<String>()))
}

/// `MaxOpenConnections`.
pub(super) fn pascal_case(value: &Value, _: &Arguments<'_>, _: &Render) -> Result<Value, Stop> {
    let words = words(text_of(value, "pascal_case")?);
    Ok(Value::from(words.iter().map(|word| capitalized(word)).collect::<String>()))
}

fn capitalized(word: &str) -> String {
    let mut characters = word.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

/// The words of a name in lower case: they end at everything but letters and digits, before an upper case letter that
/// follows a lower case one or a digit, and before the last of several upper case letters that a lower case one follows.
fn words(text: &str) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    let mut words = Vec::new();
    let mut word = String::new();
    for (index, &c) in characters.iter().enumerate() {
        let before = index.checked_sub(1).map(|index| characters[index]);
        let begins = c.is_uppercase()
            && (before.is_some_and(|before| before.is_lowercase() || before.is_numeric())
                || before.is_some_and(char::is_uppercase)
                    && characters.get(index + 1).is_some_and(|c| c.is_lowercase()));
        if begins || !c.is_alphanumeric() {
            words.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty()));
        }
        if c.is_alphanumeric() {
            word.extend(c.to_lowercase());
        }
    }
    words.extend(Some(word).filter(|word| !word.is_empty()));
    words
}
