//! Scales and centres of groups in a byte each.

/// The largest positive scale is `top`, the smallest 16 octaves below; what is smaller becomes 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogScale {
    /// The largest scale.
    pub top: f32,
}

impl LogScale {
    /// Steps of a scale to an octave: neighbours differ by 4.4 %, so that rounding costs at most 2.2 %.
    pub const STEPS: f32 = 16.0;
    /// The byte of the largest scale.
    pub const TOP: f32 = 255.0;

    /// The byte whose scale is nearest to `scale` by their ratio.
    pub fn encode(self, scale: f32) -> u8 {
        // The cast saturates: nothing above `top`, and 0 for what is too small, 0 or no number.
        (LogScale::TOP + LogScale::STEPS * (scale / self.top).log2()).round() as u8
    }

    /// The scale of a byte.
    pub fn decode(self, byte: u8) -> f32 {
        match byte {
            0 => 0.0,
            byte => self.top * ((f32::from(byte) - LogScale::TOP) / LogScale::STEPS).exp2(),
        }
    }
}

/// A number between `-range` and `range` in 255 even steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Centre {
    /// The largest magnitude.
    pub range: f32,
}

impl Centre {
    /// Steps from 0 to the largest magnitude.
    pub const STEPS: f32 = 127.0;

    /// The byte of the nearest number; numbers beyond the range saturate.
    pub fn encode(self, value: f32) -> u8 {
        let code =
            (value / self.range * Centre::STEPS).round().clamp(-Centre::STEPS, Centre::STEPS) as i8;
        code.cast_unsigned()
    }

    /// The number of a byte.
    pub fn decode(self, byte: u8) -> f32 {
        f32::from(byte.cast_signed()) / Centre::STEPS * self.range
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn scales_keep_their_ratio(octaves in -15.8f32..0.0, top in 0.01f32..100.0) {
            let scales = LogScale { top };
            let scale = top * octaves.exp2();
            let ratio = scales.decode(scales.encode(scale)) / scale;
            prop_assert!((ratio - 1.0).abs() < 0.022, "{}", ratio);
        }

        #[test]
        fn centres_are_within_half_a_step(part in -1.0f32..1.0, range in 0.01f32..1000.0) {
            let centres = Centre { range };
            let error = centres.decode(centres.encode(part * range)) - part * range;
            prop_assert!(error.abs() <= range / 254.0 * 1.001);
        }
    }

    #[test]
    fn what_is_out_of_range_saturates() {
        let scales = LogScale { top: 64.0 };
        assert_eq!([0.0, -1.0, f32::NAN, 1e-9].map(|scale| scales.encode(scale)), [0; 4]);
        assert_eq!(scales.decode(scales.encode(1e9)), 64.0);
        let centres = Centre { range: 2.0 };
        assert_eq!(centres.decode(centres.encode(5.0)), 2.0);
        assert_eq!(centres.decode(centres.encode(-5.0)), -2.0);
        assert_eq!(centres.decode(centres.encode(f32::NAN)), 0.0);
    }
}
