//! The rows, by what the fault strikes.

mod disk;
mod killed;
mod power;
mod rights;
mod start;
mod system_calls;
