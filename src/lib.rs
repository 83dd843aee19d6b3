//! cutover: a migration plan becomes a proved graph of steps that is run, undone and resumed while
//! protected services keep answering.
//!
//! The map of the house. A module imports only from its own group and from groups above it
//! (`tests/tidy.rs` reads the sources and enforces it).
//!
//! | group | modules | is ignorant of |
//! |---|---|---|
//! | TEXT | [`text`] | what a plan is |
//! | WORDS | [`event`], [`failure`] | whether an event is legal |
//! | PLAN | [`estate`], [`action`], [`plan`] | states of steps, tokio |
//! | GRAPH | [`graph`] | states, the world |
//! | CORE | [`run`], [`revocation`], [`health`], [`history`], [`proof`], [`load`] | clocks, files, sockets, tasks |
//! | JOURNAL | [`journal`] | what events mean (`replay` asks the core) |
//! | WORLD | [`net`], [`executor`], [`guard`], [`lane`] | graph, run |
//! | RUNNER | [`runner`] | how anything is done |
//! | PEOPLE | [`operator`], [`report`] | the runner's inside |
//! | LAB | [`lab`] | guard, runner, run |
//! | CLI | [`cli`] | |
//!
//! Data flows one way: text -> plan -> graph -> proof; graph + journal -> run; run -> commands ->
//! the world -> events -> journal -> run.

pub mod action;
pub mod cli;
pub mod estate;
pub mod event;
pub mod executor;
pub mod failure;
pub mod graph;
pub mod guard;
pub mod health;
pub mod history;
pub mod journal;
#[cfg(feature = "lab")]
pub mod lab;
pub mod lane;
pub mod load;
pub mod net;
pub mod operator;
pub mod plan;
pub mod proof;
pub mod report;
pub mod revocation;
pub mod run;
pub mod runner;
pub mod text;
