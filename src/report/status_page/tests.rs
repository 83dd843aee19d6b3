//! What the page says at each moment of a run, and that it says nothing else.

use super::{Marks, Ordering, Processing, ServiceState, State, StatusPage};
use crate::event::{Back, Event, Outcome, Request, Verdict, Way};
use crate::report::testing::{MOVE as PLAN, Story, at, person};
use jiff::{SignedDuration, tz::TimeZone};

const BEGUN: &str = "2019-04-06T15:30:00Z";

fn page(story: &Story, now: &str) -> StatusPage {
    let marks = Marks::of(story.run.graph());
    StatusPage::of(&story.run, &marks, SignedDuration::ZERO, false, at(now))
}

fn of_lines(story: &Story) -> Vec<(State, Ordering, Option<Processing>)> {
    let page = page(story, BEGUN);
    page.lines.iter().map(|line| (line.state, line.ordering, line.processing)).collect()
}

fn begun() -> Story {
    let mut story = Story::of(PLAN, BEGUN);
    story.tell(Event::Due { timer: crate::event::Timer::Opens, jumped: false });
    for service in ["ocsp@from", "seal@from"] {
        story.judged(service, &Verdict::Normal);
    }
    story
}

#[test]
fn each_line_is_told_as_it_stands() {
    use Ordering::{Closed, Open};
    use Processing::{AsUsual, CatchingUp, Paused};
    use State::{Completed, InProgress, Scheduled};
    let mut story = begun();
    assert_eq!(of_lines(&story), [(Scheduled, Open, Some(AsUsual)), (Scheduled, Open, None)]);
    story.starts(&["close[geotrust]"], Way::Do);
    assert_eq!(of_lines(&story)[0], (InProgress, Closed, Some(AsUsual)));
    assert_eq!(of_lines(&story)[1], (Scheduled, Open, None));
    story.ends(&["close[geotrust]"], Way::Do);
    story.done(&["pause[geotrust]", "snapshot[geotrust]", "copy[geotrust]", "verify[geotrust]"]);
    assert_eq!(of_lines(&story)[0], (InProgress, Closed, Some(Paused)));
    story.starts(&["reopen[geotrust]"], Way::Do);
    assert_eq!(of_lines(&story)[0].1, Closed, "not open before it is done");
    story.ends(&["reopen[geotrust]"], Way::Do);
    assert_eq!(of_lines(&story)[0], (InProgress, Open, Some(Paused)));
    story.starts(&["resume[geotrust]"], Way::Do);
    assert_eq!(of_lines(&story)[0], (InProgress, Open, Some(CatchingUp)));
    story.ends(&["resume[geotrust]"], Way::Do);
    assert_eq!(of_lines(&story)[0], (Completed, Open, Some(AsUsual)));
}

#[test]
fn a_line_that_is_back_is_postponed_while_others_are_on_their_way() {
    let mut story = begun();
    story.done(&["close[geotrust]", "close[managed-pki]", "pause[geotrust]"]);
    let back = Back::Run { before_too: false };
    let why = "a secret reason".to_owned();
    story.tell(Event::Requested(person("mara"), Request::Rollback { back, reason: why }));
    story.undone(&["close[managed-pki]"]);
    assert_eq!(of_lines(&story)[1], (State::Postponed, Ordering::Open, None));
    story.starts(&["pause[geotrust]"], Way::Undo);
    assert_eq!(of_lines(&story)[0].2, Some(Processing::CatchingUp));
    story.ends(&["pause[geotrust]"], Way::Undo);
    story.undone(&["close[geotrust]"]);
    story.tell(Event::Closed(Outcome::RolledBack));
    let page = page(&story, "2019-04-06T16:00:00Z");
    assert_eq!(page.state, State::Postponed);
    assert_eq!(page.ended, Some(at("2019-04-06T16:00:00Z")));
    assert!(!page.overdue);
}

#[test]
fn a_service_is_disrupted_only_when_clients_notice() {
    let state = |story: &Story| page(story, BEGUN).services[0].state;
    let mut story = Story::of(PLAN, BEGUN);
    assert_eq!(state(&story), ServiceState::NotMeasured);
    story.judged("ocsp@from", &Verdict::Normal);
    assert_eq!(state(&story), ServiceState::Normal);
    story.judged("ocsp@from/secret-host[managed-pki]", &Verdict::Degraded(vec!["slow".into()]));
    assert_eq!(state(&story), ServiceState::Normal, "it answers rightly");
    story.judged("ocsp@from/secret-host[managed-pki]", &Verdict::Down(vec!["refused".into()]));
    assert_eq!(state(&story), ServiceState::Disrupted, "one line's clients notice");
}

#[test]
fn what_is_late_is_said_and_a_window_moved_moves_the_page() {
    let mut story = begun();
    story.starts(&["close[geotrust]"], Way::Do);
    assert!(page(&story, "2019-04-07T03:30:01Z").overdue);
    assert!(!page(&story, "2019-04-07T03:30:00Z").overdue);
    let marks = Marks::of(story.run.graph());
    let hour = SignedDuration::from_hours(1);
    let moved = StatusPage::of(&story.run, &marks, hour, true, at("2019-04-07T03:30:01Z"));
    assert_eq!(moved.opens, Some(at("2019-04-06T16:30:00Z")));
    assert!(!moved.overdue);
}

#[test]
fn the_page_in_the_middle_of_it() {
    let mut story = begun();
    story.done(&["close[geotrust]", "close[managed-pki]", "pause[geotrust]"]);
    let page = page(&story, "2019-04-06T17:05:09.25Z");
    let zones = [TimeZone::UTC, TimeZone::get("America/Los_Angeles").expect("a zone")];
    let html = page.html(&zones);
    insta::assert_snapshot!("middle.html", html.replace("><", ">\n<"));
    insta::assert_json_snapshot!("middle.json", page);
    for part in ["<html lang=\"en\">", "<main>", "<header>", "<footer>", "scope=\"row\""] {
        assert!(html.contains(part), "{part}");
    }
}

#[test]
fn nothing_leaks_and_nothing_is_executed() {
    let mut story = begun();
    story.starts(&["close[geotrust]"], Way::Do);
    let page = page(&story, BEGUN);
    let html = page.html(&[]);
    let json = serde_json::to_string(&page).expect("string keys");
    for secret in ["CHG-SECRET", "secret-host", "mara", "close["] {
        assert!(!html.contains(secret) && !json.contains(secret), "{secret}");
    }
    assert!(html.contains("A &lt;b&gt;move&lt;/b&gt; &amp; more"));
    for active in ["<b>", "<script", "http://", "https://", "javascript:", "url(", "onload", "src="]
    {
        assert!(!html.contains(active), "{active}");
    }
}
