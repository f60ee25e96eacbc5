//! What a render and reading a template cost.

use super::super::foreign::old_tags;
use super::super::scan::{default_delimiters, scan};
use super::*;

/// Answers are converted once: a second render of the same view shares every value with the first.
#[test]
fn an_answer_is_converted_once() {
    let instances = (0..10).map(|n| instance(&format!("w{n}"), "10.0.0.1", 80)).collect();
    let bench = Bench::new().service("web", instances);
    let templates = bench.load(&[inline("{{ service(name=\"web\") | length }}")]).unwrap_or_else(|_| panic!());
    let asked = bench.answers[0].0.clone();
    let view = bench.view();
    let list = |view: &View| view.answer(&asked).unwrap().view.get().unwrap().as_array().unwrap().as_ptr();
    templates.render(0, &view).output.unwrap();
    let first = list(&view);
    templates.render(0, &view).output.unwrap();
    assert_eq!(first, list(&view));
}

/// Of these sizes each would take longer than anybody waits for a test if it took time in the square of the size.
#[test]
fn a_long_source_is_read_in_the_time_of_its_length() {
    let delimiters = default_delimiters();
    let valid = "x {{ a }}\n".repeat(50_000);
    assert_eq!(scan(&valid, &delimiters).unwrap().len(), 100_001);
    for (piece, old) in [
        ("{{ ", 0),
        ("{% ", 0),
        ("{# ", 0),
        ("x {{ a }}\n", 0),
        ("{{ ' }} ", 0),
        ("{% if a %}", 0),
        ("{{ a b }}\n", 0),
        ("{{ key \"a\" }}\n", 50),
    ] {
        assert_eq!(old_tags(&piece.repeat(50_000), &delimiters).len(), old, "{piece}");
    }
}

#[test]
fn of_many_mistakes_the_first_are_told() {
    for source in ["{{ kee(path=\"a\") }}\n", "{{ key \"a\" }}\n", "{{ sockaddr \"a\" }}\n"] {
        let errors = Bench::new().refused(&source.repeat(5_000));
        assert_eq!((errors.len(), errors[49].line), (50, 50), "{source}");
    }
    // What is not closed is told of once, however much stands before it.
    assert_eq!(Bench::new().refused(&"{% if a %}{{ a }}\n".repeat(500)).len(), 1);
}

#[test]
fn brackets_without_an_end_do_not_exhaust_the_stack() {
    for (before, after) in [("key ", ""), ("", "\"a\""), ("if ", ".A"), ("$a := ", "key \"a\"")] {
        let depth = 20_000;
        let source = format!("{{{{ {before}{}{after}{} }}}}", "(".repeat(depth), ")".repeat(depth));
        assert!(old_tags(&source, &default_delimiters()).is_empty());
        assert!(old_tags(&source.replace(')', ""), &default_delimiters()).is_empty());
    }
}
