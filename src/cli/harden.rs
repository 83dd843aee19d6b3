//! Nothing of this process is left lying about: no core file, and no look into its memory or its
//! environment by others of the same user. What a step runs is not touched: a program that is started
//! may be dumped as its own limits say.

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};

/// To be called before anything secret is read. A refusal by the system is said and stops nothing.
pub(super) fn harden() {
    // The soft limit alone: a child may raise its own.
    let cores = Rlimit { current: Some(0), maximum: getrlimit(Resource::Core).maximum };
    let limited = setrlimit(Resource::Core, cores);
    if let Err(error) = limited.and_then(|()| set_dumpable_behavior(DumpableBehavior::NotDumpable))
    {
        super::err(&format!("warning: a core file of this process cannot be forbidden: {error}\n"));
    }
}
