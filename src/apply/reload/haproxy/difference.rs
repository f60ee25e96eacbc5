//! Whether two versions of the files of a HAProxy differ only in what it takes while it runs: names, addresses, weights and
//! maintenance of servers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use super::sections::{self, Section, Server, Unreadable};
use super::word::Word;

/// The sections whose servers differ, as they were and as they are to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    /// At least one, unless only the order of servers or the space between their words differs.
    pub(super) sections: Vec<(Section, Section)>,
}

/// Why a difference takes a reload: the file, the line of its new version, and what is wrong there. No word of the file is
/// in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Inexpressible {
    file: PathBuf,
    line: usize,
    why: &'static str,
}

impl fmt::Display for Inexpressible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} of `{}`: {}", self.line, self.file.display(), self.why)
    }
}

/// What is between two versions of each file.
pub(super) fn difference<'a>(
    files: impl IntoIterator<Item = (&'a Path, &'a [u8], &'a [u8])>,
) -> Result<Difference, Inexpressible> {
    let mut sections = Vec::new();
    for (path, old, new) in files {
        if old != new {
            let found = of_file(old, new);
            let place = |(line, why)| Inexpressible { file: path.to_owned(), line, why };
            sections.extend(found.map_err(place)?);
        }
    }
    Ok(Difference { sections })
}

type Why = (usize, &'static str);

fn of_file(old: &[u8], new: &[u8]) -> Result<Vec<(Section, Section)>, Why> {
    let unreadable = |Unreadable(line, why)| (line, why);
    let (old, new) = (sections::read(old).map_err(unreadable)?, sections::read(new).map_err(unreadable)?);
    let other = "it is no `server` line of a `backend` or `listen` section, and differs";
    for (index, (line, text)) in new.others.iter().enumerate() {
        if old.others.get(index).is_none_or(|(_, before)| before != text) {
            return Err((*line, other));
        }
    }
    if old.others.len() > new.others.len() {
        return Err((new.others.last().map_or(1, |(line, _)| *line), "what followed it is gone"));
    }
    let mentioned = |name: &str| {
        let is_part = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
        let in_others = new.others.iter().find(|(_, line)| line.split(|c| !is_part(c)).any(|word| word == name));
        let servers = || new.sections.iter().flat_map(|section| section.servers.values());
        in_others
            .map(|(line, _)| *line)
            .or_else(|| servers().find(|server| server.options.names(name)).map(|server| server.line))
    };
    let pairs = old.sections.iter().zip(&new.sections).filter(|(old, new)| !alike(&old.servers, &new.servers));
    let mut changed = Vec::new();
    for (old, new) in pairs {
        of_section(old, new, mentioned)?;
        changed.push((old.clone(), new.clone()));
    }
    Ok(changed)
}

/// Whether HAProxy runs both alike.
fn alike(old: &BTreeMap<String, Server>, new: &BTreeMap<String, Server>) -> bool {
    old.len() == new.len() && old.iter().all(|(name, server)| new.get(name).is_some_and(|other| server.is_like(other)))
}

fn of_section(old: &Section, new: &Section, mentioned: impl Fn(&str) -> Option<usize>) -> Result<(), Why> {
    if let Some(obstacle) = new.obstacle.or(old.obstacle) {
        return Err(obstacle);
    }
    let names: BTreeSet<&String> = old.servers.keys().chain(new.servers.keys()).collect();
    for name in names {
        match (old.servers.get(name), new.servers.get(name)) {
            (Some(before), Some(after)) if before.is_like(after) => continue,
            (Some(before), Some(after)) => kept(before, after)?,
            (None, Some(added)) if addable(added).is_none() => {
                return Err((added.line, "`add server` does not take all that this server needs"));
            }
            (Some(before), None) if before.options.known().is_none() => {
                // What was taken out could not be brought back, were the files refused.
                return Err((before.line, "a server that is removed has words that are not understood"));
            }
            (Some(_), None) => {
                if let Some(line) = mentioned(name) {
                    return Err((line, "it may speak of a server that is removed"));
                }
            }
            _ => {}
        }
        if Word::name(name).is_none() || Word::name(&new.name).is_none() {
            let line = new.servers.get(name).map_or(1, |server| server.line);
            return Err((line, "a name in it is none for the runtime socket"));
        }
    }
    Ok(())
}

/// Whether a server becomes another one by address, port, weight and maintenance alone.
fn kept(before: &Server, after: &Server) -> Result<(), Why> {
    if !before.has_address_of(after) && (before.address.is_none() || after.address.is_none()) {
        return Err((after.line, "the address of this server is no IP address with a port"));
    }
    let (Some(was), Some(is)) = (before.options.known(), after.options.known()) else {
        return if before.options == after.options {
            Ok(())
        } else {
            Err((after.line, "not all words of this server are understood"))
        };
    };
    if was.others != is.others {
        return Err((after.line, "a server that stays gets other options"));
    }
    Ok(())
}

/// What `add server` takes of a server: its address and its options; none where it does not take all.
pub(super) fn addable(server: &Server) -> Option<(String, Vec<Word>)> {
    let (address, port) = server.address?;
    let address = if address.is_ipv6() { format!("[{address}]:{port}") } else { format!("{address}:{port}") };
    Some((address, server.options.known()?.addable()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "defaults\n  default-server check\nbackend a\n";

    /// The sections that differ, or the line that takes a reload.
    fn between(old: &str, new: &str) -> Result<Vec<String>, usize> {
        let (old, new) = (format!("{HEAD}{old}"), format!("{HEAD}{new}"));
        let found = difference([(Path::new("/x"), old.as_bytes(), new.as_bytes())]);
        let name = |(_, new): &(Section, Section)| new.name.clone();
        found.map(|found| found.sections.iter().map(name).collect()).map_err(|why| why.line)
    }

    #[test]
    fn servers_that_come_go_and_change_are_expressible() {
        let a = Ok(vec!["a".to_owned()]);
        let one = "server x 10.0.0.1:80\n";
        assert_eq!(between(one, "server x 10.0.0.1:80\nserver y 10.0.0.2:80 weight 5\n"), a);
        assert_eq!(between(one, ""), a);
        assert_eq!(between("", one), a);
        assert_eq!(between(one, "server x 10.0.0.9:81 weight 7 disabled\n"), a);
        assert_eq!(between(one, "server x\t10.0.0.1:80   # the same\n"), Ok(vec![]));
        assert_eq!(
            between(&format!("{one}server y 10.0.0.2:80\n"), &format!("server y 10.0.0.2:80\n{one}")),
            Ok(vec![])
        );
        assert_eq!(between("server x a.example:80\n", "server x a.example:80 weight 2\n"), a);
        assert_eq!(between("server x 10.0.0.1:80 ssl verify none\n", "server x 10.0.0.2:80 ssl verify none\n"), a);
    }

    #[test]
    fn everything_else_takes_a_reload() {
        let one = "server x 10.0.0.1:80\n";
        for (old, new, line) in [
            (one, "# three servers\nserver x 10.0.0.1:80\n", 4),
            ("# \nserver x 10.0.0.1:80\n", "server x 10.0.0.1:80\n", 3),
            (one, "server x 10.0.0.1:80 maxconn 5\n", 4),
            (one, "server y a.example:80\n", 4),
            (one, "server x 10.0.0.1\n", 4),
            (one, "server y 10.0.0.2:80 cookie y\n", 4),
            (one, "server y;x 10.0.0.2:80\n", 4),
            (one, "server x 10.0.0.1:80 weight \"2\"\n", 4),
            ("http-send-name-header x\nserver x 10.0.0.1:80\n", "http-send-name-header x\n", 4),
            ("server x 10.0.0.1:80\nserver y 10.0.0.2:80 track a/x\n", "server y 10.0.0.2:80 track a/x\n", 4),
            ("server x 10.0.0.1:80\nserver y 10.0.0.2:80 source 0.0.0.0\n", one, 5),
            ("balance source\nserver x 10.0.0.1:80\n", "balance source\n", 4),
        ] {
            assert_eq!(between(old, new), Err(line), "{new}");
        }
        let binary = difference([(Path::new("/map"), &b"a 1\n"[..], &b"a 2\n"[..])]).unwrap_err();
        assert_eq!(
            binary.to_string(),
            "line 1 of `/map`: it is no `server` line of a `backend` or `listen` section, and differs"
        );
    }
}
