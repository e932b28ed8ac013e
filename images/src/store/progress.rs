//! What a load or a pull tells while it works.

use crate::digest::Digest;
use crate::source::SourceLayer;

/// A step of a load. Layers are numbered from 0 in the order in which they are given out; several
/// may be under way at once.
#[derive(Debug, Clone)]
pub enum Event<'a> {
    /// An image is being pulled that consists of these layers. They are numbered in this order.
    Image {
        /// The layers, lowest first.
        layers: &'a [&'a SourceLayer],
    },
    /// A layer is in the store already.
    LayerPresent {
        /// Number of the layer.
        layer: usize,
    },
    /// Another process is pulling a layer, which is waited for.
    LayerWaiting {
        /// Number of the layer.
        layer: usize,
    },
    /// So many layers, of so many bytes together, have to be converted; the others are there.
    Begin {
        /// Number of layers to convert.
        layers: usize,
        /// Number of layers that are in the store already.
        present: usize,
        /// Bytes to read, 0 when that is not known.
        bytes: u64,
    },
    /// Conversion of a layer begins.
    LayerStart {
        /// Number of the layer.
        layer: usize,
        /// Its diff ID, where it is known beforehand.
        diff_id: Option<&'a Digest>,
        /// Bytes to read, 0 when that is not known.
        bytes: u64,
    },
    /// More of a layer was read.
    LayerRead {
        /// Number of the layer.
        layer: usize,
        /// Bytes read so far.
        bytes: u64,
    },
    /// A layer is converted and verified.
    LayerDone {
        /// Number of the layer.
        layer: usize,
        /// Its diff ID.
        diff_id: &'a Digest,
        /// Bytes of its file in the store.
        size: u64,
    },
}

/// Takes what a load tells; from several threads.
pub trait Progress: Sync {
    /// A step was made. Of a layer that is read, one for every 256 KiB at most.
    fn event(&self, event: Event<'_>);

    /// Whether what is being loaded or pulled is still wanted; once it is not, it never is again. It is asked between
    /// two blocks of a layer, and ends a pull as a broken connection does: what came is kept for the next one.
    fn is_wanted(&self) -> bool {
        true
    }
}

impl<F: Fn(Event<'_>) + Sync> Progress for F {
    fn event(&self, event: Event<'_>) {
        self(event);
    }
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn event(&self, _event: Event<'_>) {}
}
