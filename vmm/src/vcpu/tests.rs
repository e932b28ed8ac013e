//! What exits mean, shown without KVM.

use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::*;
use crate::arch::this::ports::{CLOCK, KEYBOARD, PULSE_RESET};
use crate::virtio::{
    rng::Rng,
    testing::{Driver, RUNNING, register},
};

struct Scene {
    bus: Bus,
    driver: Driver,
    console: Console,
    line: EventFd,
}

/// A machine with one device, an entropy source that was started.
fn scene() -> Scene {
    let mut driver = Driver::new(Box::new(Rng::new()));
    driver.start(0);
    let console = Console::new(false);
    let line = EventFd::new(EFD_NONBLOCK).unwrap();
    let serial = Serial::new(Line(line.try_clone().unwrap()), console.clone());
    let bus = Bus {
        transports: vec![Window::new(Arc::clone(driver.transport()))],
        serial: Mutex::new(serial),
    };
    Scene {
        bus,
        driver,
        console,
        line,
    }
}

impl Scene {
    fn mmio_read<const LENGTH: usize>(&self, address: u64) -> [u8; LENGTH] {
        let mut data = [0x55; LENGTH];
        assert_eq!(
            handle(VcpuExit::MmioRead(address, &mut data), &self.bus),
            None
        );
        data
    }

    fn mmio_write(&self, address: u64, data: &[u8]) {
        assert_eq!(handle(VcpuExit::MmioWrite(address, data), &self.bus), None);
    }

    fn port_read<const LENGTH: usize>(&self, port: u16) -> [u8; LENGTH] {
        let mut data = [0x55; LENGTH];
        assert_eq!(handle(VcpuExit::IoIn(port, &mut data), &self.bus), None);
        data
    }

    fn port_write(&self, port: u16, data: &[u8]) {
        assert_eq!(handle(VcpuExit::IoOut(port, data), &self.bus), None);
    }
}

#[test]
fn reads_and_writes_reach_the_device_at_their_address() {
    let scene = scene();
    assert_eq!(scene.mmio_read(MMIO_START), *b"virt");
    assert_eq!(scene.mmio_read(MMIO_START + 8), 4_u32.to_le_bytes());
    let status = MMIO_START + register::STATUS;
    assert_eq!(scene.mmio_read(status), RUNNING.to_le_bytes());
    scene.mmio_write(status, &0_u32.to_le_bytes());
    assert_eq!(scene.driver.read(register::STATUS), 0);
}

#[test]
fn addresses_without_a_device_read_as_ones_and_take_nothing() {
    let scene = scene();
    for address in [
        0,
        MMIO_START - 4,
        MMIO_START + MMIO_SIZE,
        MMIO_START + 1000 * MMIO_SIZE,
        u64::MAX - 3,
        u64::MAX,
    ] {
        assert_eq!(scene.mmio_read(address), [0xff; 4], "{address:#x}");
        assert_eq!(scene.mmio_read(address), [0xff; 8], "{address:#x}");
        scene.mmio_write(address, &[0; 4]);
    }
    assert_eq!(scene.driver.read(register::STATUS), RUNNING);
}

#[test]
fn last_bytes_of_a_device_are_its_own() {
    let scene = scene();
    assert_eq!(scene.mmio_read(MMIO_START + MMIO_SIZE - 1), [0]);
    scene.mmio_write(MMIO_START + MMIO_SIZE - 1, &[1; 8]);
}

#[test]
fn interrupt_is_seen_and_acknowledged_while_the_device_is_at_work() {
    let mut scene = scene();
    let room = scene.driver.room(8);
    scene.driver.add(0, &[room]);
    scene.driver.kick(0);
    let transport = Arc::clone(scene.driver.transport());
    let at_work = transport.lock().unwrap();
    let (status, acknowledge) = (
        MMIO_START + INTERRUPT_STATUS,
        MMIO_START + INTERRUPT_ACKNOWLEDGE,
    );
    assert_eq!(scene.mmio_read(status), 1_u32.to_le_bytes());
    scene.mmio_write(acknowledge, &2_u32.to_le_bytes());
    assert_eq!(scene.mmio_read(status), 1_u32.to_le_bytes());
    scene.mmio_write(acknowledge, &1_u32.to_le_bytes());
    assert_eq!(scene.mmio_read(status), [0; 4]);
    drop(at_work);
}

#[test]
fn interrupt_status_of_another_width_is_none() {
    let mut scene = scene();
    let room = scene.driver.room(8);
    scene.driver.add(0, &[room]);
    scene.driver.kick(0);
    assert_eq!(scene.mmio_read(MMIO_START + INTERRUPT_STATUS), [0; 1]);
    assert_eq!(scene.mmio_read(MMIO_START + INTERRUPT_STATUS), [0; 8]);
    scene.mmio_write(MMIO_START + INTERRUPT_ACKNOWLEDGE, &[1]);
    assert_eq!(scene.mmio_read(MMIO_START + INTERRUPT_STATUS), [1, 0, 0, 0]);
}

#[test]
fn serial_port_writes_to_the_console() {
    let scene = scene();
    for byte in b"panic" {
        scene.port_write(0x3f8, &[*byte]);
    }
    assert_eq!(scene.console.text(), "panic");
    // The transmitter is empty: a driver may go on.
    let [status] = scene.port_read(0x3fd);
    assert_eq!(status & 0x60, 0x60);
    // With its interrupt enabled, each byte that is sent pulls the line.
    scene.port_write(0x3f9, &[2]);
    scene.port_write(0x3f8, b"!");
    assert!(scene.line.read().unwrap() > 0);
}

#[test]
fn serial_port_takes_single_bytes_only() {
    let scene = scene();
    scene.port_write(0x3f8, b"many");
    scene.port_write(0x3f8, &[]);
    assert_eq!(scene.port_read(0x3f8), [0xff; 4]);
    assert_eq!(scene.console.text(), "");
}

#[test]
fn console_keeps_a_bounded_end_of_what_a_guest_writes() {
    let scene = scene();
    for index in 0..100_000_u32 {
        scene.port_write(0x3f8, &index.to_le_bytes()[..1]);
    }
    assert!(scene.console.text().chars().count() <= contracts::monitor::MAX_CONSOLE);
}

#[test]
fn serial_port_that_hears_itself_stays_bounded() {
    let scene = scene();
    scene.port_write(0x3fc, &[0x10]);
    for _ in 0..100_000 {
        scene.port_write(0x3f8, b"x");
    }
    assert_eq!(scene.console.text(), "");
    assert_eq!(scene.port_read(0x3f8), *b"x");
}

#[test]
fn ports_without_a_device_read_as_ones() {
    let scene = scene();
    for port in [0, 0x2f8, 0x3f7, 0x400, 0xcf8, u16::MAX] {
        assert_eq!(scene.port_read(port), [0xff], "{port:#x}");
        assert_eq!(scene.port_read(port), [0xff; 4], "{port:#x}");
        scene.port_write(port, &[0; 4]);
    }
    // Neither of these is ever busy.
    assert_eq!(scene.port_read(KEYBOARD), [0]);
    assert_eq!(scene.port_read(CLOCK), [0]);
}

#[test]
fn only_the_reset_pulse_of_the_keyboard_controller_ends_the_machine() {
    let scene = scene();
    scene.port_write(KEYBOARD, &[0xff]);
    scene.port_write(KEYBOARD, &[PULSE_RESET, 0]);
    scene.port_write(0x60, &[PULSE_RESET]);
    let reset = handle(VcpuExit::IoOut(KEYBOARD, &[PULSE_RESET]), &scene.bus);
    assert_eq!(reset, Some(StopReason::GuestReset));
}

#[test]
fn ends_of_a_guest_are_told_apart() {
    let scene = scene();
    for event in [1, 2] {
        let end = handle(VcpuExit::SystemEvent(event, &[]), &scene.bus);
        assert_eq!(end, Some(StopReason::GuestReset));
    }
    let end = handle(VcpuExit::Shutdown, &scene.bus);
    assert_eq!(end, Some(StopReason::TripleFault));
}

#[test]
fn failures_are_told_in_words() {
    let scene = scene();
    for (exit, word) in [
        (VcpuExit::FailEntry(0x8000_0021, 3), "0x80000021"),
        (VcpuExit::InternalError, "cannot emulate"),
        (VcpuExit::SystemEvent(3, &[]), "SystemEvent"),
        (VcpuExit::Exception, "Exception"),
        (VcpuExit::Unknown, "Unknown"),
    ] {
        let Some(StopReason::Failed(words)) = handle(exit, &scene.bus) else {
            panic!("{word} is no failure");
        };
        assert!(words.contains(word), "{words}");
    }
}

#[test]
fn exits_that_mean_nothing_go_on() {
    let scene = scene();
    for exit in [
        VcpuExit::Hlt,
        VcpuExit::Intr,
        VcpuExit::IrqWindowOpen,
        VcpuExit::IoapicEoi(5),
    ] {
        assert_eq!(handle(exit, &scene.bus), None);
    }
}
