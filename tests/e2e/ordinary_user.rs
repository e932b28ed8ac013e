//! No root is needed: a user without any rights of their own does all of it.

use coracle_tests::Installation;

/// Nobody in particular, and in no group that may open `/dev/kvm` unless everyone may.
const USER: u32 = 61_234;

#[test]
fn container_runs_for_a_user_who_is_not_root() {
    let user = rustix::process::geteuid().is_root().then_some(USER);
    let installation = Installation::new(user);

    let listed = installation.run(&["images", "-q"]).expect(0);
    assert_eq!(listed.stdout.lines().count(), 1, "{}", listed.stdout);
    let done = installation.run(&["run", "busybox", "sh", "-c", "id -u; exit 4"]);
    assert_eq!(done.expect(4).stdout, "0\n");
    let done = installation.run(&["run", "-u", "nobody", "busybox", "id", "-u"]);
    assert_eq!(done.expect(0).stdout, "65534\n");
}
