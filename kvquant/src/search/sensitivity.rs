//! How much the predictions move when one part of the cache has few bits and all else is exact.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A part of the cache whose bits are chosen by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// The keys of a layer, whose channels share the bits.
    Keys {
        /// The layer.
        layer: usize,
    },
    /// The values of a KV head of a layer.
    Values {
        /// The layer.
        layer: usize,
        /// The KV head.
        head: usize,
    },
}

/// Mean bits at which keys are measured; between them the logarithm of the divergence is taken as linear.
pub const KEY_POINTS: [f64; 4] = [0.75, 1.25, 2.0, 3.0];
/// The same for values, which have whole bits.
pub const VALUE_POINTS: [f64; 2] = [1.0, 2.0];

/// A further bit leaves this part of the divergence at most, beyond the last point.
const LEFT_BY_A_BIT: f64 = 0.4;

/// A measurement.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Of what.
    #[serde(flatten)]
    pub part: Part,
    /// Mean bits of a channel.
    pub bits: f64,
    /// Mean Kullback-Leibler divergence of the predictions from those of half precision, in nats.
    pub divergence: f64,
}

/// What has been measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<Measurement>", into = "Vec<Measurement>")]
pub struct Sensitivities {
    /// By part; bits rising.
    points: BTreeMap<Part, Vec<(f64, f64)>>,
}

impl Part {
    /// All parts of a cache.
    pub fn all(n_layers: usize, n_kv_heads: usize) -> impl Iterator<Item = Part> {
        (0..n_layers).flat_map(move |layer| {
            let values = (0..n_kv_heads).map(move |head| Part::Values { layer, head });
            std::iter::once(Part::Keys { layer }).chain(values)
        })
    }

    /// Its layer.
    pub fn layer(self) -> usize {
        match self {
            Part::Keys { layer } | Part::Values { layer, .. } => layer,
        }
    }

    /// Mean bits at which it is measured.
    pub fn points(self) -> &'static [f64] {
        match self {
            Part::Keys { .. } => &KEY_POINTS,
            Part::Values { .. } => &VALUE_POINTS,
        }
    }
}

impl Sensitivities {
    /// Whether this is known.
    pub fn has(&self, part: Part, bits: f64) -> bool {
        self.points.get(&part).is_some_and(|points| points.iter().any(|point| point.0 == bits))
    }

    /// Adds a measurement.
    pub fn add(&mut self, Measurement { part, bits, divergence }: Measurement) {
        let points = self.points.entry(part).or_default();
        points.retain(|point| point.0 != bits);
        points.push((bits, divergence));
        points.sort_by(|left, right| left.0.total_cmp(&right.0));
    }

    /// All measurements.
    pub fn measurements(&self) -> impl Iterator<Item = Measurement> + '_ {
        self.points.iter().flat_map(|(&part, points)| {
            points.iter().map(move |&(bits, divergence)| Measurement { part, bits, divergence })
        })
    }

    /// The divergence that a part would cause with so many bits: as measured, or as the neighbouring points
    /// say. Infinite if fewer than two were measured.
    pub fn expected(&self, part: Part, bits: f64) -> f64 {
        let points = self.points.get(&part).map(Vec::as_slice).unwrap_or_default();
        if let Some(&(_, divergence)) = points.iter().find(|point| point.0 == bits) {
            return divergence;
        }
        let above = points.iter().position(|point| point.0 > bits).unwrap_or(points.len());
        let [low, high] = match points.len() {
            0 | 1 => return f64::INFINITY,
            n => {
                let high = above.clamp(1, n - 1);
                [points[high - 1], points[high]]
            }
        };
        let slope = (logarithm(high.1) - logarithm(low.1)) / (high.0 - low.0);
        // Noise must not promise anything for fewer bits, nor nothing for more.
        let slope = match above == points.len() {
            true => slope.min(LEFT_BY_A_BIT.ln()),
            false => slope.min(0.0),
        };
        (logarithm(low.1) + slope * (bits - low.0)).exp()
    }
}

/// Of a divergence, which is no less than what rounding moves.
fn logarithm(divergence: f64) -> f64 {
    divergence.max(1e-7).ln()
}

impl From<Vec<Measurement>> for Sensitivities {
    fn from(measurements: Vec<Measurement>) -> Sensitivities {
        let mut sensitivities = Sensitivities::default();
        measurements.into_iter().for_each(|measurement| sensitivities.add(measurement));
        sensitivities
    }
}

impl From<Sensitivities> for Vec<Measurement> {
    fn from(sensitivities: Sensitivities) -> Vec<Measurement> {
        sensitivities.measurements().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PART: Part = Part::Keys { layer: 3 };

    fn measured(points: &[(f64, f64)]) -> Sensitivities {
        let one = |&(bits, divergence)| Measurement { part: PART, bits, divergence };
        points.iter().map(one).collect::<Vec<_>>().into()
    }

    fn is_near(found: f64, expected: f64) -> bool {
        (found / expected - 1.0).abs() < 1e-9
    }

    #[test]
    fn between_and_beyond_the_points() {
        let known = measured(&[(1.0, 0.16), (2.0, 0.04), (3.0, 0.01)]);
        assert!(is_near(known.expected(PART, 2.0), 0.04));
        assert!(is_near(known.expected(PART, 1.5), 0.08));
        assert!(is_near(known.expected(PART, 0.5), 0.32));
        assert!(is_near(known.expected(PART, 4.0), 0.0025));
        assert_eq!(known.expected(Part::Keys { layer: 4 }, 2.0), f64::INFINITY);
        // One that hardly falls is taken to fall beyond its points, and one that rises not to rise.
        let odd = measured(&[(1.0, 0.01), (2.0, 0.02)]);
        assert!(is_near(odd.expected(PART, 1.5), 0.01));
        assert!(is_near(odd.expected(PART, 3.0), 0.01 * LEFT_BY_A_BIT.powi(2)));
    }

    #[test]
    fn measurements_are_kept_as_json() {
        let known = measured(&[(2.0, 0.04), (1.0, 0.16)]);
        let json = serde_json::to_string(&known).unwrap();
        assert!(
            json.starts_with("[{\"keys\":{\"layer\":3},\"bits\":1.0,\"divergence\":0.16}"),
            "{json}"
        );
        assert_eq!(serde_json::from_str::<Sensitivities>(&json).unwrap(), known);
        assert!(known.has(PART, 2.0) && !known.has(PART, 3.0));
    }
}
