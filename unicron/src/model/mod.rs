//! The language models that tasks train: GPT-style decoders by their sizes.
