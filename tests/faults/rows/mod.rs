//! The rows, by what the fault strikes.

mod asleep;
mod commands;
mod consul_away;
mod consul_cluster;
mod consul_limits;
mod consul_load;
mod consul_nonsense;
mod consul_rights;
mod destination;
mod disk;
mod down;
mod drift;
mod edited;
mod etcd;
mod findings;
mod killed;
mod limits;
mod pids;
mod power;
mod refused;
mod rights;
mod soak;
mod start;
mod stop;
mod system_calls;
mod versions;
