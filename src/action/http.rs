//! `http`: a request with what must come back.

use jiff::SignedDuration;
use std::collections::BTreeMap;

/// `http: { get: URL }` or `{ method:, url:, headers:, body:, expect: { status:, contains: } }`.
#[derive(Clone, Debug, PartialEq)]
pub struct Http<T> {
    /// `GET`, `POST`, `PUT`, `DELETE`, `HEAD`, `PATCH`.
    pub method: String,
    /// Where.
    pub url: T,
    /// Header name to value.
    pub headers: BTreeMap<String, T>,
    /// Body, when there is one.
    pub body: Option<T>,
    /// Accepted status codes; any 2xx when empty.
    pub status: Vec<u16>,
    /// Text that the answer's body must hold.
    pub contains: Option<T>,
    /// Keep asking until it comes back so, this often, within the step's timeout.
    pub every: Option<SignedDuration>,
}
