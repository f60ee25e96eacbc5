//! HTTP requests, as `reload` sends them and `confirm` asks by them.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, Uri};

use super::command::TIMEOUT;
use super::field::Field;
use super::model::Placeholder;
use super::placeholder::Scope;
use super::problem::Complaint;
use super::section::Section;
use super::units;
use crate::secret::Secret;

/// One request. No proxy is asked, and no redirect followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// What is asked for; `http`, with a host.
    pub url: Uri,
    /// How.
    pub method: Method,
    /// The socket in the file system that is connected to, absolute; none for the host and the port of `url`.
    pub socket: Option<PathBuf>,
    /// Sent with the request.
    pub headers: Vec<(String, Header)>,
    /// How long the answer may take, from the first step of the connection.
    pub timeout: Duration,
}

/// The value of a header, which may be a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Header {
    /// As it is configured.
    Written(Secret),
    /// What a file holds, without white space around it; read for each request.
    File {
        /// Put before it, such as `Bearer `.
        before: Secret,
        /// The file, absolute.
        path: PathBuf,
    },
}

/// Status codes.
pub type Statuses = Vec<RangeInclusive<u16>>;

/// A request by which a process takes its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpReload {
    /// The request. Default `POST`, and 30 s.
    pub request: HttpRequest,
    /// The file that is its body; none for a request without.
    pub body_file: Option<BodyFile>,
    /// The status codes that say that the process has taken them. Default 200 to 299.
    pub expect: Statuses,
    /// The status codes that say that it refuses them. Default 400, 422 and 500.
    pub refused: Statuses,
}

/// A file that is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyFile {
    /// The destination of the template at this index of the target.
    Dest(usize),
    /// The file at this path, which is absolute.
    At(PathBuf),
}

/// The methods that a reload may have.
const METHODS: [(&str, &Method); 5] = [
    ("POST", &Method::POST),
    ("PUT", &Method::PUT),
    ("PATCH", &Method::PATCH),
    ("DELETE", &Method::DELETE),
    ("GET", &Method::GET),
];

/// Reads `http` of a `reload`.
pub(super) fn reload(field: Field<'_>, scope: Scope<'_>) -> Option<HttpReload> {
    let mut section = field.section()?;
    let method = section.or("method", &Method::POST, |field| field.choice(&METHODS));
    let body_file = section.optional("body_file", |field| body_file(field, scope));
    let expect = section.or("expect", vec![200..=299], statuses);
    let none_refuses = |field: Field<'_>| field.is_list() && field.items().is_some_and(|items| items.is_empty());
    let refused = section.or("refused", vec![400..=400, 422..=422, 500..=500], |field| {
        if none_refuses(field) { Some(Vec::new()) } else { statuses(field) }
    });
    let request = request(&mut section, method.cloned(), TIMEOUT);
    Some(HttpReload { request: request?, body_file: body_file?, expect: expect?, refused: refused? })
}

/// Reads what every request has. `method` is none where something is wrong with it.
pub(super) fn request(section: &mut Section<'_>, method: Option<Method>, timeout: Duration) -> Option<HttpRequest> {
    let url = section.required("url").and_then(url);
    let socket = section.optional("socket", Field::path);
    let headers = section.or("headers", Vec::new(), headers);
    let timeout = section.or("timeout", timeout, Field::nonzero_duration);
    Some(HttpRequest { url: url?, method: method?, socket: socket?, headers: headers?, timeout: timeout? })
}

fn url(field: Field<'_>) -> Option<Uri> {
    let expected = "an address such as `http://127.0.0.1:8080/health`";
    let text = field.expanded(expected)?;
    if text.starts_with("https:") {
        let hint = "write `command: [curl, -fsS, ...]`, which also knows whom to trust";
        return field.complain(Complaint::new("`https` is not supported here").hint(hint));
    }
    if text.starts_with("unix:") {
        let hint = "write `socket: FILE`, and a `url` such as `http://localhost/path`";
        return field.complain(Complaint::new("the socket stands beside the address").hint(hint));
    }
    match text.parse::<Uri>() {
        Ok(url) if url.scheme_str() != Some("http") || url.host().is_none_or(str::is_empty) => {
            field.misfit(expected, None)
        }
        Ok(url) if url.authority().is_some_and(|authority| authority.as_str().contains('@')) => {
            let hint = "write the header that it becomes under `headers`";
            field.complain(Complaint::new("a user and a password in the address are not sent").hint(hint))
        }
        Ok(url) => Some(url),
        Err(_) => field.misfit(expected, None),
    }
}

/// The path of a file, which starts at the folder of the configuration, or the placeholder of a template.
fn body_file(field: Field<'_>, scope: Scope<'_>) -> Option<BodyFile> {
    let text = field.expanded("a path")?;
    match scope.pieces(field, &text)?[..] {
        [] | [Placeholder::Text(_)] => field.path().map(BodyFile::At),
        [Placeholder::Dest(index)] => Some(BodyFile::Dest(index)),
        _ => field.misfit("a path, or one placeholder such as `{dest}`", None),
    }
}

/// `200`, `200-299`, or a list of such.
pub(super) fn statuses(field: Field<'_>) -> Option<Statuses> {
    let code = |text: &str| {
        let code = units::integer(text).ok().and_then(|code| u16::try_from(code).ok());
        code.filter(|code| (100..=599).contains(code)).ok_or(None)
    };
    let read = |text: &str| match text.split_once('-') {
        Some((first, last)) => {
            let (first, last) = (code(first.trim())?, code(last.trim())?);
            if first <= last { Ok(first..=last) } else { Err(Some("the first is the lower one".into())) }
        }
        None => code(text).map(|code| code..=code),
    };
    let expected = "a status such as `200`, a range such as `200-299`, or a list of these";
    if !field.is_list() {
        return Some(vec![field.measure(expected, read)?]);
    }
    let items = field.items()?;
    if items.is_empty() {
        return field.misfit(expected, None);
    }
    // Every item is read before any is missed, so that each complains.
    let statuses: Vec<_> = items.into_iter().map(|item| item.measure(expected, read)).collect();
    statuses.into_iter().collect()
}

fn headers(field: Field<'_>) -> Option<Vec<(String, Header)>> {
    let read = |(key, value): (Field<'_>, Field<'_>)| {
        let name = value.key;
        if HeaderName::from_bytes(name.as_bytes()).is_err() {
            return key.complain(Complaint::new("this is not the name of a header"));
        }
        let written = |value: Field<'_>| {
            let text = value.text()?;
            if HeaderValue::from_str(&text).is_err() {
                return value.complain(Complaint::new(format!("header `{name}` cannot hold this")));
            }
            Some(Secret::new(text))
        };
        let header = if value.is_map() {
            let mut section = value.section()?;
            let before = section.or("before", Secret::new(""), written);
            let path = section.required("file").and_then(Field::path);
            Header::File { before: before?, path: path? }
        } else {
            Header::Written(written(value)?)
        };
        Some((name.to_owned(), header))
    };
    let headers: Vec<_> = field.entries()?.into_iter().map(read).collect();
    headers.into_iter().collect()
}
