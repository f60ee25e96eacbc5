//! The registry behind the template function `file()`: the text of local files, followed like any other answer.
//!
//! It is in no configuration and not among the [`KINDS`](super::KINDS).

use std::io::ErrorKind;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::file::read_bounded;
use super::{Answer, Data, Feed, FilePath, Outage, Query, QueryError, Registry, Reply, Text, Wanted, Watch};
use crate::file_watch::{FileWatch, POLL_INTERVAL};

/// Local files by their absolute paths.
#[derive(Debug, Clone)]
pub struct LocalFiles {
    /// How often the files are looked at, beside what the kernel tells.
    pub poll_interval: Duration,
}

impl Default for LocalFiles {
    fn default() -> Self {
        Self { poll_interval: POLL_INTERVAL }
    }
}

impl Registry for LocalFiles {
    fn supports(&self, query: &Query) -> Result<(), String> {
        match query {
            Query::File(_) => Ok(()),
            _ => Err("knows files only".into()),
        }
    }

    fn watch(&self) -> Box<dyn Watch> {
        Box::new(LocalWatch { files: FileWatch::new(self.poll_interval), generation: 0 })
    }
}

struct LocalWatch {
    files: FileWatch,
    /// How often the files were read: the revision of answers.
    generation: u64,
}

impl Watch for LocalWatch {
    fn run<'a>(&'a mut self, feed: &'a mut Feed) -> BoxFuture<'a, Outage> {
        Box::pin(async move {
            loop {
                let wanted = feed.wanted();
                // Followed before they are read, so that no change is missed in between.
                self.files.follow(wanted.keys().filter_map(path_of).map(|path| path.as_path().to_owned())).await;
                let replies = self.read(wanted, feed.limits().response).await;
                feed.publish(replies);
                tokio::select! {
                    () = feed.changed() => {}
                    () = self.files.changed() => {}
                }
            }
        })
    }
}

impl LocalWatch {
    /// Reads all files. One that equals the answer before costs a read and wakes nobody.
    async fn read(&mut self, wanted: Wanted, limit: u64) -> Vec<Reply> {
        self.generation += 1;
        let generation = self.generation;
        let reply = move |query: &Query| {
            let result = read_file(path_of(query)?, limit).map(|text| Answer::new(Data::Key(text), generation));
            Some(Reply { query: query.clone(), result })
        };
        self.files.read(move || wanted.keys().filter_map(reply).collect()).await
    }
}

fn path_of(query: &Query) -> Option<&FilePath> {
    match query {
        Query::File(path) => Some(path),
        _ => None,
    }
}

fn read_file(path: &FilePath, limit: u64) -> Result<Option<Text>, QueryError> {
    match read_bounded(path.as_path(), limit, limit) {
        Ok(bytes) => Ok(Some(Text(bytes.into()))),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(QueryError::new(format!("cannot read `{path}`: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::registry::recorder::Running;

    #[tokio::test]
    async fn files_are_followed() {
        let temp = tempfile::tempdir().unwrap();
        let at = |name: &str| temp.path().join(name);
        fs::write(at("a"), "one").unwrap();
        let mut running = Running::new(&LocalFiles::default(), [Query::File(at("a").into())]);
        assert_eq!(running.text().await.as_deref(), Some("one"));
        fs::write(at("a.new"), "two").unwrap();
        fs::rename(at("a.new"), at("a")).unwrap();
        assert_eq!(running.text().await.as_deref(), Some("two"));
        fs::remove_file(at("a")).unwrap();
        assert_eq!(running.text().await, None);
        fs::create_dir(at("a")).unwrap();
        assert!(running.answer().await.unwrap_err().contains("directory"));
        fs::remove_dir(at("a")).unwrap();
        assert_eq!(running.text().await, None);

        running.want([Query::File(at("b").into()), Query::File(at("c/d").into())]);
        assert_eq!(running.publication().await.len(), 2);
        fs::write(at("b"), "b").unwrap();
        let publication = running.publication().await;
        assert_eq!(publication[0].result.as_ref().unwrap().data, Data::Key(Some(Text("b".into()))));
    }

    #[test]
    fn other_questions_are_refused() {
        let files = LocalFiles::default();
        assert!(files.supports(&Query::File("/a".into())).is_ok());
        assert!(files.supports(&Query::Services { tag: None }).is_err());
    }
}
