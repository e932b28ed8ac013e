//! Kernel settings (`/proc/sys`): how they are named, and whose they are.

use alloc::{string::String, vec::Vec};

extern crate alloc;

/// What a setting belongs to, and so what a change of it reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// A network namespace.
    Network,
    /// A namespace of inter-process communication.
    Ipc,
    /// The kernel, and so everyone that it serves.
    Kernel,
}

/// Settings of a namespace of inter-process communication, beside `fs.mqueue.*`: docker's list.
const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shm_rmid_forced",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
];

/// The name with dots of a setting that is written with dots, with slashes as a path, or with both:
/// all of them part names, so that each setting has one name here. `None` for what is no name.
#[must_use]
pub fn name(text: &str) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-:@".contains(&byte);
    let parts: Vec<&str> = text.split(['.', '/']).collect();
    let is_name = parts.len() > 1
        && parts
            .iter()
            .all(|part| !part.is_empty() && part.bytes().all(plain));
    is_name.then(|| parts.join("."))
}

/// Whose setting it is, by its name with dots.
#[must_use]
pub fn owner(name: &str) -> Owner {
    if name.starts_with("net.") {
        Owner::Network
    } else if name.starts_with("fs.mqueue.") || IPC.contains(&name) {
        Owner::Ipc
    } else {
        Owner::Kernel
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_has_one_name_however_it_is_written() {
        for text in [
            "net.ipv4.ip_forward",
            "net/ipv4/ip_forward",
            "net/ipv4.ip_forward",
            "net.ipv4/ip_forward",
        ] {
            assert_eq!(name(text).as_deref(), Some("net.ipv4.ip_forward"), "{text}");
        }
    }

    #[test]
    fn what_could_lead_elsewhere_is_no_name() {
        for text in [
            "",
            "net",
            ".net.x",
            "/net/x",
            "net..x",
            "net/../kernel/x",
            "net./x",
            "net.x/",
            "net.x y",
            "net.x\n",
            "net.\0x",
            "n\u{e9}t.x",
        ] {
            assert_eq!(name(text), None, "{text:?}");
        }
    }

    #[test]
    fn namespaces_own_what_docker_lets_one_set() {
        assert_eq!(owner("net.core.somaxconn"), Owner::Network);
        for name in ["fs.mqueue.msg_max", "kernel.shmmax", "kernel.sem"] {
            assert_eq!(owner(name), Owner::Ipc, "{name}");
        }
        for name in [
            "kernel.pid_max",
            "kernel.core_pattern",
            "kernel.shmmax2",
            "kernel.domainname",
            "vm.swappiness",
            "fs.file-max",
            "fs.mqueuex.a",
            "netx.a",
            "user.max_user_namespaces",
        ] {
            assert_eq!(owner(name), Owner::Kernel, "{name}");
        }
    }
}
