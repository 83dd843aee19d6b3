//! When an attempt must end: its deadline and the runner's stop, handled once for all executors.
//!
//! Not known here: what is being done, and what its end means for the step.

use crate::event::Ending;
use crate::failure::Failure;
use std::future::pending;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

/// Why an attempt is cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The runner asked for it.
    Stop,
    /// Its deadline passed.
    Deadline,
}

/// The limits of one attempt. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Until {
    timeout: Option<Duration>,
    deadline: Option<Instant>,
    stop: watch::Receiver<bool>,
}

impl Until {
    /// The clock starts now. A timeout too large for the clock is none.
    pub(crate) fn new(timeout: Option<Duration>, stop: watch::Receiver<bool>) -> Self {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        Self { timeout, deadline, stop }
    }

    /// Resolves when the attempt must end; never before.
    pub(crate) async fn cut(&self) -> Cut {
        let mut stop = self.stop.clone();
        let stopped = async {
            // Nobody is left who could ask: then only the deadline counts.
            if stop.wait_for(|stop| *stop).await.is_err() {
                pending::<()>().await;
            }
        };
        let late = async {
            match self.deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            () = stopped => Cut::Stop,
            () = late => Cut::Deadline,
        }
    }

    /// Whether the attempt must end now.
    pub(crate) fn reached(&self) -> Option<Cut> {
        if *self.stop.borrow() {
            return Some(Cut::Stop);
        }
        self.deadline.filter(|deadline| Instant::now() >= *deadline).map(|_| Cut::Deadline)
    }

    /// `Ok` while the attempt may go on. To be asked where stopping leaves a known state.
    pub(crate) fn go_on(&self) -> Result<(), Ending> {
        self.reached().map_or(Ok(()), |cut| Err(self.ending(cut)))
    }

    /// The ending of an attempt that was cut where its state is known: half-done, not in doubt.
    pub(crate) fn ending(&self, cut: Cut) -> Ending {
        match cut {
            Cut::Stop => Ending::Stopped,
            Cut::Deadline => Ending::Failed(Failure::timed_out(self.too_late())),
        }
    }

    /// Says how long it was given.
    pub(crate) fn too_late(&self) -> String {
        match self.timeout {
            Some(timeout) => format!("not done within its timeout of {timeout:?}"),
            None => "not done in time".to_owned(),
        }
    }

    /// The time left, `at_most` at most.
    pub(crate) fn left(&self, at_most: Duration) -> Duration {
        match self.deadline {
            Some(deadline) => deadline.saturating_duration_since(Instant::now()).min(at_most),
            None => at_most,
        }
    }

    /// Sleeps, unless the attempt must end before.
    pub(crate) async fn pause(&self, pause: Duration) -> Result<(), Ending> {
        tokio::select! {
            biased;
            cut = self.cut() => Err(self.ending(cut)),
            () = sleep(pause) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::FailureKind;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_cuts_and_says_how_long_it_was_given() {
        let (_stop, stopped) = watch::channel(false);
        let until = Until::new(Some(Duration::from_secs(7)), stopped);
        assert_eq!(until.go_on(), Ok(()));
        assert_eq!(until.left(Duration::from_secs(60)), Duration::from_secs(7));
        assert_eq!(until.cut().await, Cut::Deadline);
        let Err(Ending::Failed(failure)) = until.go_on() else { panic!("still going") };
        assert_eq!(failure.kind, FailureKind::TimedOut);
        assert!(failure.to_string().contains("7s"), "{failure}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_beats_a_sleep_and_a_lost_stopper_stops_nothing() {
        let (stop, stopped) = watch::channel(false);
        let until = Until::new(None, stopped);
        let pausing = until.pause(Duration::from_secs(3600));
        stop.send(true).expect("the receiver lives");
        assert_eq!(pausing.await, Err(Ending::Stopped));

        let (stop, stopped) = watch::channel(false);
        let until = Until::new(Some(Duration::from_secs(1)), stopped);
        drop(stop);
        assert_eq!(until.cut().await, Cut::Deadline);
    }
}
