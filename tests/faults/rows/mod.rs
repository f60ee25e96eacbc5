//! The rows, by what the fault strikes.

mod disk;
mod killed;
mod power;
mod start;
mod system_calls;
