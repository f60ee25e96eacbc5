//! Confirmed by the answer to an HTTP request.

use std::io;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper::{Request, Response, Uri, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::probe::Failed;
use crate::config::Http;

/// The most of a body that is looked through.
const LIMIT: usize = 1 << 20;

/// Asks once. A redirect is an answer like any other, and not followed.
pub(super) async fn attempt(http: &Http) -> Result<(), Failed> {
    let shown = shown(&http.url);
    match timeout(http.timeout, ask(http)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(why)) => Err(Failed::Yet(format!("`{shown}` {why}"))),
        Err(_) => {
            Err(Failed::Yet(format!("`{shown}` did not answer within {}", humantime::format_duration(http.timeout))))
        }
    }
}

async fn ask(http: &Http) -> Result<(), String> {
    let response = send(http).await.map_err(|error| format!("does not answer: {error}"))?;
    let status = response.status().as_u16();
    if !http.status.iter().any(|range| range.contains(&status)) {
        return Err(format!("answers {status}"));
    }
    let Some(text) = &http.body else { return Ok(()) };
    let body = Limited::new(response.into_body(), LIMIT).collect().await;
    let body = body.map_err(|error| format!("answers {status}, and its body cannot be read: {error}"))?.to_bytes();
    // What the body holds may come from a registry, so it is not told.
    if contains(&body, text.as_bytes()) {
        Ok(())
    } else {
        Err(format!("answers {status} without the text that `body` asks for"))
    }
}

async fn send(http: &Http) -> io::Result<Response<Incoming>> {
    let invalid = |error: hyper::http::Error| io::Error::new(io::ErrorKind::InvalidInput, error);
    let host = http.url.host().unwrap_or_default();
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let stream = TcpStream::connect((host, http.url.port_u16().unwrap_or(80))).await?;
    let path = http.url.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::get(path).header(header::USER_AGENT, "liveconf");
    if !http.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        request = request.header(header::HOST, http.url.authority().map_or("", |authority| authority.as_str()));
    }
    for (name, value) in &http.headers {
        request = request.header(name, value.reveal());
    }
    let request = request.header(header::CONNECTION, "close").body(Empty::<Bytes>::new()).map_err(invalid)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // It ends with the response, or with the server; an error of it is one of the request too.
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(io::Error::other)
}

fn contains(body: &[u8], text: &[u8]) -> bool {
    text.is_empty() || body.windows(text.len()).any(|window| window == text)
}

/// The address without its query, which may hold a token.
fn shown(url: &Uri) -> String {
    let authority = url.authority().map_or("", |authority| authority.as_str());
    format!("http://{authority}{}", url.path())
}
