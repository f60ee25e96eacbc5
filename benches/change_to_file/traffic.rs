//! How much etcd sends for a change.

use std::thread;
use std::time::Duration;

use crate::stage::Stage;

/// Bytes of messages that etcd has sent to all clients, the framing of HTTP/2 apart.
const SENT: &str = "etcd_network_client_grpc_sent_bytes_total";

/// Changes that are counted.
const CHANGES: u32 = 100;

/// Bytes that the server sends for one change, less what it sends in the same time when the writer changes a key that
/// nobody follows: its answers to the writer, and what it says when nothing happens.
pub(crate) fn per_change(stage: &Stage, change: impl Fn(usize) -> (String, String)) -> f64 {
    let elsewhere = run(stage, |number| ("/bench/nobody".to_owned(), change(number).1));
    let followed = run(stage, &change);
    (followed - elsewhere) / f64::from(CHANGES)
}

fn run(stage: &Stage, change: impl Fn(usize) -> (String, String)) -> f64 {
    let before = stage.metric(SENT);
    for number in 0..CHANGES as usize {
        let (key, value) = change(number);
        stage.client().put(&key, value);
        thread::sleep(Duration::from_millis(160));
    }
    thread::sleep(Duration::from_millis(500));
    #[expect(clippy::cast_precision_loss, reason = "megabytes at most")]
    let sent = (stage.metric(SENT) - before) as f64;
    sent
}
