//! The usual size of a residual, by which residuals become free of units.

/// Rows the mean reaches back.
const REACH: f64 = 1000.0;
/// A residual counts for at most this many usual ones.
const CLIP: f64 = 4.0;
/// Rows before residuals are clipped.
const FIRST: f64 = 20.0;
/// Smallest spread as a share of all values' range: what is quantised or constant has no spread of its own.
const FLOOR: f64 = 1e-4;
/// Deviation of the first residual ever.
const UNHEARD: f64 = 10.0;
/// Differences below this share of the largest value are rounding.
const ROUNDING: f64 = 1e-12;

/// What one series' values have been.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Extent {
    low: f64,
    high: f64,
}

impl Default for Extent {
    fn default() -> Self {
        Self { low: f64::MAX, high: f64::MIN }
    }
}

impl Extent {
    pub(crate) fn learn(&mut self, value: f64) {
        self.low = self.low.min(value);
        self.high = self.high.max(value);
    }

    /// The difference, or 0 where it is rounding.
    pub(crate) fn honest(&self, difference: f64) -> f64 {
        if difference.abs() <= ROUNDING * self.low.abs().max(self.high.abs()) { 0.0 } else { difference }
    }
}

/// Mean absolute residual of one voice, each clipped, over about `REACH` rows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Scale {
    mean: f64,
    rows: f64,
}

impl Scale {
    pub(crate) fn spread(&self, extent: &Extent) -> f64 {
        self.mean.max(FLOOR * (extent.high - extent.low))
    }

    /// The residual in spreads of the past, not negative; then learns it.
    pub(crate) fn deviation(&mut self, residual: f64, extent: &Extent) -> f64 {
        let (size, spread) = (residual.abs(), self.spread(extent));
        let deviation = match (self.rows > 0.0 && spread > 0.0, size > 0.0) {
            (true, _) => size / spread,
            (false, true) => UNHEARD,
            (false, false) => 0.0,
        };
        self.rows += 1.0;
        let counts = if spread > 0.0 && self.rows > FIRST { size.min(CLIP * spread) } else { size };
        self.mean += (counts - self.mean) / self.rows.min(REACH);
        deviation
    }

    /// The residual as far as a level may follow it.
    pub(crate) fn clipped(&self, residual: f64, extent: &Extent) -> f64 {
        let most = CLIP * self.spread(extent);
        if most > 0.0 && self.rows > FIRST { residual.clamp(-most, most) } else { residual }
    }
}
