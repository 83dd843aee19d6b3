//! What a step does, as a closed enum: the meaning of each action, not how it is carried out.
//!
//! Each action is two files: its meaning here (`action/x.rs`: arguments, undo, check, effects) and
//! its execution (`executor/x.rs`); one arm of [`Action`]; one row of [`TABLE`]. Not known here:
//! tokio, the estate's addresses, the state of a run.
//!
//! Actions are generic over their texts: `Action<Template>` is what the plan says (with `${{ }}`
//! inside), `Action<String>` is what one step does (every text filled).

pub mod database;
pub mod edge;
pub mod http;
pub mod manual;
mod meaning;
pub mod notify;
pub mod orders;
pub mod process;
pub mod provider;
pub mod role;

use crate::plan::Kind;
pub use meaning::Mention;

/// Everything that a step, an undo or a check can do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action<T> {
    /// `run: [argv]`: a command, no shell.
    Run(process::Run<T>),
    /// `script: |`: shell text; values come through `env:` only, so the text is never a template.
    Script(process::Script<T>),
    /// `http`: a request with what must come back.
    Http(http::Http<T>),
    /// `edge.close`
    EdgeClose(edge::Close<T>),
    /// `edge.open`
    EdgeOpen(edge::Open<T>),
    /// `database.snapshot`
    DatabaseSnapshot(database::Snapshot<T>),
    /// `database.drop-snapshot`: the undo of a snapshot.
    DatabaseDropSnapshot(database::Snapshot<T>),
    /// `database.transfer`
    DatabaseTransfer(database::Transfer<T>),
    /// `database.discard`: the undo of a transfer; drops at the target what is marked as ours.
    DatabaseDiscard(database::Transfer<T>),
    /// `database.verify`
    DatabaseVerify(database::Verify<T>),
    /// `orders.pause`
    OrdersPause(orders::Pause<T>),
    /// `orders.resume`
    OrdersResume(orders::Resume<T>),
    /// `provider.enable`
    ProviderEnable(provider::Provider<T>),
    /// `provider.disable`
    ProviderDisable(provider::Provider<T>),
    /// `role.fence`
    RoleFence(role::Role<T>),
    /// `role.promote`
    RolePromote(role::Role<T>),
    /// `notify`
    Notify(notify::Notify<T>),
    /// `manual`: a person does it. Begun and ended by people's requests; no executor sees it.
    Manual(manual::Manual<T>),
}

/// What a step takes from or gives to providers and roles (`ocsp@to/ocsp-1`, `writer@from/geotrust`).
/// It covers do, check and undo.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effects<T> {
    /// Down from the step's begin.
    pub loses: Vec<T>,
    /// Up from the step's end.
    pub gains: Vec<T>,
    /// Down from begin to end.
    pub disturbs: Vec<T>,
}

/// How a doubt about a step is settled.
#[derive(Clone, Debug, PartialEq)]
pub enum Check<T> {
    /// The built-in action asks the world by itself.
    BuiltIn,
    /// A command or request of the plan: exit 0 done, 1 not done, else unknown.
    By(Box<Action<T>>),
    /// Nothing: a person is asked (or `idempotent: true` repeats it).
    Nothing,
}

/// The way back of a step.
#[derive(Clone, Debug, PartialEq)]
pub enum Undo<T> {
    /// By this action, from any half-done state, any number of times.
    By(Box<Action<T>>),
    /// `undo: { none: REASON }`: nothing is to be undone, and why.
    Nothing(String),
    /// The plan says none: an error before the point of no return.
    Missing,
}

/// A row of the table of names: `do: { NAME: { ... } }`.
pub struct Row {
    /// As written in a plan.
    pub name: &'static str,
    /// The kind that a step of it has when it says none.
    pub kind: Kind,
    /// One line for the schema and for `cutover help`.
    pub about: &'static str,
}

impl Row {
    /// The row of that name.
    pub fn of(name: &str) -> Option<&'static Self> {
        TABLE.iter().find(|row| row.name == name)
    }
}

/// Every action's name.
pub const TABLE: &[Row] = &[
    Row { name: "run", kind: Kind::Task, about: "run a command, without a shell" },
    Row { name: "script", kind: Kind::Task, about: "run shell text; values come through env" },
    Row { name: "http", kind: Kind::Task, about: "make a request and require an answer" },
    Row { name: "edge.close", kind: Kind::Drain, about: "close routes of a line at a site's edge" },
    Row { name: "edge.open", kind: Kind::Reopen, about: "open routes of a line at a site's edge" },
    Row { name: "database.snapshot", kind: Kind::Snapshot, about: "a consistent restore point" },
    Row { name: "database.drop-snapshot", kind: Kind::Task, about: "drop a restore point" },
    Row { name: "database.transfer", kind: Kind::Transfer, about: "copy a database to a site" },
    Row { name: "database.discard", kind: Kind::Task, about: "drop our copy at the target" },
    Row { name: "database.verify", kind: Kind::Verify, about: "compare both ends' contents" },
    Row { name: "orders.pause", kind: Kind::Drain, about: "stop issuing from a line's queue" },
    Row { name: "orders.resume", kind: Kind::Task, about: "issue again, oldest orders first" },
    Row { name: "provider.enable", kind: Kind::Switch, about: "send clients to a provider" },
    Row { name: "provider.disable", kind: Kind::Switch, about: "send clients elsewhere" },
    Row { name: "role.fence", kind: Kind::Switch, about: "take a role from its site" },
    Row { name: "role.promote", kind: Kind::Switch, about: "give a role to a site" },
    Row { name: "notify", kind: Kind::Notify, about: "send a notice to channels" },
    Row { name: "manual", kind: Kind::Task, about: "a person does it" },
];
