//! Foreign bytes for every parser that takes them: `fuzz/` runs these for hours, the tests for a moment.
//!
//! Each takes any bytes, must not panic, and asserts what holds whatever they are. Built for tests and `cargo fuzz` alone.

use crate::{apply, config, registry, template};

/// A parser of foreign bytes.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name in `fuzz/`.
    pub name: &'static str,
    /// What is given the bytes.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    #[cfg(feature = "etcd")]
    Target { name: "etcd", run: registry::etcd::fuzzing::messages },
    #[cfg(feature = "consul")]
    Target { name: "consul", run: registry::consul::fuzzing::replies },
    Target { name: "file", run: registry::file::fuzzing::documents },
    Target { name: "configuration", run: config::fuzzing::document },
    Target { name: "haproxy", run: apply::reload::haproxy::fuzzing::files },
    Target { name: "lines", run: template::fuzzing::source },
];

/// Gives bytes to the parser of this name.
///
/// # Panics
///
/// When there is no such parser, or what always holds does not.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    (target.unwrap_or_else(|| panic!("there is no parser `{name}`")).run)(bytes);
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    /// What each parser begins from: small files of its own kind, and what once went wrong.
    fn seeds(name: &str) -> Vec<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        assert!(!paths.is_empty(), "{}", folder.display());
        paths.iter().map(|path| fs::read(path).unwrap()).collect()
    }

    #[test]
    fn every_seed_passes() {
        for target in TARGETS {
            for seed in seeds(target.name) {
                (target.run)(&seed);
            }
        }
    }

    #[test]
    fn every_parser_has_its_program() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
        let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
        for target in TARGETS {
            assert!(manifest.contains(&format!("name = \"{}\"", target.name)), "{}", target.name);
            let program = fs::read_to_string(root.join(format!("targets/{}.rs", target.name))).unwrap();
            assert!(program.contains(&format!("\"{}\"", target.name)), "{program}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(index in 0..TARGETS.len(), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            (TARGETS[index].run)(&bytes);
        }

        /// A seed with a part of it replaced by bytes, or by a part of another.
        #[test]
        fn no_change_of_a_seed_is_too_strange(
            index in 0..TARGETS.len(),
            seed: prop::sample::Index,
            other: prop::sample::Index,
            cuts in prop::array::uniform4(any::<prop::sample::Index>()),
            bytes in prop::option::of(prop::collection::vec(any::<u8>(), 0..8)),
        ) {
            let seeds = seeds(TARGETS[index].name);
            let (seed, other) = (seed.get(&seeds), other.get(&seeds));
            let part = |of: &[u8], a: prop::sample::Index, b: prop::sample::Index| {
                let (a, b) = (a.index(of.len() + 1), b.index(of.len() + 1));
                a.min(b)..a.max(b)
            };
            let new = bytes.unwrap_or_else(|| other[part(other, cuts[2], cuts[3])].to_vec());
            let mut changed = seed.clone();
            changed.splice(part(seed, cuts[0], cuts[1]), new);
            (TARGETS[index].run)(&changed);
        }
    }
}
