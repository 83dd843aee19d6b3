//! Every name looked up in the estate.

use super::shape::Shape;
use crate::estate::Estate;
use crate::plan::Plan;
use crate::text::fault::Fault;

/// Looks up every name.
pub(super) fn check(_: &Plan, _: &Shape, _: Option<&Estate>, _: &mut Vec<Fault>) {}

/// What makes a plan need an estate.
pub(super) fn needs_estate(_: &Plan) -> Option<String> {
    None
}
