//! What somebody else made of the files.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::time::Duration;

use super::{put, target, template};
use crate::apply::{Drifted, Hashes, Inspection, Wrong};
use crate::config::{Target, Template};

/// A file that was put in place, and who looks after it.
struct Scene {
    folder: tempfile::TempDir,
    target: Target,
    put: Hashes,
    inspection: Inspection,
}

impl Scene {
    fn new(mode: Option<u32>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut template = template(folder.path().join("x"));
        template.mode = mode;
        Self::of(folder, template)
    }

    fn of(folder: tempfile::TempDir, template: Template) -> Self {
        let committed = put(&template, b"ours").unwrap();
        let inspection = Inspection::new(committed.places().clone());
        Self { folder, target: target([template]), put: committed.hashes().clone(), inspection }
    }

    fn look(&mut self) -> Option<Wrong> {
        let mut found = self.inspection.look(&self.target, &self.put);
        assert!(found.len() <= 1);
        found.pop().map(|drifted: Drifted| drifted.wrong)
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }
}

#[test]
fn every_way_to_edit_a_file_is_seen() {
    let mut scene = Scene::new(None);
    assert_eq!(scene.look(), None);
    // In place, of the same length, with the time of the last write set back.
    let written = fs::metadata(scene.path("x")).unwrap().modified().unwrap();
    std::thread::sleep(Duration::from_millis(20));
    fs::write(scene.path("x"), "hers").unwrap();
    fs::File::options().write(true).open(scene.path("x")).unwrap().set_modified(written).unwrap();
    assert_eq!(scene.look(), Some(Wrong::Edited));
    assert_eq!(scene.look(), Some(Wrong::Edited), "until it is right again");
    fs::write(scene.path("x"), "ours").unwrap();
    assert_eq!(scene.look(), None);
    // As editors do.
    fs::write(scene.path(".x.swp"), "hers").unwrap();
    fs::rename(scene.path(".x.swp"), scene.path("x")).unwrap();
    assert_eq!(scene.look(), Some(Wrong::Edited));
    fs::remove_file(scene.path("x")).unwrap();
    assert_eq!(scene.look(), Some(Wrong::Gone));
}

#[test]
fn a_mode_counts_where_it_is_configured() {
    let mut given = Scene::new(Some(0o640));
    fs::set_permissions(given.path("x"), Permissions::from_mode(0o600)).unwrap();
    assert_eq!(given.look(), Some(Wrong::Metadata));
    let mut free = Scene::new(None);
    fs::set_permissions(free.path("x"), Permissions::from_mode(0o600)).unwrap();
    assert_eq!(free.look(), None);
}

#[test]
fn what_cannot_be_put_right_says_why() {
    let mut scene = Scene::new(None);
    fs::remove_file(scene.path("x")).unwrap();
    fs::create_dir(scene.path("x")).unwrap();
    assert!(matches!(scene.look(), Some(Wrong::Unfit(why)) if why.contains("there is a folder at this place")));
    fs::remove_dir(scene.path("x")).unwrap();
    // Even where it leads to the same bytes: nobody said that those are to be written from now on.
    fs::write(scene.path("other"), "ours").unwrap();
    symlink("other", scene.path("x")).unwrap();
    assert!(matches!(scene.look(), Some(Wrong::Unfit(why)) if why.contains("it leads to") && why.contains("other`")));
    fs::remove_file(scene.path("x")).unwrap();
    symlink("x", scene.path("x")).unwrap();
    assert!(matches!(scene.look(), Some(Wrong::Unfit(_))));
    fs::remove_file(scene.path("x")).unwrap();
    symlink("nowhere", scene.path("x")).unwrap();
    assert!(matches!(scene.look(), Some(Wrong::Unfit(why)) if why.contains("nowhere`")), "it is not written through");
}

#[test]
fn a_symlink_that_was_always_there_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("real"), "old").unwrap();
    symlink("real", folder.path().join("x")).unwrap();
    let template = template(folder.path().join("x"));
    let mut scene = Scene::of(folder, template);
    assert_eq!(scene.look(), None);
    fs::write(scene.path("real"), "hers").unwrap();
    assert_eq!(scene.look(), Some(Wrong::Edited));
    fs::write(scene.path("real"), "ours").unwrap();
    assert_eq!(scene.look(), None);
}

#[test]
fn a_file_that_was_not_put_there_is_nobody_elses_business() {
    let mut scene = Scene::new(None);
    scene.put.clear();
    fs::write(scene.path("x"), "hers").unwrap();
    assert_eq!(scene.look(), None);
}
