//! The options of a `server` line, with those of the `default-server` lines before it (configuration manual, 5.2).

use std::collections::BTreeMap;

use super::word::Word;

/// What follows the address of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Options {
    /// All of it is understood.
    Known(Known),
    /// Not all of it is; these are the words.
    Opaque(Vec<String>),
}

/// Options that are understood, those of the `default-server` lines included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    /// Its share, from 0 to 256.
    pub(super) weight: u16,
    /// It starts in maintenance.
    pub(super) disabled: bool,
    /// The others by their keyword, each with its value where it takes one. What counts is what is written last.
    pub(super) others: BTreeMap<&'static str, Option<String>>,
}

/// Whether `add server` gives a new server an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    /// It does, and the server is then as one that was read from a file.
    Yes,
    /// It says how a name is resolved, and nothing of an address.
    OfNames,
    /// It does not, or nobody has shown that the server is then the same: TLS, cookies, names of other servers.
    No,
}

use Taken::{No, OfNames, Yes};

/// The keywords, whether each takes a value, and whether `add server` takes it: as the management guide of 2.6 lists them,
/// and tried there. Later guides list no fewer, and `default-server` goes on to count for none that is added. Those of 2.4 and
/// 2.5 list fewer, for a connection in experimental mode alone, which ours is not: there the answer says that no server was
/// added, and a reload comes.
const KEYWORDS: &[(&str, bool, Taken)] = &[
    ("addr", true, Yes),
    ("agent-addr", true, No),
    ("agent-check", false, No),
    ("agent-inter", true, No),
    ("agent-port", true, No),
    ("agent-send", true, No),
    ("allow-0rtt", false, No),
    ("alpn", true, No),
    ("backup", false, Yes),
    ("ca-file", true, No),
    ("check", false, Yes),
    ("check-alpn", true, No),
    ("check-proto", true, Yes),
    ("check-send-proxy", false, Yes),
    ("check-sni", true, No),
    ("check-ssl", false, No),
    ("check-via-socks4", false, No),
    ("ciphers", true, No),
    ("ciphersuites", true, No),
    ("cookie", true, No),
    ("crl-file", true, No),
    ("crt", true, No),
    ("downinter", true, Yes),
    ("error-limit", true, Yes),
    ("fall", true, Yes),
    ("fastinter", true, Yes),
    ("id", true, No),
    ("init-addr", true, OfNames),
    ("inter", true, Yes),
    ("log-proto", true, No),
    ("max-reuse", true, No),
    ("maxconn", true, Yes),
    ("maxqueue", true, Yes),
    ("minconn", true, Yes),
    ("namespace", true, No),
    ("no-ssl-reuse", false, No),
    ("no-tls-tickets", false, No),
    ("non-stick", false, No),
    ("npn", true, No),
    ("observe", true, Yes),
    ("on-error", true, Yes),
    ("on-marked-down", true, Yes),
    ("on-marked-up", true, Yes),
    ("pool-low-conn", true, Yes),
    ("pool-max-conn", true, Yes),
    ("pool-purge-delay", true, Yes),
    ("port", true, Yes),
    ("proto", true, Yes),
    ("proxy-v2-options", true, No),
    ("redir", true, No),
    ("resolve-net", true, OfNames),
    ("resolve-opts", true, OfNames),
    ("resolve-prefer", true, OfNames),
    ("resolvers", true, OfNames),
    ("rise", true, Yes),
    ("send-proxy", false, Yes),
    ("send-proxy-v2", false, Yes),
    ("send-proxy-v2-ssl", false, No),
    ("send-proxy-v2-ssl-cn", false, No),
    ("slowstart", true, Yes),
    ("sni", true, No),
    ("socks4", true, No),
    ("ssl", false, No),
    ("ssl-max-ver", true, No),
    ("ssl-min-ver", true, No),
    ("stick", false, No),
    ("tfo", false, Yes),
    ("tls-tickets", false, No),
    ("track", true, No),
    ("verify", true, No),
    ("verifyhost", true, No),
    ("ws", true, Yes),
];

impl Options {
    /// Reads the words of a server after those of the `default-server` lines that hold for it, none of them for one that
    /// was not understood.
    pub(super) fn read(defaults: &[String], own: Option<&[String]>, line: &str) -> Self {
        let known = own.and_then(|own| {
            let mut known = Known { weight: 1, disabled: false, others: BTreeMap::new() };
            known.take(defaults)?;
            known.take(own)?;
            Some(known)
        });
        known.map_or_else(
            || Self::Opaque(defaults.iter().cloned().chain(line.split_whitespace().map(str::to_owned)).collect()),
            Self::Known,
        )
    }

    /// The options where they are understood.
    pub(super) fn known(&self) -> Option<&Known> {
        match self {
            Self::Known(known) => Some(known),
            Self::Opaque(_) => None,
        }
    }

    /// Whether this is the name of a server that another one tracks.
    pub(super) fn names(&self, server: &str) -> bool {
        let is_it = |word: &str| word.rsplit('/').next() == Some(server);
        match self {
            Self::Known(known) => {
                known.others.get("track").is_some_and(|tracked| tracked.as_deref().is_some_and(is_it))
            }
            Self::Opaque(words) => words.iter().skip(1).any(|word| is_it(word)),
        }
    }
}

impl Known {
    fn take(&mut self, words: &[String]) -> Option<()> {
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "weight" => self.weight = words.next()?.parse().ok().filter(|weight| *weight <= 256)?,
                "disabled" => self.disabled = true,
                "enabled" => self.disabled = false,
                word => {
                    if let Some((keyword, takes_value, _)) = KEYWORDS.iter().find(|(keyword, _, _)| *keyword == word) {
                        let value = if *takes_value { Some(words.next()?.clone()) } else { None };
                        self.others.insert(keyword, value);
                    } else {
                        let flag = word.strip_prefix("no-")?;
                        let (keyword, _, _) = KEYWORDS.iter().find(|(name, takes, _)| *name == flag && !takes)?;
                        self.others.remove(keyword);
                    }
                }
            }
        }
        Some(())
    }

    /// Whether the health of the server is checked.
    pub(super) fn is_checked(&self) -> bool {
        self.others.contains_key("check")
    }

    /// Whether its weight, and whether it rests, is for an agent on it to say.
    pub(super) fn has_agent(&self) -> bool {
        self.others.contains_key("agent-check")
    }

    /// The words that `add server` takes after an address; none where it does not take all that counts.
    pub(super) fn addable(&self) -> Option<Vec<Word>> {
        let mut words = Vec::new();
        for (keyword, value) in &self.others {
            match KEYWORDS.iter().find(|(name, _, _)| name == keyword)?.2 {
                Yes => {
                    words.push(Word::new(keyword)?);
                    if let Some(value) = value {
                        words.push(Word::new(value)?);
                    }
                }
                OfNames => {}
                No => return None,
            }
        }
        Some(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(defaults: &str, own: &str) -> Options {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        Options::read(&words(defaults), Some(&words(own)), own)
    }

    fn added(defaults: &str, own: &str) -> Option<String> {
        let words = read(defaults, own).known()?.addable()?;
        Some(words.iter().map(Word::as_str).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn what_default_server_says_is_written_out_and_the_last_word_counts() {
        let all = added("check inter 2s init-addr last,libc,none", "inter 5s fall 2").unwrap();
        assert_eq!(all, "check fall 2 inter 5s");
        assert_eq!(added("check backup", "no-check").unwrap(), "backup");
        let known = read("weight 7 disabled", "enabled");
        assert_eq!(known.known().map(|known| (known.weight, known.disabled)), Some((7, false)));
    }

    #[test]
    fn what_add_server_does_not_take_as_it_stands_is_not_added() {
        for own in ["ssl", "cookie a", "track b/c", "id 5", "inter 5;s", "addr a\u{e9}"] {
            assert!(read("", own).known().is_some() && added("", own).is_none(), "{own}");
        }
        for own in ["no-such-keyword", "weight 257", "weight", "inter", "no-inter", "weight 10%"] {
            assert!(read("check", own).known().is_none(), "{own}");
        }
    }

    #[test]
    fn a_server_that_another_one_tracks_is_named() {
        assert!(read("", "track web/a").names("a") && read("", "track a").names("a"));
        assert!(!read("", "track web/b").names("a") && !read("", "addr a").names("a"));
        assert!(read("", "strange web/a").names("a"));
    }

    #[test]
    fn the_keywords_are_in_order() {
        assert!(KEYWORDS.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
