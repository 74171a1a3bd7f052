//! What the papers report for the experiment, beside what is found here.

/// A model's errors in the papers' tables, mean over 50 images.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PublishedFit {
    /// The model.
    pub model: &'static str,
    /// Sums of squared errors: low, high, band, rejection, comb.
    pub squared_errors: [f64; 5],
    /// Whether somebody held the numbers against the paper. None was: they are from memory.
    pub confirmed: bool,
}

/// The rows of the tables of BernNet (He et al., 2021) and JacobiConv (Wang and Zhang, 2022).
/// LON-GNN's own row was not to be had.
pub const PUBLISHED: [PublishedFit; 7] = [
    from_memory("GCN", [3.4799, 67.6635, 25.8755, 21.0747, 50.5120]),
    from_memory("GAT", [2.3574, 21.9618, 14.4326, 12.6384, 23.1813]),
    from_memory("GPRGNN", [0.4169, 0.0943, 3.5121, 3.7917, 4.6549]),
    from_memory("ARMA", [1.8478, 1.8632, 7.6922, 8.2732, 15.1214]),
    from_memory("ChebNet", [0.8220, 0.7867, 2.2722, 2.5296, 4.0735]),
    from_memory("BernNet", [0.0314, 0.0113, 0.0411, 0.9313, 0.9982]),
    from_memory("JacobiConv", [0.0003, 0.0011, 0.0213, 0.0156, 0.2933]),
];

const fn from_memory(model: &'static str, squared_errors: [f64; 5]) -> PublishedFit {
    PublishedFit { model, squared_errors, confirmed: false }
}
