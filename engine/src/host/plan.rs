//! What machine a container gets.

use std::path::PathBuf;

use anyhow::{Result, bail};
use contracts::monitor::{Disk, Extent, MAX_CPUS, MIN_MEMORY_MIB, Plan};

use crate::host::{Place, initramfs};

/// What of the machine depends on the container.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Bytes of memory that the container may use; `None` for `DEFAULT_MEMORY_MIB` in all.
    pub memory: Option<u64>,
    /// Thousandths of processors that it may use; `None` for one.
    pub cpu: Option<u64>,
    /// The kernel's file.
    pub kernel: PathBuf,
    /// Layers may have to be checked while they are read.
    pub verify: bool,
    /// A second disk, which the guest writes to: its file, and bytes.
    pub disk: Option<(PathBuf, u64)>,
    /// Containers have limits of their own there.
    pub limits: bool,
}

/// Memory of a guest in MiB unless told otherwise. It is taken from the machine only as the guest
/// touches it, and given back as the guest frees it.
const DEFAULT_MEMORY_MIB: u64 = 512;

/// The same in bytes.
pub const DEFAULT_MEMORY: u64 = DEFAULT_MEMORY_MIB << 20;

/// Memory in MiB that a guest has beyond its container's limit: kernel, init, and page tables.
const OVERHEAD_MIB: u64 = 64;

/// One part in this many of the memory describes the rest (`struct page`: 64 bytes of 4096).
const PAGE_STRUCTURES: u64 = 64;

/// Milliseconds in which a guest must connect: a hundred times what a boot takes, and in a software
/// host, where every boot is slow already, twenty times.
const BOOT_DEADLINE_MS: u64 = 10_000;
const BOOT_DEADLINE_IN_MACHINE_MS: u64 = 60_000;

/// Vsock context identifier of every guest: each monitor has its own address space of them.
const GUEST_CID: u32 = 3;

/// The kernel's command line: what is probed for on real machines and absent here is left out, and a
/// kernel in trouble says so on the port that the monitor keeps, and resets at once.
///
/// - `reboot=k panic=-1`: by the one port that the monitor watches for it, without waiting;
/// - `no_timer_check`: there is no timer besides the local APIC's;
/// - `rcupdate.rcu_expedited=1`: boot and containers' starts wait for many RCU grace periods;
/// - `noreplace-smp`: one processor does with `lock` prefixes; to take out each costs 5 ms;
/// - `swiotlb=noforce`: no buffers for devices that cannot reach all memory;
/// - `percpu_alloc=page`: units of per-CPU memory in pages; in the 2 MiB of the usual kind, the list of who
///   pays for what is in them takes 4 MiB;
/// - `rootfstype=ramfs`: the initial file system takes the archive's pages as they are, which one that can be
///   swapped cannot;
/// - `page_reporting_order=0`: what the guest does not use is given back page by page, not only where 2 MiB in a
///   row are free.
const COMMAND_LINE: &str = "console=ttyS0 quiet loglevel=1 reboot=k panic=-1 \
    no_timer_check rcupdate.rcu_expedited=1 noreplace-smp swiotlb=noforce random.trust_cpu=on \
    percpu_alloc=page page_reporting.page_reporting_order=0 rootfstype=ramfs";

/// Variable of the environment by which a user refuses to run a container whose monitor does not get all of its
/// jail; empty and `0` are as if it was not there.
pub(crate) const REQUIRE_JAIL: &str = "CORACLE_REQUIRE_JAIL";

fn requires_jail(value: Option<&std::ffi::OsStr>) -> bool {
    value.is_some_and(|value| !value.is_empty() && value != "0")
}

/// Parts of the kernel that are not started, though they cannot be built without:
/// - the serial port's driver, which tests the port by hundreds of exits; messages need it not;
/// - statistics of the allocator in `/sys/kernel/slab`;
/// - performance counters, which guests have none of;
/// - the device of a clock that is not there;
/// - a directory for each interrupt in `/sys/kernel/irq`.
const NOT_STARTED: &str = "initcall_blacklist=serial8250_init,slab_late_init,\
    init_hw_perf_events,add_rtc_cmos,irq_sysfs_init";

/// More of them, directly after those, unless layers are checked: the device mapper, dm-verity, and
/// its cache of hashes.
const NO_VERITY: &str = ",dm_init,dm_verity_init,dm_bufio_init";

/// And after those, unless containers have limits on a disk: quotas, whose cache has a thread of its own.
const NO_QUOTAS: &str = ",dquot_init,init_v2_quota_format";

/// Places in the kernel's table of names of files for each MiB of memory; it has half as many for files themselves.
/// A quarter of Linux's own measure, which takes 1.5 KiB of each MiB, whether there are files or not.
const NAMES_PER_MIB: u64 = 32;

/// The machine for a container whose layers are these extents of one read-only disk.
///
/// # Errors
/// When more memory or processors are asked for than a guest can have.
pub fn plan(
    shape: &Shape,
    layers: Vec<Extent>,
    place: Place,
    cache: &std::path::Path,
) -> Result<Plan> {
    let mut disks = vec![Disk {
        extents: layers,
        read_only: true,
    }];
    disks.extend(shape.disk.iter().map(|(path, length)| Disk {
        extents: vec![Extent::File {
            path: path.clone(),
            offset: 0,
            length: *length,
        }],
        read_only: false,
    }));
    let memory_mib = memory(shape.memory)?;
    Ok(Plan {
        kernel: shape.kernel.clone(),
        initramfs: Some(initramfs::ensure(cache)?),
        command_line: command_line(place, shape, memory_mib),
        memory_mib,
        cpus: cpus(shape.cpu)?,
        disks,
        vsock_cid: Some(GUEST_CID),
        boot_deadline_ms: match place {
            Place::Here => BOOT_DEADLINE_MS,
            Place::Machine => BOOT_DEADLINE_IN_MACHINE_MS,
        },
        require_jail: requires_jail(std::env::var_os(REQUIRE_JAIL).as_deref()),
    })
}

fn command_line(place: Place, shape: &Shape, memory_mib: u32) -> String {
    let names = (u64::from(memory_mib) * NAMES_PER_MIB).next_power_of_two();
    let files = names / 2;
    let more = match place {
        Place::Here => "",
        Place::Machine => coracle_software_host::FOR_KERNELS,
    };
    let verity = if shape.verify { "" } else { NO_VERITY };
    let quotas = if shape.limits { "" } else { NO_QUOTAS };
    let tables = format!("dhash_entries={names} ihash_entries={files}");
    format!("{COMMAND_LINE} {tables} {NOT_STARTED}{verity}{quotas} {more}")
        .trim_end()
        .into()
}

fn memory(limit: Option<u64>) -> Result<u32> {
    let Some(limit) = limit else {
        return Ok(u32::try_from(DEFAULT_MEMORY_MIB)?);
    };
    let container = limit.div_ceil(1 << 20);
    let guest = container + container.div_ceil(PAGE_STRUCTURES) + OVERHEAD_MIB;
    match u32::try_from(guest) {
        Ok(guest) => Ok(guest.max(MIN_MEMORY_MIB)),
        Err(_) => bail!("cannot give a guest {container} MiB of memory"),
    }
}

fn cpus(thousandths: Option<u64>) -> Result<u8> {
    let whole = thousandths.unwrap_or(1000).div_ceil(1000);
    match u8::try_from(whole) {
        Ok(cpus) if cpus <= MAX_CPUS => Ok(cpus),
        _ => bail!("invalid number of CPUs {whole}: must be 1 to {MAX_CPUS}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guest_has_more_memory_than_its_container_may_use() {
        assert_eq!(memory(Some(128 << 20)).unwrap(), 194);
        assert_eq!(memory(Some(1)).unwrap(), 66);
        assert!(memory(Some(u64::MAX)).is_err());
    }

    #[test]
    fn whole_jail_is_required_by_a_word_in_the_environment() {
        for (value, expected) in [
            (None, false),
            (Some(""), false),
            (Some("0"), false),
            (Some("1"), true),
        ] {
            assert_eq!(
                requires_jail(value.map(std::ffi::OsStr::new)),
                expected,
                "{value:?}"
            );
        }
    }

    fn shape(verify: bool, limits: bool) -> Shape {
        Shape {
            memory: None,
            cpu: None,
            kernel: PathBuf::new(),
            verify,
            disk: None,
            limits,
        }
    }

    #[test]
    fn only_an_emulated_guest_is_told_of_what_the_emulation_gets_wrong() {
        let shape = shape(false, false);
        assert!(!command_line(Place::Here, &shape, 512).contains("clearcpuid"));
        assert!(command_line(Place::Machine, &shape, 512).ends_with(" clearcpuid=cx16"));
    }

    #[test]
    fn parts_of_the_kernel_are_started_where_they_are_needed() {
        let line = |verify, limits| command_line(Place::Here, &shape(verify, limits), 512);
        assert!(line(false, false).contains("irq_sysfs_init,dm_init,"));
        assert!(line(false, false).ends_with(",dm_bufio_init,dquot_init,init_v2_quota_format"));
        assert!(line(false, true).ends_with(",dm_bufio_init"));
        assert!(line(true, false).ends_with("irq_sysfs_init,dquot_init,init_v2_quota_format"));
        assert!(line(true, true).ends_with("irq_sysfs_init"));
    }

    #[test]
    fn tables_of_names_and_files_grow_with_the_memory() {
        for (mib, expected) in [
            (64, "dhash_entries=2048 ihash_entries=1024 "),
            (512, "dhash_entries=16384 ihash_entries=8192 "),
            (514, "dhash_entries=32768 ihash_entries=16384 "),
            (
                u32::MAX,
                "dhash_entries=137438953472 ihash_entries=68719476736 ",
            ),
        ] {
            let line = command_line(Place::Here, &shape(false, false), mib);
            assert!(line.contains(expected), "{line}");
        }
    }

    #[test]
    fn part_of_a_processor_is_a_whole_one_to_the_guest() {
        assert_eq!(cpus(Some(1500)).unwrap(), 2);
        assert_eq!(cpus(None).unwrap(), 1);
        assert!(cpus(Some(33_000)).is_err());
    }
}
