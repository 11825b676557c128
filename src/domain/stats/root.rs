//! Root finding that always ends: every method here keeps a bracket and has a bound on its steps.

/// Steps after which the best bracket is taken as it is. Bisection of doubles alone needs about 60.
const MAX_STEPS: usize = 200;

/// Where the next bracket is cut when Newton's method is not trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Halfway.
    Arithmetic,
    /// At the geometric mean: for roots whose order of magnitude is unknown. Needs a positive bracket.
    Geometric,
}

impl Cut {
    fn of(self, low: f64, high: f64) -> f64 {
        match self {
            Self::Arithmetic => low + 0.5 * (high - low),
            Self::Geometric => (low.sqrt() * high.sqrt()).clamp(low, high),
        }
    }
}

/// The zero in [low, high] of a function that is negative before it and positive after it. `f` gives value and
/// derivative. When rounding hides the change of sign, the result is the end where it should have been.
pub fn newton(mut low: f64, mut high: f64, cut: Cut, mut f: impl FnMut(f64) -> (f64, f64)) -> f64 {
    let mut x = cut.of(low, high);
    let mut last_step = high - low;
    for _ in 0..MAX_STEPS {
        let (value, slope) = f(x);
        if value == 0.0 {
            return x;
        }
        if value < 0.0 {
            low = x;
        } else {
            high = x;
        }
        let newton = x - value / slope;
        // Newton's step must stay inside and at least halve the step before; otherwise cut the bracket.
        let trusted = newton > low && newton < high && 2.0 * (newton - x).abs() < last_step.abs();
        let next = if trusted { newton } else { cut.of(low, high) };
        last_step = next - x;
        if last_step.abs() <= 2.0 * f64::EPSILON * next.abs() {
            return next;
        }
        x = next;
    }
    x
}

/// A zero of `f` in [a, b] by Brent's method, within 2e-12 + 4 machine epsilons. `None` when the values at the ends
/// have the same sign or `f` yields NaN.
pub fn brent(a: f64, b: f64, mut f: impl FnMut(f64) -> f64) -> Option<f64> {
    // `best` has the smallest value seen, `counter` the other end of the bracket, `previous` the best before.
    let (mut previous, mut best) = (a, b);
    let (mut f_previous, mut f_best) = (f(a), f(b));
    if f_previous == 0.0 {
        return Some(a);
    }
    let same_sign = (f_previous > 0.0) == (f_best > 0.0) && f_best != 0.0;
    if f_previous.is_nan() || f_best.is_nan() || same_sign {
        return None;
    }
    let (mut counter, mut f_counter) = (previous, f_previous);
    let mut step = best - previous;
    let mut step_before = step;
    for _ in 0..MAX_STEPS {
        if (f_best > 0.0) == (f_counter > 0.0) {
            (counter, f_counter) = (previous, f_previous);
            step = best - previous;
            step_before = step;
        }
        if f_counter.abs() < f_best.abs() {
            (previous, best, counter) = (best, counter, best);
            (f_previous, f_best, f_counter) = (f_best, f_counter, f_best);
        }
        let tolerance = 0.5 * (2e-12 + 4.0 * f64::EPSILON * best.abs());
        let half = 0.5 * (counter - best);
        if half.abs() <= tolerance || f_best == 0.0 {
            return Some(best);
        }
        match interpolate((previous, f_previous), (best, f_best), (counter, f_counter)) {
            Some(offset)
                if step_before.abs() >= tolerance
                    && f_previous.abs() > f_best.abs()
                    && offset * half > 0.0
                    && offset.abs() < (1.5 * half.abs() - 0.5 * tolerance).min(0.5 * step_before.abs()) =>
            {
                step_before = step;
                step = offset;
            }
            _ => {
                step = half;
                step_before = half;
            }
        }
        (previous, f_previous) = (best, f_best);
        best += if step.abs() > tolerance { step } else { tolerance.copysign(half) };
        f_best = f(best);
        if f_best.is_nan() {
            return None;
        }
    }
    Some(best)
}

/// Secant or inverse quadratic interpolation: the offset from `best` at which the function should vanish.
fn interpolate(previous: (f64, f64), best: (f64, f64), counter: (f64, f64)) -> Option<f64> {
    let s = best.1 / previous.1;
    let (numerator, denominator) = if previous.0 == counter.0 {
        ((counter.0 - best.0) * s, s - 1.0)
    } else {
        let q = previous.1 / counter.1;
        let r = best.1 / counter.1;
        let numerator = s * ((counter.0 - best.0) * q * (q - r) - (best.0 - previous.0) * (r - 1.0));
        (-numerator, (q - 1.0) * (r - 1.0) * (s - 1.0))
    };
    let offset = numerator / denominator;
    offset.is_finite().then_some(offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brent_finds_roots_quickly() {
        for (a, b) in [(-1000.0, 1000.0), (0.0, 3.0), (2.0, 0.5)] {
            let mut calls = 0;
            let root = brent(a, b, |x| {
                calls += 1;
                x.powi(3) - 2.0
            });
            assert!((root.unwrap() - 2f64.cbrt()).abs() < 1e-11);
            assert!(calls < 45, "{calls} calls");
        }
    }

    #[test]
    fn brent_finds_a_jump_and_refuses_what_has_no_root() {
        let root = brent(-1.0, 2.0, |x| if x < 0.3 { -1.0 } else { 1.0 }).unwrap();
        assert!((root - 0.3).abs() < 1e-11);
        assert_eq!(brent(-1.0, 1.0, |x| x * x + 1.0), None);
        assert_eq!(brent(-1.0, 1.0, |x| if x.abs() < 1.0 { f64::NAN } else { x }), None);
    }

    #[test]
    fn newton_finds_tiny_roots_and_tolerates_bad_slopes() {
        let root = newton(1e-18, 0.5, Cut::Geometric, |x| (x - 1e-15, 1.0));
        assert!((root / 1e-15 - 1.0).abs() < 1e-12);
        for slope in [0.0, f64::NAN, -1.0, 1e-300] {
            let root = newton(0.0, 1.0, Cut::Arithmetic, |x| (x - 0.3, slope));
            assert!((root - 0.3).abs() < 1e-14, "{slope}: {root}");
        }
    }
}
