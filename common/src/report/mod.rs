//! What an experiment leaves behind: a JSON record, and the tables, plots and pages made from it.
//!
//! Results in docs are generated from records, never typed, so everything here is a pure function
//! from values to text; only [`Record`] touches files.

mod claims;
mod heat_map;
mod html;
mod plot;
mod provenance;
mod record;
mod table;
mod timestamp;

pub use claims::{Claim, Verdict, claims_table, claims_text};
pub use heat_map::HeatMap;
pub use html::{Block, Page, Section, escape};
pub use plot::{Axis, Interval, Plot, PlotError, Scale, Series, Svg};
pub use provenance::{Host, Provenance, Versions};
pub use record::{Record, RecordError};
pub use table::{Align, Table};
pub use timestamp::Timestamp;
