//! The guard's first verdicts: every question put once, by the guard itself, then it ends.
//!
//! Not known here: whether clients are sent to a provider; so not, what a verdict means for a plan.

use super::{Guard, GuardError, Pace, Said, Target};
use crate::event::Verdict;
use std::time::Duration;
use tokio::time::Instant;

/// Between two questions to one provider: below the thirty a second that it is asked at most.
const EVERY: Duration = Duration::from_millis(50);
/// Between two looks at how far it is, beside the words of the guard.
const LOOK: Duration = Duration::from_millis(50);

/// What the guard thinks of a target after a first turn around its questions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct First {
    /// `ocsp@to/ocsp-1[geotrust]`
    pub name: String,
    /// Its verdict; `Unknown` when there was none in time.
    pub verdict: Verdict,
    /// Right answers.
    pub answers: u64,
    /// Why, in the guard's words; empty without a verdict.
    pub why: String,
}

/// Starts the guard over these targets, waits until it has put every question of each at least once
/// and judged each, or `patience` is over, and ends it. In the order of the targets.
///
/// # Errors
/// Certificates that it cannot use; see [`Guard::spawn`].
pub async fn first_verdicts(
    targets: Vec<Target>,
    patience: Duration,
) -> Result<Vec<First>, GuardError> {
    let count = targets.len();
    let (handle, mut said) = Guard::spawn(targets, Pace { every: EVERY, recovery: 1 })?;
    let mut whys = vec![String::new(); count];
    let deadline = Instant::now() + patience;
    loop {
        let over = handle.stats().iter().all(|stats| {
            stats.questions == 0
                || stats.verdict != Verdict::Unknown
                    && stats.answers + stats.failures >= stats.questions as u64
        });
        if over || Instant::now() >= deadline {
            break;
        }
        match tokio::time::timeout(LOOK, said.recv()).await {
            Ok(Some(Said::Verdict { target, why, .. })) => whys[target] = why,
            Ok(Some(Said::Alive)) | Err(_) => {}
            // It is gone: what it found so far is all that there will be.
            Ok(None) => break,
        }
    }
    while let Ok(word) = said.try_recv() {
        if let Said::Verdict { target, why, .. } = word {
            whys[target] = why;
        }
    }
    let stats = handle.stats().into_iter().zip(whys);
    Ok(stats
        .map(|(stats, why)| First {
            name: stats.name,
            verdict: stats.verdict,
            answers: stats.answers,
            why,
        })
        .collect())
}
