//! All functions, filters, tests and components, for whoever asks what there is.

mod components;

pub(crate) use components::{Component, ComponentArgument, components, sample as components_sample};

use super::entry::Entry;
use super::filter::FILTERS;
use super::function::{FUNCTIONS, NAMES};
use super::predicate::TESTS;

/// The registry of the examples; the page about templates shows it.
pub(crate) const SAMPLE: &str = include_str!("sample.yaml");

/// The fixture that answers the examples of names, which a registry of that sort cannot.
const SAMPLE_NAMES: &str = include_str!("sample_names.yaml");

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    /// `name()`.
    Function,
    /// `... | name`.
    Filter,
    /// `... is name`.
    Test,
}

/// Things of one sort for one purpose.
#[derive(Debug)]
pub(crate) struct Section {
    /// What they are.
    pub(crate) sort: Sort,
    /// The heading of the reference that they stand under.
    pub(crate) name: &'static str,
    /// What there is.
    pub(crate) entries: Vec<&'static Entry>,
}

/// What the examples of functions are answered from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sample {
    /// This is the content of a file registry.
    Registry(&'static str),
    /// This is a fixture that says what a registry of kind `dns`, called `names`, answers.
    Fixture(&'static str),
}

impl Section {
    /// What its examples are answered from.
    pub(crate) fn sample(&self) -> Sample {
        if self.name == NAMES.name { Sample::Fixture(SAMPLE_NAMES) } else { Sample::Registry(SAMPLE) }
    }
}

impl Sort {
    /// Its name.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Function => "function",
            Self::Filter => "filter",
            Self::Test => "test",
        }
    }
}

/// All functions, filters and tests, in the order of the reference.
pub(crate) fn sections() -> Vec<Section> {
    let functions = FUNCTIONS.iter().map(|group| Section {
        sort: Sort::Function,
        name: group.name,
        entries: group.entries.iter().map(|function| &function.entry).collect(),
    });
    let filters = FILTERS.iter().map(|group| Section {
        sort: Sort::Filter,
        name: group.name,
        entries: group.entries.iter().map(|filter| &filter.entry).collect(),
    });
    let tests = Section { sort: Sort::Test, name: TESTS.name, entries: TESTS.entries.iter().collect() };
    functions.chain(filters).chain([tests]).collect()
}
