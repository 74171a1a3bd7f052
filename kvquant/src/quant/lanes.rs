//! Sums over a group in lanes, and code for each form of vector instructions.
//!
//! Fitting levels goes over a group again and again, for every element that a cache takes up. In lanes the compiler
//! makes vectors of it; sums have the same order, and so the same result, in all forms.

/// Numbers side by side.
pub(super) const LANES: usize = 16;

/// The sums of the terms of all elements.
#[inline(always)]
pub(super) fn sums<const N: usize>(group: &[f32], terms: impl Fn(f32) -> [f32; N]) -> [f32; N] {
    let mut lanes = [[0.0f32; LANES]; N];
    let (whole, rest) = group.as_chunks::<LANES>();
    for elements in whole {
        for lane in 0..LANES {
            let terms = terms(elements[lane]);
            for n in 0..N {
                lanes[n][lane] += terms[n];
            }
        }
    }
    let mut sums = [0.0; N];
    for n in 0..N {
        sums[n] = folded(lanes[n], |left, right| left + right);
    }
    for &element in rest {
        let terms = terms(element);
        for n in 0..N {
            sums[n] += terms[n];
        }
    }
    sums
}

/// The greatest of a number of each element, none of which is below 0.
#[inline(always)]
pub(super) fn greatest(group: &[f32], number: impl Fn(f32) -> f32) -> f32 {
    let greater = |left: f32, right: f32| if right > left { right } else { left };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (whole, rest) = group.as_chunks::<LANES>();
    for elements in whole {
        for lane in 0..LANES {
            lanes[lane] = greater(lanes[lane], number(elements[lane]));
        }
    }
    let all = folded(lanes, greater);
    rest.iter().fold(all, |all, &element| greater(all, number(element)))
}

/// All lanes in one, halves upon halves.
#[inline(always)]
fn folded(mut lanes: [f32; LANES], join: impl Fn(f32, f32) -> f32) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] = join(lanes[lane], lanes[lane + half]);
        }
        half /= 2;
    }
    lanes[0]
}

/// The integer nearest to `x`, half away from zero, between 0 and `most`, which is 255 at most; 0 if it is no number.
#[inline(always)]
pub(super) fn nearest_code(x: f32, most: f32) -> f32 {
    let above = if x > 0.0 { x } else { 0.0 };
    let within = if above < most { above } else { most };
    // SAFETY: a number between 0 and 256. (`as` makes sure of that again, which leaves no vectors.)
    (unsafe { (within + 0.5).to_int_unchecked::<i32>() }) as f32
}

/// Calls a function that is compiled for each form of vector instructions, in the form of this process. On 64-bit Arm
/// that is once: NEON is what plain code is compiled for there.
macro_rules! in_form_of_process {
    ($function:path, ($($argument:ident: $type:ty),*) $(-> $result:ty)?) => {{
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,fma")]
        fn in_avx512($($argument: $type),*) $(-> $result)? {
            $function($($argument),*)
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma")]
        fn in_avx2($($argument: $type),*) $(-> $result)? {
            $function($($argument),*)
        }
        match crate::isa::Isa::current() {
            // SAFETY: the processor has what the current form needs.
            #[cfg(target_arch = "x86_64")]
            crate::isa::Isa::Avx512 => unsafe { in_avx512($($argument),*) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            crate::isa::Isa::Avx2 => unsafe { in_avx2($($argument),*) },
            _ => $function($($argument),*),
        }
    }};
}
pub(super) use in_form_of_process;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_maxima_are_of_all_elements() {
        for len in [0, 1, 15, 16, 17, 64, 70] {
            let group: Vec<f32> = (0..len).map(|i| (i * 7 % 31) as f32 - 9.0).collect();
            let [sum, squares] = sums(&group, |x| [x, x * x]);
            assert_eq!(sum, group.iter().sum::<f32>());
            assert_eq!(squares, group.iter().map(|x| x * x).sum::<f32>());
            let most = group.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(greatest(&group, |x| x), most);
        }
    }

    #[test]
    fn codes_round_half_away_and_saturate() {
        let most = 3.0;
        for (x, code) in [
            (-1.0, 0.0),
            (0.49, 0.0),
            (0.5, 1.0),
            (1.5, 2.0),
            (2.4, 2.0),
            (2.5, 3.0),
            (9e9, 3.0),
            (f32::INFINITY, 3.0),
            (f32::NEG_INFINITY, 0.0),
            (f32::NAN, 0.0),
        ] {
            assert_eq!(nearest_code(x, most), code, "{x}");
        }
        assert_eq!(nearest_code(254.7, 255.0), 255.0);
    }
}
