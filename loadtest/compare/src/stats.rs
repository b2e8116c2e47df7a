//! What many runs say together.

/// A median and where it lies with 95 % confidence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The median of the runs.
    pub median: f64,
    /// The interval's lower end; the smallest run where there are too few.
    pub low: f64,
    /// The interval's upper end; the largest run where there are too few.
    pub high: f64,
    /// There are enough runs for an interval: nine.
    pub is_confident: bool,
}

/// The fewest runs of which an interval is told. From six on the smallest and the largest have the true
/// median between them with 95 %, but only from nine on is one of them left out as an outlier.
const ENOUGH: usize = 9;

impl Estimate {
    /// Of these runs; `None` of none. The interval is that of the order statistics, which asks
    /// nothing of how the runs are distributed: with nine, from the second to the eighth.
    #[must_use]
    pub fn of(runs: &[f64]) -> Option<Self> {
        let mut runs = runs.to_vec();
        runs.sort_by(f64::total_cmp);
        let n = runs.len();
        let (low, high) = (*runs.get(outside(n))?, *runs.get(n - 1 - outside(n))?);
        let median = f64::midpoint(runs[(n - 1) / 2], runs[n / 2]);
        Some(Self { median, low, high, is_confident: n >= ENOUGH })
    }
}

/// How many of the smallest of `n` runs lie below the interval: as many as can be while the true
/// median lies below the next one with at most 2.5 %.
fn outside(n: usize) -> usize {
    // P(at most k of n coins show heads), summed up from k = 0.
    let mut term = 0.5_f64.powi(i32::try_from(n).unwrap_or(i32::MAX));
    let mut sum = 0.0;
    for k in 0..n / 2 {
        sum += term;
        if sum > 0.025 {
            return k.saturating_sub(1);
        }
        term *= (n - k) as f64 / (k + 1) as f64;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_that_of_the_order_statistics() {
        for (n, below) in [(1, 0), (5, 0), (6, 0), (8, 0), (9, 1), (12, 2), (20, 5)] {
            assert_eq!(outside(n), below, "{n}");
        }
        let runs: Vec<f64> = (1..=9).rev().map(f64::from).collect();
        let expected = Estimate { median: 5.0, low: 2.0, high: 8.0, is_confident: true };
        assert_eq!(Estimate::of(&runs), Some(expected));
        let few = Estimate { median: 1.5, low: 1.0, high: 2.0, is_confident: false };
        assert_eq!(Estimate::of(&[2.0, 1.0]), Some(few));
        assert_eq!(Estimate::of(&[]), None);
    }
}
