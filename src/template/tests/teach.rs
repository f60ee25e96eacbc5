//! What an error of a render says of something misspelt: what there is, and what may be meant.

use super::*;
use crate::registry::UnknownService;

/// A registry with keys, services and instances in the view.
fn bench() -> Bench {
    let mut one = instance("w1", "10.0.0.1", 80);
    one.meta = BTreeMap::from([("weight".into(), "hunter2".into()), ("version".into(), "hunter2".into())]);
    let listed = |name: &str| ServiceName { name: name.into(), tags: Vec::new() };
    let mut bench = Bench::new();
    bench.environment.variables = BTreeMap::from([("HOME".into(), "hunter2".into())]);
    let unknown = Answer { unknown: Some(UnknownService::default()), ..Answer::new(Data::Service(Vec::new()), 1) };
    bench
        .answers
        .push((Asked { registry: "main".into(), query: Query::Service(ServiceQuery::passing("wbe")) }, unknown));
    bench
        .prefix("app", &[("name", "hunter2"), ("port", "hunter2"), ("db/host", "hunter2"), ("db/port", "hunter2")])
        .no_key("app/nmae")
        .no_key("app/db/prot")
        .no_key("ap/name")
        .no_key("other/name")
        .no_key("app/db")
        .key("settings", r#"{"lisetn": "hunter2", "": 1, "a\nb": 2}"#)
        .key("text", "hunter2")
        .service("web", vec![one])
        .answer(Query::Services { tag: None }, Data::Services(vec![listed("web"), listed("mail")]))
        .prefix("apq", &[])
}

/// What an error says below its first line and its source, with its message before that.
fn said(error: &TemplateError) -> String {
    let shown = error.to_string();
    let below = shown.lines().skip(1).filter_map(|line| line.trim_start().strip_prefix("= "));
    let place = format!("{}:{}: {}", error.line, error.column, error.message);
    std::iter::once(place.as_str()).chain(below).collect::<Vec<_>>().join("\n")
}

/// Every row whose error says something else.
fn check(rows: &[(&str, &str)]) {
    let mut wrong = Vec::new();
    for (source, expected) in rows {
        let error = said(&bench().error(source));
        assert!(!error.contains("hunter2"), "{source}\n{error}");
        if error != *expected {
            wrong.push(format!("{source}\n{error}\n--- but expected\n{expected}\n\n"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.concat());
}

#[test]
fn keys() {
    check(&[
        (
            "{{ prefix(path=\"app\") | length }}{{ key(path=\"app/nmae\") }}",
            "1:37: what stands here is undefined; not there: key `app/nmae` from registry `main`\n\
             `app` holds `name`, `db/`, `port`\n\
             hint: did you mean `app/name`?",
        ),
        (
            "{{ key(path=\"app/db/prot\", required=true) }}",
            "1:4: key `app/db/prot` from registry `main` is not there, and it is required\n\
             `app/db` holds `port`, `host`\n\
             hint: did you mean `app/db/port`?",
        ),
        (
            "{% set name = key(path=\"ap/name\") %}\nserver {{ name }};",
            "2:11: variable `name` exists but its value is undefined; not there: key `ap/name` from registry `main`\n\
             known in the registry: `app/`, `settings`, `text`\n\
             hint: did you mean `app/name`?",
        ),
        (
            "{{ key(path=\"other/name\") }}",
            "1:4: what stands here is undefined; not there: key `other/name` from registry `main`\n\
             known in the registry: `text`, `settings`, `app/`\n\
             hint: give `default=`, or ask with `if` before using it; `prefix`, `tree` and `ls` give what is in a folder",
        ),
        (
            "{{ key(path=\"app/db\") }}",
            "1:4: what stands here is undefined; not there: key `app/db` from registry `main`\n\
             `app/db` holds `host`, `port`\n\
             hint: `app/db` is a folder: `prefix`, `tree` and `ls` give what is in a folder",
        ),
        (
            "{{ prefix(path=\"apq\", min=1) | length }}",
            "1:4: prefix `apq` from registry `main` has 0 entries, and `min=1` is wanted\n\
             known in the registry: `app/`, `settings`, `text`\n\
             hint: did you mean `app`?",
        ),
        (
            "{{ service(name=\"wbe\", min=1) | length }}",
            "1:4: service `wbe` from registry `main` has 0 entries, and `min=1` is wanted\n\
             services: `web`, `mail`\n\
             hint: did you mean `web`?",
        ),
        (
            "{{ env(name=\"HOEM\") }}",
            "1:4: what stands here is undefined; not there: variable `HOEM`\n\
             hint: did you mean `HOME`?",
        ),
    ]);
}

#[test]
fn variables() {
    check(&[
        (
            "{% for service in service(name=\"web\") %}\n  {{ sevrice.port }}\n{% endfor %}",
            "2:6: variable `sevrice` is not defined\n\
             in scope: `service`\n\
             hint: did you mean `service`?",
        ),
        (
            "{% set address = 1 %}{{ adress | int }}",
            "1:25: variable `adress` is not defined\n\
             in scope: `address`\n\
             hint: did you mean `address`?",
        ),
        (
            "{% set address = 1 %}{{ \"http://\" ~ adress }}",
            "1:37: variable `adress` is not defined\n\
             in scope: `address`\n\
             hint: did you mean `address`?",
        ),
        (
            "{% set names = [1] %}{% for x in nmaes %}{% endfor %}",
            "1:34: variable `nmaes` is not defined\n\
             in scope: `names`\n\
             hint: did you mean `names`?",
        ),
        ("{{ [nmae for name in [1]] | join }}", "1:29: item 1 of the list for `join` is undefined"),
        (
            "{{ [nmae ~ 1 for name in [1]] }}",
            "1:5: variable `nmae` is not defined\n\
             in scope: `name`\n\
             hint: did you mean `name`?",
        ),
        (
            "{{ none_such | default(value=nothing.at_all) | upper }}",
            "1:30: variable `nothing` is not defined\n\
             nothing is in scope here",
        ),
        (
            "{{ key(path=pth) }}",
            "1:13: variable `pth` is not defined\n\
             nothing is in scope here\n\
             hint: a key is read with `key(path=\"pth\")`",
        ),
        (
            "{% set path = \"a\" %}{{ key(path=\"app/\" ~ pth, default=nothing) }}",
            "1:42: variable `pth` is not defined\n\
             in scope: `path`\n\
             hint: did you mean `path`?",
        ),
        (
            "{% set n = 1 %}{{ n + m }}",
            "1:23: variable `m` is not defined\n\
             in scope: `n`\n\
             hint: a key is read with `key(path=\"m\")`",
        ),
        (
            "{% if m > 1 %}{% endif %}",
            "1:7: variable `m` is not defined\n\
             nothing is in scope here\n\
             hint: a key is read with `key(path=\"m\")`",
        ),
        (
            "{{ services }}",
            "1:4: variable `services` is not defined\n\
             nothing is in scope here\n\
             hint: `services` is a function: `services([tag=])`",
        ),
        (
            "{% component c(servers, name = \"\") %}{{ srevers }}{% endcomponent %}{% set outer = 1 %}\n{{ <c servers=\"\" /> }}",
            "1:41: variable `srevers` is not defined\n\
             called from test.conf:2:4\n\
             in scope: `servers`, `name`\n\
             hint: did you mean `servers`?",
        ),
        (
            "{{ <nginx.upstream name=\"a\" servers={sevrers} /> }}",
            "1:38: variable `sevrers` is not defined\n\
             nothing is in scope here\n\
             hint: a key is read with `key(path=\"sevrers\")`",
        ),
    ]);
}

#[test]
fn fields() {
    check(&[
        (
            "{% for i in service(name=\"web\") %}{{ i.adress }}{% endfor %}",
            "1:40: field `adress` is not defined\n\
             `i` has `address`, `registry`, `name`, `node`, `tags`, `id`, `status`, `meta`, `port`, `zone`, `weight`, `endpoint`\n\
             hint: did you mean `address`?",
        ),
        (
            "{% for i in service(name=\"web\") %}{{ i.adress | upper }}{% endfor %}",
            "1:40: field `adress` is not defined\n\
             `i` has `address`, `registry`, `name`, `node`, `tags`, `id`, `status`, `meta`, `port`, `zone`, `weight`, `endpoint`\n\
             hint: did you mean `address`?",
        ),
        (
            "{% for i in service(name=\"web\") %}{{ i.meta.wieght }}{% endfor %}",
            "1:45: field `wieght` is not defined\n\
             `i` is instance `w1` of service `web` on node `n1`, registry `main`; `i.meta` has `weight`, `version`\n\
             hint: did you mean `weight`?",
        ),
        (
            "{% for i in service(name=\"web\") %}{{ i[\"meta\"][\"wieght\"] | int }}{% endfor %}",
            "1:48: field `wieght` is not defined\n\
             `i` is instance `w1` of service `web` on node `n1`, registry `main`; `i[\"meta\"]` has `weight`, `version`\n\
             hint: did you mean `weight`?",
        ),
        (
            "{% for i in service(name=\"web\") %}{{ i.version }}{% endfor %}",
            "1:40: field `version` is not defined\n\
             `i` has `endpoint`, `weight`, `address`, `registry`, `meta`, `name`, `node`, `port`, `tags`, `zone`, `status`, `id`\n\
             hint: did you mean `meta.version`?",
        ),
        (
            "{% for i in service(name=\"web\") %}{{ i.port.number }}{% endfor %}",
            "1:45: field `number` is not defined\n\
             `i` is instance `w1` of service `web` on node `n1`, registry `main`; `i.port` is a number, which has no fields",
        ),
        (
            "{{ [i.adress | upper for i in service(name=\"web\")] }}",
            "1:7: field `adress` is not defined\n\
             `i` has `address`, `registry`, `name`, `node`, `tags`, `id`, `status`, `meta`, `port`, `zone`, `weight`, `endpoint`\n\
             hint: did you mean `address`?",
        ),
        (
            "{{ [1 for x in [1] if x.a < 2] }}",
            "1:25: field `a` is not defined\n\
             `x` is a number, which has no fields",
        ),
        (
            "{% set s = key(path=\"settings\") | from_json %}{{ s.listen }}",
            "1:52: field `listen` is not defined\n\
             `s` has `lisetn`, `\"\"`, `a\\nb`\n\
             hint: did you mean `lisetn`?",
        ),
        (
            "{% set s = key(path=\"settings\") %}{{ s.listen }}",
            "1:40: field `listen` is not defined\n\
             `s` is text, which has no fields\n\
             hint: `from_json` and its like make a map of a text",
        ),
        (
            "{% set s = service(name=\"web\") %}{{ s.address }}",
            "1:39: field `address` is not defined\n\
             `s` is a list, whose items may have fields\n\
             hint: `{% for %}` goes through a list; `first`, `last` and `nth` give one of its items",
        ),
        (
            "{% set s = service(name=\"web\") | first %}{{ s.meta[\"vresion\"] ~ \"x\" }}",
            "1:52: field `vresion` is not defined\n\
             `s` is instance `w1` of service `web` on node `n1`, registry `main`; `s.meta` has `version`, `weight`\n\
             hint: did you mean `version`?",
        ),
        (
            "{% set t = tree(path=\"app\") %}{{ t.db.hots.first | upper }}",
            "1:39: field `hots` is not defined\n\
             `t.db` has `host`, `port`\n\
             hint: did you mean `host`?",
        ),
        (
            "{% for e in prefix(path=\"app\") %}{% set_global x = e.vlaue[0] %}{% endfor %}",
            "1:54: field `vlaue` is not defined\n\
             `e` has `value`, `path`, `key`\n\
             hint: did you mean `value`?",
        ),
    ]);
}

#[test]
fn attributes() {
    let of = |filter: &str| format!("{{{{ service(name=\"web\") | {filter} }}}}");
    let rows: Vec<(String, &str)> = vec![
        (
            of("map(attribute=\"nmae\")"),
            "1:26: item 1 of the list for `map` does not have the attribute `nmae`\n\
             it has `name`, `node`, `meta`, `address`, `tags`, `zone`, `status`, `weight`, `registry`, `endpoint`, `id`, `port`\n\
             hint: did you mean `name`?",
        ),
        (
            of("map(attribute=\"meta.wieght\")"),
            "1:26: item 1 of the list for `map` (instance `w1` of service `web` on node `n1`, registry `main`) does not have the attribute `meta.wieght`\n\
             it has `meta.weight`, `meta.version`\n\
             hint: did you mean `meta.weight`?",
        ),
        (
            of("map(attribute=\"version\")"),
            "1:26: item 1 of the list for `map` does not have the attribute `version`\n\
             it has `endpoint`, `weight`, `address`, `registry`, `meta`, `name`, `node`, `port`, `tags`, `zone`, `status`, `id`\n\
             hint: did you mean `meta.version`?",
        ),
        (
            of("sort(attribute=\"prot\")"),
            "1:26: item 1 of the list for `sort` does not have the attribute `prot`\n\
             it has `port`, `endpoint`, `registry`, `meta`, `node`, `zone`, `status`, `weight`, `address`, `id`, `name`, `tags`\n\
             hint: did you mean `port`?",
        ),
        (
            of("sort_by(attribute=[\"zone\", \"prot\"])"),
            "1:26: item 1 of the list for `sort_by` does not have the attribute `prot`\n\
             it has `port`, `endpoint`, `registry`, `meta`, `node`, `zone`, `status`, `weight`, `address`, `id`, `name`, `tags`\n\
             hint: did you mean `port`?",
        ),
        (
            of("group_by(attribute=\"zon\")"),
            "1:26: item 1 of the list for `group_by` does not have the attribute `zon`\n\
             it has `zone`, `node`, `port`, `endpoint`, `address`, `id`, `meta`, `name`, `registry`, `status`, `tags`, `weight`\n\
             hint: did you mean `zone`?",
        ),
        (
            of("where(attribute=\"statuss\", value=\"passing\")"),
            "1:26: `attribute` of `where` names no field of an instance\n\
             it has `status`, `tags`, `address`, `meta`, `name`, `port`, `weight`, `registry`, `endpoint`, `id`, `node`, `zone`\n\
             hint: did you mean `status`?",
        ),
        (
            of("unique_by(attribute=\"adress\")"),
            "1:26: item 1 of the list for `unique_by` does not have the attribute `adress`\n\
             it has `address`, `registry`, `name`, `node`, `tags`, `id`, `status`, `meta`, `port`, `zone`, `weight`, `endpoint`\n\
             hint: did you mean `address`?",
        ),
        (
            of("natural_sort(attribute=\"adress\")"),
            "1:26: item 1 of the list for `natural_sort` does not have the attribute `adress`\n\
             it has `address`, `registry`, `name`, `node`, `tags`, `id`, `status`, `meta`, `port`, `zone`, `weight`, `endpoint`\n\
             hint: did you mean `address`?",
        ),
        (
            of("sum(attribute=\"wieght\")"),
            "1:26: item 1 of the list for `sum` does not have the attribute `wieght`\n\
             it has `weight`, `registry`, `id`, `endpoint`, `meta`, `name`, `node`, `port`, `tags`, `zone`, `status`, `address`\n\
             hint: did you mean `weight`?",
        ),
        (
            of("pick(n=1, seed=\"a\", by=\"idd\")"),
            "1:26: item 1 of the list for `pick` does not have the attribute `idd`\n\
             it has `id`, `address`, `node`, `weight`, `endpoint`, `registry`, `meta`, `name`, `port`, `status`, `tags`, `zone`\n\
             hint: did you mean `id`?",
        ),
        (
            "{{ [{\"a\": 1}, {\"b\": 1}] | map(attribute=\"a\") }}".into(),
            "1:27: item 2 of the list for `map` does not have the attribute `a`\n\
             it has `b`",
        ),
        (
            "{{ [\"hunter2\"] | map(attribute=\"a\") }}".into(),
            "1:18: item 1 of the list for `map` does not have the attribute `a`\n\
             it is text, which has no attributes",
        ),
    ];
    let rows: Vec<(&str, &str)> = rows.iter().map(|(source, expected)| (source.as_str(), *expected)).collect();
    check(&rows);
}

#[test]
fn components() {
    check(&[
        (
            "{{ <nginx.upstream name={1} servers={[]} /> }}",
            "1:20: `name` of component `nginx.upstream` must be text, not a number\n\
             it takes `name` (text), `servers` (list), and may take `keepalive` (whole number), `meta_weight` (text), `options` (list), `parameters` (text), `prefer_zone` (text), `zone_size` (text)\n\
             hint: text stands in quotes: `name=\"8\"`",
        ),
        (
            "{{ <nginx.upstream name=\"a\" servers={key(path=\"text\")} /> }}",
            "1:29: `servers` of component `nginx.upstream` must be a list, not text\n\
             it takes `name` (text), `servers` (list), and may take `keepalive` (whole number), `meta_weight` (text), `options` (list), `parameters` (text), `prefer_zone` (text), `zone_size` (text)\n\
             hint: `split`, `lines` and `from_json` make a list of a text",
        ),
        (
            "{{ <nginx.upstream name=\"a\" servers={[]} keepalive=\"16\" /> }}",
            "1:42: `keepalive` of component `nginx.upstream` must be a whole number, not text\n\
             it takes `name` (text), `servers` (list), and may take `keepalive` (whole number), `meta_weight` (text), `options` (list), `parameters` (text), `prefer_zone` (text), `zone_size` (text)\n\
             hint: a number stands in braces, `keepalive={8}`, and `int` makes one of a text",
        ),
        (
            "{% set a = {\"nmae\": \"a\"} %}\n{{ <nginx.upstream servers={[]} {...a} /> }}",
            "2:5: component `nginx.upstream` has no argument `nmae`\n\
             it takes `name` (text), `servers` (list), and may take `keepalive` (whole number), `meta_weight` (text), `options` (list), `parameters` (text), `prefer_zone` (text), `zone_size` (text)\n\
             hint: did you mean `name`?",
        ),
        (
            "{% set a = {\"name\": \"a\"} %}\n{{ <nginx.upstream {...a} /> }}",
            "2:5: component `nginx.upstream` needs `servers=`\n\
             it takes `name` (text), `servers` (list), and may take `keepalive` (whole number), `meta_weight` (text), `options` (list), `parameters` (text), `prefer_zone` (text), `zone_size` (text)",
        ),
        (
            "{% <nginx.upstream name={1} servers={[]}> %}{% </nginx.upstream> %}",
            "1:20: `name` of component `nginx.upstream` must be text, not a number\n\
             it takes `name` (text), `servers` (list), and may take `keepalive` (whole number), `meta_weight` (text), `options` (list), `parameters` (text), `prefer_zone` (text), `zone_size` (text)\n\
             hint: text stands in quotes: `name=\"8\"`",
        ),
        (
            "a\n{{ <nginx.upstream name=\"a b\" servers={[]} /> }}",
            "2:25: `name` of component `nginx.upstream`: `token` refuses what it was given: it has a ` `, and takes letters, \
             digits, `.`, `_` and `-`",
        ),
        (
            "a\n{{ <env.file entries={[{\"key\": \"a\", \"value\": \"a\\nb\"}]} prefix=\"\" quote={false} /> }}",
            "22:21: what is printed here has more than one line\n\
             called from test.conf:2:4\n\
             hint: give the expression a line of its own, make the value safe for its place with a filter, or add `| safe` where all that it may hold is good here",
        ),
    ]);
}

#[test]
fn loops_over_texts() {
    check(&[
        (
            "{% for x in key(path=\"text\") %}{{ x }}{% endfor %}",
            "1:13: `for` goes over a list or a map, not text\n\
             hint: `lines`, `split(pat=\",\")` and `from_json` make a list of a text",
        ),
        (
            "{{ [x for x in key(path=\"text\")] }}",
            "1:16: `for` goes over a list or a map, not text\n\
             hint: `lines`, `split(pat=\",\")` and `from_json` make a list of a text",
        ),
        ("{% for x in 5 %}{{ x }}{% endfor %}", "1:13: `for` goes over a list or a map, not a number"),
        ("{% for k, v in [1] %}{{ k }}{% endfor %}", "1:19: a `for` with two names goes over a map, not a list"),
        (
            "{{ key(path=\"text\") + 1 }}",
            "1:4: `+` requires both operands to be numbers, found text and a number\n\
             hint: what a registry holds is text: `int` and `float` make a number of it, and `~` joins texts",
        ),
    ]);
}

/// What a question for instances leaves out is told by its name, with what it would have let through.
#[test]
fn tags_and_states() {
    let ask = |tags: &[&str], status: StatusFilter| {
        let tags = tags.iter().map(|&tag| tag.into()).collect();
        Query::Service(ServiceQuery { tags, status, ..ServiceQuery::passing("web") })
    };
    let passing = || StatusFilter::Any([Status::Passing].into());
    let bench = || {
        let services = vec![ServiceName { name: "web".into(), tags: vec!["blue".into(), "green".into()] }];
        let mut ill = instance("w2", "10.0.0.2", 80);
        ill.status = Status::Critical;
        Bench::new()
            .answer(Query::Services { tag: None }, Data::Services(services))
            .answer(ask(&[], StatusFilter::All), Data::Service(vec![Arc::new(ill)]))
            .answer(ask(&["bleu"], passing()), Data::Service(Vec::new()))
            .answer(ask(&[], passing()), Data::Service(Vec::new()))
            .key("tag", "bleu")
    };
    let error = bench().error("{{ service(name=\"web\", tag=\"bleu\", min=1) }}");
    assert_eq!(
        error.message,
        "service `web` from registry `main` has 0 entries with tag `bleu` in state `passing`, and `min=1` is wanted"
    );
    assert_eq!(error.available.as_deref(), Some("known of `web`: tags: `blue`, `b`, `green`, `a`; states: `critical`"));
    assert_eq!(error.hint.as_deref(), Some("did you mean `blue`?"));
    let error = bench().error("{{ service(name=\"web\", min=1) }}");
    assert!(error.message.contains("0 entries in state `passing`"), "{error}");
    assert_eq!(error.available.as_deref(), Some("known of `web`: states: `critical`"));
    let error = bench().error("{{ service(name=\"web\", tag=key(path=\"tag\"), min=1) }}");
    assert!(!error.to_string().contains("bleu") && error.hint.is_none(), "{error}");
}

/// Of a loop it is said which of its items fails, where that is not a matter of all of them.
#[test]
fn items_of_loops_and_lists() {
    let bench = || {
        let mut second = instance("w2", "10.0.0.2", 80);
        second.meta = BTreeMap::new();
        let mut first = instance("w1", "10.0.0.1", 80);
        first.meta = BTreeMap::from([("version".into(), "hunter2".into()), ("wt".into(), "5".into())]);
        let node =
            Node { name: "n1".into(), address: "10.0.0.1".into(), meta: BTreeMap::new(), datacenter: "dc".into() };
        Bench::new()
            .service("web", vec![first, second])
            .service("none", Vec::new())
            .answer(Query::Nodes { datacenter: None }, Data::Nodes(vec![node]))
            .prefix("app", &[("name", "hunter2")])
    };
    let said = |mut bench: Bench, secret: bool, source: &str| {
        bench.secret = secret;
        let error = bench.error(source);
        assert!(!format!("{error}\n{error:?}").contains("hunter2"), "{error}");
        let lines = [Some(error.message), error.available, error.hint];
        lines.into_iter().flatten().collect::<Vec<_>>().join("\n")
    };
    let version = "{% for i in service(name=\"web\") %}{{ i.meta.version }}{% endfor %}";
    for (source, expected) in [
        (
            version,
            "field `version` is not defined\n\
             `i` is instance `w2` of service `web` on node `n1`, registry `main`; `i.meta` is empty\n\
             `{{ i.meta.version or \"...\" }}` gives a value where there is none",
        ),
        (
            "{% for n in nodes() %}{{ n.meta.rack }}{% endfor %}",
            "field `rack` is not defined\n\
             `n` is node `n1`, registry `main`; `n.meta` is empty\n\
             `{{ n.meta.rack or \"...\" }}` gives a value where there is none",
        ),
        (
            "{% for e in prefix(path=\"app\") %}{{ e.value.x }}{% endfor %}",
            "field `x` is not defined\n\
             `e` is key `app/name`, registry `main`; `e.value` is text, which has no fields\n\
             `from_json` and its like make a map of a text",
        ),
        (
            "{{ service(name=\"web\") | sort_by(attribute=\"meta.wt\") }}",
            "item 2 of the list for `sort_by` (instance `w2` of service `web` on node `n1`, registry `main`) does not have \
             the attribute `meta.wt`\n\
             `default=` stands in for it where it is not there",
        ),
        (
            "{% set w = service(name=\"none\") %}{{ w[0].address }}",
            "`w` has no item `[0]`\n\
             `w` is an empty list\n\
             ask `{% if w | length > 0 %}` first, or go through the list with `for`",
        ),
        (
            "{% set w = service(name=\"web\") %}{{ w[2].address | upper }}",
            "`w` has no item `[2]`\n\
             `w` has 2 items, `[0]` to `[1]`\n\
             ask `{% if w | length > 2 %}` first, or go through the list with `for`",
        ),
        (
            "{% set w = service(name=\"none\") %}{{ w[0] }}",
            "`w` has no item `[0]`\n\
             `w` is an empty list\n\
             ask `{% if w | length > 0 %}` first, or go through the list with `for`",
        ),
        (
            "{% set w = service(name=\"web\") %}{{ w[0].adress }}",
            "field `adress` is not defined\n\
             `w[0]` has `address`, `registry`, `name`, `node`, `tags`, `id`, `status`, `meta`, `port`, `zone`, `weight`, `endpoint`\n\
             did you mean `address`?",
        ),
    ] {
        assert_eq!(said(bench(), false, source), expected, "{source}");
    }
    assert!(!said(bench(), true, version).contains("w2"));
}

/// What an author wrote wrong in the call of a built-in component is told of at the call.
#[test]
fn what_is_written_into_components() {
    let bench = || {
        Bench::new()
            .service("web", vec![instance("w1", "10.0.0.1", 80)])
            .prefix("app", &[("name", "hunter2"), ("port", "hunter2")])
            .no_key("app/nme")
            .no_key("app/prot")
            .key("options", "hunter2;")
    };
    let servers = "servers={service(name=\"web\")}";
    for (source, expected) in [
        (
            format!("{{{{ <nginx.upstream name=\"a\" {servers} options={{[\"ip_hash\", \"least_conn;\"]}} /> }}}}"),
            "1:80: `options` of component `nginx.upstream`, item 2: `directive` refuses what it was given: it holds a `;`, \
             with which the directive would end",
        ),
        (
            format!("{{{{ <nginx.upstream name=\"a; b\" {servers} /> }}}}"),
            "1:25: `name` of component `nginx.upstream`: `token` refuses what it was given: it has a `;`, and takes letters, \
             digits, `.`, `_` and `-`",
        ),
        (
            "{{ <env.file entries={prefix(path=\"app\")} prefix=\"1-A=\" /> }}".into(),
            "1:50: `prefix` of component `env.file`: `prefix` of `env_names` is refused: it has other characters than \
             letters, digits, `_`, `/`, `-` and `.`, or begins with a digit",
        ),
        (
            format!(
                "{{{{ <nginx.upstream name={{key(path=\"app/nme\")}} {servers} zone_size={{key(path=\"app/prot\")}} /> }}}}"
            ),
            "1:20: `name` of component `nginx.upstream` is undefined; not there: key `app/nme` from registry `main`",
        ),
    ] {
        let error = bench().error(&source);
        assert_eq!(format!("{}:{}: {}", error.line, error.column, error.message), expected, "{source}");
        let asked = error.message.contains("app/nme");
        assert!(!asked || error.hint.as_deref() == Some("did you mean `app/name`?"), "{error}");
    }
    // What a registry holds is not in the call.
    let source = format!("{{{{ <nginx.upstream name=\"a\" {servers} options={{[key(path=\"options\")]}} /> }}}}");
    let error = bench().error(&source).to_string();
    assert!(error.contains("the value of key `options`") && !error.contains("hunter2"), "{error}");
}

#[test]
fn entries_nodes_and_files() {
    let node =
        |name: &str| Node { name: name.into(), address: "a".into(), meta: BTreeMap::new(), datacenter: "dc".into() };
    let bench = || {
        Bench::new()
            .prefix("app", &[("name", "hunter2"), ("port", "hunter2")])
            .key("text", "nme")
            .answer(Query::Nodes { datacenter: None }, Data::Nodes(vec![node("node-1"), node("node-2")]))
            .answer(Query::Node(NodeQuery::named("node1")), Data::Node(None))
            .answer(Query::File(FilePath::new("/base/nofile").into()), Data::Key(None))
    };
    for (source, expected) in [
        (
            "{{ tree(path=\"app\") | get(key=\"nme\") }}",
            "the map has no entry `nme`, and `get` has no `default=`\n\
             it has `name`, `port`\n\
             did you mean `name`?",
        ),
        (
            "{{ tree(path=\"app\") | get(key=key(path=\"text\")) }}",
            "the map has no entry of that name, and `get` has no `default=`\n\
             it has `name`, `port`\n\
             `default=` stands in for what is not there",
        ),
        (
            "{% set n = node(name=\"node1\") %}{{ n.address }}",
            "variable `n` exists but its value is undefined; not there: node `node1` from registry `main`\n\
             known nodes: `node-1`, `node-2`\n\
             did you mean `node-1`?",
        ),
        (
            "{{ file(path=\"nofile\") }}",
            "what stands here is undefined; not there: file `/base/nofile`\n\
             give `default=`, or ask with `if` before using it",
        ),
    ] {
        let error = bench().error(source);
        let lines = [Some(error.message), error.available, error.hint];
        assert_eq!(lines.into_iter().flatten().collect::<Vec<_>>().join("\n"), expected, "{source}");
    }
    assert_eq!(bench().output("{{ {} | get(key=\"a\", default=nothing) | default(value=\"x\") }}"), "x");
}
