//! Kernels that do what no kernel should: each end has its own words, and the exit code is 125.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Command, Stdio},
};

use coracle_tests::{Installation, coracle, done, run};
use tempfile::TempDir;

/// A file that passes as a kernel and runs this 32-bit code at its PVH entry (x86 PVH boot ABI).
fn kernel(directory: &TempDir, name: &str, code: &[u8]) -> PathBuf {
    const START: u32 = 0x100_0000;
    let banner = b"Linux version 6.12.0-test (user@host) #1\0";
    let mut body = code.to_vec();
    body.extend(banner);
    let mut note = Vec::new();
    // Length of the name, of the description, and XEN_ELFNOTE_PHYS32_ENTRY.
    for word in [4_u32, 4, 18] {
        note.extend(word.to_le_bytes());
    }
    note.extend(b"Xen\0");
    note.extend(START.to_le_bytes());

    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    // ET_EXEC for EM_X86_64, version, entry, program headers right after this header.
    file.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    for word in [u64::from(START), 64, 0] {
        file.extend(word.to_le_bytes());
    }
    file.extend([0, 0, 0, 0, 64, 0, 56, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    let data = 64 + 2 * 56;
    let parts = [
        (1_u32, data, body.len() as u64),
        (4, data + body.len() as u64, note.len() as u64),
    ];
    for (kind, offset, size) in parts {
        file.extend(kind.to_le_bytes());
        file.extend(7_u32.to_le_bytes());
        for word in [offset, u64::from(START), u64::from(START), size, size, 1] {
            file.extend(word.to_le_bytes());
        }
    }
    file.extend(body);
    file.extend(note);
    let path = directory.path().join(name);
    fs::write(&path, file).unwrap();
    path
}

fn words(code: &[u8]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let kernel = kernel(&directory, "kernel", code);
    let kernel = kernel.to_str().unwrap();
    run(["--kernel", kernel, "busybox", "true"])
        .expect(125)
        .stderr
}

#[test]
fn kernel_that_resets_at_once_is_told() {
    // mov al, 0xfe; out 0x64, al: the keyboard controller's reset line; hlt
    let words = words(&[0xb0, 0xfe, 0xe6, 0x64, 0xf4]);
    assert!(words.contains("the guest stopped before"), "{words}");
}

#[test]
fn kernel_that_triple_faults_is_told() {
    // ud2, with no table of interrupts to go to.
    let words = words(&[0x0f, 0x0b]);
    assert!(words.contains("triple fault"), "{words}");
}

/// In its place, and as long: what is kept of a kernel is never kept of another.
#[test]
fn kernel_that_was_written_over_is_not_booted() {
    let directory = tempfile::tempdir().unwrap();
    // out 0x64, 0xfe: the reset line; ud2 without a table of interrupts: a triple fault.
    let codes: [&[u8]; 2] = [b"\xb0\xfe\xe6\x64\xf4", b"\x0f\x0b\xf4\xf4\xf4"];
    let mut told = Vec::new();
    for code in [codes[0], codes[1], codes[0]] {
        let next = kernel(&directory, "next", code);
        let path = directory.path().join("kernel");
        fs::copy(next, &path).unwrap();
        let ran = run(["--kernel", path.to_str().unwrap(), "busybox", "true"]);
        told.push(ran.expect(125).stderr);
    }
    assert_eq!(told[0], told[2]);
    assert_ne!(told[0], told[1]);
}

#[test]
fn kernel_that_hangs_is_given_up() {
    // cli; hlt; again
    let words = words(&[0xfa, 0xf4, 0xeb, 0xfd]);
    assert!(words.contains("did not come up in time"), "{words}");
}

#[test]
#[ignore = "a flood of 60 s in a software host; make e2e-inside runs it, where the time is 10 s"]
fn kernel_that_floods_its_console_is_given_up_with_its_last_words() {
    // mov dx, 0x3f8; mov al, 'x'; out dx, al; again
    let words = words(&[0x66, 0xba, 0xf8, 0x03, 0xb0, b'x', 0xee, 0xeb, 0xfd]);
    assert!(words.contains("did not come up in time"), "{words}");
    assert!(words.contains("xxxx"), "{words}");
    assert!(words.len() < 64 << 10, "{} bytes", words.len());
}

#[test]
fn kernel_that_is_there_waits_for_no_other_build() {
    let installation = Installation::new(None);
    let lock = installation.path("cache").join("coracle/kernels/lock");
    let lock = File::create(lock).unwrap();
    lock.lock().unwrap();
    let built = installation.run(&["kernel", "build"]).expect(0);
    let known = installation.run(&["kernel", "path"]).expect(0);
    assert_eq!(built.stdout, known.stdout);
}

#[test]
fn emulated_kernel_leaves_alone_what_the_emulation_gets_wrong() {
    let words = ["--rm", "--machine", "always", "busybox"];
    let flags = ["grep", "-w", "-c", "cx16", "/proc/cpuinfo"];
    assert_eq!(run(words.into_iter().chain(flags)).expect(1).stdout, "0\n");
}

/// Functions of the kernel end in a plain return until it finds that its processor needs more than that. QEMU's
/// emulation can be any processor; without a root file system a kernel goes through its whole boot, and panics.
#[test]
fn kernel_returns_by_the_thunk_that_its_processor_needs() {
    let kernel = done(&mut coracle(["kernel", "path"])).expect(0).stdout;
    for (processor, thunk) in [
        ("max", None),
        ("EPYC", Some("srso_return_thunk")),
        ("EPYC-Milan", Some("srso_alias_return_thunk")),
        ("Icelake-Server", Some("its_return_thunk")),
    ] {
        let mut machine = Command::new("qemu-system-x86_64");
        machine
            .args([
                "-machine", "pc", "-accel", "tcg", "-cpu", processor, "-m", "128",
            ])
            .args(["-nodefaults", "-no-reboot", "-display", "none"])
            .args(["-serial", "stdio", "-kernel", kernel.trim(), "-append"])
            // On a busy machine the timer's interrupts come too late for a kernel that counts them.
            .arg("console=ttyS0 panic=-1 reboot=k clearcpuid=cx16 no_timer_check")
            .stdin(Stdio::null());
        let said = done(&mut machine).expect(0).stdout;
        let active = said
            .lines()
            .filter_map(|line| line.split_once("active return thunk: "))
            .next_back();
        let active = active.map(|(_, name)| name.trim());
        assert_eq!(active, thunk, "{processor}: {said}");
        assert!(
            said.contains("Unable to mount root fs"),
            "{processor}: {said}"
        );
        // As a warning of the kernel's begins, of a return that was left out among others.
        assert!(!said.contains("cut here"), "{processor}: {said}");
    }
}
