//! What may stand in a configuration file.

use std::collections::BTreeMap;
use std::path::Path;

use super::decode::{self, Frame};
use super::document::{Document, Reading};
use super::load::finish;
use super::options::LoadOptions;
use crate::registry::KINDS;

/// Takes a text for a configuration: it is one, or every problem has its place.
pub(crate) fn document(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (base, name) = (Path::new("/etc/liveconf"), "liveconf.yaml");
    let document = match Document::parse(name, base, text.to_owned()) {
        Ok(document) => document,
        Err(problem) => {
            assert!(problem.line > 0 && problem.column > 0, "a problem without a place");
            return;
        }
    };
    let environment = BTreeMap::from([("HOME".to_owned(), "/root".to_owned()), ("EMPTY".to_owned(), String::new())]);
    let options = LoadOptions {
        config: None,
        state_dir: None,
        environment: environment.clone(),
        working_folder: base.to_owned(),
        uid: 1000,
        command: Some(Vec::new()),
    };
    let reading = Reading::new(&environment, KINDS);
    let documents = [document];
    let frame = Frame { file: None, base: base.to_owned(), identity: b"fuzzing" };
    let config = decode::config(&reading, &documents, frame, &options);
    if let Err(problems) = finish(reading, &[name.to_owned()], config) {
        assert!(!problems.is_empty(), "refused without a problem");
        for problem in problems {
            assert!(!problem.to_string().contains("no reason was noted"), "refused without a reason");
        }
    }
}
