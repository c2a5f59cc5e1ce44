//! Medians and quantiles.

/// A series of measurements, in whatever unit its owner says.
#[derive(Debug, Clone, Default)]
pub struct Series(Vec<f64>);

impl Series {
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The value in the middle; `None` of an empty series.
    pub fn median(&self) -> Option<f64> {
        self.quantile(0.5)
    }

    /// The value that the share `part` of all stays below or at, interpolated between neighbours.
    pub fn quantile(&self, part: f64) -> Option<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        let place = part * last as f64;
        let below = sorted[place.floor() as usize];
        let above = sorted[place.ceil() as usize];
        Some(below + (above - below) * place.fract())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_where_they_should() {
        let mut series = Series::default();
        assert_eq!(series.median(), None);
        [5.0, 1.0, 3.0].into_iter().for_each(|value| series.push(value));
        assert_eq!(series.median(), Some(3.0));
        assert_eq!(series.quantile(1.0), Some(5.0));
        series.push(4.0);
        assert_eq!(series.median(), Some(3.5));
        assert_eq!(series.quantile(0.0), Some(1.0));
    }
}
