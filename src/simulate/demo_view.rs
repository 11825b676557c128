//! What `shoal demo` shows: the log-likelihood ratio of one test walking between its bounds.

use std::io::{self, Write};

use super::report::{Observer, Snapshot};

/// The state of the demonstration at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct DemoSnapshot {
    /// Log-likelihood ratio.
    pub llr: f64,
    /// Bound of rejection, negative.
    pub lower_bound: f64,
    /// Bound of acceptance, positive.
    pub upper_bound: f64,
    /// Games won by the new engine.
    pub wins: u64,
    /// Games lost.
    pub losses: u64,
    /// Games drawn.
    pub draws: u64,
    /// Workers that play.
    pub workers: u64,
    /// Real seconds since the start.
    pub seconds: f64,
}

impl DemoSnapshot {
    /// The first run of a simulation that is a sequential test; `None` before it was seen.
    pub fn of(snapshot: &Snapshot) -> Option<Self> {
        let run = snapshot.runs.iter().find(|run| run.sprt.is_some())?;
        let sprt = run.sprt.as_ref()?;
        Some(Self {
            llr: sprt.llr,
            lower_bound: sprt.lower_bound,
            upper_bound: sprt.upper_bound,
            wins: run.results.wins,
            losses: run.results.losses,
            draws: run.results.draws,
            workers: snapshot.workers.playing,
            seconds: snapshot.seconds,
        })
    }

    /// Games of the run.
    pub fn games(&self) -> u64 {
        self.wins + self.losses + self.draws
    }
}

/// Draws the demonstration: in place on a terminal, else a line per change.
#[derive(Debug)]
pub struct DemoView<W> {
    out: W,
    is_terminal: bool,
    width: usize,
    drawn: bool,
    last: Option<DemoSnapshot>,
}

/// Lines of the picture.
const LINES: usize = 3;
/// Narrowest bar that still shows movement.
const NARROWEST: usize = 11;

impl DemoView<io::Stdout> {
    /// The demonstration on standard output.
    pub fn stdout() -> Self {
        let out = io::stdout();
        let is_terminal = io::IsTerminal::is_terminal(&out);
        Self::new(out, is_terminal, 61)
    }
}

impl<W: Write> DemoView<W> {
    /// The demonstration on any writer. `width`: characters of the bar.
    pub fn new(out: W, is_terminal: bool, width: usize) -> Self {
        Self { out, is_terminal, width: width.max(NARROWEST), drawn: false, last: None }
    }

    /// Draws one moment.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn update(&mut self, now: &DemoSnapshot) -> io::Result<()> {
        let bar = bar(now, self.width);
        let games = format!("Total: {} W: {} L: {} D: {}", now.games(), now.wins, now.losses, now.draws);
        if self.is_terminal {
            let back = if self.drawn { format!("\x1b[{LINES}A") } else { String::new() };
            let rate = now.games() as f64 / now.seconds.max(1e-3);
            let scale = format!("{:<7.2} {bar} {:>5.2}", now.lower_bound, now.upper_bound);
            let llr = format!("LLR: {:+.2} ({:.2},{:.2})", now.llr, now.lower_bound, now.upper_bound);
            let work = format!("{games}   {} workers, {rate:.0} games/s, {:.0} s", now.workers, now.seconds);
            write!(self.out, "{back}\r\x1b[2K{scale}\n\r\x1b[2K{llr}\n\r\x1b[2K{work}\n")?;
            self.drawn = true;
        } else if self.last.as_ref().is_none_or(|last| last.games() != now.games()) {
            writeln!(self.out, "{bar} LLR: {:+.2} {games}", now.llr)?;
        }
        self.last = Some(now.clone());
        self.out.flush()
    }

    /// Writes the closing text below the picture: the lines as the site phrases the outcome.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn finish(&mut self, lines: &[String]) -> io::Result<()> {
        writeln!(self.out)?;
        for line in lines {
            writeln!(self.out, "{line}")?;
        }
        self.out.flush()
    }

    /// The moment drawn last.
    pub fn last(&self) -> Option<&DemoSnapshot> {
        self.last.as_ref()
    }

    /// The writer.
    pub fn into_inner(self) -> W {
        self.out
    }
}

impl<W: Write + Send> Observer for DemoView<W> {
    fn observe(&mut self, snapshot: &Snapshot) {
        if let Some(now) = DemoSnapshot::of(snapshot) {
            // A closed terminal must not end the demonstration.
            let _ = self.update(&now);
        }
    }
}

/// The walk as text: `[-----|--o-----]`, bounds at the ends, zero marked, filled between zero and the ratio.
fn bar(now: &DemoSnapshot, width: usize) -> String {
    let span = now.upper_bound - now.lower_bound;
    let place = |value: f64| {
        let share = if span > 0.0 { (value - now.lower_bound) / span } else { 0.5 };
        let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.5 };
        (share * (width - 1) as f64).round() as usize
    };
    let (zero, here) = (place(0.0), place(now.llr));
    let mut text = String::with_capacity(width + 2);
    text.push('[');
    for column in 0..width {
        text.push(if column == here {
            'o'
        } else if column == zero {
            '|'
        } else if (zero.min(here)..zero.max(here)).contains(&column) {
            '='
        } else {
            '-'
        });
    }
    text.push(']');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(llr: f64) -> DemoSnapshot {
        DemoSnapshot {
            llr,
            lower_bound: -2.94,
            upper_bound: 2.94,
            wins: 10,
            losses: 8,
            draws: 14,
            workers: 4,
            seconds: 2.0,
        }
    }

    #[test]
    fn the_mark_walks_from_bound_to_bound() {
        assert_eq!(bar(&at(-2.94), 11), "[o====|-----]");
        assert_eq!(bar(&at(-5.0), 11), "[o====|-----]");
        assert_eq!(bar(&at(0.0), 11), "[-----o-----]");
        assert_eq!(bar(&at(1.2), 11), "[-----|=o---]");
        assert_eq!(bar(&at(3.1), 11), "[-----|====o]");
        assert_eq!(bar(&at(f64::NAN), 11), "[-----o-----]");
    }

    #[test]
    fn on_a_terminal_the_picture_is_drawn_over_itself() {
        let mut view = DemoView::new(Vec::new(), true, 21);
        view.update(&at(0.5)).unwrap();
        view.update(&at(0.7)).unwrap();
        view.finish(&["LLR: 2.95 (-2.94,2.94) <0.00,2.00>".to_owned()]).unwrap();
        let text = String::from_utf8(view.into_inner()).unwrap();
        assert_eq!(text.matches("\x1b[3A").count(), 1, "{text:?}");
        assert!(text.contains("Total: 32 W: 10 L: 8 D: 14   4 workers, 16 games/s, 2 s"), "{text}");
        assert!(text.ends_with("\nLLR: 2.95 (-2.94,2.94) <0.00,2.00>\n"));
    }

    #[test]
    fn elsewhere_a_line_is_written_only_when_games_were_added() {
        let mut view = DemoView::new(Vec::new(), false, 11);
        view.update(&at(0.5)).unwrap();
        view.update(&at(0.5)).unwrap();
        view.update(&DemoSnapshot { wins: 11, losses: 9, ..at(0.6) }).unwrap();
        let text = String::from_utf8(view.into_inner()).unwrap();
        assert_eq!(
            text,
            "[-----|o----] LLR: +0.50 Total: 32 W: 10 L: 8 D: 14\n\
                          [-----|o----] LLR: +0.60 Total: 34 W: 11 L: 9 D: 14\n"
        );
    }
}
