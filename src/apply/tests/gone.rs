//! Files whose item is gone.

use super::*;

/// Stages `a`, whose item is gone, and a changed `all`; somebody does `meanwhile` to `a`; then they are committed.
fn removing(meanwhile: impl FnOnce(&Path)) -> (tempfile::TempDir, Committed) {
    let folder = tempfile::tempdir().unwrap();
    let (a, all) = (folder.path().join("a"), folder.path().join("all"));
    fs::write(&a, "ours").unwrap();
    let gone = Template { writes: Writes::Gone, ..template(&a) };
    let staged = stage(&target([template(&all), gone]), &[b"1", b""]).unwrap();
    meanwhile(&a);
    let committed = staged.skip_check().commit().unwrap();
    (folder, committed)
}

#[test]
fn what_is_as_it_was_is_removed() {
    let (folder, committed) = removing(|_| {});
    assert_eq!(names(folder.path()), ["all"]);
    assert_eq!(committed.changed().len(), 2);
}

#[test]
fn what_somebody_puts_there_meanwhile_stays() {
    let (folder, _) = removing(|a| {
        let new = a.with_file_name("new");
        fs::write(&new, "hers").unwrap();
        fs::rename(new, a).unwrap();
    });
    assert_eq!(names(folder.path()), ["a", "all"]);
    assert_eq!(fs::read_to_string(folder.path().join("a")).unwrap(), "hers");
    let (folder, _) = removing(|a| fs::write(a, "hers too").unwrap());
    assert_eq!(fs::read_to_string(folder.path().join("a")).unwrap(), "hers too");
    let (folder, _) = removing(|a| fs::remove_file(a).unwrap());
    assert_eq!(names(folder.path()), ["all"]);
}
