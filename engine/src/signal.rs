//! Signals by name and number, as on Linux.

/// Names without `SIG` at their number, from 1.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// Other names of signals, as signal(7) has them.
const ALIASES: [(&str, u8); 5] = [
    ("IOT", 6),
    ("CLD", 17),
    ("POLL", 29),
    ("INFO", 30),
    ("UNUSED", 31),
];

/// The first real-time signal as glibc and docker count, and the last; the kernel's first two are glibc's own.
const RTMIN: u8 = 34;
const RTMAX: u8 = 64;
const KERNEL_RTMIN: u8 = 32;

/// The number of a signal given as `SIGTERM`, `term`, `15`, `RTMIN+3` or `SIGRTMAX-1`.
pub fn parse(text: &str) -> Option<u8> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        let number = text.parse().ok()?;
        return (1..=RTMAX).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    for (name, base) in [("RTMIN", RTMIN), ("RTMAX", RTMAX)] {
        if let Some(rest) = bare.strip_prefix(name) {
            return real_time(base, rest);
        }
    }
    let alias = ALIASES.iter().find(|(name, _)| *name == bare);
    let plain = || {
        let index = NAMES.iter().position(|known| *known == bare)?;
        u8::try_from(index + 1).ok()
    };
    alias.map(|(_, number)| *number).or_else(plain)
}

/// A real-time signal so far above or below another.
fn real_time(base: u8, rest: &str) -> Option<u8> {
    if rest.is_empty() {
        return Some(base);
    }
    let (up, digits) = match rest.split_at_checked(1)? {
        ("+", digits) => (true, digits),
        ("-", digits) => (false, digits),
        _ => return None,
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let distance = digits.parse().ok()?;
    let number = if up {
        base.checked_add(distance)
    } else {
        base.checked_sub(distance)
    };
    number.filter(|number| (KERNEL_RTMIN..=RTMAX).contains(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_read_in_any_form() {
        for (text, number) in [
            ("SIGTERM", Some(15)),
            ("int", Some(2)),
            ("9", Some(9)),
            ("RTMIN", Some(34)),
            ("RTMIN+3", Some(37)),
            ("sigrtmin+30", Some(64)),
            ("RTMIN-2", Some(32)),
            ("SIGRTMAX", Some(64)),
            ("SigRtMax-14", Some(50)),
            ("RTMAX-0", Some(64)),
            ("RTMAX+1", None),
            ("RTMIN+31", None),
            ("RTMIN-3", None),
            ("RTMIN+", None),
            ("RTMIN++1", None),
            ("RTMIN3", None),
            ("SIGCLD", Some(17)),
            ("poll", Some(29)),
            ("SIGSYS", Some(31)),
            ("064", Some(64)),
            ("+9", None),
            ("-9", None),
            ("", None),
            ("SIG", None),
            ("RTMIN+ä", None),
            ("RTMINé", None),
            ("SIGRTMAXé1", None),
            ("0", None),
            ("65", None),
            ("SIGNOPE", None),
        ] {
            assert_eq!(parse(text), number, "{text}");
        }
    }
}
