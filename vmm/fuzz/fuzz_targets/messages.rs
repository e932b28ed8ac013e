//! Hostile JSON: a plan that is taken can be checked and written again; packets of the control
//! socket are messages or errors.
#![no_main]

use std::io::Write;

use contracts::monitor::{FromMonitor, ToMonitor};
use libfuzzer_sys::fuzz_target;
use packets::Socket;
use vmm::plan;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(plan) = plan::read(bytes) {
        let _ = plan.check();
        let json = serde_json::to_vec(&plan).expect("what was read can be written");
        assert_eq!(plan::read(json.as_slice()), Ok(plan));
    }
    let _ = serde_json::from_slice::<FromMonitor>(bytes);
    let (ours, theirs) = Socket::pair().expect("a socket");
    let mut ours = std::fs::File::from(std::os::fd::OwnedFd::from(ours));
    if !bytes.is_empty() && ours.write(bytes).is_ok() {
        let direct = serde_json::from_slice::<ToMonitor>(bytes).ok();
        let received = theirs.receive::<ToMonitor>().ok().flatten();
        assert_eq!(received.map(|(message, _)| message), direct);
    }
    drop(ours);
    assert!(matches!(theirs.receive::<ToMonitor>(), Ok(None)));
});
