//! Rounds, medians, and single calls between two readings of the clock.

use std::time::Instant;

use anyhow::Result;

/// What was measured in each round.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn push(&mut self, sample: f64) {
        self.0.push(sample);
    }

    pub(crate) fn median(&self) -> f64 {
        quantile(&mut self.0.clone(), 0.5)
    }

    /// The median of the ratios of each round: what slows a whole round down doesn't count.
    pub(crate) fn over(&self, other: &Self) -> f64 {
        let ratios = self.0.iter().zip(&other.0).map(|(one, other)| one / other);
        quantile(&mut ratios.collect::<Vec<_>>(), 0.5)
    }
}

fn quantile(samples: &mut [f64], share: f64) -> f64 {
    samples.sort_unstable_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a length"
    )]
    let place = ((samples.len() - 1) as f64 * share).round() as usize;
    samples[place]
}

/// Runs all contestants in each round, another one first each time; each tells what it measured.
pub(crate) fn rounds<const N: usize>(
    count: usize,
    mut run: impl FnMut(usize, usize) -> Result<f64>,
) -> Result<[Samples; N]> {
    let mut samples = std::array::from_fn(|_| Samples::default());
    for round in 0..count {
        for turn in 0..N {
            let contestant = (round + turn) % N;
            samples[contestant].push(run(round, contestant)?);
        }
    }
    Ok(samples)
}

/// Nanoseconds an item that a loop takes.
pub(crate) fn each(items: usize, with: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    with();
    begun.elapsed().as_nanos() as f64 / items as f64
}

/// Nanoseconds of single calls.
#[derive(Clone, Debug)]
pub(crate) struct Latencies(Vec<f64>);

impl Latencies {
    /// Each call between two readings of the clock, which on `x86_64` wait until all earlier reads are done.
    pub(crate) fn of<T>(items: &[T], mut call: impl FnMut(&T)) -> Self {
        let times = items.iter().map(|item| {
            let begun = Instant::now();
            call(item);
            begun.elapsed().as_nanos() as f64
        });
        Self(times.collect())
    }

    pub(crate) fn from_nanos(times: Vec<f64>) -> Self {
        Self(times)
    }

    pub(crate) fn quantile(&mut self, share: f64) -> f64 {
        quantile(&mut self.0, share)
    }
}
