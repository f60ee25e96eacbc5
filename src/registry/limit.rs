//! What is said of an answer that is larger than `limits` allows. It is refused for itself: its last answer stays, and
//! other questions go on. It is put again as one that was denied is, and not at once: what is too large is read for nothing.

use crate::config::Limits;

/// Why an answer of so many bytes is refused.
#[cfg(any(feature = "consul", feature = "etcd"))]
pub(crate) fn bytes(limits: &Limits) -> String {
    format!("it has more than {} bytes: narrow the question, or raise `limits.response`", limits.response)
}

/// Why an answer of so many keys is refused.
#[cfg(any(feature = "consul", feature = "etcd"))]
pub(crate) fn keys(count: usize, limits: &Limits) -> String {
    format!("it has {count} keys, and {} are the most: narrow the question, or raise `limits.keys`", limits.keys)
}

/// Whether there are more keys than may be.
pub(crate) fn are_many(count: usize, limits: &Limits) -> bool {
    count as u64 > limits.keys
}

/// A name that is no longer than a line of a log should be.
#[cfg(any(feature = "consul", feature = "etcd"))]
pub(crate) fn shortened(name: &str) -> String {
    const SHOWN: usize = 256;
    match name.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}… ({} bytes)", &name[..end], name.len()),
        None => name.to_owned(),
    }
}
