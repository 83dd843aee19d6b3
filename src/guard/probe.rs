//! Asks one provider one question, and holds the answer against what it should be and against what
//! the provider said before.
//!
//! Not known here: when to ask, and what several answers add up to (`health`).

use super::cert::{CertError, CertHash, Issuer, Sentinel, Serial};
use super::fetch::{self, How};
use super::finding::{found, weighed};
use super::seal::Page;
use super::{Protocol, Target, crl, ocsp};
use crate::health::{Finding, HANG_AFTER, RE_ASK_AFTER, RE_ASKS, Severity, is_failure, worst};
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

const OCSP_TIMEOUT: Duration = Duration::from_secs(2);
const CRL_TIMEOUT: Duration = Duration::from_secs(10);
const SEAL_TIMEOUT: Duration = Duration::from_secs(3);

/// What is expected of a certificate that is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Good,
    Revoked,
    Unissued,
    /// Revoked from the moment at which the provider has once said so.
    Once,
}

/// A certificate that is asked about, or looked for in a list.
#[derive(Debug)]
struct Known {
    /// By place in the issuers.
    issuer: usize,
    class: Class,
    sentinel: Sentinel,
}

#[derive(Clone, Copy, Debug)]
enum Subject {
    /// By place in the certificates.
    Cert(usize),
    /// By place in the issuers.
    List(usize),
    Page,
}

/// What a provider said before, per subject.
#[derive(Debug, Default)]
struct Memory {
    /// Newest thisUpdate.
    this_update: BTreeMap<usize, i64>,
    /// Subjects that were once answered `revoked`.
    revoked: BTreeSet<usize>,
    /// Certificates (by place) that a list once held.
    listed: BTreeSet<usize>,
    /// The newest list, with what its bytes showed.
    lists: BTreeMap<usize, (crl::Crl, Vec<Finding>)>,
    page: Page,
}

/// Everything that can be asked of one provider.
#[derive(Debug)]
pub(crate) struct Prober {
    url: String,
    expect: Option<String>,
    issuers: Vec<Issuer>,
    certs: Vec<Known>,
    subjects: Vec<Subject>,
    /// How many of the subjects were there from the beginning.
    first: usize,
    memory: Mutex<Memory>,
}

/// One question: a subject and how it travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    subject: usize,
    how: How,
    nonce: bool,
    hash: CertHash,
}

impl Question {
    /// The same for every question about this subject that travels this way.
    pub(crate) fn number(self) -> u32 {
        u32::try_from(self.subject * 3).unwrap_or(u32::MAX - 3) + self.how as u32
    }

    /// Asked to see whether it would be answered; the answer judges nobody.
    pub(crate) fn is_on_the_side(self) -> bool {
        self.hash == CertHash::Sha256
    }
}

/// What one attempt came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attempt {
    pub(crate) findings: Vec<Finding>,
    /// None when nothing came back.
    pub(crate) took: Option<Duration>,
}

impl Prober {
    /// Reads the certificates of a target. All that cannot be used is told at once.
    pub(crate) fn load(target: &Target) -> Result<Self, Vec<CertError>> {
        let mut faults = Vec::new();
        let mut issuers = Vec::new();
        for path in &target.issuers {
            match Issuer::read(path) {
                Ok(issuer) => issuers.push(issuer),
                Err(fault) => faults.push(fault),
            }
        }
        let mut certs = Vec::new();
        let classes = [
            (Class::Good, &target.good),
            (Class::Revoked, &target.revoked),
            (Class::Unissued, &target.unissued),
        ];
        for (class, paths) in classes {
            for path in paths {
                match Sentinel::read(path) {
                    Ok(sentinel) => certs.push((class, sentinel)),
                    Err(fault) => faults.push(fault),
                }
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let certs = sort_out(&issuers, &certs, target.protocol);
        let subjects = match target.protocol {
            Protocol::Ocsp => (0..certs.len()).map(Subject::Cert).collect(),
            Protocol::Crl => (0..issuers.len()).map(Subject::List).collect(),
            Protocol::Seal => vec![Subject::Page],
        };
        Ok(Self {
            url: target.url.clone(),
            expect: target.expect.clone(),
            issuers,
            certs,
            first: subjects.len(),
            subjects,
            memory: Mutex::default(),
        })
    }

    /// How many questions a turn around all subjects has.
    pub(crate) fn subjects(&self) -> usize {
        self.first
    }

    /// From now on this certificate is asked about too, or looked for in lists: revoked once, revoked
    /// always. Of which issuer it is the serial does not say.
    pub(crate) fn look_after(&mut self, serial: &Serial) {
        if self.certs.iter().any(|known| known.sentinel.serial == *serial) {
            return;
        }
        let asked = matches!(self.subjects.first(), Some(Subject::Cert(_)));
        for (issuer, of) in self.issuers.iter().enumerate() {
            if asked {
                self.subjects.push(Subject::Cert(self.certs.len()));
            }
            let sentinel = Sentinel::by_serial(serial, of);
            self.certs.push(Known { issuer, class: Class::Once, sentinel });
        }
    }

    /// Which subject is asked about in this turn, and how often it was before. What came later gets
    /// one turn in four, however many they are: a false answer on the others is seen as soon as ever.
    fn whose_turn(&self, turn: u64) -> Option<(usize, u64)> {
        let (first, later) = (self.first as u64, (self.subjects.len() - self.first) as u64);
        if later > 0 && turn % 4 == 3 {
            return Some(((first + turn / 4 % later) as usize, turn / 4 / later));
        }
        let turn = if later > 0 { turn - turn / 4 } else { turn };
        Some((turn.checked_rem(first)? as usize, turn / first))
    }

    /// The `turn`-th question. Ways of travelling alternate from round to round, so that each
    /// subject is asked in each way.
    pub(crate) fn question(&self, turn: u64) -> Option<Question> {
        let (subject, round) = self.whose_turn(turn)?;
        let mut question = Question { subject, how: How::Post, nonce: false, hash: CertHash::Sha1 };
        if let Subject::Cert(place) = self.subjects[subject] {
            let known = &self.certs[place];
            let request =
                self.build(&question, &self.issuers[known.issuer], &known.sentinel.serial);
            question.how = match round % 3 {
                1 if fetch::fits_get(&request.request()) => How::Get,
                2 if fetch::fits_get(&request.request()) => How::GetEncoded,
                _ => How::Post,
            };
            let posts = round / 3;
            if question.how == How::Post {
                question.nonce = posts % 10 == 9;
                if posts % 10 == 4 {
                    question.hash = CertHash::Sha256;
                }
            }
        }
        Some(question)
    }

    fn build<'a>(
        &self,
        question: &Question,
        issuer: &'a Issuer,
        serial: &'a Serial,
    ) -> ocsp::Question<'a> {
        let nonce = question.nonce.then(|| {
            let mut bytes = [0; 32];
            fastrand::fill(&mut bytes);
            bytes
        });
        ocsp::Question { issuer, serial, hash: question.hash, nonce }
    }

    /// Asks, and asks again when the answer is wrong or does not come: up to two more times, over
    /// fresh connections. Ends with the first answer that settles it.
    pub(crate) async fn round(&self, question: Question) -> Vec<Attempt> {
        if question.is_on_the_side() {
            return vec![self.on_the_side(question).await];
        }
        let mut flying = FuturesUnordered::new();
        flying.push(self.ask(question));
        let mut asked = 1;
        let mut again = Instant::now() + HANG_AFTER;
        let mut attempts = Vec::new();
        loop {
            tokio::select! {
                Some(attempt) = flying.next() => {
                    let settled = !is_failure(&attempt.findings)
                        || worst(&attempt.findings) == Some(Severity::Lie);
                    attempts.push(attempt);
                    if settled {
                        return attempts;
                    }
                    if flying.is_empty() && asked > RE_ASKS {
                        break;
                    }
                    again = again.min(Instant::now() + RE_ASK_AFTER);
                }
                () = sleep_until(again), if asked <= RE_ASKS => {
                    flying.push(self.ask(question));
                    asked += 1;
                    again = Instant::now() + RE_ASK_AFTER;
                }
            }
        }
        if self.get_differs(question).await
            && let Some(last) = attempts.last_mut()
        {
            let what = "a GET is answered wrongly though the same POST is not";
            last.findings.push(found("ocsp-get-differs", what));
        }
        attempts
    }

    /// Whether a CertID by SHA-256 is answered: worth a note, no more.
    async fn on_the_side(&self, question: Question) -> Attempt {
        let mut attempt = self.ask(question).await;
        if is_failure(&attempt.findings) {
            let what = "a CertID made with SHA-256 is not answered";
            attempt.findings = vec![found("ocsp-certid-hash", what)];
        }
        attempt
    }

    async fn ask(&self, question: Question) -> Attempt {
        let answer = match self.subjects[question.subject] {
            Subject::Cert(place) => self.ask_cert(question, &self.certs[place]).await,
            Subject::List(issuer) => self.ask_list(question.subject, issuer).await,
            Subject::Page => self.ask_page().await,
        };
        answer.unwrap_or_else(|finding| Attempt { findings: vec![finding], took: None })
    }

    /// Whether it is only the GET that fails: asked when one has failed for good.
    async fn get_differs(&self, question: Question) -> bool {
        let post = Question { how: How::Post, ..question };
        question.how != How::Post && !is_failure(&self.ask(post).await.findings)
    }

    async fn ask_cert(&self, question: Question, known: &Known) -> Result<Attempt, Finding> {
        let Known { issuer, class, sentinel } = known;
        let issuer = &self.issuers[*issuer];
        let request = self.build(&question, issuer, &sentinel.serial);
        let url = crl::url_of(&self.url, issuer);
        let fetched = fetch::ocsp(&url, &request.request(), question.how, OCSP_TIMEOUT).await?;
        let now = fetch::now();
        let judged = ocsp::judge(&fetched.body, &request, now);
        let mut findings = fetched.findings;
        if judged.next_update > 0
            && fetched.fresh_until.is_some_and(|until| until > judged.next_update)
        {
            findings.push(found("ocsp-cache-headers", "caches may keep it past its nextUpdate"));
        }
        let mut memory = self.memory();
        let seen_revoked = memory.revoked.contains(&question.subject);
        let newest = memory.this_update.entry(question.subject).or_insert(judged.this_update);
        if judged.status.is_some() {
            if judged.this_update < *newest {
                findings.push(found("ocsp-went-back", "thisUpdate is older than one seen before"));
            }
            *newest = judged.this_update.max(*newest);
        }
        if matches!(judged.status, Some(ocsp::CertStatus::Revoked { .. })) {
            memory.revoked.insert(question.subject);
        }
        drop(memory);
        let expected = Expected { class: *class, seen_revoked, name: &sentinel.name };
        findings.extend(expected.hold_against(judged));
        Ok(Attempt { findings, took: Some(fetched.took) })
    }

    async fn ask_list(&self, subject: usize, issuer: usize) -> Result<Attempt, Finding> {
        let issuer = &self.issuers[issuer];
        let fetched = fetch::crl(&crl::url_of(&self.url, issuer), CRL_TIMEOUT).await?;
        let now = fetch::now();
        let mut findings = fetched.findings;
        let mut memory = self.memory();
        // A list that is byte for byte the last one is not verified again: it may be large.
        if let Some((last, shown)) = memory.lists.get(&subject)
            && last.raw() == &fetched.body
        {
            findings.extend(shown.iter().cloned());
            findings.extend(crl::times(last, now));
            let Memory { lists, listed, .. } = &mut *memory;
            findings.extend(
                lists.get(&subject).and_then(|(last, _)| self.dropped(last, issuer, listed)),
            );
            return Ok(Attempt { findings, took: Some(fetched.took) });
        }
        let (list, mut shown) = crl::open(fetched.body, issuer);
        if let Some(list) = list {
            shown.extend(self.listed(&list, issuer));
            let beside = memory.lists.get(&subject).map(|(last, _)| crl::against(last, &list));
            let beside = beside.unwrap_or_default();
            findings.extend(crl::times(&list, now));
            let went_back = beside.iter().any(|finding| finding.code == "crl-number-back");
            findings.extend(beside);
            // What is false or older than the newest list is not what later ones are held against.
            if !is_failure(&shown) && !went_back {
                findings.extend(self.dropped(&list, issuer, &mut memory.listed));
                memory.lists.insert(subject, (list, shown.clone()));
            }
        }
        findings.extend(shown);
        Ok(Attempt { findings, took: Some(fetched.took) })
    }

    /// The sentinels that are listed and should not be, and those that should be and are not.
    fn listed(&self, list: &crl::Crl, of: &Issuer) -> Vec<Finding> {
        let mut findings = Vec::new();
        for Known { issuer, class, sentinel } in &self.certs {
            if !std::ptr::eq(&raw const self.issuers[*issuer], of) {
                continue;
            }
            let what = match (class, list.find(&sentinel.serial).is_some()) {
                (Class::Revoked, false) => "is revoked and not listed",
                (Class::Good | Class::Unissued, true) => "is not revoked and listed",
                _ => continue,
            };
            findings.push(found("crl-sentinel", format!("`{}` {what}", sentinel.name)));
        }
        findings
    }

    /// A certificate that is looked after, was on this issuer's list once and is not any more. Nobody
    /// here knows when it expires; what was revoked in the course of a move does so long after.
    fn dropped(
        &self,
        list: &crl::Crl,
        of: &Issuer,
        listed: &mut BTreeSet<usize>,
    ) -> Option<Finding> {
        let mut gone = None;
        for (place, Known { issuer, class, sentinel }) in self.certs.iter().enumerate() {
            if *class != Class::Once || !std::ptr::eq(&raw const self.issuers[*issuer], of) {
                continue;
            }
            if list.find(&sentinel.serial).is_some() {
                listed.insert(place);
            } else if listed.contains(&place) {
                gone = Some(&sentinel.name);
            }
        }
        gone.map(|name| {
            found("crl-entry-dropped", format!("the revoked `{name}` is not listed any more"))
        })
    }

    async fn ask_page(&self) -> Result<Attempt, Finding> {
        let fetched = fetch::seal(&self.url, SEAL_TIMEOUT).await?;
        let findings = self.memory().page.judge(&fetched, self.expect.as_deref());
        Ok(Attempt { findings, took: Some(fetched.took) })
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        // A panic while it was held would have been a bug; what it holds is whole all the same.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives each certificate to its issuer; those of other issuers are left out. A responder of an
/// issuer without any is still asked: about a serial that was surely never issued.
fn sort_out(issuers: &[Issuer], certs: &[(Class, Sentinel)], protocol: Protocol) -> Vec<Known> {
    let mut known = Vec::new();
    for (place, issuer) in issuers.iter().enumerate() {
        let before = known.len();
        for (class, sentinel) in certs {
            if sentinel.is_of(issuer, *class != Class::Unissued) {
                known.push(Known { issuer: place, class: *class, sentinel: sentinel.clone() });
            }
        }
        if known.len() == before && protocol == Protocol::Ocsp {
            let sentinel = Sentinel::invented(issuer);
            known.push(Known { issuer: place, class: Class::Unissued, sentinel });
        }
    }
    known
}

struct Expected<'a> {
    class: Class,
    seen_revoked: bool,
    name: &'a str,
}

impl Expected<'_> {
    /// What an answer shows beside what it should say.
    fn hold_against(&self, mut judged: ocsp::Judged) -> Vec<Finding> {
        use ocsp::CertStatus::{Good, Revoked, Unknown};
        let name = self.name;
        let mut add = |finding: Finding| judged.findings.push(finding);
        match (self.class, judged.status) {
            (Class::Good, Some(Good)) | (Class::Revoked | Class::Once, Some(Revoked { .. })) => {}
            (Class::Once, Some(Good | Unknown)) if self.seen_revoked => {
                let what = format!("it called `{name}` revoked and does not any more");
                add(found("ocsp-unrevoked", what));
            }
            (Class::Once, Some(Good | Unknown)) => {}
            // It has spoken of it before: silence now is what it is for everybody.
            (Class::Once, None) if self.seen_revoked => {}
            (Class::Good, Some(Revoked { .. })) => {
                add(found("ocsp-revoked-good", format!("it calls the good `{name}` revoked")));
            }
            (Class::Revoked, Some(Good)) if self.seen_revoked => {
                add(found("ocsp-unrevoked", format!("it calls `{name}` good again")));
            }
            (Class::Revoked, Some(Good)) => {
                add(found("ocsp-good-revoked", format!("it calls the revoked `{name}` good")));
            }
            (Class::Good | Class::Revoked, Some(Unknown)) => {
                add(found("ocsp-unknown-good", format!("it does not know the issued `{name}`")));
            }
            (Class::Unissued, Some(Good)) => {
                let what = format!("it calls `{name}` good, which was never issued");
                add(found("ocsp-good-unissued", what));
            }
            // RFC 6960, 4.4.8: the extended definition of `revoked`.
            (Class::Unissued, Some(Unknown | Revoked { at: 0, reason: Some(6) })) => {}
            (Class::Unissued, Some(Revoked { .. })) => add(weighed(
                "ocsp-unknown-good",
                Severity::Note,
                format!("it calls `{name}` revoked, which was never issued"),
            )),
            // No answer to be believed: the findings say why. That it will not speak of what was
            // never issued, or (of several issuers) not by this one, is right.
            (Class::Unissued | Class::Once, None) => {
                judged.findings.retain(|finding| finding.code != "ocsp-status-unauthorized");
            }
            (Class::Good | Class::Revoked, None) => {}
        }
        judged.findings
    }
}
