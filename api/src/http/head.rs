//! A request's line and headers.

use super::limits::MAX_HEADERS;

/// Why a request cannot be answered, and its connection not be used any further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// HTTP's status for it.
    pub status: u16,
    /// What is wrong.
    pub reason: &'static str,
}

impl Malformed {
    /// 400 with a reason.
    #[must_use]
    pub fn new(reason: &'static str) -> Self {
        Self {
            status: 400,
            reason,
        }
    }
}

/// How the end of a request's body is known (RFC 9112, section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes; 0 where there is no body.
    Length(u64),
    /// Chunks, each with its size, and an empty one at the end.
    Chunked,
}

/// The line and the headers of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The method, such as `GET`.
    pub method: String,
    /// The target as it was sent: path and query.
    pub target: String,
    /// 1 for HTTP/1.1, 0 for HTTP/1.0.
    pub minor: u8,
    headers: Vec<(String, String)>,
}

/// The length of a head whose end is in these bytes; the end is not before `from`.
#[must_use]
pub fn end_of_head(bytes: &[u8], from: usize) -> Option<usize> {
    // An empty line ends it, whose own end may be in the next bytes.
    let from = from.saturating_sub(3);
    let rest = bytes.get(from..)?;
    rest.iter().enumerate().find_map(|(index, byte)| {
        let after = rest.get(index + 1..)?;
        match (byte, after) {
            (b'\n', [b'\n', ..]) => Some(from + index + 2),
            (b'\n', [b'\r', b'\n', ..]) => Some(from + index + 3),
            _ => None,
        }
    })
}

impl Head {
    /// Parses a whole head, its empty line included.
    ///
    /// # Errors
    /// When it is no request of HTTP/1.0 or 1.1.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(bytes) {
            Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
            Ok(_) => return Err(Malformed::new("malformed request")),
            Err(httparse::Error::TooManyHeaders) => {
                return Err(Malformed {
                    status: 431,
                    reason: "too many headers",
                });
            }
            Err(httparse::Error::Version) => {
                return Err(Malformed {
                    status: 505,
                    reason: "unsupported protocol version",
                });
            }
            Err(_) => return Err(Malformed::new("malformed request")),
        }
        let (Some(method), Some(target), Some(minor)) =
            (request.method, request.path, request.version)
        else {
            return Err(Malformed::new("malformed request"));
        };
        let headers = request.headers.iter().map(|header| {
            let value = String::from_utf8_lossy(header.value);
            (header.name.to_owned(), value.trim().to_owned())
        });
        Ok(Self {
            method: method.to_owned(),
            target: target.to_owned(),
            minor,
            headers: headers.collect(),
        })
    }

    /// The first value of a header, whose name is written in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Whether one of a header's comma-separated values is this, in any case.
    #[must_use]
    pub fn lists(&self, name: &str, token: &str) -> bool {
        self.all(name)
            .flat_map(|value| value.split(','))
            .any(|value| value.trim().eq_ignore_ascii_case(token))
    }

    /// Whether the client wants to use the connection again.
    #[must_use]
    pub fn keeps_alive(&self) -> bool {
        match self.minor {
            0 => self.lists("connection", "keep-alive"),
            _ => !self.lists("connection", "close"),
        }
    }

    /// Whether the client waits for `100 Continue` before it sends the body.
    #[must_use]
    pub fn expects_continue(&self) -> bool {
        self.minor > 0 && self.lists("expect", "100-continue")
    }

    /// Whether the client asks for the connection to become a raw stream.
    #[must_use]
    pub fn upgrades(&self) -> bool {
        self.lists("connection", "upgrade") && self.header("upgrade").is_some()
    }

    /// How the body's end is known. A request that says it in two ways is refused: what one reader
    /// takes for a body, another takes for the next request.
    ///
    /// # Errors
    /// When it is not clear.
    pub fn framing(&self) -> Result<Framing, Malformed> {
        let mut length = None;
        for value in self.all("content-length") {
            let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
            let value = value.parse::<u64>().ok().filter(|_| digits);
            match (value, length) {
                (None, _) => return Err(Malformed::new("bad Content-Length")),
                (Some(value), Some(before)) if value != before => {
                    return Err(Malformed::new("several values of Content-Length"));
                }
                (Some(value), _) => length = Some(value),
            }
        }
        let mut codings = self.all("transfer-encoding");
        match (codings.next(), length) {
            (None, length) => Ok(Framing::Length(length.unwrap_or(0))),
            (Some(_), Some(_)) => Err(Malformed::new("both Content-Length and Transfer-Encoding")),
            (Some(_), None) if self.minor == 0 => {
                Err(Malformed::new("Transfer-Encoding with HTTP/1.0"))
            }
            (Some(coding), None)
                if coding.eq_ignore_ascii_case("chunked") && codings.next().is_none() =>
            {
                Ok(Framing::Chunked)
            }
            (Some(_), None) => Err(Malformed {
                status: 501,
                reason: "unsupported transfer encoding",
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Result<Head, Malformed> {
        Head::parse(text.replace('\n', "\r\n").as_bytes())
    }

    fn framing(headers: &str) -> Result<Framing, Malformed> {
        head(&format!("POST / HTTP/1.1\n{headers}\n\n")).and_then(|head| head.framing())
    }

    #[test]
    fn line_and_headers_are_taken_apart() {
        let head = head("GET /v1.45/info?a=b HTTP/1.1\nHost: docker\nX-A:  b \n\n").unwrap();
        assert_eq!(head.method, "GET");
        assert_eq!(head.target, "/v1.45/info?a=b");
        assert_eq!(head.header("x-a"), Some("b"));
        assert_eq!(head.framing(), Ok(Framing::Length(0)));
        assert!(head.keeps_alive());
    }

    #[test]
    fn keep_alive_is_the_versions_unless_told_otherwise() {
        let keeps = |text: &str| head(text).unwrap().keeps_alive();
        assert!(!keeps("GET / HTTP/1.0\n\n"));
        assert!(keeps("GET / HTTP/1.0\nConnection: Keep-Alive\n\n"));
        assert!(!keeps("GET / HTTP/1.1\nConnection: close\n\n"));
    }

    #[test]
    fn upgrade_needs_both_headers() {
        let upgrades = |headers: &str| {
            let head = head(&format!("POST / HTTP/1.1\n{headers}\n\n")).unwrap();
            head.upgrades()
        };
        assert!(upgrades("Connection: keep-alive, Upgrade\nUpgrade: tcp"));
        assert!(!upgrades("Upgrade: tcp"));
        assert!(!upgrades("Connection: Upgrade"));
    }

    #[test]
    fn body_whose_end_is_not_clear_is_refused() {
        assert_eq!(framing("Content-Length: 7"), Ok(Framing::Length(7)));
        assert_eq!(framing("Transfer-Encoding: CHUNKED"), Ok(Framing::Chunked));
        assert_eq!(
            framing("Content-Length: 7\nContent-Length: 7"),
            Ok(Framing::Length(7))
        );
        for headers in [
            "Content-Length: 7\nContent-Length: 8",
            "Content-Length: +7",
            "Content-Length: -1",
            "Content-Length: 7, 7",
            "Content-Length:",
            "Content-Length: 99999999999999999999",
            "Content-Length: 7\nTransfer-Encoding: chunked",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: chunked\nTransfer-Encoding: chunked",
            "Transfer-Encoding: identity",
        ] {
            assert!(framing(headers).is_err(), "{headers}");
        }
        let old = head("POST / HTTP/1.0\nTransfer-Encoding: chunked\n\n").unwrap();
        assert!(old.framing().is_err());
    }

    #[test]
    fn what_is_no_request_is_refused() {
        assert_eq!(head("GET / HTTP/2.0\n\n").unwrap_err().status, 505);
        assert_eq!(head("hello\n\n").unwrap_err().status, 400);
        assert_eq!(head("GET / HTTP/1.1\nA b: c\n\n").unwrap_err().status, 400);
        assert_eq!(
            head("GET / HTTP/1.1\nA: b\n c\n\n").unwrap_err().status,
            400
        );
        let many = "A: b\n".repeat(MAX_HEADERS + 1);
        let many = head(&format!("GET / HTTP/1.1\n{many}\n"));
        assert_eq!(many.unwrap_err().status, 431);
    }

    #[test]
    fn end_of_a_head_is_found_wherever_it_was_cut() {
        let bytes = b"GET / HTTP/1.1\r\nA: b\r\n\r\nbody\n\n";
        let end = bytes.len() - 6;
        for cut in 0..bytes.len() {
            let first = end_of_head(&bytes[..cut], 0);
            let found = first.or_else(|| end_of_head(bytes, cut));
            assert_eq!(found, Some(end), "cut at {cut}");
        }
        assert_eq!(end_of_head(b"GET / HTTP/1.1\n\nx", 0), Some(16));
    }
}
