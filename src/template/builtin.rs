//! The templates that come with liveconf. They lie in `templates/`; a target finds them as `liveconf/...`, and their
//! components need no include.
//!
//! To add one: a file in `templates/` that begins with a comment like those of the others, an entry in [`BUILTINS`], and a
//! line in the tests that hand what it writes to its program. `LIVECONF_WRITE=1 cargo test --lib components` brings the
//! comment into the reference.

use super::edit::{Edit, Edited};
use super::scan::{PieceKind, default_delimiters, scan};
use crate::config::Delimiters;

/// What the names of built-in templates begin with.
pub(super) const FOLDER: &str = "liveconf/";

/// A built-in template, which defines one component.
#[derive(Debug)]
pub(super) struct Builtin {
    /// What an include calls it.
    pub(super) name: &'static str,
    /// The component that it defines.
    pub(super) component: &'static str,
    /// Its source, with the usual delimiters. Its first comment is the documentation of the component.
    pub(super) source: &'static str,
}

const fn builtin(name: &'static str, component: &'static str, source: &'static str) -> Builtin {
    Builtin { name, component, source }
}

/// The built-in templates. A target has those that it includes or whose components it calls.
pub(super) const BUILTINS: &[Builtin] = &[
    builtin(
        "liveconf/caddy/reverse_proxy.tera",
        "caddy.reverse_proxy",
        include_str!("../../templates/caddy/reverse_proxy.tera"),
    ),
    builtin("liveconf/dnsmasq/service.tera", "dnsmasq.service", include_str!("../../templates/dnsmasq/service.tera")),
    builtin("liveconf/env/file.tera", "env.file", include_str!("../../templates/env/file.tera")),
    builtin("liveconf/envoy/endpoints.tera", "envoy.endpoints", include_str!("../../templates/envoy/endpoints.tera")),
    builtin("liveconf/haproxy/acl.tera", "haproxy.acl", include_str!("../../templates/haproxy/acl.tera")),
    builtin("liveconf/haproxy/backend.tera", "haproxy.backend", include_str!("../../templates/haproxy/backend.tera")),
    builtin("liveconf/haproxy/map.tera", "haproxy.map", include_str!("../../templates/haproxy/map.tera")),
    builtin("liveconf/haproxy/servers.tera", "haproxy.servers", include_str!("../../templates/haproxy/servers.tera")),
    builtin("liveconf/haproxy/slots.tera", "haproxy.slots", include_str!("../../templates/haproxy/slots.tera")),
    builtin("liveconf/hosts/entries.tera", "hosts.entries", include_str!("../../templates/hosts/entries.tera")),
    builtin("liveconf/json/service.tera", "json.service", include_str!("../../templates/json/service.tera")),
    builtin(
        "liveconf/keepalived/virtual_server.tera",
        "keepalived.virtual_server",
        include_str!("../../templates/keepalived/virtual_server.tera"),
    ),
    builtin("liveconf/nginx/map.tera", "nginx.map", include_str!("../../templates/nginx/map.tera")),
    builtin(
        "liveconf/nginx/split_clients.tera",
        "nginx.split_clients",
        include_str!("../../templates/nginx/split_clients.tera"),
    ),
    builtin("liveconf/nginx/stream.tera", "nginx.stream", include_str!("../../templates/nginx/stream.tera")),
    builtin("liveconf/nginx/upstream.tera", "nginx.upstream", include_str!("../../templates/nginx/upstream.tera")),
    builtin(
        "liveconf/pgbouncer/database.tera",
        "pgbouncer.database",
        include_str!("../../templates/pgbouncer/database.tera"),
    ),
    builtin(
        "liveconf/prometheus/file_sd.tera",
        "prometheus.file_sd",
        include_str!("../../templates/prometheus/file_sd.tera"),
    ),
    builtin("liveconf/systemd/drop_in.tera", "systemd.drop_in", include_str!("../../templates/systemd/drop_in.tera")),
    builtin(
        "liveconf/traefik/http_service.tera",
        "traefik.http_service",
        include_str!("../../templates/traefik/http_service.tera"),
    ),
    builtin("liveconf/yaml/service.tera", "yaml.service", include_str!("../../templates/yaml/service.tera")),
];

/// The source with other delimiters in the place of the usual ones.
pub(super) fn with_delimiters(source: &str, delimiters: &Delimiters) -> String {
    let usual = default_delimiters();
    let mut edits = Vec::new();
    for piece in scan(source, &usual).unwrap_or_default() {
        let (start, end) = match piece.kind {
            PieceKind::Text => continue,
            PieceKind::Block => &delimiters.block,
            PieceKind::Variable => &delimiters.variable,
            PieceKind::Comment => &delimiters.comment,
        };
        let range = piece.range;
        edits.push(Edit { range: range.start..range.start + 2, text: start.clone() });
        edits.push(Edit { range: range.end - 2..range.end, text: end.clone() });
    }
    Edited::new(source, edits).text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_templates_take_other_delimiters_byte_for_byte() {
        let pair = |start: &str, end: &str| (start.to_owned(), end.to_owned());
        let delimiters = Delimiters { block: pair("<%", "%>"), variable: pair("<<", ">>"), comment: pair("<#", "#>") };
        for Builtin { name, source, .. } in BUILTINS {
            let changed = with_delimiters(source, &delimiters);
            assert_eq!(changed.len(), source.len(), "{name}");
            let pieces = scan(&changed, &delimiters).unwrap();
            assert_eq!(pieces.len(), scan(source, &default_delimiters()).unwrap().len(), "{name}");
        }
    }
}
