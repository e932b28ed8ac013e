//! Docker's data model: what `docker inspect`, `ps`, `images`, `events` and the Engine API say, as typed JSON.
//!
//! Every type serialises to the keys of Engine API 1.45 in dockerd's order, with its `null`, `[]` and `{}`, and leaves out
//! what dockerd leaves out. Nothing here reads a file, a clock or the environment: a caller hands in facts and the time.
//!
//! # Where answers differ from dockerd's, and why
//!
//! | field | dockerd | here | reason |
//! |---|---|---|---|
//! | container `Coracle`, image `Coracle` | – | an object at the end | host, keeper and jail; manifest and layers. Clients ignore unknown keys |
//! | `ResolvConfPath`, `HostnamePath`, `HostsPath` | files below `/var/lib/docker` | `""` | those files exist in the guest only |
//! | `LogPath` | a file of JSON lines | the container's log | its format is our own |
//! | `Driver`, `GraphDriver.Name` | `overlay2`, `vfs` | `erofs` | layers are EROFS images |
//! | `HostConfig.Runtime` | `runc` | `coracle` | a microVM runs it |
//! | `HostConfig.LogConfig` unless asked for | `json-file`, no options | `local` and its size | what is kept is bounded |
//! | `HostConfig.CgroupnsMode` | `host` or `private` | `private` | a guest has cgroup v2 |
//! | `HostConfig.OomKillDisable` | `false` or `null` | `null` | as dockerd with cgroup v2 |
//! | `HostConfig.MemorySwap` with `Memory` | twice `Memory` | `Memory` | a guest has no swap |
//! | `HostConfig.Isolation` | `""` | `""`, or `namespace` | a container without a microVM says so |
//! | `HostConfig.MaskedPaths`, `ReadonlyPaths` | dockerd 26's | those in force | newer docker masks more |
//! | `State.Pid` | in the host's PID namespace | in the guest's | the host has no such process |
//! | exec `Pid` | in the host's PID namespace | in the guest's | the same |
//! | `DNSNames` of `bridge` | `null` | the container's names | its neighbours find it by them |
//! | `SandboxKey` | a file of a namespace | `""` | there is none on the host |
//! | `SandboxID`, `EndpointID` | random | the container's ID while it runs | a container has one of each |
//! | `NetworkID` | random | a constant for each of `bridge`, `host`, `none` | they are the same for all hosts |
//! | list `Image` when the name was moved to another image | the image's ID | the name as it was given | finding out costs a look at the store for each row |
//! | `SizeRw` of what runs without a disk of its own, or on a named host | bytes | left out, `SizeRootFs` is the image's | only the guest knows |
//! | `/info`: numbers of dockerd's own state, commits of containerd and runc | numbers, commits | 0, `""` | there are none |
//! | `_ping`: `Builder-Version` | 2 | 1 | there is no BuildKit |
//! | `message` for malformed JSON, behind `invalid JSON: ` | Go's words | serde's words | no client reads them |

pub mod age;
pub mod container;
pub mod event;
pub mod exec;
pub mod filters;
pub mod format;
pub mod image;
pub mod moment;
pub mod null;
pub mod pull;
pub mod records;
pub mod system;
pub mod time;
