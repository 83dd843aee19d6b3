//! A site's order service, and its workers, which issue from the queue: one thread a line.
//!
//! Only the site that holds a line's `writer` takes orders of it in, or issues them.

use super::http::{Call, Reply};
use super::now_ms;
use super::store;
use super::world::World;
use hyper::Method;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// The host that the service runs on.
pub(super) const HOST: &str = "orders-1";

/// What a partner sends.
#[derive(Deserialize)]
struct Submission {
    order_id: String,
}

/// Answers `/{line}/order`, `/{line}/order-status/{order}`, `/{line}/fulfilment/{order}`. Blocks.
pub(super) fn answer(world: &World, site: &str, call: &Call) -> Reply {
    let mut parts = call.path.trim_start_matches('/').splitn(3, '/');
    let (line, route, order) = (parts.next(), parts.next(), parts.next());
    let Some(line) = line.filter(|line| world.options.lines.iter().any(|known| known == line))
    else {
        return Reply::text(404, "there is no such line");
    };
    let asked = order.filter(|order| !order.is_empty());
    match (&call.method, route.unwrap_or_default(), asked) {
        (&Method::POST, "order", None) => submit(world, site, line, &call.body),
        (&Method::GET, route @ ("order" | "order-status" | "fulfilment"), None) => {
            Reply::json(200, &json!({ "line": line, "service": route }))
        }
        (&Method::GET, "order-status", Some(order)) => found(world, site, line, order, false),
        (&Method::GET, "fulfilment", Some(order)) => found(world, site, line, order, true),
        (_, "order" | "order-status" | "fulfilment", _) => Reply::text(405, "not so"),
        _ => Reply::text(404, "there is no such service"),
    }
}

fn submit(world: &World, site: &str, line: &str, body: &[u8]) -> Reply {
    let order_id = match serde_json::from_slice::<Submission>(body) {
        Ok(submission) if (1..=100).contains(&submission.order_id.len()) => submission.order_id,
        Ok(_) => return Reply::text(400, "`order_id` has 1 to 100 octets"),
        Err(error) => return Reply::text(400, format!("wanted is {{\"order_id\":...}}: {error}")),
    };
    let taken = world.write(site, line, |db| {
        let new = store::submit(db, &order_id, now_ms())?;
        Ok((new, store::order(db, &order_id)?))
    });
    match taken {
        Ok(Some((new, Some(order)))) => Reply::json(
            if new { 201 } else { 200 },
            &json!({ "order_id": order_id, "seq": order.seq, "submitted_at": order.submitted_at }),
        ),
        Ok(Some((_, None))) => Reply::text(500, "the order was not kept"),
        Ok(None) => Reply::text(503, format!("`{site}` does not take orders of `{line}` now")),
        Err(error) => Reply::text(503, format!("{error:#}")),
    }
}

fn found(world: &World, site: &str, line: &str, order_id: &str, only_issued: bool) -> Reply {
    let looked =
        world.read(site, line, |db| db.connection().and_then(|db| store::order(db, order_id).ok()));
    match looked.flatten() {
        None => Reply::text(503, format!("`{site}` has no orders of `{line}`")),
        Some(None) => Reply::json(200, &json!({ "order_id": order_id, "state": "unknown" })),
        Some(Some(order)) => {
            let state = if order.serial.is_some() { "issued" } else { "queued" };
            let status = if only_issued && order.serial.is_none() { 202 } else { 200 };
            Reply::json(
                status,
                &json!({
                    "order_id": order_id,
                    "state": state,
                    "serial": order.serial,
                    "submitted_at": order.submitted_at,
                    "issued_at": order.issued_at,
                }),
            )
        }
    }
}

/// Starts a site's workers; they end with the world.
pub(super) fn start_workers(world: &Arc<World>, site: &'static str) -> std::io::Result<()> {
    for line in &world.options.lines {
        let (world, line) = (Arc::clone(world), line.clone());
        thread::Builder::new()
            .name(format!("{site}/{line}"))
            .spawn(move || worker(&world, site, &line))?;
    }
    Ok(())
}

fn worker(world: &World, site: &str, line: &str) {
    let pace = Duration::from_secs_f64(1.0 / world.options.issue_per_second.clamp(0.01, 10_000.0));
    let nothing = Duration::from_millis(50);
    while !world.ended() {
        let may = !world.is_upgrading(site, HOST) && world.trouble(site, HOST).is_none();
        let issued = if may {
            world.write(site, line, |db| store::issue_next(db, line, now_ms()))
        } else {
            Ok(None)
        };
        let wait = match issued {
            // What the gate releases is issued at once: who releases sets the rate.
            Ok(Some((true, true))) => continue,
            Ok(Some((true, false))) => pace,
            // Busy, or being replaced: looked at again.
            Ok(_) | Err(_) => nothing,
        };
        thread::sleep(wait);
    }
}

/// Starts the thread that signs lists when a revocation has landed.
pub(super) fn start_signer(world: &Arc<World>) -> std::io::Result<()> {
    let world = Arc::clone(world);
    let work = move || {
        while !world.ended() {
            for line in &world.options.lines {
                // A list that cannot be signed now is tried again; clients keep the last one.
                let _ = world.sign(line);
            }
            thread::sleep(Duration::from_millis(100));
        }
    };
    thread::Builder::new().name("crl-signer".to_owned()).spawn(work).map(drop)
}
