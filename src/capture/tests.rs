//! What is captured, and what stands in for what is secret.

use super::*;
use crate::registry::{Aside, NodeQuery, ServiceQuery, Status};

/// Nothing of it only names files.
static NONE: BTreeSet<Asked> = BTreeSet::new();

fn asked(query: Query) -> Asked {
    Asked { registry: "main".into(), query }
}

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

fn key(text: &str) -> Asked {
    asked(Query::Key(path(text)))
}

fn folder(text: &str) -> Asked {
    asked(Query::Prefix(path(text)))
}

const KEYS: [&str; 4] = ["app/db/host", "app/db/pass", "app/name", "other"];

/// Every key has the value `V` and its own name, which no stand-in has.
fn view() -> View {
    let value = |key: &str| Text(format!("V={key}").into());
    let data = |asked: &Asked| match &asked.query {
        Query::Key(path) => Data::Key(KEYS.contains(&path.as_str()).then(|| value(path.as_str()))),
        Query::Prefix(folder) => {
            let entry = |key: &&str| Some(Arc::new(Entry::new(folder.relative(key)?, *key, value(key))));
            Data::Prefix(KEYS.iter().filter_map(entry).collect())
        }
        _ => panic!("{asked}"),
    };
    let all = KEYS.iter().map(|name| key(name)).chain(["", "app", "app/db", "other"].map(folder));
    View::of(all.map(|asked| (asked.clone(), Answer::new(data(&asked), 1))))
}

/// The keys whose values were replaced.
fn replaced(secret: &[Asked], open: &[Asked]) -> String {
    let (secret, open) = (secret.iter().cloned().collect(), open.iter().cloned().collect());
    let reads = [
        Reads { asked: &secret, named_by: &NONE, secret: true },
        Reads { asked: &open, named_by: &NONE, secret: false },
    ];
    let capture = Capture::of(["main".into()], &reads, [], &view(), false);
    for text in [capture.to_yaml(), capture.to_json()] {
        for key in capture.replaced.values().flatten() {
            assert!(!text.contains(&format!("V={key}")), "{text}");
        }
        capture.read_again(FilePath::new("a.yaml"), text).unwrap();
    }
    let whole = Capture::of(["main".into()], &reads, [], &view(), true);
    assert!(whole.replaced.is_empty());
    capture.replaced.values().flatten().map(String::as_str).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_narrowest_question_decides_what_is_secret() {
    assert_eq!(replaced(&[key("app/db/pass")], &[]), "app/db/pass");
    assert_eq!(replaced(&[], &[folder("app")]), "");
    assert_eq!(replaced(&[key("app/db/pass")], &[folder("app")]), "app/db/pass");
    assert_eq!(replaced(&[key("app/db/pass")], &[key("app/db/pass")]), "");
    assert_eq!(replaced(&[folder("app/db")], &[folder("app")]), "app/db/host app/db/pass");
    assert_eq!(replaced(&[folder("app/db")], &[folder("app/db")]), "");
    assert_eq!(replaced(&[folder("app")], &[folder("app/db")]), "app/name");
    assert_eq!(replaced(&[folder("app/db")], &[key("app/db/host"), folder("")]), "app/db/pass");
}

#[test]
fn a_question_that_holds_a_secret_is_left_out() {
    let computed = asked(Query::Key(path("users/hunter2").showing(|segment| segment != "hunter2")));
    let (secret, open) = ([computed.clone()].into(), [computed].into());
    let capture = |reads: &[Reads<'_>], with| Capture::of(["main".into()], reads, [], &View::default(), with);
    let alone = [Reads { asked: &secret, named_by: &NONE, secret: true }];
    assert_eq!((capture(&alone, false).left_out, capture(&alone, false).len()), (1, 0));
    assert_eq!((capture(&alone, true).left_out, capture(&alone, true).len()), (0, 1));
    let shared = [alone[0], Reads { asked: &open, named_by: &NONE, secret: false }];
    assert_eq!(capture(&shared, false).left_out, 0);
}

#[test]
fn several_registries_stand_in_one_file() {
    let asks: BTreeSet<Asked> =
        ["one", "two"].map(|name| Asked { registry: name.into(), query: key("other").query }).into();
    let answers = asks.iter().map(|asked| {
        let value = Text(format!("of {}", asked.registry).into());
        (asked.clone(), Answer::new(Data::Key(Some(value)), 1))
    });
    let view = View::of(answers);
    let reads = [Reads { asked: &asks, named_by: &NONE, secret: false }];
    let capture = Capture::of(["one", "two", "unasked"].map(Into::into), &reads, [], &view, false);
    for (name, text) in [("a.yaml", capture.to_yaml()), ("a.json", capture.to_json())] {
        let fixture = capture.read_again(FilePath::new(name), text).unwrap();
        for name in ["one", "two"] {
            let value = Text(format!("of {name}").into());
            assert_eq!(fixture.answer(name, &key("other").query), Some(Data::Key(Some(value))));
        }
        assert_eq!(fixture.answer("unasked", &key("other").query), None);
    }
}

/// What anybody put into the metadata of an instance, or behind the `=` of a tag, may be what makes a template secret. Tags
/// that are names, and those that a question names, are what instances are chosen by.
#[test]
fn metadata_and_tags_that_only_secret_templates_ask_for_have_stand_ins() {
    let query = Query::Service(ServiceQuery { tags: ["tier=one".into()].into(), ..ServiceQuery::passing("db") });
    let asked = Asked { registry: "main".into(), query };
    let instance = Instance {
        id: "db-1".into(),
        name: "db".into(),
        node: "n1".into(),
        address: "10.0.0.1".into(),
        port: 5432,
        tags: ["basic=CANARY:x", "primary", "tier=one", "weight=25"].map(str::to_owned).into(),
        meta: BTreeMap::from([("password".into(), "CANARY".into())]),
        weight: 1,
        status: Status::Passing,
        zone: String::new(),
        registry: "main".into(),
        view: OnceLock::new(),
    };
    let view = View::of([(asked.clone(), Answer::new(Data::Service(vec![Arc::new(instance)]), 1))]);
    let asks = [asked].into();
    for (secret, is_shown) in [(true, false), (false, true)] {
        let capture =
            Capture::of(["main".into()], &[Reads { asked: &asks, named_by: &NONE, secret }], [], &view, false);
        for text in [capture.to_yaml(), capture.to_json()] {
            assert_eq!(text.contains("CANARY"), is_shown, "{text}");
            assert!(text.contains("password") && text.contains("10.0.0.1"), "{text}");
            for tag in ["primary", "tier=one", if secret { "weight=11" } else { "weight=25" }] {
                assert!(text.contains(tag), "{tag}: {text}");
            }
            assert_eq!(text.contains("basic=stand-in-db-basic"), secret, "{text}");
            capture.read_again(FilePath::new("a.yaml"), text).unwrap();
        }
    }
}

#[test]
fn metadata_of_nodes_that_only_secret_templates_ask_for_has_stand_ins() {
    let node = |name: &str| Node {
        name: name.to_owned(),
        address: "10.0.0.1".to_owned(),
        meta: [("password".to_owned(), "CANARY".to_owned())].into(),
        datacenter: "dc1".to_owned(),
    };
    let nodes = asked(Query::Nodes { datacenter: None });
    let one = NodeQuery { name: "db-1".to_owned(), datacenter: None, computed: Aside::default() };
    let one = asked(Query::Node(one));
    let services = NodeServices { node: node("db-1"), services: Vec::new() };
    let answers =
        [(nodes.clone(), Data::Nodes(vec![node("db-1"), node("db-2")])), (one.clone(), Data::Node(Some(services)))];
    let view = View::of(answers.map(|(asked, data)| (asked, Answer::new(data, 1))));
    let all = [&nodes, &one];
    // Which of them a template asks that is not secret.
    for (open, canaries) in [(&all[..0], 0), (&all[..1], 2), (&all[1..], 1), (&all[..], 3)] {
        let (secret, open) = (all.map(Clone::clone).into(), open.iter().map(|&asked| asked.clone()).collect());
        let reads = [
            Reads { asked: &secret, named_by: &NONE, secret: true },
            Reads { asked: &open, named_by: &NONE, secret: false },
        ];
        let capture = Capture::of(["main".into()], &reads, [], &view, false);
        for text in [capture.to_yaml(), capture.to_json()] {
            // An answer that is the same as that of the fixture stands there once.
            let found = text.matches("CANARY").count();
            assert!(found <= canaries && (found == 0) == (canaries == 0), "{canaries}: {text}");
            assert!(text.contains("password") && text.contains("10.0.0.1"), "{text}");
            capture.read_again(FilePath::new("a.yaml"), text).unwrap();
        }
        let replaced: Vec<_> = capture.replaced.values().flatten().map(String::as_str).collect();
        let expected: &[&str] = match canaries {
            0 | 1 => &["db-1/password", "db-2/password"],
            2 => &["db-1/password"],
            _ => &[],
        };
        assert_eq!(replaced, expected);
    }
}

#[test]
fn a_question_of_words_that_are_known_is_captured() {
    let value = |text: &str| Data::Key(Some(Text(text.to_owned().into())));
    let computed = |text: &str, hidden: &str| asked(Query::Key(path(text).showing(|segment| segment != hidden)));
    // What a template that is not secret shows, and what only names files.
    let (shown, names) = (key("shown"), key("tenants"));
    let of_shown = computed("of/blue/pass", "blue");
    let of_name = computed("of/acme.com/pass", "acme.com");
    let of_secret = computed("of/hunter2/pass", "hunter2");
    let holds = key("holds");
    let answers = [
        (&shown, value("green, blue")),
        (&names, value("acme.com b")),
        (&holds, value("hunter2")),
        (&of_shown, value("V1")),
        (&of_name, value("V2")),
        (&of_secret, value("V3")),
    ];
    let view = View::of(answers.map(|(asked, data)| (asked.clone(), Answer::new(data, 1))));
    let open = [shown].into();
    let named_by = [names.clone()].into();
    let secret = [names.clone(), holds.clone(), of_shown.clone(), of_name.clone(), of_secret.clone()].into();
    let reads = [
        Reads { asked: &open, named_by: &NONE, secret: false },
        Reads { asked: &secret, named_by: &named_by, secret: true },
    ];
    let capture = Capture::of(["main".into()], &reads, ["acme.com", "b"], &view, false);
    let text = capture.to_yaml();
    assert_eq!(capture.left_out, 1, "{text}");
    for (part, is_there) in [("of/blue/pass", true), ("of/acme.com/pass", true), ("hunter2", false), ("V1", false)] {
        assert_eq!(text.contains(part), is_there, "{part}: {text}");
    }
    assert!(text.contains("acme.com b"), "it only names files: {text}");
    // A word that no file has the name of may be anything.
    let capture = Capture::of(["main".into()], &reads, ["acme.com"], &view, false);
    assert!(!capture.to_yaml().contains("acme.com b"), "{}", capture.to_yaml());
    // What a template shows is its secret whatever files are called.
    let reads = [reads[0], Reads { named_by: &NONE, ..reads[1] }];
    let capture = Capture::of(["main".into()], &reads, ["acme.com", "b"], &view, false);
    assert!(!capture.to_yaml().contains("acme.com b"), "{}", capture.to_yaml());
}
