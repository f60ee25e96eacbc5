mod access;
mod client;
mod faults;
mod follower;
mod following;
mod server;
