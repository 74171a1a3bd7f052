//! Types of tensor data, by their numbers in the file.

use candle_core::quantized::GgmlDType;

use super::cursor::Read;

/// ggml's names in the order of their numbers, to name what isn't supported.
const NAMES: &str = "F32 F16 Q4_0 Q4_1 Q4_2 Q4_3 Q5_0 Q5_1 Q8_0 Q8_1 Q2_K Q3_K Q4_K Q5_K Q6_K \
                     Q8_K IQ2_XXS IQ2_XS IQ3_XXS IQ1_S IQ4_NL IQ3_S IQ2_S IQ4_XS I8 I16 I32 I64 \
                     F64 IQ1_M BF16 Q4_0_4_4 Q4_0_4_8 Q4_0_8_8 TQ1_0 TQ2_0 IQ4_NL_4_4 IQ4_NL_4_8 \
                     IQ4_NL_8_8 MXFP4";

/// The type of a number, if candle can load tensors of it. Q8_1 and Q8_K are ggml's formats for
/// activations, which no file should hold.
pub(super) fn from_number(number: u32) -> Read<GgmlDType> {
    Ok(match number {
        0 => GgmlDType::F32,
        1 => GgmlDType::F16,
        2 => GgmlDType::Q4_0,
        3 => GgmlDType::Q4_1,
        6 => GgmlDType::Q5_0,
        7 => GgmlDType::Q5_1,
        8 => GgmlDType::Q8_0,
        10 => GgmlDType::Q2K,
        11 => GgmlDType::Q3K,
        12 => GgmlDType::Q4K,
        13 => GgmlDType::Q5K,
        14 => GgmlDType::Q6K,
        30 => GgmlDType::BF16,
        other => {
            let name = usize::try_from(other).ok().and_then(|n| NAMES.split(' ').nth(n));
            return Err(format!(
                "has the tensor type {other} ({}), which is not supported (supported: F32, F16, \
                 BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K to Q6_K)",
                name.unwrap_or("unknown")
            ));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsupported_types_are_named() {
        assert!(from_number(16).unwrap_err().contains("16 (IQ2_XXS)"));
        assert!(from_number(9).unwrap_err().contains("9 (Q8_1)"));
        assert!(from_number(u32::MAX).unwrap_err().contains("4294967295 (unknown)"));
    }

    /// Guards the table of names against a slip by one: what we do support must have its own name.
    #[test]
    fn names_and_types_agree() {
        let mut n_supported = 0;
        for (number, name) in NAMES.split(' ').enumerate() {
            if let Ok(dtype) = from_number(number as u32) {
                assert_eq!(format!("{dtype:?}").replace('_', ""), name.replace('_', ""));
                n_supported += 1;
            }
        }
        assert_eq!(n_supported, 13);
    }
}
