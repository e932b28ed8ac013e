//! What a container sees of many layers, beside what umoci unpacks of the same image.

use std::{
    fs::{self, File},
    path::Path,
    process::Command,
};

use coracle_tests::{Detached, Done, coracle, done, run};
use tempfile::TempDir;

/// Packs what is in the current directory, with all that a file system knows of a file, in the same order each
/// time; but for what each container has of its own.
const PACK: &str = "/bin/tar --sort=name --format=posix --numeric-owner --xattrs --xattrs-include='*' \
    --one-file-system --pax-option=exthdr.name=%d/%f,delete=atime,delete=ctime \
    --exclude=dev --exclude=proc --exclude=sys --exclude=etc/hosts --exclude=etc/hostname \
    --exclude=etc/resolv.conf -cf - *";

/// Images by umoci, of one layer and of 127.
const NAMES: [&str; 2] = ["single-layer", "many-layers"];

/// They are loaded, and go with this.
struct Images {
    work: TempDir,
}

impl Images {
    fn new() -> Self {
        let work = tempfile::tempdir().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/layers/make.py");
        let _ = done(Command::new("python3").arg(script).arg(work.path())).expect(0);
        let own = Self { work };
        for name in NAMES {
            let layout = own.path(name);
            let _ = done(&mut coracle(["load", "-q", "-i", &layout, "-t", name])).expect(0);
        }
        own
    }

    fn path(&self, name: &str) -> String {
        self.work.path().join(name).display().to_string()
    }
}

impl Drop for Images {
    fn drop(&mut self) {
        let _ = done(coracle(["rmi", "--force"]).args(NAMES));
    }
}

fn shell(image: &str, script: &str) -> Done {
    run(["--rm", image, "/bin/sh", "-c", script])
}

/// A line for each entry of an archive, for a person who wonders where two differ.
fn listed(archive: &str) -> String {
    let options = [
        "--verbose",
        "--full-time",
        "--numeric-owner",
        "--xattrs",
        "-tf",
    ];
    done(Command::new("tar").args(options).arg(archive)).stdout
}

#[test]
fn image_of_127_layers_is_what_umoci_unpacks_of_it_and_takes_as_many_devices_as_one() {
    let images = Images::new();
    let unpacked = images.path("bundle");
    let image = images.path("many-layers");
    let _ = done(Command::new("umoci").args(["unpack", "--image", &image, &unpacked])).expect(0);
    let (ours, theirs) = (images.path("ours.tar"), images.path("theirs.tar"));
    let pack = done(
        Command::new("sh")
            .args([
                "-c",
                &format!("cd \"$0/rootfs\"; {PACK} >\"$1\""),
                &unpacked,
                &theirs,
            ])
            .env("LC_ALL", "C"),
    );
    let _ = pack.expect(0);

    let script = format!("cd /; {PACK}");
    let arguments = ["run", "--rm", "many-layers", "/bin/sh", "-c", &script];
    let mut command = coracle(arguments);
    let child = command
        .stdout(File::create(&ours).unwrap())
        .spawn()
        .unwrap();
    assert_eq!(coracle_tests::wait(child), 0);
    let same = fs::read(&ours).unwrap() == fs::read(&theirs).unwrap();
    assert!(
        same,
        "ours:\n{}\numoci's:\n{}",
        listed(&ours),
        listed(&theirs)
    );
    // What was compared is what was meant.
    assert!(listed(&ours).contains("data/times/nanoseconds"));
    assert_eq!(shell("many-layers", "cat /data/order").stdout, "127");

    // What was made with the container is no change of it.
    let command = ["many-layers", "/bin/busybox", "sleep", "1000"];
    let container = Detached::start("many-layers", &command);
    assert_eq!(container.does(&["diff"]).expect(0).stdout, "");
    let _ = container
        .exec(&["/bin/busybox", "rm", "/data/back/file"])
        .expect(0);
    let changed = container.does(&["diff"]).expect(0).stdout;
    assert_eq!(changed, "C /data\nC /data/back\nD /data/back/file\n");

    let devices = "ls /sys/bus/platform/devices /sys/block";
    let many = shell("many-layers", devices).expect(0).stdout;
    assert_eq!(shell("single-layer", devices).expect(0).stdout, many);
}

/// A tag of an image in the directory, of busybox and three layers that mean something else upon it than alone.
const DEPENDENT: &str = "
    mkdir layout && tar -C layout -xf \"$0\"
    tag=$(jq -r '.manifests[0].annotations[\"org.opencontainers.image.ref.name\"]' layout/index.json)
    add() { umoci raw add-layer --image layout:$tag --tag dependent \"$1\"; tag=dependent; }
    mkdir -p 1/data/real 2/data/link 2/data/up/link 3/data/link
    echo old >1/data/real/old; chmod 750 1/data/real; ln -s real 1/data/link; ln -s / 1/data/up
    echo gone >1/data/real/gone
    echo new >2/data/link/new; echo far >2/data/up/link/far; touch 2/data/link/.wh.gone
    tar -C 1 --owner=0 --group=0 -cf 1.tar data
    tar -C 2 --owner=0 --group=0 --no-recursion -cf 2.tar --transform='s,^data/up/link,data/up/data/link,' \\
      data/link/new data/up/link/far data/link/.wh.gone
    # An entry that is a hard link, without what it links to.
    python3 -c '
import tarfile
with tarfile.open(\"3.tar\", \"w\") as tar:
    for name, target in ((\"data/hard\", \"data/real/old\"), (\"data/link/again\", \"data/up/data/link/old\")):
        entry = tarfile.TarInfo(name); entry.type = tarfile.LNKTYPE; entry.linkname = target
        tar.addfile(entry)'
    add 1.tar; add 2.tar; add 3.tar";

#[test]
fn layers_that_depend_on_those_below_are_what_umoci_unpacks_also_when_checked_and_saved() {
    let work = tempfile::tempdir().unwrap();
    let path = |name: &str| work.path().join(name).display().to_string();
    let made = done(
        Command::new("bash")
            .args(["-euc", DEPENDENT])
            .arg(coracle_tests::sample("busybox"))
            .current_dir(work.path()),
    );
    let _ = made.expect(0);
    let umoci = |arguments: &[&str]| {
        let _ = done(Command::new("umoci").args(arguments)).expect(0);
    };
    umoci(&[
        "unpack",
        "--image",
        &path("layout:dependent"),
        &path("bundle"),
    ]);
    // Of a layout with several tags none is chosen.
    umoci(&["rm", "--image", &path("layout:latest")]);
    let look = "cd /data && for name in *; do ls -ld $name | cut -c1-10; readlink $name || true; done; \
        ls real; cat real/* hard";
    let theirs = done(
        Command::new("chroot")
            .arg(work.path().join("bundle/rootfs"))
            .args(["/bin/busybox", "sh", "-c", look]),
    );
    let theirs = theirs.expect(0).stdout;
    assert!(
        theirs.contains("far") && theirs.contains("again"),
        "{theirs}"
    );

    let saved = path("saved.tar");
    let layout = path("layout");
    let _ = done(&mut coracle([
        "load",
        "-q",
        "-i",
        &layout,
        "-t",
        "dependent",
    ]))
    .expect(0);
    let seen = |flags: &[&str]| {
        let command = ["dependent", "/bin/busybox", "sh", "-c", look];
        let arguments = [&["run", "--rm"][..], flags, &command[..]].concat();
        done(&mut coracle(arguments)).expect(0).stdout
    };
    assert_eq!(seen(&[]), theirs);
    assert_eq!(seen(&["--verify"]), theirs);
    let links = "stat -c %h /data/hard /data/real/old /data/real/again";
    assert_eq!(shell("dependent", links).expect(0).stdout, "3\n3\n3\n");
    let _ = done(&mut coracle(["image", "verify", "dependent"])).expect(0);
    let _ = done(&mut coracle(["save", "-o", &saved, "dependent"])).expect(0);
    let _ = done(&mut coracle(["rmi", "dependent"])).expect(0);
    let _ = done(&mut coracle(["load", "-q", "-i", &saved])).expect(0);
    assert_eq!(seen(&[]), theirs);
    let _ = done(&mut coracle(["rmi", "dependent"])).expect(0);
}
