//! Disks that are opened, and the devices that a plan makes.

use std::fs;

use tempfile::TempDir;

use super::*;

fn directory() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("disk"), vec![7; 4096]).unwrap();
    directory
}

fn extent(directory: &TempDir, offset: u64, length: u64) -> Extent {
    Extent::File {
        path: directory.path().join("disk"),
        offset,
        length,
    }
}

fn open(extents: Vec<Extent>, read_only: bool) -> Result<OpenDisk, DiskError> {
    OpenDisk::open(&Disk { extents, read_only })
}

#[test]
fn disk_of_many_extents_is_opened() {
    let directory = directory();
    let extents = vec![
        Extent::Bytes(vec![0; 512]),
        extent(&directory, 512, 3584),
        Extent::Zeros(1024),
    ];
    let disk = open(extents, true).unwrap();
    let lengths: Vec<u64> = disk.content.iter().map(|(_, length)| *length).collect();
    assert_eq!(lengths, [512, 3584, 1024]);
}

#[test]
fn file_that_is_too_short_is_named_with_what_is_missing() {
    let directory = directory();
    for (offset, length, needed) in [
        (0, 4608, "4608"),
        (4096, 512, "4608"),
        (u64::MAX - 511, 512, "18446744073709551615"),
    ] {
        let error = open(vec![extent(&directory, offset, length)], true).err();
        let words = error.unwrap().to_string();
        assert!(words.contains(needed) && words.contains("disk"), "{words}");
    }
}

#[test]
fn extents_are_whole_sectors() {
    let directory = directory();
    for wrong in [
        extent(&directory, 0, 511),
        Extent::Bytes(vec![0; 513]),
        Extent::Zeros(1),
    ] {
        let error = open(vec![wrong], true).err();
        assert!(matches!(error, Some(DiskError::Alignment(_))));
    }
}

#[test]
fn writable_disk_is_one_file() {
    let directory = directory();
    let file = extent(&directory, 0, 4096);
    for extents in [
        vec![],
        vec![Extent::Zeros(512)],
        vec![file.clone(), file.clone()],
    ] {
        let error = open(extents, false).err();
        assert!(matches!(error, Some(DiskError::Writable(_))));
    }
    open(vec![file], false).unwrap();
}

#[test]
fn files_that_are_no_disks_are_refused() {
    let directory = directory();
    let path = directory.path().join("disk");
    fs::remove_file(&path).unwrap();
    let error = open(vec![extent(&directory, 0, 512)], true).err();
    assert!(matches!(error, Some(DiskError::Open { .. })));
    // Nobody writes into the pipe: it must not be waited for.
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &path,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    let error = open(vec![extent(&directory, 0, 512)], true).err();
    assert!(matches!(error, Some(DiskError::Short { found: 0, .. })));
}

#[test]
fn read_only_disk_needs_no_right_to_write() {
    let directory = directory();
    let disk = open(vec![extent(&directory, 0, 4096)], true).unwrap();
    let [(Content::File { file, .. }, _)] = disk.content.as_slice() else {
        panic!("no file");
    };
    assert!(std::io::Write::write(&mut &*file, b"x").is_err());
}

#[test]
fn disks_come_first_and_vsock_only_with_a_host() {
    let directory = directory();
    let plan = Plan {
        kernel: "k".into(),
        initramfs: None,
        command_line: String::new(),
        memory_mib: 64,
        cpus: 3,
        disks: Vec::new(),
        vsock_cid: Some(3),
        boot_deadline_ms: 0,
        require_jail: false,
    };
    let disks = || vec![open(vec![extent(&directory, 0, 4096)], true).unwrap()];
    let names = |made: &Devices| {
        let names = made.devices.iter().map(|placed| placed.device.name());
        names.collect::<Vec<_>>()
    };
    let alone = devices(&plan, disks(), None).unwrap();
    assert_eq!(names(&alone), ["block", "rng", "balloon"]);
    assert!(alone.vsock.is_none());
    let host = Box::new(crate::owner::Owner::default());
    let made = devices(&plan, disks(), Some(host)).unwrap();
    assert_eq!(names(&made), ["block", "vsock", "rng", "balloon"]);
    assert!(made.vsock.is_some());
    let on_disk_loop = made.devices.iter().map(|placed| placed.on_disk_loop);
    assert_eq!(
        on_disk_loop.collect::<Vec<_>>(),
        [true, false, false, false]
    );
}
