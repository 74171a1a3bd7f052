//! Which vector instructions the kernels use.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

/// A form of the kernels. All give the same integers; the sums of single-precision numbers differ in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// Plain loops.
    Scalar,
    /// 256-bit vectors, FMA and half-precision conversions.
    Avx2,
    /// 512-bit vectors with dot products of bytes (VNNI) and byte permutations (VBMI).
    Avx512,
}

impl Isa {
    /// All of them, the slowest first.
    pub const ALL: [Isa; 3] = [Isa::Scalar, Isa::Avx2, Isa::Avx512];

    /// Whether this processor can run it.
    pub fn is_available(self) -> bool {
        match self {
            Isa::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => has_avx2(),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => {
                has_avx2()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vnni")
                    && is_x86_feature_detected!("avx512vbmi")
            }
            #[cfg(not(target_arch = "x86_64"))]
            Isa::Avx2 | Isa::Avx512 => false,
        }
    }

    /// Those that this processor can run, the slowest first.
    pub fn available() -> impl Iterator<Item = Isa> {
        Isa::ALL.into_iter().filter(|isa| isa.is_available())
    }

    /// What the kernels of this process use: the fastest that this processor can run, or what [`Isa::force`] said.
    pub fn current() -> Isa {
        *CURRENT.get_or_init(|| Isa::available().last().unwrap_or(Isa::Scalar))
    }

    /// Makes the kernels of this process use a form, by its name.
    ///
    /// # Errors
    /// If there is no such form, this processor can't run it, or kernels have run already in another.
    pub fn force(name: &str) -> Result<(), String> {
        let isa = name.parse::<Isa>().ok().filter(|isa| isa.is_available()).ok_or_else(|| {
            let names: Vec<String> = Isa::available().map(|isa| isa.to_string()).collect();
            format!("no vector instructions `{name}`; this processor has {}", names.join(", "))
        })?;
        match *CURRENT.get_or_init(|| isa) {
            current if current == isa => Ok(()),
            current => Err(format!("kernels have run with {current} already")),
        }
    }
}

static CURRENT: OnceLock<Isa> = OnceLock::new();

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c")
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Isa::Scalar => "scalar",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
        })
    }
}

impl FromStr for Isa {
    type Err = ();

    fn from_str(text: &str) -> Result<Isa, ()> {
        Isa::ALL.into_iter().find(|isa| isa.to_string() == text).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for isa in Isa::ALL {
            assert_eq!(isa.to_string().parse(), Ok(isa));
        }
        assert_eq!("sse".parse::<Isa>(), Err(()));
    }

    #[test]
    fn plain_loops_always_run() {
        assert_eq!(Isa::available().next(), Some(Isa::Scalar));
        assert!(Isa::current().is_available());
        let message = Isa::force("sse").unwrap_err();
        assert!(message.starts_with("no vector instructions `sse`; this processor has scalar"));
    }
}
