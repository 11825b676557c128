//! The normal and χ² distributions, accurate in their tails.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// Φ⁻¹(0.975): half the width of a 95% interval, in standard deviations.
pub const Z_975: f64 = 1.959963984540054;

/// Beyond this many standard deviations the upper tail is computed from its asymptotic series, which keeps its digits
/// where the tail itself is subnormal.
const FAR_TAIL: f64 = 25.0;

/// Φ(x), the distribution function of the standard normal distribution. Keeps its relative accuracy for very negative x.
pub fn norm_cdf(x: f64) -> f64 {
    0.5 * libm::erfc(-x * FRAC_1_SQRT_2)
}

/// The density of the standard normal distribution.
fn norm_pdf(x: f64) -> f64 {
    (-0.5 * x * x).exp() / (2.0 * PI).sqrt()
}

/// ln(1 − Φ(x)) for x ≥ 0.
fn ln_upper_tail(x: f64) -> f64 {
    if x < FAR_TAIL {
        return (0.5 * libm::erfc(x * FRAC_1_SQRT_2)).ln();
    }
    let r = 1.0 / (x * x);
    let series = 1.0 - r * (1.0 - 3.0 * r * (1.0 - 5.0 * r * (1.0 - 7.0 * r * (1.0 - 9.0 * r))));
    -0.5 * x * x - (x * (2.0 * PI).sqrt()).ln() + series.ln()
}

/// The z that a standard normal variable exceeds with probability `q`: +∞ for 0, −∞ for 1, NaN outside [0, 1].
pub fn norm_upper_quantile(q: f64) -> f64 {
    if !(0.0..=1.0).contains(&q) {
        return f64::NAN;
    }
    if q > 0.5 {
        // 1 − q is exact here.
        return -norm_upper_quantile(1.0 - q);
    }
    if q == 0.0 {
        return f64::INFINITY;
    }
    // Hastings' approximation (Abramowitz & Stegun 26.2.23), within 4.5e-4, then Newton's method on ln(1 − Φ), which
    // is concave: three steps reach full precision, the fourth is reserve.
    let target = q.ln();
    let t = (-2.0 * target).sqrt();
    let numerator = 2.515517 + t * (0.802853 + t * 0.010328);
    let denominator = 1.0 + t * (1.432788 + t * (0.189269 + t * 0.001308));
    let mut x = (t - numerator / denominator).max(0.0);
    for _ in 0..4 {
        let tail = ln_upper_tail(x);
        // (1 − Φ)/φ; both may be subnormal far out, where its asymptotic value 1/x is good enough for a step.
        let mills = if x < FAR_TAIL { tail.exp() / norm_pdf(x) } else { 1.0 / x };
        x += (tail - target) * mills;
    }
    x
}

/// Φ⁻¹(p), the quantile function of the standard normal distribution: ±∞ at 1 and 0, NaN outside [0, 1].
pub fn norm_quantile(p: f64) -> f64 {
    -norm_upper_quantile(p)
}

/// The probability that a χ² variable with `2 * half_dof` degrees of freedom exceeds `y` ≥ 0. For even degrees this
/// is the probability of fewer than `half_dof` events of a Poisson process: a finite sum.
pub fn chi2_upper_tail(y: f64, half_dof: u64) -> f64 {
    if y.is_nan() || y < 0.0 || half_dof == 0 {
        return f64::NAN;
    }
    if y == 0.0 {
        return 1.0;
    }
    let mean = 0.5 * y;
    let ln_mean = mean.ln();
    let mut sum = 0.0;
    // Terms in logarithms: the first may underflow while later ones matter.
    for j in 0..half_dof {
        let j = j as f64;
        sum += (j * ln_mean - mean - libm::lgamma(j + 1.0)).exp();
    }
    sum.min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_equal_published_values() {
        let table = [
            (0.975, 1.959963984540054),
            (0.5, 0.0),
            (0.025, -1.959963984540054),
            (1e-10, -6.361340902404056),
            (0.99, 2.3263478740408408),
            (1e-300, -37.0471),
        ];
        for (p, z) in table {
            let tolerance = if p == 1e-300 { 1e-4 } else { 1e-13 };
            assert!((norm_quantile(p) - z).abs() < tolerance, "{p}: {}", norm_quantile(p));
        }
        assert_eq!(norm_quantile(0.0), f64::NEG_INFINITY);
        assert_eq!(norm_quantile(1.0), f64::INFINITY);
        assert!(norm_quantile(-0.1).is_nan() && norm_quantile(f64::NAN).is_nan());
    }

    #[test]
    fn the_far_tail_joins_the_near_tail() {
        let (near, far) = (FAR_TAIL - 1e-12, FAR_TAIL);
        assert!((ln_upper_tail(near) - ln_upper_tail(far)).abs() < 1e-8);
        assert!(norm_upper_quantile(5e-324).is_finite() && norm_upper_quantile(5e-324) > 38.0);
    }

    #[test]
    fn the_quantile_inverts_the_distribution_function() {
        for i in -3000..=800 {
            let x = f64::from(i) / 100.0;
            let back = norm_quantile(norm_cdf(x));
            // Close to 1 the distribution function has few digits left.
            let tolerance = 1e-11 * x.abs().max(1.0) + if x > 0.0 { 4e-16 / norm_pdf(x) } else { 0.0 };
            assert!((back - x).abs() <= tolerance, "{x}: {back}");
        }
    }

    #[test]
    fn the_chi2_tail_equals_closed_forms() {
        assert!((chi2_upper_tail(5.991464547107979, 1) - 0.05).abs() < 1e-15);
        assert!((chi2_upper_tail(9.487729036781154, 2) - 0.05).abs() < 1e-15);
        assert!((chi2_upper_tail(2.0e4, 10_000) - 0.5).abs() < 0.01);
        assert_eq!(chi2_upper_tail(0.0, 3), 1.0);
        assert_eq!(chi2_upper_tail(1e9, 3), 0.0);
        assert!(chi2_upper_tail(f64::NAN, 3).is_nan());
    }
}
