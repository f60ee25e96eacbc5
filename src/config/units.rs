//! Numbers with units, and modes.

use std::time::Duration;

/// What is not a value of its kind; the text is a hint, when there is one.
pub(crate) type Misfit = Option<String>;

/// Longer than anything that is meant, and short enough for arithmetic with instants.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// What a duration is, for whoever wrote something else.
pub(crate) const DURATION: &str = "a duration such as `100ms`, `2s` or `1h30m`";

/// A duration such as `100ms`, `2s`, `1h30m`, or `0`.
pub(crate) fn duration(text: &str) -> Result<Duration, Misfit> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if is_number(text) {
        return Err(Some(format!("it needs a unit, such as `{text}s` or `{text}ms`")));
    }
    // The library takes `M` for a month, which nobody means here.
    if text.contains('M') {
        return Err(Some("a minute is `m`".into()));
    }
    let duration = humantime::parse_duration(text).map_err(|_| None)?;
    if duration > LONGEST { Err(Some("a year is the longest".into())) } else { Ok(duration) }
}

/// Two durations such as `100ms..2s`; none for a text that has no `..`.
pub(super) fn range(text: &str) -> Option<Result<(Duration, Duration), Misfit>> {
    let (first, last) = text.split_once("..")?;
    let pair = || {
        let (first, last) = (duration(first.trim())?, duration(last.trim())?);
        if first > last { Err(Some("the first is the shorter one".into())) } else { Ok((first, last)) }
    };
    Some(pair())
}

/// A size in bytes such as `64KiB`, `8MB`, `512B`, or `0`.
pub(super) fn size(text: &str) -> Result<u64, Misfit> {
    const UNITS: &[(&str, u64)] = &[
        ("B", 1),
        ("KB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("KIB", 1 << 10),
        ("MIB", 1 << 20),
        ("GIB", 1 << 30),
    ];
    if text == "0" {
        return Ok(0);
    }
    if is_number(text) {
        return Err(Some(format!("it needs a unit, such as `{text}B`, `{text}KiB` or `{text}MB`")));
    }
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = (&text[..digits], text[digits..].trim());
    let upper = unit.to_ascii_uppercase();
    let factor = UNITS.iter().find(|(name, _)| *name == upper).map(|(_, factor)| *factor);
    match (number.parse::<u64>(), factor) {
        (Ok(number), Some(factor)) => number.checked_mul(factor).ok_or(Some("it is too large".into())),
        (Ok(_), None) if matches!(&*upper, "K" | "M" | "G") => {
            Err(Some(format!("write `{number}{upper}B` for powers of 1000 or `{number}{upper}iB` for powers of 1024")))
        }
        _ => Err(None),
    }
}

/// A whole number that is written in the plain way.
pub(super) fn integer(text: &str) -> Result<u64, Misfit> {
    let plain = text == "0" || (!text.starts_with('0') && !text.is_empty() && text.chars().all(|c| c.is_ascii_digit()));
    if plain { text.parse().map_err(|_| Some("it is too large".into())) } else { Err(None) }
}

/// A share such as `50%`, up to `100%`.
pub(super) fn percent(text: &str) -> Result<u64, Misfit> {
    match text.strip_suffix('%').map(integer) {
        Some(Ok(share)) if share <= 100 => Ok(share),
        Some(Ok(_)) => Err(Some("`100%` is all there is".into())),
        None if integer(text).is_ok() => Err(Some(format!("it needs its sign: `{text}%`"))),
        Some(Err(_)) | None => Err(None),
    }
}

/// Permission bits in octal digits: `644`, `0644` and `0o644` are one.
pub(super) fn mode(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let octal = (3..=5).contains(&digits.len()) && digits.chars().all(|c| c.is_digit(8));
    // Five digits are four behind a `0`; fewer than three would be a mode that nobody can read.
    let bits = u32::from_str_radix(digits, 8).ok().filter(|_| octal)?;
    (bits <= 0o7777 && (digits.len() < 5 || digits.starts_with('0'))).then_some(bits)
}

fn is_number(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|c| c.is_ascii_digit() || c == '.' || c == '_')
        && text.starts_with(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        let ms = Duration::from_millis;
        let table = [
            ("0", 0),
            ("0s", 0),
            ("100ms", 100),
            ("2s", 2_000),
            ("1m", 60_000),
            ("1h30m", 5_400_000),
            ("1.5s", 1_500),
            ("1d", 86_400_000),
        ];
        for (text, expected) in table {
            assert_eq!(duration(text), Ok(ms(expected)), "{text}");
        }
        for text in ["", "5", "1.5", "s", "5x", "-1s", "1M", "ever", "99999d", "5 s s", "99999999999999999999s"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert_eq!(duration("5").unwrap_err().as_deref(), Some("it needs a unit, such as `5s` or `5ms`"));
        assert_eq!(range("100ms..2s"), Some(Ok((ms(100), ms(2_000)))));
        assert_eq!(range("1s .. 60s"), Some(Ok((ms(1_000), ms(60_000)))));
        assert_eq!(range("1s"), None);
        for text in ["..", "1s..", "..2s", "2s..1s", "1..2", "1s..2s..3s"] {
            assert!(range(text).unwrap().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_have_units() {
        let table = [
            ("0", 0),
            ("7B", 7),
            ("64KiB", 65_536),
            ("8MB", 8_000_000),
            ("8 MiB", 8 << 20),
            ("1gib", 1 << 30),
            ("2kB", 2_000),
        ];
        for (text, expected) in table {
            assert_eq!(size(text), Ok(expected), "{text}");
        }
        for text in
            ["", "8", "8M", "MB", "1.5MB", "-1MB", "8TB", "99999999999999999999B", "18446744073709551615KB", "é"]
        {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn integers_are_plain() {
        assert_eq!(integer("0"), Ok(0));
        assert_eq!(integer("128"), Ok(128));
        for text in ["", "010", "0x10", "1_000", "+1", "-1", "1.0", "99999999999999999999"] {
            assert!(integer(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shares_have_their_sign() {
        for (text, expected) in [("0%", 0), ("50%", 50), ("100%", 100)] {
            assert_eq!(percent(text), Ok(expected), "{text}");
        }
        for text in ["", "%", "101%", "-1%", "1.5%", "05%", "50 %", "half", "50%%", "99999999999999999999%"] {
            assert!(percent(text).is_err(), "{text}");
        }
        assert_eq!(percent("50").unwrap_err().as_deref(), Some("it needs its sign: `50%`"));
    }

    #[test]
    fn modes_are_octal() {
        for text in ["644", "0644", "0o644", "00644"] {
            assert_eq!(mode(text), Some(0o644), "{text}");
        }
        assert_eq!(mode("4755"), Some(0o4755));
        assert_eq!(mode("0o0600"), Some(0o600));
        for text in
            ["", "6", "64", "648", "rw-r--r--", "u=rw", "0x1a4", "77777", "000644", "0o", "-644", "6 44", "+644"]
        {
            assert_eq!(mode(text), None, "{text}");
        }
    }
}
