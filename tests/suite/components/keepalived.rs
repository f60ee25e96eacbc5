//! keepalived: `keepalived -t` takes all that is written.

use std::process::Command;

use super::{Written, content};
use crate::support::folder::Folder;
use crate::support::process::find;

const SERVER: &str = r#"{{ <keepalived.virtual_server address="ADDRESS" port={PORT} servers={service(name="NAME", status="any")} meta_weight="w" /> }}
"#;

#[test]
fn keepalived_takes_what_is_written() {
    let written = Written::of_services(|name, number| {
        let address = if name == "v6" { "fd00::a" } else { "192.0.2.10" };
        SERVER.replace("NAME", name).replace("ADDRESS", address).replace("{PORT}", &format!("{{{}}}", 2000 + number))
    });
    written.assert_harmless(|_, text| text.split_once('\n').unwrap().1.to_owned());
    let servers = |name: &str| -> Vec<String> {
        let words: Vec<&str> = written.texts[name].split_whitespace().collect();
        let real = words.windows(6).filter(|words| words[0] == "real_server");
        real.map(|words| format!("{} {} {}", words[1], words[2], words[5])).collect()
    };
    for (name, expected) in [
        ("two", &["10.0.0.1 80 1", "10.0.0.2 80 1"][..]),
        ("ill", &["10.0.0.1 80 1"]),
        ("draining", &["10.0.0.1 80 1", "10.0.0.2 80 0"]),
        ("weight_0", &["10.0.0.1 80 1", "10.0.0.2 80 0"]),
        ("weight_70000", &["10.0.0.1 80 1", "10.0.0.2 80 65535"]),
        ("all_draining", &["10.0.0.2 80 0", "127.0.0.1 65535 1"]),
        ("all_ill", &["127.0.0.1 65535 1"]),
        ("empty", &["127.0.0.1 65535 1"]),
        ("twins", &["10.0.0.1 80 1"]),
        ("v6", &["fd00::1 80 1", "fd00::2 80 1"]),
    ] {
        assert_eq!(servers(name), expected, "{name}");
    }
    let scene = Folder::new();
    scene.write("keepalived.conf", written.texts.values().map(String::as_str).collect::<String>());
    let mut check = Command::new(find("keepalived"));
    check.arg("-t").arg("-f").arg(scene.path("keepalived.conf"));
    let said = String::from_utf8(content(check).stderr).unwrap();
    assert_eq!(said, "", "keepalived has something to say");
}
