//! Reload of a unit by systemctl(1), which ends when the job has, with the job's result.

use std::ffi::OsString;

use super::Outcome;
use crate::config::Unit;
use crate::process::command::run;
use crate::process::signal::started_after;
use crate::process::{BootTime, Context, Finished, Invocation};

/// What is asked of a unit, one property a line, as in `ActiveState=active`
/// (<https://www.freedesktop.org/software/systemd/man/latest/org.freedesktop.systemd1.html>).
const PROPERTIES: &str = "--property=LoadState,ActiveState,MainPID";

pub(super) async fn reload(unit: &Unit, committed: Option<BootTime>, context: &Context) -> Outcome {
    let shown = run(&invocation(unit, &["show", PROPERTIES]), context).await;
    if !shown.end.is_success() {
        return Outcome::Failed(failure(unit, context, "show", &shown));
    }
    let text = shown.output.text();
    let property = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let name = &unit.name;
    match (property("LoadState"), property("ActiveState")) {
        (Some("loaded"), Some("active" | "reloading" | "refreshing")) => {}
        (Some("loaded"), Some(state)) => return Outcome::NotRunning(format!("unit `{name}` is {state}")),
        (Some("not-found"), _) => {
            return Outcome::Failed(format!("there is no unit `{name}`: `systemctl list-units` shows those there are"));
        }
        (Some(load), _) => return Outcome::Failed(format!("unit `{name}` cannot be used: it is {load}")),
        (None, _) => return Outcome::Failed(format!("`{}` did not say how unit `{name}` is", unit.systemctl)),
    }
    let main = property("MainPID").and_then(|pid| pid.parse().ok());
    if let (Some(main), Some(committed)) = (main, committed)
        && started_after(main, committed)
    {
        tracing::debug!(target = &*context.target, "unit `{name}` started after the commit and needs no reload");
        return Outcome::Taken;
    }
    let verb = unit.action.verb();
    let told = run(&invocation(unit, &[verb]), context).await;
    if told.end.is_success() { Outcome::Taken } else { Outcome::Failed(failure(unit, context, verb, &told)) }
}

fn invocation(unit: &Unit, verb: &[&str]) -> Invocation {
    let manager = unit.user.then_some("--user");
    // Nobody is there to be asked for a password.
    let arguments = [&*unit.systemctl, "--no-ask-password"].into_iter().chain(manager).chain(verb.iter().copied());
    let arguments = arguments.chain(["--", &*unit.name]).map(OsString::from).collect();
    Invocation { arguments, variables: Vec::new(), timeout: unit.timeout }
}

fn failure(unit: &Unit, context: &Context, verb: &str, finished: &Finished) -> String {
    let mut reason = format!("`{} {verb} {}` {}", unit.systemctl, unit.name, finished.end);
    if let Some(hint) = finished.end.hint() {
        reason.push_str("; ");
        reason.push_str(hint);
    }
    if !finished.output.is_empty() {
        tracing::debug!(target = &*context.target, "`{}` wrote:\n{}", unit.systemctl, finished.output.tail());
        reason.push_str("; `--log-level debug` shows what it wrote");
    }
    reason
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::config::Action;

    /// A program that stands in for systemctl, since tests have no systemd: it notes what it was told, and shows and does
    /// what `state` says.
    const SYSTEMCTL: &str = r#"#!/bin/sh
folder=$(dirname "$0")
echo "$*" >> "$folder/told"
. "$folder/state"
case "$*" in
*show*) printf 'MainPID=%s\nLoadState=%s\nActiveState=%s\n' "$pid" "$load" "$active" ;;
*) exit "$result" ;;
esac
"#;

    struct Stand {
        folder: tempfile::TempDir,
        unit: Unit,
    }

    impl Stand {
        fn new(action: Action) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let systemctl = folder.path().join("systemctl");
            fs::write(&systemctl, SYSTEMCTL).unwrap();
            fs::set_permissions(&systemctl, fs::Permissions::from_mode(0o755)).unwrap();
            let systemctl = systemctl.to_str().unwrap().to_owned();
            let unit =
                Unit { name: "nginx.service".into(), action, systemctl, user: false, timeout: Duration::from_secs(30) };
            Self { folder, unit }
        }

        async fn reload(&self, state: &str, committed: BootTime) -> (Outcome, Vec<String>) {
            fs::write(self.folder.path().join("state"), state).unwrap();
            let context = Context {
                target: "web".into(),
                env_allow: Arc::new([]),
                process: None,
                remains: crate::process::Leavings::default(),
            };
            let outcome = reload(&self.unit, Some(committed), &context).await;
            let told = self.folder.path().join("told");
            let lines = fs::read_to_string(&told).unwrap_or_default().lines().map(str::to_owned).collect();
            let _ = fs::remove_file(told);
            (outcome, lines)
        }
    }

    const SHOW: &str = "--no-ask-password show --property=LoadState,ActiveState,MainPID -- nginx.service";

    #[tokio::test]
    async fn a_unit_that_runs_is_told() {
        for (action, verb) in [
            (Action::Reload, "reload"),
            (Action::Restart, "try-restart"),
            (Action::ReloadOrRestart, "try-reload-or-restart"),
        ] {
            let stand = Stand::new(action);
            let told = [SHOW.to_owned(), format!("--no-ask-password {verb} -- nginx.service")];
            let state = "pid=1 load=loaded active=active result=0";
            assert_eq!(stand.reload(state, BootTime::now()).await, (Outcome::Taken, told.to_vec()));
            let (failed, lines) = stand.reload("pid=0 load=loaded active=active result=1", BootTime::now()).await;
            assert!(
                matches!(failed, Outcome::Failed(why) if why.contains(verb) && why.contains("with 1")),
                "{action:?}"
            );
            assert_eq!(lines, told);
        }
    }

    #[tokio::test]
    async fn a_unit_that_does_not_run_is_left_alone() {
        let stand = Stand::new(Action::ReloadOrRestart);
        for active in ["inactive", "failed", "activating", "deactivating"] {
            let (outcome, told) = stand.reload(&format!("load=loaded active={active} result=0"), BootTime::now()).await;
            assert_eq!(outcome, Outcome::NotRunning(format!("unit `nginx.service` is {active}")));
            assert_eq!(told, [SHOW]);
        }
        for (load, why) in [("not-found", "there is no unit `nginx.service`"), ("masked", "it is masked")] {
            let (outcome, told) = stand.reload(&format!("load={load} active=inactive result=0"), BootTime::now()).await;
            assert!(matches!(&outcome, Outcome::Failed(reason) if reason.contains(why)), "{outcome:?}");
            assert_eq!(told, [SHOW]);
        }
    }

    #[tokio::test]
    async fn a_unit_that_started_after_the_commit_is_left_alone() {
        let stand = Stand::new(Action::Reload);
        let committed = BootTime::now();
        // The kernel rounds the start down to the hundredth of a second.
        tokio::time::sleep(Duration::from_millis(30)).await;
        let mut main = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let state = format!("pid={} load=loaded active=active result=0", main.id());
        assert_eq!(stand.reload(&state, committed).await, (Outcome::Taken, vec![SHOW.to_owned()]));
        main.kill().unwrap();
        main.wait().unwrap();
    }

    #[tokio::test]
    async fn a_manager_that_says_nothing_or_is_not_there_is_a_failure() {
        let mut stand = Stand::new(Action::Reload);
        fs::write(&stand.unit.systemctl, "#!/bin/sh\nexit 0\n").unwrap();
        let (silent, _) = stand.reload("", BootTime::now()).await;
        assert!(matches!(&silent, Outcome::Failed(why) if why.contains("did not say how unit")), "{silent:?}");
        stand.unit.systemctl = "/nonexistent/systemctl".into();
        let (absent, _) = stand.reload("", BootTime::now()).await;
        assert!(matches!(&absent, Outcome::Failed(why) if why.contains("/nonexistent/systemctl show")), "{absent:?}");
    }
}
