//! The only clock of the program: wall time for people and the window, monotonic time for waits.
//!
//! Not known here: what is waited for. A wall clock may jump; order and timeouts never hang on it.

use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// How long a sleep trusts the wall clock before it looks again: a clock that is set while a run
/// waits for its window moves the wait with it.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How far wall and monotonic time may drift apart between two looks before it is called a jump.
const JUMP: SignedDuration = SignedDuration::from_secs(2);

/// A source of time.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    hands: Hands,
}

/// What a clock follows.
#[derive(Clone, Debug, Default)]
enum Hands {
    #[default]
    System,
    /// In tests: the wall clock stands at the first when the second is now, and follows it.
    #[cfg(test)]
    Bound(Timestamp, Instant),
    /// In a simulated world: seconds since 1970, set by the simulator.
    Set(Arc<AtomicI64>),
}

impl Clock {
    /// The system's clocks.
    pub fn system() -> Self {
        Self::default()
    }

    /// A wall clock that reads `now` now and follows tokio's clock, which a test may pause.
    #[cfg(test)]
    pub(crate) fn bound_to_tokio(now: Timestamp) -> Self {
        Self { hands: Hands::Bound(now, Instant::now()) }
    }

    /// A wall clock that reads these seconds since 1970, whoever sets them.
    pub(super) fn set_by(seconds: Arc<AtomicI64>) -> Self {
        Self { hands: Hands::Set(seconds) }
    }

    /// The wall clock.
    pub fn now(&self) -> Timestamp {
        match &self.hands {
            Hands::System => Timestamp::now(),
            Hands::Set(seconds) => {
                Timestamp::from_second(seconds.load(Ordering::Relaxed)).unwrap_or(Timestamp::MAX)
            }
            #[cfg(test)]
            Hands::Bound(start, begun) => {
                let passed =
                    SignedDuration::try_from(begun.elapsed()).unwrap_or(SignedDuration::MAX);
                start.saturating_add(passed).unwrap_or(Timestamp::MAX)
            }
        }
    }

    /// Sleeps until the wall clock reads `at`, however it is set meanwhile. Cancel-safe.
    pub async fn sleep_until(&self, at: Timestamp) {
        loop {
            let left = at.duration_since(self.now());
            match Duration::try_from(left) {
                Err(_) | Ok(Duration::ZERO) => return,
                Ok(left) => tokio::time::sleep(left.min(LOOK_AGAIN)).await,
            }
        }
    }
}

/// Notices when the wall clock jumps: compares it with the monotonic one from look to look.
#[derive(Debug)]
pub struct JumpWatch {
    clock: Clock,
    wall: Timestamp,
    monotonic: Instant,
}

impl JumpWatch {
    /// Starts comparing now.
    pub fn new(clock: Clock) -> Self {
        let wall = clock.now();
        Self { clock, wall, monotonic: Instant::now() }
    }

    /// How far the wall clock jumped since the last look, if it did. A suspended machine shows as a
    /// jump forwards.
    pub fn look(&mut self) -> Option<SignedDuration> {
        let (wall, monotonic) = (self.clock.now(), Instant::now());
        let by_wall = wall.duration_since(self.wall);
        let passed = monotonic.saturating_duration_since(self.monotonic);
        let by_monotonic = SignedDuration::try_from(passed).unwrap_or(SignedDuration::MAX);
        (self.wall, self.monotonic) = (wall, monotonic);
        let by = by_wall.saturating_sub(by_monotonic);
        (by.abs() >= JUMP).then_some(by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_sleep_ends_when_the_wall_clock_reads_the_instant() {
        let start: Timestamp = "2019-04-06T15:30:00Z".parse().expect("an instant");
        let clock = Clock::bound_to_tokio(start);
        let at = start + SignedDuration::from_hours(12);
        clock.sleep_until(at).await;
        assert!(clock.now() >= at && clock.now() < at + SignedDuration::from_secs(1));
        clock.sleep_until(start).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_wall_clock_that_is_set_is_noticed_once() {
        let start: Timestamp = "2019-04-06T15:30:00Z".parse().expect("an instant");
        let mut watch = JumpWatch::new(Clock::bound_to_tokio(start));
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(watch.look(), None);
        watch.clock = Clock::bound_to_tokio(start);
        assert_eq!(watch.look(), Some(SignedDuration::from_hours(-1)));
        assert_eq!(watch.look(), None);
    }
}
