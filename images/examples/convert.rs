//! How long a layer takes from its tar archive to an EROFS image, and how much memory.
//!
//! ```text
//! cargo run --release --package coracle-images --example convert -- LAYER OUTPUT [ROUNDS]
//! ```
//!
//! Prints one line of JSON: the shortest of the rounds in seconds, what came in and went out, and
//! the most memory that the process ever had. Put both files on a tmpfs, or run twice, so that no
//! disk is measured.
#![expect(clippy::print_stdout, reason = "the result goes to standard output")]

use std::error::Error;
use std::fs::{self, File};
use std::io::Read;
use std::time::{Duration, Instant};

use images::layer::{Compression, Limits, convert};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(layer), Some(output)) = (arguments.next(), arguments.next()) else {
        return Err("LAYER and OUTPUT are needed".into());
    };
    let rounds: u32 = arguments.next().map_or(Ok(1), |text| text.parse())?;
    let mut shortest = Duration::MAX;
    let mut converted = None;
    for _ in 0..rounds {
        let compression = compression_of(&layer)?;
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&output)?;
        let start = Instant::now();
        let input = File::open(&layer)?;
        let limits = Limits::default();
        let result = convert(input, compression, None, &file, &limits, &mut |_| {})?;
        shortest = shortest.min(start.elapsed());
        converted = Some(result);
    }
    let converted = converted.ok_or("at least one round is needed")?;
    println!(
        "{{\"seconds\":{:.3},\"tar_bytes\":{},\"image_bytes\":{},\"inodes\":{},\"peak_kib\":{}}}",
        shortest.as_secs_f64(),
        converted.tar_bytes,
        converted.image_bytes,
        converted.inodes,
        peak_kib()?,
    );
    Ok(())
}

fn compression_of(path: &str) -> Result<Compression, Box<dyn Error>> {
    let mut start = [0; 4];
    File::open(path)?.read_exact(&mut start)?;
    Ok(match start {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd] => Compression::Zstd,
        [b'B', b'Z', b'h', _] => Compression::Bzip2,
        [0xfd, b'7', b'z', b'X'] => Compression::Xz,
        _ => Compression::None,
    })
}

/// Most memory that this process had at once, in KiB.
fn peak_kib() -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.ok_or("the kernel does not tell")?.parse()?)
}
