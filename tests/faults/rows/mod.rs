//! The rows, by what the fault strikes.

mod commands;
mod destination;
mod disk;
mod etcd;
mod killed;
mod power;
mod rights;
mod consul_away;
mod consul_cluster;
mod consul_rights;
mod start;
mod system_calls;
