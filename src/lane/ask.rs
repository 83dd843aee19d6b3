//! Asks OCSP and CRL providers whether they publish revocations: past caches, over fresh
//! connections, verified.
//!
//! Not known here: what follows from an answer.

use crate::estate::Estate;
use crate::guard::ocsp::{self, CertStatus};
use crate::guard::{Issuer, Serial, crl};
use crate::revocation::{Certificate, Terms};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

const OCSP_TIMEOUT: Duration = Duration::from_secs(3);
const CRL_TIMEOUT: Duration = Duration::from_secs(10);

/// What a provider says of a revocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Says {
    /// Our time and our reason.
    Terms,
    /// Something else, rightly signed.
    Otherwise(String),
    /// No answer to be believed.
    Nothing(String),
}

/// The certificates of issuers, read once.
#[derive(Debug, Default)]
pub(super) struct Issuers {
    read: BTreeMap<PathBuf, Issuer>,
}

/// Someone who can be asked.
#[derive(Clone, Debug)]
pub(super) struct Provider {
    crl: bool,
    url: String,
    issuers: Vec<Issuer>,
}

/// Whether a provider of this name is asked at all: seals know no revocations.
pub(super) fn is_asked(provider: &str) -> bool {
    matches!(provider.split('@').next(), Some("ocsp" | "crl"))
}

impl Issuers {
    /// The provider of this name (`ocsp@to/ocsp-1[geotrust]`), for a line.
    pub(super) fn provider(
        &mut self,
        estate: &Estate,
        name: &str,
        line: &str,
    ) -> Result<Provider, String> {
        let unknown = || format!("the estate has no provider `{name}`");
        let base = name.split('[').next().unwrap_or(name);
        let (service_name, rest) = base.split_once('@').ok_or_else(unknown)?;
        let (site, host) = rest.split_once('/').ok_or_else(unknown)?;
        let site = estate.sites.get(site).ok_or_else(unknown)?;
        let service = site.services.get(service_name).ok_or_else(unknown)?;
        let provider = service.providers.get(host).ok_or_else(unknown)?;
        let mut issuers = Vec::new();
        for path in service.issuers.of(Some(line)) {
            let issuer = match self.read.get(&path) {
                Some(issuer) => issuer.clone(),
                None => {
                    let issuer = Issuer::read(&path).map_err(|error| error.to_string())?;
                    self.read.insert(path, issuer.clone());
                    issuer
                }
            };
            issuers.push(issuer);
        }
        if issuers.is_empty() {
            return Err(format!("the estate names no issuer of `{line}` for `{base}`"));
        }
        let url = provider.url.replace("{line}", line);
        Ok(Provider { crl: service_name == "crl", url, issuers })
    }
}

impl Provider {
    /// Asks about some certificates; the answers in their order.
    pub(super) async fn ask(&self, of: &[(Certificate, Terms)]) -> Vec<Says> {
        if self.crl { self.ask_lists(of).await } else { self.ask_ocsp(of).await }
    }

    async fn ask_ocsp(&self, of: &[(Certificate, Terms)]) -> Vec<Says> {
        let mut answers = Vec::new();
        let mut hangs = None;
        for (certificate, terms) in of {
            // Who does not answer one question in its time is not waited for with every other.
            if let Some(why) = &hangs {
                answers.push(Says::Nothing(String::clone(why)));
                continue;
            }
            let Some(serial) = Serial::from_hex(&certificate.serial) else {
                answers.push(Says::Nothing(format!("`{}` is no serial", certificate.serial)));
                continue;
            };
            // Which issuer it is of, the serial does not say.
            let mut says = Says::Nothing("nobody was asked".to_owned());
            for issuer in &self.issuers {
                let url = self.url.replace("{issuer}", &issuer.stem);
                let answer = ocsp::status_of(&url, issuer, &serial, OCSP_TIMEOUT).await;
                let one = match answer {
                    Ok(CertStatus::Revoked { at, reason }) => compare(*terms, at, reason),
                    Ok(CertStatus::Good) => Says::Otherwise("answers `good`".to_owned()),
                    Ok(CertStatus::Unknown) => Says::Otherwise("answers `unknown`".to_owned()),
                    Err(finding) => {
                        if matches!(finding.code, "ocsp-slow" | "ocsp-unreachable") {
                            hangs = Some(finding.to_string());
                        }
                        Says::Nothing(finding.to_string())
                    }
                };
                says = better(says, one);
                if says == Says::Terms {
                    break;
                }
            }
            answers.push(says);
        }
        answers
    }

    async fn ask_lists(&self, of: &[(Certificate, Terms)]) -> Vec<Says> {
        let mut answers = vec![Says::Nothing("nobody was asked".to_owned()); of.len()];
        for issuer in &self.issuers {
            let list = crl::get(&self.url, issuer, CRL_TIMEOUT).await;
            for ((certificate, terms), says) in of.iter().zip(&mut answers) {
                let serial = Serial::from_hex(&certificate.serial);
                let one = match (&list, serial) {
                    (Err(finding), _) => Says::Nothing(finding.to_string()),
                    (_, None) => Says::Nothing(format!("`{}` is no serial", certificate.serial)),
                    (Ok(list), Some(serial)) => match list.find(&serial) {
                        Some(entry) => compare(*terms, entry.at, entry.reason),
                        None => Says::Otherwise("does not list it".to_owned()),
                    },
                };
                *says = better(std::mem::replace(says, Says::Terms), one);
            }
        }
        answers
    }
}

/// Of two issuers' answers about one serial, the one that counts.
fn better(one: Says, other: Says) -> Says {
    match (&one, &other) {
        (Says::Terms, _) | (Says::Otherwise(_), Says::Nothing(_)) => one,
        _ => other,
    }
}

fn compare(terms: Terms, at: i64, reason: Option<u8>) -> Says {
    let (our_at, our_reason) = (terms.revoked_at.as_second(), terms.reason.code());
    let reason = reason.unwrap_or(0);
    if (at, reason) == (our_at, our_reason) {
        Says::Terms
    } else {
        Says::Otherwise(format!(
            "answers `revoked` at {at} for reason {reason}, not at {our_at} for {our_reason}"
        ))
    }
}
