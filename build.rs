//! How the programs of this package are linked.

fn main() {
    // A program that can be anywhere has tens of thousands of addresses that are put right at each start. Packed, they
    // take a hundredth of the pages that are read for it (DT_RELR, glibc 2.36 and newer).
    println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    println!("cargo::rerun-if-changed=build.rs");
}
