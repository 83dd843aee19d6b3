//! An action with every text filled.
//!
//! Not known here: what the texts mean.

use crate::action::{
    Action, database, edge, http, manual, notify, orders, process, provider, role,
};
use crate::plan::template::Template;
use std::collections::BTreeMap;

/// Looks up what stands in a text.
pub(super) type Filler<'f> = dyn FnMut(&Template) -> Result<String, String> + 'f;

/// Fills every text of an action.
///
/// # Errors
/// The first look-up that found nothing.
pub(super) fn fill(
    action: &Action<Template>,
    f: &mut Filler<'_>,
) -> Result<Action<String>, String> {
    Ok(match action {
        Action::Run(run) => Action::Run(process::Run {
            argv: all(&run.argv, f)?,
            at: maybe(run.at.as_ref(), f)?,
            env: values(&run.env, f)?,
        }),
        Action::Script(script) => Action::Script(process::Script {
            text: script.text.clone(),
            at: maybe(script.at.as_ref(), f)?,
            env: values(&script.env, f)?,
        }),
        Action::Http(request) => Action::Http(http::Http {
            method: request.method.clone(),
            url: f(&request.url)?,
            headers: values(&request.headers, f)?,
            body: maybe(request.body.as_ref(), f)?,
            status: request.status.clone(),
            contains: maybe(request.contains.as_ref(), f)?,
            every: request.every,
        }),
        Action::EdgeClose(close) => Action::EdgeClose(edge::Close {
            site: f(&close.site)?,
            line: f(&close.line)?,
            routes: all(&close.routes, f)?,
            status: close.status,
        }),
        Action::EdgeOpen(open) => Action::EdgeOpen(edge::Open {
            site: f(&open.site)?,
            line: f(&open.line)?,
            routes: all(&open.routes, f)?,
            status: open.status,
        }),
        Action::DatabaseSnapshot(it) => Action::DatabaseSnapshot(snapshot(it, f)?),
        Action::DatabaseDropSnapshot(it) => Action::DatabaseDropSnapshot(snapshot(it, f)?),
        Action::DatabaseTransfer(it) => Action::DatabaseTransfer(transfer(it, f)?),
        Action::DatabaseDiscard(it) => Action::DatabaseDiscard(transfer(it, f)?),
        Action::DatabaseVerify(it) => Action::DatabaseVerify(database::Verify {
            from: f(&it.from)?,
            to: f(&it.to)?,
            database: f(&it.database)?,
        }),
        Action::OrdersPause(it) => {
            Action::OrdersPause(orders::Pause { site: f(&it.site)?, line: f(&it.line)? })
        }
        Action::OrdersResume(it) => Action::OrdersResume(orders::Resume {
            site: f(&it.site)?,
            line: f(&it.line)?,
            rate: it.rate,
        }),
        Action::ProviderEnable(it) => Action::ProviderEnable(provider_of(it, f)?),
        Action::ProviderDisable(it) => Action::ProviderDisable(provider_of(it, f)?),
        Action::RoleFence(it) => Action::RoleFence(role::Role { role: f(&it.role)? }),
        Action::RolePromote(it) => Action::RolePromote(role::Role { role: f(&it.role)? }),
        Action::Notify(it) => {
            Action::Notify(notify::Notify { notice: it.notice.clone(), to: all(&it.to, f)? })
        }
        Action::Manual(it) => Action::Manual(manual::Manual {
            by: it.by.clone(),
            people: it.people,
            how: f(&it.how)?,
            evidence_required: it.evidence_required,
        }),
    })
}

fn snapshot(
    it: &database::Snapshot<Template>,
    f: &mut Filler<'_>,
) -> Result<database::Snapshot<String>, String> {
    Ok(database::Snapshot { site: f(&it.site)?, database: f(&it.database)? })
}

fn transfer(
    it: &database::Transfer<Template>,
    f: &mut Filler<'_>,
) -> Result<database::Transfer<String>, String> {
    let (from, to, database) = (f(&it.from)?, f(&it.to)?, f(&it.database)?);
    Ok(database::Transfer { from, to, database, method: it.method })
}

fn provider_of(
    it: &provider::Provider<Template>,
    f: &mut Filler<'_>,
) -> Result<provider::Provider<String>, String> {
    Ok(provider::Provider { provider: f(&it.provider)?, line: maybe(it.line.as_ref(), f)? })
}

fn all(texts: &[Template], f: &mut Filler<'_>) -> Result<Vec<String>, String> {
    texts.iter().map(f).collect()
}

fn maybe(text: Option<&Template>, f: &mut Filler<'_>) -> Result<Option<String>, String> {
    text.map(f).transpose()
}

fn values(
    texts: &BTreeMap<String, Template>,
    f: &mut Filler<'_>,
) -> Result<BTreeMap<String, String>, String> {
    texts.iter().map(|(name, text)| Ok((name.clone(), f(text)?))).collect()
}
