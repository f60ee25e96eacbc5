//! Files of variables: a shell reads them.

use std::process::Command;

use super::{Written, entries};

const FILE: &str = "{{ <env.file entries={ENTRIES} prefix=\"APP_\" /> }}\n";

const BARE: &str = "{{ <env.file entries={ENTRIES} prefix=\"APP_\" quote={false} /> }}\n";

/// The name that a key has, if it has one.
pub(super) fn name_of(key: &str) -> Option<String> {
    let is_good = |c: char| c.is_ascii_alphanumeric() || "/-._".contains(c);
    key.chars().all(is_good).then(|| format!("APP_{}", key.replace(['/', '-', '.'], "_").to_uppercase()))
}

/// Whether a list of entries is one that becomes variables.
pub(super) fn has_names(pairs: &[(String, String)]) -> bool {
    let names: Vec<_> = pairs.iter().map(|(key, _)| name_of(key)).collect();
    names.iter().all(Option::is_some) && names.iter().enumerate().all(|(index, name)| !names[..index].contains(name))
}

pub(super) fn has_controls(pairs: &[(String, String)]) -> bool {
    pairs.iter().any(|(_, value)| value.contains(|c: char| c.is_control()))
}

#[test]
fn a_shell_reads_what_is_written() {
    let files = Written::of_entries(|_, _| FILE.to_owned());
    let bare = Written::of_entries(|_, _| BARE.to_owned());
    let mut read = 0;
    for (name, pairs) in entries() {
        let is_good = has_names(&pairs) && !has_controls(&pairs);
        assert_eq!(files.texts.contains_key(&name), is_good, "{name}: {pairs:?}");
        assert_eq!(bare.texts.contains_key(&name), is_good, "{name}: {pairs:?}");
        if !is_good {
            continue;
        }
        // All that is set, and nothing else: a shell has `PWD`, `OLDPWD`, `SHLVL` and `_` of its own.
        let mut shell = Command::new("sh");
        shell.env_clear().args(["-c", "set -a; . \"$0\"; exec /usr/bin/env -0"]).arg(files.folder().join(&name));
        let output = shell.output().unwrap();
        let said = String::from_utf8(output.stdout.clone()).unwrap();
        let own = |variable: &&str| {
            !variable.is_empty() && !["PWD=", "OLDPWD=", "SHLVL=", "_="].iter().any(|own| variable.starts_with(own))
        };
        let mut set: Vec<&str> = said.split('\0').filter(own).collect();
        set.sort_unstable();
        let mut meant: Vec<String> =
            pairs.iter().map(|(key, value)| format!("{}={value}", name_of(key).unwrap())).collect();
        meant.sort();
        assert_eq!(set, meant, "{name}");
        assert!(output.stderr.is_empty() && output.status.success(), "{name}: {output:?}");
        let mut lines: Vec<&str> = bare.texts[&name].lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, meant, "{name}");
        read += pairs.len();
    }
    assert!(read > 25, "{read}");
}
