//! Starts the program over with glibc told how to copy bytes and when to give memory back: it listens only to the
//! environment that a program begins with.
//!
//! - **Copying without AVX-512, on Intel processors.** There glibc prefers routines that work in registers which AVX-512
//!   brought, and leaves them in use: no instruction of the others tidies them up, and plain SSE, which most of this program is
//!   compiled to, waits for them from then on. Ingesting costs about a third more processor time that way.
//! - **Memory given back.** glibc learns from the first large piece that is freed to keep such pieces, as much as the
//!   largest load ever took. Told where large begins, it stops learning, and gives them back at once.
//!
//! Figures: `docs/performance.md`.

use std::{env, fs, os::unix::process::CommandExt, process::Command};

const TUNABLES: &str = "GLIBC_TUNABLES";
/// What every processor is told: pieces from 1 MiB on are the system's own, and 4 MiB free at the end are too many.
const MEMORY: [(&str, &str); 2] = [("glibc.malloc.mmap_threshold", "1048576"), ("glibc.malloc.trim_threshold", "4194304")];
/// What those that suffer are told beside it.
const COPYING: (&str, &str) = ("glibc.cpu.hwcaps", "-AVX512F,-AVX512VL,-AVX512BW");
/// Said to the program that is started over: where the loader takes tunables out of the environment, as it does for
/// programs with privileges of their own, it would start over for ever.
const STARTED_OVER: &str = "GEOPHONE_STARTED_OVER";

/// Comes back where there is nothing to tell, or no way to: dearer, but as well.
pub fn start_over() {
    if !cfg!(all(target_os = "linux", target_env = "gnu")) || env::var_os(STARTED_OVER).is_some() {
        return;
    }
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let said = env::var(TUNABLES).unwrap_or_default();
    let (Some(tunables), Ok(program)) = (to_tell(&processor, &said), env::current_exe()) else { return };
    let mut words = env::args_os();
    let mut again = Command::new(program);
    again.arg0(words.next().unwrap_or_else(|| "geophone".into())).args(words);
    let error = again.env(TUNABLES, tunables).env(STARTED_OVER, "1").exec();
    tracing::debug!("glibc was not told how to copy and when to give memory back: {error}");
}

/// All that glibc is to be told, with what somebody else has said before, who is right; `None` if that is all.
fn to_tell(processor: &str, said: &str) -> Option<String> {
    let suffers = processor.contains("GenuineIntel") && processor.contains(" avx512vl");
    let wishes = MEMORY.into_iter().chain(suffers.then_some(COPYING)).filter(|(name, _)| !said.contains(name));
    let told = wishes.fold(said.to_owned(), |told, (name, value)| match told.as_str() {
        "" => format!("{name}={value}"),
        _ => format!("{told}:{name}={value}"),
    });
    (told != said).then_some(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTEL: &str = "vendor_id\t: GenuineIntel\nflags\t\t: sse2 avx2 avx512f avx512vl\n";

    #[test]
    fn processors_that_suffer_are_told_to_copy_without_avx_512() {
        let told = to_tell(INTEL, "").expect("there is something to tell");
        assert_eq!(
            told,
            "glibc.malloc.mmap_threshold=1048576:glibc.malloc.trim_threshold=4194304:glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW"
        );
        assert_eq!(to_tell(INTEL, &told), None);
        for other in [INTEL.replace("avx512vl", "avx"), INTEL.replace("GenuineIntel", "AuthenticAMD"), String::new()] {
            assert!(!to_tell(&other, "").expect("there is something to tell").contains("hwcaps"), "{other}");
        }
    }

    #[test]
    fn whoever_chose_already_is_right() {
        let said = "glibc.cpu.hwcaps=AVX512F:glibc.malloc.mmap_threshold=1";
        assert_eq!(to_tell(INTEL, said), Some(format!("{said}:glibc.malloc.trim_threshold=4194304")));
    }
}
