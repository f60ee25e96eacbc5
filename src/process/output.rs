//! What a command wrote, within bounds.

use std::collections::VecDeque;
use std::fmt::Write as _;

/// Bytes kept of the beginning, and again of the end: 64 KiB together. The first error is often at the beginning, the
/// verdict at the end.
const HALF: usize = 32 << 10;

/// Lines of a [`Output::tail`], and their bytes.
const TAIL: (usize, usize) = (20, 2048);

/// The beginning and the end of what a command wrote to both its standard output and its standard error, in the order
/// in which it was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    left_out: u64,
}

impl Output {
    /// Adds what was read next.
    pub fn push(&mut self, bytes: &[u8]) {
        let (head, rest) = bytes.split_at(bytes.len().min(HALF - self.head.len()));
        self.head.extend_from_slice(head);
        self.tail.extend(rest);
        let surplus = self.tail.len().saturating_sub(HALF);
        self.tail.drain(..surplus);
        self.left_out += surplus as u64;
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.head.is_empty()
    }

    /// All that was kept, safe to show: control characters, which a terminal might obey, become `?`.
    pub fn text(&self) -> String {
        let mut text = String::from_utf8_lossy(&self.head).into_owned();
        if self.left_out > 0 {
            let _ = write!(text, "\n[{} bytes left out]\n", self.left_out);
        }
        let tail: Vec<u8> = self.tail.iter().copied().collect();
        text.push_str(&String::from_utf8_lossy(&tail));
        text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '?' } else { c }).collect()
    }

    /// The last lines, for a message.
    pub fn tail(&self) -> String {
        let text = self.text();
        let text = text.trim_end();
        let mut start = text.len().saturating_sub(TAIL.1);
        while !text.is_char_boundary(start) {
            start += 1;
        }
        let mut tail = &text[start..];
        if start > 0
            && let Some((_, whole_lines)) = tail.split_once('\n')
        {
            tail = whole_lines;
        }
        let surplus = tail.lines().count().saturating_sub(TAIL.0);
        tail.lines().skip(surplus).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(text: &str) -> Output {
        let mut output = Output::default();
        output.push(text.as_bytes());
        output
    }

    #[test]
    fn both_ends_of_a_flood_are_kept() {
        let mut flood = output("first");
        for _ in 0..1000 {
            flood.push(&[b'x'; 1000]);
        }
        flood.push(b"last");
        assert_eq!(flood.head.len() + flood.tail.len(), 2 * HALF);
        let text = flood.text();
        assert!(text.starts_with("first") && text.ends_with("last"));
        assert!(text.contains(&format!("[{} bytes left out]", 1_000_009 - 2 * HALF)));
    }

    #[test]
    fn control_characters_cannot_reach_a_terminal() {
        assert_eq!(output("a\u{1b}[2Jb\r\n\tc\u{9b}").text(), "a?[2Jb?\n\tc?");
    }

    #[test]
    fn the_tail_is_whole_lines() {
        assert_eq!(output("").tail(), "");
        assert_eq!(output("one\n").tail(), "one");
        assert_eq!(output("one\ntwo\n\n").tail(), "one\ntwo");
        let many = (0..100).map(|n| format!("line {n}")).collect::<Vec<_>>().join("\n");
        let tail = output(&many).tail();
        assert!(tail.starts_with("line 80\n") && tail.ends_with("line 99"), "{tail}");
        let long = "é".repeat(4000);
        let tail = output(&long).tail();
        assert!(tail.len() <= TAIL.1 && tail.chars().all(|c| c == 'é'), "{}", tail.len());
        let after_long = output(&format!("{long}\nlast")).tail();
        assert_eq!(after_long, "last");
    }
}
