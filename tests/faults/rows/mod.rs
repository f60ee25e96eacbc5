//! The rows, by what the fault strikes.

mod commands;
mod destination;
mod disk;
mod killed;
mod power;
mod rights;
mod start;
mod system_calls;
