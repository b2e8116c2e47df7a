//! A pod's `/metrics` as this command reads it: names, labels and numbers of Prometheus's text format.

use std::collections::BTreeMap;

/// The series of a page, by name, each with its labels as they stand there.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Page(BTreeMap<String, Vec<(String, f64)>>);

impl Page {
    /// Reads what is one; lines that are none are passed over.
    pub(super) fn parse(text: &str) -> Self {
        let mut page = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            // A label's value may have spaces and braces in it, a number neither.
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse::<f64>() else { continue };
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let labels = labels.strip_suffix('}').unwrap_or(labels);
            page.0.entry(name.to_owned()).or_default().push((labels.to_owned(), value));
        }
        page
    }

    /// The sum of all series of this name; `None` if there is none.
    pub(super) fn sum(&self, name: &str) -> Option<f64> {
        Some(self.0.get(name)?.iter().map(|(_, value)| value).sum())
    }

    /// The sum of those with `label`, written as `name="value"`.
    pub(super) fn sum_with(&self, name: &str, label: &str) -> f64 {
        let series = self.0.get(name).into_iter().flatten();
        series.filter(|(labels, _)| labels.contains(label)).map(|(_, value)| value).sum()
    }

    /// A histogram's buckets: upper bound and how many are no larger, in the order of the bounds.
    pub(super) fn buckets(&self, name: &str) -> Vec<(f64, f64)> {
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        for (labels, count) in self.0.get(&format!("{name}_bucket")).into_iter().flatten() {
            let bound = labels.split_once("le=\"").and_then(|(_, rest)| rest.split('"').next());
            let Some(bound) = bound.and_then(|bound| bound.parse::<f64>().ok()) else { continue };
            add_bucket(&mut buckets, bound, *count);
        }
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        buckets
    }
}

/// Adds what a bucket has to the one of the same bound.
pub(super) fn add_bucket(sums: &mut Vec<(f64, f64)>, bound: f64, count: f64) {
    match sums.iter_mut().find(|(known, _)| *known == bound) {
        Some((_, sum)) => *sum += count,
        None => sums.push((bound, count)),
    }
}

/// The value below which a share `q` of what came between two looks at a histogram lies, as
/// Prometheus's `histogram_quantile` reckons it; `None` if nothing came.
pub(super) fn quantile(q: f64, before: &[(f64, f64)], after: &[(f64, f64)]) -> Option<f64> {
    let came = |bound: f64, count: f64| {
        let earlier = before.iter().find(|(known, _)| *known == bound);
        count - earlier.map_or(0.0, |(_, count)| *count)
    };
    let all = after.last().map(|(bound, count)| came(*bound, *count))?;
    if all <= 0.0 {
        return None;
    }
    let rank = q * all;
    let (mut below, mut least) = (0.0, 0.0);
    for (bound, count) in after {
        let count = came(*bound, *count);
        if count >= rank {
            // Beyond the last bound nothing is known.
            let within = (rank - below) / (count - below).max(f64::MIN_POSITIVE);
            return Some(if bound.is_finite() { least + (bound - least) * within } else { least });
        }
        (below, least) = (count, *bound);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# HELP a Something.\n# TYPE a counter\n\
        a_total{x=\"1\",y=\"sp ace\"} 2\na_total{x=\"2\"} 40\nb 7\nnonsense\nc not-a-number\n\
        h_bucket{le=\"0.1\"} 5\nh_bucket{le=\"+Inf\"} 10\nh_bucket{le=\"0.01\"} 1\nh_count 10\n";

    #[test]
    fn series_are_read_and_added_up() {
        let page = Page::parse(PAGE);
        assert_eq!(page.sum("a_total"), Some(42.0));
        assert_eq!(page.sum_with("a_total", "x=\"1\""), 2.0);
        assert_eq!(page.sum("b"), Some(7.0));
        assert_eq!(page.sum("c"), None);
        assert_eq!(page.buckets("h"), [(0.01, 1.0), (0.1, 5.0), (f64::INFINITY, 10.0)]);
    }

    #[test]
    fn a_quantile_is_of_what_came_between() {
        let after = [(1.0, 10.0), (2.0, 30.0), (f64::INFINITY, 30.0)];
        assert_eq!(quantile(0.5, &[], &after), Some(1.25));
        // All of these lie between 1 and 2.
        let before = [(1.0, 10.0), (2.0, 10.0), (f64::INFINITY, 10.0)];
        assert_eq!(quantile(0.5, &before, &after), Some(1.5));
        assert_eq!(quantile(0.5, &after, &after), None);
        assert_eq!(quantile(0.5, &[], &[]), None);
        let beyond = [(1.0, 0.0), (f64::INFINITY, 4.0)];
        assert_eq!(quantile(0.99, &[], &beyond), Some(1.0));
    }
}
