//! The network among the containers of a guest.
//!
//! A container on the bridge has one end of a pair of interfaces in its network namespace, `eth0`;
//! the other end is a port of the bridge, which is in the guest's own namespace. The bridge is made
//! for the first of them. Nothing leads out of it: the guest does not forward.
//!
//! Interfaces are removed by init when their container ends, not left to the end of its namespace:
//! that may be late, or never, when something still holds it, and the address is somebody else's
//! by then.

mod names;
mod netlink;

use std::{
    fs::File,
    net::Ipv4Addr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use contracts::guest::{ContainerSpec, Interface, Network, hardware_of};
use rustix::{
    fs::{Mode, OFlags, open},
    io::Errno,
    net::netdevice::name_to_index,
    process::Pid,
    thread::{ThreadNameSpaceType as NameSpace, move_into_thread_name_spaces},
};

use crate::failure::{Failure, Stage};
use names::Neighbours;
pub(crate) use names::line;
use netlink::{Link, Request, Socket};

/// Name of the bridge in the guest's own namespace.
const BRIDGE: &str = "coracle0";

/// Name of a container's interface, as docker's.
const INTERFACE: &str = "eth0";

/// Most hardware addresses that the bridge learns: a container may invent as many as it likes, and
/// what the bridge knows is the guest kernel's memory, not the container's. Four for each container
/// that a host is likely to hold.
const MAX_LEARNED: u32 = 4096;

/// Numbers of neighbours that the kernel remembers for all containers of the guest together: the
/// first below which it keeps all, the last above which it takes no more. Its own last one, 1024,
/// is reached by 32 containers of which each talks to each. An entry has half a KiB.
const REMEMBERED: [(&str, &str); 3] = [
    ("gc_thresh1", "4096"),
    ("gc_thresh2", "8192"),
    ("gc_thresh3", "16384"),
];

const LOOPBACK: &str = "lo";

/// The networks of a guest's containers.
#[derive(Debug, Default)]
pub struct Networks {
    guest: Option<Guest>,
    neighbours: Neighbours,
    /// Number of the next port; never used twice, so that a namespace that is slow to go keeps
    /// nobody's name.
    next: u32,
}

/// The guest's own network namespace, once somebody needs it.
#[derive(Debug)]
struct Guest {
    namespace: OwnedFd,
    socket: Socket,
    bridge: Option<Bridge>,
}

#[derive(Debug, Clone, Copy)]
struct Bridge {
    index: u32,
    gateway: [u8; 4],
    prefix: u8,
}

impl Networks {
    /// Makes what a container's network needs in the guest, before the container exists.
    ///
    /// # Errors
    /// When it contradicts what there is, or the kernel refuses.
    pub fn prepare(&mut self, spec: &ContainerSpec) -> Result<(), Failure> {
        let foreign = matches!(spec.network, Network::Host | Network::Container(_));
        if foreign && spec.user_namespace {
            // Its capabilities would not count in a namespace that another user namespace owns.
            return Err(Failure::setup(
                "cannot share a network namespace with a user namespace of one's own: leave out \
                 `--userns private`, or use `--network bridge` or `none`",
            ));
        }
        match &spec.network {
            Network::None | Network::Container(_) => Ok(()),
            Network::Host => self.guest().map(drop),
            Network::Bridge(interface) => {
                if !interface.is_sound() {
                    return Err(Failure::setup(format!(
                        "cannot make an interface with address {}/{} beside {} and these names",
                        Ipv4Addr::from(interface.address),
                        interface.prefix,
                        Ipv4Addr::from(interface.gateway)
                    )));
                }
                self.neighbours.check(interface)?;
                self.guest()?.bridge(interface).map(drop)
            }
        }
    }

    /// The guest's namespace, its loopback up.
    fn guest(&mut self) -> Result<&mut Guest, Failure> {
        let guest = match self.guest.take() {
            Some(guest) => guest,
            None => Guest::new()?,
        };
        Ok(self.guest.insert(guest))
    }

    /// Content of a container's `/etc/hosts` after the lines of its own.
    #[must_use]
    pub fn hosts(&self) -> String {
        self.neighbours.lines()
    }

    /// Gives the network namespace of a process, which is its own, an interface. From now on the
    /// neighbours know it, and `hosts`, which has the lines of all who are there, is changed when that
    /// does.
    ///
    /// # Errors
    /// Names the step that failed; nothing is left then.
    pub fn attach(
        &mut self,
        id: &str,
        interface: &Interface,
        process: (Pid, BorrowedFd<'_>),
        hosts: File,
    ) -> Result<(), Failure> {
        let port = format!("v{:x}", self.next);
        self.next = self.next.wrapping_add(1);
        let guest = self.guest()?;
        guest.connect(&port, interface, process)?;
        self.neighbours.join(id, port, interface, hosts);
        Ok(())
    }

    /// Removes a container's interface, if it has one.
    pub fn detach(&mut self, id: &str) {
        let port = self.neighbours.leave(id);
        if let (Some(port), Some(guest)) = (port, &mut self.guest) {
            guest.disconnect(&port);
        }
    }

    /// A container is known by other names from now on.
    pub fn rename(&mut self, id: &str, names: &[String]) {
        self.neighbours.rename(id, names);
    }

    /// Tells the neighbours who has come and gone since the last time.
    pub fn refresh(&mut self) {
        self.neighbours.refresh();
    }
}

impl Guest {
    fn new() -> Result<Self, Failure> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        // This thread's: tests have several.
        let namespace = open("/proc/thread-self/ns/net", flags, Mode::empty())
            .stage(|| "open the guest's network namespace")?;
        let mut socket = Socket::new()?;
        socket
            .ask(&Request::up(Link::Name(LOOPBACK)))
            .stage(|| "bring up the guest's loopback interface")?;
        Ok(Self {
            namespace,
            socket,
            bridge: None,
        })
    }

    /// The bridge, made for the first who needs it.
    fn bridge(&mut self, interface: &Interface) -> Result<Bridge, Failure> {
        let (gateway, prefix) = (interface.gateway, interface.prefix);
        if let Some(bridge) = self.bridge {
            if (bridge.gateway, bridge.prefix) != (gateway, prefix) {
                return Err(Failure::setup(format!(
                    "cannot put an interface beside {}/{prefix}: the guest's bridge has {}/{}",
                    Ipv4Addr::from(gateway),
                    Ipv4Addr::from(bridge.gateway),
                    bridge.prefix
                )));
            }
            return Ok(bridge);
        }
        known(self.socket.ask(&Request::new_bridge(
            BRIDGE,
            hardware_of(gateway),
            MAX_LEARNED,
        )))?;
        match self.set_up_bridge(gateway, prefix) {
            Ok(bridge) => Ok(*self.bridge.insert(bridge)),
            Err(failure) => {
                self.disconnect(BRIDGE);
                Err(failure)
            }
        }
    }

    fn set_up_bridge(&mut self, gateway: [u8; 4], prefix: u8) -> Result<Bridge, Failure> {
        let index = name_to_index(&self.socket, BRIDGE).stage(|| "find the bridge")?;
        let _ = self.socket.ask(&Request::without_ipv6(Link::Index(index)));
        for (name, value) in REMEMBERED {
            // A kernel that does not grant it serves fewer neighbours, and serves them.
            let _ = std::fs::write(format!("/proc/sys/net/ipv4/neigh/default/{name}"), value);
        }
        self.socket
            .ask(&Request::address(index, gateway, prefix))
            .stage(|| "give the bridge its address")?;
        self.socket
            .ask(&Request::up(Link::Index(index)))
            .stage(|| "bring up the bridge")?;
        Ok(Bridge {
            index,
            gateway,
            prefix,
        })
    }

    /// Makes a port of the bridge, and the interface at its other end.
    fn connect(
        &mut self,
        port: &str,
        interface: &Interface,
        (pid, pidfd): (Pid, BorrowedFd<'_>),
    ) -> Result<(), Failure> {
        let bridge = self.bridge(interface)?.index;
        let pid = pid.as_raw_nonzero().get().unsigned_abs();
        let hardware = interface.hardware();
        known(
            self.socket
                .ask(&Request::new_pair(port, bridge, INTERFACE, hardware, pid)),
        )?;
        let result = self.set_up_pair(port, interface, pidfd);
        if result.is_err() {
            self.disconnect(port);
        }
        result
    }

    fn set_up_pair(
        &mut self,
        port: &str,
        interface: &Interface,
        pidfd: BorrowedFd<'_>,
    ) -> Result<(), Failure> {
        let _ = self.socket.ask(&Request::without_ipv6(Link::Name(port)));
        self.socket
            .ask(&Request::up(Link::Name(port)))
            .stage(|| "bring up a port of the bridge")?;
        set_up_interface(&mut self.socket_of(pidfd)?, interface)?;
        // The port learns of its other end later, unless it is asked; what the container sends
        // until then would be lost, and sent again only after a second. An older kernel does not
        // do it, or a driver's own, and the second is all that comes of it.
        let _ = self.socket.ask(&Request::look(Link::Name(port)));
        Ok(())
    }

    /// A socket in a process's namespace.
    fn socket_of(&self, process: BorrowedFd<'_>) -> Result<Socket, Failure> {
        move_into_thread_name_spaces(process, NameSpace::NETWORK)
            .stage(|| "enter the container's network namespace")?;
        let socket = Socket::new();
        move_into_thread_name_spaces(self.namespace.as_fd(), NameSpace::NETWORK)
            .expect("the namespace that init has come from is there, and init may enter it");
        socket
    }

    /// Removes an interface that may be gone already.
    fn disconnect(&mut self, name: &str) {
        let _ = self.socket.ask(&Request::delete(Link::Name(name)));
    }
}

fn set_up_interface(socket: &mut Socket, interface: &Interface) -> Result<(), Failure> {
    socket
        .ask(&Request::up(Link::Name(LOOPBACK)))
        .stage(|| "bring up the loopback interface")?;
    let index = name_to_index(&*socket, INTERFACE).stage(|| "find the container's interface")?;
    let _ = socket.ask(&Request::without_ipv6(Link::Index(index)));
    socket
        .ask(&Request::address(
            index,
            interface.address,
            interface.prefix,
        ))
        .stage(|| "give the container's interface its address")?;
    socket
        .ask(&Request::up(Link::Index(index)))
        .stage(|| "bring up the container's interface")?;
    socket
        .ask(&Request::default_route(index, interface.gateway))
        .stage(|| "set the container's default route")
}

/// The kernel may know no bridges or pairs.
fn known(result: Result<(), Errno>) -> Result<(), Failure> {
    if result == Err(Errno::OPNOTSUPP) {
        return Err(Failure::setup(
            "cannot give the container an interface: the guest's kernel has no bridge or no pairs \
             of interfaces (CONFIG_BRIDGE, CONFIG_VETH); use `--network none` or another kernel",
        ));
    }
    result.stage(|| "make the container's interface")
}
