//! Faults that a lab can be told to have, and how they are written.
//!
//! Not known here: how a service shows one.

use std::fmt;
use std::time::Duration;

/// Something false or damaged in otherwise signed answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lie {
    /// Signed by a stranger's key.
    WrongKey,
    /// Past its nextUpdate.
    Expired,
    /// Valid, but made five days ago.
    Stale,
    /// Good for whatever is asked.
    GoodForAll,
    /// A number below the last one (CRL).
    NumberBack,
    /// Names another site (seal).
    WrongSite,
}

/// What happens to a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nobody listens.
    Down,
    /// Connections are taken, nothing is answered.
    Hang,
    /// HTTP 500.
    Error,
    /// Answers after a second more.
    Slow,
    /// A false answer.
    Lie(Lie),
}

/// Every kind: its word, what it is, and where it can be (`*`: any provider).
const KINDS: [(&str, Kind, &str); 10] = [
    ("down", Kind::Down, "*"),
    ("hang", Kind::Hang, "*"),
    ("error", Kind::Error, "*"),
    ("slow", Kind::Slow, "*"),
    ("wrong-key", Kind::Lie(Lie::WrongKey), "ocsp crl"),
    ("expired", Kind::Lie(Lie::Expired), "ocsp crl"),
    ("stale", Kind::Lie(Lie::Stale), "ocsp crl"),
    ("good-for-all", Kind::Lie(Lie::GoodForAll), "ocsp"),
    ("number-back", Kind::Lie(Lie::NumberBack), "crl"),
    ("wrong-site", Kind::Lie(Lie::WrongSite), "seal"),
];

/// What is struck.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A provider of a service.
    Provider {
        /// `ocsp`, `crl`, `seal`.
        service: String,
        /// Site.
        site: String,
        /// Host.
        host: String,
    },
    /// A whole site is cut off: connections hang.
    Site(String),
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Provider { service, site, host } => write!(out, "{service}@{site}/{host}"),
            Self::Site(site) => write!(out, "site:{site}"),
        }
    }
}

/// A fault: where, what, for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Where.
    pub(super) place: Place,
    /// What.
    pub(super) kind: Kind,
    /// Ends by itself.
    pub(super) lasts: Option<Duration>,
}

/// Reads `ocsp@to/ocsp-1=wrong-key`, `crl@from/crl-1=down:10s`, `site:to=partition:30s`.
pub(super) fn parse(text: &str) -> Result<Fault, String> {
    let hint = "such as `ocsp@to/ocsp-1=wrong-key` or `site:to=partition:30s`";
    let (place, what) =
        text.split_once('=').ok_or_else(|| format!("`{text}` is no fault of the lab, {hint}"))?;
    let place = self::place(place).ok_or_else(|| {
        format!("`{place}` is no place of the lab, {hint}; services are ocsp, crl, seal")
    })?;
    let (word, lasts) = match what.split_once(':') {
        Some((word, lasts)) => (word, Some(duration(lasts)?)),
        None => (what, None),
    };
    let kind = match &place {
        Place::Site(_) if word == "partition" => Kind::Hang,
        Place::Site(_) => return Err(format!("a site can have `partition`, not `{word}`")),
        Place::Provider { service, .. } => {
            let fits = |of: &str| of == "*" || of.split(' ').any(|one| one == service);
            let known = KINDS.iter().filter(|(_, _, of)| fits(of));
            let found = known.clone().find(|(name, ..)| *name == word);
            let Some((_, kind, _)) = found else {
                let words: Vec<_> = known.map(|(name, ..)| format!("`{name}`")).collect();
                return Err(format!("`{service}` can have {}, not `{word}`", words.join(", ")));
            };
            *kind
        }
    };
    Ok(Fault { place, kind, lasts })
}

/// The word that a kind is written with.
pub(super) fn word(kind: Kind) -> &'static str {
    KINDS.iter().find(|(_, known, _)| *known == kind).map_or("down", |(word, ..)| word)
}

fn place(text: &str) -> Option<Place> {
    if let Some(site) = text.strip_prefix("site:") {
        return super::SITES.contains(&site).then(|| Place::Site(site.to_owned()));
    }
    let (service, at) = text.split_once('@')?;
    let (site, host) = at.split_once('/')?;
    let known = super::PROVIDERS.contains(&(service, host)) && super::SITES.contains(&site);
    known.then(|| Place::Provider {
        service: service.to_owned(),
        site: site.to_owned(),
        host: host.to_owned(),
    })
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed: Result<jiff::SignedDuration, _> = text.parse();
    parsed
        .ok()
        .filter(|lasts| lasts.is_positive())
        .map(|lasts| lasts.unsigned_abs())
        .ok_or_else(|| format!("`{text}` is no duration, such as `30s`"))
}

/// Every fault that a lab can have, as it is written, one a line.
pub fn faults() -> Vec<String> {
    let mut out = Vec::new();
    for site in super::SITES {
        for (service, host) in super::PROVIDERS {
            for (word, _, of) in KINDS {
                if of == "*" || of.split(' ').any(|one| one == service) {
                    out.push(format!("{service}@{site}/{host}={word}"));
                }
            }
        }
        out.push(format!("site:{site}=partition:30s"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_fault_is_read() {
        for text in faults() {
            let fault = parse(&text).unwrap();
            assert_eq!(fault.lasts.is_some(), text.ends_with("30s"));
            assert!(text.starts_with(&fault.place.to_string()), "{text}");
        }
    }

    #[test]
    fn what_is_no_fault_is_refused_with_what_would_be_one() {
        for (text, part) in [
            ("ocsp@to/ocsp-1", "such as"),
            ("ocsp@to/ocsp-9=down", "no place"),
            ("dns@to/ocsp-1=down", "no place"),
            ("seal@to/seal-1=wrong-key", "`wrong-site`"),
            ("site:to=down", "`partition`"),
            ("site:to=partition:soon", "no duration"),
            ("ocsp@to/ocsp-1=down:-3s", "no duration"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
