//! The durable, hash-chained log of a run.
//!
//! One thread owns the file: it takes all queued records, encodes them, chains them, writes once,
//! syncs once, and says how far it is durable. Not known here: what events mean; only `replay` asks
//! the core.

pub mod codec;
pub mod replay;
pub mod rundir;
pub mod store;

// API that the runner builds on (JOURNAL helper):
//
// pub struct Journal;
// impl Journal {
//     /// Opens for appending after a replay (or creates); takes the run's lock.
//     pub fn create(dir: &RunDir, graph: Arc<Graph>) -> Result<Journal, JournalError>;
//     pub fn resume(dir: &RunDir) -> Result<(Journal, replay::Replayed), JournalError>;
//     /// Never waits, never fails; hands out the number.
//     pub fn append(&mut self, at: Timestamp, event: Event) -> Record;
//     /// Waits until something more is durable; the highest durable number.
//     pub async fn synced(&mut self) -> Result<Seq, Lost>;
//     pub fn durable(&self) -> Seq;
// }
// pub struct Lost(String): the file failed; no more deeds, exit 5.
