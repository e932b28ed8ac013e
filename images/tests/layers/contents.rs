//! Data: sizes around every edge, tails, holes.

use std::collections::BTreeMap;

use crate::archive::{Entry, Tar, number};
use crate::image::{image, refused, refused_within};
use images::layer::Limits;

/// Bytes that differ from block to block.
fn bytes(length: usize) -> Vec<u8> {
    (0..length)
        .map(|index| (index / 7 + index / 4096).to_le_bytes()[0])
        .collect()
}

#[test]
fn files_of_every_size_come_back_whole() {
    let sizes = [
        0, 1, 511, 512, 513, 3968, 4031, 4032, 4033, 4095, 4096, 4097, 8191, 8192, 8193, 65_535,
        65_536, 65_537, 262_143, 262_144, 262_145, 1_048_575, 1_048_577, 3_000_000,
    ];
    let image = image(&Tar::of(
        sizes.map(|size| Entry::file(size.to_string(), bytes(size))),
    ));
    for size in sizes {
        let node = image.get(size.to_string());
        assert_eq!(node.size, size as u64);
        assert!(node.content == bytes(size), "{size} bytes");
    }
}

#[test]
fn small_files_share_blocks() {
    let files = (0..1000).map(|number| Entry::file(format!("f{number}"), "small"));
    let image = image(&Tar::of(files));
    // An inode and its tail take 96 bytes, a directory entry about 16.
    assert!(
        image.bytes.len() < 1000 * 160,
        "{} bytes",
        image.bytes.len()
    );
}

#[test]
fn large_runs_of_zeros_are_holes_of_the_image_and_zeros_in_the_file() {
    use std::os::unix::fs::MetadataExt;
    let mut data = vec![0; 4 << 20];
    data[3 << 20] = 1;
    let tar = Tar::of([Entry::file("zeros", &data)]);
    assert!(image(&tar).get("zeros").content == data);
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("layer");
    let output = crate::image::create(&path);
    let limits = Limits::default();
    let compression = images::layer::Compression::None;
    images::layer::convert(
        &tar.bytes()[..],
        compression,
        None,
        &output,
        &limits,
        &mut |_| {},
    )
    .unwrap();
    let blocks = output.metadata().unwrap().blocks();
    assert!(blocks * 512 < 2 << 20, "{blocks} blocks");
}

/// Runs of data in a file with holes, by offset.
type Runs = BTreeMap<usize, Vec<u8>>;

fn filled(size: usize, runs: &Runs) -> Vec<u8> {
    let mut whole = vec![0; size];
    for (offset, data) in runs {
        whole[*offset..offset + data.len()].copy_from_slice(data);
    }
    whole
}

/// A file in GNU's old sparse format, its map in the header and blocks behind it.
fn old_sparse(path: &str, size: usize, runs: &Runs) -> Vec<u8> {
    let field = |value: usize| number(i64::try_from(value).unwrap(), 12);
    let pairs: Vec<Vec<u8>> = runs
        .iter()
        .map(|(offset, data)| [field(*offset), field(data.len())].concat())
        .collect();
    let data: Vec<u8> = runs.values().flatten().copied().collect();
    let (first, rest) = pairs.split_at(pairs.len().min(4));
    let more = u8::from(!rest.is_empty());
    let entry = Entry::new(b'S', path)
        .size(i64::try_from(data.len()).unwrap())
        .patch(257, b"ustar  \0")
        .patch(386, first.concat())
        .patch(482, [more])
        .patch(483, field(size));
    let mut bytes = Tar::of([entry]).open_ended();
    let mut chunks = rest.chunks(21).peekable();
    while let Some(chunk) = chunks.next() {
        let mut block = chunk.concat();
        block.resize(512, 0);
        block[504] = u8::from(chunks.peek().is_some());
        bytes.extend(block);
    }
    bytes.extend(&data);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

#[test]
fn old_sparse_files_of_gnu_tar_have_their_holes() {
    let many: Runs = (0..60)
        .map(|run| (run * 10_000, bytes(run * 11 + 1)))
        .collect();
    let scenes: [(&str, usize, Runs); 6] = [
        ("all-hole", 1 << 20, Runs::new()),
        ("start", 1 << 20, Runs::from([(0, bytes(100))])),
        ("end", 1 << 20, Runs::from([((1 << 20) - 5, bytes(5))])),
        (
            "middle",
            100_001,
            Runs::from([(5000, bytes(9000)), (70_000, bytes(1))]),
        ),
        ("many", 700_000, many),
        ("none", 5000, Runs::from([(0, bytes(5000))])),
    ];
    let mut tar = Vec::new();
    for (name, size, runs) in &scenes {
        tar.extend(old_sparse(name, *size, runs));
    }
    tar.extend(Tar::of([Entry::file("after", "after")]).bytes());
    let image = crate::image::image_of(&tar);
    for (name, size, runs) in &scenes {
        assert!(image.get(name).content == filled(*size, runs), "{name}");
    }
    assert_eq!(image.get("after").content, b"after");
}

#[test]
fn sparse_files_of_extended_headers_have_their_holes() {
    let (size, runs) = (
        300_000,
        Runs::from([(4096, bytes(6000)), (200_000, bytes(77))]),
    );
    let data: Vec<u8> = runs.values().flatten().copied().collect();
    let mut zero_zero = Entry::file("GNUSparseFile.0/a", &data).pax("GNU.sparse.size", "300000");
    for (offset, data) in &runs {
        zero_zero = zero_zero
            .pax("GNU.sparse.offset", offset.to_string())
            .pax("GNU.sparse.numbytes", data.len().to_string());
    }
    let zero_one = Entry::file("GNUSparseFile.0/b", &data)
        .pax("GNU.sparse.size", "300000")
        .pax("GNU.sparse.name", "zero-one")
        .pax("GNU.sparse.map", "4096,6000,200000,77");
    let mut with_map = b"2\n4096\n6000\n200000\n77\n".to_vec();
    with_map.resize(512, 0);
    with_map.extend(&data);
    let one_zero = Entry::file("GNUSparseFile.0/c", with_map)
        .pax("GNU.sparse.major", "1")
        .pax("GNU.sparse.minor", "0")
        .pax("GNU.sparse.name", "dir/one-zero")
        .pax("GNU.sparse.realsize", "300000");
    let image = image(&Tar::of([
        zero_zero.pax("path", "zero-zero"),
        zero_one,
        one_zero,
    ]));
    for name in ["zero-zero", "zero-one", "dir/one-zero"] {
        assert!(image.get(name).content == filled(size, &runs), "{name}");
    }
}

#[test]
fn terabyte_of_holes_is_refused_by_name() {
    let old = [old_sparse("big", 1 << 32, &Runs::new()), vec![0; 1024]].concat();
    let limits = Limits {
        sparse_bytes: 1 << 20,
        ..Limits::default()
    };
    let text = refused_within(&old, &limits);
    assert!(
        text.contains("\"big\"") && text.contains("4294967296 bytes"),
        "{text}"
    );
    let pax = Entry::file("GNUSparseFile.0/big", "")
        .pax("GNU.sparse.size", (1100_u64 << 30).to_string())
        .pax("GNU.sparse.name", "big")
        .pax("GNU.sparse.map", "1181116006400,0");
    let text = refused(&Tar::of([pax]).bytes());
    assert!(
        text.contains("\"big\"") && text.contains("refused as a bomb"),
        "{text}"
    );
}

#[test]
fn many_files_of_holes_are_refused_together() {
    let limits = Limits {
        sparse_bytes: 1 << 20,
        ..Limits::default()
    };
    let two = ["one", "two"].map(|name| old_sparse(name, 600_000, &Runs::new()));
    let text = refused_within(&[two.concat(), vec![0; 1024]].concat(), &limits);
    assert!(
        text.contains("\"two\", of 600000 bytes, of 1200000 bytes together"),
        "{text}"
    );
}

#[test]
fn files_of_holes_that_a_link_brings_from_a_lower_layer_are_counted() {
    use images::layer::{Below, Compression, Onto, convert, convert_onto};
    let limits = Limits {
        sparse_bytes: 1 << 20,
        ..Limits::default()
    };
    let tar = |name: &str| [old_sparse(name, 600_000, &Runs::new()), vec![0; 1024]].concat();
    let lower = tempfile::tempfile().unwrap();
    let plain = Compression::None;
    convert(&tar("one")[..], plain, None, &lower, &limits, &mut |_| {}).unwrap();
    let below = Below::new([lower]).unwrap();
    let output = tempfile::tempfile().unwrap();
    let onto = |upper: &[u8]| {
        let onto = Onto::Layers(&below);
        convert_onto(upper, plain, None, onto, &output, &limits, &mut |_| {})
    };
    let link = Tar::of([Entry::hard_link("link", "one")]);
    assert!(onto(&link.bytes()).is_ok());
    let both = [old_sparse("two", 600_000, &Runs::new()), link.bytes()].concat();
    let text = onto(&both).unwrap_err().to_string();
    assert!(
        text.contains("\"one\", of 600000 bytes, of 1200000 bytes together"),
        "{text}"
    );
}

#[test]
fn byte_in_each_chunk_of_a_large_file_takes_a_block_of_the_disk_only() {
    use std::os::unix::fs::MetadataExt;
    // So large that a chunk has 256 KiB.
    let (size, chunk) = (64_usize << 30, 256 << 10);
    let runs: Runs = (0..1000)
        .map(|run| (run * chunk * 3 + 100, vec![1]))
        .collect();
    let tar = [old_sparse("big", size, &runs), vec![0; 1024]].concat();
    let output = tempfile::tempfile().unwrap();
    let (limits, compression) = (Limits::default(), images::layer::Compression::None);
    images::layer::convert(&tar[..], compression, None, &output, &limits, &mut |_| {}).unwrap();
    let metadata = output.metadata().unwrap();
    assert!(metadata.size() > 1000 * (256 << 10));
    // One block for each, and the map of a MiB.
    assert!(
        metadata.blocks() * 512 < 1000 * (8 << 10) + (2 << 20),
        "{}",
        metadata.blocks()
    );
}

#[test]
fn maps_of_holes_that_do_not_fit_are_refused() {
    let sparse = |map: &str, size: &str, data: &str| {
        Entry::file("GNUSparseFile.0/x", data)
            .pax("GNU.sparse.name", "spoilt")
            .pax("GNU.sparse.size", size)
            .pax("GNU.sparse.map", map)
    };
    for entry in [
        sparse("0,10", "5", "0123456789"),
        sparse("0,10", "100", "01234"),
        sparse("0,5", "100", "0123456789"),
    ] {
        let text = refused(&Tar::of([entry]).bytes());
        assert!(text.contains("map of holes of \"spoilt\""), "{text}");
    }
    for map in [
        "1,2,3",
        "50,5,10,5",
        "0,10,5,10",
        "9223372036854775807,10",
        "x,1",
    ] {
        let entry = sparse(map, "100", "0123456789");
        let text = refused(&Tar::of([entry]).bytes());
        assert!(
            text.contains("\"GNU.sparse.map\" has no valid value"),
            "{map}: {text}"
        );
    }
}
