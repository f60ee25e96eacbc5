//! Who may read a file, at any moment.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sys::signal::Signal;
use rustix::fs::{XattrFlags, getxattr, setxattr};

use crate::alone::needs_root;
use crate::pace;
use crate::support::folder::Folder;
use crate::support::liveconf::{BINARY, Job, start};
use crate::support::process::bound;
use crate::support::strace::Strace;
use crate::support::{SOON, poll_until};

const ACCESS_LIST: &str = "system.posix_acl_access";
const DEFAULT_LIST: &str = "system.posix_acl_default";

/// Whose rights are looked at: a user with one group.
const PEOPLE: [(u32, u32); 6] = [(123, 999), (999, 456), (999, 0), (999, 789), (1234, 999), (999, 999)];

/// An entry of an access control list: tag, permissions, id.
type Entry = (u16, u16, u32);

const ALL: u32 = u32::MAX;
const OWNER: u16 = 1;
const USER: u16 = 2;
const GROUP: u16 = 4;
const MASK: u16 = 16;
const OTHER: u16 = 32;

/// A list as the kernel takes it (acl(5)): version 2, then its entries.
fn packed(entries: &[Entry]) -> Vec<u8> {
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        list.extend([tag.to_le_bytes(), permissions.to_le_bytes()].concat());
        list.extend(id.to_le_bytes());
    }
    list
}

fn attribute(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = Vec::with_capacity(256);
    getxattr(path, name, rustix::buffer::spare_capacity(&mut value)).ok().map(|_| value)
}

/// What each of the [`PEOPLE`] may do with a file; none when it is gone.
fn rights(path: &Path) -> Option<[u32; PEOPLE.len()]> {
    // The list gives the bits of the group another meaning, so both must be of one moment.
    let (list, stat) = loop {
        let list = attribute(path, ACCESS_LIST);
        let stat = fs::symlink_metadata(path).ok()?;
        if attribute(path, ACCESS_LIST) == list {
            break (list, stat);
        }
    };
    let number = |entry: &[u8], at: usize| u16::from_le_bytes([entry[at], entry[at + 1]]);
    let named = list.unwrap_or_default();
    let entries = || named.get(4..).unwrap_or_default().chunks_exact(8);
    let tagged = |tag: u16| entries().find(move |entry| number(entry, 0) == tag);
    let mode = stat.mode();
    // Without a list the bits of the mode are it.
    let mask = tagged(MASK).map_or(7, |_| mode >> 3 & 7);
    let group = tagged(GROUP).map_or(mode >> 3 & 7, |entry| u32::from(number(entry, 2))) & mask;
    Some(PEOPLE.map(|(user, own_group)| {
        let by_name = entries().find(|entry| number(entry, 0) == USER && entry[4..] == user.to_le_bytes());
        if user == stat.uid() {
            mode >> 6 & 7
        } else if let Some(entry) = by_name {
            u32::from(number(entry, 2)) & mask
        } else if own_group == stat.gid() {
            group
        } else {
            mode & 7
        }
    }))
}

/// The destinations, and what each is to have in the end.
struct Files {
    folder: PathBuf,
}

impl Files {
    const NAMES: [&str; 5] = ["given.conf", "secret.conf", "listed.conf", "grouped/plain.conf", "shared/kept.conf"];

    /// What was there before: files with rights of their own, a folder that hands its group on, and one that hands on a
    /// list.
    fn prepare(folder: &Path) -> Self {
        let set_mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        for name in ["grouped", "shared"] {
            fs::create_dir_all(folder.join(name)).unwrap();
        }
        let files = Self { folder: folder.to_owned() };
        for name in ["secret.conf", "listed.conf", "shared/kept.conf"] {
            fs::write(files.path(name), "old").unwrap();
        }
        set_mode(&files.path("secret.conf"), 0o644);
        set_mode(&files.path("shared/kept.conf"), 0o640);
        // The group of the file may do nothing, which its mode does not tell: it shows the mask.
        let list = packed(&[(OWNER, 6, ALL), (USER, 4, 1234), (GROUP, 0, ALL), (MASK, 4, ALL), (OTHER, 0, ALL)]);
        setxattr(files.path("listed.conf"), ACCESS_LIST, &list, XattrFlags::empty()).unwrap();
        setxattr(files.path("listed.conf"), "user.note", b"kept", XattrFlags::empty()).unwrap();
        setxattr(files.path("listed.conf"), "security.selinux", b"system_u:object_r:etc_t:s0\0", XattrFlags::empty())
            .unwrap();
        chown(files.path("grouped"), None, Some(789)).unwrap();
        set_mode(&files.path("grouped"), 0o2755);
        let open = packed(&[(OWNER, 7, ALL), (USER, 7, 1234), (GROUP, 5, ALL), (MASK, 7, ALL), (OTHER, 5, ALL)]);
        setxattr(files.path("shared"), DEFAULT_LIST, &open, XattrFlags::empty()).unwrap();
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Owner, group and mode of each.
    fn found(&self) -> [(u32, u32, u32); 5] {
        Self::NAMES.map(|name| {
            let stat = fs::metadata(self.path(name)).unwrap();
            (stat.uid(), stat.gid(), stat.mode() & 0o7777)
        })
    }

    /// Looks at every file on its way until it is told to stop: what anybody may do with it that they may not do in the end,
    /// and how many different files on their way there were.
    fn watch(&self, stop: &AtomicBool) -> (BTreeSet<String>, usize) {
        let (mut wider, mut seen) = (BTreeSet::new(), BTreeSet::new());
        let allowed = Self::NAMES.map(|name| rights(&self.path(name)).unwrap());
        while !stop.load(Ordering::Relaxed) {
            for (name, allowed) in Self::NAMES.iter().zip(&allowed) {
                let path = self.path(name);
                let own = format!(".{}.liveconf-", path.file_name().unwrap().to_str().unwrap());
                for entry in fs::read_dir(path.parent().unwrap()).unwrap().flatten() {
                    if !entry.file_name().to_str().unwrap().starts_with(&own) {
                        continue;
                    }
                    let Some(rights) = rights(&entry.path()) else { continue };
                    seen.insert(entry.file_name());
                    for (index, (now, allowed)) in rights.iter().zip(allowed).enumerate() {
                        if now & !allowed != 0 {
                            wider.insert(format!("{name}: {:?} may {now}, in the end {allowed}", PEOPLE[index]));
                        }
                    }
                }
            }
        }
        (wider, seen.len())
    }
}

/// Files were replaced under umask 000 and 077, in a setgid folder, with lists and labels: mode, owner and attributes were exact, and nobody could do more at any moment.
#[test]
fn row_38_rights_are_exact_and_never_wider() {
    needs_root("only root gives files to other users");
    for umask in ["000", "077"] {
        let job = Job::new(
            "registries: {local: {file: {path: registry/registry.yaml}}}
targets:
  files:
    templates:
      - {content: '{{ key(path=\"x\") }}', dest: out/given.conf, mode: 640, owner: '123:456'}
      - {content: '{{ key(path=\"x\") }}', dest: out/secret.conf, secret: true}
      - {content: '{{ key(path=\"x\") }}', dest: out/listed.conf}
      - {content: '{{ key(path=\"x\") }}', dest: out/grouped/plain.conf}
      - {content: '{{ key(path=\"x\") }}', dest: out/shared/kept.conf}
    wait: 0
    reload_interval: 0
",
        )
        .with("registry/registry.yaml", "x: 0\n");
        let files = Files::prepare(&job.folder().path("out"));
        let script = format!("umask {umask}; exec \"$0\" \"$@\"");
        let mut command = bound(Signal::SIGKILL, "sh");
        command.args(["-c", &script, BINARY]);
        let daemon = start(job.prepare(command, &["run"]));
        let arrives = |version: u32| {
            poll_until(SOON, || {
                let is_there = |name: &&str| job.read(&format!("out/{name}")) == Some(version.to_string());
                if Files::NAMES.iter().all(is_there) { Ok(()) } else { Err("not there".to_owned()) }
            });
        };
        arrives(0);
        let expected = [(123, 456, 0o640), (0, 0, 0o600), (0, 0, 0o640), (0, 789, 0o644), (0, 0, 0o640)];
        assert_eq!(files.found(), expected, "umask {umask}");

        // Each step on the way is held, so that there is time to look.
        let traces = Folder::new();
        let steps = "openat,fchown,fchmod,fsetxattr,fremovexattr";
        let hold = format!("inject={steps}:delay_exit=4000");
        let strace = Strace::with(daemon.id(), traces.path("trace"), &["-e", &format!("trace={steps}"), "-e", &hold]);
        let stop = AtomicBool::new(false);
        let changes = pace::either(4, 200);
        let (wider, seen) = thread::scope(|scope| {
            let watch = scope.spawn(|| files.watch(&stop));
            for version in 1..=changes {
                job.write("registry/registry.yaml", format!("x: {version}\n"));
                arrives(version);
            }
            stop.store(true, Ordering::Relaxed);
            watch.join().unwrap()
        });
        assert!(!strace.lines(&["fchmod(", ".liveconf-"]).is_empty());
        strace.end();
        assert_eq!(wider, BTreeSet::new(), "umask {umask}");
        // A busy machine may blink now and then.
        let most = changes as usize * Files::NAMES.len();
        assert!(seen * 10 >= most * 9, "only {seen} of {most} files were seen on their way");
        assert_eq!(files.found(), expected, "umask {umask}");
        let listed = files.path("listed.conf");
        let list = packed(&[(OWNER, 6, ALL), (USER, 4, 1234), (GROUP, 0, ALL), (MASK, 4, ALL), (OTHER, 0, ALL)]);
        assert_eq!(attribute(&listed, ACCESS_LIST), Some(list));
        assert_eq!(attribute(&listed, "user.note").as_deref(), Some(&b"kept"[..]));
        assert_eq!(attribute(&listed, "security.selinux").as_deref(), Some(&b"system_u:object_r:etc_t:s0\0"[..]));
        assert_eq!(attribute(&files.path("shared/kept.conf"), ACCESS_LIST), None);
        daemon.stop();
    }
}
