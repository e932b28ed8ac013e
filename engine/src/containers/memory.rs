//! Memory of processes of this machine.

use std::fs;

/// Bytes of a process and its children, where pages that several processes share count in parts
/// (`Pss` of `/proc/PID/smaps_rollup`); `None` when it has no children or they cannot be looked at.
pub(super) fn of_family(pid: u32) -> Option<u64> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    let mut sum = proportional(&pid.to_string())?;
    let mut any = false;
    for child in children.split_whitespace() {
        sum += proportional(child)?;
        any = true;
    }
    any.then_some(sum)
}

fn proportional(pid: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::Read,
        process::{Command, Stdio},
    };

    #[test]
    fn family_is_a_process_and_its_children() {
        let own = proportional(&std::process::id().to_string()).unwrap();
        assert!(own > 100 << 10, "{own}");
        let mut family = Command::new("sh")
            .args(["-c", "exec 3<&0; cat <&3 & echo ready; wait"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = [0; 6];
        let output = family.stdout.as_mut().unwrap();
        output.read_exact(&mut line).unwrap();
        let both = of_family(family.id()).unwrap();
        let one = proportional(&family.id().to_string()).unwrap();
        assert!(both > one, "{both} {one}");
        // Both end with their input.
        drop(family.stdin.take());
        family.wait().unwrap();
        assert_eq!(of_family(family.id()), None);
    }
}
