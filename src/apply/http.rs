//! Sends an HTTP request to a program on this machine, as reloads and confirmations do.

use std::fmt;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use crate::config::{Header, HttpRequest};
use crate::secret::read_failure;

/// What was answered: the status is known, the body is still to come.
pub(super) struct Answer {
    /// The status code.
    pub(super) status: u16,
    body: Incoming,
    /// It carries the body. A program that holds it open for ever costs nothing once nobody listens.
    _connection: AbortOnDropHandle<()>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Missed {
    /// Nobody listens there, for this reason.
    Absent(String),
    /// It could not be asked, or did not answer, for this reason.
    Failed(String),
}

/// Sends a request, with what a file of its headers holds just now. A redirect is an answer like any other: it is not
/// followed, so that no header and no file goes where nobody meant it to.
pub(super) async fn send(request: &HttpRequest, body: Bytes) -> Result<Answer, Missed> {
    let answered = tokio::time::timeout(request.timeout, exchange(request, body)).await;
    answered.unwrap_or_else(|_| {
        let limit = humantime::format_duration(request.timeout);
        Err(Missed::Failed(format!("`{}` did not answer within {limit}", Shown(request))))
    })
}

async fn exchange(request: &HttpRequest, body: Bytes) -> Result<Answer, Missed> {
    let message = message(request, body).await.map_err(Missed::Failed)?;
    let connected = if let Some(socket) = &request.socket {
        match UnixStream::connect(socket).await {
            Ok(stream) => talk(stream, message).await,
            Err(error) => return Err(unreachable(request, &error)),
        }
    } else {
        let host = request.url.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        match TcpStream::connect((host, request.url.port_u16().unwrap_or(80))).await {
            Ok(stream) => talk(stream, message).await,
            Err(error) => return Err(unreachable(request, &error)),
        }
    };
    connected.map_err(|error| Missed::Failed(format!("`{}` does not answer: {error}", Shown(request))))
}

/// A program that does not run listens nowhere, and most often has taken its socket with it.
fn unreachable(request: &HttpRequest, error: &io::Error) -> Missed {
    let reason = format!("`{}` takes no connection: {error}", Shown(request));
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Missed::Absent(reason),
        io::ErrorKind::NotFound if request.socket.is_some() => Missed::Absent(reason),
        _ => Missed::Failed(reason),
    }
}

/// The request as it is sent.
async fn message(request: &HttpRequest, body: Bytes) -> Result<Request<Full<Bytes>>, String> {
    let path = request.url.path_and_query().map_or("/", |path| path.as_str());
    let mut message = Request::builder().method(request.method.clone()).uri(path);
    message = message.header(header::USER_AGENT, "liveconf").header(header::CONNECTION, "close");
    if !request.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        message = message.header(header::HOST, request.url.authority().map_or("", |authority| authority.as_str()));
    }
    for (name, value) in &request.headers {
        message = message.header(name, header_value(name, value).await?);
    }
    if body.is_empty() && matches!(request.method, Method::POST | Method::PUT | Method::PATCH) {
        // Some servers wait for a body until they are told that there is none.
        message = message.header(header::CONTENT_LENGTH, 0);
    }
    message.body(Full::new(body)).map_err(|error| format!("`{}` cannot be asked: {error}", Shown(request)))
}

/// What stands behind a header; no reason holds any of it.
async fn header_value(name: &str, header: &Header) -> Result<HeaderValue, String> {
    let mut value = match header {
        Header::Written(text) => HeaderValue::from_str(text.reveal()),
        Header::File { before, path } => {
            let file = path.display();
            let read = tokio::fs::read_to_string(path).await;
            let text = read
                .map_err(|error| format!("header `{name}`: `{file}` cannot be read: {}", read_failure(path, &error)))?;
            if text.trim().is_empty() {
                return Err(format!("header `{name}`: `{file}` is empty"));
            }
            HeaderValue::from_str(&format!("{}{}", before.reveal(), text.trim()))
        }
    }
    .map_err(|_| match header {
        Header::Written(_) => format!("header `{name}` cannot hold what is configured"),
        Header::File { path, .. } => format!("header `{name}` cannot hold what stands in `{}`", path.display()),
    })?;
    value.set_sensitive(true);
    Ok(value)
}

async fn talk<S>(stream: S, message: Request<Full<Bytes>>) -> io::Result<Answer>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // It ends with the answer, or with the server; an error of it is one of the request too.
    let connection = AbortOnDropHandle::new(tokio::spawn(async move { _ = connection.await }));
    let response = sender.send_request(message).await.map_err(io::Error::other)?;
    Ok(Answer { status: response.status().as_u16(), body: response.into_body(), _connection: connection })
}

impl Answer {
    /// The beginning of the body, as far as it comes within this time.
    pub(super) async fn beginning(mut self, limit: usize, within: Duration) -> Vec<u8> {
        let deadline = Instant::now() + within;
        let mut beginning = Vec::new();
        while beginning.len() < limit
            && let Ok(Some(Ok(frame))) = timeout_at(deadline, self.body.frame()).await
        {
            let data = frame.into_data().unwrap_or_default();
            beginning.extend_from_slice(&data[..data.len().min(limit - beginning.len())]);
        }
        beginning
    }
}

/// A request in messages: without its query, which may hold a token.
pub(super) struct Shown<'r>(pub(super) &'r HttpRequest);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HttpRequest { url, socket, .. } = self.0;
        let authority = url.authority().map_or("", |authority| authority.as_str());
        write!(f, "http://{authority}{}", url.path())?;
        if let Some(socket) = socket {
            write!(f, "` at `{}", socket.display())?;
        }
        Ok(())
    }
}
