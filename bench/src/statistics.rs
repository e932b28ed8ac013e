//! Numbers out of numbers.

use crate::report::Summary;

/// How sure a difference must be: one in a hundred is taken for one by mistake.
const SURE: f64 = 2.576;

/// A difference below this part is no difference to anyone.
const SMALLEST: f64 = 0.01;

/// A difference of fewer milliseconds is none either: a clock's tick may lie in between.
const SMALLEST_MS: f64 = 0.05;

/// What one series is to another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Better,
    Worse,
    /// The spread is larger than the difference.
    Noise,
}

impl Verdict {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Noise => "noise",
        }
    }
}

/// The middle, the edges and the spread of a series of milliseconds.
pub(crate) fn summary(series: &[f64]) -> Summary {
    let mut sorted = series.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some((min, max)) = sorted.first().zip(sorted.last()) else {
        return Summary::default();
    };
    let count = float(sorted.len());
    let mean = sorted.iter().sum::<f64>() / count;
    let squares: f64 = sorted.iter().map(|one| (one - mean).powi(2)).sum();
    Summary {
        count: sorted.len(),
        min: *min,
        p50: percentile(&sorted, 50),
        p90: percentile(&sorted, 90),
        p99: percentile(&sorted, 99),
        max: *max,
        mean,
        spread: if sorted.len() > 1 {
            (squares / (count - 1.0)).sqrt()
        } else {
            0.0
        },
    }
}

/// The smallest of a sorted series that so many in a hundred do not exceed.
fn percentile(sorted: &[f64], hundredths: usize) -> f64 {
    let rank = (sorted.len() * hundredths).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

#[expect(clippy::cast_precision_loss, reason = "numbers of starts are small")]
fn float(count: usize) -> f64 {
    count as f64
}

/// Whether a second series of times is another one than the first: by the ranks of their values (Mann and
/// Whitney), which asks nothing of how they are spread.
pub(crate) fn compare(before: &[f64], after: &[f64]) -> Verdict {
    let (one, two) = (summary(before), summary(after));
    let difference = two.p50 - one.p50;
    if difference.abs() < SMALLEST_MS || difference.abs() < SMALLEST * one.p50 {
        return Verdict::Noise;
    }
    let score = rank_score(before, after);
    // Of very few, no order is unlikely enough; then the ranges must not touch.
    let apart = one.max < two.min || two.max < one.min;
    let few = before.len().min(after.len()) < 5;
    if (few && !apart) || (!few && score.abs() < SURE) {
        return Verdict::Noise;
    }
    if difference < 0.0 {
        Verdict::Better
    } else {
        Verdict::Worse
    }
}

/// How many standard deviations the ranks of `after` are from what they would be by chance.
fn rank_score(before: &[f64], after: &[f64]) -> f64 {
    let mut all: Vec<(f64, bool)> = before.iter().map(|one| (*one, false)).collect();
    all.extend(after.iter().map(|one| (*one, true)));
    all.sort_by(|one, two| one.0.total_cmp(&two.0));
    let total = float(all.len());
    let (mut ranks, mut ties, mut place) = (0.0, 0.0, 0);
    for group in all.chunk_by(|one, two| one.0.total_cmp(&two.0).is_eq()) {
        let size = float(group.len());
        // All that are equal have the middle of their places.
        let rank = float(place) + (size + 1.0) / 2.0;
        ranks += rank * float(group.iter().filter(|(_, later)| *later).count());
        ties += size.powi(3) - size;
        place += group.len();
    }
    let (n, m) = (float(before.len()), float(after.len()));
    let u = ranks - m * (m + 1.0) / 2.0;
    let variance = n * m / 12.0 * (total + 1.0 - ties / (total * (total - 1.0)));
    if variance > 0.0 {
        (u - n * m / 2.0) / variance.sqrt()
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(middle: f64) -> Vec<f64> {
        (0..20)
            .map(|number| middle + f64::from(number % 5))
            .collect()
    }

    #[test]
    fn percentiles_are_values_of_the_series() {
        let series: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        let found = summary(&series);
        assert_eq!((found.p50, found.p90, found.p99), (50.0, 90.0, 99.0));
        assert_eq!((found.min, found.max, found.mean), (1.0, 100.0, 50.5));
        assert!((found.spread - 29.01).abs() < 0.01, "{found:?}");
        assert_eq!(summary(&[3.0]).p99, 3.0);
        assert_eq!(summary(&[]).count, 0);
    }

    #[test]
    fn equal_series_differ_by_noise() {
        assert_eq!(compare(&around(100.0), &around(100.0)), Verdict::Noise);
        assert_eq!(compare(&[5.0; 20], &[5.0; 20]), Verdict::Noise);
    }

    #[test]
    fn slower_is_worse_and_faster_better() {
        assert_eq!(compare(&around(100.0), &around(110.0)), Verdict::Worse);
        assert_eq!(compare(&around(110.0), &around(100.0)), Verdict::Better);
    }

    #[test]
    fn difference_within_the_spread_is_noise() {
        let wide: Vec<f64> = (0..20)
            .map(|number| 100.0 + f64::from(number * 7 % 40))
            .collect();
        let other: Vec<f64> = wide.iter().map(|one| one + 2.0).collect();
        assert_eq!(compare(&wide, &other), Verdict::Noise);
    }

    #[test]
    fn difference_that_nobody_feels_is_noise() {
        assert_eq!(compare(&[100.0; 20], &[100.5; 20]), Verdict::Noise);
        assert_eq!(compare(&[0.01; 20], &[0.05; 20]), Verdict::Noise);
    }

    #[test]
    fn few_starts_must_not_overlap() {
        assert_eq!(compare(&[1.0, 2.0, 3.0], &[2.5, 3.5, 4.5]), Verdict::Noise);
        assert_eq!(compare(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]), Verdict::Worse);
    }
}
