//! Which machines an image is for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Descriptor, ImageConfig, ImageError};

/// Operating system and architecture, in Go's names (image specification, "platform").
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// Operating system: `linux`.
    pub os: String,
    /// Architecture: `amd64`.
    pub architecture: String,
    /// Variant of the architecture: `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// What a guest on this machine runs.
    #[must_use]
    pub fn of_this_machine() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Self {
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
            variant: None,
        }
    }

    /// Whether programs for `other` run here. A variant only tells apart what names one on both
    /// sides, so that `arm64` and `arm64/v8` are the same.
    #[must_use]
    pub fn runs(&self, other: &Self) -> bool {
        self.os == other.os
            && self.architecture == other.architecture
            && match (&self.variant, &other.variant) {
                (Some(mine), Some(theirs)) => mine == theirs,
                _ => true,
            }
    }

    /// Refuses an image for another platform.
    ///
    /// # Errors
    /// [`ImageError::WrongPlatform`].
    pub fn check(&self, config: &ImageConfig) -> Result<(), ImageError> {
        let found = config.platform();
        if self.runs(&found) {
            return Ok(());
        }
        let hint = self.hint(std::slice::from_ref(&found));
        Err(ImageError::WrongPlatform {
            found: found.to_string(),
            wanted: self.clone(),
            hint,
        })
    }

    /// The first of several descriptors that is for this platform. Those that name no platform
    /// are taken for a match only when none names a fitting one; attestations are no images.
    ///
    /// # Errors
    /// [`ImageError::NoPlatform`], [`ImageError::EmptyIndex`].
    pub fn select<'a>(
        &self,
        index: &str,
        descriptors: &'a [Descriptor],
    ) -> Result<&'a Descriptor, ImageError> {
        let images = || {
            descriptors
                .iter()
                .filter(|descriptor| !descriptor.is_attestation())
        };
        let fits = |descriptor: &&Descriptor| {
            descriptor
                .platform
                .as_ref()
                .is_some_and(|platform| self.runs(platform))
        };
        if let Some(found) = images().find(fits) {
            return Ok(found);
        }
        if let Some(found) = images().find(|descriptor| descriptor.platform.is_none()) {
            return Ok(found);
        }
        let found: Vec<Platform> = images()
            .filter_map(|descriptor| descriptor.platform.clone())
            .collect();
        if found.is_empty() {
            return Err(ImageError::EmptyIndex {
                digest: index.to_owned(),
            });
        }
        let hint = self.hint(&found);
        let wanted = self.clone();
        let mut names: Vec<String> = found.iter().map(ToString::to_string).collect();
        names.dedup();
        names.truncate(MAX_NAMED_PLATFORMS);
        let found = names.join(", ");
        Err(ImageError::NoPlatform {
            found,
            wanted,
            hint,
        })
    }

    fn hint(&self, found: &[Self]) -> &'static str {
        if found.iter().any(|platform| platform.os == "windows") {
            "; a Windows program needs a Windows kernel, so take the Linux variant of the image"
        } else if found.iter().any(|platform| platform.os == self.os) {
            "; take the variant of the image that was built for it"
        } else {
            ""
        }
    }
}

/// Why a text is no platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a platform like linux/amd64 or linux/arm64/v8")]
pub struct PlatformError(String);

impl FromStr for Platform {
    type Err = PlatformError;

    /// `linux/arm64/v8`; the architecture alone is one of Linux.
    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let wrong = || PlatformError(text.to_owned());
        let parts: Vec<&str> = text.split('/').collect();
        let good = |part: &&str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        };
        if !parts.iter().all(good) {
            return Err(wrong());
        }
        let (os, architecture, variant) = match parts.as_slice() {
            [architecture] => ("linux", *architecture, None),
            [os, architecture] => (*os, *architecture, None),
            [os, architecture, variant] => (*os, *architecture, Some((*variant).to_owned())),
            _ => return Err(wrong()),
        };
        let architecture = match architecture {
            "x86_64" | "x86-64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Ok(Self {
            os: os.to_lowercase(),
            architecture: architecture.to_owned(),
            variant,
        })
    }
}

/// Most platforms that an error message lists.
const MAX_NAMED_PLATFORMS: usize = 12;

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = |text: &str| {
            if text.is_empty() {
                "unknown".to_owned()
            } else {
                text.to_owned()
            }
        };
        write!(f, "{}/{}", known(&self.os), known(&self.architecture))?;
        match &self.variant {
            Some(variant) if !variant.is_empty() => write!(f, "/{variant}"),
            _ => Ok(()),
        }
    }
}
