//! What fails how often: the shares of figure 1 of the paper, within each severity of its table 1.

use crate::detect::{Severity, Status};
use rand::Rng;
use rand::distr::weighted::WeightedIndex;
use rand_distr::Distribution;

/// The statuses that the paper puts into a severity, with their shares of its failures.
fn graded(severity: Severity) -> impl Iterator<Item = (Status, f64)> {
    // "Others" of figure 1 has a share and no severity in the paper.
    let statuses = Status::ALL.into_iter().filter(|status| *status != Status::Other);
    statuses
        .filter(move |status| status.severity() == Some(severity))
        .filter_map(|status| Some((status, status.share_of_failures()?)))
}

/// The share of a severity among the paper's failures, 0 to 1.
pub(super) fn share_of(severity: Severity) -> f64 {
    graded(severity).map(|(_, share)| share).sum()
}

/// Statuses of some severities, each as likely as the paper counted it.
#[derive(Debug)]
pub(super) struct Mix {
    kinds: Vec<(Status, Severity)>,
    weights: WeightedIndex<f64>,
}

impl Mix {
    /// The statuses of these severities.
    pub(super) fn of(severities: &[Severity]) -> Self {
        let (mut kinds, mut shares) = (Vec::new(), Vec::new());
        for &severity in severities {
            for (status, share) in graded(severity) {
                kinds.push((status, severity));
                shares.push(share);
            }
        }
        let weights = WeightedIndex::new(shares).expect("every severity has a status with a share");
        Self { kinds, weights }
    }

    /// One of them, with its severity.
    pub(super) fn draw(&self, rng: &mut impl Rng) -> (Status, Severity) {
        self.kinds[self.weights.sample(rng)]
    }
}

/// Whether a status is of one GPU or of the process on it, rather than of a node or a link.
pub(super) fn is_of_one_gpu(status: Status) -> bool {
    matches!(
        status,
        Status::EccError
            | Status::NvlinkError
            | Status::InvalidDmaMapping
            | Status::GpuDriverError
            | Status::GpuHardwareError
            | Status::SilentCorruption
            | Status::IllegalMemoryAccess
            | Status::CudaError
            | Status::ExitedAbnormally
            | Status::ConnectionRefused
            | Status::ConnectionReset
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn severities_have_the_shares_of_failures_that_the_paper_gives() {
        // Sums over figure 1 of the paper.
        for (severity, percent) in
            [(Severity::Sev1, 28.1), (Severity::Sev2, 15.7), (Severity::Sev3, 48.6)]
        {
            let share = 100.0 * share_of(severity);
            assert!((share - percent).abs() < 0.05, "{severity}: {share}");
        }
    }

    #[test]
    fn draws_follow_the_shares() {
        let mix = Mix::of(&[Severity::Sev2, Severity::Sev3]);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let draws: Vec<_> = (0..20_000).map(|_| mix.draw(&mut rng)).collect();
        assert!(draws.iter().all(|(_, severity)| *severity != Severity::Sev1));
        let share = |status| draws.iter().filter(|draw| draw.0 == status).count() as f64 / 20_000.0;
        // 10.1 % of all tasks, where SEV2 and SEV3 together are 27.9 %.
        let timeouts = share(Status::NcclTimeout);
        assert!((timeouts - 10.1 / 27.9).abs() < 0.015, "{timeouts}");
    }
}
