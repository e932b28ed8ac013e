//! Answers whose whole body is known.

use std::fmt::Write;

use coracle_platform::{clock, date as calendar};

/// An answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// HTTP's status.
    pub status: u16,
    /// Headers but those about the body's length and the connection.
    pub headers: Vec<(&'static str, String)>,
    /// The body; none is sent with 204 and 304, nor to `HEAD`.
    pub body: Vec<u8>,
}

impl Reply {
    /// An answer without a body.
    #[must_use]
    pub fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// With one more header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// With a body of this type.
    #[must_use]
    pub fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.with("Content-Type", content_type)
    }

    /// Whether its status has no body, and so no length either (RFC 9110, section 6.4.1).
    pub(super) fn is_bodiless(&self) -> bool {
        matches!(self.status, 100..=199 | 204 | 304)
    }
}

/// A status line and headers. What could end a header early is left out of its value.
pub(super) fn head(status: u16, reason: &str, headers: &[(&'static str, String)]) -> String {
    let mut head = format!("HTTP/1.1 {status} {reason}\r\n");
    for (name, value) in headers {
        let value: String = value.chars().filter(|char| !char.is_control()).collect();
        let _ = write!(head, "{name}: {value}\r\n");
    }
    head
}

/// The header that says when an answer was made.
pub(super) fn date() -> String {
    format!("Date: {}\r\n", http_date(clock::wall() / clock::SECOND))
}

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Seconds since 1970, which began on a Thursday, as HTTP writes a time (RFC 9110, section 5.6.7).
fn http_date(seconds: u64) -> String {
    let days = seconds / 86_400;
    let name = |names: &[&'static str], index: u64| {
        let index = usize::try_from(index).unwrap_or(0);
        names.get(index).copied().unwrap_or_default()
    };
    let (year, month, day) = calendar::date_of(days);
    let (weekday, month) = (
        name(&DAYS, days % 7),
        name(&MONTHS, month.saturating_sub(1)),
    );
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{weekday}, {day:02} {month} {year} {hour:02}:{minute:02}:{second:02} GMT")
}

/// What HTTP calls a status.
pub(super) fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        304 => "Not Modified",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        409 => "Conflict",
        413 => "Request Entity Too Large",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_http_does() {
        assert_eq!(http_date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(http_date(1_796_110_682), "Tue, 01 Dec 2026 07:38:02 GMT");
    }

    #[test]
    fn value_cannot_end_its_header() {
        let headers = [("A", "b\r\nC: d".to_owned())];
        let head = head(200, "OK", &headers);
        assert_eq!(head, "HTTP/1.1 200 OK\r\nA: bC: d\r\n");
    }
}
