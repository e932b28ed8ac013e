//! The software host's kernel: a stock Debian cloud kernel, unpacked beside the system.

use std::{
    cmp::Ordering,
    ffi::OsStr,
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use rustix::system::finit_module;

use coracle_platform::private;

/// The series that is tried and tested; another one is taken only where it is missing.
const SERIES: &str = "6.12.";

/// The modules that the machine needs, in the order in which they are loaded, each a path below
/// `lib/modules/VERSION/kernel` without its ending. Not every kernel has all of them: some build
/// them in.
pub(super) const MODULES: [&str; 3] = [
    "virt/lib/irqbypass",
    "arch/x86/kvm/kvm",
    "arch/x86/kvm/kvm-amd",
];

/// Modules that are loaded when the machine is already of use.
pub(super) const LATE_MODULES: [&str; 1] = ["drivers/virtio/virtio_balloon"];

/// Modules for what is measured in virtual time: the file systems of a container that has no machine.
pub(super) const MEASURED_MODULES: [&str; 4] = [
    "drivers/block/loop",
    "lib/libcrc32c",
    "fs/erofs/erofs",
    "fs/overlayfs/overlay",
];

/// Ends the names of kernels in the cache; another one for other modules than these.
const LAYOUT: &str = ".3";

/// Of `finit_module(2)`: the kernel is to unpack the file.
const MODULE_INIT_COMPRESSED_FILE: i32 = 4;

/// Most bytes of an unpacked kernel, several times Debian's.
const MAX_IMAGE: u64 = 256 << 20;

/// Offsets in a bzImage (Linux `Documentation/arch/x86/boot.rst`): `setup_sects`,
/// `payload_offset` and `payload_length`; the payload counts from the end of the set-up sectors.
const SETUP_SECTORS: usize = 0x1f1;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;

/// Bytes of a set-up sector.
const SECTOR: usize = 512;

/// How a module's file ends, as it is loaded and as Debian packs it.
const PLAIN: &str = "ko";
const COMPRESSED: &str = "ko.xz";

/// The image's name in its directory.
pub(super) const IMAGE: &str = "vmlinux";

/// Finds the kernel in the cache or, the first time, downloads it with `apt-get`; gives its
/// directory. A series, such as `6.1`, stands for the newest kernel of it.
///
/// # Errors
/// When there is no such package to be had, or it cannot be unpacked.
pub(super) fn ensure(cache: &Path, series: Option<&str>) -> Result<PathBuf> {
    let base = base(cache, series);
    if let Some(kernel) = newest_cached(&base) {
        return Ok(kernel);
    }
    private::create_directory(&base)?;
    let package = package(series)?;
    log::info!("downloading {package}, the software host's kernel (once)");
    let unpacked = tempfile::tempdir_in(&base)
        .with_context(|| format!("cannot make a directory in {}", base.display()))?;
    download(&package, unpacked.path())?;
    let complete = unpacked.path().join("kernel");
    collect(unpacked.path(), &complete)
        .with_context(|| format!("the package {package} is not as expected"))?;
    let kernel = base.join(format!("kernel-{}{LAYOUT}", version(&package)));
    if let Err(error) = fs::rename(&complete, &kernel)
        && !kernel.exists()
    {
        return Err(error).with_context(|| format!("cannot create {}", kernel.display()));
    }
    // Another process may have been quicker; then its kernel is as good.
    Ok(kernel)
}

/// Whether the kernel is in the cache.
pub(super) fn is_cached(cache: &Path, series: Option<&str>) -> bool {
    newest_cached(&base(cache, series)).is_some()
}

/// Where kernels are kept: those of a series that was asked for apart, so that no software host starts
/// with one.
fn base(cache: &Path, series: Option<&str>) -> PathBuf {
    let base = cache.join("machine");
    match series {
        Some(series) => base.join(format!("series-{series}")),
        None => base,
    }
}

/// Loads a module into the kernel of this machine if it has it as a file. That it will not be loaded is
/// said, and shows when what needs it does not find it.
pub(super) fn load(kernel: &Path, module: &str) {
    let name = Path::new(module).file_name().unwrap_or_default();
    for path in files(kernel, name) {
        let packed = path.extension().is_some_and(|ending| ending != PLAIN);
        let flags = if packed {
            MODULE_INIT_COMPRESSED_FILE
        } else {
            0
        };
        let loaded = File::open(&path)
            .map_err(anyhow::Error::from)
            .and_then(|file| match finit_module(&file, c"", flags) {
                Err(rustix::io::Errno::EXIST) => Ok(()),
                result => Ok(result?),
            });
        match loaded {
            Ok(()) => return,
            Err(error) => errln!("coracle: cannot load {}: {error}", path.display()),
        }
    }
}

/// The files of a module, by its name, in a kernel's directory.
pub(super) fn files(kernel: &Path, name: &OsStr) -> Vec<PathBuf> {
    let paths = [PLAIN, COMPRESSED].map(|ending| kernel.join(name).with_extension(ending));
    paths.into_iter().filter(|path| path.exists()).collect()
}

fn newest_cached(base: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(base).ok()?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let kernels = names.filter(|name| name.starts_with("kernel-") && name.ends_with(LAYOUT));
    kernels
        .max_by(|one, other| compare_versions(one, other))
        .map(|name| base.join(name))
}

/// The newest package of a cloud kernel that the system's package lists name, of a series or of ours.
fn package(series: Option<&str>) -> Result<String> {
    let output = Command::new("apt-cache")
        .args([
            "search",
            "--names-only",
            r"^linux-image-[0-9].*-cloud-amd64-unsigned$",
        ])
        .stdin(Stdio::null())
        .output()
        .context("cannot run apt-cache; the software host's kernel comes from a Debian package")?;
    let listing = String::from_utf8_lossy(&output.stdout);
    let names = || {
        listing
            .lines()
            .filter_map(|line| line.split_whitespace().next())
    };
    let newest = |prefix: &str| {
        let prefix = format!("linux-image-{prefix}");
        let kernels = names().filter(|name| name.starts_with(&prefix));
        kernels
            .max_by(|one, other| compare_versions(one, other))
            .map(str::to_owned)
    };
    let found = match series {
        Some(series) => newest(&format!("{series}.")),
        None => newest(SERIES).or_else(|| newest("")),
    };
    found.with_context(|| {
        format!(
            "the package lists name no linux-image-{}*-cloud-amd64-unsigned, the kernel of emulated \
             machines; run 'apt-get update' as root and try again",
            series.map(|series| format!("{series}.")).unwrap_or_default()
        )
    })
}

/// What stands between `linux-image-` and `-cloud`.
fn version(package: &str) -> &str {
    let version = package.strip_prefix("linux-image-").unwrap_or(package);
    version.split("-cloud").next().unwrap_or(version)
}

/// Orders names by their numbers: 6.12.9 comes before 6.12.10.
fn compare_versions(one: &str, other: &str) -> Ordering {
    fn numbers(text: &str) -> Vec<u64> {
        let pieces = text.split(|letter: char| !letter.is_ascii_digit());
        pieces.filter_map(|piece| piece.parse().ok()).collect()
    }
    numbers(one)
        .cmp(&numbers(other))
        .then_with(|| one.cmp(other))
}

fn download(package: &str, directory: &Path) -> Result<()> {
    run(
        // Its sandbox user could not write into a private directory.
        Command::new("apt-get").args(["-qq", "-o", "APT::Sandbox::User=root", "download", package]),
        directory,
    )
    .with_context(|| format!("cannot download the Debian package {package}"))?;
    let entries = fs::read_dir(directory).context("cannot list the download")?;
    let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let archive = paths.find(|path| path.extension().is_some_and(|ending| ending == "deb"));
    let archive = archive.with_context(|| format!("apt-get left no file of {package}"))?;
    run(
        Command::new("dpkg-deb")
            .arg("--extract")
            .arg(&archive)
            .arg("unpacked"),
        directory,
    )
    .with_context(|| format!("cannot unpack {}", archive.display()))
}

fn run(command: &mut Command, directory: &Path) -> Result<()> {
    let output = command
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    bail!(
        "{} failed: {}",
        command.get_program().display(),
        words.trim()
    )
}

/// Moves the image and the modules into a directory of their own.
fn collect(unpacked: &Path, target: &Path) -> Result<()> {
    fs::create_dir(target)?;
    let root = unpacked.join("unpacked");
    let image = only(&root.join("boot"), |name| name.starts_with("vmlinuz-"))?;
    let packed = fs::read(image)?;
    // QEMU starts both kinds. To unpack it here saves the machine more than a second each time.
    fs::write(
        target.join(IMAGE),
        unpacked_image(&packed).as_deref().unwrap_or(&packed),
    )?;
    let modules = only(&root.join("lib/modules"), |_| true)?.join("kernel");
    let all = MODULES.into_iter().chain(LATE_MODULES);
    for module in all.chain(MEASURED_MODULES) {
        let name = Path::new(module).file_name().unwrap_or_default();
        let directory = modules.join(module);
        let directory = directory.parent().unwrap_or(&modules);
        for source in files(directory, name) {
            let place = target.join(source.file_name().unwrap_or_default());
            fs::rename(&source, &place)?;
            if place.extension().is_some_and(|ending| ending != PLAIN) {
                unpack(&place);
            }
        }
    }
    Ok(())
}

/// The ELF file in a bzImage whose payload is packed with zstd, as Debian's is; `None` for others.
fn unpacked_image(image: &[u8]) -> Option<Vec<u8>> {
    let sectors = usize::from(*image.get(SETUP_SECTORS)?);
    let number = |offset: usize| {
        let bytes = image.get(offset..offset + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    let start = (sectors + 1) * SECTOR + number(PAYLOAD_OFFSET)?;
    let payload = image.get(start..)?.get(..number(PAYLOAD_LENGTH)?)?;
    // After the frame comes its size, which is the kernel's own affair.
    let frame = zstd::stream::read::Decoder::new(payload)
        .ok()?
        .single_frame();
    let mut elf = Vec::new();
    frame.take(MAX_IMAGE).read_to_end(&mut elf).ok()?;
    elf.starts_with(b"\x7fELF").then_some(elf)
}

/// Unpacks a module. Without `xz`, the machine's kernel will unpack it on each start, which takes
/// it some tenths of a second.
fn unpack(module: &Path) {
    let unpacked = Command::new("xz").arg("--decompress").arg(module).output();
    if !unpacked.is_ok_and(|output| output.status.success()) {
        log::debug!("cannot unpack {} with xz", module.display());
    }
}

fn only(directory: &Path, wanted: impl Fn(&str) -> bool) -> Result<PathBuf> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("it has no {}", directory.display()))?;
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(&wanted) {
            return Ok(entry.path());
        }
    }
    bail!(
        "it has nothing that is looked for in {}",
        directory.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_number() {
        let mut names = [
            "kernel-6.12.117+deb12",
            "kernel-6.12.9+deb12",
            "kernel-6.1.200",
        ];
        names.sort_by(|one, other| compare_versions(one, other));
        assert_eq!(
            names,
            [
                "kernel-6.1.200",
                "kernel-6.12.9+deb12",
                "kernel-6.12.117+deb12"
            ]
        );
    }

    #[test]
    fn version_is_taken_from_the_package_name() {
        assert_eq!(
            version("linux-image-6.12.117+deb12-cloud-amd64-unsigned"),
            "6.12.117+deb12"
        );
    }

    fn image(payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 2 * SECTOR + 16];
        image[SETUP_SECTORS] = 1;
        image[PAYLOAD_OFFSET] = 16;
        let length = u32::try_from(payload.len()).unwrap();
        image[PAYLOAD_LENGTH..PAYLOAD_LENGTH + 4].copy_from_slice(&length.to_le_bytes());
        [image, payload.to_vec()].concat()
    }

    #[test]
    fn kernel_is_taken_out_of_its_image() {
        let kernel = b"\x7fELF and so on";
        let mut payload = zstd::encode_all(&kernel[..], 1).unwrap();
        payload.extend_from_slice(&[17, 0, 0, 0]);
        assert_eq!(
            unpacked_image(&image(&payload)).as_deref(),
            Some(&kernel[..])
        );
    }

    #[test]
    fn image_that_is_packed_otherwise_or_cut_short_stays_as_it_is() {
        assert_eq!(unpacked_image(&image(b"\xfd7zXZ")), None);
        assert_eq!(unpacked_image(&image(b"payload")[..600]), None);
        assert_eq!(unpacked_image(b"no image"), None);
    }

    #[test]
    fn kernel_of_a_series_is_no_software_hosts() {
        let cache = tempfile::tempdir().unwrap();
        let name = format!("kernel-6.1.0-57{LAYOUT}");
        let kernel = cache.path().join("machine/series-6.1").join(name);
        fs::create_dir_all(&kernel).unwrap();
        assert!(is_cached(cache.path(), Some("6.1")));
        assert_eq!(ensure(cache.path(), Some("6.1")).unwrap(), kernel);
        assert!(!is_cached(cache.path(), Some("6.12")));
        assert!(!is_cached(cache.path(), None));
    }

    #[test]
    fn unpacked_package_gives_image_and_modules() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("unpacked");
        let kvm = root.join("lib/modules/6.12.1-cloud/kernel/arch/x86/kvm");
        fs::create_dir_all(&kvm).unwrap();
        fs::create_dir_all(root.join("boot")).unwrap();
        fs::write(root.join("boot/config-6.12.1-cloud"), "").unwrap();
        fs::write(root.join("boot/vmlinuz-6.12.1-cloud"), "image").unwrap();
        fs::write(kvm.join("kvm.ko"), "plain").unwrap();
        fs::write(kvm.join("kvm-amd.ko.xz"), "module").unwrap();

        let target = directory.path().join("kernel");
        collect(directory.path(), &target).unwrap();
        assert_eq!(fs::read_to_string(target.join(IMAGE)).unwrap(), "image");
        assert_eq!(
            fs::read_to_string(target.join("kvm-amd.ko.xz")).unwrap(),
            "module"
        );
        let plain = fs::read_to_string(target.join("kvm.ko")).unwrap();
        assert_eq!(plain, "plain");
    }
}
