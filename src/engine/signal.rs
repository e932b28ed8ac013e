//! Signals by name and number, as on Linux.

/// Names without `SIG` at their number, from 1.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// Last signal: real-time ones reach up to here.
const LAST: u8 = 64;

/// The number of a signal given as `SIGTERM`, `term`, `15` or `RTMIN+3`.
pub(crate) fn parse(text: &str) -> Option<u8> {
    if let Ok(number) = text.parse() {
        return (1..=LAST).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(above) = bare.strip_prefix("RTMIN") {
        // 34 is glibc's first; the two before it are its own.
        let above: u8 = if above.is_empty() {
            0
        } else {
            above.strip_prefix('+')?.parse().ok()?
        };
        return 34_u8.checked_add(above).filter(|number| *number <= LAST);
    }
    let index = NAMES.iter().position(|known| *known == bare)?;
    u8::try_from(index + 1).ok()
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
            ("RTMIN+3", Some(37)),
            ("SIGSYS", Some(31)),
            ("0", None),
            ("65", None),
            ("SIGNOPE", None),
        ] {
            assert_eq!(parse(text), number, "{text}");
        }
    }
}
