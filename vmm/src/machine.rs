//! A machine's life: opened, built, running. Each state is consumed by the next.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    sync::{Arc, Barrier, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use contracts::monitor::{Extent, Plan, Report, StopReason};
use kvm_ioctls::{Kvm, VcpuFd, VmFd};
use vm_memory::{GuestAddress, GuestMemoryMmap};
use vm_superio::Serial;
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use crate::{
    arch::this::{self as arch, layout},
    console::Console,
    devices::{self, OpenDisk},
    event_loop::{EventLoop, as_fd},
    jail::{self, Separation},
    owner::{Owner, Ways},
    sharing::Sharing,
    timeline::Timeline,
    vcpu::{self, Bus, Line, Window},
    virtio::{
        Memory,
        mmio::{QUEUE_NOTIFY, Transport},
        vsock,
    },
};

/// Why a machine could not be built or run.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// The plan asks for what cannot be.
    #[error("the plan cannot be: {0}")]
    Plan(String),
    /// A file of the plan cannot be opened.
    #[error("cannot open the {what} {}: {source}", path.display())]
    Open {
        /// What it is for.
        what: &'static str,
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A disk is not what the plan says.
    #[error("cannot use a disk: {0}")]
    Disk(#[from] devices::DiskError),
    /// KVM refused.
    #[error("cannot {action}: {source}")]
    Kvm {
        /// What was tried.
        action: &'static str,
        /// KVM's reason.
        source: kvm_ioctls::Error,
    },
    /// The machine's memory, events or threads could not be had.
    #[error("cannot {action}: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The guest's memory.
    #[error("cannot get {0} MiB of memory for the guest: {1}")]
    Memory(u32, String),
    /// The kernel.
    #[error(transparent)]
    Boot(#[from] arch::BootError),
    /// Parts of the machine.
    #[error("{0}: {source}", source = source_of(.0))]
    SetUp(#[from] arch::SetUpError),
    /// The jail.
    #[error(transparent)]
    Jail(#[from] jail::JailError),
}

fn source_of(error: &arch::SetUpError) -> String {
    std::error::Error::source(error)
        .map(ToString::to_string)
        .unwrap_or_default()
}

fn system(action: &'static str) -> impl Fn(io::Error) -> MachineError {
    move |source| MachineError::System { action, source }
}

fn kvm(action: &'static str) -> impl Fn(kvm_ioctls::Error) -> MachineError {
    move |source| MachineError::Kvm { action, source }
}

/// A plan whose files are open; nothing is opened by path after this.
pub struct Opened {
    plan: Plan,
    kvm: Kvm,
    kernel: File,
    initramfs: Option<File>,
    disks: Vec<OpenDisk>,
}

impl Opened {
    /// Opens `/dev/kvm` and what the plan names.
    ///
    /// # Errors
    /// When the plan is out of range or a file cannot be opened.
    pub fn new(plan: Plan) -> Result<Self, MachineError> {
        plan.check().map_err(MachineError::Plan)?;
        let open = |what, path: &PathBuf| {
            let mut options = OpenOptions::new();
            // A pipe would be waited for; it is empty instead, and refused for that.
            options.read(true).custom_flags(libc::O_NONBLOCK);
            options.open(path).map_err(|source| MachineError::Open {
                what,
                path: path.clone(),
                source,
            })
        };
        let kernel = open("kernel", &plan.kernel)?;
        let initramfs = match &plan.initramfs {
            Some(path) => Some(open("initial RAM file system", path)?),
            None => None,
        };
        let disks = plan
            .disks
            .iter()
            .map(OpenDisk::open)
            .collect::<Result<_, _>>()?;
        let kvm = Kvm::new().map_err(kvm("open /dev/kvm"))?;
        Ok(Self {
            plan,
            kvm,
            kernel,
            initramfs,
            disks,
        })
    }
}

/// A machine that only has to be started.
pub struct Built {
    plan: Plan,
    vcpus: Vec<VcpuFd>,
    bus: Arc<Bus>,
    /// Only with one processor.
    sharing: Option<Sharing>,
    main_loop: EventLoop,
    disk_loop: EventLoop,
    console: Console,
    ways: Ways,
    /// Interrupts of devices end with it, and so it lives as long as they do.
    _vm: VmFd,
}

impl Built {
    /// Builds the machine, its kernel loaded and its devices in place.
    ///
    /// # Errors
    /// When KVM or the system refuses, or the kernel is none.
    pub fn new(
        opened: Opened,
        host: Option<Box<dyn vsock::Host>>,
        live_console: bool,
        timeline: &mut Timeline,
    ) -> Result<Self, MachineError> {
        let Opened {
            plan,
            kvm: kvm_device,
            mut kernel,
            mut initramfs,
            disks,
        } = opened;
        let vm = kvm_device
            .create_vm()
            .map_err(kvm("create a virtual machine"))?;
        timeline.mark("virtual machine created");
        let memory = memory(plan.memory_mib)?;
        crate::memory::give(&vm, &memory).map_err(kvm("give the guest its memory"))?;
        arch::set_up_machine(&vm, &memory, plan.cpus)?;

        let mut main_loop = EventLoop::new().map_err(system("make an event loop"))?;
        let mut disk_loop = EventLoop::new().map_err(system("make an event loop"))?;
        let made = devices::devices(&plan, disks, host)?;
        let mut transports = Vec::new();
        let mut command_line = plan.command_line.clone();
        for (index, device) in (0_u32..).zip(made.devices) {
            let target = if device.on_disk_loop {
                &mut disk_loop
            } else {
                &mut main_loop
            };
            let line = Arc::new(event()?);
            let irq = layout::FIRST_IRQ + index;
            vm.register_irqfd(&line, irq)
                .map_err(kvm("connect an interrupt line"))?;
            let transport =
                Transport::new(device.device, memory.clone(), target.next_watcher(), line);
            let address = layout::MMIO_START + u64::from(index) * layout::MMIO_SIZE;
            let mut notifications = Vec::new();
            for queue in (0_u32..).take(transport.queue_count()) {
                let notification = event()?;
                let at = kvm_ioctls::IoEventAddress::Mmio(address + QUEUE_NOTIFY);
                vm.register_ioevent(&notification, &at, queue)
                    .map_err(kvm("connect a queue's notification"))?;
                notifications.push(notification);
            }
            let transport = Arc::new(Mutex::new(transport));
            target
                .add(Arc::clone(&transport), notifications)
                .map_err(system("watch a device's queues"))?;
            transports.push(transport);
            command_line.push_str(&format!(" virtio_mmio.device=4K@{address:#x}:{irq}"));
        }
        timeline.mark("devices made");

        let loaded = arch::load(&memory, &mut kernel, initramfs.as_mut(), &command_line)?;
        let mut sharing = None;
        if plan.cpus == 1 {
            sharing = Some(Sharing::new(&memory, kernel, loaded.copies, &made.idle));
        }
        timeline.mark("kernel loaded");
        let serial_line = event()?;
        vm.register_irqfd(&serial_line, arch::ports::SERIAL_IRQ)
            .map_err(kvm("connect an interrupt line"))?;
        let console = Console::new(live_console);
        let serial = Mutex::new(Serial::new(Line(serial_line), console.clone()));
        let mut vcpus = Vec::new();
        for number in 0..plan.cpus {
            let vcpu = vm
                .create_vcpu(number.into())
                .map_err(kvm("create a processor"))?;
            arch::set_up_processor(&kvm_device, &vcpu, &memory, number, plan.cpus, loaded.entry)?;
            vcpus.push(vcpu);
        }
        timeline.mark("processors made");
        Ok(Self {
            plan,
            vcpus,
            bus: Arc::new(Bus {
                transports: transports.into_iter().map(Window::new).collect(),
                serial,
            }),
            sharing,
            main_loop,
            disk_loop,
            console,
            ways: Ways {
                vsock: made.vsock,
                disks: made.disks,
            },
            _vm: vm,
        })
    }
}

fn event() -> Result<EventFd, MachineError> {
    EventFd::new(EFD_CLOEXEC | EFD_NONBLOCK).map_err(system("make an event"))
}

fn memory(mib: u32) -> Result<Memory, MachineError> {
    let failed = |error: String| MachineError::Memory(mib, error);
    let range = |(start, length): (u64, u64)| match usize::try_from(length) {
        Ok(length) => Ok((GuestAddress(start), length)),
        Err(error) => Err(failed(error.to_string())),
    };
    let ranges = layout::memory(u64::from(mib) << 20).into_iter().map(range);
    let ranges: Vec<_> = ranges.collect::<Result<_, _>>()?;
    GuestMemoryMmap::from_ranges(&ranges).map_err(|error| failed(error.to_string()))
}

/// The end of the largest extent of a file that the guest may write, in bytes.
fn largest_file(plan: &Plan) -> u64 {
    let writable = plan.disks.iter().filter(|disk| !disk.read_only);
    let ends = writable.flat_map(|disk| &disk.extents).map(Extent::end);
    ends.max().unwrap_or(0)
}

/// Tokens of the main loop's own descriptors.
const OWNER: u32 = 0;
const STOPPED: u32 = 1;

impl Built {
    /// Closes the jail around what [`jail::separate`] made, runs the machine to its end, and tells how it ended. The process must end
    /// soon after: its processors and disks still have their threads.
    ///
    /// # Errors
    /// When the jail cannot be closed or a thread not be started.
    pub fn run(
        mut self,
        owner: &Owner,
        separation: Separation,
        timeline: &mut Timeline,
    ) -> Result<Report, MachineError> {
        let stopped = event()?;
        self.main_loop
            .watch(as_fd(&stopped), STOPPED)
            .map_err(system("watch an event"))?;
        if let Some(socket) = &owner.socket {
            self.main_loop
                .watch(&**socket, OWNER)
                .map_err(system("watch the owner"))?;
        }
        // What it prints for a person may go to a file, which has no size that we know.
        let known = owner.socket.is_some() && !self.console.live();
        let size = known.then(|| largest_file(&self.plan));
        owner.tell_walls(jail::enter(separation, size, self.plan.require_jail)?);
        let (sender, receiver) = mpsc::channel();
        let threads = self.vcpus.len() + 2;
        let ready = Arc::new(Barrier::new(threads));
        let start = |name: String, work: Box<dyn FnOnce() + Send>| {
            let thread = thread::Builder::new()
                .name(name)
                .stack_size(THREAD_STACK)
                .spawn(work);
            thread.map(drop).map_err(system("start a thread"))
        };
        let main_filter = jail::filter(jail::Kind::Main);
        let disk_filter = jail::filter(jail::Kind::Disk);
        let vcpu_filter = jail::filter(jail::Kind::Vcpu);
        let mut disk_loop = self.disk_loop;
        let disk_ready = Arc::clone(&ready);
        start(
            "disks".into(),
            Box::new(move || {
                disk_filter.apply();
                disk_ready.wait();
                while disk_loop.wait(None, |_| {}).is_ok() {}
            }),
        )?;
        for (number, mut vcpu) in self.vcpus.into_iter().enumerate() {
            let (bus, ready) = (Arc::clone(&self.bus), Arc::clone(&ready));
            let vcpu_filter = vcpu_filter.clone();
            let sharing = self.sharing.take();
            let sender = sender.clone();
            let stopped = stopped.try_clone().map_err(system("duplicate an event"))?;
            start(
                format!("vcpu {number}"),
                Box::new(move || {
                    vcpu_filter.apply();
                    ready.wait();
                    let reason = vcpu::run(&mut vcpu, &bus, sharing);
                    // The main loop is there as long as the process.
                    let _ = sender.send(reason);
                    let _ = stopped.write(1);
                }),
            )?;
        }
        timeline.mark("jail closed");
        main_filter.apply();
        ready.wait();
        timeline.mark("first instruction");
        let deadline = match self.plan.boot_deadline_ms {
            0 => None,
            limit => Some(Instant::now() + Duration::from_millis(limit)),
        };
        let reason = until_stopped(&mut self.main_loop, owner, &receiver, &self.ways, deadline);
        if let Some(at) = owner.first_connection() {
            timeline.insert("first vsock connection", at);
        }
        timeline.mark("machine stopped");
        Ok(Report {
            reason,
            console: self.console.text(),
            timeline: std::mem::take(timeline).into_steps(),
            failures: self.ways.failures(),
        })
    }
}

/// Bytes of a thread's stack: none of ours nests deeply.
const THREAD_STACK: usize = 256 << 10;

fn until_stopped(
    main_loop: &mut EventLoop,
    owner: &Owner,
    vcpus: &mpsc::Receiver<StopReason>,
    ways: &Ways,
    deadline: Option<Instant>,
) -> StopReason {
    loop {
        let deadline = deadline.filter(|_| owner.first_connection().is_none());
        let limit = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let mut reason = None;
        let waited = main_loop.wait(limit, |token| {
            let next = match token {
                OWNER => owner.message(ways),
                _ => vcpus.try_recv().ok(),
            };
            // The first reason is the one that counts.
            if reason.is_none() {
                reason = next;
            }
        });
        if let Some(reason) = reason {
            return reason;
        }
        if let Err(error) = waited {
            return StopReason::Failed(format!("cannot wait for events: {error}"));
        }
        let late = deadline.is_some_and(|deadline| deadline <= Instant::now());
        if late && owner.first_connection().is_none() {
            return StopReason::BootDeadline;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_may_grow_to_the_end_of_the_largest_writable_disk() {
        let disk = |offset, length, read_only| contracts::monitor::Disk {
            extents: vec![Extent::File {
                path: "f".into(),
                offset,
                length,
            }],
            read_only,
        };
        let mut plan = Plan {
            kernel: "k".into(),
            initramfs: None,
            command_line: String::new(),
            memory_mib: 64,
            cpus: 1,
            disks: vec![disk(0, 1 << 40, true)],
            vsock_cid: None,
            boot_deadline_ms: 0,
            require_jail: false,
        };
        assert_eq!(largest_file(&plan), 0);
        plan.disks.push(disk(512, 1024, false));
        plan.disks.push(disk(0, 1024, false));
        assert_eq!(largest_file(&plan), 1536);
    }

    #[test]
    fn plan_that_cannot_be_is_refused_before_anything_is_opened() {
        let plan = Plan {
            kernel: "/nowhere".into(),
            initramfs: None,
            command_line: String::new(),
            memory_mib: 1,
            cpus: 1,
            disks: Vec::new(),
            vsock_cid: None,
            boot_deadline_ms: 0,
            require_jail: false,
        };
        let words = |plan| match Opened::new(plan) {
            Ok(_) => panic!("it was opened"),
            Err(error) => error.to_string(),
        };
        assert!(words(plan.clone()).contains("1 MiB"));
        let nowhere = Plan {
            memory_mib: 64,
            ..plan
        };
        assert!(words(nowhere).contains("cannot open the kernel /nowhere"));
    }
}
