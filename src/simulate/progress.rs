//! Live progress for a person: a block that is drawn over itself on a terminal, a line per second elsewhere.

use std::io::Write;

use super::report::{Observer, Snapshot, describe};

/// Most lines of runs in the block, so that it fits a terminal.
const RUN_LINES: usize = 6;

/// Draws snapshots.
#[derive(Debug)]
pub struct Progress<W> {
    out: W,
    is_terminal: bool,
    /// Lines of the block on the screen.
    drawn: usize,
}

impl Progress<std::io::Stderr> {
    /// Progress on standard error.
    pub fn stderr() -> Self {
        let out = std::io::stderr();
        let is_terminal = std::io::IsTerminal::is_terminal(&out);
        Self::new(out, is_terminal)
    }
}

impl<W: Write> Progress<W> {
    /// Progress on any writer. `is_terminal`: whether cursor movements are understood.
    pub fn new(out: W, is_terminal: bool) -> Self {
        Self { out, is_terminal, drawn: 0 }
    }

    fn draw(&mut self, snapshot: &Snapshot) -> std::io::Result<()> {
        if !self.is_terminal {
            writeln!(self.out, "{}", line(snapshot))?;
            return self.out.flush();
        }
        let lines = block(snapshot);
        let mut frame = String::new();
        if self.drawn > 0 {
            frame.push_str(&format!("\x1b[{}A", self.drawn));
        }
        for text in &lines {
            // Clear what the line held before, and never wrap: the block is found again by counting lines.
            let short: String = text.chars().take(120).collect();
            frame.push_str(&format!("\r\x1b[2K{short}\n"));
        }
        for _ in lines.len()..self.drawn {
            frame.push_str("\r\x1b[2K\n");
        }
        self.drawn = self.drawn.max(lines.len());
        self.out.write_all(frame.as_bytes())?;
        self.out.flush()
    }
}

impl<W: Write + Send> Observer for Progress<W> {
    fn observe(&mut self, snapshot: &Snapshot) {
        // A closed terminal must not end the simulation.
        let _ = self.draw(snapshot);
    }
}

fn slowest_p99(snapshot: &Snapshot) -> (f64, f64) {
    let worker = snapshot.latency.iter().filter(|(name, _)| !name.starts_with("get_"));
    worker.fold((0.0, 0.0), |(p50, p99): (f64, f64), (_, l)| (p50.max(l.p50_ms), p99.max(l.p99_ms)))
}

/// A snapshot in one line.
pub fn line(snapshot: &Snapshot) -> String {
    let w = &snapshot.workers;
    let (p50, p99) = slowest_p99(snapshot);
    let errors: u64 = snapshot.errors.values().sum();
    let mut text = format!(
        "{:.0}s playing {} waiting {} away {} games {} ({:.0}/s) requests {} ({:.0}/s) p50 {p50:.1}ms p99 {p99:.1}ms \
         errors {errors} broken {}",
        snapshot.seconds,
        w.playing,
        w.waiting,
        w.away,
        snapshot.games,
        snapshot.games_per_second,
        snapshot.requests,
        snapshot.requests_per_second,
        snapshot.broken,
    );
    for sprt in snapshot.runs.iter().filter(|run| !run.finished).filter_map(|run| run.sprt.as_ref()).take(3) {
        text.push_str(&format!(" LLR {:.2}", sprt.llr));
    }
    text
}

fn block(snapshot: &Snapshot) -> Vec<String> {
    let w = &snapshot.workers;
    let mut lines = vec![
        format!(
            "{:>6.0} s   workers: {} playing, {} waiting, {} away, {} gone",
            snapshot.seconds, w.playing, w.waiting, w.away, w.gone
        ),
        format!(
            "games {:>12} {:>9.1}/s    requests {:>10} {:>9.1}/s    broken invariants {}",
            snapshot.games,
            snapshot.games_per_second,
            snapshot.requests,
            snapshot.requests_per_second,
            snapshot.broken
        ),
    ];
    for (endpoint, l) in &snapshot.latency {
        lines.push(format!(
            "  {endpoint:<16} {:>9}  p50 {:>8.2} ms  p99 {:>8.2} ms  max {:>8.2} ms",
            l.count, l.p50_ms, l.p99_ms, l.max_ms
        ));
    }
    for (kind, count) in &snapshot.errors {
        lines.push(format!("  error {kind}: {count}"));
    }
    // Unfinished runs first: these move.
    let mut runs: Vec<_> = snapshot.runs.iter().collect();
    runs.sort_by_key(|run| run.finished);
    lines.extend(runs.iter().take(RUN_LINES).map(|run| format!("  {}", describe(run))));
    if runs.len() > RUN_LINES {
        lines.push(format!("  and {} runs more", runs.len() - RUN_LINES));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::report::Snapshots;
    use crate::simulate::tally::{Doing, Tally};

    fn snapshot(errors: usize) -> Snapshot {
        let tally = Tally::default();
        tally.change(None, Doing::Playing);
        tally.games(64);
        for i in 0..errors {
            tally.error(crate::simulate::endpoint::Endpoint::Beat, &format!("kind{i}"));
        }
        Snapshots::default().take(2.0, &tally, Vec::new(), 0)
    }

    #[test]
    fn without_a_terminal_there_is_a_line_per_snapshot() {
        let mut progress = Progress::new(Vec::new(), false);
        progress.observe(&snapshot(0));
        progress.observe(&snapshot(1));
        let text = String::from_utf8(progress.out).unwrap();
        assert_eq!(text.lines().count(), 2);
        assert!(text.starts_with("2s playing 1 waiting 0 away 0 games 64 (32/s)"), "{text}");
        assert!(!text.contains('\x1b'));
    }

    #[test]
    fn on_a_terminal_the_block_is_drawn_over_itself_even_when_it_gets_shorter() {
        let mut progress = Progress::new(Vec::new(), true);
        progress.observe(&snapshot(3));
        progress.observe(&snapshot(0));
        progress.observe(&snapshot(0));
        let text = String::from_utf8(progress.out).unwrap();
        assert_eq!(text.matches("\x1b[5A").count(), 2, "{text:?}");
        assert_eq!(text.lines().count(), 15);
    }
}
