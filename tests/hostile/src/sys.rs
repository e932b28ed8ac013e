//! System calls by number, also by the old interfaces, and what else needs `unsafe`.
#![expect(
    unsafe_code,
    reason = "attacks call the kernel as no library would, each with memory of its own that lives through the call"
)]

use std::{
    ffi::CString,
    io,
    os::fd::{FromRawFd, OwnedFd, RawFd},
};

use crate::attempt::Refused;

fn last_error() -> Refused {
    io::Error::last_os_error()
        .raw_os_error()
        .unwrap_or(libc::EIO)
}

/// A system call by its number.
pub(crate) fn call(number: libc::c_long, arguments: [u64; 6]) -> Result<u64, Refused> {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: callers pass integers, and addresses of memory that they own for the whole call; what the kernel
    // writes there they read as plain bytes.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if result < 0 {
        Err(last_error())
    } else {
        Ok(result.cast_unsigned())
    }
}

/// A system call by the interface of 32-bit programs; a kernel without it sends a signal.
pub(crate) fn call_32(number: u32, first: u32, second: u32) -> Result<u64, Refused> {
    let result: i32;
    // SAFETY: the interrupt changes the result's register and, on some kernels, r8 to r11; rbx, which the
    // compiler keeps for itself, is put back. The kernel reads at most three words at `second`, which the caller
    // keeps below 4 GiB.
    unsafe {
        std::arch::asm!(
            "push rbx",
            "mov ebx, {first:e}",
            "int 0x80",
            "pop rbx",
            first = in(reg) first,
            inlateout("eax") number => result,
            in("ecx") second,
            in("edx") 0,
            lateout("r8") _,
            lateout("r9") _,
            lateout("r10") _,
            lateout("r11") _,
        );
    }
    if result < 0 {
        Err(-result)
    } else {
        Ok(u64::from(result.cast_unsigned()))
    }
}

/// Words at an address that fits a 32-bit program.
pub(crate) fn low_words(words: [u32; 3]) -> Result<u32, Refused> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT;
    // SAFETY: a new mapping of one page, which is never removed; the words fit into it.
    unsafe {
        let page = libc::mmap(
            std::ptr::null_mut(),
            4096,
            libc::PROT_READ | libc::PROT_WRITE,
            flags,
            -1,
            0,
        );
        if page == libc::MAP_FAILED {
            return Err(last_error());
        }
        page.cast::<[u32; 3]>().write(words);
        u32::try_from(page as usize).map_err(|_| libc::EFAULT)
    }
}

/// A write that nobody reads is an error to handle, as in every program of this language.
pub(crate) fn ignore_broken_pipes() {
    // SAFETY: the disposition runs no code.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

/// How a child ended.
pub(crate) enum End {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// A child that does something and ends with what that gives; its number.
pub(crate) fn fork(action: impl FnOnce() -> i32) -> Result<i32, Refused> {
    // SAFETY: the program has one thread, so that the child may do what its parent may.
    match unsafe { libc::fork() } {
        -1 => Err(last_error()),
        0 => {
            let code = action();
            exit(code)
        }
        child => Ok(child),
    }
}

/// Waits for a child's end.
pub(crate) fn wait(child: i32) -> Result<End, Refused> {
    let mut status = 0;
    loop {
        // SAFETY: the status lives through the call.
        let waited = unsafe { libc::waitpid(child, &raw mut status, libc::__WALL) };
        match waited {
            -1 if last_error() == libc::EINTR => {}
            -1 => return Err(last_error()),
            _ if libc::WIFEXITED(status) => return Ok(End::Code(libc::WEXITSTATUS(status))),
            _ if libc::WIFSIGNALED(status) => return Ok(End::Signal(libc::WTERMSIG(status))),
            // Stopped by a tracer.
            _ => {}
        }
    }
}

/// Ends this process at once.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: nothing runs after it.
    unsafe { libc::_exit(code) }
}

/// A text for the kernel.
pub(crate) fn text(text: &str) -> CString {
    CString::new(text).unwrap_or_default()
}

/// A descriptor that a call has just given.
pub(crate) fn owned(descriptor: u64) -> OwnedFd {
    let descriptor = RawFd::try_from(descriptor).unwrap_or(-1);
    // SAFETY: the caller got it from the kernel and gives it to nobody else.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

/// A descriptor that was passed to this program by number.
pub(crate) fn inherited(descriptor: i32) -> OwnedFd {
    // SAFETY: who started the program passed it for this one owner.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

/// A stream socket of vsock to a port of the host; what the call says when it is refused.
pub(crate) fn vsock(port: u32, flags: i32) -> Result<OwnedFd, Refused> {
    let family = u64::try_from(libc::AF_VSOCK).unwrap_or_default();
    let kind = (libc::SOCK_STREAM | libc::SOCK_CLOEXEC | flags).cast_unsigned();
    let socket = owned(call(libc::SYS_socket, [family, kind.into(), 0, 0, 0, 0])?);
    // struct sockaddr_vm of linux/vm_sockets.h: family, reserved, port, CID, and four bytes.
    let mut address = [0_u32; 4];
    address[0] = libc::AF_VSOCK.cast_unsigned();
    address[1] = port;
    address[2] = 2;
    let descriptor = std::os::fd::AsRawFd::as_raw_fd(&socket);
    let place = address.as_ptr() as u64;
    let connect = call(
        libc::SYS_connect,
        [descriptor.cast_unsigned().into(), place, 16, 0, 0, 0],
    );
    match connect {
        Err(number) if number != libc::EINPROGRESS => Err(number),
        _ => Ok(socket),
    }
}
