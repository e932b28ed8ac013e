//! What hostile bytes are fed to: everything that is read before a client's request is understood.

use std::io::BufRead;

use crate::{
    http::{Body, Framing, Head, end_of_head},
    query::Query,
    target::Target,
};

/// A client's bytes as a request, its body, and another request after it.
///
/// # Panics
/// When a promise is broken.
pub fn request(bytes: &[u8]) {
    let mut rest = bytes;
    while let Some(end) = end_of_head(rest, 0) {
        let (head, mut source) = rest.split_at(end);
        let Ok(head) = Head::parse(head) else { return };
        target(&head.target);
        let Ok(framing) = head.framing() else { return };
        let mut body = Body::new(framing);
        let mut piece = [0; 100];
        let mut total = 0;
        while let Ok(length @ 1..) = body.read(&mut source, &mut piece) {
            total += length as u64;
        }
        if !body.is_over() {
            return;
        }
        if let Framing::Length(length) = framing {
            assert_eq!(total, length, "a body has its length");
        }
        assert!(source.len() < rest.len(), "a request is not read twice");
        rest = source;
        while rest.first().is_some_and(|byte| b"\r\n".contains(byte)) {
            rest.consume(1);
        }
    }
}

fn target(text: &str) {
    let Ok(target) = Target::parse(text) else {
        return;
    };
    let _ = target.version();
    if let Ok(query) = Query::parse(&target.query) {
        let _ = (query.flag("t"), query.number("t"));
    }
    for pattern in ["/containers/{}/json", "/images/{*}/json", "/info"] {
        if let Some(found) = crate::target::matches(pattern, &target.path) {
            assert!(found.iter().all(|part| !part.is_empty()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_stand_noise() {
        let template = b"POST /v1.45/images/a%2Fb/json?t=1&q=%41 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\
            3\r\nabc\r\n0\r\n\r\nGET /info HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi";
        request(template);
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for _ in 0..20_000 {
            let mut bytes = template.to_vec();
            for _ in 0..random() % 4 {
                let at = usize::try_from(random()).unwrap_or(0) % bytes.len();
                match random() % 3 {
                    0 => bytes.truncate(at + 1),
                    1 => {
                        bytes.remove(at);
                    }
                    _ => bytes[at] = random().to_le_bytes()[2],
                }
                if bytes.is_empty() {
                    break;
                }
            }
            request(&bytes);
        }
    }
}
