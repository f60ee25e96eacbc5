use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};

use rustix::fs::{XattrFlags, getxattr, setxattr};

use super::*;
use crate::apply::ErrorKind;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn attribute(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = Vec::with_capacity(256);
    getxattr(path, name, rustix::buffer::spare_capacity(&mut value)).ok().map(|_| value)
}

#[test]
fn the_mode_is_given_else_kept_else_safe() {
    // (given, secret, of the existing file, expected)
    for (given, secret, existing, expected) in [
        (None, false, None, 0o644),
        (None, true, None, 0o600),
        (None, false, Some(0o640), 0o640),
        (None, true, Some(0o644), 0o600),
        (None, true, Some(0o400), 0o400),
        (Some(0o660), false, Some(0o600), 0o660),
        (Some(0o640), true, Some(0o600), 0o640),
        (Some(0o4755), false, None, 0o4755),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let template = Template { mode: given, secret, ..template(folder.path().join("x")) };
        if let Some(existing) = existing {
            fs::write(&template.dest, "old").unwrap();
            set_mode(&template.dest, existing);
        }
        put(&template, b"new").unwrap();
        assert_eq!(mode(&template.dest), expected, "{given:?} {secret} {existing:?}");
    }
}

#[test]
fn the_umask_changes_nothing() {
    for umask in ["000", "077", "777"] {
        if !is_inner(&["sh", "-c", &format!("umask {umask}; exec \"$0\" \"$@\"")]) {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        set_mode(folder.path(), 0o755);
        let new = template(folder.path().join("new"));
        let staged = stage(&target([new.clone()]), &[b"x"]).unwrap();
        staged.skip_check().commit().unwrap();
        assert_eq!(mode(&new.dest), 0o644);
        let given = Template { mode: Some(0o666), ..template(folder.path().join("given")) };
        put(&given, b"x").unwrap();
        assert_eq!(mode(&given.dest), 0o666);
        return;
    }
}

#[test]
fn only_metadata_that_differs_is_put_right_in_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    put(&template(&path), b"same").unwrap();
    let inode = fs::metadata(&path).unwrap().ino();
    let template = Template { mode: Some(0o600), ..template(&path) };
    assert!(stage(&target([template.clone()]), &[b"same"]).unwrap().is_unchanged());
    assert_eq!((mode(&path), fs::metadata(&path).unwrap().ino()), (0o600, inode));
    let secret = Template { mode: None, secret: true, ..template };
    set_mode(&path, 0o644);
    assert!(stage(&target([secret]), &[b"same"]).unwrap().is_unchanged());
    assert_eq!(mode(&path), 0o600);
}

#[test]
fn the_owner_is_given_else_kept() {
    needs_root();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    let owner = || {
        let now = fs::metadata(&path).unwrap();
        (now.uid(), now.gid())
    };
    put(&template(&path), b"1").unwrap();
    assert_eq!(owner(), (0, 0));
    chown(&path, Some(123), Some(456)).unwrap();
    put(&template(&path), b"2").unwrap();
    assert_eq!(owner(), (123, 456));
    let given = |user: Option<&str>, group: Option<&str>| {
        let owner = Owner { user: user.map(str::to_owned), group: group.map(str::to_owned) };
        Template { owner, ..template(&path) }
    };
    put(&given(Some("nobody"), None), b"3").unwrap();
    assert_eq!(owner(), (65534, 456));
    put(&given(Some("77"), Some("root")), b"4").unwrap();
    assert_eq!(owner(), (77, 0));
    let inode = fs::metadata(&path).unwrap().ino();
    put(&given(None, Some("78")), b"4").unwrap();
    assert_eq!((owner(), fs::metadata(&path).unwrap().ino()), ((77, 78), inode));
    let error = put(&given(Some("no-such-user"), None), b"5").unwrap_err();
    assert!(error.to_string().contains("there is no user `no-such-user`"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"4");
}

#[test]
fn an_owner_that_we_may_not_set_is_kept_out() {
    needs_root();
    if !is_inner(&["setpriv", "--bounding-set=-chown", "--inh-caps=-chown"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    // Prepared by a process that may.
    let prepare = |mode: u32| {
        let _ = fs::remove_file(&path);
        fs::write(&path, "old").unwrap();
        set_mode(&path, mode);
        chown(&path, None, Some(0)).unwrap();
    };
    prepare(0o640);
    let given = Template { owner: Owner { user: Some("123".into()), group: None }, ..template(&path) };
    let error = put(&given, b"new").unwrap_err();
    assert_eq!((error.kind(), error.errno()), (ErrorKind::Standing, Some(1)), "{error}");
    assert!(error.hint().unwrap().contains("CAP_CHOWN"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"old");
    let group = Template { owner: Owner { user: None, group: Some("123".into()) }, ..template(&path) };
    assert!(put(&group, b"new").unwrap_err().to_string().contains("group"));
    assert_eq!(names(folder.path()), ["x"]);
}

#[test]
fn an_inherited_owner_that_we_may_not_set_widens_nothing() {
    needs_root();
    let folder = match std::env::var_os("LIVECONF_TEST_FOLDER") {
        Some(folder) => PathBuf::from(folder),
        None => tempfile::tempdir().unwrap().keep(),
    };
    let path = folder.join("x");
    if std::env::var_os("LIVECONF_TEST_INNER").is_none() {
        fs::write(&path, "old").unwrap();
        set_mode(&path, 0o664);
        chown(&path, Some(123), Some(456)).unwrap();
    }
    let variable = format!("LIVECONF_TEST_FOLDER={}", folder.display());
    let wrapper = ["env", &variable, "setpriv", "--bounding-set=-chown", "--inh-caps=-chown"];
    if is_inner(&wrapper) {
        put(&template(&path), b"new").unwrap();
        return;
    }
    let now = fs::metadata(&path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
    // The group could write and is not ours to grant; everybody could read.
    assert_eq!((now.uid(), now.gid(), now.mode() & 0o7777), (0, 0, 0o644));
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn attributes_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    fs::write(&path, "old").unwrap();
    let long = vec![b'v'; 1500];
    setxattr(&path, "user.note", b"kept", XattrFlags::empty()).unwrap();
    setxattr(&path, "user.long", &long, XattrFlags::empty()).unwrap();
    put(&template(&path), b"new").unwrap();
    assert_eq!(attribute(&path, "user.note").unwrap(), b"kept");
    let mut value = Vec::with_capacity(2000);
    getxattr(&path, "user.long", rustix::buffer::spare_capacity(&mut value)).unwrap();
    assert_eq!(value, long);
}

/// An access control list (acl(5)) as the kernel takes it: version 2, then tag, permissions and id of each entry.
fn access_list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        list.extend(tag.to_le_bytes());
        list.extend(permissions.to_le_bytes());
        list.extend(id.to_le_bytes());
    }
    list
}

#[test]
fn the_access_control_list_is_that_of_the_old_file() {
    const NONE: u32 = u32::MAX;
    const LIST: &str = "system.posix_acl_access";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    // rw for the owner, r for user 123, nothing for the group, mask r, nothing for others.
    let list = access_list(&[(1, 6, NONE), (2, 4, 123), (4, 0, NONE), (16, 4, NONE), (32, 0, NONE)]);
    fs::write(&path, "old").unwrap();
    setxattr(&path, LIST, &list, XattrFlags::empty()).unwrap();
    put(&template(&path), b"new").unwrap();
    assert_eq!((attribute(&path, LIST), mode(&path)), (Some(list), 0o640));
    // A mode that is given decides over the mask, and so over user 123.
    put(&Template { mode: Some(0o600), ..template(&path) }, b"newer").unwrap();
    let masked = access_list(&[(1, 6, NONE), (2, 4, 123), (4, 0, NONE), (16, 0, NONE), (32, 0, NONE)]);
    assert_eq!((attribute(&path, LIST), mode(&path)), (Some(masked), 0o600));
    put(&Template { secret: true, ..template(&path) }, b"secret").unwrap();
    assert_eq!((attribute(&path, LIST), mode(&path)), (None, 0o600));
}

#[test]
fn a_default_list_of_the_folder_opens_no_file_that_had_none() {
    const NONE: u32 = u32::MAX;
    const LIST: &str = "system.posix_acl_access";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    fs::write(&path, "old").unwrap();
    set_mode(&path, 0o640);
    let list = access_list(&[(1, 7, NONE), (2, 7, 123), (4, 5, NONE), (16, 7, NONE), (32, 5, NONE)]);
    setxattr(folder.path(), "system.posix_acl_default", &list, XattrFlags::empty()).unwrap();
    put(&template(&path), b"new").unwrap();
    assert_eq!((attribute(&path, LIST), mode(&path)), (None, 0o640));
    let secret = Template { secret: true, ..template(folder.path().join("y")) };
    put(&secret, b"new").unwrap();
    assert_eq!((attribute(&secret.dest, LIST), mode(&secret.dest)), (None, 0o600));
}
