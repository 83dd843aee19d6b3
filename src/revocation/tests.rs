//! The fold, tried in every order, with touches and lapses.

use super::*;
use crate::event::Person;
use proptest::prelude::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time")
}

fn certificate(serial: u8) -> Certificate {
    Certificate::new("geotrust", &format!("{serial:02X}")).expect("a serial")
}

fn order(serial: u8, reason: Reason, second: i64) -> Order {
    let by = Person { login: "kim".into(), uid: 1000, groups: vec!["security".into()] };
    let received_at = at(second);
    Order { certificate: certificate(serial), reason, received_at, compromised_at: None, by }
}

fn scene() -> Scene {
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let mut scene = Scene::default();
    scene.sites.insert("geotrust".into(), set(&["from", "to"]));
    scene.serving.insert("geotrust".into(), set(&["crl@from/crl-1", "ocsp@to/ocsp-1[geotrust]"]));
    scene
}

/// Does all that is wanted, until nothing is; answers how many turns it took.
fn work(lane: &mut Lane, scene: &Scene, seq: &mut Seq, as_of: Seq) -> usize {
    for turn in 0..10 {
        let wants = lane.wanted(scene);
        if wants.is_empty() {
            return turn;
        }
        for want in wants {
            *seq += 1;
            let said = match want {
                Want::Apply { certificate, site, terms, .. } => {
                    Said::Applied { certificate, site, terms, absent: false, as_of }
                }
                Want::Confirm { certificate, provider, terms } => {
                    Said::Published { certificate, provider, terms, as_of }
                }
                Want::Conclude { certificate } => Said::Confirmed { certificate, as_of },
            };
            lane.apply(&Entry { seq: *seq, at: at(1000 + *seq as i64), said });
        }
    }
    panic!("it never ends: {:?}", lane.wanted(scene));
}

fn accepted(orders: &[Order]) -> (Lane, Seq) {
    let mut lane = Lane::new();
    for (seq, order) in (1..).zip(orders) {
        lane.apply(&Entry { seq, at: order.received_at, said: Said::Accepted(order.clone()) });
    }
    (lane, orders.len() as Seq)
}

#[test]
fn an_order_comes_to_its_confirmation_and_rests() {
    let scene = scene();
    let (mut lane, mut seq) = accepted(&[order(1, Reason::Superseded, 100)]);
    let certificate = certificate(1);
    assert!(!lane.is_clear("geotrust", &scene));
    assert_eq!(lane.stage(&certificate, &scene), Some(Stage::Accepted));
    let wants = lane.wanted(&scene);
    assert!(wants.iter().all(|want| matches!(want, Want::Apply { again: false, .. })), "{wants:?}");
    work(&mut lane, &scene, &mut seq, 7);
    assert_eq!(lane.stage(&certificate, &scene), Some(Stage::Confirmed));
    assert!(lane.is_clear("geotrust", &scene));
    assert!(lane.may_serve("geotrust", "ocsp@to/ocsp-1[geotrust]", &scene));
    assert!(!lane.may_serve("geotrust", "ocsp@to/ocsp-2[geotrust]", &scene));
    let revocation = lane.get(&certificate).expect("accepted");
    assert_eq!(revocation.reapplied(), 0);
    assert!(revocation.delay().expect("confirmed") > SignedDuration::ZERO);
}

#[test]
fn what_touches_a_site_makes_it_suspect_until_the_row_is_read_again() {
    let mut scene = scene();
    let (mut lane, mut seq) = accepted(&[order(1, Reason::Superseded, 100)]);
    work(&mut lane, &scene, &mut seq, 7);
    let touch = |seq, until| Touch { line: "geotrust".into(), site: "to".into(), seq, until };

    scene.touches = vec![touch(9, Until::Running)];
    assert_eq!(lane.stage(&certificate(1), &scene), Some(Stage::Suspect));
    assert!(lane.is_suspect(&certificate(1), "to", &scene));
    assert!(!lane.is_suspect(&certificate(1), "from", &scene));
    // Reading while it runs is right and ends nothing: the job may still undo it.
    work(&mut lane, &scene, &mut seq, 9);
    assert!(!lane.is_clear("geotrust", &scene));

    scene.touches = vec![touch(12, Until::Ended)];
    assert!(!lane.is_clear("geotrust", &scene));
    assert!(lane.wanted(&scene).contains(&Want::Apply {
        certificate: certificate(1),
        site: "to".into(),
        terms: order(1, Reason::Superseded, 100).terms(),
        again: true,
    }));
    // A reading that began before the end was known proves nothing.
    seq += 1;
    let said = Said::Applied {
        certificate: certificate(1),
        site: "to".into(),
        terms: order(1, Reason::Superseded, 100).terms(),
        absent: false,
        as_of: 11,
    };
    lane.apply(&Entry { seq, at: at(2000), said });
    assert!(!lane.is_clear("geotrust", &scene));
    work(&mut lane, &scene, &mut seq, 12);
    assert!(lane.is_clear("geotrust", &scene));
    assert!(lane.get(&certificate(1)).expect("accepted").reapplied() >= 2);
    // Another line's touch is none of ours.
    scene.touches.push(Touch {
        line: "thawte".into(),
        site: "to".into(),
        seq: 40,
        until: Until::Running,
    });
    assert!(lane.is_clear("geotrust", &scene));
}

#[test]
fn a_provider_that_answers_otherwise_reopens_it() {
    let scene = scene();
    let (mut lane, mut seq) = accepted(&[order(1, Reason::Superseded, 100)]);
    work(&mut lane, &scene, &mut seq, 7);
    seq += 1;
    let provider = "crl@from/crl-1".to_owned();
    let said = Said::Lapsed { certificate: certificate(1), provider, what: "good".into() };
    lane.apply(&Entry { seq, at: at(3000), said });
    assert!(!lane.is_clear("geotrust", &scene));
    work(&mut lane, &scene, &mut seq, 7);
    assert!(lane.is_clear("geotrust", &scene));
}

#[test]
fn the_earliest_time_and_a_compromised_key_win() {
    let mut compromised = order(1, Reason::KeyCompromise, 300);
    compromised.compromised_at = Some(at(50));
    let mut backdated = order(1, Reason::Superseded, 200);
    backdated.compromised_at = Some(at(10)); // counts for a compromised key only
    let (mut lane, mut seq) = accepted(&[order(1, Reason::Superseded, 100), backdated.clone()]);
    let terms = |lane: &Lane| lane.get(&certificate(1)).and_then(Revocation::terms);
    let first = Terms { revoked_at: at(100), reason: Reason::Superseded };
    assert_eq!(terms(&lane), Some(first));
    let scene = scene();
    work(&mut lane, &scene, &mut seq, 1);
    assert!(lane.is_clear("geotrust", &scene));
    let judged = |lane: &Lane, order: &Order| lane.judge(order, ["geotrust"].into_iter());
    assert!(judged(&lane, &backdated).is_err(), "revoked already");
    assert!(judged(&lane, &compromised).is_ok(), "a compromised key is news");
    seq += 1;
    lane.apply(&Entry { seq, at: at(300), said: Said::Accepted(compromised.clone()) });
    assert_eq!(terms(&lane), Some(Terms { revoked_at: at(50), reason: Reason::KeyCompromise }));
    assert!(!lane.is_clear("geotrust", &scene), "the new terms are not applied yet");
    work(&mut lane, &scene, &mut seq, 1);
    assert!(lane.is_clear("geotrust", &scene));
    assert!(judged(&lane, &compromised).is_err());
}

#[test]
fn what_is_refused_changes_nothing() {
    let (mut lane, seq) = accepted(&[order(1, Reason::Superseded, 100)]);
    let before = lane.clone();
    let refused = order(2, Reason::Superseded, 100);
    assert!(lane.judge(&refused, ["thawte"].into_iter()).is_err(), "another line");
    let said = Said::Refused { order: refused, why: "no such certificate".into() };
    lane.apply(&Entry { seq: seq + 1, at: at(1), said });
    assert_eq!(lane.wanted(&scene()), before.wanted(&scene()));
    assert_eq!(lane.refused().count(), 1);
}

#[test]
fn nothing_is_confirmed_where_nothing_is_known_of_who_serves() {
    let scene = Scene { serving: BTreeMap::new(), ..scene() };
    let (mut lane, mut seq) = accepted(&[order(1, Reason::Superseded, 100)]);
    work(&mut lane, &scene, &mut seq, 1);
    assert_eq!(lane.stage(&certificate(1), &scene), Some(Stage::Applied));
    assert!(!lane.is_clear("geotrust", &scene));
    assert!(lane.is_clear("thawte", &scene), "no order, nothing to wait for");
}

#[test]
fn serials_and_reasons_are_read_as_people_write_them() {
    let plain = Certificate::new("a", "0aff").expect("a serial");
    assert_eq!(Certificate::new("a", "0A:FF"), Ok(plain.clone()));
    assert_eq!(Certificate::new("a", "0x0AFF"), Ok(plain));
    for bad in ["", "0x", "xyz", "12 34", &"0".repeat(41)] {
        assert!(Certificate::new("a", bad).is_err(), "{bad}");
    }
    for text in ["1", "keyCompromise", "key-compromise", "KEY_COMPROMISE"] {
        assert_eq!(text.parse(), Ok(Reason::KeyCompromise));
    }
    for bad in ["2", "6", "8", "caCompromise", "", "certificateHold"] {
        let why = bad.parse::<Reason>().expect_err(bad);
        assert!(why.contains("keyCompromise (1)"), "{why}");
    }
}

fn any_said() -> impl Strategy<Value = Said> {
    let reason = prop::sample::select(Reason::ALL.map(|(_, _, reason)| reason).to_vec());
    let site = prop::sample::select(vec!["from", "to"]);
    let provider = prop::sample::select(vec!["crl@from/crl-1", "ocsp@to/ocsp-1[geotrust]"]);
    (0..6, 0..3_u8, reason, 0..400_i64, site, provider, 0..20_u64, any::<bool>()).prop_map(
        |(kind, serial, reason, second, site, provider, as_of, flag)| {
            let order = order(serial, reason, second);
            let (terms, certificate) = (order.terms(), certificate(serial));
            match kind {
                0 | 1 => Said::Accepted(order),
                2 => {
                    let site = site.to_owned();
                    Said::Applied { certificate, site, terms, absent: flag, as_of }
                }
                3 => Said::Published { certificate, provider: provider.into(), terms, as_of },
                4 if flag => Said::Refused { order, why: "no".into() },
                4 => Said::Confirmed { certificate, as_of },
                _ => {
                    let provider = provider.to_owned();
                    Said::Lapsed { certificate, provider, what: "good".into() }
                }
            }
        },
    )
}

fn any_touch() -> impl Strategy<Value = Touch> {
    (prop::sample::select(vec!["from", "to"]), 0..20_u64, any::<bool>()).prop_map(
        |(site, seq, running)| Touch {
            line: "geotrust".into(),
            site: site.into(),
            seq,
            until: if running { Until::Running } else { Until::Ended },
        },
    )
}

proptest! {
    /// R5, R17, R18: any order, any doubling, any cut into two journals: one state.
    #[test]
    fn entries_fold_to_one_state_in_any_order(
        said in prop::collection::vec(any_said(), 0..40),
        swaps in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..40),
        doubled in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let entries: Vec<Entry> = (1..)
            .zip(said)
            .map(|(seq, said)| Entry { seq, at: at(seq as i64), said })
            .collect();
        let fold = |entries: &[Entry]| {
            let mut lane = Lane::new();
            entries.iter().for_each(|entry| lane.apply(entry));
            lane
        };
        let straight = fold(&entries);
        let mut moved = entries.clone();
        if !moved.is_empty() {
            for (one, other) in &swaps {
                let (one, other) = (one.index(moved.len()), other.index(moved.len()));
                moved.swap(one, other);
            }
            for again in &doubled {
                let entry = moved[again.index(moved.len())].clone();
                moved.push(entry);
            }
        }
        prop_assert_eq!(fold(&moved), straight);
    }

    /// R2: nothing that is said later shrinks the accepted set or makes terms later or weaker.
    #[test]
    fn accepted_stays_accepted(
        said in prop::collection::vec(any_said(), 1..40),
    ) {
        let mut lane = Lane::new();
        for (seq, said) in (1..).zip(said) {
            let before: Vec<_> =
                lane.revocations().map(|(c, r)| (c.clone(), r.terms())).collect();
            lane.apply(&Entry { seq, at: at(seq as i64), said });
            for (certificate, terms) in before {
                let now = lane.get(&certificate).and_then(Revocation::terms);
                let (now, terms) = (now.expect("kept"), terms.expect("had"));
                prop_assert!(now.revoked_at <= terms.revoked_at);
                prop_assert!(
                    terms.reason != Reason::KeyCompromise || now.reason == Reason::KeyCompromise
                );
            }
        }
    }

    /// R3, R6, R9: from any state, when nothing touches any more, all is confirmed in few turns;
    /// and while something runs at a site of the line, its revocations are never clear.
    #[test]
    fn everything_is_confirmed_in_the_end(
        said in prop::collection::vec(any_said(), 0..40),
        touches in prop::collection::vec(any_touch(), 0..4),
    ) {
        let mut lane = Lane::new();
        let mut seq = 0;
        for said in said {
            seq += 1;
            lane.apply(&Entry { seq, at: at(seq as i64), said });
        }
        let mut scene = Scene { touches, ..scene() };
        let running = scene.touches.iter().any(|touch| touch.until == Until::Running);
        work(&mut lane, &scene, &mut seq, 20);
        let some = lane.of_line("geotrust").count() > 0;
        prop_assert_eq!(lane.is_clear("geotrust", &scene), !(some && running));
        for touch in &mut scene.touches {
            if touch.until == Until::Running {
                *touch = Touch { seq: 21, until: Until::Ended, ..touch.clone() };
            }
        }
        work(&mut lane, &scene, &mut seq, 21);
        prop_assert!(lane.is_clear("geotrust", &scene));
        for (certificate, revocation) in lane.revocations() {
            prop_assert_eq!(lane.stage(certificate, &scene), Some(Stage::Confirmed));
            prop_assert!(revocation.confirmed_at().is_some());
        }
    }
}
