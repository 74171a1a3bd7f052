//! Which vector instructions the kernels use.

#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;

#[cfg(target_arch = "aarch64")]
use std::arch::is_aarch64_feature_detected;
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
    /// 128-bit vectors of 64-bit Arm, which every such processor has.
    Neon,
    /// The same with dot products of bytes.
    NeonDot,
}

impl Isa {
    /// All of them, of each architecture the slowest first.
    pub const ALL: [Isa; 5] = [Isa::Scalar, Isa::Avx2, Isa::Avx512, Isa::Neon, Isa::NeonDot];

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
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => has_neon(),
            #[cfg(target_arch = "aarch64")]
            Isa::NeonDot => has_neon() && is_aarch64_feature_detected!("dotprod"),
            #[cfg(not(target_arch = "x86_64"))]
            Isa::Avx2 | Isa::Avx512 => false,
            #[cfg(not(target_arch = "aarch64"))]
            Isa::Neon | Isa::NeonDot => false,
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

/// The kernels take four bytes in memory for the lowest ones of a register.
#[cfg(target_arch = "aarch64")]
fn has_neon() -> bool {
    cfg!(target_endian = "little") && is_aarch64_feature_detected!("neon")
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Isa::Scalar => "scalar",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
            Isa::Neon => "neon",
            Isa::NeonDot => "neon-dot",
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

    #[test]
    fn other_processors_have_other_forms() {
        let is_arm = cfg!(target_arch = "aarch64");
        assert_eq!(Isa::Neon.is_available(), is_arm);
        for other in if is_arm { [Isa::Avx2, Isa::Avx512] } else { [Isa::Neon, Isa::NeonDot] } {
            let message = Isa::force(&other.to_string()).unwrap_err();
            assert!(message.starts_with(&format!("no vector instructions `{other}`")), "{message}");
        }
    }
}
