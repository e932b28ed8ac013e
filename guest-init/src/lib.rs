//! PID 1 of a guest.
//!
//! [`boot`] prepares the machine and says hello to the host; [`server`] then takes container specs
//! from the control channel and runs each as a [`container`]: its root is mounted from the image's
//! layers ([`root`]), its first process is cloned into new namespaces and a cgroup, prepares its
//! own file system ([`filesystem`]), drops its privileges ([`credentials`], [`seccomp`]) and
//! executes the program ([`child`], [`program`]). What runs near a container for init ([`exec`],
//! [`tools`], [`reaper`]) is this program executed afresh ([`fresh`], [`entry`]). Streams are carried by [`pump`]s. Containers of one
//! guest reach each other by a bridge ([`network`]).
//!
//! The same server runs on the kernel of the host, without a machine, where that is asked for ([`namespace`]).
//!
//! One thread, one epoll loop. Images and containers are hostile; the host is trusted.

mod beside;
pub mod boot;
pub mod cgroup;
pub mod child;
pub mod clock;
pub mod container;
pub mod credentials;
pub mod device;
pub mod device_filter;
pub mod entry;
pub mod exec;
pub mod failure;
pub mod filesystem;
pub mod fresh;
pub mod hosts;
mod inherit;
mod ipc;
pub mod mounts;
pub mod namespace;
pub mod network;
pub mod program;
pub mod pump;
mod quota;
pub mod reaper;
mod report;
pub mod root;
pub mod seccomp;
pub mod server;
pub mod setting;
pub mod shared;
pub mod shift;
mod sys;
pub mod task;
pub mod terminal;
pub mod tools;
pub mod users;
pub mod verity;
