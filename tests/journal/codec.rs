//! Every event survives its line, whatever names and texts are in it.

use cutover::event::*;
use cutover::failure::{Failure, FailureKind};
use cutover::journal::chain::{Flaw, Head, Scanner};
use cutover::journal::codec::{Names, Wire};
use jiff::Timestamp;
use proptest::prelude::*;
use std::io::Write;

/// Names that try the encoding: quotes, line ends, other scripts, what looks like a record.
pub(crate) struct Odd;

const ODD: [&str; 6] = [
    "transfer[geotrust]",
    "upgrade[geotrust,ocsp-1]",
    "a\"b\\c",
    "line\nend\u{2028}\u{0}",
    "{\"seq\":7",
    "übung🔑",
];

fn odd(at: u32) -> String {
    ODD[at as usize % ODD.len()].to_owned() + &"'".repeat(at as usize / ODD.len())
}

fn find(name: &str) -> Option<u32> {
    (0..60).find(|at| odd(*at) == name)
}

impl Names for Odd {
    fn step(&self, step: StepId) -> String {
        odd(step.0)
    }
    fn find_step(&self, name: &str) -> Option<StepId> {
        find(name).map(StepId)
    }
    fn line(&self, line: LineId) -> String {
        odd(line.0)
    }
    fn find_line(&self, name: &str) -> Option<LineId> {
        find(name).map(LineId)
    }
    fn provider(&self, provider: ProviderId) -> String {
        odd(provider.0)
    }
    fn find_provider(&self, name: &str) -> Option<ProviderId> {
        find(name).map(ProviderId)
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(ODD.to_vec()).prop_map(str::to_owned),
        prop::collection::vec(any::<char>(), 0..12)
            .prop_map(|chars| chars.into_iter().collect::<String>()),
    ]
}

fn step() -> impl Strategy<Value = StepId> {
    (0..60_u32).prop_map(StepId)
}

fn way() -> impl Strategy<Value = Way> {
    prop::sample::select(vec![Way::Do, Way::Undo, Way::Check])
}

fn job() -> impl Strategy<Value = Job> {
    (step(), way(), any::<u32>()).prop_map(|(step, way, attempt)| Job { step, way, attempt })
}

fn failure() -> impl Strategy<Value = Failure> {
    let kind = prop::sample::select(vec![
        FailureKind::Transient,
        FailureKind::Final,
        FailureKind::TimedOut,
        FailureKind::InDoubt,
    ]);
    (kind, prop::collection::vec(text(), 0..4)).prop_map(|(kind, chain)| Failure { kind, chain })
}

fn ending() -> impl Strategy<Value = Ending> {
    prop_oneof![
        prop::collection::btree_map(text(), text(), 0..3).prop_map(Ending::Done),
        Just(Ending::NotDone),
        failure().prop_map(Ending::Failed),
        failure().prop_map(Ending::Unknown),
        Just(Ending::Stopped),
        Just(Ending::Withdrawn),
    ]
}

fn person() -> impl Strategy<Value = Person> {
    (text(), any::<u32>(), prop::collection::vec(text(), 0..3))
        .prop_map(|(login, uid, groups)| Person { login, uid, groups })
}

fn timer() -> impl Strategy<Value = Timer> {
    prop_oneof![
        Just(Timer::Opens),
        Just(Timer::Closes),
        step().prop_map(Timer::NotBefore),
        (step(), way()).prop_map(|(step, way)| Timer::Retry(step, way)),
        step().prop_map(Timer::Floor),
    ]
}

fn verdict() -> impl Strategy<Value = Verdict> {
    let codes = || prop::collection::vec(text(), 0..3);
    prop_oneof![
        Just(Verdict::Unknown),
        Just(Verdict::Normal),
        codes().prop_map(Verdict::Degraded),
        codes().prop_map(Verdict::Down),
        codes().prop_map(Verdict::Lying),
    ]
}

fn request() -> impl Strategy<Value = Request> {
    let answer = prop::sample::select(vec![
        Answer::Done,
        Answer::NotDone,
        Answer::Retry,
        Answer::Rollback,
        Answer::RollbackLine,
        Answer::Go,
        Answer::Skip,
        Answer::Hold,
    ]);
    let back = prop_oneof![
        any::<bool>().prop_map(|before_too| Back::Run { before_too }),
        (0..60_u32).prop_map(|line| Back::Line(LineId(line))),
        text().prop_map(Back::To),
    ];
    prop_oneof![
        text().prop_map(|reason| Request::Hold { reason }),
        any::<Option<u64>>().prop_map(|hold| Request::Release { hold }),
        (step(), text()).prop_map(|(step, note)| Request::Approve { step, note }),
        (step(), text()).prop_map(|(step, reason)| Request::Disapprove { step, reason }),
        (any::<u64>(), answer, text()).prop_map(|(question, answer, note)| Request::Answer {
            question,
            answer,
            note
        }),
        step().prop_map(|step| Request::Claim { step }),
        (step(), text()).prop_map(|(step, evidence)| Request::Finish { step, evidence }),
        (step(), text()).prop_map(|(step, reason)| Request::Fail { step, reason }),
        step().prop_map(|step| Request::Retry { step }),
        (step(), text()).prop_map(|(step, reason)| Request::Skip { step, reason }),
        text().prop_map(|reason| Request::Abort { reason }),
        (back, text()).prop_map(|(back, reason)| Request::Rollback { back, reason }),
        Just(Request::Interrupt),
    ]
}

fn header() -> impl Strategy<Value = Header> {
    (text(), text(), proptest::option::of(text()), person(), any::<i64>(), any::<u64>()).prop_map(
        |(run, plan, estate, by, shift_s, seed)| Header {
            format: 1,
            program: "0.1.0".into(),
            run,
            plan_path: "plan.yaml".into(),
            plan,
            estate_path: estate.as_ref().map(|_| "estate.yaml".into()),
            estate,
            graph: "00".into(),
            by,
            options: Options {
                rehearsal: seed % 2 == 0,
                shift_s,
                seed,
                faults: vec!["a=fail".into()],
                revocations: u32::from(seed % 3 == 0),
            },
        },
    )
}

fn event() -> impl Strategy<Value = Event> {
    let outcome =
        prop::sample::select(vec![Outcome::Completed, Outcome::RolledBack, Outcome::Stuck]);
    prop_oneof![
        header().prop_map(|header| Event::Begun(Box::new(header))),
        (any::<u64>(), text(), any::<u32>(), any::<u64>())
            .prop_map(|(epoch, boot, pid, cut)| Event::Opened { epoch, boot, pid, cut }),
        job().prop_map(Event::Started),
        (job(), ending()).prop_map(|(job, ending)| Event::Ended(job, ending)),
        (timer(), any::<bool>()).prop_map(|(timer, jumped)| Event::Due { timer, jumped }),
        ((0..60_u32), verdict(), any::<u64>()).prop_map(|(provider, verdict, as_of)| {
            Event::Verdict { provider: ProviderId(provider), verdict, as_of }
        }),
        ((0..60_u32), any::<bool>(), any::<u64>()).prop_map(|(line, clear, as_of)| {
            Event::Revocations { line: LineId(line), clear, as_of }
        }),
        (person(), request()).prop_map(|(person, request)| Event::Requested(person, request)),
        outcome.prop_map(Event::Closed),
    ]
}

fn moment() -> impl Strategy<Value = Timestamp> {
    (-300_000_000_000_i64..250_000_000_000, 0..1_000_000_000_i32).prop_map(|(second, nano)| {
        Timestamp::new(second, if second < 0 { -nano } else { nano }).expect("in range")
    })
}

fn read(lines: &[u8]) -> Vec<(Timestamp, Event)> {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(lines).expect("written");
    let mut scanner = Scanner::new(file).expect("opened");
    let mut out = Vec::new();
    loop {
        match scanner.next::<Wire<'_>>() {
            Ok(Some(line)) => out.push((line.at, line.event.event(&Odd).expect("known names"))),
            Ok(None) => return out,
            Err(flaw) => panic!("{flaw:?}"),
        }
    }
}

proptest! {
    #[test]
    fn every_event_survives_its_line(
        records in prop::collection::vec((moment(), event()), 1..8),
    ) {
        let mut head = Head::NONE;
        let mut lines = Vec::new();
        for (at, event) in &records {
            head.push(&mut lines, *at, 1, 0, &Wire::of(event, &Odd));
        }
        prop_assert_eq!(lines.iter().filter(|byte| **byte == b'\n').count(), records.len());
        prop_assert_eq!(read(&lines), records);
    }
}

/// An intact line that says `event`, as a later or an edited program might have written it.
fn forged(event: &str) -> Result<(), Flaw> {
    let event: serde_json::Value = serde_json::from_str(event).expect("JSON");
    let mut lines = Vec::new();
    Head::NONE.clone().push(&mut lines, Timestamp::UNIX_EPOCH, 1, 0, &event);
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(&lines).expect("written");
    Scanner::new(file).expect("opened").next::<Wire<'_>>().map(drop)
}

#[test]
fn unknown_events_and_fields_are_refused_never_skipped() {
    let job = r#""step":"a","way":"do","attempt":1"#;
    assert!(forged(&format!(r#"{{"started":{{{job}}}}}"#)).is_ok());
    for event in [
        r#"{"slept":{"for":3}}"#.to_owned(),
        format!(r#"{{"started":{{{job},"by":"mara"}}}}"#),
        format!(r#"{{"started":{{{job}}},"ended":{{{job}}}}}"#),
        format!(r#"{{"ended":{{{job},"ending":{{"done":{{"rows":1}}}}}}}}"#),
        format!(r#"{{"ended":{{{job},"ending":"vanished"}}}}"#),
        r#"{"requested":{"by":{"login":"jo","uid":1,"gid":2},"request":"interrupt"}}"#.to_owned(),
        r#"{"requested":{"by":{"login":"jo","uid":1},"request":{"dance":{}}}}"#.to_owned(),
        r#"{"due":{"timer":"teatime"}}"#.to_owned(),
        r#"{"started":{"step":"a","way":"do","attempt":-1}}"#.to_owned(),
        r#"{"started":{"step":"a","way":"do"}}"#.to_owned(),
        r#""closed""#.to_owned(),
        "null".to_owned(),
    ] {
        match forged(&event) {
            Err(Flaw::Damaged(damage)) => {
                assert_eq!(damage.line, 1);
                assert!(damage.why.starts_with("not a record of this format"), "{damage}");
            }
            other => panic!("{event}: {other:?}"),
        }
    }
}

#[test]
fn names_that_the_plan_does_not_know_are_refused() {
    let wire = Wire::Started { step: "nobody".into(), way: Way::Do, attempt: 1 };
    assert_eq!(wire.event(&Odd), Err("the plan has no step `nobody`".into()));
}
