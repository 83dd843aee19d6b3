//! The status page as HTML: one file, no script, nothing loaded from elsewhere.
//!
//! Every state is a word and a shape; colour only repeats it. Texts come into the page through `maud`,
//! which escapes them: no name can become markup. Not known here: a run.

use super::{LineStatus, Ordering, Processing, ServiceState, State, StatusPage};
use jiff::{Timestamp, tz::TimeZone};
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// A reader's browser asks again after so many seconds, while there is something to wait for.
const AGAIN_S: u32 = 30;

/// Nothing may be loaded or sent, whatever a text holds; the icon is empty.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

const STYLE: &str = include_str!("style.css");

impl StatusPage {
    /// One self-contained HTML page, times in each of these zones (UTC if there is none).
    pub fn html(&self, zones: &[TimeZone]) -> String {
        let utc = [TimeZone::UTC];
        let zones = if zones.is_empty() { &utc[..] } else { zones };
        let over = matches!(self.state, State::Completed | State::Postponed);
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta http-equiv="Content-Security-Policy" content=(POLICY);
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    @if !over { meta http-equiv="refresh" content=(AGAIN_S); }
                    link rel="icon" href="data:,";
                    title { (self.state.word()) ": " (self.name) @if self.rehearsal { " (rehearsal)" } }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    header {
                        p.kind { "Maintenance status" }
                        h1 { (self.name) }
                        p.as-of { "As of " (times(self.as_of, zones, true)) }
                    }
                    main {
                        @if self.rehearsal {
                            p.rehearsal { strong { "Rehearsal." } " This page shows an exercise; no customer service is concerned." }
                        }
                        (self.summary(zones))
                        (self.services())
                        (self.lines())
                        (self.advice())
                    }
                    footer {
                        @if over {
                            p { "The maintenance is over; this page changes no more." }
                        } @else {
                            p {
                                "While the maintenance is in progress this page is written anew at least every 10 seconds, and your browser asks for it every "
                                (AGAIN_S) " seconds. If the time above is older than a few minutes, "
                                a href="" { "load it again" } "."
                            }
                        }
                    }
                }
            }
        }
        .into_string()
    }

    fn summary(&self, zones: &[TimeZone]) -> Markup {
        html! {
            section aria-labelledby="state" class=(format!("state {}", self.state.class())) {
                h2 #state { (icon(self.state.shape())) (self.state.word()) }
                p { (self.state.sentence()) }
                @if self.overdue {
                    p { "It takes longer than was planned. This page will say when it has ended." }
                }
                dl {
                    @if let Some(opens) = self.opens {
                        div { dt { @if self.state == State::Scheduled { "Begins" } @else { "Began" } } dd { (times(opens, zones, false)) } }
                    }
                    @if let Some(ended) = self.ended {
                        div { dt { "Ended" } dd { (times(ended, zones, false)) } }
                    } @else if let Some(end) = self.expected_end {
                        div { dt { @if self.overdue { "Planned end" } @else { "Expected end" } } dd { (times(end, zones, false)) } }
                    }
                }
            }
        }
    }

    fn services(&self) -> Markup {
        let normal = self.services.iter().all(|service| service.state == ServiceState::Normal);
        html! {
            @if !self.services.is_empty() {
                section aria-labelledby="services" {
                    h2 #services { "Services that stay in operation" }
                    @if normal {
                        p { "Existing certificates and seals work without disruption." }
                    }
                    ul.rows {
                        @for service in &self.services {
                            li {
                                span.name { (service_name(&service.service)) }
                                (badge(service.state.class(), service.state.shape(), service.state.sentence()))
                            }
                        }
                    }
                }
            }
        }
    }

    fn lines(&self) -> Markup {
        let queues = self.lines.iter().any(|line| line.processing.is_some());
        html! {
            @if !self.lines.is_empty() {
                section aria-labelledby="lines" {
                    h2 #lines { "Product lines" }
                    @if let Some(closing) = self.closing() { p { (closing) } }
                    table {
                        thead {
                            tr {
                                th scope="col" { "Product line" }
                                th scope="col" { "Ordering" }
                                @if queues { th scope="col" { "Submitted orders" } }
                            }
                        }
                        tbody { @for line in &self.lines { (self.row(line, queues)) } }
                    }
                }
            }
        }
    }

    /// What is closed, while something is or will be.
    fn closing(&self) -> Option<String> {
        if self.closed_routes.is_empty() {
            return None;
        }
        let routes: Vec<String> =
            self.closed_routes.iter().map(|name| name.replace(['-', '_'], " ")).collect();
        let routes = listed(&routes);
        let answer = match (self.closed_status, self.closed_routes.len()) {
            (None, 1) => "is closed".to_owned(),
            (None, _) => "are closed".to_owned(),
            (Some(status), 1) => format!("answers {status}"),
            (Some(status), _) => format!("answer {status}"),
        };
        let apis = if self.closed_routes.len() == 1 { "API" } else { "APIs" };
        let closed = format!("the {apis} for {routes} {answer}, for subresellers as for customers");
        match self.state {
            State::Scheduled => {
                Some(format!("During the maintenance ordering is closed: {closed}."))
            }
            State::InProgress => Some(format!("While ordering is closed {closed}.")),
            State::Completed | State::Postponed => None,
        }
    }

    fn advice(&self) -> Markup {
        let ahead = matches!(self.state, State::Scheduled | State::InProgress);
        let queues = self.lines.iter().any(|line| line.processing.is_some());
        html! {
            @if ahead && !(self.services.is_empty() && self.lines.is_empty()) {
                section aria-labelledby="advice" {
                    h2 #advice { "What this means for you" }
                    ul {
                        @if !self.services.is_empty() {
                            li { "Certificates and seals in use need no action." }
                            li { "Emergency revocations are handled at every moment of the maintenance." }
                        }
                        @if !self.closed_routes.is_empty() {
                            li {
                                "Let your systems treat "
                                @match self.closed_status { Some(status) => { "a " (status) }, None => "an error" }
                                " of the closed APIs as “try again later”."
                            }
                        }
                        @if queues {
                            li { "Orders that were submitted are kept, and processed in the order of their submission, those from before the maintenance first." }
                        }
                    }
                }
            }
        }
    }

    fn row(&self, line: &LineStatus, queues: bool) -> Markup {
        let alone = line.state == State::Postponed && self.state != State::Postponed;
        let (class, shape, words) = match line.ordering {
            Ordering::Closed => ("closed", Shape::Bar, "closed for maintenance"),
            Ordering::Open if alone => ("good", Shape::Tick, "open; maintenance postponed"),
            Ordering::Open => ("good", Shape::Tick, "open"),
        };
        html! {
            tr {
                th scope="row" { (line.title) }
                td data-of="Ordering" { (badge(class, shape, words)) }
                @if queues {
                    td data-of="Submitted orders" {
                        @match line.processing {
                            None => "–",
                            Some(Processing::AsUsual) => (badge("good", Shape::Tick, "processed as usual")),
                            Some(Processing::Paused) => (badge("closed", Shape::Bar, "kept, processed later")),
                            Some(Processing::CatchingUp) => (badge("busy", Shape::Clock, "being processed, oldest first")),
                        }
                    }
                }
            }
        }
    }
}

/// Every time twice: for people in each zone, and for machines.
fn times(at: Timestamp, zones: &[TimeZone], seconds: bool) -> Markup {
    let form = if seconds { "%a %-d %b %Y, %H:%M:%S %Z" } else { "%a %-d %b %Y, %H:%M %Z" };
    let second = Timestamp::from_second(at.as_second()).unwrap_or(at);
    html! {
        @for (index, zone) in zones.iter().enumerate() {
            @if index > 0 { span.or aria-hidden="true" { " · " } }
            time datetime=(second) { (at.to_zoned_datetime(zone.clone()).strftime(form)) }
        }
    }
}

fn listed(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

fn service_name(service: &str) -> &str {
    match service {
        "ocsp" => "Certificate status (OCSP)",
        "crl" => "Revocation lists (CRL)",
        "seal" => "Site seals",
        other => other,
    }
}

#[derive(Clone, Copy)]
enum Shape {
    Tick,
    Bar,
    Clock,
    Warning,
    Back,
}

/// A word with its shape before it.
fn badge(class: &str, shape: Shape, words: &str) -> Markup {
    html! { span class=(format!("badge {class}")) { (icon(shape)) (words) } }
}

fn icon(shape: Shape) -> Markup {
    let path = match shape {
        Shape::Tick => "M4.5 8.5 7 11l4.5-5.5M1 8a7 7 0 1 0 14 0A7 7 0 1 0 1 8",
        Shape::Bar => "M5 8h6M1 8a7 7 0 1 0 14 0A7 7 0 1 0 1 8",
        Shape::Clock => "M8 4v4l2.5 2M1 8a7 7 0 1 0 14 0A7 7 0 1 0 1 8",
        Shape::Warning => "M8 6v4M8 12v.4M8 1.5 15 14.5H1Z",
        Shape::Back => {
            "M6.5 5 4 7.5 6.5 10M4 7.5h5a2.2 2.2 0 0 1 0 4.4H8M1 8a7 7 0 1 0 14 0A7 7 0 1 0 1 8"
        }
    };
    html! { svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" focusable="false" { path d=(path); } }
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Scheduled => "Scheduled",
            Self::InProgress => "In progress",
            Self::Completed => "Completed",
            Self::Postponed => "Postponed",
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::Scheduled => "The maintenance is scheduled and has not begun.",
            Self::InProgress => "The maintenance is in progress.",
            Self::Completed => "The maintenance is completed.",
            Self::Postponed => {
                "The maintenance has ended and is postponed; services are as before."
            }
        }
    }

    fn class(self) -> &'static str {
        match self {
            Self::Scheduled | Self::InProgress => "busy",
            Self::Completed => "good",
            Self::Postponed => "closed",
        }
    }

    fn shape(self) -> Shape {
        match self {
            Self::Scheduled | Self::InProgress => Shape::Clock,
            Self::Completed => Shape::Tick,
            Self::Postponed => Shape::Back,
        }
    }
}

impl ServiceState {
    fn sentence(self) -> &'static str {
        match self {
            Self::Normal => "operates normally",
            Self::NotMeasured => "not measured at this moment",
            Self::Disrupted => "disrupted; we are working on it",
        }
    }

    fn class(self) -> &'static str {
        match self {
            Self::Normal => "good",
            Self::NotMeasured => "busy",
            Self::Disrupted => "bad",
        }
    }

    fn shape(self) -> Shape {
        match self {
            Self::Normal => Shape::Tick,
            Self::NotMeasured => Shape::Clock,
            Self::Disrupted => Shape::Warning,
        }
    }
}
