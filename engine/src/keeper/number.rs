//! Numbers of containers in their keeper.

/// A number of one start of a container. Each start has another one, and none is given twice in a keeper's life: an
/// answer that is late, or meant for an earlier start, reaches nobody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Number(u64);

/// Those that were given.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    given: u64,
}

impl Numbers {
    /// One that was never given. They are more than a keeper can ever start.
    pub(super) fn give(&mut self) -> Number {
        self.given += 1;
        Number(self.given)
    }
}

/// Tests name containers themselves.
#[cfg(test)]
impl From<u64> for Number {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_is_given_twice() {
        let mut numbers = Numbers::default();
        let mut all: Vec<Number> = (0..1000).map(|_| numbers.give()).collect();
        let given = all.clone();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all, given);
    }
}
