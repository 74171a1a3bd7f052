//! What an experiment leaves behind: a JSON record, and the tables, plots and pages made from it.
//!
//! Results in docs are generated from records, never typed, so everything here is a pure function
//! from values to text; only [`Record`] touches files.

mod claims;
mod html;
mod plot;
mod record;
mod table;

pub use claims::{Claim, Verdict, claims_table};
pub use html::{Block, Page, Section, escape};
pub use plot::{Axis, Interval, Plot, PlotError, Scale, Series, Svg};
pub use record::{Host, Provenance, Record, RecordError, Timestamp, Versions};
pub use table::{Align, Table};
