//! What the system shows of this process: its arguments to every user (`/proc/PID/cmdline`), its
//! environment to its own. Both lie in one piece of memory that the kernel made with the process, and that
//! a fork inherits.

use std::{
    env,
    ffi::{CStr, CString, OsStr, c_char},
    os::unix::ffi::{OsStrExt, OsStringExt},
    sync::OnceLock,
};

/// Variables that a process needs which outlives its command: it may start a software host, and a monitor again.
const KEPT: [&str; 4] = ["PATH", "HOME", "TMPDIR", "LANG"];

/// Beginnings of others.
const KEPT_PREFIXES: [&str; 2] = ["XDG_", "CORACLE_MACHINE_"];

unsafe extern "C" {
    /// Strings `NAME=VALUE`, a null pointer after the last: environ(7).
    static mut environ: *mut *mut c_char;
    /// The first argument, where the kernel put it: program_invocation_name(3).
    static program_invocation_name: *const c_char;
}

/// Whether a process that outlives its command keeps a variable.
pub fn is_kept(name: &OsStr) -> bool {
    let name = name.as_bytes();
    let begins = |prefix: &&str| name.starts_with(prefix.as_bytes());
    KEPT.iter().any(|kept| kept.as_bytes() == name) || KEPT_PREFIXES.iter().any(begins)
}

/// The memory of the arguments and, after them, of the environment: where it begins, and both lengths.
#[derive(Clone, Copy)]
struct Area {
    arguments: usize,
    arguments_length: usize,
    environment_length: usize,
}

/// The area, which is looked for once: before anything is written there.
fn area() -> Option<Area> {
    static AREA: OnceLock<Option<Area>> = OnceLock::new();
    *AREA.get_or_init(find)
}

/// Finds it, if it is as the kernel made it: arguments and variables as they are known, one after the other.
fn find() -> Option<Area> {
    let with_end = |text: &OsStr| text.len() + 1;
    let arguments_length = env::args_os().map(|one| with_end(&one)).sum();
    // SAFETY: the C library sets it before `main`, and nothing here changes it.
    let arguments = unsafe { program_invocation_name }.cast::<u8>();
    let mut next = arguments.wrapping_add(arguments_length);
    let begin = next.addr();
    // SAFETY: no other thread exists, as the callers say, which could change the environment; each of its
    // strings ends with a zero byte.
    unsafe {
        let mut variable = environ;
        while !variable.is_null() && !(*variable).is_null() {
            if (*variable).addr() != next.addr() {
                return None;
            }
            next = next.wrapping_add(CStr::from_ptr(*variable).count_bytes() + 1);
            variable = variable.add(1);
        }
    }
    Some(Area {
        arguments: arguments.expose_provenance(),
        arguments_length,
        environment_length: next.addr() - begin,
    })
}

/// Shows other words in place of the arguments: what the user typed may hold secrets, and a process that
/// waits for a container shows it to everyone. As much of them as there is room. Call it before any thread
/// exists; arguments cannot be read afterwards.
pub fn show(title: &str) {
    if let Some(area) = area() {
        // SAFETY: the memory is this process's own, and whoever reads arguments again gets bytes that end
        // with a zero in the same place.
        unsafe { write(area, area.arguments_length, title) };
    }
}

/// As [`show`], and forgets the environment but for what a process needs that outlives its command. Call it
/// before any thread exists.
pub fn show_alone(title: &str) {
    let area = area();
    let kept = env::vars_os().filter(|(name, _)| is_kept(name));
    let kept = kept.filter_map(|(mut name, value)| {
        name.push("=");
        name.push(value);
        CString::new(name.into_vec()).ok()
    });
    let mut kept: Vec<*mut c_char> = kept.map(CString::into_raw).collect();
    kept.push(std::ptr::null_mut());
    // SAFETY: there is one thread, as the callers say; the strings and the list live as long as the process.
    unsafe { environ = kept.leak().as_mut_ptr() };
    if let Some(area) = area {
        let length = area.arguments_length + area.environment_length;
        // SAFETY: as above; the environment that lay there is nobody's any more.
        unsafe { write(area, length, title) };
    }
}

/// Fills so much of the area with words and zeros.
///
/// # Safety
/// It is at least as long, and nobody needs what is there.
unsafe fn write(area: Area, length: usize, title: &str) {
    let memory = std::ptr::with_exposed_provenance_mut::<u8>(area.arguments);
    let words = title.len().min(length.saturating_sub(1));
    // SAFETY: the caller's; both parts lie within the length.
    unsafe {
        std::ptr::copy_nonoverlapping(title.as_ptr(), memory, words);
        std::ptr::write_bytes(memory.add(words), 0, length - words);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_software_host_needs_is_kept_and_secrets_are_not() {
        for name in ["PATH", "HOME", "XDG_RUNTIME_DIR", "CORACLE_MACHINE_IDLE"] {
            assert!(is_kept(OsStr::new(name)), "{name}");
        }
        for name in ["PASSWORD", "PATHS", "AWS_SECRET_ACCESS_KEY", ""] {
            assert!(!is_kept(OsStr::new(name)), "{name}");
        }
    }
}
