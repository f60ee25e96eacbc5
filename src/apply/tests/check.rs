use super::*;
use crate::apply::ErrorKind;
use crate::apply::reload::{Outcome, reload};

async fn apply(target: &Target, bytes: &[&[u8]]) -> Result<Committed, ApplyError> {
    stage(target, bytes)?.check(target, &context(), true).await?.commit()
}

#[tokio::test]
async fn a_check_sees_the_new_file_and_decides() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.conf");
    let mut target = target([template(&path)]);
    target.check = Some(check("grep -q good \"$STAGED0\" || { echo line 1 is bad; exit 1; }"));
    apply(&target, &[b"good"]).await.unwrap();
    let error = apply(&target, &[b"bad"]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert_eq!(
        error.to_string(),
        "check `sh` refuses the files: it exited with 1\n  = hint: `--log-level debug` shows what it wrote"
    );
    assert_eq!(fs::read(&path).unwrap(), b"good");
    assert_eq!(names(folder.path()), ["x.conf"]);
}

#[test]
fn every_step_may_move_between_threads() {
    fn sendable<T: Send + 'static>() {}
    fn is_sendable(_: impl Send) {}
    sendable::<Staged>();
    sendable::<crate::apply::Checked>();
    sendable::<Committed>();
    let (target, context) = (target([]), context());
    is_sendable(stage(&target, &[]).unwrap().check(&target, &context, true));
    is_sendable(reload(&target, None, &context));
}

#[tokio::test]
async fn what_a_check_says_of_a_secret_stays_secret() {
    let folder = tempfile::tempdir().unwrap();
    let secret = Template { secret: true, ..template(folder.path().join("x")) };
    let mut target = target([secret, template(folder.path().join("y"))]);
    target.check = Some(check("cat \"$STAGED0\"; exit 1"));
    let error = apply(&target, &[b"hunter2", b"y"]).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
}

#[tokio::test]
async fn a_check_that_cannot_say_anything_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let mut target = target([template(folder.path().join("x"))]);
    let missing = Runs::Arguments(vec![vec![Placeholder::Text("no-such-checker".into())]]);
    target.check = Some(Check { command: Command { program: missing, ..check("").command }, ..check("") });
    let error = apply(&target, &[b"x"]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CheckNotRun);
    assert!(error.to_string().contains("`no-such-checker` could not be started"), "{error}");
    assert!(error.hint().unwrap().contains("PATH"));
    let mut slow = check("sleep 60");
    slow.command.timeout = Duration::from_millis(100);
    target.check = Some(slow);
    let error = apply(&target, &[b"x"]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CheckNotRun);
    assert!(error.to_string().contains("took longer than 100ms"), "{error}");
    assert!(names(folder.path()).is_empty());
}

#[tokio::test]
async fn checks_of_templates_come_first_and_only_for_what_changed() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let say = |what: &str| Some(check(&format!("echo {what} >> {}", log.display())));
    let sub = folder.path().join("sub");
    fs::create_dir(&sub).unwrap();
    let a = Template { check: say("a"), ..template(sub.join("a")) };
    let b = Template { check: say("b"), ..template(sub.join("b")) };
    let mut target = target([a, b]);
    target.check = say("target $(basename $STAGED0) $(dirname $STAGED1) $DEST0");
    let logged = || std::mem::take(&mut fs::read_to_string(&log).unwrap_or_default());
    apply(&target, &[b"1", b"1"]).await.unwrap();
    let text = logged();
    assert!(text.starts_with("a\nb\ntarget .a.liveconf-"), "{text}");
    fs::remove_file(&log).unwrap();
    apply(&target, &[b"1", b"2"]).await.unwrap();
    // The file that did not change stands for itself.
    assert_eq!(logged(), format!("b\ntarget a {0} {0}/a\n", sub.display()));
    fs::remove_file(&log).unwrap();
    apply(&target, &[b"1", b"2"]).await.unwrap();
    assert_eq!(logged(), "", "nothing changed, nothing is checked");

    target.check.as_mut().unwrap().when = When::Reload;
    let staged = stage(&target, &[b"1", b"3"]).unwrap();
    staged.check(&target, &context(), false).await.unwrap();
    assert_eq!(logged(), "b\n");
}

#[tokio::test]
async fn a_wrapper_is_private_beside_the_file_and_goes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.conf");
    let mut target = target([template(&path)]);
    let script = format!(
        "test \"$(stat -c %a \"$WRAPPER\")\" = 600 && test \"$(dirname \"$WRAPPER\")\" = {} && \
         test \"$(cat \"$WRAPPER\")\" = \"include $STAGED0; # $DEST0 {{brace}}\"",
        folder.path().display()
    );
    let text = |text: &str| Placeholder::Text(text.to_owned());
    let wrapper = vec![text("include "), Placeholder::Staged(0), text("; # "), Placeholder::Dest(0), text(" {brace}")];
    target.check = Some(Check { wrapper: Some(wrapper), ..check(&script) });
    apply(&target, &[b"x"]).await.unwrap();
    assert_eq!(names(folder.path()), ["x.conf"]);
}

async fn reload_by(script: &str, secret: bool) -> Outcome {
    let mut target = target([Template { secret, ..template("/nowhere/x") }]);
    target.reload = Reload::Command(check(script).command);
    reload(&target, None, &context()).await
}

#[tokio::test]
async fn a_reload_command_says_what_became_of_it() {
    assert_eq!(reload_by("test \"$DEST0\" = /nowhere/x && test $LIVECONF_TARGET = web", false).await, Outcome::Taken);
    let failed = reload_by("echo not now; exit 1", false).await;
    assert_eq!(
        failed,
        Outcome::Failed("reload command `sh` exited with 1; `--log-level debug` shows what it wrote".into())
    );
    let rejected = reload_by("echo never; exit 65", false).await;
    assert_eq!(
        rejected,
        Outcome::Rejected("reload command `sh` exited with 65; `--log-level debug` shows what it wrote".into())
    );
    let secret = reload_by("echo hunter2; exit 1", true).await;
    assert_eq!(secret, Outcome::Failed("reload command `sh` exited with 1".into()));
    assert_eq!(reload(&target([template("/nowhere/x")]), None, &context()).await, Outcome::Taken);
}
