//! PgBouncer has no check, so one is started with all that is written, and says what it read.

use std::fs::Permissions;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Uid;

use super::{Written, entries, serving};
use crate::support::folder::Folder;
use crate::support::process::{Process, bound, find};
use crate::support::{SOON, poll_until, port};

const DATABASE: &str = r#"{{ <pgbouncer.database name="NAME" servers={service(name="NAME", status="any")} parameters="pool_size=7" meta_weight="w" /> }}
"#;

const NAMED: &str = r#"{% set all = ENTRIES %}
{{ <pgbouncer.database name="of_NAME" servers={[]} dbname={all[0].value} /> }}
"#;

/// A message of the protocol: its length counts itself.
fn message(kind: &[u8], body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [kind, &length, body].concat()
}

/// The rows of `SHOW DATABASES`.
fn databases(port: u16) -> io::Result<Vec<Vec<String>>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let startup = [&196_608_u32.to_be_bytes()[..], b"user\0admin\0database\0pgbouncer\0\0"].concat();
    stream.write_all(&message(b"", &startup))?;
    stream.write_all(&message(b"Q", b"SHOW DATABASES\0"))?;
    let (mut rows, mut ready) = (Vec::new(), 0);
    while ready < 2 {
        let mut head = [0; 5];
        stream.read_exact(&mut head)?;
        let mut body = vec![0; u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize - 4];
        stream.read_exact(&mut body)?;
        match head[0] {
            b'Z' => ready += 1,
            b'D' => rows.push(fields(&body)),
            b'E' => return Err(io::Error::other(String::from_utf8_lossy(&body).into_owned())),
            _ => {}
        }
    }
    Ok(rows)
}

/// The fields of a row; what is null is empty.
fn fields(body: &[u8]) -> Vec<String> {
    let (mut fields, mut rest) = (Vec::new(), &body[2..]);
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
        fields.push(String::from_utf8(behind[..length].to_vec()).unwrap());
        rest = &behind[length..];
    }
    fields
}

#[test]
fn pgbouncer_takes_what_is_written() {
    let written = Written::of_services(|name, _| DATABASE.replace("NAME", name));
    let named = Written::of_entries(|name, _| NAMED.replace("NAME", name));
    written.assert_harmless(|name, text| text.replace(name, "NAME"));
    for (name, pairs) in entries() {
        let is_good = pairs.first().is_some_and(|(_, value)| !value.contains(|c: char| c.is_control()));
        assert_eq!(named.texts.contains_key(&name), is_good, "{name}: {pairs:?}");
    }

    let (scene, port) = (Folder::new(), port::free());
    let lines: String = written.texts.values().chain(named.texts.values()).map(String::as_str).collect();
    scene.write(
        "pgbouncer.ini",
        format!(
            "[databases]\n{lines}[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = any\nadmin_users = admin\n"
        ),
    );
    // It does not run as root, and another user has to be let into the folder.
    std::fs::set_permissions(scene.root(), Permissions::from_mode(0o755)).unwrap();
    let mut command = bound(Signal::SIGKILL, find("setpriv"));
    if Uid::effective().is_root() {
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    }
    command.arg(find("pgbouncer")).arg("-q").arg(scene.path("pgbouncer.ini"));
    command.stderr(std::fs::File::create(scene.path("log")).unwrap());
    let mut server = Process::start(command);
    let known = poll_until(SOON, || match server.ended() {
        Some(status) => panic!("PgBouncer ended with {status}: {}", scene.read("log").unwrap()),
        None => databases(port).map_err(|error| error.to_string()),
    });
    let of = |name: &str| -> String {
        let row = known.iter().find(|row| row[0] == name).unwrap_or_else(|| panic!("no {name}"));
        row[1..4].join(" ")
    };
    assert_eq!(known.len(), written.texts.len() + named.texts.len() + 1, "one is its own");
    for name in written.texts.keys() {
        let hosts = match serving(name) {
            [] => "127.0.0.1 65535".to_owned(),
            hosts => format!("{} 80", hosts.join(",")),
        };
        assert_eq!(of(name), format!("{hosts} {name}"));
    }
    for (name, pairs) in entries().iter().filter(|(name, _)| named.texts.contains_key(name)) {
        let meant = if pairs[0].1.is_empty() { format!("of_{name}") } else { pairs[0].1.clone() };
        assert_eq!(of(&format!("of_{name}")), format!("127.0.0.1 65535 {meant}"));
    }
}
