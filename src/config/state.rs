//! Where records of what was applied are kept.

use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::options::LoadOptions;

/// Where the state goes: flag or `LIVECONF_STATE_DIR`, the file's `state_dir`, the folder that systemd gives, else
/// a folder of this name in the usual place of the user. Nothing is made here, and who needs the folder reports
/// that it cannot be made.
pub(super) fn folder(options: &LoadOptions, configured: Option<PathBuf>, name: &str) -> PathBuf {
    if let Some(path) = given(options) {
        return path;
    }
    if let Some(path) = configured {
        return path;
    }
    // systemd.exec(5): several folders are joined by colons.
    if let Some(first) = options.variable("STATE_DIRECTORY").and_then(|list| list.split(':').next()) {
        return options.working_folder.join(first);
    }
    let home = match options.uid {
        0 => None,
        // The base directory specification ignores a relative XDG_STATE_HOME.
        _ => options
            .variable("XDG_STATE_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .or_else(|| options.variable("HOME").map(|home| options.working_folder.join(home).join(".local/state"))),
    };
    home.unwrap_or_else(|| PathBuf::from("/var/lib")).join("liveconf").join(name)
}

/// The folder that a flag or its variable names.
pub(super) fn given(options: &LoadOptions) -> Option<PathBuf> {
    let given = options.state_dir.clone().or_else(|| options.variable("LIVECONF_STATE_DIR").map(PathBuf::from));
    given.map(|path| options.working_folder.join(path))
}

/// A short name for a configuration that has none: a hash of what tells it from others.
pub(super) fn hashed_name(identity: &[u8]) -> String {
    let hash: [u8; 32] = Sha256::digest(identity).into();
    let number = hash[..6].iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    format!("{number:012x}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;

    #[test]
    fn the_state_folder_follows_its_order() {
        let all = [
            ("LIVECONF_STATE_DIR", "env"),
            ("STATE_DIRECTORY", "/var/lib/a:/var/lib/b"),
            ("XDG_STATE_HOME", "/xdg"),
            ("HOME", "/home/me"),
        ];
        // How many variables are left out, the user, the flag, the file's own: the folder.
        let table = [
            (0, 0, Some("flag"), Some("/file"), "/job/flag"),
            (0, 0, None, Some("/file"), "/job/env"),
            (1, 0, None, Some("/file"), "/file"),
            (1, 0, None, None, "/var/lib/a"),
            (2, 0, None, None, "/var/lib/liveconf/main"),
            (2, 7, None, None, "/xdg/liveconf/main"),
            (3, 7, None, None, "/home/me/.local/state/liveconf/main"),
            (4, 7, None, None, "/var/lib/liveconf/main"),
        ];
        for (skip, uid, flag, configured, expected) in table {
            let environment: BTreeMap<String, String> =
                all.iter().skip(skip).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let options = LoadOptions {
                config: None,
                state_dir: flag.map(PathBuf::from),
                environment,
                working_folder: "/job".into(),
                uid,
                command: Some(Vec::new()),
            };
            assert_eq!(folder(&options, configured.map(PathBuf::from), "main"), Path::new(expected), "{skip} {uid}");
        }
        assert_eq!(hashed_name(b"/etc/liveconf/liveconf.yaml").len(), 12);
        assert_ne!(hashed_name(b"a"), hashed_name(b"b"));
    }
}
