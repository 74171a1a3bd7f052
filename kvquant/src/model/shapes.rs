//! Shapes of published models, for plans without a model file.

use crate::cache::CacheShape;

/// A published model's name and the shape of its cache.
#[derive(Debug, Clone, Copy)]
pub struct PublishedShape {
    /// The name by which commands know it.
    pub name: &'static str,
    /// Its shape.
    pub shape: CacheShape,
}

/// The shapes that commands know by name, from the models' published configurations.
pub const PUBLISHED: &[PublishedShape] = &[
    published("llama-2-7b", 32, 32, 128),
    published("llama-2-13b", 40, 40, 128),
    published("llama-2-70b", 80, 8, 128),
    published("llama-3.1-8b", 32, 8, 128),
    published("llama-3.1-70b", 80, 8, 128),
    published("llama-3.2-1b", 16, 8, 64),
    published("llama-3.2-3b", 28, 8, 128),
    published("mistral-7b", 32, 8, 128),
    published("qwen2.5-0.5b", 24, 2, 64),
    published("qwen2.5-7b", 28, 4, 128),
    published("qwen2.5-14b", 48, 8, 128),
    published("smollm2-135m", 30, 3, 64),
    published("smollm2-360m", 32, 5, 64),
    published("smollm2-1.7b", 24, 32, 64),
    published("tinyllama-1.1b", 22, 4, 64),
];

/// The shape of the published model of this name.
pub fn published_shape(name: &str) -> Option<CacheShape> {
    PUBLISHED.iter().find(|model| model.name == name).map(|model| model.shape)
}

const fn published(
    name: &'static str,
    n_layers: usize,
    n_kv_heads: usize,
    head_dim: usize,
) -> PublishedShape {
    PublishedShape { name, shape: CacheShape { n_layers, n_kv_heads, head_dim } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::bytes::planned_bytes;
    use crate::policy::Plan;

    /// Section 5.4 and figure 4: bytes saved against KIVI with 2 bits, at batch 48 (7B) and 36
    /// (13B). 8192 resident tokens and no window reproduce all four; the paper names a generation
    /// length of 4096.
    #[test]
    fn savings_of_the_paper() {
        for (model, batch, plan, gib) in [
            ("llama-2-7b", 48, Plan::asymkv(16, 0), 9.0),
            ("llama-2-7b", 48, Plan::asymkv(32, 0), 6.0),
            ("llama-2-13b", 36, Plan::asymkv(20, 0), 10.4),
            ("llama-2-13b", 36, Plan::asymkv(40, 0), 7.0),
        ] {
            let shape = published_shape(model).unwrap();
            let bytes = |plan: Plan| {
                let plan = plan.with_window(0);
                batch * planned_bytes(shape, &plan, 8192).unwrap().total()
            };
            let kivi = Plan::asymkv(shape.n_layers, shape.n_layers);
            let saved = (bytes(kivi) - bytes(plan.clone())) as f64 / (1u64 << 30) as f64;
            assert!((saved / gib - 1.0).abs() < 0.02, "{model} {plan}: {saved} GiB, paper {gib}");
        }
    }
}
