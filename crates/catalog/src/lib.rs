#![doc = include_str!("../README.md")]

mod catalog;
mod cost;
mod count;
mod data;
mod litellm;
mod model;
mod prices;
mod rate;
mod share;
mod sum;
pub mod tokens;
mod unit;

pub use catalog::Catalog;
pub use cost::{Asked, Cost, Quantities};
pub use data::DataError;
pub use litellm::{ImportError, Imported, Unknown};
pub use model::{Capability, InvalidPrice, Mode, Model, Supports};
pub use prices::Prices;
pub use rate::{ParseRateError, Rate};
pub use share::{BasisPoints, InvalidShare};
pub use unit::{Lifetime, SearchContext, ServiceTier, Unit, UnknownTier};
