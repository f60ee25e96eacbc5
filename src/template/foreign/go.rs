//! The grammar of Go templates (<https://pkg.go.dev/text/template>), as far as the templates of confd and consul-template
//! use it.

/// How many brackets may stand in one another. What holds more is no template that anybody wrote, and each takes a part of
/// the stack.
pub(super) const DEEPEST: usize = 50;

/// What stands in a tag.
#[derive(Debug, PartialEq)]
pub(super) enum Action<'s> {
    /// `/* ... */`
    Comment(&'s str),
    /// `range [$a[, $b] :=] PIPELINE`
    Range(Vec<&'s str>, Pipeline<'s>),
    /// `if PIPELINE`
    If(Pipeline<'s>),
    /// `else if PIPELINE`
    ElseIf(Pipeline<'s>),
    /// `with [$a :=] PIPELINE`
    With(Option<&'s str>, Pipeline<'s>),
    /// `define "name"` and `block "name" ...`
    Define(String),
    /// `template "name" ...`
    Template(String),
    /// `$a := PIPELINE` and `$a = PIPELINE`
    Set(&'s str, Pipeline<'s>),
    /// `else`
    Else,
    /// `end`
    End,
    /// `break` and `continue`
    Leave(&'s str),
    /// What is printed.
    Print(Pipeline<'s>),
}

/// Commands, each of which is handed what the one before it gives.
pub(super) type Pipeline<'s> = Vec<Vec<Operand<'s>>>;

/// What a command is made of: a function and its arguments, or a value.
#[derive(Debug, PartialEq)]
pub(super) enum Operand<'s> {
    /// `.`, `.Name`, `.Name.First`
    Field(Vec<&'s str>),
    /// `$name`, `$name.Field`
    Variable(&'s str, Vec<&'s str>),
    /// A text.
    Text(String),
    /// A number.
    Number(&'s str),
    /// The name of a function, `true`, `false` or `nil`.
    Word(&'s str),
    /// `(...)`, and the field of it that is meant.
    Group(Pipeline<'s>, Vec<&'s str>),
}

#[derive(Debug, Clone, PartialEq)]
enum Token<'s> {
    Field(Vec<&'s str>),
    /// The same straight behind a bracket, of which it is a field.
    Member(Vec<&'s str>),
    Variable(&'s str, Vec<&'s str>),
    Text(String),
    Number(&'s str),
    Word(&'s str),
    Symbol(&'static str),
    /// A `(` without white space before it, as a call has one in other languages.
    Call,
}

/// Reads what stands in a tag; nothing where it is no Go template.
pub(super) fn parse(inner: &str) -> Option<Action<'_>> {
    if let Some(comment) = inner.strip_prefix("/*") {
        return Some(Action::Comment(comment.strip_suffix("*/")?.trim()));
    }
    let tokens = tokens(inner)?;
    let (first, rest) = tokens.split_first()?;
    let Token::Word(keyword) = first else { return value(&tokens) };
    match (*keyword, rest) {
        ("end", []) => Some(Action::End),
        ("else", []) => Some(Action::Else),
        ("break" | "continue", []) => Some(Action::Leave(keyword)),
        ("else", [Token::Word("if"), condition @ ..]) => Some(Action::ElseIf(pipeline(condition)?)),
        ("if", condition) => Some(Action::If(pipeline(condition)?)),
        ("range", [Token::Variable(a, none), Token::Symbol(":="), list @ ..]) if none.is_empty() => {
            Some(Action::Range(vec![a], pipeline(list)?))
        }
        (
            "range",
            [Token::Variable(a, _), Token::Symbol(","), Token::Variable(b, _), Token::Symbol(":="), list @ ..],
        ) => Some(Action::Range(vec![a, b], pipeline(list)?)),
        ("range", list) => Some(Action::Range(Vec::new(), pipeline(list)?)),
        ("with", [Token::Variable(name, none), Token::Symbol(":="), of @ ..]) if none.is_empty() => {
            Some(Action::With(Some(name), pipeline(of)?))
        }
        ("with", of) => Some(Action::With(None, pipeline(of)?)),
        ("define" | "block", [Token::Text(name), ..]) => Some(Action::Define(name.clone())),
        ("template", [Token::Text(name), ..]) => Some(Action::Template(name.clone())),
        _ => value(&tokens),
    }
}

/// What is printed or given a name.
fn value<'s>(tokens: &[Token<'s>]) -> Option<Action<'s>> {
    match tokens {
        [Token::Variable(name, none), Token::Symbol(":=" | "="), of @ ..] if none.is_empty() => {
            Some(Action::Set(name, pipeline(of)?))
        }
        _ => Some(Action::Print(pipeline(tokens)?)),
    }
}

fn pipeline<'s>(tokens: &[Token<'s>]) -> Option<Pipeline<'s>> {
    let mut rest = tokens;
    let pipeline = commands(&mut rest, 0)?;
    rest.is_empty().then_some(pipeline)
}

/// The commands up to the bracket that closes, `depth` brackets deep.
fn commands<'s>(rest: &mut &[Token<'s>], depth: usize) -> Option<Pipeline<'s>> {
    if depth > DEEPEST {
        return None;
    }
    let mut commands = vec![Vec::new()];
    while let Some((token, after)) = rest.split_first() {
        let operand = match token {
            Token::Symbol(")") => break,
            Token::Symbol("|") => {
                *rest = after;
                commands.push(Vec::new());
                continue;
            }
            Token::Symbol("(") | Token::Call => {
                *rest = after;
                let group = commands_in_brackets(rest, depth + 1)?;
                let field = match rest.split_first() {
                    Some((Token::Member(names), after)) => {
                        *rest = after;
                        names.clone()
                    }
                    _ => Vec::new(),
                };
                commands.last_mut()?.push(Operand::Group(group, field));
                continue;
            }
            Token::Symbol(_) | Token::Member(_) => return None,
            Token::Field(names) => Operand::Field(names.clone()),
            Token::Variable(name, names) => Operand::Variable(name, names.clone()),
            Token::Text(text) => Operand::Text(text.clone()),
            Token::Number(number) => Operand::Number(number),
            Token::Word(word) => Operand::Word(word),
        };
        *rest = after;
        commands.last_mut()?.push(operand);
    }
    commands.iter().all(|command| !command.is_empty()).then_some(commands)
}

fn commands_in_brackets<'s>(rest: &mut &[Token<'s>], depth: usize) -> Option<Pipeline<'s>> {
    let group = commands(rest, depth)?;
    let (close, after) = rest.split_first()?;
    *rest = after;
    (*close == Token::Symbol(")")).then_some(group)
}

fn tokens(inner: &str) -> Option<Vec<Token<'_>>> {
    let mut tokens = Vec::new();
    let mut rest = inner;
    let mut after_space = true;
    while let Some(first) = rest.chars().next() {
        let space = rest.len() - rest.trim_start().len();
        if space > 0 {
            rest = &rest[space..];
            after_space = true;
            continue;
        }
        let (token, length) = match first {
            '.' => {
                let names = names(rest);
                let length = names.iter().map(|name| name.len() + 1).sum::<usize>().max(1);
                let is_member = !after_space && tokens.last() == Some(&Token::Symbol(")"));
                (if is_member { Token::Member(names) } else { Token::Field(names) }, length)
            }
            '$' => {
                let name = &rest[1..=word(&rest[1..])];
                let names = names(&rest[1 + name.len()..]);
                let length = 1 + name.len() + names.iter().map(|name| name.len() + 1).sum::<usize>();
                (Token::Variable(name, names), length)
            }
            '"' => text(rest)?,
            '`' => {
                let length = rest[1..].find('`')?;
                (Token::Text(rest[1..=length].to_owned()), length + 2)
            }
            '0'..='9' | '-' if first != '-' || after_space && rest[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                let digits = rest[1..].find(|c: char| !(c.is_ascii_digit() || c == '.'));
                let length = digits.map_or(rest.len(), |digits| digits + 1);
                (Token::Number(&rest[..length]), length)
            }
            _ if word(rest) > 0 => {
                let name = word(rest);
                let length = name + names(&rest[name..]).iter().map(|name| name.len() + 1).sum::<usize>();
                (Token::Word(&rest[..length]), length)
            }
            '(' if !after_space && matches!(tokens.last(), Some(Token::Word(_))) => (Token::Call, 1),
            _ => {
                let symbols = [":=", "=", "|", "(", ")", ","];
                let symbol = symbols.into_iter().find(|symbol| rest.starts_with(symbol))?;
                (Token::Symbol(symbol), symbol.len())
            }
        };
        tokens.push(token);
        rest = &rest[length..];
        after_space = false;
    }
    Some(tokens)
}

/// The names of `.a.b`.
fn names(rest: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut rest = rest;
    while let Some(after) = rest.strip_prefix('.')
        && word(after) > 0
    {
        let (name, behind) = after.split_at(word(after));
        names.push(name);
        rest = behind;
    }
    names
}

/// The length of the name that a text begins with.
fn word(text: &str) -> usize {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return 0;
    }
    text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len())
}

fn text(rest: &str) -> Option<(Token<'_>, usize)> {
    let mut content = String::new();
    let mut characters = rest.char_indices().skip(1);
    loop {
        let (index, character) = characters.next()?;
        match character {
            '"' => return Some((Token::Text(content), index + 1)),
            '\\' => content.push(match characters.next()?.1 {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                other @ ('"' | '\\' | '\'') => other,
                _ => return None,
            }),
            _ => content.push(character),
        }
    }
}

impl Action<'_> {
    /// Whether no other language that is known here writes this, `known` telling the names of functions.
    pub(super) fn is_surely_go(&self, known: &dyn Fn(&str) -> bool) -> bool {
        match self {
            Self::Else | Self::End | Self::Leave(_) => false,
            Self::Comment(_)
            | Self::Range(..)
            | Self::With(..)
            | Self::Define(_)
            | Self::Template(_)
            | Self::Set(..) => true,
            // The delimiters may only be mixed up.
            Self::If(condition) | Self::ElseIf(condition) => {
                let is_name = |command: &[Operand<'_>]| matches!(command, [Operand::Word(name)] if known(name));
                condition.iter().any(|command| shows_go(command, known) || is_name(command))
            }
            Self::Print(pipeline) => pipeline.iter().any(|command| shows_go(command, known)),
        }
    }
}

/// Whether only Go writes a command in this way.
fn shows_go(command: &[Operand<'_>], known: &dyn Fn(&str) -> bool) -> bool {
    command.iter().any(|operand| is_of_go(operand, known)) || is_call(command, known)
}

/// Whether only Go writes a value in this way.
fn is_of_go(operand: &Operand<'_>, known: &dyn Fn(&str) -> bool) -> bool {
    match operand {
        Operand::Field(_) | Operand::Variable(..) => true,
        Operand::Group(pipeline, _) => pipeline.iter().any(|command| shows_go(command, known)),
        Operand::Text(_) | Operand::Number(_) | Operand::Word(_) => false,
    }
}

/// Whether a command is a known function with arguments behind it. A group may be the brackets of a call.
fn is_call(command: &[Operand<'_>], known: &dyn Fn(&str) -> bool) -> bool {
    match command {
        [Operand::Word(name), first, rest @ ..] if known(name) => match first {
            Operand::Text(_) | Operand::Number(_) => rest.iter().all(|it| !matches!(it, Operand::Word(_))),
            Operand::Group(..) => !rest.is_empty(),
            Operand::Word(_) => false,
            Operand::Field(_) | Operand::Variable(..) => true,
        },
        _ => false,
    }
}
