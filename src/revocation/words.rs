//! The words of the emergency lane: what can be ordered, and what is written down about it.

use crate::event::{Person, Seq};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Version of the lane's journal.
pub const FORMAT: u32 = 1;

/// Why a certificate is revoked: the reasons of RFC 5280 that an order may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each is the word of RFC 5280 itself")]
pub enum Reason {
    Unspecified,
    KeyCompromise,
    AffiliationChanged,
    Superseded,
    CessationOfOperation,
    PrivilegeWithdrawn,
}

impl Reason {
    /// Every reason with its code and its name in RFC 5280.
    pub const ALL: [(u8, &'static str, Self); 6] = [
        (0, "unspecified", Self::Unspecified),
        (1, "keyCompromise", Self::KeyCompromise),
        (3, "affiliationChanged", Self::AffiliationChanged),
        (4, "superseded", Self::Superseded),
        (5, "cessationOfOperation", Self::CessationOfOperation),
        (9, "privilegeWithdrawn", Self::PrivilegeWithdrawn),
    ];

    /// The code of RFC 5280, section 5.3.1.
    pub fn code(self) -> u8 {
        Self::ALL.iter().find(|(_, _, reason)| *reason == self).map_or(0, |(code, _, _)| *code)
    }

    /// The name in RFC 5280.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, _, reason)| *reason == self).map_or("", |(_, name, _)| name)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl FromStr for Reason {
    type Err = String;

    /// By code or name; upper case, dashes and underscores do not matter.
    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |text: &str| text.replace(['-', '_'], "").to_ascii_lowercase();
        let found = Self::ALL
            .iter()
            .find(|(code, name, _)| text == code.to_string() || plain(text) == plain(name));
        found.map(|(_, _, reason)| *reason).ok_or_else(|| {
            let names: Vec<String> =
                Self::ALL.iter().map(|(code, name, _)| format!("{name} ({code})")).collect();
            format!(
                "`{text}` is not a reason that may be ordered; it is one of {}",
                names.join(", ")
            )
        })
    }
}

/// A certificate of a product line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// The line's name.
    pub line: String,
    /// Its serial in lower-case hex, as in the line's database.
    pub serial: String,
}

impl Certificate {
    /// A certificate as people name it: the serial may be written in upper case, with colons, with
    /// `0x`.
    ///
    /// # Errors
    /// When the serial is not one (1 to 20 bytes of hex).
    pub fn new(line: impl Into<String>, serial: &str) -> Result<Self, String> {
        let plain: String = serial
            .trim()
            .trim_start_matches("0x")
            .chars()
            .filter(|c| *c != ':')
            .map(|c| c.to_ascii_lowercase())
            .collect();
        let fits = (1..=40).contains(&plain.len()) && plain.chars().all(|c| c.is_ascii_hexdigit());
        if !fits {
            return Err(format!("`{serial}` is not a serial number: 1 to 20 bytes in hex"));
        }
        Ok(Self { line: line.into(), serial: plain })
    }
}

impl fmt::Display for Certificate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} of {}", self.serial, self.line)
    }
}

/// A person's order to revoke one certificate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// Which.
    pub certificate: Certificate,
    /// Why.
    pub reason: Reason,
    /// When it was received: the clock of the duty to revoke starts here.
    pub received_at: Timestamp,
    /// An earlier moment since which the key is known to be compromised; counts for
    /// `keyCompromise` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compromised_at: Option<Timestamp>,
    /// Who ordered it.
    pub by: Person,
}

impl Order {
    /// What the order fixes when it is accepted: a UTC second, the same everywhere.
    pub fn terms(&self) -> Terms {
        let mut at = self.received_at;
        if let (Reason::KeyCompromise, Some(earlier)) = (self.reason, self.compromised_at) {
            at = at.min(earlier);
        }
        let revoked_at = Timestamp::from_second(at.as_second()).unwrap_or(at);
        Terms { revoked_at, reason: self.reason }
    }
}

/// The revocation as every site, responder and CRL must show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// revocationTime, a whole second.
    pub revoked_at: Timestamp,
    /// The reason.
    pub reason: Reason,
}

/// What is written down in the lane's journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Said {
    /// The first entry.
    Begun {
        /// [`FORMAT`].
        format: u32,
        /// Name of the run.
        run: String,
    },
    /// An order was taken on. It can never be taken back.
    Accepted(Order),
    /// An order was not taken on; changes nothing.
    Refused {
        /// The order.
        order: Order,
        /// Why.
        why: String,
    },
    /// The row at a site was brought to the terms, or found there so, or there is none.
    Applied {
        /// Which.
        certificate: Certificate,
        /// The site.
        site: String,
        /// The terms that the row has now.
        terms: Terms,
        /// The site holds no such row (a copy has not arrived yet): nothing to revoke until
        /// something touches the site.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        absent: bool,
        /// The newest record of the run that was known before the row was read.
        as_of: Seq,
    },
    /// A provider answered with the terms: asked past caches, verified.
    Published {
        /// Which.
        certificate: Certificate,
        /// Full name of the provider (`ocsp@to/ocsp-1[geotrust]`): OCSP and CRL alike.
        provider: String,
        /// The terms that it answered.
        terms: Terms,
        /// The newest record of the run that was known before it was asked.
        as_of: Seq,
    },
    /// A provider that had published it answered otherwise: it is asked for again.
    Lapsed {
        /// Which.
        certificate: Certificate,
        /// Full name of the provider.
        provider: String,
        /// What it answered.
        what: String,
    },
    /// Applied at every site, published at every serving provider.
    Confirmed {
        /// Which.
        certificate: Certificate,
        /// The newest record of the run then.
        as_of: Seq,
    },
}

/// An entry of the lane's journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number in the lane's journal, from 1.
    pub seq: Seq,
    /// When it was written.
    pub at: Timestamp,
    /// What it says.
    pub said: Said,
}
