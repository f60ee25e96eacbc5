//! How long a run takes: short for every change, full by hand.

/// Whether clocks and counts are those of the matrix, as `LIVECONF_FAULTS=full` asks for.
pub(crate) fn is_full() -> bool {
    std::env::var("LIVECONF_FAULTS").is_ok_and(|run| run == "full")
}

/// One value for the short run and one for the full.
pub(crate) fn either<T>(short: T, full: T) -> T {
    if is_full() { full } else { short }
}

/// The seeds of the random choices of a row, printed by who uses them.
pub(crate) fn seeds() -> Vec<u64> {
    let first: u64 = rand::random();
    (0..either(1, 3)).map(|number| first.wrapping_add(number)).collect()
}
