//! What the model of time can't derive from sizes and data sheets.

/// Five numbers for all models, GPUs and shapes, fitted by [`super::calibration`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Constants {
    /// Share of the peak that large matrix products attain.
    pub matmul_efficiency: f64,
    /// The same for the attention core, relative to [`Self::matmul_efficiency`].
    pub attention_efficiency: f64,
    /// How often the bytes of the kept activations pass through memory for what isn't a matrix
    /// product: norms, dropout, residuals, activation functions, softmax, forward and backward.
    pub activation_passes: f64,
    /// Share of tensor- and pipeline-parallel communication that hides behind computation, where
    /// the software overlaps them.
    pub hidden_communication: f64,
    /// By how much every micro-batch takes longer as soon as there is a pipeline: stages wait for
    /// each other's sends, and for the slowest.
    pub pipeline_drag: f64,
}

impl Default for Constants {
    /// As `calibration::fit(&calibration::rows())` gives them.
    fn default() -> Self {
        Self {
            matmul_efficiency: 0.745,
            attention_efficiency: 0.362,
            activation_passes: 5.77,
            hidden_communication: 0.380,
            pipeline_drag: 0.106,
        }
    }
}

impl Constants {
    /// The constants as the fit varies them, in the order of the fields; `None` outside of what they
    /// can mean.
    pub(super) fn from_array(array: [f64; 5]) -> Option<Self> {
        let [
            matmul_efficiency,
            attention_efficiency,
            activation_passes,
            hidden_communication,
            pipeline_drag,
        ] = array;
        let share = 0.0..=1.0;
        let sound = array.iter().all(|constant| constant.is_finite() && *constant >= 0.0)
            && matmul_efficiency > 0.0
            && attention_efficiency > 0.0
            && [matmul_efficiency, attention_efficiency, hidden_communication]
                .iter()
                .all(|constant| share.contains(constant));
        sound.then_some(Self {
            matmul_efficiency,
            attention_efficiency,
            activation_passes,
            hidden_communication,
            pipeline_drag,
        })
    }
}
