//! Encodings and hashes of texts.

use base64::Engine as _;
use base64::alphabet::{Alphabet, STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, Mac as _};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use tera::Value;

use super::super::arguments::Arguments;
use super::super::entry::{Entry, Group, or, required};
use super::super::record::{Render, Stop};
use super::{Filter, refused, text_of};

/// A keyed hash of bytes, as hexadecimal digits.
type Keyed = fn(&[u8], &[u8]) -> Option<String>;

/// What `hmac(hash=)` may be.
const HASHES: [(&str, Keyed); 3] = [("sha256", hmac_sha256), ("sha512", hmac_sha512), ("sha1", hmac_sha1)];

/// Encodings and hashes.
pub(super) const ENCODINGS: Group<Filter> = Group {
    name: "Encodings and hashes",
    entries: &[
        Filter::new(
            base64_encode,
            Entry {
                name: "base64_encode",
                arguments: &[or("url", "false"), or("padding", "true")],
                takes: "text",
                gives: "base64 of a text; with `url=true` in the alphabet for URLs and file names",
                empty: "empty text",
                example: r#"{{ "häh" | base64_encode }}"#,
                output: "aMOkaA==",
            },
        ),
        Filter::new(
            base64_decode,
            Entry {
                name: "base64_decode",
                arguments: &[or("url", "false")],
                takes: "text",
                gives: "the text of it, which must be UTF-8; with or without padding",
                empty: "empty text",
                example: r#"{{ "aMOkaA==" | base64_decode }}"#,
                output: "häh",
            },
        ),
        Filter::new(
            hex_encode,
            Entry {
                name: "hex_encode",
                arguments: &[],
                takes: "text",
                gives: "the bytes of a text as hexadecimal digits",
                empty: "empty text",
                example: r#"{{ "hi" | hex_encode }}"#,
                output: "6869",
            },
        ),
        Filter::new(
            hex_decode,
            Entry {
                name: "hex_decode",
                arguments: &[],
                takes: "text",
                gives: "the text of them, which must be UTF-8",
                empty: "empty text",
                example: r#"{{ "6869" | hex_decode }}"#,
                output: "hi",
            },
        ),
        Filter::new(
            sha256,
            Entry {
                name: "sha256",
                arguments: &[],
                takes: "text",
                gives: "64 hexadecimal digits",
                empty: "the hash of nothing, `e3b0…`",
                example: r#"{{ "a" | sha256 | truncate(length=8, end="") }}"#,
                output: "ca978112",
            },
        ),
        Filter::new(
            sha512,
            Entry {
                name: "sha512",
                arguments: &[],
                takes: "text",
                gives: "128 hexadecimal digits",
                empty: "the hash of nothing, `cf83…`",
                example: r#"{{ "a" | sha512 | truncate(length=8, end="") }}"#,
                output: "1f40fc92",
            },
        ),
        Filter::new(
            sha1,
            Entry {
                name: "sha1",
                arguments: &[],
                takes: "text",
                gives: "40 hexadecimal digits; to name things, not to protect them",
                empty: "the hash of nothing, `da39…`",
                example: r#"{{ "a" | sha1 | truncate(length=8, end="") }}"#,
                output: "86f7e437",
            },
        ),
        Filter::new(
            md5,
            Entry {
                name: "md5",
                arguments: &[],
                takes: "text",
                gives: "32 hexadecimal digits; to name things, not to protect them",
                empty: "the hash of nothing, `d41d…`",
                example: r#"{{ "a" | md5 | truncate(length=8, end="") }}"#,
                output: "0cc175b9",
            },
        ),
        Filter::new(
            hmac,
            Entry {
                name: "hmac",
                arguments: &[required("key"), or("hash", r#""sha256""#)],
                takes: "text",
                gives: r#"the HMAC of a text under a key, in hexadecimal digits; `hash` is `"sha256"`, `"sha512"` or `"sha1"`"#,
                empty: "the HMAC of nothing",
                example: r#"{{ "message" | hmac(key="secret") | truncate(length=8, end="") }}"#,
                output: "8b5f4870",
            },
        ),
    ],
};

/// A text as base64, in the alphabet for URLs with `url=true`, without `=` at its end with `padding=false`.
pub(super) fn base64_encode(value: &Value, arguments: &Arguments<'_>, _: &Render) -> Result<Value, Stop> {
    let text = text_of(value, "base64_encode")?;
    let padding = arguments.value("padding")?.is_none() || arguments.flag("padding")?;
    Ok(Value::from(base64(arguments)?.encode_with(text, padding)))
}

/// The text that base64 stands for, with or without `=` at its end.
pub(super) fn base64_decode(value: &Value, arguments: &Arguments<'_>, _: &Render) -> Result<Value, Stop> {
    let encoded = text_of(value, "base64_decode")?;
    let bytes = base64(arguments)?.engine(true).decode(encoded.trim());
    text_out_of(bytes.ok(), "base64_decode", "it is not base64")
}

/// Base64 in one of its alphabets.
struct Base64(&'static Alphabet);

impl Base64 {
    fn engine(&self, padding: bool) -> GeneralPurpose {
        let config = GeneralPurposeConfig::new().with_encode_padding(padding);
        GeneralPurpose::new(self.0, config.with_decode_padding_mode(DecodePaddingMode::Indifferent))
    }

    fn encode_with(&self, text: &str, padding: bool) -> String {
        self.engine(padding).encode(text)
    }
}

fn base64(arguments: &Arguments<'_>) -> Result<Base64, Stop> {
    Ok(Base64(if arguments.flag("url")? { &URL_SAFE } else { &STANDARD }))
}

/// The bytes of a text as hexadecimal digits.
pub(super) fn hex_encode(value: &Value, _: &Arguments<'_>, _: &Render) -> Result<Value, Stop> {
    Ok(Value::from(hex(text_of(value, "hex_encode")?.as_bytes())))
}

/// The text whose bytes hexadecimal digits stand for.
pub(super) fn hex_decode(value: &Value, _: &Arguments<'_>, _: &Render) -> Result<Value, Stop> {
    let digits = text_of(value, "hex_decode")?.trim().as_bytes();
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let bytes = match digits.len() % 2 {
        0 => digits.chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect(),
        _ => None,
    };
    text_out_of(bytes, "hex_decode", "it is no even number of hexadecimal digits")
}

/// The text that decoded bytes are.
fn text_out_of(bytes: Option<Vec<u8>>, filter: &str, why: &str) -> Result<Value, Stop> {
    let bytes = bytes.ok_or_else(|| refused(filter, why))?;
    let text = String::from_utf8(bytes).map_err(|_| refused(filter, "its bytes are not UTF-8"))?;
    Ok(Value::from(text))
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

/// The SHA-256 of a text, as 64 hexadecimal digits.
pub(super) fn sha256(value: &Value, _: &Arguments<'_>, _: &Render) -> Result<Value, Stop> {
    Ok(Value::from(hex(&Sha256::digest(text_of(value, "sha256")?))))
}

/// The SHA-512 of a text, as 128 hexadecimal digits.
pub(super) fn sha512(value: &Value, _: &Arguments<'_>, _: &Render) -> Result<Value, Stop> {
    Ok(Value::from(hex(&Sha512::digest(text_of(value, "sha512")?))))
}

/// The SHA-1 of a text, as 40 hexadecimal digits.
pub(super) fn sha1(value: &Value, _: &Arguments<'_>, _: &Render) -> Result<Value, Stop> {
    Ok(Value::from(hex(&Sha1::digest(text_of(value, "sha1")?))))
}

/// The MD5 of a text, as 32 hexadecimal digits.
pub(super) fn md5(value: &Value, _: &Arguments<'_>, _: &Render) -> Result<Value, Stop> {
    Ok(Value::from(hex(&Md5::digest(text_of(value, "md5")?))))
}

/// The HMAC (RFC 2104) of a text under `key=`, as hexadecimal digits.
pub(super) fn hmac(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let text = text_of(value, "hmac")?;
    let key = arguments.required_text("key", render)?;
    let hash = arguments.one_of("hash", arguments.text("hash", render)?.unwrap_or("sha256"), &HASHES)?;
    hash(key.as_bytes(), text.as_bytes()).map(Value::from).ok_or_else(|| arguments.refused("key", "it is no key"))
}

fn hmac_sha256(key: &[u8], text: &[u8]) -> Option<String> {
    Some(hex(&Hmac::<Sha256>::new_from_slice(key).ok()?.chain_update(text).finalize().into_bytes()))
}

fn hmac_sha512(key: &[u8], text: &[u8]) -> Option<String> {
    Some(hex(&Hmac::<Sha512>::new_from_slice(key).ok()?.chain_update(text).finalize().into_bytes()))
}

fn hmac_sha1(key: &[u8], text: &[u8]) -> Option<String> {
    Some(hex(&Hmac::<Sha1>::new_from_slice(key).ok()?.chain_update(text).finalize().into_bytes()))
}
