//! Placeholders in shell scripts: quoted variables, never text, since names of destinations may come from a registry
//! and a script is code.

use super::model::{Placeholder, Program};
use super::placeholder::{Scope, Token, tokens};
use super::problem::Complaint;

/// Where in a script something stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Context {
    /// Where words are split.
    Plain,
    /// The same within `( )` or `$( )`.
    Parentheses,
    /// The same within backticks.
    Backticks,
    /// Within `" "`.
    Double,
    /// Within `' '`.
    Single,
}

/// Follows the quotes of a script, as far as `sh` itself can be followed without running it.
struct Quotes {
    open: Vec<Context>,
    comment: bool,
    /// A backslash stands before what comes next.
    escaped: bool,
    here_document: HereDocument,
    previous: char,
}

/// Whether the script has a here-document (`<<`), in which quotes are text. Its end is not looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum HereDocument {
    None,
    /// It begins on the next line.
    Announced,
    Begun,
}

/// The script for `sh -c`, with the variables that it needs; or every placeholder that cannot be replaced.
pub(super) fn program(text: &str, scope: &Scope<'_>) -> Result<Program, Vec<Complaint>> {
    let mut quotes = Quotes::new();
    let mut script = String::with_capacity(text.len());
    let mut complaints = Vec::new();
    let mut tokens = tokens(text).into_iter().peekable();
    // The quote that closes `'{staged}'` is dropped with the one that opens it.
    let mut skip = 0;
    while let Some(token) = tokens.next() {
        let reference = match token {
            Token::Text(text) => {
                quotes.feed(&text[skip..]);
                script.push_str(&text[std::mem::take(&mut skip)..]);
                continue;
            }
            Token::Reference(reference) if quotes.comment => {
                script.push_str(reference.text);
                continue;
            }
            Token::Reference(reference) => reference,
        };
        let variable = match scope.resolve(reference) {
            Ok(placeholder) => name(reference.text.contains(':'), &placeholder),
            Err(complaint) => {
                complaints.push(complaint);
                continue;
            }
        };
        let refusal = |place: &str| {
            Complaint::new(format!("`{}` stands {place}, where it cannot be replaced", reference.text))
                .hint(format!("take it out of there, or write `${variable}` yourself"))
        };
        let alone =
            script.ends_with('\'') && matches!(tokens.peek(), Some(Token::Text(text)) if text.starts_with('\''));
        match quotes.context() {
            _ if quotes.escaped => complaints.push(refusal("behind a backslash")),
            _ if quotes.here_document == HereDocument::Begun => complaints.push(refusal("behind `<<`")),
            Context::Double => script.extend(["${", &variable, "}"]),
            Context::Single if alone => {
                script.pop();
                quotes.open.pop();
                skip = 1;
                script.extend(["\"$", &variable, "\""]);
            }
            Context::Single => complaints.push(refusal("within single quotes")),
            Context::Plain | Context::Parentheses | Context::Backticks => script.extend(["\"$", &variable, "\""]),
        }
        quotes.previous = '\0';
    }
    if complaints.is_empty() {
        let variables = variables(&script, scope);
        Ok(Program::Shell { script, variables })
    } else {
        Err(complaints)
    }
}

/// The variable that stands for a placeholder; one that was asked for by name is numbered by its template, from 1.
fn name(named: bool, placeholder: &Placeholder) -> String {
    let (word, index) = match placeholder {
        Placeholder::Staged(index) => ("STAGED", Some(*index)),
        Placeholder::Dest(index) => ("DEST", Some(*index)),
        Placeholder::Wrapper | Placeholder::Text(_) => ("WRAPPER", None),
    };
    match index.filter(|_| named) {
        Some(index) => format!("LIVECONF_{word}_{}", index + 1),
        None => format!("LIVECONF_{word}"),
    }
}

/// The variables that a script mentions, also where it names them itself, in the order of their first use.
fn variables(script: &str, scope: &Scope<'_>) -> Vec<(String, Placeholder)> {
    let own = scope.own.iter().map(|index| (false, *index));
    let templates: Vec<_> = own.chain((0..scope.names.len()).map(|index| (true, index))).collect();
    let staged = templates.iter().filter(|_| scope.staged).map(|(named, index)| (*named, Placeholder::Staged(*index)));
    let dest = templates.iter().map(|(named, index)| (*named, Placeholder::Dest(*index)));
    let wrapper = scope.wrapper.then_some((false, Placeholder::Wrapper));
    let mut found: Vec<_> = staged
        .chain(dest)
        .chain(wrapper)
        .map(|(named, placeholder)| (name(named, &placeholder), placeholder))
        .filter_map(|(name, placeholder)| Some((mention(script, &name)?, name, placeholder)))
        .collect();
    found.sort_by_key(|(position, ..)| *position);
    found.into_iter().map(|(_, name, placeholder)| (name, placeholder)).collect()
}

/// Where `$NAME` or `${NAME` first stands in a script.
fn mention(script: &str, name: &str) -> Option<usize> {
    script.match_indices(name).map(|(position, _)| position).find(|position| {
        let (before, after) = (&script[..*position], &script[position + name.len()..]);
        (before.ends_with('$') || before.ends_with("${"))
            && !after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
    })
}

impl Quotes {
    fn new() -> Self {
        Self { open: Vec::new(), comment: false, escaped: false, here_document: HereDocument::None, previous: '\n' }
    }

    fn context(&self) -> Context {
        self.open.last().copied().unwrap_or(Context::Plain)
    }

    fn feed(&mut self, text: &str) {
        for c in text.chars() {
            self.step(c);
            self.previous = c;
        }
    }

    fn step(&mut self, c: char) {
        if self.comment {
            self.comment = c != '\n';
            return;
        }
        if std::mem::take(&mut self.escaped) {
            return;
        }
        match (self.context(), c) {
            (Context::Single, '\'')
            | (Context::Double, '"')
            | (Context::Parentheses, ')')
            | (Context::Backticks, '`') => {
                self.open.pop();
            }
            (Context::Single, _) => {}
            (_, '\\') => self.escaped = true,
            (_, '`') => self.open.push(Context::Backticks),
            (Context::Double, '(') if self.previous == '$' => self.open.push(Context::Parentheses),
            (Context::Double, _) => {}
            (_, '(') => self.open.push(Context::Parentheses),
            (_, '"') => self.open.push(Context::Double),
            (_, '\'') => self.open.push(Context::Single),
            (_, '#') => self.comment = self.previous.is_whitespace() || matches!(self.previous, ';' | '&' | '|' | '('),
            (_, '<') if self.previous == '<' && self.here_document == HereDocument::None => {
                self.here_document = HereDocument::Announced;
            }
            (_, '\n') if self.here_document == HereDocument::Announced => self.here_document = HereDocument::Begun,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(names: &[Option<String>], own: Option<usize>) -> Scope<'_> {
        Scope { names, own, many: false, staged: true, wrapper: true }
    }

    #[test]
    fn placeholders_become_quoted_variables() {
        let table = [
            ("nginx -t -c {staged}", "nginx -t -c \"$LIVECONF_STAGED\""),
            ("nginx -t -c \"{staged}\"", "nginx -t -c \"${LIVECONF_STAGED}\""),
            ("nginx -t -c '{staged}'", "nginx -t -c \"$LIVECONF_STAGED\""),
            ("a '{staged}' '{dest}' 'x'", "a \"$LIVECONF_STAGED\" \"$LIVECONF_DEST\" 'x'"),
            ("a --f={staged}.x", "a --f=\"$LIVECONF_STAGED\".x"),
            ("a \"--f={staged}x\" 'it' {dest}", "a \"--f=${LIVECONF_STAGED}x\" 'it' \"$LIVECONF_DEST\""),
            ("x \"$(cat {staged})\"", "x \"$(cat \"$LIVECONF_STAGED\")\""),
            ("x \"$(cat \"{staged}\")\" {wrapper}", "x \"$(cat \"${LIVECONF_STAGED}\")\" \"$LIVECONF_WRAPPER\""),
            ("x `cat {staged}`", "x `cat \"$LIVECONF_STAGED\"`"),
            ("# don't\ncat {staged}", "# don't\ncat \"$LIVECONF_STAGED\""),
            ("true # {staged}\n", "true # {staged}\n"),
            ("echo a#'b' {staged}", "echo a#'b' \"$LIVECONF_STAGED\""),
            ("echo \\\" {staged}", "echo \\\" \"$LIVECONF_STAGED\""),
            ("awk '{print}' {staged}", "awk '{print}' \"$LIVECONF_STAGED\""),
            ("{staged:b} {dest:a}", "\"$LIVECONF_STAGED_2\" \"$LIVECONF_DEST_1\""),
            ("cat {staged} <<EOF\nx\nEOF\n", "cat \"$LIVECONF_STAGED\" <<EOF\nx\nEOF\n"),
        ];
        let names = [Some("a".into()), Some("b".into())];
        for (text, expected) in table {
            match program(text, &scope(&names, Some(0))) {
                Ok(Program::Shell { script, .. }) => assert_eq!(script, expected, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn variables_are_listed_in_the_order_of_use() {
        let names = [Some("a".into()), Some("b".into())];
        let variables = |text: &str| match program(text, &scope(&names, Some(1))) {
            Ok(Program::Shell { variables, .. }) => variables,
            other => panic!("{text}: {other:?}"),
        };
        let pair = |name: &str, placeholder| (name.to_owned(), placeholder);
        assert_eq!(
            variables("x {wrapper} {staged:a} {staged} {staged}"),
            [
                pair("LIVECONF_WRAPPER", Placeholder::Wrapper),
                pair("LIVECONF_STAGED_1", Placeholder::Staged(0)),
                pair("LIVECONF_STAGED", Placeholder::Staged(1)),
            ]
        );
        assert_eq!(
            variables("x $LIVECONF_DEST_2 ${LIVECONF_STAGED:-}"),
            [pair("LIVECONF_DEST_2", Placeholder::Dest(1)), pair("LIVECONF_STAGED", Placeholder::Staged(1)),]
        );
        assert_eq!(variables("x $LIVECONF_STAGED_10 LIVECONF_DEST $LIVECONF_DESTX"), []);
    }

    #[test]
    fn a_shell_hands_the_path_on_as_it_is() {
        let path = "a b  *;$(exit 3)`exit 4`'\"\\x";
        let names = [Some("a".into())];
        for text in [
            "printf %s {staged}",
            "printf %s \"{staged}\"",
            "printf %s '{staged}'",
            "printf %s \"$(printf %s {staged})\"",
            "printf %s \"$(printf %s \"{staged}\")\"",
            "printf %s \"`printf %s {staged}`\"",
            "# it's\nprintf %s {staged} # {staged}",
            "(printf '%s' {staged:a})",
            "printf %s ''{staged}",
        ] {
            let Ok(Program::Shell { script, variables }) = program(text, &scope(&names, Some(0))) else {
                panic!("{text}")
            };
            let environment = variables.iter().map(|(name, _)| (name, path));
            let output = std::process::Command::new("sh").args(["-c", &script]).envs(environment).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout), path, "{text} became {script}: {output:?}");
        }
    }

    #[test]
    fn placeholders_that_cannot_be_quoted_are_refused() {
        let names = [Some("a".into())];
        let table = [
            ("sh -c 'nginx -c {staged}'", "`{staged}` stands within single quotes, where it cannot be replaced"),
            ("echo \\{staged}", "`{staged}` stands behind a backslash, where it cannot be replaced"),
            ("cat <<EOF\n{dest}\nEOF", "`{dest}` stands behind `<<`, where it cannot be replaced"),
            ("cat {staged:x}", "`{staged:x}` names no template of the target"),
        ];
        for (text, message) in table {
            assert_eq!(program(text, &scope(&names, Some(0))).unwrap_err()[0].message, message, "{text}");
        }
    }
}
