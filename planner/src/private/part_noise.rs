//! How a site tells coordinators what noise is in a count or a sum, so that what they merge has intervals.

use std::fmt;
use std::str::FromStr;

use kanon_privacy::noise;
use kanon_privacy::noisy::Noise;
use kanon_privacy::statistics::Finaliser;

use super::Question;
use super::mechanisms::Mechanisms;

/// The key of a field's metadata with the noise of a count or a sum, exactly: `laplace 12.5 in 0.01` is discrete Laplace noise of this scale, in
/// hundredths; for a sum that is computed from a count, `laplace 12.5 in 0.01 and laplace 2 in 1 times 55`; and `rounded` where it was rounded
/// to a whole number.
pub const NOISE_KEY: &str = "kanon.noise";

/// The noise in a count or a sum, in its own units.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PartNoise {
    own: Law,
    /// The noise of the count N in mid·N + S₁, and mid.
    of_count: Option<(Law, f64)>,
    /// Whether the answer is a rounded one.
    is_rounded: bool,
}

/// A whole number of steps, drawn by one of these laws.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Law {
    kind: Kind,
    /// The scale, σ for a Gaussian, in steps.
    scale: f64,
    step: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Laplace,
    Gaussian,
}

impl Law {
    fn of(noise: &noise::Noise, step: f64) -> Law {
        let kind = match noise {
            noise::Noise::Laplace(_) => Kind::Laplace,
            noise::Noise::Gaussian(_) => Kind::Gaussian,
        };
        Law { kind, scale: noise.scale().upper(), step }
    }

    fn noise(self) -> Noise {
        let steps = match self.kind {
            Kind::Laplace => Noise::laplace(self.scale),
            Kind::Gaussian => Noise::gaussian(self.scale),
        };
        steps.times(self.step)
    }
}

impl PartNoise {
    /// All of it.
    pub fn whole(&self) -> Noise {
        self.beside_count(0.0)
    }

    /// What is left of it when `times` the count that the sum is computed from is subtracted.
    pub fn beside_count(&self, times: f64) -> Noise {
        match self.of_count {
            Some((law, middle)) => self.own.noise().plus(&law.noise().times(middle - times)),
            None => self.own.noise(),
        }
    }

    /// Whether it is computed from a count.
    pub fn has_count(&self) -> bool {
        self.of_count.is_some()
    }

    /// How far rounding may have moved it.
    pub fn rounding(&self) -> f64 {
        if self.is_rounded { 0.5 } else { 0.0 }
    }
}

impl Mechanisms {
    /// The noise of a measure that is a count or a sum, by its place in the question.
    pub fn of_part(&self, question: &Question, measure: usize) -> Option<PartNoise> {
        let law =
            |place: usize, step: f64| Some(Law::of(self.noise.get(place)?, step / f64::from(self.bounding.scale())));
        let grid = |x: &usize| question.arguments.get(*x)?.grid.as_ref();
        // A sum of integers is one, but for a part.
        let is_part = question.is_part.get(measure).copied().unwrap_or(false);
        let is_rounded = |x: &usize| !is_part && question.arguments.get(*x).is_some_and(|argument| argument.is_integer);
        Some(match self.plan.finalisers().get(measure)? {
            Finaliser::Count(n) => {
                PartNoise { own: law(*n, 1.0)?, of_count: None, is_rounded: self.bounding.scale() > 1 }
            }
            Finaliser::Sum(x, s) => {
                PartNoise { own: law(*s, grid(x)?.step())?, of_count: None, is_rounded: is_rounded(x) }
            }
            Finaliser::SumFrom { of, count, centred } => {
                let grid = grid(of)?;
                let middle = grid.middle() as f64 * grid.step();
                PartNoise {
                    own: law(*centred, grid.step())?,
                    of_count: Some((law(*count, 1.0)?, middle)),
                    is_rounded: is_rounded(of),
                }
            }
            Finaliser::Average { .. } | Finaliser::Variance { .. } | Finaliser::Paired { .. } | Finaliser::Rank(_) => {
                return None;
            }
        })
    }
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Laplace => "laplace",
            Kind::Gaussian => "gaussian",
        };
        write!(f, "{kind} {} in {}", self.scale, self.step)
    }
}

impl fmt::Display for PartNoise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.own.fmt(f)?;
        if let Some((law, middle)) = &self.of_count {
            write!(f, " and {law} times {middle}")?;
        }
        if self.is_rounded { f.write_str(" rounded") } else { Ok(()) }
    }
}

/// A site said something else than noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the noise of a count or sum")]
pub struct NoPartNoise;

impl FromStr for PartNoise {
    type Err = NoPartNoise;

    fn from_str(text: &str) -> Result<PartNoise, NoPartNoise> {
        let positive = |text: &str| {
            let number = text.parse::<f64>().ok().filter(|number| number.is_finite() && *number > 0.0);
            number.ok_or(NoPartNoise)
        };
        let law = |kind: &str, scale: &str, step: &str| {
            let kind = match kind {
                "laplace" => Kind::Laplace,
                "gaussian" => Kind::Gaussian,
                _ => return Err(NoPartNoise),
            };
            Ok(Law { kind, scale: positive(scale)?, step: positive(step)? })
        };
        let mut words: Vec<&str> = text.split(' ').collect();
        let is_rounded = words.pop_if(|word| *word == "rounded").is_some();
        let (own, of_count) = match words.as_slice() {
            [kind, scale, "in", step] => (law(kind, scale, step)?, None),
            [kind, scale, "in", step, "and", of_count, its_scale, "in", its_step, "times", middle] => {
                let middle = middle.parse::<f64>().ok().filter(|middle| middle.is_finite()).ok_or(NoPartNoise)?;
                (law(kind, scale, step)?, Some((law(of_count, its_scale, its_step)?, middle)))
            }
            _ => return Err(NoPartNoise),
        };
        Ok(PartNoise { own, of_count, is_rounded })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn laplace(scale: f64, step: f64) -> Law {
        Law { kind: Kind::Laplace, scale, step }
    }

    #[test]
    fn noise_is_read_as_it_was_written_and_what_is_none_is_refused() {
        let gaussian = Law { kind: Kind::Gaussian, scale: 1e300, step: 1.0 };
        for noise in [
            PartNoise { own: laplace(0.1 + 0.2, 1e-5), of_count: None, is_rounded: false },
            PartNoise { own: gaussian, of_count: None, is_rounded: true },
            PartNoise { own: laplace(12.5, 0.01), of_count: Some((gaussian, -55.5)), is_rounded: false },
        ] {
            assert_eq!(noise.to_string().parse(), Ok(noise));
        }
        for text in [
            "",
            "laplace",
            "laplace 1",
            "laplace 0 in 1",
            "laplace 1 in -1",
            "laplace NaN in 1",
            "laplace inf in 1",
            "uniform 1 in 1",
            "laplace 1 in 1 and laplace 2 in 1",
            "laplace 1 in 1 and laplace 2 in 1 times x",
            "rounded",
        ] {
            assert_eq!(text.parse::<PartNoise>(), Err(NoPartNoise), "{text}");
        }
    }

    #[test]
    fn what_is_centred_again_has_less_noise() {
        let of_count = Some((laplace(1.0, 1.0), 50.0));
        let sum = PartNoise { own: laplace(1.0, 1.0), of_count, is_rounded: false };
        assert!(sum.beside_count(50.0).deviation() < 1.5);
        assert!(sum.whole().deviation() > 50.0);
    }
}
