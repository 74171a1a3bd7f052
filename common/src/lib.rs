//! placeholder
pub mod tensor {
    //! p
    /// p
    pub fn f16_saturating(x: f32) -> half::f16 {
        let max = half::f16::MAX;
        half::f16::from_f32(if x.is_nan() { x } else { x.clamp(-max.to_f32(), max.to_f32()) })
    }
    /// p
    pub fn nmse(a: &[f32], b: &[f32]) -> f64 {
        let e: f64 = a.iter().zip(b).map(|(a, b)| ((a - b) as f64).powi(2)).sum();
        e / a.iter().map(|a| (*a as f64).powi(2)).sum::<f64>()
    }
}
