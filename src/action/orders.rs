//! `orders.pause` and `orders.resume`: a line's queue of orders. Each is the other's undo.

/// Nothing is issued from the line's queue any more.
#[derive(Clone, Debug, PartialEq)]
pub struct Pause<T> {
    /// Site.
    pub site: T,
    /// Product line.
    pub line: T,
}

/// Issues again, in order of submission, those from before the window first; ends when every order
/// from before is issued.
#[derive(Clone, Debug, PartialEq)]
pub struct Resume<T> {
    /// Site.
    pub site: T,
    /// Product line.
    pub line: T,
    /// Orders a second at most (`rate: 100/s`).
    pub rate: f64,
}
