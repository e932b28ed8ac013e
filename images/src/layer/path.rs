//! Names from an archive, made safe: components below the root, nothing else.

use super::LayerError;
use super::error::printable;
use super::limits::{MAX_NAME, MAX_PATH};

/// Starts the names of files that say what a layer hides (image specification, "Whiteouts").
pub(super) const WHITEOUT: &[u8] = b".wh.";

/// The components of a path. A slash at its start, doubled slashes and `.` mean nothing, as for
/// docker; a path without components is the root.
///
/// # Errors
/// [`LayerError::Name`] for an empty path, for `..`, for a zero byte and for what is too long.
pub(super) fn components(path: &[u8]) -> Result<Vec<&[u8]>, LayerError> {
    let refused = |reason| LayerError::Name {
        path: printable(path),
        reason,
    };
    if path.is_empty() {
        return Err(refused("it is empty"));
    }
    if path.len() > MAX_PATH {
        return Err(refused("it is too long"));
    }
    if path.contains(&0) {
        return Err(refused("it holds a zero byte"));
    }
    let components: Vec<_> = path
        .split(|byte| *byte == b'/')
        .filter(|component| !component.is_empty() && *component != b".")
        .collect();
    if components.contains(&&b".."[..]) {
        return Err(refused("`..` leads out of its directory"));
    }
    if components
        .iter()
        .any(|component| component.len() > MAX_NAME)
    {
        return Err(refused("a component is too long"));
    }
    Ok(components)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_below_the_root() {
        assert_eq!(components(b"/./a//b/").unwrap(), [b"a", b"b"]);
        assert!(components(b"./").unwrap().is_empty());
        assert_eq!(components(b"...").unwrap(), [b"..."]);
    }

    #[test]
    fn what_leads_elsewhere_is_refused() {
        let long = [b'a'; MAX_NAME + 1];
        let deep = b"a/".repeat(MAX_PATH / 2 + 1);
        for path in [&b""[..], b"..", b"a/../b", b"/..", b"a\0b", &long, &deep] {
            assert!(components(path).is_err(), "{path:?}");
        }
    }
}
