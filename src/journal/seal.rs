//! The seal of a closed run: how far its journals go and what they end in, signed if there is a key.
//!
//! A chain of hashes cannot see that its newest records were taken away; a seal can, as long as it is
//! kept. Signed with a key that lies elsewhere it also shows that nobody who has the run directory has
//! written the chain anew. A run that is closed may still take orders to revoke: what comes after the
//! seal is told, and not covered by it.
//!
//! Signed is the text of [`Seal::signed`], with ed25519 (RFC 8032). Not known here: who may sign.

use super::chain::{Flaw, Scanner};
use super::lock::NO_FOLLOW;
use super::replay::Verified;
use super::rundir::RunDir;
use super::store;
use crate::event::Seq;
use jiff::Timestamp;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Version of the seal's form.
const FORM: u32 = 1;
/// A key or a seal is small; more is not read.
const LONGEST: u64 = 64 << 10;
/// What stands before the 32 bytes of an ed25519 key in a `SubjectPublicKeyInfo` (RFC 8410).
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];

/// How far a journal goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extent {
    /// Its records.
    pub records: Seq,
    /// Their bytes.
    pub bytes: u64,
    /// Hash of the last one.
    pub head: String,
}

impl From<&Verified> for Extent {
    fn from(it: &Verified) -> Self {
        Self { records: it.records, bytes: it.bytes, head: it.head.clone() }
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {} {}", self.records, self.bytes, self.head)
    }
}

/// What `seal.json` holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seal {
    seal: u32,
    /// Name of the run.
    pub run: String,
    /// When it was sealed.
    pub at: Timestamp,
    /// The run's journal; it ends there.
    pub journal: Extent,
    /// The emergency lane's; it may go on.
    pub revocations: Option<Extent>,
    /// The public key, 64 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// 128 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signature: Option<String>,
}

impl Seal {
    /// Of journals that were just verified, signed if there is somebody to sign.
    pub fn new(
        run: String,
        at: Timestamp,
        journal: &Verified,
        lane: Option<&Verified>,
        signer: Option<&Signer>,
    ) -> Self {
        let mut seal = Self {
            seal: FORM,
            run,
            at,
            journal: journal.into(),
            revocations: lane.map(Extent::from),
            key: signer.map(Signer::public),
            signature: None,
        };
        seal.signature = signer.map(|signer| hex(signer.0.sign(seal.signed().as_bytes()).as_ref()));
        seal
    }

    /// The text that is signed: a line for each field.
    pub fn signed(&self) -> String {
        let lane = self.revocations.as_ref().map_or_else(|| "none".to_owned(), Extent::to_string);
        format!(
            "cutover seal {}\nrun {}\nat {}\njournal {}\nrevocations {lane}\n",
            self.seal, self.run, self.at, self.journal
        )
    }

    /// The seal of a run; none when it has none.
    ///
    /// # Errors
    /// It cannot be read, or is none.
    pub fn read(dir: &RunDir) -> io::Result<Option<Self>> {
        let text = match read(&dir.seal(), NO_FOLLOW) {
            Ok((_, text)) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let seal: Self = serde_json::from_slice(&text).map_err(invalid)?;
        if seal.seal != FORM {
            let why = format!("a seal of form {}; this program reads form {FORM}", seal.seal);
            return Err(invalid(why));
        }
        Ok(Some(seal))
    }

    /// Puts it into the run's directory, durable.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, dir: &RunDir) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(self).map_err(io::Error::other)?;
        text.push(b'\n');
        store::write_new(&dir.seal(), &text)
    }

    /// Whether it is this journal that was sealed, whole, and who signed it; `lane` as it is now.
    /// `key`: the only one that counts, 64 hex digits.
    ///
    /// # Errors
    /// Why not.
    pub fn judge(
        &self,
        dir: &RunDir,
        journal: &Verified,
        lane: Option<&Verified>,
        key: Option<&str>,
    ) -> Result<Judged, String> {
        if Extent::from(journal) != self.journal {
            return Err(format!(
                "the journal has {} records that end in {}, and {} that end in {} were sealed",
                journal.records, journal.head, self.journal.records, self.journal.head
            ));
        }
        let after = match (&self.revocations, lane) {
            (None, lane) => lane.map_or(0, |lane| lane.records),
            (Some(_), None) => return Err("the revocations were sealed, and are gone".to_owned()),
            (Some(sealed), Some(lane)) => {
                let head = head_at(&dir.revocations(), sealed.records)
                    .map_err(|error| format!("reading the revocations: {error}"))?;
                if head.as_ref() != Some(&sealed.head) {
                    return Err(format!(
                        "the first {} revocation records are not those that were sealed",
                        sealed.records
                    ));
                }
                lane.records - sealed.records
            }
        };
        match (&self.key, &self.signature) {
            (Some(by), Some(signature)) => self.signed_by(by, signature)?,
            (None, None) => {}
            _ => return Err("it has a key without a signature, or the reverse".to_owned()),
        }
        match (key, &self.key) {
            (Some(_), None) => Err("it is not signed".to_owned()),
            (Some(key), Some(by)) if key != by => {
                Err(format!("it is signed by the key {by}, not by {key}"))
            }
            _ => Ok(Judged { by: self.key.clone(), after }),
        }
    }

    fn signed_by(&self, key: &str, signature: &str) -> Result<(), String> {
        let (key, signature) =
            unhex(key).zip(unhex(signature)).ok_or("its key or signature is not in hex digits")?;
        UnparsedPublicKey::new(&ED25519, key)
            .verify(self.signed().as_bytes(), &signature)
            .map_err(|_| "its signature is not one of its key over it".to_owned())
    }
}

/// What a seal that holds says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The key that signed it.
    pub by: Option<String>,
    /// Revocation records after it.
    pub after: Seq,
}

/// A private key.
pub struct Signer(Ed25519KeyPair);

impl fmt::Debug for Signer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Signer({})", self.public())
    }
}

impl Signer {
    /// Reads an ed25519 key in PKCS#8, PEM or DER, as `openssl genpkey -algorithm ed25519` writes it.
    ///
    /// # Errors
    /// It cannot be read, is no such key, or others may read it.
    pub fn read(path: &Path) -> io::Result<Self> {
        let (file, bytes) = read(path, 0)?;
        if file.metadata()?.permissions().mode() & 0o077 != 0 {
            return Err(invalid("others may read or write it: `chmod 600` first"));
        }
        let der = der_of(&bytes, "PRIVATE KEY")?;
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der)
            .map(Self)
            .map_err(|why| invalid(format!("it is no ed25519 key in PKCS#8: {why}")))
    }

    /// The public key, 64 hex digits.
    pub fn public(&self) -> String {
        hex(self.0.public_key().as_ref())
    }
}

/// A public key as 64 hex digits: written so, or the path of a file, PEM or DER, as `openssl pkey
/// -pubout` writes it.
///
/// # Errors
/// It is neither.
pub fn public_key(given: &str) -> io::Result<String> {
    if unhex(given).is_some_and(|key| key.len() == 32) {
        return Ok(given.to_ascii_lowercase());
    }
    let der = der_of(&read(Path::new(given), 0)?.1, "PUBLIC KEY")?;
    match der.strip_prefix(&SPKI) {
        Some(key) if key.len() == 32 => Ok(hex(key)),
        _ => Err(invalid("it is no public ed25519 key")),
    }
}

fn read(path: &Path, flags: i32) -> io::Result<(File, Vec<u8>)> {
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let mut bytes = Vec::new();
    (&file).take(LONGEST).read_to_end(&mut bytes)?;
    Ok((file, bytes))
}

fn der_of(bytes: &[u8], label: &str) -> io::Result<Vec<u8>> {
    if !bytes.starts_with(b"-----") {
        return Ok(bytes.to_owned());
    }
    match der::pem::decode_vec(bytes) {
        Ok((found, der)) if found == label => Ok(der),
        Ok((found, _)) => Err(invalid(format!("it holds a `{found}`, not a `{label}`"))),
        Err(why) => Err(invalid(format!("it is no PEM: {why}"))),
    }
}

fn invalid(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// The hash of the record of that number, by the chain alone; none when it does not go so far.
fn head_at(path: &Path, records: Seq) -> io::Result<Option<String>> {
    let mut scanner = Scanner::new(File::open(path)?)?;
    while scanner.head().seq < records {
        match scanner.next::<IgnoredAny>() {
            Ok(Some(_)) => {}
            Ok(None) | Err(Flaw::Torn(_) | Flaw::Damaged(_)) => return Ok(None),
            Err(Flaw::Io(error)) => return Err(error),
        }
    }
    Ok(Some(scanner.head().hash.to_string()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    /// RFC 8032, section 7.1, test 1.
    const SECRET: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    const PUBLIC: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

    fn signer() -> Signer {
        let seed = unhex(SECRET).expect("hex");
        Signer(Ed25519KeyPair::from_seed_unchecked(&seed).expect("a key"))
    }

    fn verified(records: Seq) -> Verified {
        let head = "ab".repeat(32);
        Verified { file: PathBuf::from("j"), records, bytes: 9 * records, head, flaw: None }
    }

    fn dir() -> (tempfile::TempDir, RunDir) {
        let temp = tempfile::tempdir().expect("a directory");
        let dir = RunDir::new(temp.path());
        (temp, dir)
    }

    #[test]
    fn a_seal_comes_back_and_every_changed_field_is_seen() {
        let (_temp, dir) = dir();
        assert_eq!(Seal::read(&dir).expect("read"), None);
        let at = Timestamp::UNIX_EPOCH;
        let signer = signer();
        assert_eq!(signer.public(), PUBLIC);
        let seal = Seal::new("r".into(), at, &verified(7), None, Some(&signer));
        seal.write(&dir).expect("written");
        assert_eq!(Seal::read(&dir).expect("read"), Some(seal.clone()));
        let judge = |seal: &Seal, key| seal.judge(&dir, &verified(7), None, key);
        let good = Judged { by: Some(PUBLIC.into()), after: 0 };
        assert_eq!(judge(&seal, Some(PUBLIC)), Ok(good.clone()));
        assert_eq!(judge(&seal, None), Ok(good));
        assert!(seal.judge(&dir, &verified(8), None, None).is_err());
        let other = &"00".repeat(32);
        assert!(judge(&seal, Some(other)).expect_err("refused").contains("signed by the key"));
        let plain = Seal::new("r".into(), at, &verified(7), None, None);
        assert_eq!(judge(&plain, None), Ok(Judged { by: None, after: 0 }));
        assert_eq!(judge(&plain, Some(PUBLIC)), Err("it is not signed".to_owned()));
        for forged in [
            Seal { run: "s".into(), ..seal.clone() },
            Seal { at: Timestamp::from_second(1).expect("a time"), ..seal.clone() },
            Seal { key: Some(other.clone()), ..seal.clone() },
            Seal { signature: None, ..seal.clone() },
            Seal { signature: Some("é".into()), ..seal.clone() },
        ] {
            judge(&forged, None).expect_err("it is not what was signed");
        }
    }

    #[test]
    fn keys_are_read_as_openssl_writes_them_and_only_where_nobody_else_can() {
        let (temp, _) = dir();
        let put = |name: &str, text: &str, mode: u32| {
            let path = temp.path().join(name);
            std::fs::write(&path, text).expect("written");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("set");
            path
        };
        // `openssl genpkey -algorithm ed25519`, of the key of RFC 8032.
        let pem = "-----BEGIN PRIVATE KEY-----\n\
                   MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
                   -----END PRIVATE KEY-----\n";
        let key = put("key.pem", pem, 0o600);
        assert_eq!(Signer::read(&key).expect("a key").public(), PUBLIC);
        let open = Signer::read(&put("open.pem", pem, 0o640)).expect_err("refused");
        assert!(open.to_string().contains("chmod 600"), "{open}");
        for (name, text) in [("a", ""), ("b", "-----BEGIN X-----\n"), ("c", "no key")] {
            Signer::read(&put(name, text, 0o600)).expect_err("no key");
        }
        let public = "-----BEGIN PUBLIC KEY-----\n\
                      MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n\
                      -----END PUBLIC KEY-----\n";
        let file = put("public.pem", public, 0o644);
        assert_eq!(public_key(&file.to_string_lossy()).expect("a key"), PUBLIC);
        assert_eq!(public_key(&PUBLIC.to_uppercase()).expect("a key"), PUBLIC);
        public_key(&key.to_string_lossy()).expect_err("not the private one");
    }
}
