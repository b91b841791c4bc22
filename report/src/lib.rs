//! Which parameters of a plant go along with its production: correlations of series whose times differ.
//!
//! A parameter is measured at times of its own, and a work order says how much of a product there was at its time. For
//! each product, [`correlate`] brings each parameter to the times of the work orders ([`Join`]), correlates both, and
//! ranks the parameters. Everything is computed from the values alone, so the same data give the same result.

mod correlations;
mod document;
mod example;
mod input;
mod join;
mod series;
pub mod statistics;

pub use self::correlations::{
    BasisReport, Estimate, Exclusion, Finding, Options, ProductReport, correlate,
};
pub use self::document::{Document, UnknownSeries};
pub use self::example::{Example, STRENGTHS, Sizes, TooFewParameters};
pub use self::input::{Input, Kind, read};
pub use self::join::{Basis, Join, Pairs};
pub use self::series::{Point, Series};
