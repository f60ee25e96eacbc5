//! Processes that a command left behind.

use std::fs;

/// A process that a command started and that outlived it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Remains {
    /// Its id.
    pub(super) pid: u32,
    /// The name that the kernel knows it by.
    pub(super) name: String,
}

/// The processes whose environment holds `NAME=VALUE`. A process that left the group and the session of the command
/// (`setsid`, a double fork) is still found by what it inherited, unless it cleared its environment or belongs to
/// someone else.
pub(super) fn with_variable(name: &str, value: &str) -> Vec<Remains> {
    let wanted = format!("{name}={value}");
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|environment| environment.split(|&byte| byte == 0).any(|pair| pair == wanted.as_bytes()))
        })
        .map(|pid| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            Remains { pid, name: name.trim_end().to_owned() }
        })
        .collect()
}
