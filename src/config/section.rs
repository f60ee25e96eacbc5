//! One mapping of the configuration, read key by key.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::document::{Document, Reading};
use super::field::Field;
use super::problem::{Complaint, Problem, suggest};
use crate::secret::Secret;
use crate::yaml::{Node, Value};

/// One mapping of the configuration. Each reader marks its key as known; what is wrong is noted as a [`Problem`]
/// with its place, and `None` comes back both for a wrong value and for an absent one, so that reading goes on and
/// every problem is reported at once. Keys that nobody asked for are problems too, found when the section is
/// dropped: ask for every key before giving up. A key whose value is null counts as absent.
pub struct Section<'a> {
    field: Field<'a>,
    known: Vec<String>,
    /// Whether this is the only registry of its kind.
    alone: bool,
}

#[cfg(all(test, feature = "etcd"))]
thread_local! {
    /// What the sections of this thread were asked for: the key of each with each key in it.
    static ASKED: std::cell::RefCell<std::collections::BTreeSet<(String, String)>> = std::cell::RefCell::default();
}

impl<'a> Section<'a> {
    /// The keys that `read` asks sections for, each behind the key of its section; the reference is held against them.
    #[cfg(all(test, feature = "etcd"))]
    pub(crate) fn asked(read: impl FnOnce()) -> std::collections::BTreeSet<(String, String)> {
        ASKED.take();
        read();
        ASKED.take()
    }

    /// Reads `text`, a mapping in YAML, with `read`, as a test of a kind does: what it gave, and the problems.
    pub fn of_text<T>(
        text: &str,
        environment: &BTreeMap<String, String>,
        base: &Path,
        read: impl FnOnce(&mut Section<'_>) -> T,
    ) -> (Option<T>, Vec<Problem>) {
        let document = match Document::parse("text", base, text.to_owned()) {
            Ok(document) => document,
            Err(problem) => return (None, vec![problem]),
        };
        let reading = Reading::new(environment, &[]);
        let value = Field::root(&reading, &document).section().map(|section| read(&mut section.alone(true)));
        (value, reading.finish(&[]).0)
    }

    pub(super) fn new(field: Field<'a>) -> Self {
        Self { field, known: Vec::new(), alone: false }
    }

    /// Says whether it is the only registry of its kind.
    pub(super) fn alone(mut self, alone: bool) -> Self {
        self.alone = alone;
        self
    }

    /// Text, with `${VAR}` expanded.
    pub fn text(&mut self, key: &str) -> Option<String> {
        self.field(key)?.text()
    }

    /// A list of texts; a single text is a list of one.
    pub fn texts(&mut self, key: &str) -> Option<Vec<String>> {
        self.field(key)?.texts()
    }

    /// A path; a relative one starts at the folder of the main configuration file, also in a file of `conf.d`.
    pub fn path(&mut self, key: &str) -> Option<PathBuf> {
        self.field(key)?.path()
    }

    /// `true` or `false`.
    pub fn flag(&mut self, key: &str) -> Option<bool> {
        self.field(key)?.flag()
    }

    /// A whole number.
    pub fn integer(&mut self, key: &str) -> Option<u64> {
        self.field(key)?.integer()
    }

    /// A duration with its unit, such as `100ms`, `2s`, `1m`; `0` needs none.
    pub fn duration(&mut self, key: &str) -> Option<Duration> {
        self.field(key)?.duration()
    }

    /// A size in bytes with its unit, such as `64KiB`, `8MiB`, `8MB`; `0` needs none.
    pub fn size(&mut self, key: &str) -> Option<u64> {
        self.field(key)?.size()
    }

    /// A password or token written in the configuration itself.
    pub fn secret(&mut self, key: &str) -> Option<Secret> {
        self.field(key)?.secret()
    }

    /// One of several words, such as `auto`, each with what it stands for.
    pub fn choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)]) -> Option<T> {
        self.field(key)?.choice(choices)
    }

    /// The mapping under a key.
    pub fn section(&mut self, key: &str) -> Option<Section<'a>> {
        self.field(key)?.section().map(|section| section.alone(self.alone))
    }

    /// Whether the key is there, and not null.
    pub fn has(&mut self, key: &str) -> bool {
        self.field(key).is_some()
    }

    /// A variable of the environment that the ecosystem knows (`ETCDCTL_ENDPOINTS`), when this is the only registry
    /// of its kind and the variable is not empty; the file goes before it, so ask only for what the file leaves out.
    pub fn ecosystem(&self, variable: &str) -> Option<String> {
        let reading = self.field.reading;
        let value = reading.environment.get(variable).filter(|value| !value.is_empty())?;
        if self.alone {
            reading.fill(variable, value);
            return Some(value.clone());
        }
        let message = format!("`{variable}` is set and fills nothing: there are several registries of this kind");
        if !reading.has_warned(&message) {
            self.field.warn(Complaint::new(message).hint(format!("write `${{{variable}}}` where it is meant")));
        }
        None
    }

    /// Warns of a variable of the ecosystem that is set, that is one of `values` if there are any, and that does nothing
    /// here. A shell may have set it for other programs.
    pub fn ignores(&self, variable: &str, values: &[&str], hint: &str) {
        let reading = self.field.reading;
        let is_one = |value: &String| !value.is_empty() && (values.is_empty() || values.contains(&value.as_str()));
        let message = format!("`{variable}` is set, and does nothing here");
        if reading.environment.get(variable).is_some_and(is_one) && !reading.has_warned(&message) {
            self.field.warn(Complaint::new(message).hint(hint));
        }
    }

    /// Notes a problem at the value of `key`, or at the section itself when the key is absent. Where the message holds what
    /// a variable gave, `${VAR}` stands there instead: a variable may hold a secret, also one that was meant for another key.
    pub fn problem(&mut self, key: &str, message: impl Into<String>, hint: Option<String>) {
        let field = self.field(key).unwrap_or(self.field);
        let complaint = Complaint { message: field.with_variables(message.into()), hint };
        field.reading.problem(field.document.problem(field.node, complaint));
    }

    /// The value of a key, which is known from now on; none for an absent one and for null.
    pub(super) fn field(&mut self, key: &str) -> Option<Field<'a>> {
        if !self.known.iter().any(|known| known == key) {
            self.known.push(key.to_owned());
        }
        let Value::Map(entries) = &self.field.node.value else { return None };
        let (name, node) = entries.iter().find(|(name, node)| name.text() == Some(key) && !node.is_null())?;
        Some(Field { key: name.text()?, node, ..self.field })
    }

    /// What `read` makes of the value of a key, or `default` without one; nothing for a wrong value.
    pub(super) fn or<T>(&mut self, key: &str, default: T, read: impl FnOnce(Field<'a>) -> Option<T>) -> Option<T> {
        self.field(key).map_or(Some(default), read)
    }

    /// The same without a default: what comes back within is nothing for an absent key.
    #[expect(clippy::option_option, reason = "absent and wrong differ here, and are told apart at the end of a reader")]
    pub(super) fn optional<T>(&mut self, key: &str, read: impl FnOnce(Field<'a>) -> Option<T>) -> Option<Option<T>> {
        self.or(key, None, |field| read(field).map(Some))
    }

    /// The value of a key that has to be there.
    pub(super) fn required(&mut self, key: &str) -> Option<Field<'a>> {
        let field = self.field(key);
        if field.is_none() {
            self.problem(key, format!("`{key}` is missing"), None);
        }
        field
    }

    /// The keys that are there and that nobody asked for.
    fn unknown(&self) -> impl Iterator<Item = (&'a Node, &'a str)> {
        let entries = match &self.field.node.value {
            Value::Map(entries) => entries.as_slice(),
            Value::Scalar(_) | Value::List(_) => &[],
        };
        let keys = entries.iter().filter_map(|(key, _)| Some((key, key.text()?)));
        keys.filter(|(_, name)| !self.known.iter().any(|known| known == name))
    }
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        #[cfg(all(test, feature = "etcd"))]
        ASKED.with_borrow_mut(|asked| {
            asked.extend(self.known.iter().map(|key| (self.field.key.to_owned(), key.clone())));
        });
        for (node, name) in self.unknown() {
            let hint = suggest(name, self.known.iter().map(String::as_str));
            let message = format!("unknown key `{}`", name.escape_debug());
            self.field.reading.problem(self.field.document.problem(node, Complaint { message, hint }));
        }
    }
}

/// Its place: what it holds may be secret.
impl std::fmt::Debug for Section<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Section").field("place", &self.field.place()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T>(text: &str, read: impl FnOnce(&mut Section<'_>) -> T) -> (T, Vec<String>) {
        let environment = BTreeMap::from([
            ("WAIT".to_owned(), "2s".to_owned()),
            ("TOKEN".to_owned(), "hunter2".to_owned()),
            ("ETCDCTL_ENDPOINTS".to_owned(), "http://a:1".to_owned()),
        ]);
        let (value, problems) = Section::of_text(text, &environment, Path::new("/etc/lc"), read);
        (value.unwrap(), problems.iter().map(|problem| problem.to_string().replacen("text:", "", 1)).collect())
    }

    #[test]
    fn values_are_read_as_what_they_have_to_be() {
        let text = "
t: 1.10
list: [a, '${WAIT}']
one: x
rel: a/b
abs: /x
on: true
n: 128
wait: ${WAIT}
size: 8MiB
secret: ${TOKEN}
inner: {a: x}
none:
empty: {}
";
        let ((), problems) = read(text, |section| {
            assert_eq!(section.text("t").as_deref(), Some("1.10"));
            assert_eq!(section.texts("list").unwrap(), ["a", "2s"]);
            assert_eq!(section.texts("one").unwrap(), ["x"]);
            assert_eq!(section.path("rel").unwrap(), Path::new("/etc/lc/a/b"));
            assert_eq!(section.path("abs").unwrap(), Path::new("/x"));
            assert_eq!(section.flag("on"), Some(true));
            assert_eq!(section.integer("n"), Some(128));
            assert_eq!(section.duration("wait"), Some(Duration::from_secs(2)));
            assert_eq!(section.size("size"), Some(8 << 20));
            assert_eq!(section.secret("secret").unwrap().reveal(), "hunter2");
            assert_eq!(section.section("inner").unwrap().text("a").as_deref(), Some("x"));
            assert!(section.has("empty") && !section.has("none") && !section.has("absent"));
            assert_eq!(section.text("none"), None);
            assert_eq!(section.ecosystem("ETCDCTL_ENDPOINTS").as_deref(), Some("http://a:1"));
            assert_eq!(section.ecosystem("ETCDCTL_CACERT"), None);
        });
        assert_eq!(problems, [""; 0]);
    }

    #[test]
    fn what_is_wrong_is_noted_with_its_place() {
        let text = "
t: [a]
list: [a, [b], '${NONE}']
flag: yes
n: 0x10
wait: 5
size: 8M
path: ~/x
kind: blue
token: {a: b}
inner: x
inner2: {typo: 1}
wiat: 1s
";
        let ((), problems) = read(text, |section| {
            assert_eq!(section.text("t"), None);
            assert_eq!(section.texts("list"), None);
            assert_eq!(section.flag("flag"), None);
            assert_eq!(section.integer("n"), None);
            assert_eq!(section.duration("wait"), None);
            assert_eq!(section.size("size"), None);
            assert_eq!(section.path("path"), None);
            assert_eq!(section.choice("kind", &[("red", 1), ("green", 2), ("auto", 3)]), None);
            assert_eq!(section.secret("token"), None);
            assert!(section.section("inner").is_none());
            assert!(section.section("inner2").unwrap().text("type").is_none());
            section.problem("t", "too bad", Some("mend it".into()));
            section.problem("absent", "absent is bad", None);
        });
        let expected = [
            "2:1: absent is bad",
            "2:4: `t` takes text, found a list",
            "2:4: too bad (mend it)",
            "3:11: `list` takes a list of texts, found a list",
            "3:16: the variable `NONE` is not set (set it, give a default (`${NONE:-value}`), or write `$${NONE}` for \
             the text itself)",
            "4:7: `flag` takes `true` or `false`, found `yes`",
            "5:4: `n` takes a whole number, found `0x10`",
            "6:7: `wait` takes a duration such as `100ms`, `2s` or `1h30m`, found `5` (it needs a unit, such as `5s` \
             or `5ms`)",
            "7:7: `size` takes a size such as `64KiB` or `8MB`, found `8M` (write `8MB` for powers of 1000 or `8MiB` \
             for powers of 1024)",
            "8:7: `path` takes a path, found `~/x` (write `${HOME}` for `~`)",
            "9:7: `kind` takes `red`, `green` or `auto`, found `blue`",
            "10:8: `token` takes text, found a mapping",
            "11:8: `inner` takes a mapping, found `x`",
            "12:10: unknown key `typo` (did you mean `type`?)",
            "13:1: unknown key `wiat` (did you mean `wait`?)",
        ];
        assert_eq!(problems, expected);
    }

    #[test]
    fn what_a_variable_stands_for_is_not_told() {
        let ((), problems) = read("wait: ${TOKEN}x\nn: ${WAIT}", |section| {
            section.duration("wait");
            section.integer("n");
        });
        assert!(!problems.concat().contains("hunter2"), "{problems:?}");
        assert_eq!(problems[1], "2:4: `n` takes a whole number, found `${WAIT}`");
    }
}
