//! Digests of content: `sha256:` and 64 hexadecimal digits.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Name of the only algorithm that is accepted; it is the only one that registries and builders
/// use (image specification, "Digests", "Registered algorithms").
const ALGORITHM: &str = "sha256";
/// Bytes of a SHA-256.
const LENGTH: usize = 32;

/// A SHA-256 digest.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; LENGTH]);

/// Why a text is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// No colon, or digits that are none.
    #[error("{0:?} is not a digest like sha256:… with 64 lower-case hexadecimal digits")]
    Malformed(String),
    /// Another algorithm.
    #[error("digest algorithm {0:?} is not supported, only {ALGORITHM}")]
    Algorithm(String),
}

impl Digest {
    /// The digest whose SHA-256 is known.
    #[must_use]
    pub fn from_sha256(hash: [u8; LENGTH]) -> Self {
        Self(hash)
    }

    /// The digest of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// The SHA-256.
    #[must_use]
    pub fn sha256(&self) -> [u8; LENGTH] {
        self.0
    }

    /// Its 64 digits, without the algorithm.
    #[must_use]
    pub fn hex(&self) -> String {
        use fmt::Write;
        let mut text = String::with_capacity(2 * LENGTH);
        for byte in self.0 {
            write!(text, "{byte:02x}").expect("writing to a string never fails");
        }
        text
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ALGORITHM}:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let malformed = || DigestError::Malformed(text.to_owned());
        let (algorithm, digits) = text.split_once(':').ok_or_else(malformed)?;
        if algorithm != ALGORITHM {
            return Err(DigestError::Algorithm(algorithm.to_owned()));
        }
        let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
        if pairs.len() != LENGTH || !rest.is_empty() {
            return Err(malformed());
        }
        let mut hash = [0; LENGTH];
        for (byte, [high, low]) in hash.iter_mut().zip(pairs) {
            let (high, low) = (digit(*high), digit(*low));
            *byte = high
                .zip(low)
                .map(|(high, low)| high << 4 | low)
                .ok_or_else(malformed)?;
        }
        Ok(Self(hash))
    }
}

/// Upper-case digits are not canonical: one digest must have one spelling.
fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_of_nothing_is_the_known_one() {
        let text = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").to_string(), text);
        assert_eq!(text.parse(), Ok(Digest::of(b"")));
    }

    #[test]
    fn other_spellings_are_refused() {
        let digits = "a".repeat(64);
        let is_malformed =
            |text: &str| matches!(text.parse::<Digest>(), Err(DigestError::Malformed(_)));
        assert!(is_malformed(""));
        assert!(is_malformed(&digits));
        assert!(is_malformed(&format!("sha256:{}", &digits[1..])));
        assert!(is_malformed(&format!("sha256:{digits}a")));
        assert!(is_malformed(&format!("sha256:{}", digits.to_uppercase())));
        assert!(is_malformed(&format!("sha256:{}../", &digits[3..])));
        let other = format!("sha512:{digits}").parse::<Digest>();
        assert_eq!(other, Err(DigestError::Algorithm("sha512".to_owned())));
    }
}
