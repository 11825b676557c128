//! The architectures and compilers that the farm knows (`spec/run-management.md` section 4.5). The only list of them.

/// Every architecture that a worker may report, but for [`UNKNOWN`].
pub const SUPPORTED_ARCHES: [&str; 29] = [
    "apple-silicon",
    "armv7",
    "armv7-neon",
    "armv8",
    "armv8-dotprod",
    "e2k",
    "general-32",
    "general-64",
    "loongarch64",
    "loongarch64-lasx",
    "loongarch64-lsx",
    "ppc-32",
    "ppc-64",
    "ppc-64-altivec",
    "ppc-64-vsx",
    "riscv64",
    "x86-32",
    "x86-32-sse2",
    "x86-32-sse41-popcnt",
    "x86-64",
    "x86-64-avx2",
    "x86-64-avx512",
    "x86-64-avxvnni",
    "x86-64-bmi2",
    "x86-64-sse3-popcnt",
    "x86-64-sse41-popcnt",
    "x86-64-ssse3",
    "x86-64-vnni512",
    "x86-64-avx512icl",
];

/// What a worker reports that cannot determine its architecture (`spec/scheduling.md` section 3.4, filter 9).
pub const UNKNOWN: &str = "unknown";

/// Every compiler that a worker may report and that a run may ask for.
pub const SUPPORTED_COMPILERS: [&str; 2] = ["clang++", "g++"];

/// Whether `arch` is one of [`SUPPORTED_ARCHES`]. [`UNKNOWN`] is not.
pub fn is_supported(arch: &str) -> bool {
    SUPPORTED_ARCHES.contains(&arch)
}

/// Whether `compiler` is one of [`SUPPORTED_COMPILERS`].
pub fn is_supported_compiler(compiler: &str) -> bool {
    SUPPORTED_COMPILERS.contains(&compiler)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arches_are_distinct_and_the_undetermined_one_is_not_among_them() {
        let distinct: std::collections::BTreeSet<&str> = SUPPORTED_ARCHES.into_iter().collect();
        assert_eq!(distinct.len(), SUPPORTED_ARCHES.len());
        assert!(is_supported("x86-64-avx512icl"));
        assert!(is_supported("apple-silicon"));
        assert!(!is_supported(UNKNOWN));
        assert!(!is_supported("x86-64-AVX2"));
        assert!(!is_supported(""));
    }

    #[test]
    fn compilers_are_named_exactly() {
        assert!(is_supported_compiler("g++"));
        assert!(is_supported_compiler("clang++"));
        assert!(!is_supported_compiler("gcc"));
    }
}
