//! Answers read by hand: what is accepted, and what each fault is called.

use super::*;
use crate::guard::fixture::{MADE_AT, changed, data, issuer, overwritten, question, serial};
use proptest::prelude::*;

fn judge_as(body: &[u8], cert: &[u8], now: i64) -> Judged {
    let (issuer, serial) = (issuer(), serial(cert));
    judge(body, &question(&issuer, &serial), now)
}

fn codes(judged: &Judged, from: Severity) -> Vec<&'static str> {
    let heavy = judged.findings.iter().filter(|finding| finding.severity >= from);
    heavy.map(|finding| finding.code).collect()
}

#[test]
fn what_openssl_signs_is_accepted() {
    let good = data!("good.der");
    for (name, body, cert, status) in [
        ("delegate", &data!("ocsp-good.der")[..], &good[..], CertStatus::Good),
        ("by key", data!("ocsp-good-by-key.der"), good, CertStatus::Good),
        ("by issuer", data!("ocsp-good-by-issuer.der"), good, CertStatus::Good),
        ("unknown", data!("ocsp-unknown.der"), data!("unissued.der"), CertStatus::Unknown),
        (
            "revoked",
            data!("ocsp-revoked.der"),
            data!("revoked.der"),
            CertStatus::Revoked { at: MADE_AT - DAY, reason: Some(1) },
        ),
    ] {
        let judged = judge_as(body, cert, MADE_AT + 1);
        assert_eq!(codes(&judged, Severity::Note), [] as [&str; 0], "{name}: {judged:?}");
        assert_eq!(judged.status, Some(status), "{name}");
    }
}

#[test]
fn each_fault_has_its_code() {
    use Severity::{Breach, Degraded, Lie};
    let good = &data!("ocsp-good.der")[..];
    let error = |status: u8| vec![0x30, 3, 0x0a, 1, status];
    let at = MADE_AT + 1;
    for (name, body, now, code, severity) in [
        ("bad signature", data!("ocsp-badsig.der").to_vec(), at, "ocsp-bad-signature", Breach),
        ("wrong key", data!("ocsp-wrong-key.der").to_vec(), at, "ocsp-wrong-key", Breach),
        ("no EKU", data!("ocsp-no-eku.der").to_vec(), at, "ocsp-delegate-eku", Lie),
        ("no certs", data!("ocsp-no-certs.der").to_vec(), at, "ocsp-delegate-missing", Breach),
        ("no next", data!("ocsp-no-next.der").to_vec(), at, "ocsp-no-next-update", Breach),
        ("30 days", data!("ocsp-30-days.der").to_vec(), at, "ocsp-interval", Breach),
        ("an hour", data!("ocsp-1-hour.der").to_vec(), at, "ocsp-interval", Degraded),
        ("other", data!("ocsp-revoked.der").to_vec(), at, "ocsp-wrong-cert-id", Breach),
        ("expired", good.to_vec(), MADE_AT + 5 * DAY, "ocsp-expired", Lie),
        ("last hour", good.to_vec(), MADE_AT + 4 * DAY - 60, "ocsp-stale", Breach),
        ("late", good.to_vec(), MADE_AT + 4 * DAY - 5 * HOUR, "ocsp-stale", Degraded),
        (
            "future",
            data!("ocsp-good-by-issuer.der").to_vec(),
            MADE_AT - 90,
            "ocsp-not-yet-valid",
            Breach,
        ),
        ("truncated", changed(good, |bytes| bytes.truncate(400)), at, "ocsp-der", Breach),
        ("trailing byte", changed(good, |bytes| bytes.push(0)), at, "ocsp-der", Breach),
        ("empty", Vec::new(), at, "ocsp-der", Breach),
        ("a page", b"<html>".to_vec(), at, "ocsp-der", Breach),
        ("long form", changed(good, |bytes| bytes[1] = 0x84), at, "ocsp-der", Breach),
        ("malformed", error(1), at, "ocsp-status-malformed", Breach),
        ("internal", error(2), at, "ocsp-status-internal", Breach),
        ("try later", error(3), at, "ocsp-status-try-later", Breach),
        ("no such", error(4), at, "ocsp-der", Breach),
        ("sig required", error(5), at, "ocsp-status-sig-required", Breach),
        ("unauthorized", error(6), at, "ocsp-status-unauthorized", Breach),
        ("nothing", error(0), at, "ocsp-der", Breach),
    ] {
        let judged = judge_as(&body, data!("good.der"), now);
        assert_eq!(codes(&judged, severity), [code], "{name}: {judged:?}");
    }
}

#[test]
fn who_signed_wrongly_has_said_nothing() {
    for body in
        [&data!("ocsp-badsig.der")[..], data!("ocsp-wrong-key.der"), data!("ocsp-no-eku.der")]
    {
        assert_eq!(judge_as(body, data!("good.der"), MADE_AT + 1).status, None);
    }
}

#[test]
fn any_changed_byte_of_a_signed_answer_is_seen() {
    let good = data!("ocsp-good.der");
    for place in 0..good.len() {
        let bytes = changed(good, |bytes| bytes[place] ^= 1);
        let judged = judge_as(&bytes, data!("good.der"), MADE_AT + 1);
        assert!(is_failure(&judged.findings), "byte {place} changed and nothing was found");
    }
}

proptest! {
    #[test]
    fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        judge_as(&bytes, data!("good.der"), MADE_AT);
    }

    #[test]
    fn no_mutation_panics(places in proptest::collection::vec((0usize..700, any::<u8>()), 1..6)) {
        for body in [&data!("ocsp-good.der")[..], data!("ocsp-revoked.der")] {
            judge_as(&overwritten(body, &places), data!("good.der"), MADE_AT);
        }
    }
}
