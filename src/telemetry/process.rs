//! What the operating system says about this process, as Linux tells it under `/proc`. Elsewhere there are no such series.
//!
//! Written out here and not through the recorder, whose counters are whole numbers: processor time isn't.

use std::fmt::Write as _;

use super::catalogue::{
    PROCESS_CPU, PROCESS_FDS, PROCESS_MAX_FDS, PROCESS_RESIDENT, PROCESS_START, PROCESS_THREADS,
    PROCESS_VIRTUAL,
};
use super::metric::Spec;
use crate::domain::ids::Millis;

/// The names of all of them begin so.
pub(super) const PREFIX: &str = "process_";

/// Units of processor time in a second: what Linux shows to programs on every architecture.
const TICKS: f64 = 100.0;

/// What was read.
#[derive(Debug, Default, PartialEq)]
struct Figures {
    resident_bytes: Option<f64>,
    virtual_bytes: Option<f64>,
    threads: Option<f64>,
    cpu_seconds: Option<f64>,
    max_fds: Option<f64>,
    open_fds: Option<f64>,
}

impl Figures {
    fn read() -> Self {
        let text = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
        let mut figures = Self::parse(&text("status"), &text("stat"), &text("limits"));
        // One of them is the directory that is being read.
        figures.open_fds =
            std::fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count().saturating_sub(1) as f64);
        figures
    }

    fn parse(status: &str, stat: &str, limits: &str) -> Self {
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.split_whitespace().next()?.parse::<f64>().ok()
        };
        // The program's name, in brackets, may hold anything; fields are counted behind it, the third is the first.
        let times = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().skip(11));
        let cpu = times.and_then(|mut times| {
            let (user, system) = (times.next()?.parse::<f64>().ok()?, times.next()?.parse::<f64>().ok()?);
            Some((user + system) / TICKS)
        });
        let files = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
        Self {
            resident_bytes: field("VmRSS").map(|kib| kib * 1024.0),
            virtual_bytes: field("VmSize").map(|kib| kib * 1024.0),
            threads: field("Threads"),
            cpu_seconds: cpu,
            max_fds: files.and_then(|line| line.split_whitespace().next()?.parse().ok()),
            open_fds: None,
        }
    }
}

/// The part of the exposition that is about the process, which began at a time.
pub(super) fn exposition(began: Millis) -> String {
    let figures = Figures::read();
    let series: [(&Spec, Option<f64>); 7] = [
        (&PROCESS_RESIDENT.0, figures.resident_bytes),
        (&PROCESS_VIRTUAL.0, figures.virtual_bytes),
        (&PROCESS_CPU.0, figures.cpu_seconds),
        (&PROCESS_FDS.0, figures.open_fds),
        (&PROCESS_MAX_FDS.0, figures.max_fds),
        (&PROCESS_THREADS.0, figures.threads),
        (&PROCESS_START.0, figures.threads.map(|_| began.0 as f64 / 1000.0)),
    ];
    let mut text = String::new();
    for (spec, value) in series {
        if let Some(value) = value {
            let (name, kind) = (spec.name, spec.kind.word());
            let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} {kind}\n{name} {value}\n", spec.help());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_understood() {
        let status = "Name:\tshoal\nVmSize:\t  2048 kB\nVmRSS:\t    100 kB\nThreads:\t9\n";
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 9 0 100 1 2\n";
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max open files            1024                 4096                 files\n";
        let figures = Figures::parse(status, stat, limits);
        assert_eq!(figures.resident_bytes, Some(102_400.0));
        assert_eq!(figures.virtual_bytes, Some(2_097_152.0));
        assert_eq!((figures.threads, figures.cpu_seconds), (Some(9.0), Some(3.0)));
        assert_eq!(figures.max_fds, Some(1024.0));
        assert_eq!(Figures::parse("", "", ""), Figures::default());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_all_figures() {
        let text = exposition(Millis(1_000));
        for name in ["process_resident_memory_bytes ", "process_cpu_seconds_total ", "process_open_fds "] {
            assert!(text.lines().any(|line| line.starts_with(name)), "{name}: {text}");
        }
        assert!(text.contains("\nprocess_start_time_seconds 1\n"), "{text}");
    }
}
