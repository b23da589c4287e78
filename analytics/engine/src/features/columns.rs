//! The recursive state of all series, one column per quantity (structure of arrays); and what a fold says of its
//! window besides, which nobody needs afterwards.

use serde::{Deserialize, Serialize};
use std::ops::Range;

macro_rules! columns {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $column:ident = $start:expr),+ $(,)? }) => {
        $(#[$about])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        pub(crate) struct $name {
            $($(#[$doc])* pub(crate) $column: Vec<f64>,)+
        }

        impl $name {
            /// Adds series that know nothing until there are `rows`.
            pub(crate) fn resize(&mut self, rows: usize) {
                $(self.$column.resize(rows, $start);)+
            }

            /// Only these series, in this order.
            pub(crate) fn gather(&self, rows: &[usize]) -> Self {
                Self { $($column: rows.iter().map(|&row| self.$column[row]).collect(),)+ }
            }

            /// Writes gathered series back.
            pub(crate) fn scatter(&mut self, rows: &[usize], from: &Self) {
                for (at, &row) in rows.iter().enumerate() {
                    $(self.$column[row] = from.$column[at];)+
                }
            }

            /// A run of neighbours.
            pub(crate) fn part(&self, rows: Range<usize>) -> Self {
                Self { $($column: self.$column[rows.clone()].to_vec(),)+ }
            }

            /// Writes a run of neighbours back, the first of them to `first`.
            pub(crate) fn write_back(&mut self, first: usize, from: &Self) {
                $(self.$column[first..first + from.$column.len()].copy_from_slice(&from.$column);)+
            }
        }
    };
}

columns! {
    /// What is carried from window to window: one entry per series in every column.
    Columns {
        /// Windows lived through.
        age = 0.0,
        /// Mass under the centre: windows (count, level) or samples (share, log mean), fading.
        mass = 0.0,
        /// What is expected: mean count, share, mean logarithm, mean level.
        centre = 0.0,
        /// 1 while every reading of a level was a whole number.
        whole = 1.0,
        /// Variance of one sample (log mean) or of one window's mean (level).
        spread = 0.0,
        /// Mass under the recent centre.
        recent_mass = 0.0,
        /// Mean of the 30 windows before the last 6.
        recent_centre = 0.0,
        /// Mean square of the deviation over 1 window; 1 where the law says all.
        scale_1 = 1.0,
        /// The same over 6.
        scale_6 = 1.0,
        /// The same over 18.
        scale_18 = 1.0,
        /// The same for 6 against the 30 before them.
        scale_recent = 1.0,
        /// Windows in a row that the long span deviated to one side, signed.
        run = 0.0,
        /// Standardised residual of the present window, not damped.
        u = 0.0,
        /// EWMA 0.3 of u.
        fast = 0.0,
        /// EWMA 0.2 of u.
        middle = 0.0,
        /// EWMA 0.05 of u.
        slow = 0.0,
        /// Median of u.
        median = 0.0,
        /// Median absolute deviation of u.
        mad = 0.674_5,
        /// CUSUM upwards.
        cusum_up = 0.0,
        /// CUSUM downwards.
        cusum_down = 0.0,
        /// Age at which it last was zero.
        onset_up = 0.0,
        /// Age at which it last was zero.
        onset_down = 0.0,
        /// Share of windows to one side.
        persistence = 0.0,
        /// EWMA 0.15 of u squared.
        square_fast = 1.0,
        /// EWMA 1/360 of u squared.
        square_slow = 1.0,
        /// EWMA of u times u before.
        product = 0.0,
        /// EWMA of u before squared.
        square_before = 1.0,
        /// EWMA of the autoregressive residual squared.
        square_residual = 1.0,
        /// Shown value minus centre (level, in logarithms for log mean), or shown per count.
        shown_offset = f64::NAN,
    }
}

macro_rules! fresh {
    ($($(#[$doc:meta])* $column:ident),+ $(,)?) => {
        /// What one fold says of the present window: one entry per folded series in every column.
        #[derive(Clone, Debug, Default)]
        pub(crate) struct Fresh {
            $($(#[$doc])* pub(crate) $column: Vec<f64>,)+
        }

        impl Fresh {
            /// Room for what is said of so many series.
            pub(crate) fn new(rows: usize) -> Self {
                Self { $($column: vec![0.0; rows],)+ }
            }
        }
    };
}

fresh! {
    /// 1 if the present window has a sample.
    present,
    /// The residual before.
    u_before,
    /// Deviations of the present window, not damped.
    z_6,
    /// Over 18.
    z_18,
    /// Against the recent centre.
    recent_1,
    /// Against the recent centre.
    recent_6,
    /// Size of the change.
    effect_6,
    /// Size of the change.
    effect_18,
    /// Samples of the last 18 windows.
    samples,
    /// Share of the last 6 windows without sample.
    missing,
    /// Autoregressive residual.
    ar_residual,
    /// (u - median) / MAD.
    robust_z,
}
