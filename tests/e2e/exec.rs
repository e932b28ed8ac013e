//! Programs beside a container's first process, and files in and out.

use std::{fs, process::Stdio};

use coracle_tests::{Detached, coracle, done, done_with_input};

#[test]
fn program_runs_in_the_container_with_its_limits_and_its_own_exit_code() {
    let flags = [
        "-e",
        "A=1",
        "--cap-drop",
        "CHOWN",
        "busybox",
        "sleep",
        "1000",
    ];
    let container = Detached::start("inside", &flags);
    let text = container
        .exec(&["sh", "-c", "echo $A $B; exit 7"])
        .expect(7)
        .stdout;
    assert_eq!(text, "1\n");
    let mut with = coracle(["exec", "-e", "B=2", "-w", "/tmp", "-u", "nobody", "inside"]);
    let text = done(with.args(["sh", "-c", "echo $A $B $PWD; id -u"]))
        .expect(0)
        .stdout;
    assert_eq!(text, "1 2 /tmp\n65534\n");
    let status = container
        .exec(&["cat", "/proc/self/status"])
        .expect(0)
        .stdout;
    // Without CHOWN, bit 0.
    let bounding = status.lines().find(|line| line.starts_with("CapBnd:"));
    assert!(bounding.unwrap().ends_with("0425fa"), "{status}");
    assert!(status.contains("Seccomp:\t2"), "{status}");
    let group = container
        .exec(&["cat", "/proc/self/cgroup"])
        .expect(0)
        .stdout;
    assert_eq!(group, "0::/\n");
    let first = container.exec(&["cat", "/proc/1/cmdline"]).expect(0).stdout;
    assert_eq!(first, "sleep\x001000\0");
}

#[test]
fn missing_program_and_stopped_container_are_told_apart() {
    let container = Detached::waiting("outside");
    let _ = container.exec(&["no-such-program"]).expect(127);
    let _ = container.exec(&["/etc/passwd"]).expect(126);
    let _ = container.does(&["stop"]).expect(0);
    let stopped = container.exec(&["true"]).expect(1);
    assert!(stopped.stderr.contains("not running"), "{stopped:?}");
}

#[test]
fn input_and_output_are_whole() {
    let _container = Detached::waiting("piped");
    let input: Vec<u8> = (0..3_000_000_u32)
        .map(|number| (number % 251) as u8)
        .collect();
    let mut command = coracle(["exec", "-i", "piped", "md5sum"]);
    let inside = done_with_input(&mut command, &input).expect(0).stdout;
    let outside = done_with_input(
        std::process::Command::new("md5sum").stdin(Stdio::null()),
        &input,
    );
    assert_eq!(inside, outside.stdout);
}

#[test]
fn terminal_of_a_program_is_one_of_the_container() {
    let _container = Detached::waiting("typed");
    let line = format!(
        "stty rows 31 cols 99; {} exec -it typed sh -c 'tty; stty size; exit 6'",
        coracle_tests::program("coracle").display()
    );
    let mut command = std::process::Command::new("script");
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    let done = done(command.stdin(Stdio::piped())).expect(6);
    assert!(done.stdout.contains("/dev/pts/"), "{}", done.stdout);
    assert!(done.stdout.contains("31 99"), "{}", done.stdout);
}

#[test]
fn detached_program_goes_on_and_ends_with_the_container() {
    let container = Detached::waiting("busy");
    let _ = done(&mut coracle(["exec", "-d", "busy", "sleep", "1234"])).expect(0);
    let top = container.does(&["top"]).expect(0).stdout;
    assert!(top.contains("sleep 1234"), "{top}");
    assert!(top.starts_with("UID"), "{top}");
    let _ = container.does(&["stop", "-t", "0"]).expect(0);
    assert_eq!(container.field(".State.Status"), "exited");
}

#[test]
fn use_is_told_in_numbers() {
    let container = Detached::waiting("counted");
    let text = container
        .does(&["stats", "--no-stream", "--format", "json"])
        .expect(0)
        .stdout;
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["Name"], "counted");
    assert!(value["MemCharged"].as_u64().unwrap() > 100_000, "{text}");
    assert!(
        value["PIDs"].as_str().unwrap().parse::<u32>().unwrap() >= 1,
        "{text}"
    );
    assert!(value["CPUPerc"].as_str().unwrap().ends_with('%'), "{text}");
}

#[test]
fn changed_files_are_listed() {
    let container = Detached::waiting("changed");
    let script = "echo x > /root/new; rm /bin/vi; chmod 600 /etc/passwd; mkdir /opt";
    let _ = container.exec(&["sh", "-c", script]).expect(0);
    let text = container.does(&["diff"]).expect(0).stdout;
    for line in [
        "A /root/new",
        "D /bin/vi",
        "C /etc/passwd",
        "A /opt",
        "C /bin",
    ] {
        assert!(
            text.lines().any(|own| own == line),
            "{line} is missing:\n{text}"
        );
    }
    assert!(!text.contains("/etc/hosts"), "{text}");
}

#[test]
fn files_go_in_and_come_back() {
    let container = Detached::waiting("copied");
    let place = tempfile::tempdir().unwrap();
    let (out, back) = (place.path().join("out"), place.path().join("back"));
    fs::create_dir_all(out.join("deep")).unwrap();
    fs::write(out.join("deep/file"), vec![7; 1_000_001]).unwrap();
    std::os::unix::fs::symlink("deep/file", out.join("link")).unwrap();
    let _ = done(coracle(["cp"]).arg(&out).arg("copied:/srv")).expect(0);
    let sum = container.exec(&["md5sum", "/srv/link"]).expect(0).stdout;
    let _ = done(coracle(["cp", "copied:/srv"]).arg(&back)).expect(0);
    assert_eq!(fs::read(back.join("link")).unwrap(), vec![7; 1_000_001]);
    let outside = std::process::Command::new("md5sum")
        .arg(back.join("link"))
        .output()
        .unwrap();
    assert_eq!(
        sum.split(' ').next().unwrap().as_bytes(),
        &outside.stdout[..32]
    );
    let missing = done(coracle(["cp", "copied:/nowhere"]).arg(&back)).expect(1);
    assert!(missing.stderr.contains("/nowhere"), "{missing:?}");
    let listed = coracle(["cp", "copied:/srv", "-"]).output().unwrap();
    let names = done_with_input(std::process::Command::new("tar").arg("t"), &listed.stdout);
    assert!(names.expect(0).stdout.contains("srv/deep/file\n"));
}

#[test]
fn link_of_a_container_leads_no_copy_out_of_it() {
    let container = Detached::waiting("sly");
    let place = tempfile::tempdir().unwrap();
    let secret = place.path().join("secret");
    fs::write(&secret, "the machine's own").unwrap();
    let path = secret.to_str().unwrap();
    // A path of this machine is, in the container, the container's.
    let _ = container.exec(&["ln", "-s", path, "/leak"]).expect(0);
    let _ = done(coracle(["cp", "-L", "sly:/leak"]).arg(place.path().join("got"))).expect(1);
    assert!(!place.path().join("got").exists());
    // A link that is copied is a link, and what comes after it does not go through it.
    let script = format!("mkdir -p /tree; ln -s {} /tree/sub", place.path().display());
    let _ = container.exec(&["sh", "-c", &script]).expect(0);
    let target = place.path().join("tree");
    let _ = done(coracle(["cp", "sly:/tree"]).arg(&target)).expect(0);
    assert!(
        fs::symlink_metadata(target.join("sub"))
            .unwrap()
            .is_symlink()
    );
}
