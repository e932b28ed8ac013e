//! How a plan reaches the monitor.

use std::io::Read;

use contracts::monitor::{MAX_JSON, Plan};

/// Reads a plan from JSON.
///
/// # Errors
/// Words for one that is too long or is none.
pub fn read(source: impl Read) -> Result<Plan, String> {
    let mut text = Vec::new();
    let read = source.take(MAX_JSON + 1).read_to_end(&mut text);
    read.map_err(|error| format!("cannot read the plan: {error}"))?;
    if text.len() as u64 > MAX_JSON {
        return Err(format!("the plan is longer than {MAX_JSON} bytes"));
    }
    serde_json::from_slice(&text).map_err(|error| format!("the plan cannot be understood: {error}"))
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn json_that_is_no_plan_is_refused_in_words() {
        for (json, word) in [
            (&b""[..], "EOF"),
            (b"{}", "kernel"),
            (b"[]", "plan"),
            (b"\xff\xfe", "plan"),
            (br#"{"kernel": "k", "memory_mib": -1, "cpus": 1}"#, "-1"),
            (br#"{"kernel": "k", "memory_mib": 1e9, "cpus": 1}"#, "plan"),
            (
                br#"{"kernel": "k", "memory_mib": 4294967296, "cpus": 1}"#,
                "4294967296",
            ),
            (br#"{"kernel": "k", "memory_mib": 64, "cpus": 256}"#, "256"),
            (
                br#"{"kernel": "k", "memory_mib": 64, "cpus": 1, "extra": 1}"#,
                "extra",
            ),
            (
                br#"{"kernel": "k", "memory_mib": 64, "cpus": 1, "vsock_cid": 4294967296}"#,
                "4294967296",
            ),
            (
                br#"{"kernel": "k", "memory_mib": 64, "cpus": 1} {}"#,
                "trailing",
            ),
        ] {
            let words = read(json).unwrap_err();
            assert!(words.contains(word), "{words}");
        }
    }

    #[test]
    fn json_without_end_is_not_read_to_it() {
        let words = read(io::repeat(b' ')).unwrap_err();
        assert!(words.contains("longer"), "{words}");
        let nested = vec![b'['; 1 << 20];
        assert!(read(nested.as_slice()).is_err());
    }
}
