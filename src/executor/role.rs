//! `role.fence` and `role.promote`: who holds a role, by the estate's commands or admin URL.

use super::switch::Found;
use super::until::Until;
use super::{Context, Worked};
use crate::action::role::Role;
use crate::event::Ending;
use crate::failure::Failure;

/// Gives the role to its site, or takes it away.
pub(super) async fn turn(
    role: &Role<String>,
    on: bool,
    until: &Until,
    context: &Context,
) -> Worked {
    find(role, context)?.turn(on, until, context).await
}

/// Whether its site holds the role (or does not).
pub(super) async fn is(role: &Role<String>, on: bool, until: &Until, context: &Context) -> Worked {
    find(role, context)?.is(on, until, context).await
}

/// `ROLE@SITE/LINE`, or `ROLE@SITE` for all lines.
pub(super) fn find<'a>(role: &Role<String>, context: &'a Context) -> Result<Found<'a>, Ending> {
    let named = &role.role;
    let unknown = || Ending::Failed(Failure::last(format!("the estate has no role `{named}`")));
    let (name, place) = named.split_once('@').ok_or_else(unknown)?;
    let (site, line) = match place.split_once('/') {
        Some((site, line)) => (site, Some(line.to_owned())),
        None => (place, None),
    };
    let switch = context.site(site)?.roles.get(name).ok_or_else(unknown)?;
    Ok(Found { name: named.clone(), switch: &switch.value, line, at: None })
}
