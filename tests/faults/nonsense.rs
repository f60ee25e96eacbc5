//! A server that answers with anything but what it should.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};

/// The server, until its process ends.
pub(crate) struct Nonsense {
    pub(crate) port: u16,
    /// How often each kind was said.
    said: Arc<[AtomicU64; KINDS]>,
}

const KINDS: usize = 10;

impl Nonsense {
    pub(crate) fn start(seed: u64) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let said: Arc<[AtomicU64; KINDS]> = Arc::default();
        let random = Arc::new(Mutex::new(StdRng::seed_from_u64(seed)));
        let counts = Arc::clone(&said);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (random, counts) = (Arc::clone(&random), Arc::clone(&counts));
                thread::spawn(move || {
                    let mut random = StdRng::seed_from_u64(random.lock().unwrap().next_u64());
                    let kind = random.random_range(0..KINDS);
                    counts[kind].fetch_add(1, Ordering::Relaxed);
                    // Who is told nonsense may hang up.
                    _ = talk(client, kind, &mut random);
                });
            }
        });
        Self { port, said }
    }

    /// How often each kind was said.
    pub(crate) fn said(&self) -> Vec<u64> {
        self.said.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }
}

/// Says one kind of nonsense on a connection.
fn talk(mut client: TcpStream, kind: usize, random: &mut StdRng) -> std::io::Result<()> {
    client.set_read_timeout(Some(Duration::from_secs(2)))?;
    // What a client says first.
    let mut heard = [0; 4096];
    let _ = client.read(&mut heard)?;
    let mut noise = vec![0; random.random_range(1..65_536)];
    random.fill_bytes(&mut noise);
    let html = "<html><body><h1>It works!</h1></body></html>";
    let page = |status: &str| {
        let length = html.len();
        format!("HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\r\n{html}")
    };
    match kind {
        0 => client.write_all(&noise),
        1 => client.write_all(page("200 OK").as_bytes()),
        2 => client.write_all(page("502 Bad Gateway").as_bytes()),
        3 => client.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"),
        // Frames of HTTP/2 of any kind.
        4 => {
            client.write_all(&frame(SETTINGS, 0, 0, &[]))?;
            for _ in 0..20 {
                let length = random.random_range(0..200);
                let (kind, flags) = (random.random(), random.random());
                client.write_all(&frame(kind, flags, random.random_range(0..8), &noise[..length.min(noise.len())]))?;
            }
            Ok(())
        }
        // A frame longer than any may be.
        5 => {
            client.write_all(&frame(SETTINGS, 0, 0, &[]))?;
            client.write_all(&[0xff, 0xff, 0xff, DATA, 0, 0, 0, 0, 1])?;
            client.write_all(&noise)
        }
        // Answers to the first calls whose messages are noise, whole or cut off.
        6 => answer(&mut client, &[], &message(0, noise.len(), &noise[..noise.len().min(8000)])),
        7 => answer(&mut client, &[], &message(0, noise.len().min(8000), &noise[..noise.len().min(8000)])),
        // What unpacks to a thousand times its size, or would.
        8 => answer(&mut client, GZIP, &message(1, BOMB.len(), BOMB)),
        // A message of 4 GB.
        _ => answer(&mut client, &[], &message(0, u32::MAX as usize, &noise[..noise.len().min(8000)])),
    }?;
    // Some say so and hang up, some wait.
    let _ = client.read(&mut heard)?;
    Ok(())
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;

/// `grpc-encoding: gzip` as a header of HPACK that is not indexed.
const GZIP: &[u8] = b"\x00\x0dgrpc-encoding\x04gzip";

/// The beginning of a member of gzip that repeats one byte for ever.
const BOMB: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xed\xc1\x01\x01\x00\x00\x00\x80\x90\xfe\xaf\xee\x08\x0a";

/// A frame of HTTP/2 (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A message of gRPC, which may be said to be longer than it is.
fn message(packed: u8, length: usize, bytes: &[u8]) -> Vec<u8> {
    let mut message = vec![packed];
    message.extend(u32::try_from(length).unwrap().to_be_bytes());
    message.extend(bytes);
    message
}

/// Answers the first call, on stream 1, with status 200 and these bytes, and later ones likewise.
fn answer(client: &mut TcpStream, headers: &[u8], body: &[u8]) -> std::io::Result<()> {
    client.write_all(&frame(SETTINGS, 0, 0, &[]))?;
    // `:status: 200` is number 8 of the static table, `content-type` number 31.
    let mut block = b"\x88\x0f\x10\x10application/grpc".to_vec();
    block.extend(headers);
    for stream in [1, 3, 5] {
        client.write_all(&frame(HEADERS, 4, stream, &block))?;
        client.write_all(&frame(DATA, 1, stream, body))?;
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
