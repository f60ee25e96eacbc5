mod access;
mod client;
mod faults;
mod follower;
mod following;
mod proxy;
mod rarities;
mod server;
