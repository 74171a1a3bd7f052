//! The models' names, as commands, settings and tables spell them.

use crate::{Error, Result};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;

/// A model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Architecture {
    /// LON-GNN: orthonormal Jacobi basis, its exponents learned.
    Lon,
    /// JacobiConv with the recurrence that Jacobi's polynomials have.
    Jacobi,
    /// JacobiConv with the sign of its published code, which is another basis.
    JacobiPublished,
    /// ChebNetII: the filter's values at Chebyshev nodes.
    ChebNetII,
    /// BernNet: the filter's values by Bernstein polynomials.
    BernNet,
    /// GPRGNN: generalised PageRank.
    GprGnn,
    /// APPNP: personalised PageRank, nothing of the filter learned.
    Appnp,
    /// ChebNet: two layers of Chebyshev convolutions.
    ChebNet,
    /// GCN: two layers, one product each.
    Gcn,
    /// No graph at all.
    Mlp,
    /// FavardGNN: a three-term recurrence learned for each hidden channel.
    FavardGnn,
    /// OptBasisGNN: the basis orthonormal to each hidden channel's own spectrum.
    OptBasisGnn,
}

impl Architecture {
    /// All of them, LON-GNN first.
    pub const ALL: [Self; 12] = [
        Self::Lon,
        Self::Jacobi,
        Self::JacobiPublished,
        Self::ChebNetII,
        Self::BernNet,
        Self::GprGnn,
        Self::Appnp,
        Self::ChebNet,
        Self::Gcn,
        Self::Mlp,
        Self::FavardGnn,
        Self::OptBasisGnn,
    ];

    /// Its name in commands, settings and records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Lon => "lon",
            Self::Jacobi => "jacobi",
            Self::JacobiPublished => "jacobi-published",
            Self::ChebNetII => "chebnetii",
            Self::BernNet => "bernnet",
            Self::GprGnn => "gprgnn",
            Self::Appnp => "appnp",
            Self::ChebNet => "chebnet",
            Self::Gcn => "gcn",
            Self::Mlp => "mlp",
            Self::FavardGnn => "favard",
            Self::OptBasisGnn => "optbasis",
        }
    }

    /// Its name in the literature.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Lon => "LON-GNN",
            Self::Jacobi => "JacobiConv (corrected sign)",
            Self::JacobiPublished => "JacobiConv",
            Self::ChebNetII => "ChebNetII",
            Self::BernNet => "BernNet",
            Self::GprGnn => "GPRGNN",
            Self::Appnp => "APPNP",
            Self::ChebNet => "ChebNet",
            Self::Gcn => "GCN",
            Self::Mlp => "MLP",
            Self::FavardGnn => "FavardGNN",
            Self::OptBasisGnn => "OptBasisGNN",
        }
    }

    /// The table of a settings file that it reads: both signs of JacobiConv have the same settings.
    #[must_use]
    pub fn settings_name(self) -> &'static str {
        match self {
            Self::JacobiPublished => Self::Jacobi.name(),
            other => other.name(),
        }
    }
}

impl Serialize for Architecture {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Architecture {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Architecture {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|architecture| architecture.name() == name).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            Error::Setting {
                setting: "model".into(),
                problem: format!("{name:?} is none of {known}"),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for architecture in Architecture::ALL {
            assert_eq!(architecture.name().parse::<Architecture>().unwrap(), architecture);
        }
        let error = "long".parse::<Architecture>().unwrap_err().to_string();
        assert!(error.contains("\"long\"") && error.contains("lon, jacobi"), "{error}");
    }
}
