//! A statistic with noise, and how far the noise can be off.
//!
//! A [`Noisy`] value remembers the laws of all noise in it: those of several sites, after they were added, and factors. [`Noise::half_width`]
//! gives h so that |noise| > h with a probability of at most the asked one. It is a bound and not an approximation, the least of those that hold:
//!
//! - one discrete Laplace of scale b: exactly, P(|X| > h) = 2p^(h+1)/(1 + p) with p = e^(−1/b).
//! - discrete Gaussians: P(X ≥ m) ≤ P(N ≥ m − 1) with N continuous (Canonne, Kamath, Steinke 2020, Proposition 25), so a sum of s of them is off
//!   by s more than N at most. From σ = 1 on their sum is a discrete Gaussian itself but for a factor within 1 ± 2(s − 1)·e^(−π²σ²) (the theta
//!   function of the convolution is nearly flat): the probability is made smaller by that, and one more will do.
//! - any mixture: Chernoff's bound P(|X| ≥ t) ≤ 2·E[e^(sX)]·e^(−st), at the best s. E[e^(sX)] is (1 − p)²/((1 − pe^s)(1 − pe^(−s))) for Laplace, and at
//!   most e^(s²σ²/2) for Gauss.
//! - any sum of integers: it is symmetric and log-concave, as its parts are. So its tail G(n) = P(|X| ≥ n) is log-concave with G(0) = 1. If G(n) > β
//!   then G(j) ≥ β^(j/n) for j ≤ n, and with u = ln(1/β) the variance V = Σ (2j − 1)·G(j) is at least e^(−u/n)·n²/k² where
//!   k = u/√(2(1 − β(1 + u))). So P(|X| > h) ≤ β for h ≥ k√V·e^(u/(2k√V)): 2.37 standard deviations for 95%. Where h
//!   is small the sum is taken term by term, which is less.
//! - different factors: also the sum of the half-widths of each, at a part of the probability.

/// The law of one draw, on whole numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Law {
    /// P(n) ∝ e^(−|n|/scale)
    Laplace { scale: f64 },
    /// P(n) ∝ e^(−n²/2σ²)
    Gaussian { sigma: f64 },
}

impl Law {
    /// Exact for Laplace; for Gauss at least (ibid., Corollary 9).
    fn variance(self) -> f64 {
        match self {
            Law::Laplace { scale } => {
                let q = -(-1.0 / scale).exp_m1();
                2.0 * (1.0 - q) / (q * q)
            }
            Law::Gaussian { sigma } => sigma * sigma,
        }
    }

    /// ln E[e^(sX)], or more; infinite where it is not finite.
    fn log_moment(self, s: f64) -> f64 {
        match self {
            Law::Laplace { scale } if s * scale >= 1.0 => f64::INFINITY,
            Law::Laplace { scale } => {
                let one_less = |s: f64| -(s - 1.0 / scale).exp_m1();
                2.0 * one_less(0.0).ln() - one_less(s).ln() - one_less(-s).ln()
            }
            Law::Gaussian { sigma } => s * s * sigma * sigma / 2.0,
        }
    }
}

/// The sum of independent draws, each times a factor.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Noise {
    terms: Vec<(f64, Law)>,
}

impl Noise {
    /// No noise: of what is exactly known.
    pub fn none() -> Noise {
        Noise::default()
    }

    /// Discrete Laplace noise of this scale (ε⁻¹ times the sensitivity).
    pub fn laplace(scale: f64) -> Noise {
        Noise { terms: vec![(1.0, Law::Laplace { scale })] }
    }

    /// Discrete Gaussian noise with this parameter σ.
    pub fn gaussian(sigma: f64) -> Noise {
        Noise { terms: vec![(1.0, Law::Gaussian { sigma })] }
    }

    /// With other noise, independent of this.
    pub fn plus(&self, other: &Noise) -> Noise {
        Noise { terms: self.terms.iter().chain(&other.terms).copied().collect() }
    }

    /// All of it times a factor.
    pub fn times(&self, factor: f64) -> Noise {
        Noise { terms: self.terms.iter().filter(|_| factor != 0.0).map(|(f, law)| (f * factor, *law)).collect() }
    }

    /// The standard deviation, or slightly more.
    pub fn deviation(&self) -> f64 {
        self.terms.iter().map(|(factor, law)| factor * factor * law.variance()).sum::<f64>().sqrt()
    }

    /// A number that the noise exceeds, either way, with a probability of at most `miss` (more than 0, less than 1).
    pub fn half_width(&self, miss: f64) -> f64 {
        if self.terms.is_empty() {
            return 0.0;
        }
        let groups = self.by_factor();
        let part = miss / groups.len() as f64;
        let split: f64 = groups.iter().map(|(factor, laws)| factor * whole_half_width(laws, part)).sum();
        if groups.len() == 1 {
            return split;
        }
        let gaussian = gaussian_half_width(&groups, miss).unwrap_or(f64::INFINITY);
        split.min(gaussian).min(self.chernoff(miss))
    }

    /// The laws by the size of their factor.
    fn by_factor(&self) -> Vec<(f64, Vec<Law>)> {
        let mut groups: Vec<(f64, Vec<Law>)> = Vec::new();
        for (factor, law) in &self.terms {
            match groups.iter_mut().find(|(f, _)| *f == factor.abs()) {
                Some((_, laws)) => laws.push(*law),
                None => groups.push((factor.abs(), vec![*law])),
            }
        }
        groups
    }

    /// Any s gives a bound; the one of a golden section search is close to the best, as the bound falls and then rises with s.
    fn chernoff(&self, miss: f64) -> f64 {
        let bound = |s: f64| {
            let moments: f64 = self.terms.iter().map(|(factor, law)| law.log_moment(s * factor.abs())).sum();
            ((2.0 / miss).ln() + moments) / s
        };
        // For Gauss alone the best s is this over the deviation; with Laplace it is less, and the moments end at 1/scale.
        let gaussian = (2.0 * (2.0 / miss).ln()).sqrt() / self.deviation();
        let end = self.terms.iter().fold(2.0 * gaussian, |end, (factor, law)| match law {
            Law::Laplace { scale } => end.min(1.0 / (scale * factor.abs())),
            Law::Gaussian { .. } => end,
        });
        let golden = (5f64.sqrt() - 1.0) / 2.0;
        let (mut from, mut to) = (0.0, end);
        let mut best = f64::INFINITY;
        for _ in 0..60 {
            let (left, right) = (to - (to - from) * golden, from + (to - from) * golden);
            let (at_left, at_right) = (bound(left), bound(right));
            best = best.min(at_left).min(at_right);
            if at_left <= at_right { to = right } else { from = left }
        }
        best
    }
}

/// The half-width of a sum of draws of whole numbers: a whole number.
fn whole_half_width(laws: &[Law], miss: f64) -> f64 {
    if let [Law::Laplace { scale }] = laws {
        let p = (-1.0 / scale).exp();
        return ((scale * (2.0 / (miss * (1.0 + p))).ln()).ceil() - 1.0).max(0.0);
    }
    let group = [(1.0, laws.to_vec())];
    if let Some(half_width) = gaussian_half_width(&group, miss) {
        // One less than off by so many, rounded up to what a whole number can exceed.
        return (half_width - 1.0).ceil();
    }
    let noise = Noise { terms: laws.iter().map(|law| (1.0, *law)).collect() };
    log_concave_half_width(noise.deviation(), miss).min(noise.chernoff(miss).ceil())
}

/// The half-width of a symmetric log-concave whole number of this standard deviation.
fn log_concave_half_width(deviation: f64, miss: f64) -> f64 {
    let u = (1.0 / miss).ln();
    let k_deviations = u / (2.0 * (1.0 - miss * (1.0 + u))).sqrt() * deviation;
    let closed = (k_deviations * (u / (2.0 * k_deviations)).exp()).ceil();
    if closed > 1000.0 {
        return closed;
    }
    // The least n for which Σ (2j − 1)·β^(j/n) over j ≤ n, which grows with n, is more than the variance: then G(n) ≤ β.
    let is_enough = |n: u32| {
        let ratio = miss.powf(1.0 / f64::from(n));
        let terms = (1..=n).scan(1.0, |power, j| {
            *power *= ratio;
            Some(f64::from(2 * j - 1) * *power)
        });
        terms.sum::<f64>() > deviation * deviation * (1.0 + 1e-9)
    };
    let (mut below, mut enough) = (0, closed as u32 + 1);
    while enough - below > 1 {
        let middle = below.midpoint(enough);
        if is_enough(middle) { enough = middle } else { below = middle }
    }
    f64::from(enough - 1)
}

/// σ times the quantile and what the draws can be off from continuous ones, if all are Gaussian.
fn gaussian_half_width(groups: &[(f64, Vec<Law>)], miss: f64) -> Option<f64> {
    let (mut variance, mut off, mut uneven) = (0.0, 0.0, 0.0);
    for (factor, laws) in groups {
        let (mut least, draws) = (f64::INFINITY, laws.len() as f64);
        for law in laws {
            let Law::Gaussian { sigma } = law else { return None };
            variance += factor * factor * sigma * sigma;
            least = least.min(*sigma);
        }
        // Each draw after the first bends the sum's distribution by a factor within 1 ± 2e^(−π²σ²): up, and by normalising down, twice over.
        let bent = 5.0 * (draws - 1.0) * (-(std::f64::consts::PI * least).powi(2)).exp();
        let is_one = least >= 1.0 && bent < 0.01;
        off += factor * if is_one { 1.0 } else { draws };
        uneven += if is_one { bent } else { 0.0 };
    }
    Some(normal_quantile(miss / 2.0 * (1.0 - uneven)) * variance.sqrt() + off)
}

/// z so that a standard normal variable is above z with a probability of at most `tail`, for 0 < tail < ½. Acklam's rational approximation
/// (2003), whose relative error is below 1.15·10^-9, and that much more.
fn normal_quantile(tail: f64) -> f64 {
    let polynomial = |coefficients: &[f64], x: f64| coefficients.iter().fold(0.0, |sum, c| sum * x + c);
    let z = if tail < 0.02425 {
        let q = (-2.0 * tail.ln()).sqrt();
        let over = [
            -7.784894002430293e-3,
            -3.223964580411365e-1,
            -2.400758277161838,
            -2.549732539343734,
            4.374664141464968,
            2.938163982698783,
        ];
        let under = [7.784695709041462e-3, 3.224671290700398e-1, 2.445134137142996, 3.754408661907416, 1.0];
        -polynomial(&over, q) / polynomial(&under, q)
    } else {
        let q = 0.5 - tail;
        let over = [
            -3.969683028665376e1,
            2.209460984245205e2,
            -2.759285104469687e2,
            1.38357751867269e2,
            -3.066479806614716e1,
            2.506628277459239,
        ];
        let under = [
            -5.447609879822406e1,
            1.615858368580409e2,
            -1.556989798598866e2,
            6.680131188771972e1,
            -1.328068155288572e1,
            1.0,
        ];
        q * polynomial(&over, q * q) / polynomial(&under, q * q)
    };
    z * (1.0 + 2e-9)
}

/// A statistic with its noise: a whole number of 1/scale.
#[derive(Debug, Clone, PartialEq)]
pub struct Noisy {
    /// The statistic and its noise, in units of 1/scale.
    pub value: i128,
    /// 1, or [`crate::sensitivity::WEIGHTED`] where contributions are weighted.
    pub scale: u32,
    /// The noise in it, in the same units.
    pub noise: Noise,
}

impl Noisy {
    /// A statistic of which noise of this law was added.
    pub fn new(value: i128, scale: u32, noise: Noise) -> Noisy {
        Noisy { value, scale: scale.max(1), noise }
    }

    /// The sum with the same statistic of another site.
    pub fn plus(&self, other: &Noisy) -> Noisy {
        let scale = self.scale.max(other.scale);
        let (a, b) = (self.at_scale(scale), other.at_scale(scale));
        Noisy { value: a.value.saturating_add(b.value), scale, noise: a.noise.plus(&b.noise) }
    }

    /// All of it times a whole number.
    pub fn times(&self, factor: i128) -> Noisy {
        Noisy { value: self.value.saturating_mul(factor), scale: self.scale, noise: self.noise.times(factor as f64) }
    }

    /// In finer units. Scales are powers of two.
    fn at_scale(&self, scale: u32) -> Noisy {
        Noisy { scale, ..self.times(i128::from(scale / self.scale.max(1))) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The probabilities of −n … n, summed numerically to far beyond any half-width.
    fn probabilities(law: Law, n: i32) -> Vec<f64> {
        let weight = |x: i32| match law {
            Law::Laplace { scale } => (-f64::from(x.abs()) / scale).exp(),
            Law::Gaussian { sigma } => (-f64::from(x).powi(2) / (2.0 * sigma * sigma)).exp(),
        };
        let weights: Vec<f64> = (-n..=n).map(weight).collect();
        let whole: f64 = weights.iter().sum();
        weights.into_iter().map(|w| w / whole).collect()
    }

    fn convolve(a: &[f64], b: &[f64]) -> Vec<f64> {
        let mut sum = vec![0.0; a.len() + b.len() - 1];
        for (i, x) in a.iter().enumerate() {
            for (j, y) in b.iter().enumerate() {
                sum[i + j] += x * y;
            }
        }
        sum
    }

    /// P(|X| > h) of a sum of draws, times factors that are whole numbers.
    fn exceeds(noise: &Noise, h: f64) -> f64 {
        let mut sum = vec![1.0];
        for (factor, law) in &noise.terms {
            let spread = 30.0 * law.variance().sqrt().max(0.5);
            let p = probabilities(*law, spread as i32 + 3);
            let by = *factor as usize;
            let mut stretched = vec![0.0; (p.len() - 1) * by + 1];
            p.iter().enumerate().for_each(|(i, x)| stretched[i * by] = *x);
            sum = convolve(&sum, &stretched);
        }
        let middle = (sum.len() / 2) as f64;
        sum.iter().enumerate().filter(|(i, _)| (*i as f64 - middle).abs() > h).map(|(_, p)| p).sum()
    }

    #[test]
    fn quantiles_are_those_of_tables() {
        for (tail, z) in
            [(0.025, 1.959963984540054), (0.005, 2.575829303548901), (0.4, 0.2533471031357997), (1e-9, 5.997807015)]
        {
            let ours = normal_quantile(tail);
            assert!(ours >= z && ours < z * (1.0 + 1e-8), "{tail}: {ours}");
        }
    }

    #[test]
    fn one_laplace_is_exact() {
        for scale in [0.1, 0.3, 1.0, 7.5] {
            for miss in [0.5, 0.05, 0.001] {
                let h = Noise::laplace(scale).half_width(miss);
                assert!(exceeds(&Noise::laplace(scale), h) <= miss * (1.0 + 1e-9), "{scale} {miss}");
                assert!(
                    h == 0.0 || exceeds(&Noise::laplace(scale), h - 1.0) > miss,
                    "{scale} {miss}: {h} is more than needed"
                );
            }
        }
    }

    #[test]
    fn factors_and_sums() {
        let one = Noise::laplace(5.0);
        assert_eq!(one.times(3.0).half_width(0.05), 3.0 * one.half_width(0.05));
        assert_eq!(Noise::none().half_width(0.05), 0.0);
        assert_eq!(one.times(0.0), Noise::none());
        // Ten sites are not ten times as far off as one.
        let ten = (0..9).fold(one.clone(), |sum, _| sum.plus(&one));
        assert!(ten.half_width(0.05) < 2.5 * one.deviation() * 10f64.sqrt());
        assert!((ten.deviation() / one.deviation() - 10f64.sqrt()).abs() < 1e-9);
        // Nor is a sum of factors as far off as all of them together.
        let mixed = Noise::gaussian(50.0).times(3.0).plus(&Noise::gaussian(100.0).times(2.0));
        assert!(mixed.half_width(0.05) < 2.05 * mixed.deviation());
    }

    #[test]
    fn sites_add_up_in_the_finer_unit() {
        let a = Noisy::new(7, 1, Noise::laplace(2.0));
        let b = Noisy::new(-1024, 1024, Noise::gaussian(100.0));
        let sum = a.plus(&b);
        assert_eq!((sum.value, sum.scale), (6 * 1024, 1024));
        assert_eq!(sum.noise, Noise::laplace(2.0).times(1024.0).plus(&Noise::gaussian(100.0)));
        assert_eq!(sum, Noisy { noise: sum.noise.clone(), ..b.plus(&a) });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Against the exact distribution, summed numerically.
        #[test]
        fn noise_is_within_its_half_width(
            laplace in prop::collection::vec((0.2..6.0f64, 1u8..4), 0..3), gaussian in prop::collection::vec((0.2..6.0f64, 1u8..4), 0..3),
            miss in prop::sample::select(vec![0.3, 0.05, 0.01, 1e-4]), equal in any::<bool>(),
        ) {
            let factor = |f: u8| if equal { 1.0 } else { f64::from(f) };
            let mut noise = Noise::none();
            laplace.iter().for_each(|(b, f)| noise = noise.plus(&Noise::laplace(*b).times(factor(*f))));
            gaussian.iter().for_each(|(s, f)| noise = noise.plus(&Noise::gaussian(*s).times(factor(*f))));
            let h = noise.half_width(miss);
            prop_assert!(exceeds(&noise, h) <= miss * (1.0 + 1e-9), "{} at {h}", exceeds(&noise, h));
        }
    }
}
