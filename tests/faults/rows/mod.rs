//! The rows, by what the fault strikes.

mod start;
