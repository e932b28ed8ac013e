//! The I/O ports of a PC, as far as a guest here meets them: a serial port, and how it asks for a reset.

use std::sync::{Mutex, PoisonError};

use contracts::monitor::StopReason;
use vm_superio::{Serial, Trigger, serial::NoEvents};

use crate::console::Console;

/// Ports of the first serial port.
const SERIAL: std::ops::Range<u16> = 0x3f8..0x400;
/// Interrupt line of the first serial port.
pub const SERIAL_IRQ: u32 = 4;
/// The keyboard controller's command port, and the command that pulls the processor's reset line.
pub(crate) const KEYBOARD: u16 = 0x64;
pub(crate) const PULSE_RESET: u8 = 0xfe;
/// The real-time clock's data port: no guest here keeps time by it, and zero says "not busy".
pub(crate) const CLOCK: u16 = 0x71;

/// Reads a port.
pub fn read<T: Trigger>(port: u16, data: &mut [u8], serial: &Mutex<Serial<T, NoEvents, Console>>) {
    data.fill(if port == CLOCK || port == KEYBOARD {
        0
    } else {
        0xff
    });
    if let (Some(register), [byte]) = (serial_register(port), data) {
        let mut serial = serial.lock().unwrap_or_else(PoisonError::into_inner);
        *byte = serial.read(register);
    }
}

/// Writes to a port; the guest's end, if it asks for that.
pub fn write<T: Trigger>(
    port: u16,
    data: &[u8],
    serial: &Mutex<Serial<T, NoEvents, Console>>,
) -> Option<StopReason> {
    if (port, data) == (KEYBOARD, &[PULSE_RESET]) {
        return Some(StopReason::GuestReset);
    }
    if let (Some(register), [byte]) = (serial_register(port), data) {
        let mut serial = serial.lock().unwrap_or_else(PoisonError::into_inner);
        // A console that cannot be printed is no reason to stop the guest.
        let _ = serial.write(register, *byte);
    }
    None
}

fn serial_register(port: u16) -> Option<u8> {
    let offset = SERIAL.contains(&port).then(|| port - SERIAL.start)?;
    u8::try_from(offset).ok()
}
