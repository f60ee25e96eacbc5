//! Owner, mode, access control list and label of a file (FAULTS F-5, SEMANTICS 5).

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};

use nix::unistd::{Group, User};
use rustix::fs::{Stat, XattrFlags, fgetxattr, flistxattr, fremovexattr, fsetxattr};
use rustix::io::Errno;

use super::error::{ApplyError, Subject};
use crate::config::Template;

const ACCESS_LIST: &str = "system.posix_acl_access";
const LABEL: &str = "security.selinux";

/// What a new file gets when nothing says otherwise.
const MODE: u32 = 0o644;
/// The most that a secret file may be.
pub(super) const SECRET_MODE: u32 = 0o600;

/// What a file is to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Metadata {
    mode: u32,
    /// The mode is given, and stronger than what an access control list makes of it.
    mode_is_given: bool,
    user: Option<Id>,
    group: Option<Id>,
    secret: bool,
}

/// A user or group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Id {
    number: u32,
    /// Given in the configuration: not to be allowed to set it is an error. Otherwise it is the existing file's.
    given: bool,
}

impl Metadata {
    /// What the configuration gives, else what the existing file has, else what is safe.
    pub(super) fn of(template: &Template, existing: Option<&Stat>) -> Result<Self, ApplyError> {
        let inherited = existing.map(|stat| stat.st_mode & 0o7777);
        let mode = match (template.mode, template.secret) {
            (Some(given), _) => given,
            // A secret file may be narrower, never wider.
            (None, true) => inherited.map_or(SECRET_MODE, |mode| mode & SECRET_MODE),
            (None, false) => inherited.unwrap_or(MODE),
        };
        let user = template.owner.user.as_deref().map(|name| user(template, name)).transpose()?;
        let group = template.owner.group.as_deref().map(|name| group(template, name)).transpose()?;
        let given = |number| Id { number, given: true };
        let inherited = |number| Id { number, given: false };
        Ok(Self {
            mode,
            mode_is_given: template.mode.is_some(),
            user: user.map(given).or(existing.map(|stat| inherited(stat.st_uid))),
            group: group.map(given).or(existing.map(|stat| inherited(stat.st_gid))),
            secret: template.secret,
        })
    }

    /// What a file had before; an owner that we may not set is told in a warning.
    pub(super) fn exactly(mode: u32, user: u32, group: u32, secret: bool) -> Self {
        let inherited = |number| Some(Id { number, given: false });
        Self { mode, mode_is_given: true, user: inherited(user), group: inherited(group), secret }
    }

    /// Gives all of it to a new file, from which nobody reads yet, and what `existing` has beside it.
    pub(super) fn give(mut self, subject: Subject<'_>, new: &File, existing: Option<&File>) -> Result<(), ApplyError> {
        let stat = rustix::fs::fstat(new).map_err(|error| ApplyError::write(subject, "look at the file", error))?;
        self.give_owner(subject, new, &stat)?;
        if let Some(existing) = existing {
            copy_attributes(subject, existing, new)?;
        }
        // Before the mode: what opens the file to its group would open it to whom the list keeps out, or to whom only the
        // list of the folder names.
        self.give_access_list(subject, new, existing)?;
        // After the owner, whose change clears set-id bits.
        self.give_mode(subject, new)
    }

    /// Whether a file has another owner or mode.
    pub(super) fn is_wrong(&self, stat: &Stat) -> bool {
        let (owner, mode) = self.wrong(stat);
        owner || mode
    }

    /// Whether the owner of a file is wrong, and whether its mode is.
    fn wrong(&self, stat: &Stat) -> (bool, bool) {
        let is_wrong = |id: Option<Id>, now: u32| id.is_some_and(|id| id.number != now);
        let owner = is_wrong(self.user, stat.st_uid) || is_wrong(self.group, stat.st_gid);
        (owner, self.mode != stat.st_mode & 0o7777)
    }

    /// Puts owner and mode of a file right whose content is as it should be. Says whether anything was wrong.
    pub(super) fn put_right(mut self, subject: Subject<'_>, file: &File, stat: &Stat) -> Result<bool, ApplyError> {
        let (owner, mode) = self.wrong(stat);
        if owner {
            self.give_owner(subject, file, stat)?;
        }
        if owner || mode {
            self.give_mode(subject, file)?;
        }
        Ok(owner || mode)
    }

    fn give_owner(&mut self, subject: Subject<'_>, file: &File, now: &Stat) -> Result<(), ApplyError> {
        let user = self.user.filter(|id| id.number != now.st_uid);
        let group = self.group.filter(|id| id.number != now.st_gid);
        let set =
            |user: Option<Id>, group: Option<Id>| fchown(file, user.map(|id| id.number), group.map(|id| id.number));
        if user.is_none() && group.is_none() || set(user, group).is_ok() {
            return Ok(());
        }
        // One of the two may be allowed alone: a user may give a file to each of their groups.
        for (what, id, result) in [
            ("give the file to its user", user, set(user, None)),
            ("give the file to its group", group, set(None, group)),
        ] {
            let (Some(id), Err(error)) = (id, result) else { continue };
            if id.given {
                let hint = "run liveconf as root or with CAP_CHOWN, or leave out `owner` and `group`";
                return Err(ApplyError::write(subject, what, error).noting(hint));
            }
            tracing::warn!(
                file = %subject.destination.display(),
                id = id.number,
                %error,
                "cannot {what}, which it had before; it becomes ours"
            );
            if self.group.is_some_and(|group| group == id) && !self.mode_is_given {
                // What its group could do is not for ours to do, unless everybody may.
                self.mode &= !0o070 | (self.mode & 0o007) << 3;
            }
        }
        Ok(())
    }

    fn give_mode(&self, subject: Subject<'_>, file: &File) -> Result<(), ApplyError> {
        file.set_permissions(Permissions::from_mode(self.mode))
            .map_err(|error| ApplyError::write(subject, "set the mode", error))
    }

    /// The access control list of the existing file, or none where it has none: the folder's default list was for files
    /// without a past.
    fn give_access_list(&self, subject: Subject<'_>, new: &File, existing: Option<&File>) -> Result<(), ApplyError> {
        let failed = |error: Errno| ApplyError::write(subject, "copy the access control list", error);
        let list = match existing {
            None if !self.secret => return Ok(()),
            Some(existing) if !self.secret => attribute(existing, ACCESS_LIST).map_err(failed)?,
            _ => None,
        };
        match list {
            Some(list) => {
                let list = narrowed(list, self.mode);
                fsetxattr(new, ACCESS_LIST, &list, XattrFlags::empty()).map_err(failed)
            }
            None if attribute(new, ACCESS_LIST).map_err(failed)?.is_some() => {
                fremovexattr(new, ACCESS_LIST).map_err(failed)
            }
            None => Ok(()),
        }
    }
}

/// A list without what `mode` does not allow. After a head of four bytes, each entry has two of a tag, two of
/// permissions and four of an id (acl(5), `linux/posix_acl_xattr.h`).
fn narrowed(mut list: Vec<u8>, mode: u32) -> Vec<u8> {
    const OWNER: u8 = 1;
    const GROUP: u8 = 4;
    const MASK: u8 = 16;
    const OTHER: u8 = 32;
    let entries = list.get(4..).unwrap_or_default();
    let has_mask = entries.chunks_exact(8).any(|entry| entry[0] == MASK);
    for entry in list.get_mut(4..).unwrap_or_default().chunks_exact_mut(8) {
        let allowed = match entry[0] {
            OWNER => mode >> 6,
            MASK => mode >> 3,
            GROUP if !has_mask => mode >> 3,
            OTHER => mode,
            _ => continue,
        };
        entry[2] &= u8::try_from(allowed & 7).unwrap_or_default();
    }
    list
}

/// Takes from `old`, which is no longer in place, whatever the file in its place does not allow.
pub(super) fn narrow(old: &File, to: &Stat) -> io::Result<()> {
    let now = old.metadata()?;
    let mode = now.mode() & 0o7777;
    let mut narrow = mode & to.st_mode & 0o777;
    if (now.uid(), now.gid()) != (to.st_uid, to.st_gid) && fchown(old, Some(to.st_uid), Some(to.st_gid)).is_err() {
        narrow &= SECRET_MODE;
    }
    if narrow == mode { Ok(()) } else { old.set_permissions(Permissions::from_mode(narrow)) }
}

/// Copies the label and the attributes that users set.
fn copy_attributes(subject: Subject<'_>, from: &File, to: &File) -> Result<(), ApplyError> {
    for name in names(from) {
        let is_label = name == LABEL;
        if !is_label && !name.starts_with("user.") {
            continue;
        }
        let copied = attribute(from, &name).and_then(|value| match value {
            Some(value) => fsetxattr(to, name.as_str(), &value, XattrFlags::empty()),
            None => Ok(()),
        });
        match copied {
            Ok(()) => {}
            Err(error) if is_label && selinux_enforces() => {
                return Err(ApplyError::write(subject, "set the SELinux label", error));
            }
            Err(error) => {
                tracing::warn!(file = %subject.destination.display(), attribute = name, %error, "cannot keep an attribute of the file");
            }
        }
    }
    Ok(())
}

/// The names of the extended attributes of a file; none where the file system has no such thing.
fn names(file: &File) -> Vec<String> {
    let mut names = Vec::with_capacity(1 << 10);
    let listed = match flistxattr(file, rustix::buffer::spare_capacity(&mut names)) {
        // As long as a list can be (xattr(7)).
        Err(Errno::RANGE) => {
            names.reserve(1 << 16);
            flistxattr(file, rustix::buffer::spare_capacity(&mut names))
        }
        listed => listed,
    };
    if listed.is_err() {
        return Vec::new();
    }
    names.split(|&byte| byte == 0).filter_map(|name| String::from_utf8(name.to_vec()).ok()).collect()
}

/// The value of an extended attribute, if there is one.
fn attribute(file: &File, name: &str) -> Result<Option<Vec<u8>>, Errno> {
    let mut value = Vec::with_capacity(1 << 10);
    let read = match fgetxattr(file, name, rustix::buffer::spare_capacity(&mut value)) {
        // As long as a value can be (xattr(7)).
        Err(Errno::RANGE) => {
            value.reserve(1 << 16);
            fgetxattr(file, name, rustix::buffer::spare_capacity(&mut value))
        }
        read => read,
    };
    match read {
        Ok(_) => Ok(Some(value)),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(error) => Err(error),
    }
}

fn selinux_enforces() -> bool {
    fs::read_to_string("/sys/fs/selinux/enforce").is_ok_and(|text| text.trim() == "1")
}

/// Whether there are the user and the group that a template is to be given to.
pub fn look_up_owner(template: &Template) -> Result<(), ApplyError> {
    Metadata::of(template, None).map(drop)
}

fn user(template: &Template, name: &str) -> Result<u32, ApplyError> {
    number(template, "user", name, |name| Ok(User::from_name(name)?.map(|user| user.uid.as_raw())))
}

fn group(template: &Template, name: &str) -> Result<u32, ApplyError> {
    number(template, "group", name, |name| Ok(Group::from_name(name)?.map(|group| group.gid.as_raw())))
}

fn number(
    template: &Template,
    what: &str,
    name: &str,
    look_up: impl FnOnce(&str) -> nix::Result<Option<u32>>,
) -> Result<u32, ApplyError> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    match look_up(name) {
        Ok(Some(number)) => Ok(number),
        Ok(None) => {
            let hint = format!("create it, or give a {what} that exists (`getent`), by name or number");
            Err(ApplyError::unfit(template, format!("there is no {what} `{name}`"), hint))
        }
        Err(error) => Err(ApplyError::write(template, "look up the owner", io::Error::from(error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_allows_no_more_than_the_mode() {
        let list = |permissions: [u8; 5]| {
            let tags = [1, 2, 4, 16, 32].into_iter().zip(permissions);
            [vec![2, 0, 0, 0], tags.flat_map(|(tag, bits)| [tag, 0, bits, 0, 7, 0, 0, 0]).collect()].concat()
        };
        assert_eq!(narrowed(list([6, 6, 6, 6, 4]), 0o640), list([6, 6, 6, 4, 0]));
        assert_eq!(narrowed(list([4, 6, 0, 7, 4]), 0o4755), list([4, 6, 0, 5, 4]));
        // Without named users and groups there is no mask: the group's own entry is it.
        let short = [&list([6, 6, 6, 6, 4])[..4], &[4, 0, 6, 0, 0, 0, 0, 0]].concat();
        assert_eq!(narrowed(short, 0o600), [2, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(narrowed(vec![2], 0o600), [2]);
    }
}
