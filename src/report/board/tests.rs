use super::*;
use crate::event::{Back, Event, Request};
use crate::proof::window as way;
use crate::report::testing::{MOVE, Story, at, person};

#[test]
fn numbers_are_written_for_people() {
    assert_eq!(grouped(0), "0");
    assert_eq!(grouped(999), "999");
    assert_eq!(grouped(1000), "1,000");
    assert_eq!(grouped(1_234_567), "1,234,567");
    assert_eq!(bytes(999), "999 B");
    assert_eq!(bytes(3_200_000), "3.2 MB");
    assert_eq!(span(SignedDuration::from_secs(-5)), "0s");
    assert_eq!(span(SignedDuration::from_secs(3 * 3600 + 305)), "3h 05m");
    assert_eq!(span(SignedDuration::from_secs(2 * 86_400 + 3 * 3600)), "2d 3h");
}

#[test]
fn a_bar_is_full_only_at_the_end() {
    assert_eq!(bar(9, 10, 5), "████░");
    assert_eq!(bar(10, 10, 5), "█████");
    assert_eq!(bar(0, 0, 3), "░░░");
}

/// A story in the middle of things: one line is being copied, the other waits.
fn middle() -> Story {
    let mut story = Story::of(MOVE, "2019-04-06T15:30:00Z");
    story.tell(Event::Due { timer: crate::event::Timer::Opens, jumped: false });
    story.judged("ocsp@from", &Verdict::Normal);
    story.judged("ocsp@from/secret-host[geotrust]", &Verdict::Degraded(vec!["slow".into()]));
    story.done(&["close[geotrust]", "close[managed-pki]"]);
    story.done(&["snapshot[managed-pki]"]);
    story.starts(&["pause[geotrust]", "copy[managed-pki]"], Way::Do);
    story
}

fn drawn(story: &Story, width: usize, height: usize) -> Vec<String> {
    let copying = story.run.graph().find("copy[managed-pki]").expect("a step");
    let gauge = Gauge {
        doing: "copying `certificates`".into(),
        rows: Some((1_200, 20_000)),
        bytes: Some((3_200_000, 50_000_000)),
        since: Some(at("2019-04-06T15:59:00Z")),
    };
    let count = Count { answers: 12_345, p99_ms: 31.4 };
    frame(&View {
        run: &story.run,
        back: &way::Back::new(story.run.graph(), &way::Learned::default()),
        name: "r",
        rehearsal: true,
        shift: SignedDuration::ZERO,
        now: at("2019-04-06T16:00:00Z"),
        gauges: &BTreeMap::from([(copying, gauge)]),
        counts: &BTreeMap::from([("ocsp".to_owned(), count)]),
        zone: TimeZone::get("America/Los_Angeles").expect("a zone"),
        width,
        height,
    })
}

#[test]
fn a_frame_on_a_wide_terminal() {
    insta::assert_snapshot!(drawn(&middle(), 119, 38).join("\n"));
}

#[test]
fn a_frame_on_a_narrow_terminal() {
    insta::assert_snapshot!(drawn(&middle(), 59, 38).join("\n"));
}

#[test]
fn a_frame_that_asks_a_person_and_goes_back() {
    let mut story = middle();
    let reason =
        "the copy of geotrust is slower than in every rehearsal, and nobody knows why".to_owned();
    story.tell(Event::Requested(person("mara"), Request::Hold { reason: reason.clone() }));
    let back = Back::Run { before_too: false };
    story.tell(Event::Requested(person("jo"), Request::Rollback { back, reason }));
    insta::assert_snapshot!(drawn(&story, 59, 38).join("\n"));
}

#[test]
fn every_frame_fits_and_asks_what_it_has_to_ask() {
    let mut story = middle();
    let hold = Request::Hold { reason: "wait".into() };
    story.tell(Event::Requested(person("mara"), hold));
    for width in [20, 40, 59, 79, 200] {
        for height in 8..40 {
            let frame = drawn(&story, width, height);
            assert!(frame.len() <= height, "{width}x{height}: {frame:?}");
            for line in &frame {
                assert!(console::measure_text_width(line) <= width, "{width}x{height}: {line}");
            }
            let asked = frame.iter().any(|line| line.starts_with("HELD by mara"));
            assert!(asked || height < 12, "{width}x{height}: {frame:?}");
        }
    }
}

#[test]
fn a_text_is_broken_between_words() {
    let wrapped = |text: &str, width, indent| fit::wrapped(text, width, indent);
    assert_eq!(wrapped("", 20, 2), [""]);
    assert_eq!(wrapped("one two three four five", 14, 2), ["one two three", "  four five"]);
    assert_eq!(wrapped("a-word-that-is-too-long", 12, 2), ["a-word-that-", "  is-too-lon", "  g"]);
    assert_eq!(wrapped("03:32  done", 40, 7), ["03:32  done"], "columns stay");
}

#[test]
fn what_is_folded_is_counted() {
    let rows = || vec![("a".to_owned(), 1), ("b".to_owned(), 4), ("c".to_owned(), 2)];
    let part = || [Part::weighed(rows(), 1, "step", " that wait")];
    assert_eq!(fit::stacked(vec!["head".into()], part(), 5), ["head", "", "a", "b", "c"]);
    let folded = fit::stacked(vec!["head".into()], part(), 4);
    assert_eq!(folded, ["head", "", "a", "        and 6 more steps that wait"]);
    let alone = [Part::new(vec!["a".into(), "b".into()], 1, "line", "")];
    assert_eq!(fit::stacked(vec![], alone, 1), ["        and 2 more lines"]);
}
