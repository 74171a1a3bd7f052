use super::*;
use std::thread;

/// Numbers that look random, the same in each run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        self.0 >> 33
    }

    fn weight(&mut self) -> f32 {
        self.next() as f32 / (1_u64 << 30) as f32 - 1.0
    }

    fn weights(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.weight()).collect()
    }

    /// Blocks of a file with any codes and sensible scales.
    fn blocks(&mut self, format: Format, n_blocks: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..n_blocks {
            for _ in 0..format.scale_bytes() / 2 {
                bytes.extend(half::f16::from_f32(self.weight() / 100.0).to_le_bytes());
            }
            bytes.extend((0..format.code_bytes()).map(|_| self.next() as u8));
        }
        bytes
    }
}

const FORMATS: [Format; 3] = [Format::Q8_0, Format::Q4_0, Format::Q4_1];

/// Rows, outputs and inputs: every size of a tile alone and after whole ones, outputs that fill no panel.
fn shapes() -> impl Iterator<Item = (usize, usize, usize)> {
    (1..=26).map(|n_rows| (n_rows, 1 + n_rows * 29 % 70, BLOCK * (1 + n_rows % 9)))
}

fn matrix(format: Format, outputs: usize, inputs: usize) -> Panels {
    let mut numbers = Numbers((outputs * 1000 + inputs) as u64);
    let bytes = numbers.blocks(format, outputs * inputs / BLOCK);
    Panels::from_blocks(format, &bytes, outputs, inputs).unwrap()
}

fn rows(n_rows: usize, inputs: usize) -> Activations {
    let numbers = Numbers(n_rows as u64).weights(n_rows * inputs);
    Activations::quantize(&numbers, n_rows, inputs)
}

/// The product of all rows and panels, `[rows][outputs]`.
fn product(isa: Isa, panels: &Panels, activations: &Activations) -> Vec<f32> {
    let mut outputs = vec![f32::NAN; activations.n_rows() * panels.outputs()];
    // SAFETY: a row is as long as there are outputs, and this thread alone uses them.
    let view =
        unsafe { OutputView::new(outputs.as_mut_ptr(), activations.n_rows(), panels.outputs()) };
    panels.multiply(isa, activations, 0..activations.n_rows(), 0..panels.n_panels(), &view);
    outputs
}

fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|number| number.to_bits()).collect()
}

#[test]
fn all_forms_give_the_same_bits() {
    for format in FORMATS {
        for (n_rows, outputs, inputs) in shapes() {
            let (panels, rows) = (matrix(format, outputs, inputs), rows(n_rows, inputs));
            let expected = bits(&product(Isa::Scalar, &panels, &rows));
            for isa in Isa::available() {
                let actual = bits(&product(isa, &panels, &rows));
                assert_eq!(actual, expected, "{isa} {format:?} {n_rows} x {outputs} x {inputs}");
            }
        }
    }
}

#[test]
fn products_are_those_of_the_numbers_that_codes_stand_for() {
    for format in FORMATS {
        for (n_rows, outputs, inputs) in shapes() {
            let (panels, rows) = (matrix(format, outputs, inputs), rows(n_rows, inputs));
            let (weights, numbers) = (panels.dequantize(), rows.dequantize());
            let actual = product(Isa::Scalar, &panels, &rows);
            for (at, actual) in actual.into_iter().enumerate() {
                let weights = &weights[at % outputs * inputs..][..inputs];
                let numbers = &numbers[at / outputs * inputs..][..inputs];
                let terms = weights.iter().zip(numbers).map(|(&a, &b)| f64::from(a) * f64::from(b));
                let (expected, size) =
                    (terms.clone().sum::<f64>(), terms.map(f64::abs).sum::<f64>());
                let error = (f64::from(actual) - expected).abs();
                assert!(error <= 1e-6 * size, "{format:?}: {actual} is not {expected}");
            }
        }
    }
}

#[test]
fn the_greatest_codes_dont_overflow() {
    for format in FORMATS {
        for code in [0x00, 0x7f, 0x80, 0x81, 0x0f, 0xf0, 0xff] {
            let scales = [0x00, 0x3c].repeat(format.scale_bytes() / 2);
            let block = [scales, vec![code; format.code_bytes()]].concat();
            let panels = Panels::from_blocks(format, &block.repeat(16 * 4), 16, 128).unwrap();
            for number in [-1.0, 1.0] {
                let rows = Activations::quantize(&[number; 3 * 128], 3, 128);
                let expected: f32 = panels.dequantize()[..128].iter().sum::<f32>() * number;
                for isa in Isa::available() {
                    for actual in product(isa, &panels, &rows) {
                        let error = (actual - expected).abs();
                        assert!(error <= 1e-6 * expected.abs(), "{isa}: {actual}, not {expected}");
                    }
                }
            }
        }
    }
}

#[test]
fn weights_of_files_stay_as_they_are() {
    let (outputs, inputs) = (35, 96);
    for format in FORMATS {
        let bytes = Numbers(7).blocks(format, outputs * inputs / BLOCK);
        let mut expected = Vec::new();
        for block in bytes.chunks_exact(format.block_bytes()) {
            let number = |at: usize| half::f16::from_le_bytes([block[at], block[at + 1]]).to_f32();
            let codes = &block[format.scale_bytes()..];
            let nibbles =
                || codes.iter().map(|code| code & 15).chain(codes.iter().map(|code| code >> 4));
            match format {
                Format::Q8_0 => {
                    expected.extend(codes.iter().map(|&q| number(0) * f32::from(q.cast_signed())));
                }
                Format::Q4_0 => {
                    expected.extend(nibbles().map(|q| number(0) * (f32::from(q) - 8.0)))
                }
                Format::Q4_1 => {
                    expected.extend(nibbles().map(|q| number(0) * f32::from(q) + number(2)))
                }
            }
        }
        let panels = Panels::from_blocks(format, &bytes, outputs, inputs).unwrap();
        assert_eq!(panels.dequantize(), expected, "{format:?}");
        assert_eq!(panels.bytes(), 48 * inputs / BLOCK * format.block_bytes());
    }
}

#[test]
fn rows_are_rounded_as_ggml_does() {
    // 127 and 63.5 scales, so that half a code is rounded away from zero, whose code is 64.
    let weights: Vec<f32> = (0..32).map(|at| [127.0, -63.5, 0.25, -127.0][at % 4]).collect();
    let panels = Panels::from_rows(&weights, 1, 32).unwrap();
    let expected: Vec<f32> = (0..32).map(|at| [127.0, -64.0, 0.0, -127.0][at % 4]).collect();
    assert_eq!(panels.dequantize(), expected);
    assert_eq!(Panels::from_rows(&[0.0; 64], 2, 32).unwrap().dequantize(), [0.0; 64]);
}

#[test]
fn a_row_doesnt_depend_on_the_others_nor_on_threads() {
    let (n_rows, outputs, inputs) = (29, 70, 96);
    for (format, n_threads) in FORMATS.into_iter().zip([2, 3, 7]) {
        let panels = matrix(format, outputs, inputs);
        let numbers = Numbers(3).weights(n_rows * inputs);
        let activations = Activations::quantize(&numbers, n_rows, inputs);
        let isa = Isa::current();
        let expected = bits(&product(isa, &panels, &activations));
        for (row, numbers) in numbers.chunks_exact(inputs).enumerate() {
            let alone = product(isa, &panels, &Activations::quantize(numbers, 1, inputs));
            assert_eq!(bits(&alone), expected[row * outputs..][..outputs]);
        }
        let mut shared = vec![0.0; n_rows * outputs];
        // SAFETY: a row is as long as there are outputs; shares are disjoint.
        let view = unsafe { OutputView::new(shared.as_mut_ptr(), n_rows, outputs) };
        thread::scope(|scope| {
            for (rows, parts) in panels.shares(n_rows, n_threads) {
                let (panels, activations, view) = (&panels, &activations, view.adding());
                scope.spawn(move || panels.multiply(isa, activations, rows, parts, &view));
            }
        });
        assert_eq!(bits(&shared), expected);
        // Ranges that begin and end anywhere in tiles.
        shared.fill(0.0);
        for rows in [0..5, 5..6, 6..25, 25..29] {
            panels.multiply(isa, &activations, rows.clone(), 0..2, &view);
            panels.multiply(isa, &activations, rows, 2..5, &view);
        }
        assert_eq!(bits(&shared), expected);
    }
}

#[test]
fn shares_are_all_rows_and_panels_once() {
    for outputs in [1, 16, 100, 576] {
        let panels = matrix(Format::Q4_0, outputs, 32);
        for n_rows in [0, 1, 2, 11, 12, 13, 64, 512] {
            for n_threads in [1, 2, 3, 16] {
                let mut times = vec![0; n_rows * panels.n_panels()];
                for (rows, parts) in panels.shares(n_rows, n_threads) {
                    for row in rows {
                        for part in parts.clone() {
                            times[row * panels.n_panels() + part] += 1;
                        }
                    }
                }
                assert!(times.iter().all(|&times| times == 1), "{outputs} {n_rows} {n_threads}");
            }
        }
    }
}

#[test]
fn all_forms_round_activations_alike() {
    let mut numbers = Numbers(5).weights(15 * 256);
    numbers[0] = 1e30;
    numbers[40] = 1e-40;
    numbers[64..96].fill(0.0);
    numbers[96..128].fill(1e-39);
    numbers[128..160].copy_from_slice(&[0.5, 127.0, 1.5, -2.5].repeat(8));
    let mut expected = Activations::default();
    expected.fill(Isa::Scalar, &numbers, 15, 256);
    assert_eq!(expected.dequantize()[128..132], [0.0, 127.0, 2.0, -2.0]);
    assert_eq!(expected.dequantize()[64..128], [0.0; 64]);
    for (number, rounded) in numbers.iter().zip(expected.dequantize()).skip(256) {
        assert!((number - rounded).abs() <= 0.5001 / 127.0);
    }
    for isa in Isa::available() {
        let mut actual = rows(20, 64);
        actual.fill(isa, &numbers, 15, 256);
        assert_eq!(format!("{actual:?}"), format!("{expected:?}"), "{isa}");
    }
}

#[test]
fn what_isnt_finite_reaches_all_outputs() {
    let panels = matrix(Format::Q4_1, 20, 64);
    for number in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut numbers = vec![1.0; 2 * 64];
        numbers[100] = number;
        for isa in Isa::available() {
            let mut rows = Activations::default();
            rows.fill(isa, &numbers, 2, 64);
            let outputs = product(isa, &panels, &rows);
            assert!(outputs[..20].iter().all(|output| output.is_finite()));
            assert!(outputs[20..].iter().all(|output| output.is_nan()));
        }
    }
}

#[test]
fn gathered_matrices_are_the_same() {
    let mut parts = [matrix(Format::Q8_0, 32, 64), matrix(Format::Q8_0, 48, 64)];
    let mut last = matrix(Format::Q8_0, 5, 64);
    let expected = [parts[0].dequantize(), parts[1].dequantize(), last.dequantize()].concat();
    Panels::gather(parts.iter_mut().chain([&mut last]));
    let gathered = [parts[0].dequantize(), parts[1].dequantize(), last.dequantize()].concat();
    assert_eq!(gathered, expected);
}

#[test]
fn wrong_sizes_are_errors() {
    for (outputs, inputs) in
        [(0, 32), (1, 0), (1, 33), (2, 32), (usize::MAX, 32), (1 << 40, 1 << 40)]
    {
        for format in FORMATS {
            assert!(Panels::from_blocks(format, &[0; 34], outputs, inputs).is_err());
        }
        assert!(Panels::from_rows(&[0.0; 32], outputs, inputs).is_err());
    }
    for (format, block_bytes) in FORMATS.into_iter().zip([34, 18, 20]) {
        assert!(Panels::from_blocks(format, &vec![0; block_bytes], 1, 32).is_ok());
    }
}

#[test]
fn storage_is_zeros_until_it_is_written() {
    for bytes in [0, 1, 100, 5 << 20] {
        let mut storage = Storage::zeroed(bytes);
        assert_eq!(storage.len(), bytes);
        assert!(
            storage.as_ptr().addr().is_multiple_of(64) && storage.iter().all(|&byte| byte == 0)
        );
        storage.get_mut().unwrap().fill(1);
        let shared = storage.clone();
        assert!(storage.get_mut().is_none() && shared.iter().all(|&byte| byte == 1));
    }
}
