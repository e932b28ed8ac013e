//! Virtual processors: what the guest's exits mean.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU32, Ordering},
};

use contracts::monitor::StopReason;
use kvm_bindings::{KVM_SYSTEM_EVENT_RESET, KVM_SYSTEM_EVENT_SHUTDOWN};
use kvm_ioctls::{VcpuExit, VcpuFd};
use vm_superio::{Serial, Trigger, serial::NoEvents};
use vmm_sys_util::eventfd::EventFd;

use crate::{
    arch::this::{
        layout::{MMIO_SIZE, MMIO_START},
        ports,
    },
    console::Console,
    event_loop::Shared,
    sharing::Sharing,
    virtio::mmio::{INTERRUPT_ACKNOWLEDGE, INTERRUPT_STATUS},
};

/// An interrupt line as vm-superio pulls it.
pub struct Line(pub EventFd);

impl Trigger for Line {
    type E = std::io::Error;

    fn trigger(&self) -> std::io::Result<()> {
        self.0.write(1)
    }
}

/// A transport's registers on the bus.
///
/// What a handler of interrupts reads and writes does not wait for the device, which may be in the
/// middle of a disk's work: a processor would stand still as long.
pub struct Window {
    transport: Shared,
    interrupt_status: Arc<AtomicU32>,
}

impl Window {
    /// The registers of a transport.
    #[must_use]
    pub fn new(transport: Shared) -> Self {
        let status = transport.lock().unwrap_or_else(PoisonError::into_inner);
        let interrupt_status = Arc::clone(status.interrupt_status());
        drop(status);
        Self {
            transport,
            interrupt_status,
        }
    }

    fn read(&self, offset: u64, data: &mut [u8]) {
        if let (INTERRUPT_STATUS, Ok(register)) = (offset, <&mut [u8; 4]>::try_from(&mut *data)) {
            *register = self.interrupt_status.load(Ordering::SeqCst).to_le_bytes();
            return;
        }
        let transport = self.transport.lock();
        let mut transport = transport.unwrap_or_else(PoisonError::into_inner);
        transport.read(offset, data);
    }

    fn write(&self, offset: u64, data: &[u8]) {
        if let (INTERRUPT_ACKNOWLEDGE, Ok(register)) = (offset, <[u8; 4]>::try_from(data)) {
            let seen = u32::from_le_bytes(register);
            self.interrupt_status.fetch_and(!seen, Ordering::SeqCst);
            return;
        }
        let transport = self.transport.lock();
        let mut transport = transport.unwrap_or_else(PoisonError::into_inner);
        transport.write(offset, data);
    }
}

/// What stands on the guest's buses.
pub struct Bus {
    /// Transports, from [`MMIO_START`] in steps of [`MMIO_SIZE`].
    pub transports: Vec<Window>,
    /// The serial port.
    pub serial: Mutex<Serial<Line, NoEvents, Console>>,
}

impl Bus {
    /// Does what no device may disturb.
    fn while_devices_rest(&self, work: impl FnOnce()) {
        let windows = self.transports.iter();
        let locks = windows.map(|window| window.transport.lock());
        let locks: Vec<_> = locks.collect();
        work();
        drop(locks);
    }

    fn transport(&self, address: u64) -> Option<(&Window, u64)> {
        let offset = address.checked_sub(MMIO_START)?;
        let index = usize::try_from(offset / MMIO_SIZE).ok()?;
        Some((self.transports.get(index)?, offset % MMIO_SIZE))
    }
}

/// Runs a processor until the machine has to stop. What is to be shared once the guest idles is for its only
/// processor, which stands still meanwhile.
pub fn run(vcpu: &mut VcpuFd, bus: &Arc<Bus>, mut sharing: Option<Sharing>) -> StopReason {
    loop {
        if let Some(due) = sharing.take_if(|sharing| sharing.due()) {
            bus.while_devices_rest(|| due.share());
        }
        match vcpu.run() {
            Ok(exit) => {
                if let Some(reason) = handle(exit, bus) {
                    return reason;
                }
            }
            Err(error) if [libc::EINTR, libc::EAGAIN].contains(&error.errno()) => {}
            Err(error) => {
                return StopReason::Failed(format!("KVM stopped a processor: {error}"));
            }
        }
    }
}

/// What an exit means: `None` to go on.
pub fn handle(exit: VcpuExit<'_>, bus: &Bus) -> Option<StopReason> {
    match exit {
        VcpuExit::MmioRead(address, data) => {
            data.fill(0xff);
            if let Some((transport, offset)) = bus.transport(address) {
                transport.read(offset, data);
            }
            None
        }
        VcpuExit::MmioWrite(address, data) => {
            if let Some((transport, offset)) = bus.transport(address) {
                transport.write(offset, data);
            }
            None
        }
        VcpuExit::IoIn(port, data) => {
            ports::read(port, data, &bus.serial);
            None
        }
        VcpuExit::IoOut(port, data) => ports::write(port, data, &bus.serial),
        VcpuExit::Shutdown => Some(StopReason::TripleFault),
        VcpuExit::SystemEvent(KVM_SYSTEM_EVENT_SHUTDOWN | KVM_SYSTEM_EVENT_RESET, _) => {
            Some(StopReason::GuestReset)
        }
        VcpuExit::FailEntry(reason, cpu) => Some(StopReason::Failed(format!(
            "the processor refused to enter the guest on CPU {cpu} (reason {reason:#x})"
        ))),
        VcpuExit::InternalError => Some(StopReason::Failed(
            "KVM met an instruction that it cannot emulate; its virtualisation is not complete \
             enough for a guest kernel"
                .into(),
        )),
        VcpuExit::Hlt | VcpuExit::Intr | VcpuExit::IrqWindowOpen | VcpuExit::IoapicEoi(_) => None,
        other => Some(StopReason::Failed(format!(
            "unexpected exit of a processor: {other:?}"
        ))),
    }
}

#[cfg(test)]
mod tests;
