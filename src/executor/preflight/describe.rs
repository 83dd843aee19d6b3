//! What carrying an action out does, as a person would type it.
//!
//! Not known here: whether it is a do, an undo or a check.

use super::super::process::shown;
use super::super::{Context, edge, provider, role};
use crate::action::{Action, database, edge as routes, orders};
use crate::estate::Database;
use std::collections::BTreeMap;

/// What an action does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Described {
    /// `SITE/HOST`; none: on the runner's machine.
    pub host: Option<String>,
    /// One command, request or sentence a line. Secrets stand as references.
    pub does: Vec<String>,
}

/// Describes an action. Names that the estate does not know stay names.
pub fn describe(action: &Action<String>, context: &Context) -> Described {
    let here = |does: Vec<String>| Described { host: None, does };
    match action {
        Action::Run(run) => {
            let text = format!("{}{}", values(&run.env), shown(&run.argv));
            Described { host: run.at.clone(), does: vec![text] }
        }
        Action::Script(script) => {
            let lines = script.text.lines().map(str::to_owned);
            let first = format!("{}sh -eu <<'SCRIPT'", values(&script.env));
            let does = [first].into_iter().chain(lines).chain(["SCRIPT".to_owned()]).collect();
            Described { host: script.at.clone(), does }
        }
        Action::Http(http) => {
            let headers = http.headers.iter().map(|(name, value)| format!("{name}: {value}"));
            let first = format!("{} {}", http.method, http.url);
            here([first].into_iter().chain(headers).chain(http.body.clone()).collect())
        }
        Action::EdgeClose(close) => here(edge::describe(close, false, context)),
        Action::EdgeOpen(routes::Open { site, line, routes, status }) => {
            let (site, line, routes) = (site.clone(), line.clone(), routes.clone());
            let open = routes::Close { site, line, routes, status: *status };
            here(edge::describe(&open, true, context))
        }
        Action::DatabaseSnapshot(it) => here(vec![one("restore point of", it, context)]),
        Action::DatabaseDropSnapshot(it) => here(vec![one("drop restore point of", it, context)]),
        Action::DatabaseTransfer(it) => {
            here(vec![both("copy", &it.from, &it.to, &it.database, context)])
        }
        Action::DatabaseDiscard(it) => {
            let target = place(&it.to, &it.database, context);
            here(vec![format!("drop our copy in {target}")])
        }
        Action::DatabaseVerify(database::Verify { from, to, database }) => {
            here(vec![both("compare", from, to, database, context)])
        }
        Action::OrdersPause(orders::Pause { site, line }) => {
            here(vec![format!("pause the queue of `{line}` in {}", place(site, line, context))])
        }
        Action::OrdersResume(orders::Resume { site, line, rate }) => {
            let place = place(site, line, context);
            here(vec![format!("resume the queue of `{line}` in {place}, {rate}/s")])
        }
        Action::ProviderEnable(it) => switched(provider::find(it, context).ok(), true),
        Action::ProviderDisable(it) => switched(provider::find(it, context).ok(), false),
        Action::RolePromote(it) => switched(role::find(it, context).ok(), true),
        Action::RoleFence(it) => switched(role::find(it, context).ok(), false),
        Action::Notify(it) => {
            here(vec![format!("send {} to {}", it.notice.display(), it.to.join(", "))])
        }
        Action::Manual(it) => {
            let by = if it.by.is_empty() { "anyone".to_owned() } else { it.by.join(" or ") };
            here(vec![format!("{} of {by}: {}", it.people, it.how)])
        }
    }
}

fn switched(found: Option<super::super::switch::Found<'_>>, on: bool) -> Described {
    found.map_or_else(Described::default, |found| Described {
        does: vec![found.describe(on)],
        host: found.at,
    })
}

/// `NAME=value ` for each.
fn values(env: &BTreeMap<String, String>) -> String {
    env.iter()
        .map(|(name, value)| format!("{name}={} ", shown(std::slice::from_ref(value))))
        .collect()
}

fn one(what: &str, it: &database::Snapshot<String>, context: &Context) -> String {
    format!("{what} {}", place(&it.site, &it.database, context))
}

fn both(what: &str, from: &str, to: &str, name: &str, context: &Context) -> String {
    format!("{what} {} -> {}", place(from, name, context), place(to, name, context))
}

/// Where a database is.
fn place(site: &str, name: &str, context: &Context) -> String {
    let site_found = context.estate.sites.get(site);
    match site_found.and_then(|site| site.databases.get(name)).map(|known| &known.value) {
        Some(Database::Sqlite(path)) => path.display().to_string(),
        Some(Database::Postgres { conninfo, .. }) => format!("postgres `{conninfo}`"),
        None => format!("`{name}` at `{site}`"),
    }
}
