//! Which arguments of questions may be shown: those that the template holds word by word, and the names that a registry
//! itself lists. Anything else was computed, maybe from a value.

use std::collections::HashSet;
use std::sync::Arc;

use super::record::Render;
use super::scan::TokenKind;
use super::source::Source;
use crate::registry::{Answer, Data, NodeServices, Path};

/// The texts that stand in the templates of a target, whole and by the segments of paths.
#[derive(Debug, Default)]
pub(super) struct Words(HashSet<Box<str>>);

impl Words {
    /// Each of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|word| &**word)
    }

    /// Those of these sources.
    pub(super) fn of<'s>(sources: impl IntoIterator<Item = &'s Source>) -> Self {
        let tokens = sources.into_iter().flat_map(Source::pieces).flat_map(|piece| &piece.tokens);
        let texts = tokens.filter_map(|token| match &token.kind {
            TokenKind::Text(text) => Some(text.as_str()),
            _ => None,
        });
        Self(
            texts
                .flat_map(|text| text.split('/').chain([text]))
                .filter(|word| !word.is_empty())
                .map(Box::from)
                .collect(),
        )
    }
}

/// Names that a registry listed during another render.
pub(super) type Listed = Arc<HashSet<Box<str>>>;

/// The names that a registry listed during a render, looked at only where an argument is not written in the template.
#[derive(Default)]
pub(super) struct Names {
    /// Those that were listed before.
    before: Listed,
    known: HashSet<Box<str>>,
    /// Answers that were read and not looked at.
    unread: Vec<Arc<Answer>>,
}

impl Names {
    /// Notes an answer that was read; it may list names.
    pub(super) fn note(&mut self, answer: &Arc<Answer>) {
        let lists_names = matches!(
            answer.data,
            Data::Prefix(_)
                | Data::Listing(_)
                | Data::Services(_)
                | Data::Nodes(_)
                | Data::Node(_)
                | Data::Datacenters(_)
        );
        if lists_names {
            self.unread.push(Arc::clone(answer));
        }
    }

    /// None yet but those that were listed before.
    pub(super) fn beside(before: &Listed) -> Self {
        Self { before: Arc::clone(before), ..Self::default() }
    }

    /// Those that were listed, for other renders.
    pub(super) fn listed(mut self) -> Listed {
        self.look();
        self.known.into()
    }

    /// Whether a name was listed before.
    pub(super) fn had(&self, word: &str) -> bool {
        self.before.contains(word)
    }

    fn has(&mut self, word: &str) -> bool {
        self.look();
        self.known.contains(word) || self.before.contains(word)
    }

    /// Takes the names out of the answers.
    fn look(&mut self) {
        for answer in std::mem::take(&mut self.unread) {
            match &answer.data {
                Data::Prefix(entries) => {
                    self.known.extend(entries.iter().flat_map(|entry| entry.path.split('/')).map(Box::from));
                }
                Data::Listing(names) => {
                    self.known.extend(names.keys.iter().chain(&names.folders).map(|name| (**name).into()));
                }
                Data::Services(services) => {
                    let names = services.iter().flat_map(|service| service.tags.iter().chain([&service.name]));
                    self.known.extend(names.map(|name| (**name).into()));
                }
                Data::Nodes(nodes) => {
                    self.known.extend(
                        nodes.iter().flat_map(|node| [&node.name, &node.datacenter]).map(|name| (**name).into()),
                    );
                }
                Data::Node(Some(NodeServices { node, services })) => {
                    let of_instances =
                        services.iter().flat_map(|instance| instance.tags.iter().chain([&instance.name]));
                    let names = of_instances.chain([&node.name, &node.datacenter]);
                    self.known.extend(names.map(|name| (**name).into()));
                }
                Data::Datacenters(names) => self.known.extend(names.iter().map(|name| (**name).into())),
                _ => {}
            }
        }
    }
}

impl Render {
    /// Whether a word may stand in a message.
    pub(super) fn may_show(&mut self, word: &str) -> bool {
        self.words.0.contains(word) || self.names.has(word)
    }

    /// Whether a text stands in a template as it is, so that its author wrote it.
    pub(super) fn is_written(&self, text: &str) -> bool {
        self.words.0.contains(text)
    }

    /// A path of which no more is shown than may be.
    pub(super) fn showing(&mut self, path: Path) -> Path {
        path.showing(|segment| self.may_show(segment))
    }
}
