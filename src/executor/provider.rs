//! `provider.enable` and `provider.disable`: whether clients are sent to a provider.

use super::switch::Found;
use super::until::Until;
use super::{Context, Worked};
use crate::action::provider::Provider;
use crate::event::Ending;
use crate::failure::Failure;

/// Sends clients to the provider, or away.
pub(super) async fn turn(
    provider: &Provider<String>,
    on: bool,
    until: &Until,
    context: &Context,
) -> Worked {
    find(provider, context)?.turn(on, until, context).await
}

/// Whether clients are sent there (or are not).
pub(super) async fn is(
    provider: &Provider<String>,
    on: bool,
    until: &Until,
    context: &Context,
) -> Worked {
    find(provider, context)?.is(on, until, context).await
}

/// `SERVICE@SITE/NAME`. Its commands run on its host, when the estate knows that host.
pub(super) fn find<'a>(
    provider: &Provider<String>,
    context: &'a Context,
) -> Result<Found<'a>, Ending> {
    let named = &provider.provider;
    let unknown = || Ending::Failed(Failure::last(format!("the estate has no provider `{named}`")));
    let (service, place) = named.split_once('@').ok_or_else(unknown)?;
    let (site_name, name) = place.split_once('/').ok_or_else(unknown)?;
    let site = context.site(site_name)?;
    let known = site.services.get(service).and_then(|service| service.providers.get(name));
    let known = &known.ok_or_else(unknown)?.value;
    let switch = known.switch.as_ref().ok_or_else(|| {
        Ending::Failed(Failure::last(format!(
            "provider `{named}` cannot be switched: the estate gives neither `admin` nor `enable` and `disable`"
        )))
    })?;
    let host = known.host.as_deref().unwrap_or(name);
    let at = site.hosts.contains_key(host).then(|| format!("{site_name}/{host}"));
    Ok(Found { name: named.clone(), switch, line: provider.line.clone(), at })
}
