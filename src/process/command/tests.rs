use std::time::Instant;

use rustix::process::test_kill_process;

use super::*;

fn context() -> Context {
    Context {
        target: "web".into(),
        env_allow: Arc::new([]),
        process: None,
        remains: crate::process::Leavings::default(),
    }
}

fn shell(script: &str) -> Invocation {
    Invocation {
        arguments: ["sh", "-c", script].map(OsString::from).to_vec(),
        variables: vec![("LIVECONF_STAGED".into(), "/a b".into())],
        timeout: Duration::from_secs(20),
    }
}

async fn run_shell(script: &str) -> Finished {
    run(&shell(script), &context()).await
}

/// Waits until the process has ended.
async fn gone(pid: i32) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while test_kill_process(Pid::from_raw(pid).unwrap()).is_ok() {
        assert!(Instant::now() < deadline, "process {pid} is still there");
        sleep(Duration::from_millis(5)).await;
    }
}

/// The number in a file, once it is there.
async fn number_in(path: &std::path::Path) -> i32 {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(number) = std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()) {
            return number;
        }
        assert!(Instant::now() < deadline, "nothing in {}", path.display());
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn the_end_and_the_output_are_told() {
    let finished = run_shell("echo out; echo err >&2; exit 65").await;
    assert!(matches!(finished.end, End::Exited(65)), "{}", finished.end);
    assert_eq!(finished.output.text(), "out\nerr\n");
    let finished = run_shell("kill -USR1 $$").await;
    assert_eq!(finished.end.to_string(), "was ended by SIGUSR1");
    assert!(run_shell("true").await.end.is_success());
}

#[tokio::test]
async fn input_is_empty_and_the_group_is_its_own() {
    let finished = run_shell("cat; ps -o pgid= -p $$ | tr -d ' '; echo $$").await;
    let text = finished.output.text();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert_eq!(lines[0], lines[1]);
}

#[tokio::test]
async fn the_environment_is_what_is_listed() {
    let text = run_shell("env").await.output.text();
    let names: Vec<_> = text.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    assert!(text.contains("LIVECONF_TARGET=web\n") && text.contains("LIVECONF_STAGED=/a b\n"), "{text}");
    assert!(names.contains(&"PATH"), "{text}");
    // Cargo sets many variables for its tests; none of them may pass.
    assert!(std::env::vars_os().any(|(name, _)| name.to_string_lossy().starts_with("CARGO")));
    assert!(!names.iter().any(|name| name.starts_with("CARGO")), "{text}");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let missing = Invocation { arguments: vec!["no-such-program".into()], ..shell("") };
    let finished = run(&missing, &context()).await;
    assert!(matches!(&finished.end, End::NotStarted(error) if error.kind() == io::ErrorKind::NotFound));
    assert!(finished.end.hint().unwrap().contains("PATH"));
    let none = Invocation { arguments: vec![], ..shell("") };
    assert!(matches!(run(&none, &context()).await.end, End::NotStarted(_)));
}

#[tokio::test]
async fn a_flood_is_drained_and_bounded() {
    let finished = run_shell("yes | head -c 20000000; echo end").await;
    assert!(finished.end.is_success());
    let text = finished.output.text();
    assert!(text.len() < 70_000 && text.ends_with("end\n"), "{}", text.len());
}

#[tokio::test]
async fn past_its_time_the_whole_group_ends() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let script = format!("sh -c 'echo $$ > {}; exec sleep 60' & wait", file.display());
    let begun = Instant::now();
    let finished = run(&Invocation { timeout: Duration::from_millis(300), ..shell(&script) }, &context()).await;
    assert!(matches!(finished.end, End::TimedOut(_)), "{}", finished.end);
    assert!(begun.elapsed() < MERCY, "a group that obeys need not be waited for");
    gone(number_in(&file).await).await;
}

#[tokio::test]
async fn who_does_not_listen_is_killed() {
    let script = "trap '' TERM; echo begun; while :; do sleep 1; done";
    let begun = Instant::now();
    let finished = run(&Invocation { timeout: Duration::from_millis(300), ..shell(script) }, &context()).await;
    assert!(matches!(finished.end, End::TimedOut(_)), "{}", finished.end);
    assert_eq!(finished.output.text(), "begun\n");
    assert!((MERCY..MERCY + Duration::from_secs(4)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_process_in_the_background_that_holds_the_pipe_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let begun = Instant::now();
    let finished = run_shell(&format!("echo said; sleep 60 & echo $! > {}", file.display())).await;
    assert!(finished.end.is_success(), "{}", finished.end);
    assert_eq!(finished.output.text(), "said\n");
    assert!((LAST_WORDS..LAST_WORDS * 10).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    // A command that succeeded may leave a daemon behind.
    let pid = Pid::from_raw(number_in(&file).await).unwrap();
    test_kill_process(pid).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
}

#[tokio::test]
async fn what_left_the_session_is_found() {
    // Another run of this test on the machine has another mark.
    let run = format!("a-test-of-remains-{:x}", rand::random::<u64>());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let script = format!("setsid sh -c 'echo $$ > {}; exec sleep 60' >/dev/null 2>&1 & sleep 60", file.display());
    let invocation = Invocation { timeout: Duration::from_millis(300), ..shell(&script) };
    let running = start(&invocation, &context(), &run).unwrap();
    let pid = number_in(&file).await;
    let finished = running.finish(&invocation, &context(), &run).await;
    assert!(matches!(finished.end, End::TimedOut(_)));
    let left = [remains::Remains { pid: u32::try_from(pid).unwrap(), name: "sleep".into() }];
    // It writes its number a moment before it becomes what it stays.
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let found = remains::with_variable(RUN, &run);
        if found == left {
            break;
        }
        assert!(Instant::now() < deadline, "{found:?}");
        sleep(Duration::from_millis(5)).await;
    }
    rustix::process::kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

#[tokio::test]
async fn a_dropped_run_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let script = format!("sleep 60 & echo $! > {}; wait", file.display());
    let running = tokio::spawn(async move { run_shell(&script).await });
    let pid = number_in(&file).await;
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    gone(pid).await;
}
