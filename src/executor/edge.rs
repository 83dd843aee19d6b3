//! `edge.close` and `edge.open`: by the edge's HTTP admin API, proved by asking the edge itself.
//!
//! Put, read back, then the proof: every closed route answers its status, every open one answers as a
//! service that is there does, and what is protected still answers. Not known here: nginx (it comes
//! with the real estate).

use super::until::Until;
use super::{Context, Worked, admin, fill_line};
use crate::action::edge::{Close, Open};
use crate::estate::Edge;
use crate::event::{Ending, Outputs};
use crate::failure::Failure;
use serde_json::{Value, json};
use std::time::Duration;

/// How long an edge may take until its answers follow its settings.
const SETTLES: Duration = Duration::from_secs(10);
/// Between two looks.
const AGAIN: Duration = Duration::from_millis(100);

/// Routes of a line at an edge, and how they are to be.
struct Aim<'a> {
    edge: &'a Edge,
    site: &'a str,
    line: &'a str,
    routes: &'a [String],
    status: u16,
    open: bool,
}

pub(super) async fn close(close: &Close<String>, until: &Until, context: &Context) -> Worked {
    Aim::closed(close, context)?.set(until, context).await
}

pub(super) async fn open(open: &Open<String>, until: &Until, context: &Context) -> Worked {
    Aim::opened(open, context)?.set(until, context).await
}

pub(super) async fn is_closed(close: &Close<String>, until: &Until, context: &Context) -> Worked {
    Aim::closed(close, context)?.is(until).await
}

pub(super) async fn is_open(open: &Open<String>, until: &Until, context: &Context) -> Worked {
    Aim::opened(open, context)?.is(until).await
}

/// Whether a route of a line is open, says the edge, and the status that a client gets there.
/// Changes nothing.
pub(super) async fn standing(
    (site, line, route): (&str, &str, &str),
    until: &Until,
    context: &Context,
) -> Result<(bool, u16), Ending> {
    let aim = Aim { edge: edge(site, context)?, site, line, routes: &[], status: 404, open: true };
    let url = aim.client_url(route)?;
    let state = admin::get(&aim.admin_url(route), until).await.map_err(Ending::Unknown)?;
    let open = state["open"].as_bool().ok_or_else(|| {
        let url = aim.admin_url(route);
        Ending::Unknown(Failure::in_doubt(format!("`{url}` does not say `open`: {state}")))
    })?;
    match ask(&url, until).await {
        Ok(status) => Ok((open, status)),
        Err(Wrong::Answers(failure) | Wrong::Silent(failure)) => Err(Ending::Unknown(failure)),
    }
}

/// Whether everything protected of a line answers at a site's edge. Changes nothing.
pub(super) async fn protected(
    (site, line): (&str, &str),
    until: &Until,
    context: &Context,
) -> Result<usize, Ending> {
    let aim = Aim { edge: edge(site, context)?, site, line, routes: &[], status: 404, open: true };
    match aim.look(until).await {
        Ok(()) => Ok(aim.edge.protected.len()),
        Err(Wrong::Answers(failure) | Wrong::Silent(failure)) => Err(Ending::Failed(failure)),
    }
}

/// What setting routes does, for people.
pub(super) fn describe(close: &Close<String>, open: bool, context: &Context) -> Vec<String> {
    let Close { site, line, routes, status } = close;
    let Ok(edge) = edge(site, context) else { return Vec::new() };
    let aim = Aim { edge, site, line, routes, status: *status, open };
    let body = aim.body();
    routes.iter().map(|route| format!("PUT {} {body}", aim.admin_url(route))).collect()
}

fn edge<'a>(site: &str, context: &'a Context) -> Result<&'a Edge, Ending> {
    let edge = context.site(site)?.edge.as_ref();
    edge.map(|edge| &edge.value)
        .ok_or_else(|| Ending::Failed(Failure::last(format!("site `{site}` has no edge"))))
}

impl<'a> Aim<'a> {
    fn closed(close: &'a Close<String>, context: &'a Context) -> Result<Self, Ending> {
        let edge = edge(&close.site, context)?;
        let Close { site, line, routes, status } = close;
        Ok(Self { edge, site, line, routes, status: *status, open: false })
    }

    fn opened(open: &'a Open<String>, context: &'a Context) -> Result<Self, Ending> {
        let edge = edge(&open.site, context)?;
        let Open { site, line, routes, status } = open;
        Ok(Self { edge, site, line, routes, status: *status, open: true })
    }

    async fn set(&self, until: &Until, context: &Context) -> Worked {
        // All names first: a typing error must not leave half of the routes closed.
        for route in self.routes {
            self.client_url(route)?;
        }
        let body = self.body();
        for route in self.routes {
            let verb = if self.open { "opening" } else { "closing" };
            context.doing(format!("{verb} `{route}` of `{}`", self.line));
            let url = self.admin_url(route);
            admin::put(&url, &body, |state| self.reads_right(state), until).await?;
        }
        context.doing(format!("asking the edge of `{}`", self.site));
        self.prove(until).await?;
        Ok(Outputs::new())
    }

    async fn is(&self, until: &Until) -> Worked {
        for route in self.routes {
            self.client_url(route)?;
            let state = admin::get(&self.admin_url(route), until).await.map_err(Ending::Unknown)?;
            if !self.reads_right(&state) {
                return Err(Ending::NotDone);
            }
        }
        match self.look(until).await {
            Ok(()) => Ok(Outputs::new()),
            Err(Wrong::Answers(_)) => Err(Ending::NotDone),
            Err(Wrong::Silent(failure)) => Err(Ending::Unknown(failure)),
        }
    }

    fn body(&self) -> Value {
        json!({ "open": self.open, "status": self.status })
    }

    fn reads_right(&self, state: &Value) -> bool {
        let status = state["status"].as_u64() == Some(u64::from(self.status));
        state["open"] == Value::Bool(self.open) && (self.open || status)
    }

    fn admin_url(&self, route: &str) -> String {
        format!("{}/routes/{route}/{}", self.edge.admin.trim_end_matches('/'), self.line)
    }

    fn client_url(&self, route: &str) -> Result<String, Ending> {
        let path = self.edge.routes.get(route).ok_or_else(|| {
            let known: Vec<&str> = self.edge.routes.keys().map(String::as_str).collect();
            Ending::Failed(Failure::last(format!(
                "the edge of `{}` has no route `{route}` (it has {})",
                self.site,
                known.join(", ")
            )))
        })?;
        Ok(self.at_edge(path))
    }

    fn at_edge(&self, path: &str) -> String {
        format!("{}{}", self.edge.url.trim_end_matches('/'), fill_line(path, Some(self.line)))
    }

    /// Whether a plain GET of an open route may be answered so. A service that wants credentials or
    /// another method says so itself; a gateway whose service is away (502), or a page elsewhere
    /// (302), is not open.
    fn is_open_answer(&self, status: u16) -> bool {
        status != self.status && matches!(status, 200..=299 | 401 | 405)
    }

    /// Asks until the answers are right, for as long as an edge may take.
    async fn prove(&self, until: &Until) -> Result<(), Ending> {
        let begun = tokio::time::Instant::now();
        loop {
            let wrong = match self.look(until).await {
                Ok(()) => return Ok(()),
                Err(Wrong::Answers(failure) | Wrong::Silent(failure)) => failure,
            };
            if begun.elapsed() > SETTLES {
                return Err(Ending::Failed(wrong));
            }
            until.pause(AGAIN).await.map_err(|ending| match ending {
                Ending::Failed(late) => {
                    let chain = [late.chain, wrong.chain].concat();
                    Ending::Failed(Failure { kind: late.kind, chain })
                }
                other => other,
            })?;
        }
    }

    /// One look at every route and at everything protected, as a client has it.
    async fn look(&self, until: &Until) -> Result<(), Wrong> {
        for route in self.routes {
            let Ok(url) = self.client_url(route) else { continue };
            let status = ask(&url, until).await?;
            let right = if self.open { self.is_open_answer(status) } else { status == self.status };
            if !right {
                let is = if self.open { "open" } else { "closed" };
                return Err(Wrong::Answers(Failure::transient(format!(
                    "route `{route}` of `{}` at `{}` is {is} and answers {status} to GET `{url}`",
                    self.line, self.site
                ))));
            }
        }
        for (service, path) in &self.edge.protected {
            let url = self.at_edge(path);
            let status = ask(&url, until).await?;
            if status != 200 {
                return Err(Wrong::Answers(Failure::transient(format!(
                    "protected `{service}` of `{}` at `{}` answers {status} instead of 200 to GET `{url}`",
                    self.line, self.site
                ))));
            }
        }
        Ok(())
    }
}

/// Why a look did not show what was wanted.
enum Wrong {
    Answers(Failure),
    Silent(Failure),
}

async fn ask(url: &str, until: &Until) -> Result<u16, Wrong> {
    match admin::page(url, until).await {
        Ok(reply) => Ok(reply.status),
        Err(error) => {
            let mut failure = admin::unanswered("GET", url, &error);
            failure.kind = crate::failure::FailureKind::Transient;
            Err(Wrong::Silent(failure))
        }
    }
}
