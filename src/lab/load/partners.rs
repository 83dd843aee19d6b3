//! Partners: each line has one who orders, checks an earlier order and fetches a certificate, over
//! and over. Each request goes to the edge of `from` first, then to that of `to`.

use super::Clients;
use super::record::{Acknowledged, ApiCall};
use crate::lab::{SITES, now_ms, state};
use crate::net::Ask;
use futures_util::future::join_all;
use hyper::Method;
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Between two rounds of a partner, at the usual load.
const ROUND: Duration = Duration::from_millis(1_500);
/// So many orders are remembered to be asked for.
const REMEMBERED: usize = 200;

/// Runs all partners until dropped.
pub(super) async fn run(clients: &Arc<Clients>) {
    let lines = clients.options.lines.clone();
    let count = lines.len().max(1) as u32;
    let partners = lines.into_iter().zip(0u32..).map(|(line, number)| {
        let (clients, mut partner) = (Arc::clone(clients), Partner::new(line));
        let round = ROUND.div_f64(clients.options.load.clamp(0.01, 100.0));
        async move {
            // One after the other, so that they do not all ask in the same moment.
            tokio::time::sleep(round * number / count).await;
            let mut every = tokio::time::interval(round);
            every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                every.tick().await;
                partner.round(&clients).await;
            }
        }
    });
    join_all(partners).await;
}

struct Partner {
    line: String,
    made: u64,
    /// An order of which it is not known whether it was taken in: it is sent again as it was.
    unsure: Option<String>,
    /// Acknowledged, not yet fulfilled as far as known.
    open: VecDeque<String>,
}

/// What came of asking both edges.
enum Came {
    /// An answer of success, and its body.
    Answer(Value),
    /// Neither edge took it.
    Refused,
    /// A request was sent, no answer came: it may have been taken.
    Unsure,
}

impl Partner {
    fn new(line: String) -> Self {
        Self { line, made: 0, unsure: None, open: VecDeque::new() }
    }

    async fn round(&mut self, clients: &Clients) {
        let order_id = self.unsure.take().unwrap_or_else(|| {
            self.made += 1;
            // The process's number keeps apart what an earlier load of the same lab ordered.
            format!("partner-{}-{}-{}", self.line, std::process::id(), self.made)
        });
        let body = serde_json::json!({ "order_id": order_id }).to_string();
        match self.ask(clients, Method::POST, "order", "", body).await {
            Came::Answer(_) => {
                let (line, order_id) = (self.line.clone(), order_id);
                let order = Acknowledged { line, order_id: order_id.clone(), serial: None };
                state::lock(&clients.record).order(&order);
                self.open.push_back(order_id);
                if self.open.len() > REMEMBERED {
                    self.open.pop_front();
                }
            }
            Came::Refused => {}
            Came::Unsure => self.unsure = Some(order_id),
        }
        let Some(order_id) = self.open.pop_front() else {
            // Nothing of its own to ask for: an order that was there before.
            let seeded = crate::lab::store::order_id(&self.line, self.made % 7);
            self.ask(clients, Method::GET, "order-status", &seeded, String::new()).await;
            self.ask(clients, Method::GET, "fulfilment", &seeded, String::new()).await;
            return;
        };
        self.ask(clients, Method::GET, "order-status", &order_id, String::new()).await;
        let came = self.ask(clients, Method::GET, "fulfilment", &order_id, String::new()).await;
        let serial = match &came {
            Came::Answer(answer) => answer["serial"].as_str().map(str::to_owned),
            Came::Refused | Came::Unsure => None,
        };
        if serial.is_some() {
            let order = Acknowledged { line: self.line.clone(), order_id, serial };
            state::lock(&clients.record).order(&order);
        } else {
            self.open.push_back(order_id);
        }
    }

    async fn ask(
        &self,
        clients: &Clients,
        method: Method,
        route: &str,
        order_id: &str,
        body: String,
    ) -> Came {
        let mut unsure = false;
        for site in SITES {
            let Some(edge) = clients.addresses.get(&format!("{site}/edge-1")) else { continue };
            let tail = if order_id.is_empty() { String::new() } else { format!("/{order_id}") };
            let url = format!("{edge}/{}/{route}{tail}", self.line);
            let ask = Ask::with_body(method.clone(), url, "application/json", body.clone());
            let at = now_ms();
            let came = clients.ask(ask).await;
            let (status, why) = match &came {
                Ok(reply) => (reply.status, String::new()),
                Err(error) => (0, error.to_string()),
            };
            let (site, route, line) = (site.to_owned(), route.to_owned(), self.line.clone());
            let call = ApiCall { at, done: now_ms(), site, route, line, status, why };
            state::lock(&clients.record).api(&call);
            match came {
                Ok(reply) if (200..300).contains(&reply.status) => {
                    return Came::Answer(serde_json::from_slice(&reply.body).unwrap_or_default());
                }
                Ok(reply) => unsure |= reply.status == 502,
                Err(error) => unsure |= error.maybe_delivered(),
            }
        }
        if unsure { Came::Unsure } else { Came::Refused }
    }
}
