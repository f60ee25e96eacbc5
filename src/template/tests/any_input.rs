//! Every filter and test of the catalog, with values of every sort, also as arguments: each gives something or says why
//! not, within its time, and never shows what it was given. What is asked of what a filter gives does not show it either.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::super::catalog::{Sort, sections};
use super::super::entry::{Argument, Default, Entry};
use super::*;

/// What no message may hold: parts of the texts below, and a number of them.
const SECRETS: &[&str] = &["hunter2", "123454321999"];

/// Values of every sort, as keys with JSON in them.
const VALUES: &[&str] = &[
    "null",
    "true",
    "false",
    "0",
    "-1",
    "1",
    "7",
    "2.5",
    "-0.0",
    "1e308",
    "123454321999",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551616",
    "170141183460469231731687303715884105727",
    r#""""#,
    r#"" ""#,
    r#""hunter2""#,
    r#""hunter2/hunter2.hunter2:80""#,
    r#""hunter2=hunter2,hunter2=hunter2""#,
    r#""hunter2=1,and-hunter2=2""#,
    r#""hunter2=1&and-hunter2=2""#,
    r#""hunter2,and-hunter2
1,2""#,
    r#""(hunter2[""#,
    r#""a\nhunter2\u0000\u001b""#,
    r#""\ud83d\ude00 \u00df\u0130 hunter2 e\u0301""#,
    r#""%ff%zz hunter2""#,
    r#""{\"hunter2\": [1, }""#,
    r#""10.0.0.0/8""#,
    r#""::/0""#,
    r#""255.255.255.255/0""#,
    r#""99999999999999999999h""#,
    r#""9999-12-31T23:59:60Z""#,
    r#""v1.2.3-hunter2+x""#,
    r#""https://hunter2:hunter2@[::1]:99999/?a=%""#,
    r#""sha256""#,
    r#""ceil""#,
    "[]",
    "[null]",
    "[1, 2.5, \"hunter2\", [], {}]",
    "[[1, 2], [\"hunter2\", null], []]",
    r#"["b", "a", "hunter2"]"#,
    r#"[["a", 1], ["hunter2", 2]]"#,
    r#"[{"a": 1}, {"a": "hunter2"}, {"b": null}]"#,
    r#"[{"a": {"b": [1]}, "id": "hunter2"}, {"a": {"b": [1]}, "id": 123454321999}]"#,
    "{}",
    r#"{"clue": {"clue": []}, "": 1}"#,
    r#"{"a/b": 1, "a": 2, "/": 3}"#,
];

/// What stands for an argument, mostly a value; its number is noted.
fn argument(random: &mut StdRng, used: &mut BTreeSet<usize>) -> String {
    match random.random_range(0..8) {
        0 => "99999999999".into(),
        1 => "\"a\"".into(),
        2 => "\"a.b\"".into(),
        3 => "nothing".into(),
        _ => {
            let value = random.random_range(0..VALUES.len());
            used.insert(value);
            format!("v{value}")
        }
    }
}

/// What a template does with what a filter gives. The last three ask for what is not there, and are told what there is.
const BEHIND: [&str; 4] = [
    "{{ m | default(value=\"\") | str | length }}",
    "{{ m.nosuch }}",
    "{{ [m] | map(attribute=\"nosuch\") }}",
    "{{ m | group_by(attribute=\"nosuch\") }}",
];

/// A template with one call: a value, the required arguments, and some of the others.
fn template(entry: &Entry, sort: Sort, value: usize, behind: &str, random: &mut StdRng) -> TemplateSource {
    let mut used = BTreeSet::from([value]);
    let mut given = Vec::new();
    for Argument { name, default } in entry.arguments {
        if *default == Default::Required || random.random() {
            given.push(format!("{name}={}", argument(random, &mut used)));
        }
    }
    let arguments = if given.is_empty() { String::new() } else { format!("({})", given.join(", ")) };
    let call = match sort {
        Sort::Test => format!("{{% if v{value} is {}{arguments} %}}yes{{% endif %}}", entry.name),
        _ => format!("{{% set m = v{value} | {}{arguments} %}}{behind}", entry.name),
    };
    let set = |value: &usize| format!("{{% set v{value} = key(path=\"v{value}\") | from_json %}}");
    let sets: Vec<String> = used.iter().map(set).collect();
    inline(&format!("{}\n{call}", sets.concat()))
}

/// A number out of the environment.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |number| number.parse().unwrap())
}

/// `LIVECONF_ROUNDS` says how many calls of each filter are tried with each value, `LIVECONF_SEED` which.
#[test]
fn every_filter_bears_every_input() {
    let (seed, rounds) = (setting("LIVECONF_SEED", 7), setting("LIVECONF_ROUNDS", 1));
    let mut random = StdRng::seed_from_u64(seed);
    let keys = VALUES.iter().enumerate();
    let view = keys.fold(Bench::new(), |bench, (index, value)| bench.key(&format!("v{index}"), value)).view();
    let (mut gave, mut failed, mut wrong) = (0, 0, Vec::new());
    for section in sections().into_iter().filter(|section| section.sort != Sort::Function) {
        for entry in section.entries {
            let calls = (0..rounds).flat_map(|_| 0..VALUES.len()).flat_map(|value| {
                // What is told takes another render, so that every other value has to do.
                let asks = 1 + (value + entry.name.len()) % (BEHIND.len() - 1);
                [Some(BEHIND[0]), (value % 2 == 0).then_some(BEHIND[asks])]
                    .into_iter()
                    .flatten()
                    .map(move |behind| (value, behind))
            });
            let of = |(value, behind)| template(entry, section.sort, value, behind, &mut random);
            let sources: Vec<_> = calls.map(of).collect();
            let templates = Bench::new().load(&sources).unwrap_or_else(|errors| panic!("{}", errors[0]));
            for (index, source) in sources.iter().enumerate() {
                let started = std::time::Instant::now();
                if let Err(error) = templates.render(index, &view).output {
                    failed += 1;
                    let shown = format!("{error}\n{error:?}");
                    let has_secret = SECRETS.iter().any(|secret| shown.contains(secret));
                    if has_secret || shown.contains("panicked") {
                        wrong.push(format!("{source:?}: {shown}"));
                    }
                } else {
                    gave += 1;
                }
                assert!(started.elapsed() < Duration::from_secs(10), "seed {seed}: {source:?}");
            }
        }
    }
    assert!(wrong.is_empty(), "seed {seed}: {wrong:#?}");
    assert!(gave > 1_000 && failed > 1_000, "{gave} gave something, {failed} failed");
}
