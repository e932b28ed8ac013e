//! What takes time tells how far it is.

use images::{digest::Digest, reference::Reference, store};

/// Something that a call wants its caller to know while it works.
#[derive(Debug, Clone)]
pub enum Report<'a> {
    /// A step of a start is done.
    Step(&'static str),
    /// Something was passed over; in words for a person.
    Warning(&'a str),
    /// The image is not here: it is pulled.
    Missing(&'a Reference),
    /// The pull of an image begins.
    Pulling(&'a Reference),
    /// The pull, or a load, is so far.
    Layers(store::Event<'a>),
    /// The layers are here, or will not be; [`Report::Pulled`] follows if they are.
    LayersEnd,
    /// An image was pulled.
    Pulled {
        /// Its name.
        name: &'a Reference,
        /// Its digest, where its registry gives one.
        digest: Option<&'a Digest>,
        /// It is another image than the one that had the name.
        newer: bool,
    },
}

/// Takes reports; from several threads.
pub trait Progress: Sync {
    /// Something is to be known.
    fn report(&self, report: Report<'_>);

    /// Whether what takes time is still wanted; once it is not, it never is again. A pull or a load asks between two
    /// blocks and ends when it is not, with what came kept for the next pull.
    fn is_wanted(&self) -> bool {
        true
    }
}

impl<F: Fn(Report<'_>) + Sync> Progress for F {
    fn report(&self, report: Report<'_>) {
        self(report);
    }
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn report(&self, _report: Report<'_>) {}
}

/// What the image store tells, as reports.
pub(crate) struct Layers<'a>(pub(crate) &'a dyn Progress);

impl store::Progress for Layers<'_> {
    fn event(&self, event: store::Event<'_>) {
        self.0.report(Report::Layers(event));
    }

    fn is_wanted(&self) -> bool {
        self.0.is_wanted()
    }
}
