//! Forms of archives: compression, ends, headers that mean nothing here.

use std::io::Write;

use images::digest::Digest;
use images::layer::{Compression, LayerError, Limits, convert};

use crate::archive::{Entry, Tar};
use crate::image::{create, image, image_of, messages, refused};

fn sample() -> Tar {
    Tar::of([
        Entry::directory("etc"),
        Entry::file("etc/one", vec![1; 100_000]),
        Entry::file("etc/two", "2"),
    ])
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn converted(input: &[u8], compression: Compression) -> Result<Vec<u8>, LayerError> {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("layer");
    let limits = Limits::default();
    convert(
        input,
        compression,
        None,
        &create(&path),
        &limits,
        &mut |_| {},
    )?;
    Ok(std::fs::read(&path).unwrap())
}

#[test]
fn image_is_the_same_however_the_archive_is_compressed() {
    let tar = sample().bytes();
    let plain = converted(&tar, Compression::None).unwrap();
    let (half, rest) = tar.split_at(tar.len() / 2);
    let members = [gzip(half), gzip(rest)].concat();
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
    let frames = [zstd(half), zstd(rest)].concat();
    for (input, compression) in [
        (gzip(&tar), Compression::Gzip),
        (members, Compression::Gzip),
        (zstd(&tar), Compression::Zstd),
        (frames, Compression::Zstd),
    ] {
        assert!(
            converted(&input, compression).unwrap() == plain,
            "{compression}"
        );
    }
}

#[test]
fn damaged_or_cut_compression_is_refused_with_the_place() {
    for compression in [Compression::Gzip, Compression::Zstd] {
        let input = match compression {
            Compression::Gzip => gzip(&sample().bytes()),
            _ => zstd::encode_all(&sample().bytes()[..], 1).unwrap(),
        };
        let text = messages(&converted(&input[..input.len() - 9], compression).unwrap_err());
        assert!(
            text.contains(&format!("cannot read the layer ({compression})")),
            "{text}"
        );
    }
    let text = messages(&converted(b"no gzip", Compression::Gzip).unwrap_err());
    assert!(
        text.contains("cannot read the layer (gzip) beyond byte 0"),
        "{text}"
    );
}

#[test]
fn wrong_diff_id_is_refused_and_leaves_no_image() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("layer");
    let (tar, limits, other) = (sample().bytes(), Limits::default(), Digest::of(b"other"));
    let output = create(&path);
    let error = convert(
        &tar[..],
        Compression::None,
        Some(&other),
        &output,
        &limits,
        &mut |_| {},
    )
    .unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&Digest::of(&tar).to_string()) && text.contains(&other.to_string()));
    assert!(
        std::fs::read(&path).unwrap()[..4096]
            .iter()
            .all(|byte| *byte == 0)
    );
}

#[test]
fn archive_may_end_without_a_mark_or_in_many_zeros() {
    let open = image_of(&sample().open_ended());
    let long = image_of(&[sample().bytes(), vec![0; 100_000]].concat());
    assert_eq!(open.nodes, long.nodes);
    assert_eq!(image_of(&[0; 1024]).nodes.len(), 1);
    assert_eq!(image_of(&[]).nodes.len(), 1);
}

#[test]
fn data_behind_the_end_is_ignored_as_docker_does() {
    let plain = image_of(&sample().bytes());
    let other = Tar::of([Entry::file("other", "")]);
    for more in [b"more".to_vec(), vec![0xff; 100_000], other.bytes()] {
        let image = image_of(&[sample().bytes(), more].concat());
        assert_eq!(image.nodes, plain.nodes);
    }
}

#[test]
fn data_behind_half_an_end_is_refused() {
    for more in [b"more".to_vec(), vec![0xff; 1024]] {
        let text = refused(&[sample().open_ended(), vec![0; 512], more].concat());
        assert!(text.contains("followed by other data"), "{text}");
    }
}

#[test]
fn archive_cut_anywhere_is_refused_or_ends_between_entries() {
    let tar = Tar::of([
        Entry::file("a", "1").pax("mtime", "1.5"),
        Entry::file("b", "22"),
    ])
    .open_ended();
    // Extended header, its body, header and data of one entry, header and data of the other.
    let between = [0, 2048, 3072];
    for length in 0..tar.len() {
        if between.contains(&length) {
            image_of(&tar[..length]);
        } else {
            let text = refused(&tar[..length]);
            assert!(text.contains("is cut off at byte"), "{length}: {text}");
        }
    }
}

#[test]
fn flipped_bits_in_headers_are_refused() {
    let tar = Tar::of([Entry::file("a", "1")]).bytes();
    for bit in 0..512 * 8 {
        let mut spoilt = tar.clone();
        spoilt[bit / 8] ^= 1 << (bit % 8);
        // A change within the checksum's own field may leave its value alone.
        if !(148..156).contains(&(bit / 8)) {
            let text = refused(&spoilt);
            assert!(text.contains("its checksum is wrong"), "bit {bit}: {text}");
        }
    }
}

#[test]
fn global_headers_and_unknown_records_change_nothing() {
    let image = image(&Tar::of([
        Entry::new(b'g', "pax_global_header").data("28 comment=0123456789abcdefg\n"),
        Entry::new(b'g', "pax_global_header").data("12 path=abc\n"),
        Entry::file("a", "")
            .pax("SCHILY.dev", "5")
            .pax("atime", "1.5")
            .pax("uname", "x"),
    ]));
    assert_eq!(image.names(), [&b""[..], b"a"]);
}

#[test]
fn sizes_of_entries_without_data_do_not_count() {
    // Some programs write a hard link with its target's size, and no data.
    let image = image(&Tar::of([
        Entry::file("a", "data"),
        Entry::hard_link("b", "a").size(4),
        Entry::directory("c").size(4096),
        Entry::file("d", "next"),
    ]));
    assert_eq!(image.get("b").content, b"data");
    assert_eq!(image.get("d").content, b"next");
}

#[test]
fn size_in_an_extended_header_wins() {
    let image = image(&Tar::of([
        Entry::file("a", "12345").size(0).pax("size", "5"),
        Entry::file("b", ""),
    ]));
    assert_eq!(image.get("a").content, b"12345");
}

#[test]
fn sums_of_signed_bytes_and_contiguous_files_are_taken() {
    let mut tar = Tar::of([Entry::file(b"\xe9", "x").patch(156, b"7")]).bytes();
    let sum: i32 = tar[..512]
        .iter()
        .enumerate()
        .map(|(index, byte)| {
            let inside = (148..156).contains(&index);
            i32::from(if inside {
                b' '.cast_signed()
            } else {
                byte.cast_signed()
            })
        })
        .sum();
    tar[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    assert_eq!(image_of(&tar).get(b"\xe9").content, b"x");
}

#[test]
fn malformed_headers_are_refused_with_their_place() {
    for (entry, reason) in [
        (Entry::new(b'Z', "a"), "unknown type 'Z'"),
        (Entry::file("a", "").patch(100, b"zzz"), "no valid mode"),
        (
            Entry::file("a", "").patch(124, b"-1"),
            "its size is not a number",
        ),
        (Entry::file("a", "").size(-1), "its size is not a number"),
        (Entry::file("a", "").patch(136, b"x"), "no valid time"),
        (
            Entry::file("a", "").pax("mtime", "x"),
            "\"mtime\" has no valid value",
        ),
        (Entry::new(b'x', "h").data("nonsense"), "malformed record"),
    ] {
        let text = refused(&Tar::of([Entry::file("good", ""), entry]).bytes());
        assert!(text.contains(reason), "{text}");
        assert!(text.contains("at byte"), "{text}");
    }
    let alone = Tar::of([Entry::new(b'x', "h").data("11 path=ab\n")]).bytes();
    assert!(refused(&alone).contains("extended header announces"));
}
