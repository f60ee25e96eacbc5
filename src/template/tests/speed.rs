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

/// 10,000 servers; run by hand with `cargo test --release --lib -- --ignored --nocapture ten_thousand`.
#[test]
#[expect(clippy::print_stderr, reason = "whoever runs it wants the number")]
#[ignore = "measures; needs a release build and a quiet machine"]
fn ten_thousand_servers() {
    let instances = (0..10_000).map(|n| instance(&format!("w{n}"), &format!("10.0.{}.{}", n / 250, n % 250), 80));
    let bench = Bench::new().service("web", instances.collect());
    let plain = "{% for s in service(name=\"web\") %}\n    server {{ s.address }}:{{ s.port }} weight={{ s.weight }};\n{% endfor %}\n";
    let safe = "{{ <nginx.upstream name=\"web\" servers={service(name=\"web\")} /> }}\n";
    let templates = bench.load(&[inline(plain), inline(safe)]).unwrap_or_else(|_| panic!());
    let view = bench.view();
    for (index, name) in ["plain", "safe"].iter().enumerate() {
        let mut times: Vec<Duration> = (0..21)
            .map(|_| {
                let started = std::time::Instant::now();
                assert!(templates.render(index, &view).output.unwrap().len() > 200_000);
                started.elapsed()
            })
            .collect();
        times.sort_unstable();
        eprintln!("10,000 servers, {name}: {:?}", times[10]);
        assert!(times[10] < Duration::from_millis(100), "{name}: {times:?}");
    }
}
