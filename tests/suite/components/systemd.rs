//! systemd: `systemd-analyze verify` takes units with every drop-in, and what they set is what was meant.

use std::process::Command;

use super::environment::{has_controls, has_names, name_of};
use super::{Written, content, entries};
use crate::support::folder::Folder;
use crate::support::process::find;

const DROP_IN: &str = "{{ <systemd.drop_in entries={ENTRIES} prefix=\"APP_\" options={[\"MemoryMax=1G\"]} /> }}\n";

/// What systemd makes of a word in double quotes: `\` takes the meaning of what follows (`systemd.syntax(7)`), and `%%` is
/// a `%` (`systemd.unit(5)`). Anything else with a meaning is none of what is written.
fn read(word: &str) -> String {
    let inner = word.strip_prefix('"').and_then(|word| word.strip_suffix('"')).unwrap_or_else(|| panic!("{word}"));
    let mut characters = inner.chars();
    let mut read = String::new();
    while let Some(c) = characters.next() {
        read.push(match c {
            '\\' => characters.next().filter(|next| "\"\\".contains(*next)).unwrap_or_else(|| panic!("{word}")),
            '%' => characters.next().filter(|next| *next == '%').unwrap_or_else(|| panic!("{word}")),
            '"' => panic!("{word}"),
            other => other,
        });
    }
    read
}

#[test]
fn systemd_takes_what_is_written() {
    let written = Written::of_entries(|_, _| DROP_IN.to_owned());
    let units = Folder::new();
    for (name, pairs) in entries() {
        assert_eq!(written.texts.contains_key(&name), has_names(&pairs) && !has_controls(&pairs), "{name}: {pairs:?}");
        let Some(text) = written.texts.get(&name) else { continue };
        units.write(format!("{name}.service"), "[Service]\nExecStart=/bin/true\n");
        units.write(format!("{name}.service.d/liveconf.conf"), text);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines[0], lines[lines.len() - 1]), ("[Service]", "MemoryMax=1G"), "{name}");
        let set: Vec<String> =
            lines[1..lines.len() - 1].iter().map(|line| read(line.strip_prefix("Environment=").unwrap())).collect();
        let meant: Vec<String> =
            pairs.iter().map(|(key, value)| format!("{}={value}", name_of(key).unwrap())).collect();
        assert_eq!(set, meant, "{name}");
    }
    let mut check = Command::new(find("systemd-analyze"));
    check.args(["verify", "--man=no"]).env("SYSTEMD_UNIT_PATH", format!("{}:", units.root().display()));
    check.args(units.names("").iter().filter(|name| name.ends_with(".service")).map(|name| units.path(name)));
    // A variable that it cannot read is a warning, and no failure.
    let said = String::from_utf8(content(check).stderr).unwrap();
    assert!(!said.contains("nvironment") && !said.contains("liveconf.conf"), "{said}");
}
