//! Random plans, and the world that they are run in.

pub(crate) use cutover::runner::sim::{Dice, Reality as World, Truth, plan as graph};
