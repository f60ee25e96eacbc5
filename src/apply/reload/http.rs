//! Reload by an HTTP request, as Prometheus, Caddy and NGINX Unit take it.

use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::Outcome;
use crate::apply::http::{Missed, Shown, send};
use crate::config::{BodyFile, HttpReload, Statuses, Target};
use crate::process::{Context, Output};

/// What is kept of the body of an answer, for the log.
const SHOWN: usize = 4 << 10;

/// How long that may take: the status alone says what came of the reload.
const LAST_WORDS: Duration = Duration::from_secs(1);

pub(super) async fn reload(target: &Target, http: &HttpReload, context: &Context) -> Outcome {
    let body = match timeout(http.request.timeout, body(target, http)).await {
        Ok(Ok(body)) => body,
        Ok(Err(reason)) => return Outcome::Failed(reason),
        Err(_) => return Outcome::Failed("`body_file` cannot be read in time".to_owned()),
    };
    let answer = match send(&http.request, body).await {
        Ok(answer) => answer,
        Err(Missed::Absent(reason)) => return Outcome::NotRunning(reason),
        Err(Missed::Failed(reason)) => return Outcome::Failed(reason),
    };
    let status = answer.status;
    if holds(&http.expect, status) {
        return Outcome::Taken;
    }
    let mut reason = format!("`{} {}` answers {status}", http.request.method, Shown(&http.request));
    let refused = holds(&http.refused, status);
    if let Some(hint) = hint(status).filter(|_| !refused) {
        reason.push_str("; ");
        reason.push_str(hint);
    }
    // What a program says of files that it refuses may repeat what stands in them.
    if !target.templates.iter().any(|template| template.secret) {
        let mut said = Output::default();
        said.push(&answer.beginning(SHOWN, LAST_WORDS).await);
        if !said.is_empty() {
            tracing::debug!(target = &*context.target, "the answer to the reload says:\n{}", said.tail());
            reason.push_str("; `--log-level debug` shows what it says");
        }
    }
    if refused { Outcome::Rejected(reason) } else { Outcome::Failed(reason) }
}

fn holds(statuses: &Statuses, status: u16) -> bool {
    statuses.iter().any(|range| range.contains(&status))
}

/// What to do about an answer that is neither expected nor a refusal.
fn hint(status: u16) -> Option<&'static str> {
    match status {
        300..=399 => Some("redirects are not followed: write the address that it leads to as `url`"),
        401 => Some("see which token its `headers` give"),
        403 => Some("see which token its `headers` give, and whether the program lets itself be reloaded this way"),
        404 | 405 => Some("see its `url` and `method`"),
        415 => Some("give it the header `Content-Type`"),
        _ => None,
    }
}

async fn body(target: &Target, http: &HttpReload) -> Result<Bytes, String> {
    let path: &Path = match &http.body_file {
        None => return Ok(Bytes::new()),
        Some(BodyFile::At(path)) => path,
        // The configuration holds no index that is not there.
        Some(BodyFile::Dest(index)) => target.templates.get(*index).map_or(Path::new(""), |template| &template.dest),
    };
    let read: io::Result<Vec<u8>> = tokio::fs::read(path).await;
    read.map(Bytes::from).map_err(|error| format!("`body_file`: `{}` cannot be read: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::{Arc, Mutex};
    use std::time::Instant;

    use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpSocket, UnixListener};

    use super::*;
    use crate::apply::tests::{target, template};
    use crate::config::{Header, HttpRequest};
    use crate::secret::Secret;

    /// What a server was asked, request by request.
    type Asked = Arc<Mutex<Vec<String>>>;

    /// Reads a request with the body that its head announces, and gives this answer, in the middle of which it hangs.
    async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str, asked: &Asked) {
        let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            let text = String::from_utf8_lossy(&request).to_lowercase();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
                if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                    break;
                }
            }
            match stream.read(&mut buffer).await.unwrap() {
                0 => break,
                read => request.extend_from_slice(&buffer[..read]),
            }
        }
        asked.lock().unwrap().push(String::from_utf8(request).unwrap());
        let (answer, hangs) = answer.strip_suffix("[hang]").map_or((answer, false), |answer| (answer, true));
        stream.write_all(answer.as_bytes()).await.unwrap();
        if hangs {
            std::future::pending::<()>().await;
        }
    }

    /// A server on the loopback that always gives this answer.
    async fn server(answer: &'static str) -> (String, Asked) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, asked) = (listener.local_addr().unwrap().to_string(), Asked::default());
        let noted = asked.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serve(stream, answer, &noted).await;
            }
        });
        (address, asked)
    }

    fn post(address: &str) -> HttpReload {
        HttpReload {
            request: HttpRequest {
                url: format!("http://{address}/-/reload?token=hunter2").parse().unwrap(),
                method: hyper::Method::POST,
                socket: None,
                headers: Vec::new(),
                timeout: Duration::from_secs(30),
            },
            body_file: None,
            expect: vec![200..=299],
            refused: vec![400..=400, 422..=422, 500..=500],
        }
    }

    async fn outcome(http: &HttpReload) -> Outcome {
        let folder = tempfile::tempdir().unwrap();
        reload_in(folder.path(), http).await
    }

    async fn reload_in(folder: &Path, http: &HttpReload) -> Outcome {
        let target = target(vec![template(folder.join("out.conf"))]);
        let context = Context {
            target: "web".into(),
            env_allow: Arc::new([]),
            process: None,
            remains: crate::process::Leavings::default(),
        };
        reload(&target, http, &context).await
    }

    fn answer(status: &str) -> &'static str {
        format!("HTTP/1.1 {status}\r\nContent-Length: 7\r\n\r\nhunter2").leak()
    }

    #[tokio::test]
    async fn the_file_and_the_headers_are_sent() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("out.conf"), ":80 {}\n").unwrap();
        let token = folder.path().join("token");
        fs::write(&token, "hunter2\n").unwrap();
        let (address, asked) = server("HTTP/1.1 204 No Content\r\n\r\n").await;
        let mut http = HttpReload { body_file: Some(BodyFile::Dest(0)), ..post(&address) };
        http.request.headers = vec![
            ("Content-Type".to_owned(), Header::Written(Secret::new("text/caddyfile"))),
            ("Authorization".to_owned(), Header::File { before: Secret::new("Bearer "), path: token.clone() }),
        ];
        assert_eq!(reload_in(folder.path(), &http).await, Outcome::Taken);
        let request = asked.lock().unwrap().concat();
        assert!(request.starts_with("POST /-/reload?token=hunter2 HTTP/1.1\r\n"), "{request}");
        assert!(request.ends_with("\r\n\r\n:80 {}\n"), "{request}");
        for header in ["content-type: text/caddyfile", "authorization: Bearer hunter2", "content-length: 7"] {
            assert!(request.contains(&format!("{header}\r\n")), "`{header}` is missing in {request}");
        }
        // Both are read each time, and what is missing is no refusal of the files.
        fs::write(&token, "two\nlines").unwrap();
        let said = "header `Authorization` cannot hold what stands in";
        assert!(matches!(reload_in(folder.path(), &http).await, Outcome::Failed(why) if why.contains(said)));
        fs::remove_file(&token).unwrap();
        assert!(
            matches!(reload_in(folder.path(), &http).await, Outcome::Failed(why) if why.contains("cannot be read"))
        );
        fs::remove_file(folder.path().join("out.conf")).unwrap();
        assert!(matches!(reload_in(folder.path(), &http).await, Outcome::Failed(why) if why.contains("`body_file`")));
        assert_eq!(asked.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_request_without_a_body_says_so() {
        let (address, asked) = server(answer("200 OK")).await;
        assert_eq!(outcome(&post(&address)).await, Outcome::Taken);
        let request = asked.lock().unwrap().concat().to_lowercase();
        assert!(request.contains("content-length: 0\r\n") && request.ends_with("\r\n\r\n"), "{request}");
    }

    #[tokio::test]
    async fn the_status_says_what_came_of_it() {
        for (status, expected) in [
            ("200 OK", "taken"),
            ("202 Accepted", "taken"),
            ("400 Bad Request", "rejected"),
            ("422 Unprocessable", "rejected"),
            ("500 Internal Server Error", "rejected"),
            ("302 Found", "failed"),
            ("401 Unauthorized", "failed"),
            ("403 Forbidden", "failed"),
            ("404 Not Found", "failed"),
            ("405 Method Not Allowed", "failed"),
            ("415 Unsupported Media Type", "failed"),
            ("429 Too Many Requests", "failed"),
            ("502 Bad Gateway", "failed"),
            ("503 Service Unavailable", "failed"),
        ] {
            let (address, asked) = server(answer(status)).await;
            let (found, reason) = match outcome(&post(&address)).await {
                Outcome::Taken => ("taken", String::new()),
                Outcome::Failed(reason) => ("failed", reason),
                Outcome::Rejected(reason) => ("rejected", reason),
                Outcome::NotRunning(reason) => ("not running", reason),
            };
            assert_eq!(found, expected, "{status}: {reason}");
            let said = format!("`POST http://{address}/-/reload` answers {}", &status[..3]);
            assert!(found == "taken" || reason.starts_with(&said), "{reason}");
            assert!(!reason.contains("hunter2"), "{reason}");
            assert_eq!(asked.lock().unwrap().len(), 1, "{status}");
        }
    }

    #[tokio::test]
    async fn other_statuses_may_be_expected_or_refuse() {
        let (address, _) = server(answer("303 See Other")).await;
        assert_eq!(outcome(&HttpReload { expect: vec![303..=303], ..post(&address) }).await, Outcome::Taken);
        let (address, _) = server(answer("500 Internal Server Error")).await;
        let failed = outcome(&HttpReload { refused: Vec::new(), ..post(&address) }).await;
        assert!(matches!(failed, Outcome::Failed(_)), "{failed:?}");
        let (address, _) = server(answer("409 Conflict")).await;
        let rejected = outcome(&HttpReload { refused: vec![409..=409], ..post(&address) }).await;
        assert!(matches!(rejected, Outcome::Rejected(_)), "{rejected:?}");
    }

    #[tokio::test]
    async fn a_redirect_is_followed_nowhere() {
        let (elsewhere, asked) = server(answer("200 OK")).await;
        let redirect: &str = format!("HTTP/1.1 307 T\r\nLocation: http://{elsewhere}/\r\n\r\n").leak();
        let (address, _) = server(redirect).await;
        let failed = outcome(&post(&address)).await;
        assert!(matches!(&failed, Outcome::Failed(why) if why.contains("redirects are not followed")), "{failed:?}");
        assert_eq!(asked.lock().unwrap().len(), 0);
    }

    #[tokio::test]
    async fn where_nobody_listens_nothing_runs() {
        // Bound, so that nobody else listens there either.
        let taken = TcpSocket::new_v4().unwrap();
        taken.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let absent = outcome(&post(&address)).await;
        assert!(matches!(&absent, Outcome::NotRunning(why) if why.contains("takes no connection")), "{absent:?}");

        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("control.sock");
        let mut http = post("localhost");
        http.request.socket = Some(socket.clone());
        let absent = outcome(&http).await;
        assert!(matches!(&absent, Outcome::NotRunning(why) if why.contains("control.sock")), "{absent:?}");

        let listener = UnixListener::bind(&socket).unwrap();
        let asked = Asked::default();
        let noted = asked.clone();
        let serving = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            serve(stream, answer("200 OK"), &noted).await;
        });
        assert_eq!(outcome(&http).await, Outcome::Taken);
        assert!(asked.lock().unwrap().concat().contains("host: localhost\r\n"));
        // Its file is still there, and nobody listens any more.
        serving.await.unwrap();
        assert!(matches!(outcome(&http).await, Outcome::NotRunning(_)));
    }

    #[tokio::test]
    async fn what_hangs_or_breaks_off_is_a_failure_in_bounded_time() {
        let short = |address: &str| {
            let mut http = post(address);
            http.request.timeout = Duration::from_millis(100);
            http
        };
        let (address, _) = server("[hang]").await;
        let late = outcome(&short(&address)).await;
        assert!(matches!(&late, Outcome::Failed(why) if why.contains("did not answer within 100ms")), "{late:?}");
        for broken in ["", "HTTP/1.1 2", "SSH-2.0-x\r\n"] {
            let (address, _) = server(broken).await;
            let failed = outcome(&post(&address)).await;
            assert!(matches!(&failed, Outcome::Failed(why) if why.contains("does not answer: ")), "{failed:?}");
        }
    }

    #[tokio::test]
    async fn a_body_that_never_ends_holds_nothing_up() {
        let started = Instant::now();
        let (address, _) = server("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf[hang]").await;
        assert_eq!(outcome(&post(&address)).await, Outcome::Taken);
        let (address, _) = server("HTTP/1.1 500 No\r\nContent-Length: 100\r\n\r\nhalf[hang]").await;
        assert!(matches!(outcome(&post(&address)).await, Outcome::Rejected(_)));
        assert!(started.elapsed() < Duration::from_secs(20));
    }
}
