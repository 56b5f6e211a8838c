//! The one sampler: opendp's exact algorithms on OpenSSL's private random bytes.

use std::num::NonZeroU64;

use opendp::traits::samplers::{
    sample_discrete_gaussian, sample_discrete_laplace, sample_from_uniform_bytes, sample_uniform_uint_below,
};

use super::{NoiseFailed, Sampler, Scale, fits};

/// Draws by opendp's `sample_discrete_laplace` and `sample_discrete_gaussian`, whose proofs stand beside their code, with `RAND_priv_bytes` of OpenSSL as the
/// source of bits. It has no state of its own and takes no seed.
#[derive(Debug, Clone, Copy, Default)]
pub struct OpenDp;

impl Sampler for OpenDp {
    fn laplace(&mut self, scale: &Scale) -> Result<i128, NoiseFailed> {
        fits(sample_discrete_laplace(scale.as_rational().clone()).map_err(|_| NoiseFailed::Generator)?)
    }

    fn gaussian(&mut self, scale: &Scale) -> Result<i128, NoiseFailed> {
        fits(sample_discrete_gaussian(scale.as_rational().clone()).map_err(|_| NoiseFailed::Generator)?)
    }

    fn word(&mut self) -> Result<u64, NoiseFailed> {
        sample_from_uniform_bytes::<u64, 8>().map_err(|_| NoiseFailed::Generator)
    }

    fn below(&mut self, bound: NonZeroU64) -> Result<u64, NoiseFailed> {
        sample_uniform_uint_below::<u64, 8>(bound.get()).map_err(|_| NoiseFailed::Generator)
    }
}
