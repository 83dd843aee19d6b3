//! The issuer of `tests/data/revocation/`, and a serial of it.

use cutover::guard::{Issuer, Serial};
use std::sync::OnceLock;

/// Unix seconds at which the fixtures were made.
pub(crate) const MADE_AT: i64 = 1_795_507_707;

/// Does it with both.
pub(crate) fn with<T>(ask: impl FnOnce(&Issuer, &Serial) -> T) -> T {
    static BOTH: OnceLock<(Issuer, Serial)> = OnceLock::new();
    let (issuer, serial) = BOTH.get_or_init(|| {
        let ca = include_bytes!("../tests/data/revocation/ca.der");
        let issuer = Issuer::from_der(ca, "ca".into()).expect("fixture");
        (issuer, Serial::from_hex("80aabb01").expect("hex"))
    });
    ask(issuer, serial)
}
