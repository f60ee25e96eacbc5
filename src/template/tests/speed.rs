//! What a render costs.

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
