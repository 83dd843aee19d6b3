//! Numbers that look drawn: splitmix64 (Steele, Lea and Flood 2014), a stream for each execution.
//!
//! Own code, because the same seed has to give the same page for years, whatever a library changes.
//! Good for durations, not for secrets.

/// A stream of numbers.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

fn mixed(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Random {
    /// The stream of that number: streams of one seed have nothing to do with each other.
    pub(super) fn stream(seed: u64, number: u64) -> Self {
        Self(mixed(mixed(seed.wrapping_add(STEP)) ^ number.wrapping_mul(STEP)))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mixed(self.0)
    }

    /// One of `0..=most`, each as likely as the others (to one part in 2^64 / `most`).
    pub(super) fn up_to(&mut self, most: u64) -> u64 {
        let next = self.next();
        let Some(count) = most.checked_add(1) else { return next };
        ((u128::from(next) * u128::from(count)) >> 64) as u64
    }

    /// Whether something happens that happens in this share of the cases.
    pub(super) fn happens(&mut self, share: f64) -> bool {
        // 53 bits are all that a double holds.
        ((self.next() >> 11) as f64) * (0.5_f64).powi(53) < share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_numbers_are_those_of_the_paper() {
        let mut random = Random(0);
        assert_eq!(random.next(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(random.next(), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn a_draw_keeps_its_bounds_and_reaches_both() {
        let mut random = Random::stream(1, 1);
        let drawn: Vec<u64> = (0..1000).map(|_| random.up_to(9)).collect();
        assert!(drawn.iter().all(|n| *n <= 9));
        for wanted in 0..=9 {
            let count = drawn.iter().filter(|n| **n == wanted).count();
            assert!((60..=140).contains(&count), "{wanted} came {count} times of 1000");
        }
        assert_eq!(random.up_to(0), 0);
        let _ = random.up_to(u64::MAX);
    }

    #[test]
    fn streams_differ_and_shares_are_kept() {
        assert_ne!(Random::stream(1, 1).next(), Random::stream(1, 2).next());
        assert_ne!(Random::stream(1, 1).next(), Random::stream(2, 1).next());
        let mut random = Random::stream(7, 0);
        let count = (0..10_000).filter(|_| random.happens(0.25)).count();
        assert!((2300..=2700).contains(&count), "{count} of 10000");
        assert!(!random.happens(0.0) && random.happens(1.0));
    }
}
