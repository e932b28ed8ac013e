//! Container images made bootable.
