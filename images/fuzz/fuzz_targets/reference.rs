//! Names of images, from the command line and from documents.
#![no_main]

use images::reference::Reference;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(reference) = text.parse::<Reference>() else {
        return;
    };
    // Each spelling of a name means the same image.
    assert_eq!(reference.to_string().parse().as_ref(), Ok(&reference));
    assert_eq!(reference.familiar().parse().as_ref(), Ok(&reference));
    let tagged = reference.with_default_tag();
    assert!(tagged.tag().is_some() || tagged.digest().is_some());
    // A path of the store or of a URL may be made from these.
    for part in tagged.path().split('/') {
        assert!(!part.is_empty() && part != "." && part != "..");
    }
    assert!(!tagged.domain().contains('/'));
});
