//! Files in and out of containers: `cp`, by docker's rules, and what is written for a user.

use std::{
    fs,
    os::unix::fs::{FileTypeExt, PermissionsExt, symlink},
    path::Path,
    process::{Command, Stdio},
};

use coracle_tests::{Detached, coracle, done, done_with_input};

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

/// Copies, and gives the complaint, if any.
fn cp(flags: &[&str], from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<(), String> {
    let mut command = coracle(["cp"]);
    command.args(flags).arg(from.as_ref()).arg(to.as_ref());
    let done = done(&mut command);
    match done.code {
        0 => Ok(()),
        _ => Err(done.stderr),
    }
}

#[test]
fn copy_follows_dockers_rules_for_what_is_there() {
    let container = Detached::waiting("ruled");
    let place = tempfile::tempdir().unwrap();
    let here = |name: &str| place.path().join(name);
    fs::write(here("f"), "from outside\n").unwrap();
    fs::create_dir(here("d")).unwrap();
    fs::write(here("d/inner"), "").unwrap();
    let script = "mkdir /w /w/dir; echo old > /w/file; ln -s file /w/link; ln -s /w/later /w/dangling; \
                  ln -s dir /w/todir; mkfifo /w/pipe";
    let _ = container.exec(&["sh", "-c", script]).expect(0);
    let read = |path: &str| container.exec(&["cat", path]).expect(0).stdout;
    // A link is followed, and stays one.
    cp(&[], here("f"), "ruled:/w/link").unwrap();
    assert_eq!(read("/w/file"), "from outside\n");
    assert_eq!(
        container.exec(&["readlink", "/w/link"]).expect(0).stdout,
        "file\n"
    );
    cp(&[], here("f"), "ruled:/w/dangling").unwrap();
    assert_eq!(read("/w/later"), "from outside\n");
    cp(&[], here("f"), "ruled:/w/todir").unwrap();
    assert_eq!(read("/w/dir/f"), "from outside\n");
    // A slash at the end is a directory.
    for target in [
        "ruled:/w/file/",
        "ruled:/w/new/",
        "ruled:/w/new/.",
        "ruled:/w/no/such",
    ] {
        assert!(cp(&[], here("f"), target).is_err(), "{target}");
    }
    cp(&[], here("f"), "ruled:/w/todir/").unwrap();
    // A directory goes into one, or makes one; its contents go with a dot.
    assert!(cp(&[], here("d"), "ruled:/w/file").is_err());
    cp(&[], here("d"), "ruled:/w/dir").unwrap();
    cp(&[], here("d/."), "ruled:/w/dir").unwrap();
    cp(&[], here("d"), "ruled:/w/made/").unwrap();
    for path in ["/w/dir/d/inner", "/w/dir/inner", "/w/made/inner"] {
        assert_eq!(read(path), "", "{path}");
    }
    // What is no file is not replaced.
    for target in ["ruled:/w/pipe", "ruled:/dev/null"] {
        assert!(
            cp(&[], here("f"), target)
                .unwrap_err()
                .contains("regular file"),
            "{target}"
        );
    }
    let kinds = "test -p /w/pipe && test -c /dev/null";
    let _ = container.exec(&["sh", "-c", kinds]).expect(0);
    // The other way round.
    symlink("made", here("link")).unwrap();
    cp(&[], "ruled:/w/file", here("link")).unwrap();
    assert_eq!(fs::read_to_string(here("made")).unwrap(), "from outside\n");
    assert!(fs::symlink_metadata(here("link")).unwrap().is_symlink());
    assert!(cp(&[], "ruled:/w/file", here("f/")).is_err());
    assert!(cp(&[], "ruled:/w/file", here("none/")).is_err());
    assert!(cp(&[], "ruled:/w/file/", here("x")).is_err());
    cp(&[], "ruled:/w/link", here("copied-link")).unwrap();
    assert_eq!(
        fs::read_link(here("copied-link")).unwrap(),
        Path::new("file")
    );
    cp(&["-L"], "ruled:/w/link", here("followed")).unwrap();
    assert_eq!(
        fs::read_to_string(here("followed")).unwrap(),
        "from outside\n"
    );
    cp(&[], "ruled:/w/todir/", here("tree")).unwrap();
    assert!(here("tree/d/inner").is_file());
}

#[test]
fn devices_and_pipes_of_this_machine_are_written_to_or_refused() {
    let container = Detached::waiting("careful");
    let _ = container
        .exec(&["sh", "-c", "echo text > /root/f"])
        .expect(0);
    let place = tempfile::tempdir().unwrap();
    let pipe = place.path().join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let device = place.path().join("device");
    symlink("/dev/null", &device).unwrap();
    for target in [&pipe, &device, Path::new("/dev/null")] {
        let words = cp(&[], "careful:/root/f", target).unwrap_err();
        assert!(words.contains("regular file"), "{words}");
    }
    // An archive goes there all the same.
    let _ = done(&mut coracle(["save", "-o", "/dev/null", "busybox"])).expect(0);
    let link = done(coracle(["save", "busybox", "-o"]).arg(&device));
    let _ = link.expect(0);
    assert!(
        fs::metadata("/dev/null")
            .unwrap()
            .file_type()
            .is_char_device()
    );
    assert!(fs::symlink_metadata(&device).unwrap().is_symlink());
    let mut writer = coracle(["save", "busybox", "-o"])
        .arg(&pipe)
        .spawn()
        .unwrap();
    let archive = fs::read(&pipe).unwrap();
    assert!(writer.wait().unwrap().success());
    let names = done_with_input(Command::new("tar").arg("t"), &archive);
    assert!(names.expect(0).stdout.contains("manifest.json"));
    assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
    let piped = coracle(["save", "busybox", "-o", "/dev/stdout"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let names = done_with_input(Command::new("tar").arg("t"), &piped.stdout);
    assert!(names.expect(0).stdout.contains("manifest.json"));
}

#[test]
fn capabilities_and_attributes_of_files_go_in_and_come_back() {
    let container = Detached::waiting("marked");
    let place = tempfile::tempdir().unwrap();
    // CAP_NET_BIND_SERVICE, permitted, version 2.
    let bytes = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let records = [
        record("SCHILY.xattr.security.capability", &bytes),
        record("SCHILY.xattr.user.colour", b"green"),
        record("SCHILY.xattr.trusted.overlay.opaque", b"y"),
    ]
    .concat();
    let archive = [
        entry("pax", b'x', &records),
        entry("server", b'0', b"program"),
        vec![0; 1024],
    ]
    .concat();
    let mut command = coracle(["cp", "-", "marked:/root"]);
    let _ = done_with_input(&mut command, &archive).expect(0);
    let back = coracle(["cp", "marked:/root/server", "-"])
        .output()
        .unwrap();
    for record in [
        [&b"SCHILY.xattr.security.capability="[..], &bytes].concat(),
        b"SCHILY.xattr.user.colour=green".to_vec(),
    ] {
        let found = back.stdout.windows(record.len()).any(|part| part == record);
        assert!(found, "{}", String::from_utf8_lossy(&record));
    }
    // On this machine they are only set when asked for.
    let plain = place.path().join("plain");
    cp(&[], "marked:/root/server", &plain).unwrap();
    assert_eq!(attribute(&plain, "security.capability"), None);
    assert_eq!(
        fs::metadata(&plain).unwrap().permissions().mode() & 0o7777,
        0o755
    );
    if rustix::process::geteuid().is_root() {
        let kept = place.path().join("kept");
        cp(&["-a"], "marked:/root/server", &kept).unwrap();
        assert_eq!(
            attribute(&kept, "security.capability"),
            Some(bytes.to_vec())
        );
        cp(&[], &kept, "marked:/root/again").unwrap();
        let _ = container.exec(&["test", "-f", "/root/again"]).expect(0);
    }
}

/// A record of a tar archive's extended header; its length counts its own two digits.
fn record(name: &str, value: &[u8]) -> Vec<u8> {
    let length = name.len() + value.len() + 5;
    [format!("{length} {name}=").as_bytes(), value, b"\n"].concat()
}

/// An entry of a tar archive, of root, with the mode 4755.
fn entry(name: &str, kind: u8, content: &[u8]) -> Vec<u8> {
    let mut block = vec![0; 512];
    let mut put =
        |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0004755");
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{:011o}", content.len()));
    put(136, "00000000000");
    put(148, "        ");
    put(257, "ustar\x0000");
    block[156] = kind;
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block.extend_from_slice(content);
    block.resize(block.len().next_multiple_of(512), 0);
    block
}

/// An extended attribute of a file.
fn attribute(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = [0; 256];
    let length = rustix::fs::getxattr(path, name, &mut value).ok()?;
    Some(value[..length].to_vec())
}
