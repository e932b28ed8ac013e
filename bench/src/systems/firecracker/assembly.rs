//! A program for x86-64 Linux, put together from system calls: an ELF file of one segment, which needs no
//! library, no linker and no memory besides.

/// Where the program is in memory: where linkers put programs that are not moved.
const BASE: u32 = 0x40_0000;

/// Sizes of the headers (System V ABI, `Elf64_Ehdr` and `Elf64_Phdr`).
const FILE_HEADER: u16 = 64;
const PROGRAM_HEADER: u16 = 56;
const HEADERS: u32 = 64 + 56;

/// Move a constant of 64 bits into rdi, rsi, rdx, r10, r8: arguments of a system call, in their order.
const INTO_ARGUMENT: [[u8; 2]; 5] = [
    [0x48, 0xbf],
    [0x48, 0xbe],
    [0x48, 0xba],
    [0x49, 0xba],
    [0x49, 0xb8],
];

/// Constants that the program refers to, by their place in memory.
#[derive(Debug, Default)]
pub(super) struct Data {
    bytes: Vec<u8>,
}

impl Data {
    /// Adds bytes; gives their address.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> u64 {
        // Pointers among them are read as words.
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        let address = BASE as usize + HEADERS as usize + self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        address as u64
    }

    /// A text, which a zero byte ends.
    pub(super) fn text(&mut self, text: &str) -> u64 {
        self.bytes(&[text.as_bytes(), &[0]].concat())
    }

    /// A list of texts, which a zero ends.
    pub(super) fn texts(&mut self, texts: &[String]) -> u64 {
        let mut list: Vec<u64> = texts.iter().map(|text| self.text(text)).collect();
        list.push(0);
        let list: Vec<u8> = list
            .iter()
            .flat_map(|address| address.to_le_bytes())
            .collect();
        self.bytes(&list)
    }
}

/// Instructions; jumps among them are relative, so that pieces can be put together.
#[derive(Debug, Default, Clone)]
pub(super) struct Code {
    bytes: Vec<u8>,
}

impl Code {
    /// These instructions.
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Instructions of another piece.
    pub(super) fn append(&mut self, other: &Self) {
        self.raw(&other.bytes);
    }

    /// A system call with constant arguments; its result is in rax.
    pub(super) fn call(&mut self, number: u32, arguments: &[u64]) {
        for (into, argument) in INTO_ARGUMENT.iter().zip(arguments) {
            self.raw(into);
            self.raw(&argument.to_le_bytes());
        }
        self.raw(&[0xb8]); // mov eax, number
        self.raw(&number.to_le_bytes());
        self.raw(&[0x0f, 0x05]); // syscall
    }

    /// What is done when the last call failed, and does not come back.
    pub(super) fn or(&mut self, otherwise: &Self) {
        self.raw(&[0x48, 0x85, 0xc0]); // test rax, rax
        self.skip(&[0x0f, 0x89], otherwise); // jns
    }

    /// What is done when rax is 0.
    pub(super) fn when_zero(&mut self, piece: &Self) {
        self.raw(&[0x48, 0x85, 0xc0]); // test rax, rax
        self.skip(&[0x0f, 0x85], piece); // jnz
    }

    /// What is done when rax is not 0.
    pub(super) fn unless_zero(&mut self, piece: &Self) {
        self.raw(&[0x48, 0x85, 0xc0]); // test rax, rax
        self.skip(&[0x0f, 0x84], piece); // jz
    }

    /// A piece that a conditional jump passes over.
    fn skip(&mut self, jump: &[u8], piece: &Self) {
        let length = u32::try_from(piece.bytes.len()).unwrap_or(u32::MAX);
        self.raw(jump);
        self.raw(&length.to_le_bytes());
        self.append(piece);
    }
}

/// The ELF file.
pub(super) fn program(data: &Data, code: &Code) -> Vec<u8> {
    let mut content = data.bytes.clone();
    content.resize(content.len().next_multiple_of(8), 0);
    let entry = u64::from(BASE + HEADERS) + content.len() as u64;
    content.extend_from_slice(&code.bytes);
    let size = u64::from(HEADERS) + content.len() as u64;

    let mut file = vec![];
    file.extend_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    let halves = |file: &mut Vec<u8>, values: &[u16]| {
        file.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    };
    let words = |file: &mut Vec<u8>, values: &[u32]| {
        file.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    };
    let longs = |file: &mut Vec<u8>, values: &[u64]| {
        file.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    };
    // An executable for x86-64; its program header follows, and there are no sections.
    halves(&mut file, &[2, 62]);
    words(&mut file, &[1]);
    longs(&mut file, &[entry, u64::from(FILE_HEADER), 0]);
    words(&mut file, &[0]);
    halves(&mut file, &[FILE_HEADER, PROGRAM_HEADER, 1, 0, 0, 0]);
    // All of the file is loaded, to be read and executed.
    words(&mut file, &[1, 5]);
    longs(
        &mut file,
        &[0, u64::from(BASE), u64::from(BASE), size, size, 4096],
    );
    file.extend(content);
    file
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, process::Command};

    use super::*;

    const WRITE: u32 = 1;
    const EXIT: u32 = 60;
    const CHDIR: u32 = 80;

    fn ran(data: &Data, code: &Code) -> (Option<i32>, String) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("program");
        fs::write(&path, program(data, code)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let output = Command::new(&path).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), text)
    }

    #[test]
    fn calls_are_made_in_their_order() {
        let (mut data, mut code) = (Data::default(), Code::default());
        for word in ["one ", "two"] {
            let text = data.text(word);
            code.call(WRITE, &[1, text, word.len() as u64]);
        }
        code.call(EXIT, &[7]);
        assert_eq!(ran(&data, &code), (Some(7), "one two".into()));
    }

    #[test]
    fn failure_and_success_go_different_ways() {
        for (path, expected) in [("/", 1), ("/no/such", 2)] {
            let (mut data, mut code) = (Data::default(), Code::default());
            let (mut failed, mut succeeded) = (Code::default(), Code::default());
            failed.call(EXIT, &[2]);
            succeeded.call(EXIT, &[1]);
            let path = data.text(path);
            code.call(CHDIR, &[path]);
            code.or(&failed);
            code.when_zero(&succeeded);
            assert_eq!(ran(&data, &code).0, Some(expected));
        }
    }
}
