//! A name for a worker's arithmetic.
//!
//! Matrix products are added up in an order that depends on the processor's vectors and caches. Workers of
//! one group must have the same, else a micro-batch that is computed again elsewhere differs in bits. So
//! each computes the same small thing and the bits are compared; with them, what else must be the same:
//! the settings and the text.

use super::model::{Layout, Model};
use super::settings::Settings;
use super::text::Text;
use crate::Result;
use sha2::{Digest, Sha256};

/// The fingerprint of this process for these settings: 16 hexadecimal digits.
///
/// # Errors
/// What the model's passes say.
pub fn fingerprint(settings: &Settings, text: &Text) -> Result<String> {
    let mut hash = Sha256::new();
    hash.update(env!("CARGO_PKG_VERSION"));
    // Stages, segments and micro-batches change who adds what; workers must agree on them, too.
    hash.update(format!("{settings:?}"));
    // One node may have a text that another hasn't.
    hash.update(text.bytes());
    // One block at each end is every kind of matrix product that a stage has.
    let mut shape = settings.shape;
    shape.layers = 2;
    let probe = Settings { shape, stages: 1, ..settings.clone() };
    let layout = Layout::new(&probe, 0);
    let weights = layout.initial_weights(settings.seed);
    let model = Model::new(layout, &weights)?;
    let forward = model.forward(&text.samples(&shape, settings.seed, 0, 0), None)?;
    let backward = model.backward(&forward, None)?;
    hash.update(bytemuck::cast_slice::<f32, u8>(&backward.gradient));
    Ok(super::hexadecimal(&hash.finalize()[..8]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::settings::Shape;
    use crate::train::text::OWN;

    #[test]
    fn it_is_the_same_each_time_and_differs_with_the_settings() {
        let settings = Settings::of(Shape::NANO);
        let text = Text::new(OWN, &settings.shape).unwrap();
        let first = fingerprint(&settings, &text).unwrap();
        assert_eq!(first, fingerprint(&settings, &text).unwrap());
        assert_eq!(first.len(), 16);
        let other = Settings { segments: 3, ..settings.clone() };
        assert_ne!(first, fingerprint(&other, &text).unwrap());
        let other = Text::new(OWN.to_uppercase(), &settings.shape).unwrap();
        assert_ne!(first, fingerprint(&settings, &other).unwrap());
    }
}
