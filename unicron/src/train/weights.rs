//! The trained weights: one safetensors file, the same for any number of stages.

use super::model::Layout;
use super::settings::Settings;
use crate::{Error, Result};
use serde_json::{Map, json};
use sha2::{Digest, Sha256};
use std::io::Write;
use std::path::Path;

/// Writes the weights of all stages, in their order, and returns the file's SHA-256.
///
/// # Errors
/// [`Error::Io`] if the file can't be written.
///
/// # Panics
/// If a stage's weights are not as many as its layout's.
pub fn write(path: &Path, settings: &Settings, stages: &[&[f32]]) -> Result<String> {
    let mut header = Map::new();
    let mut start = 0;
    for (stage, weights) in (0..).zip(stages) {
        let layout = Layout::new(settings, stage);
        assert_eq!(layout.len(), weights.len(), "a stage's weights are all there");
        for (parameter, range) in layout.parts() {
            let bytes = 4 * range.len();
            let entry = json!({
                "dtype": "F32", "shape": parameter.dims, "data_offsets": [start, start + bytes],
            });
            header.insert(parameter.name.clone(), entry);
            start += bytes;
        }
    }
    let mut header = serde_json::Value::Object(header).to_string().into_bytes();
    // The tensors begin at a multiple of eight bytes.
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut hash = Sha256::new();
    common::files::replace(path, |file| {
        let mut put = |bytes: &[u8]| {
            hash.update(bytes);
            file.write_all(bytes)
        };
        put(&(header.len() as u64).to_le_bytes())?;
        put(&header)?;
        stages.iter().try_for_each(|weights| put(bytemuck::cast_slice(weights)))
    })
    .map_err(Error::io(path))?;
    Ok(super::hexadecimal(&hash.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::settings::Shape;

    #[test]
    fn another_reader_finds_the_tensors() {
        let folder = tempfile::tempdir().unwrap();
        let mut sums = Vec::new();
        for stages in [1, 2] {
            let settings = Settings { stages, ..Settings::of(Shape::NANO) };
            let weights: Vec<Vec<f32>> =
                (0..stages).map(|stage| Layout::new(&settings, stage).initial_weights(5)).collect();
            let weights: Vec<&[f32]> = weights.iter().map(Vec::as_slice).collect();
            let path = folder.path().join("weights.safetensors");
            sums.push(write(&path, &settings, &weights).unwrap());
            assert_eq!(common::assets::sha256_file(&path).unwrap(), sums[0]);
            let tensors = candle_core::safetensors::load(&path, &candle_core::Device::Cpu).unwrap();
            let layout = Layout::new(&Settings::of(Shape::NANO), 0);
            assert_eq!(tensors.len(), layout.parameters.len());
            let expected = layout.initial_weights(5);
            for (parameter, range) in layout.parts() {
                let tensor = &tensors[&parameter.name];
                assert_eq!(tensor.dims(), parameter.dims);
                let values = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                assert_eq!(values, expected[range]);
            }
        }
        assert_eq!(sums[0], sums[1]);
    }
}
