//! Hostile `/etc/passwd` and `/etc/group`, and the names that a user asks for.
#![no_main]

use coracle_init::users;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &[u8], &[u8], Vec<String>)| {
    let (user, passwd, group, further) = input;
    if let Ok(identity) = users::resolve(passwd, group, user, &further) {
        assert_eq!(identity.groups.first(), Some(&identity.gid));
        assert!(identity.uid <= i32::MAX.unsigned_abs());
        assert!(identity.groups.iter().all(|gid| *gid <= i32::MAX.unsigned_abs()));
        assert!(!identity.home.is_empty());
    }
});
