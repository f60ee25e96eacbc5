//! Beside a `for_each`: servers change while HAProxy runs, and files that come or go take a reload, which says so.

use super::{MASTER, RELOADED, WITHOUT, Web, server, wait_for_logged};

/// A `for_each` over the services of the registry, of which HAProxy reads none.
const EACH: &str = "    templates:
      - {src: haproxy.tera, dest: haproxy.cfg}
      - {for_each: {items: services(), gone: GONE}, content: '{{ item.name }}', dest: 'out/{{ item.name }}.map', create_dirs: true}
";

#[test]
fn only_a_file_that_comes_or_goes_takes_a_reload() {
    for gone in ["remove", "keep"] {
        let a = server("a", "127.0.0.1", 1001);
        let web = Web::start(MASTER, std::slice::from_ref(&a));
        let config = web.job.read("liveconf.yaml").unwrap();
        let templates = "    templates: [{src: haproxy.tera, dest: haproxy.cfg}]\n";
        web.job.write("liveconf.yaml", config.replace(templates, &EACH.replace("GONE", gone)));
        let daemon = web.follow();
        wait_for_logged(&daemon, RELOADED, 1);
        let set = |port: u16, more: &str| {
            let a = format!("more: \"\"\nservices:\n  app: [{{id: a, address: 127.0.0.1, port: {port}}}]\n{more}");
            web.job.write("registry.yaml", a);
        };
        set(1002, "");
        wait_for_logged(&daemon, WITHOUT, 1);

        set(1002, "  b: [\"127.0.0.1:1\"]\n");
        wait_for_logged(&daemon, RELOADED, 2);
        let reason = daemon.logged("haproxy needs a reload").pop().unwrap();
        assert!(reason.contains("out/b.map` is a new file"), "{reason}");
        set(1003, "  b: [\"127.0.0.1:1\"]\n");
        wait_for_logged(&daemon, WITHOUT, 2);

        set(1003, "");
        if gone == "remove" {
            wait_for_logged(&daemon, RELOADED, 3);
            let reason = daemon.logged("haproxy needs a reload").pop().unwrap();
            assert!(reason.contains("out/b.map` goes"), "{reason}");
        }
        set(1004, "");
        wait_for_logged(&daemon, WITHOUT, 3);
        assert_eq!(web.job.read("out/b.map").is_some(), gone == "keep");
        assert_eq!(daemon.logged(RELOADED).len(), if gone == "keep" { 2 } else { 3 }, "{:#?}", daemon.log());
        daemon.stop();
    }
}
