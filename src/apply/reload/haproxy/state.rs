//! Hands what servers have come to from the process that ends to the one that begins: `server-state-file` and
//! `load-server-state-from-file global` of the configuration (configuration manual, 3.1 and 4.2).
//!
//! What HAProxy says of its servers is not written as it stands: a process that starts takes the port of a server, and a
//! weight that was changed while it ran, from there, over what its file says. So only what nobody wrote into a file is handed
//! on: whether a server drains, and its health.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

use super::runtime::table;
use super::sections::{self, Section};
use super::table::{Row, Table};
use crate::config::{Haproxy, Target};

/// Saves the state of the servers where the files of the target say that the next process loads it. A reload does not wait
/// for more than that, and comes whatever becomes of it.
pub(super) async fn save(target: &Target, haproxy: &Haproxy) {
    let destinations: Vec<_> = target.templates.iter().map(|template| template.dest.clone()).collect();
    let read = move || destinations.iter().filter_map(|path| fs::read(path).ok()).collect::<Vec<_>>();
    let Ok(files) = tokio::task::spawn_blocking(read).await else { return };
    let files: Vec<_> = files.iter().filter_map(|file| sections::read(file).ok()).collect();
    let Some(path) = files.iter().find_map(|file| file.server_states.clone()) else { return };
    let sections: Vec<Section> = files.into_iter().flat_map(|file| file.sections).collect();
    let state = match table(haproxy, &[]).await {
        Ok(table) => handed_on(&table, &sections),
        Err(reason) => {
            // What stands there is of another time, with ports and weights of then.
            tracing::debug!(target = &*target.name, "the state of the servers is not handed on: {reason}");
            Table::empty()
        }
    };
    let text = state.write();
    let shown = path.display().to_string();
    let written = tokio::task::spawn_blocking(move || write(&path, text.as_bytes())).await;
    if let Ok(Err(error)) = written {
        tracing::warn!(
            target = &*target.name,
            file = %shown,
            %error,
            "cannot write the `server-state-file`: servers that drain may take requests again after the reload"
        );
    }
}

/// What is handed on of a table to a process that starts with these sections.
fn handed_on(table: &Table, sections: &[Section]) -> Table {
    let row = |row: &Row| {
        let Some(section) = sections.iter().find(|section| section.name == row.section) else {
            return Some(row.clone());
        };
        // Servers that a template of HAProxy makes are not listed.
        let Some(server) = section.servers.get(&row.name) else {
            return section.obstacle.is_some().then(|| row.clone());
        };
        let Some(known) = server.options.known() else { return Some(row.clone()) };
        let is_same = server.address.is_none_or(|(address, port)| row.address == (Some(address), port));
        let counts = !known.disabled && !row.is_out() && (is_same || row.drains());
        counts.then(|| table.set(row, server.address, known.weight))
    };
    let rows = table.rows.iter().filter_map(row).collect();
    table.with(rows)
}

/// Replaces the file; where its folder is not ours to write in, writes into it.
fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    // The folder may be that of HAProxy's user, who may be a stranger by now: no symlink is followed, and nobody gets to
    // write who could not.
    let mode = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => metadata.permissions().mode() & 0o664,
        _ => 0o644,
    };
    let new = path.with_extension("liveconf-new");
    let replace = || {
        let _ = fs::remove_file(&new);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(text)?;
        #[expect(clippy::disallowed_methods, reason = "this is no destination: HAProxy reads it once, at the reload")]
        fs::rename(&new, path)
    };
    replace().or_else(|_| {
        let _ = fs::remove_file(&new);
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let flags = i32::try_from(flags.bits()).unwrap_or_default();
        let mut file = OpenOptions::new().write(true).truncate(true).custom_flags(flags).open(path)?;
        file.write_all(text)
    })
}

#[cfg(test)]
mod tests {
    use super::super::table::tests::{HEAD, table};
    use super::*;

    #[test]
    fn nobody_has_another_file_written() {
        let folder = tempfile::tempdir().unwrap();
        let [victim, state] = ["victim", "state"].map(|name| folder.path().join(name));
        fs::write(&victim, "precious").unwrap();
        // As one who may write to the folder would have it.
        fs::write(&state, "").unwrap();
        fs::set_permissions(&state, Permissions::from_mode(0o666)).unwrap();
        std::os::unix::fs::symlink(&victim, folder.path().join("state.liveconf-new")).unwrap();
        write(&state, b"new").unwrap();
        assert_eq!(fs::read_to_string(&state).unwrap(), "new");
        assert_eq!(fs::symlink_metadata(&state).unwrap().permissions().mode() & 0o7777, 0o664);
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    }

    #[test]
    fn a_server_that_drains_goes_on_draining_with_what_its_file_says() {
        let file = "defaults\nbackend a\nserver kept 10.0.0.1:80 weight 3\nserver drains 10.0.0.9:90\n\
                    server moved 10.0.0.9:90\nserver out 10.0.0.1:80\nserver off 10.0.0.1:80 disabled\n";
        let line =
            |name: &str, rest: &str| format!("3 a 1 {name} 10.0.0.1 2 {rest} 28 15 3 4 6 0 0 0 - 80 - 0 0 - - 0\n");
        let rows: String = [
            line("kept", "4 7 7"),
            line("drains", "8 0 1"),
            line("moved", "0 1 1"),
            line("out", "1 1 1"),
            line("off", "0 1 1"),
            line("gone", "0 1 1"),
            "4 other 1 x 10.0.0.1 2 1 9 9 28 15 3 4 6 0 0 0 - 80 - 0 0 - - 0\n".to_owned(),
        ]
        .concat();
        let sections = sections::read(file.as_bytes()).unwrap().sections;
        let expected = format!(
            "{HEAD}3 a 1 kept 10.0.0.1 2 0 3 3 28 15 3 4 6 0 0 0 - 80 - 0 0 - - 0\n\
             3 a 1 drains 10.0.0.9 2 8 1 1 28 15 3 4 6 0 0 0 - 90 - 0 0 - - 0\n\
             4 other 1 x 10.0.0.1 2 1 9 9 28 15 3 4 6 0 0 0 - 80 - 0 0 - - 0\n"
        );
        assert_eq!(handed_on(&table(&rows), &sections).write(), expected);
    }

    #[test]
    fn the_file_is_replaced_with_the_mode_that_it_has() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        write(&path, b"1\n").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        write(&path, b"2\n").unwrap();
        assert_eq!(
            (fs::read(&path).unwrap(), fs::metadata(&path).unwrap().permissions().mode() & 0o777),
            (b"2\n".to_vec(), 0o600)
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
