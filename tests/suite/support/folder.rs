//! A folder that ends with its test.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A temporary folder.
pub struct Folder(TempDir);

impl Folder {
    /// On the disk.
    pub fn new() -> Self {
        Self(tempfile::Builder::new().prefix("liveconf-test-").tempdir().unwrap())
    }

    /// In memory where there is such a place: for servers that sync much, whose durability no test is about.
    pub fn in_memory() -> Self {
        let mut builder = tempfile::Builder::new();
        builder.prefix("liveconf-test-");
        let memory = Path::new("/dev/shm");
        Self(if memory.is_dir() { builder.tempdir_in(memory) } else { builder.tempdir() }.unwrap())
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        self.0.path()
    }

    /// A path in it.
    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.0.path().join(relative)
    }

    /// Puts a file there by rename, with the folders above it.
    #[track_caller]
    pub fn write(&self, relative: impl AsRef<Path>, content: impl AsRef<[u8]>) {
        let path = self.path(relative);
        let name = path.file_name().unwrap().to_str().unwrap();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let staged = path.with_file_name(format!(".{name}.test-writes"));
        fs::write(&staged, content).unwrap();
        fs::rename(staged, path).unwrap();
    }

    /// The text of a file, if it is there.
    pub fn read(&self, relative: impl AsRef<Path>) -> Option<String> {
        fs::read_to_string(self.path(relative)).ok()
    }

    /// The names of all that is in a folder of it, sorted.
    pub fn names(&self, relative: impl AsRef<Path>) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.path(relative))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// A copy of a folder and all that is in it.
    pub fn copy_of(source: impl AsRef<Path>) -> Self {
        fn copy(source: &Path, destination: &Path) {
            fs::create_dir_all(destination).unwrap();
            for entry in fs::read_dir(source).unwrap() {
                let entry = entry.unwrap();
                let to = destination.join(entry.file_name());
                if entry.file_type().unwrap().is_dir() {
                    copy(&entry.path(), &to);
                } else {
                    // With its mode: examples hold scripts.
                    fs::copy(entry.path(), to).unwrap();
                }
            }
        }
        let folder = Self::new();
        copy(source.as_ref(), folder.root());
        folder
    }
}
