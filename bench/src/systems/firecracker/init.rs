//! What runs first in the guest: a program that mounts the image's layers, runs one program in them and resets
//! the machine. Firecracker has no images, and no init. This one is nothing but the system calls that are
//! needed, so that what is measured is the machine, and it serves any image.

use super::assembly::{Code, Data, program};
use crate::systems::process::Process;

/// Begins each line that is init's own, and not the program's.
pub(super) const OWN_WORDS: &str = "coracle-bench init: ";

/// What init says when the program has been executed, if it is asked to.
pub(super) const STARTED: &str = "started";

/// Exit code of a program that cannot be executed, as shells have it.
const NOT_FOUND: u64 = 127;

/// Where programs are looked for when the image does not say: docker's list.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Numbers of system calls (Linux, x86-64).
mod call {
    pub(super) const WRITE: u32 = 1;
    pub(super) const OPEN: u32 = 2;
    pub(super) const CLOSE: u32 = 3;
    pub(super) const IOCTL: u32 = 16;
    pub(super) const VFORK: u32 = 58;
    pub(super) const EXECVE: u32 = 59;
    pub(super) const EXIT: u32 = 60;
    pub(super) const CHDIR: u32 = 80;
    pub(super) const MKDIR: u32 = 83;
    pub(super) const SETUID: u32 = 105;
    pub(super) const SETGID: u32 = 106;
    pub(super) const SETSID: u32 = 112;
    pub(super) const SETGROUPS: u32 = 116;
    pub(super) const CHROOT: u32 = 161;
    pub(super) const MOUNT: u32 = 165;
    pub(super) const REBOOT: u32 = 169;
}

/// `ioctl` that waits until a terminal has sent everything, which a reset would lose.
const TCSBRK: u64 = 0x5409;

/// `LINUX_REBOOT_MAGIC1`, `LINUX_REBOOT_MAGIC2` and `LINUX_REBOOT_CMD_RESTART`.
const RESTART: [u64; 3] = [0xfee1_dead, 0x2812_1969, 0x0123_4567];

/// Flags of mounts.
const READ_ONLY: u64 = 1;
const NO_SUID: u64 = 2;
const NO_DEV: u64 = 4;
const NO_EXEC: u64 = 8;

/// Permissions of directories.
const DIRECTORY: u64 = 0o755;

/// Init for so many layers, which are the machine's disks in their order, and this program.
pub(super) fn init(layers: usize, process: &Process, tells_start: bool) -> Vec<u8> {
    let mut own = Init::default();
    own.mount_all(layers);
    own.enter();
    let child = own.child(process);
    own.code.call(call::VFORK, &[]);
    own.fail("cannot start a process");
    // The child is the first to go on, until it has executed the program or ended.
    own.code.when_zero(&child);
    own.code.raw(&[0x49, 0x89, 0xc4]); // mov r12, rax
    if tells_start {
        let words = own.words(STARTED);
        own.code.append(&words);
    }
    own.wait();
    let end = own.end();
    own.code.append(&end);
    program(&own.data, &own.code)
}

#[derive(Default)]
struct Init {
    data: Data,
    code: Code,
}

impl Init {
    /// Writes a line.
    fn words(&mut self, words: &str) -> Code {
        let line = format!("{OWN_WORDS}{words}\n");
        let mut code = Code::default();
        let address = self.data.text(&line);
        code.call(call::WRITE, &[1, address, line.len() as u64]);
        code
    }

    /// Ends the machine when all has been sent.
    fn end(&self) -> Code {
        let mut code = Code::default();
        code.call(call::IOCTL, &[1, TCSBRK, 1]);
        code.call(call::REBOOT, &RESTART);
        code
    }

    /// The last call must have succeeded.
    fn fail(&mut self, words: &str) {
        let mut code = self.words(words);
        code.append(&self.end());
        self.code.or(&code);
    }

    fn make_directory(&mut self, path: &str) {
        let path = self.data.text(path);
        // What is there already may stay.
        self.code.call(call::MKDIR, &[path, DIRECTORY]);
    }

    fn mount(&mut self, kind: &str, source: &str, target: &str, flags: u64, options: &str) {
        self.make_directory(target);
        let texts = [source, target, kind].map(|text| self.data.text(text));
        let options = self.data.text(options);
        let [from, to, with] = texts;
        self.code
            .call(call::MOUNT, &[from, to, with, flags, options]);
        self.fail(&format!("cannot mount {source} on {target} as {kind}"));
    }

    /// Mounts the layers, read-only, and joins them below a directory in memory.
    fn mount_all(&mut self, layers: usize) {
        self.mount("devtmpfs", "devtmpfs", "/dev", NO_SUID, "");
        let mut lower = Vec::new();
        for (number, letter) in (0..layers).zip('a'..='z') {
            let place = format!("/layer-{number}");
            self.mount("erofs", &format!("/dev/vd{letter}"), &place, READ_ONLY, "");
            lower.push(place);
        }
        lower.reverse();
        self.mount("tmpfs", "tmpfs", "/writable", 0, "");
        for part in ["/writable/upper", "/writable/work"] {
            self.make_directory(part);
        }
        let options = format!(
            "lowerdir={},upperdir=/writable/upper,workdir=/writable/work",
            lower.join(":")
        );
        self.mount("overlay", "overlay", "/image", 0, &options);
    }

    /// Makes the image the root.
    fn enter(&mut self) {
        let safe = NO_SUID | NO_DEV | NO_EXEC;
        self.mount("proc", "proc", "/image/proc", safe, "");
        self.mount("sysfs", "sysfs", "/image/sys", safe, "");
        self.mount("devtmpfs", "devtmpfs", "/image/dev", NO_SUID, "");
        let image = self.data.text("/image");
        self.code.call(call::CHROOT, &[image]);
        self.fail("cannot enter the image");
    }

    /// The program's process: it has no input, and the console for its output.
    fn child(&mut self, process: &Process) -> Code {
        let mut code = Code::default();
        let mut lost = self.words("cannot enter the working directory");
        lost.call(call::EXIT, &[NOT_FOUND]);
        let mut nobody = self.words("cannot become the image's user");
        nobody.call(call::EXIT, &[NOT_FOUND]);
        let (null, directory) = (
            self.data.text("/dev/null"),
            self.data.text(&process.directory),
        );
        code.call(call::CLOSE, &[0]);
        code.call(call::OPEN, &[null, 0]);
        code.call(call::SETSID, &[]);
        code.call(call::CHDIR, &[directory]);
        code.or(&lost);
        let (uid, gid) = (process.uid.into(), process.gid.into());
        for (number, arguments) in [
            (call::SETGROUPS, &[0, 0][..]),
            (call::SETGID, &[gid]),
            (call::SETUID, &[uid]),
        ] {
            code.call(number, arguments);
            code.or(&nobody);
        }
        let arguments = self.data.texts(&process.arguments);
        let mut environment = process.environment.clone();
        if path_of(&environment).is_none() {
            environment.push(format!("PATH={DEFAULT_PATH}"));
        }
        let places = places(process.arguments.first(), &environment);
        let environment = self.data.texts(&environment);
        for place in places {
            let place = self.data.text(&place);
            code.call(call::EXECVE, &[place, arguments, environment]);
        }
        let words = self.words("cannot execute the program");
        code.append(&words);
        code.call(call::EXIT, &[NOT_FOUND]);
        code
    }

    /// Waits for the process in r12; tells how it ended, unless that is with 0.
    fn wait(&mut self) {
        // Four letters for each code, as a shell has them.
        let codes: String = (0..256).map(|code| format!("{code:>3}\n")).collect();
        let codes = self.data.bytes(codes.as_bytes()).to_le_bytes();
        let line = format!("{OWN_WORDS}the program ended with ");
        let words = self.data.text(&line);
        let mut failed = Code::default();
        failed.raw(&[0x0f, 0xb6, 0xdc]); // movzx ebx, ah: the exit code
        failed.raw(&[0x83, 0xe0, 0x7f]); // and eax, 127: the signal
        failed.raw(&[0x74, 0x06]); // jz over the next instruction
        failed.raw(&[0x8d, 0x98, 0x80, 0, 0, 0]); // lea ebx, [rax + 128]
        failed.call(call::WRITE, &[1, words, line.len() as u64]);
        failed.raw(&[0xbf, 1, 0, 0, 0]); // mov edi, 1
        failed.raw(&[0x48, 0xbe]); // mov rsi, codes
        failed.raw(&codes);
        failed.raw(&[0x48, 0x8d, 0x34, 0x9e]); // lea rsi, [rsi + rbx * 4]
        failed.raw(&[0xba, 4, 0, 0, 0]); // mov edx, 4
        failed.raw(&[0xb8, 1, 0, 0, 0]); // mov eax, WRITE
        failed.raw(&[0x0f, 0x05]); // syscall

        self.code.raw(&[0x4c, 0x89, 0xe7]); // mov rdi, r12
        self.code.raw(&[0x48, 0x89, 0xe6]); // mov rsi, rsp: the status
        self.code.raw(&[0x31, 0xd2]); // xor edx, edx
        self.code.raw(&[0x4d, 0x31, 0xd2]); // xor r10, r10
        self.code.raw(&[0xb8, 61, 0, 0, 0]); // mov eax, WAIT4
        self.code.raw(&[0x0f, 0x05]); // syscall
        self.code.raw(&[0x8b, 0x04, 0x24]); // mov eax, [rsp]
        self.code.unless_zero(&failed);
    }
}

/// The value of `PATH`.
fn path_of(environment: &[String]) -> Option<&str> {
    let mut all = environment.iter();
    all.find_map(|variable| variable.strip_prefix("PATH="))
}

/// Where a program is looked for, in order.
fn places(program: Option<&String>, environment: &[String]) -> Vec<String> {
    match program {
        None => Vec::new(),
        Some(program) if program.contains('/') => vec![program.clone()],
        Some(program) => {
            let path = path_of(environment).unwrap_or(DEFAULT_PATH);
            let directories = path.split(':').filter(|one| one.starts_with('/'));
            directories
                .map(|directory| format!("{directory}/{program}"))
                .collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_is_looked_for_where_the_image_says() {
        let environment = ["A=b".to_owned(), "PATH=/x:relative:/y".to_owned()];
        let looked_for = |name: &str| places(Some(&name.to_owned()), &environment);
        assert_eq!(looked_for("sh"), ["/x/sh", "/y/sh"]);
        assert_eq!(looked_for("./sh"), ["./sh"]);
        assert_eq!(places(Some(&"sh".to_owned()), &[]).len(), 6);
    }

    #[test]
    fn init_is_an_executable_of_some_kilobytes() {
        let process = Process {
            arguments: vec!["true".into()],
            environment: Vec::new(),
            directory: "/".into(),
            uid: 0,
            gid: 0,
        };
        let init = init(3, &process, true);
        assert!(init.starts_with(b"\x7fELF"));
        assert!(init.len() < 16 << 10, "{}", init.len());
    }
}
