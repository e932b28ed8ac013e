//! The two kinds of hosts that a keeper looks after: one that is there for its one container, and a named one that
//! stays up and holds many.

use std::time::Instant;

use super::{Keeper, named::Named};
use coracle_platform::clock;

/// The host of a keeper.
pub(super) enum Hosting {
    /// It comes and goes with its container.
    Own(Own),
    /// It is up by itself; containers come and go.
    Named(Box<Named>),
}

/// What is to be known of a host of one container's.
#[derive(Debug, Default)]
pub(super) struct Own {
    /// Steps of its machine's start and end, which are told with the container's end.
    timeline: Vec<(String, u64)>,
}

impl Own {
    pub(super) fn timeline(&self) -> &[(String, u64)] {
        &self.timeline
    }
}

impl Hosting {
    pub(super) fn is_own(&self) -> bool {
        matches!(self, Self::Own(_))
    }

    pub(super) fn named(&self) -> Option<&Named> {
        match self {
            Self::Own(_) => None,
            Self::Named(named) => Some(named),
        }
    }

    pub(super) fn named_mut(&mut self) -> Option<&mut Named> {
        match self {
            Self::Own(_) => None,
            Self::Named(named) => Some(named),
        }
    }

    /// Its keeper has nothing left to do once it keeps no container.
    pub(super) fn ends(&self) -> bool {
        match self {
            Self::Own(_) => true,
            Self::Named(named) => named.ends,
        }
    }

    /// When there is something to do for it.
    pub(super) fn next(&self) -> Option<Instant> {
        match self {
            Self::Own(_) => None,
            Self::Named(named) => named.next(),
        }
    }

    /// A container is given up; the guest may have something to say about it all the same, where it goes on.
    pub(super) fn expect_late_news(&mut self) {
        match self {
            Self::Own(_) => {}
            Self::Named(named) => named.expect_late_news(),
        }
    }

    /// Whether a message about a container that it does not fit may be late news of one that was given up.
    pub(super) fn takes_late_news(&mut self) -> bool {
        match self {
            // Its guest ends with the container.
            Self::Own(_) => false,
            Self::Named(named) => named.takes_late_news(),
        }
    }

    /// The machine's steps, where they are its container's too.
    pub(super) fn timeline_mut(&mut self) -> Option<&mut Vec<(String, u64)>> {
        match self {
            Self::Own(own) => Some(&mut own.timeline),
            Self::Named(_) => None,
        }
    }
}

impl Keeper {
    /// Notes a step of the machine's.
    pub(super) fn mark(&mut self, step: &str) {
        self.mark_at(step, clock::now());
    }

    /// The same of a moment in the past.
    pub(super) fn mark_at(&mut self, step: &str, at: u64) {
        if let Some(timeline) = self.hosting.timeline_mut() {
            timeline.push((step.into(), at));
        }
    }

    /// Removes the socket of a keeper that ends with its container, while its lock is held: the next keeper listens at
    /// the same place.
    pub(super) fn leave_socket(&self) {
        match self.hosting {
            Hosting::Own(_) => drop(std::fs::remove_file(&self.socket)),
            Hosting::Named(_) => {}
        }
    }
}
