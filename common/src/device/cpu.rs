//! The processor: its name, its cores, its memory and the vector extensions that our kernels use.

use serde::Serialize;
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};

/// The processor and the main memory of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cpu {
    /// The name that the processor gives itself; "unknown" where it gives none.
    pub model: String,
    /// The instruction set this program was compiled for, e.g. `x86_64`.
    pub architecture: &'static str,
    /// Physical cores; `None` where the operating system doesn't tell.
    pub physical_cores: Option<usize>,
    /// Cores that this process may use at once (it honours affinity and cgroup quotas).
    pub logical_cores: usize,
    /// Main memory of the machine, in bytes; 0 where the operating system doesn't tell.
    pub memory_bytes: u64,
    /// Vector extensions.
    pub features: CpuFeatures,
}

impl Cpu {
    /// Asks the operating system and the processor itself.
    #[must_use]
    pub fn probe() -> Self {
        // Frequencies and loads are what costs time here, and nobody needs them.
        let wanted = RefreshKind::nothing()
            .with_cpu(CpuRefreshKind::nothing())
            .with_memory(MemoryRefreshKind::nothing().with_ram());
        let system = System::new_with_specifics(wanted).ok();
        let system = system.as_ref();
        let brand = system.and_then(|system| system.cpus().first()).map(|cpu| cpu.brand().trim());
        Self {
            model: brand.filter(|name| !name.is_empty()).unwrap_or("unknown").to_owned(),
            architecture: std::env::consts::ARCH,
            physical_cores: System::physical_core_count().ok(),
            logical_cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: system.map_or(0, System::total_memory),
            features: CpuFeatures::detect(),
        }
    }
}

macro_rules! cpu_features {
    ($($(#[$doc:meta])* $field:ident = $name:tt on $arch:literal via $detect:ident;)*) => {
        /// The vector extensions that our kernels know of, as this processor and its operating
        /// system offer them.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
        pub struct CpuFeatures {
            $($(#[$doc])* pub $field: bool,)*
        }

        impl CpuFeatures {
            /// Asks the processor; extensions of another architecture are absent.
            #[must_use]
            pub fn detect() -> Self {
                Self {
                    $($field: {
                        #[cfg(target_arch = $arch)]
                        { std::arch::$detect!($name) }
                        #[cfg(not(target_arch = $arch))]
                        { false }
                    },)*
                }
            }

            /// The names of the extensions that are present, in a fixed order.
            #[must_use]
            pub fn names(&self) -> Vec<&'static str> {
                [$((self.$field, $name)),*]
                    .into_iter()
                    .filter_map(|(present, name)| present.then_some(name))
                    .collect()
            }
        }
    };
}

cpu_features! {
    /// 256-bit integer vectors.
    avx2 = "avx2" on "x86_64" via is_x86_feature_detected;
    /// Fused multiply and add.
    fma = "fma" on "x86_64" via is_x86_feature_detected;
    /// Conversion between half and single precision.
    f16c = "f16c" on "x86_64" via is_x86_feature_detected;
    /// AVX-512 foundation.
    avx512f = "avx512f" on "x86_64" via is_x86_feature_detected;
    /// AVX-512 on bytes and words.
    avx512bw = "avx512bw" on "x86_64" via is_x86_feature_detected;
    /// AVX-512 instructions on 128 and 256 bits.
    avx512vl = "avx512vl" on "x86_64" via is_x86_feature_detected;
    /// AVX-512 on double and quad words.
    avx512dq = "avx512dq" on "x86_64" via is_x86_feature_detected;
    /// 8-bit dot products.
    avx512vnni = "avx512vnni" on "x86_64" via is_x86_feature_detected;
    /// Byte permutations.
    avx512vbmi = "avx512vbmi" on "x86_64" via is_x86_feature_detected;
    /// Population counts of double and quad words.
    avx512vpopcntdq = "avx512vpopcntdq" on "x86_64" via is_x86_feature_detected;
    /// Dot products of bfloat16.
    avx512bf16 = "avx512bf16" on "x86_64" via is_x86_feature_detected;
    /// Advanced SIMD of 64-bit Arm.
    neon = "neon" on "aarch64" via is_aarch64_feature_detected;
    /// 8-bit dot products of 64-bit Arm.
    dotprod = "dotprod" on "aarch64" via is_aarch64_feature_detected;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_finds_this_machine() {
        let cpu = Cpu::probe();
        assert!(!cpu.model.is_empty());
        assert!(cpu.logical_cores >= 1);
        assert!(cpu.memory_bytes > 64 << 20, "{} bytes of memory", cpu.memory_bytes);
    }

    #[test]
    fn names_list_what_is_present_and_nothing_else() {
        let features = CpuFeatures { avx2: true, avx512vnni: true, ..CpuFeatures::default() };
        assert_eq!(features.names(), ["avx2", "avx512vnni"]);
        assert!(CpuFeatures::default().names().is_empty());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn detection_agrees_with_the_kernel() {
        let text = std::fs::read_to_string("/proc/cpuinfo").unwrap();
        let flags: Vec<&str> = text
            .lines()
            .find(|line| line.starts_with("flags"))
            .map_or_else(Vec::new, |line| line.split_whitespace().collect());
        // The kernel spells some names with an underscore: avx512_vnni.
        let listed = |name: &str| flags.iter().any(|flag| flag.replace('_', "") == name);
        if cfg!(target_arch = "x86_64") {
            for name in CpuFeatures::detect().names() {
                assert!(listed(name), "{name} is not among the kernel's flags");
            }
        }
    }
}
