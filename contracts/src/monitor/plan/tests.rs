//! Plans of owners who mean well, and of others.

use super::*;

fn good() -> Plan {
    let disk = Disk {
        extents: vec![
            Extent::Bytes(vec![0, 1, 0xfe, 0xff]),
            Extent::File {
                path: "/images/layer".into(),
                offset: 512,
                length: 1024,
            },
            Extent::Zeros(512),
        ],
        read_only: true,
    };
    Plan {
        kernel: "/kernel".into(),
        initramfs: None,
        command_line: "quiet".into(),
        memory_mib: MIN_MEMORY_MIB,
        cpus: MAX_CPUS,
        disks: vec![disk; MAX_DISKS],
        vsock_cid: Some(3),
        boot_deadline_ms: 0,
        require_jail: false,
    }
}

#[test]
fn plan_is_read_as_it_was_written() {
    let json = serde_json::to_vec(&good()).unwrap();
    assert_eq!(serde_json::from_slice::<Plan>(&json).unwrap(), good());
    assert_eq!(good().check(), Ok(()));
}

#[test]
fn what_may_be_left_out_has_a_value() {
    let json = br#"{"kernel": "k", "memory_mib": 64, "cpus": 1}"#;
    let plan: Plan = serde_json::from_slice(json).unwrap();
    assert_eq!(
        (plan.disks.len(), plan.vsock_cid, plan.initramfs),
        (0, None, None)
    );
}

#[test]
fn hexadecimal_digits_are_checked() {
    let disk = |digits: &str| {
        let json = format!(r#"{{"extents": [{{"bytes": "{digits}"}}], "read_only": true}}"#);
        serde_json::from_str::<Disk>(&json)
    };
    assert_eq!(
        disk("00fFa0").unwrap().extents,
        [Extent::Bytes(vec![0, 0xff, 0xa0])]
    );
    for wrong in ["0", "0g", "é", "-1", "+f", "0x"] {
        assert!(disk(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn values_out_of_range_are_named() {
    let file = |offset, length| Extent::File {
        path: "f".into(),
        offset,
        length,
    };
    let disk = |extents| Disk {
        extents,
        read_only: true,
    };
    type Change = (fn(&mut Plan), &'static str);
    let wrong: [Change; 6] = [
        (|plan| plan.memory_mib = MIN_MEMORY_MIB - 1, "63 MiB"),
        (|plan| plan.cpus = 0, "0 processors"),
        (|plan| plan.cpus = MAX_CPUS + 1, "33 processors"),
        (|plan| plan.disks.push(plan.disks[0].clone()), "9 disks"),
        (|plan| plan.vsock_cid = Some(2), "identifier"),
        (|plan| plan.command_line = "a\0b".into(), "zero byte"),
    ];
    for (change, word) in wrong {
        let mut plan = good();
        change(&mut plan);
        let words = plan.check().unwrap_err();
        assert!(words.contains(word), "{words}");
    }
    for extents in [
        vec![Extent::Zeros(u64::MAX)],
        vec![Extent::Zeros(1 << 62); 2],
        vec![Extent::Zeros(1 << 62); 4],
        vec![file(u64::MAX, 512)],
        vec![file(MAX_DISK, 512)],
        vec![Extent::Zeros(0); MAX_EXTENTS + 1],
    ] {
        let plan = Plan {
            disks: vec![disk(extents)],
            ..good()
        };
        assert!(plan.check().unwrap_err().starts_with("a disk of"));
    }
}

#[test]
fn extent_ends_in_its_file_and_nowhere_else() {
    let file = Extent::File {
        path: "f".into(),
        offset: 512,
        length: 1024,
    };
    assert_eq!((file.length(), file.end()), (1024, 1536));
    assert_eq!(Extent::Zeros(512).end(), 512);
    assert_eq!(Extent::Bytes(vec![1, 2]).end(), 2);
}
