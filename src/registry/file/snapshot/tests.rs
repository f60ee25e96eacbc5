//! Snapshots give every answer again, whatever was asked and whatever is in it.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::registry::{
    Aside, Entry, LookupQuery, Names, NodeQuery, NodeServices, RecordType, ServiceName, Status, Text,
};

fn registry() -> Arc<str> {
    "main".into()
}

fn snapshot(answers: impl IntoIterator<Item = (Query, Data)>) -> Snapshot {
    let saved = |data| Saved { answer: Arc::new(Answer::new(data, 0)), earlier: None };
    Snapshot {
        registry: registry(),
        saved: SystemTime::UNIX_EPOCH + Duration::from_secs(1_777_777_777),
        answers: answers.into_iter().map(|(query, data)| (query, saved(data))).collect(),
        denied: BTreeSet::new(),
        targets: BTreeMap::new(),
    }
}

impl Snapshot {
    fn to_text(&self) -> String {
        let mut text = Vec::new();
        self.write(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    }
}

fn read_again(text: &str) -> Result<Snapshot, String> {
    Snapshot::read(FilePath::new("/state/main.json"), text.to_owned(), &registry())
}

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

fn key(name: &str, value: &str) -> (Query, Data) {
    (Query::Key(path(name)), Data::Key(Some(Text(value.to_owned().into()))))
}

fn instance(id: &str, port: u16, status: Status) -> Arc<Instance> {
    Arc::new(Instance {
        id: id.into(),
        name: "web".into(),
        node: "n".into(),
        address: "10.0.0.1".into(),
        port,
        tags: vec!["a".into()],
        meta: [("k".to_owned(), "1.10".to_owned())].into(),
        weight: 7,
        status,
        zone: "z".into(),
        registry: registry(),
        view: OnceLock::new(),
    })
}

fn service(query: ServiceQuery, instances: &[&Arc<Instance>]) -> (Query, Data) {
    (Query::Service(query), Data::Service(instances.iter().map(|instance| Arc::clone(instance)).collect()))
}

#[test]
fn what_a_file_can_say_stands_there_as_anybody_would_write_it() {
    let (a, b) = (instance("a", 80, Status::Passing), instance("b", 81, Status::Critical));
    let all = ServiceQuery { status: StatusFilter::All, ..ServiceQuery::passing("web") };
    let near = ServiceQuery { near: Some("n".into()), ..all.clone() };
    let entry = Entry::new("port", "app/port", Text("8080".into()));
    let snapshot = snapshot([
        (Query::Prefix(path("app")), Data::Prefix(vec![Arc::new(entry)])),
        key("services", "a key called so"),
        (Query::Key(path("none")), Data::Key(None)),
        service(ServiceQuery::passing("web"), &[&a]),
        service(all, &[&a, &b]),
        service(near, &[&b, &a]),
        service(ServiceQuery::passing("gone"), &[]),
    ]);
    let text = snapshot.to_text();
    assert_eq!(
        text,
        r#"{
"./snapshot": {"version": 1, "registry": "main", "saved": "2026-05-03T03:09:37Z", "answers": [
{"query":{"key":"none"}},
{"query":{"key":"services"}},
{"query":{"prefix":"app"}},
{"query":{"service":{"name":"gone"}}},
{"query":{"service":{"name":"web","status":["any"]}}},
{"query":{"service":{"name":"web","status":["any"],"near":"n"}},"answer":{"instances":[{"id":"b","node":"n","address":"10.0.0.1","port":81,"tags":["a"],"meta":{"k":"1.10"},"weight":7,"status":"critical","zone":"z"},{"id":"a","node":"n","address":"10.0.0.1","port":80,"tags":["a"],"meta":{"k":"1.10"},"weight":7,"zone":"z"}]}},
{"query":{"service":{"name":"web"}}}]},
"app/port": "8080",
"/services": "a key called so",
"services": {
"gone": [],
"web": [{"id":"a","node":"n","address":"10.0.0.1","port":80,"tags":["a"],"meta":{"k":"1.10"},"weight":7,"zone":"z"},{"id":"b","node":"n","address":"10.0.0.1","port":81,"tags":["a"],"meta":{"k":"1.10"},"weight":7,"status":"critical","zone":"z"}]}
}
"#
    );
    assert_eq!(read_again(&text), Ok(snapshot));
}

#[test]
fn people_read_it_as_yaml() {
    let all = ServiceQuery { status: StatusFilter::All, ..ServiceQuery::passing("web") };
    let near = ServiceQuery { near: Some("n".into()), ..all.clone() };
    let (a, b) = (instance("a", 80, Status::Passing), instance("b", 81, Status::Critical));
    let mut snapshot = snapshot([
        key("app/motd", "hello\nworld\n"),
        key("app/port", "8080"),
        service(all, &[&a, &b]),
        service(near, &[&b]),
        service(ServiceQuery::passing("gone"), &[]),
    ]);
    snapshot.denied.insert(Query::Key(path("locked")));
    let text = snapshot.to_yaml(0);
    assert_eq!(
        text,
        r#"app/motd: |
  hello
  world
app/port: "8080"
services:
  gone: []
  web:
    - {id: a, node: "n", address: 10.0.0.1, port: 80, tags: [a], meta: {k: "1.10"}, weight: 7, zone: z}
    - {id: b, node: "n", address: 10.0.0.1, port: 81, tags: [a], meta: {k: "1.10"}, weight: 7, status: critical, zone: z}
./snapshot:
  version: 1
  registry: main
  saved: "2026-05-03T03:09:37Z"
  answers:
    - {query: {key: app/motd}}
    - {query: {key: app/port}}
    - {query: {service: {name: gone}}}
    - {query: {service: {name: web, status: [any]}}}
    - {query: {service: {name: web, status: [any], near: "n"}}, answer: {instances: [{id: b, node: "n", address: 10.0.0.1, port: 81, tags: [a], meta: {k: "1.10"}, weight: 7, status: critical, zone: z}]}}
    - {query: {key: locked}, denied: true}
"#
    );
    assert_eq!(Snapshot::read(FilePath::new("a.yaml"), text, &registry()), Ok(snapshot));
}

#[test]
fn a_snapshot_is_a_file_registry() {
    let by_distance = ServiceQuery { near: Some("n".into()), ..ServiceQuery::passing("web") };
    let (a, b) = (instance("a", 80, Status::Passing), instance("b", 81, Status::Passing));
    let snapshot = snapshot([
        key("app/a", "1"),
        service(ServiceQuery::passing("web"), &[&a, &b]),
        service(by_distance.clone(), &[&b, &a]),
        (Query::Key(path("bytes")), Data::Key(Some(Text(vec![0xff, 0].into())))),
    ]);
    let content = read(FilePath::new("a.json"), snapshot.to_text(), &registry()).unwrap();
    for (query, saved) in &snapshot.answers {
        assert_eq!(content.answer(query, &[]), saved.answer.data, "{query}");
    }
    // What was not asked is not there.
    assert_eq!(content.answer(&Query::Key(path("app/b")), &[]), Data::Key(None));
}

#[test]
fn what_is_none_is_told_without_a_value() {
    let good = snapshot([key("app/a", "hunter2"), key("app/b", "\u{0}")]).to_text();
    for (text, reason) in [
        (good[..good.len() / 2].to_owned(), "/state/main.json:"),
        ("{}".to_owned(), "there is no `./snapshot`"),
        (String::new(), "the file is empty"),
        (good.replace("\"main\"", "\"other\""), "it is of another registry, `other`"),
        (good.replace("\"version\": 1", "\"version\": 2"), "is of version 2, and this program reads version 1"),
        (good.replace("\"version\": 1", "\"version\": \"hunter2\""), "is not as this version writes it"),
        (good.replace("{\"key\":\"app/a\"}", "{\"color\":\"hunter2\"}"), "is not as this version writes it"),
        (good.replace("{\"key\":\"app/a\"}", "{\"key\":\"../hunter2\"}"), "is not as this version writes it"),
        (good.replace("{\"key\":\"app/a\"}}", "{\"key\":\"app/a\"},\"answer\":{\"exists\":true}}"), "is not as"),
    ] {
        let error = read_again(&text).unwrap_err();
        assert!(error.contains(reason) && error.starts_with("/state/main.json"), "{error}\n{text}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    let later = good.replace("\"version\": 1", "\"version\": 1, \"later\": [{\"a\": 1}]");
    assert_eq!(read_again(&later), read_again(&good), "what a later version adds is ignored");
}

/// Names and values as somebody hostile would choose them.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ab]{0,2}",
        "[ab/.]{0,4}",
        Just("services".to_owned()),
        Just("nodes".to_owned()),
        Just("./snapshot".to_owned()),
        "\\PC{0,3}",
        "[\u{0}-\u{1f}\"\\\\\u{7f}]{0,3}",
    ]
}

fn any_path() -> impl Strategy<Value = Path> {
    text().prop_filter_map("no path", |text| Path::parse(&text).ok())
}

fn bytes() -> impl Strategy<Value = Text> {
    prop_oneof![3 => text().prop_map(|text| Text(text.into())), 1 => vec(any::<u8>(), 0..3).prop_map(|bytes| Text(bytes.into()))]
}

fn any_status() -> impl Strategy<Value = Status> {
    prop::sample::select(Status::NAMES.map(|(_, status)| status).to_vec())
}

fn any_instance(service: String) -> impl Strategy<Value = Arc<Instance>> {
    let name = prop_oneof![3 => Just(service), 1 => text()];
    let address = prop_oneof![Just("10.0.0.1".to_owned()), Just("::1".to_owned()), text()];
    let own = (text(), name, text(), address, any::<u16>());
    let more =
        (vec(text(), 0..3), btree_map(text(), text(), 0..2), prop_oneof![Just(1), any::<i64>()], any_status(), text());
    (own, more).prop_map(|((id, name, node, address, port), (tags, meta, weight, status, zone))| {
        let (registry, view) = (registry(), OnceLock::new());
        Arc::new(Instance { id, name, node, address, port, tags, meta, weight, status, zone, registry, view })
    })
}

fn any_service() -> impl Strategy<Value = (Query, Data)> {
    let status = prop_oneof![
        Just(StatusFilter::All),
        Just(StatusFilter::Any([Status::Passing].into())),
        btree_set(any_status(), 0..4).prop_map(StatusFilter::Any),
    ];
    let rare = || option::weighted(0.2, text());
    let few = prop_oneof![3 => Just(BTreeSet::new()), 1 => btree_set(text(), 0..2)];
    (prop_oneof![Just("web".to_owned()), text()], few, status, rare(), rare(), rare()).prop_flat_map(
        |(name, tags, status, near, datacenter, filter)| {
            let query =
                ServiceQuery { name: name.clone(), tags, status, near, datacenter, filter, computed: Aside::default() };
            (Just(Query::Service(query)), vec(any_instance(name), 0..4).prop_map(Data::Service))
        },
    )
}

fn any_node() -> impl Strategy<Value = Node> {
    (text(), text(), btree_map(text(), text(), 0..2), text()).prop_map(|(name, address, meta, datacenter)| Node {
        name,
        address,
        meta,
        datacenter,
    })
}

fn any_node_with_services() -> impl Strategy<Value = (Query, Data)> {
    let query = (text(), option::of(text()))
        .prop_map(|(name, datacenter)| Query::Node(NodeQuery { datacenter, ..NodeQuery::named(name) }));
    let services = vec(text().prop_flat_map(any_instance).boxed(), 0..3);
    let found = (any_node(), services).prop_map(|(node, services)| NodeServices { node, services });
    (query, option::of(found.boxed()).prop_map(Data::Node))
}

fn any_lookup() -> impl Strategy<Value = (Query, Data)> {
    let lookup = |record| move |name: String| Query::Lookup(LookupQuery { record, ..LookupQuery::addresses(name) });
    prop_oneof![
        (text().prop_map(lookup(RecordType::A)), vec(text(), 0..3).prop_map(Data::Records)),
        (
            text().prop_map(lookup(RecordType::Srv)),
            vec(text().prop_flat_map(any_instance), 0..3).prop_map(Data::Service)
        ),
    ]
}

/// A query with an answer that may be its own; that it belongs to the same moment as others is not said.
fn any_answer() -> impl Strategy<Value = (Query, Data)> {
    let entry =
        (text(), any_path(), bytes()).prop_map(|(key, path, value)| Arc::new(Entry::new(key, path.as_str(), value)));
    let named = (text(), vec(text(), 0..2)).prop_map(|(name, tags)| ServiceName { name, tags });
    let listing =
        (vec(text(), 0..3), vec(text(), 0..3)).prop_map(|(keys, folders)| Data::Listing(Names { keys, folders }));
    prop_oneof![
        2 => (any_path().prop_map(Query::Key), option::of(bytes()).prop_map(Data::Key)).boxed(),
        1 => (any_path().prop_map(Query::Exists), any::<bool>().prop_map(Data::Exists)).boxed(),
        2 => (any_path().prop_map(Query::Prefix), vec(entry, 0..4).prop_map(Data::Prefix)).boxed(),
        1 => (any_path().prop_map(Query::Listing), listing).boxed(),
        1 => (option::of(text()).prop_map(|tag| Query::Services { tag }), vec(named, 0..3).prop_map(Data::Services)).boxed(),
        1 => (
            option::of(text()).prop_map(|datacenter| Query::Nodes { datacenter }),
            vec(any_node(), 0..3).prop_map(Data::Nodes)
        )
            .boxed(),
        1 => any_node_with_services().boxed(),
        1 => any_lookup().boxed(),
        1 => (Just(Query::Datacenters), vec(text(), 0..3).prop_map(Data::Datacenters)).boxed(),
        4 => any_service().boxed(),
    ]
}

proptest! {
    #[test]
    fn every_answer_comes_back(
        answers in vec((any_answer(), option::weighted(0.1, 0..2_000_000_000_u64)), 0..12),
        targets in btree_map(text(), vec(any_answer(), 1..3), 0..3),
    ) {
        let mut snapshot = snapshot([]);
        for ((query, data), earlier) in answers {
            let earlier = earlier.map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
            snapshot.answers.insert(query, Saved { answer: Arc::new(Answer::new(data, 0)), earlier });
        }
        for (target, answers) in targets {
            let answers = answers.into_iter().map(|(query, data)| (query, Arc::new(Answer::new(data, 0))));
            snapshot.targets.insert(target.into(), answers.collect());
        }
        let text = snapshot.to_text();
        let again = read_again(&text);
        prop_assert_eq!(again.as_ref(), Ok(&snapshot), "{}", text);

        // The form for people has nothing about single targets and moments.
        snapshot.targets.clear();
        snapshot.answers.values_mut().for_each(|saved| saved.earlier = None);
        let text = snapshot.to_yaml(0);
        let again = Snapshot::read(FilePath::new("main.yaml"), text.clone(), &registry());
        prop_assert_eq!(again.as_ref(), Ok(&snapshot), "{}", text);
    }
}
