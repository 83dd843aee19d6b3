//! A secret, fetched where it is used and dropped when that is over.
//!
//! The estate refers to it; nothing keeps it, prints it, or hands it on in an argument. Not known here:
//! what it opens.

use crate::estate::Secret;
use crate::failure::Failure;
use std::fmt;
use std::io::Read as _;
use std::ops::Deref;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// A secret is a line, not a file.
const LARGEST: u64 = 64 << 10;
/// For the command that tells it.
const PATIENCE: Duration = Duration::from_secs(30);

/// What opens something. Prints as nothing.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Told(String);

impl Deref for Told {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Told {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("(secret)")
    }
}

/// Fetches it, without the line end that an editor leaves behind it.
///
/// # Errors
/// It is not there, is empty, is no text, or its file can be read by others. The message never holds it.
pub(crate) async fn tell(secret: &Secret) -> Result<Told, Failure> {
    let (what, bytes) = match secret {
        Secret::Env(name) => {
            let what = format!("variable `{name}`");
            let value = std::env::var_os(name)
                .ok_or_else(|| Failure::last("it is not set").while_doing(what.clone()))?;
            (what, value.into_encoded_bytes())
        }
        Secret::File(path) => {
            let what = format!("secret file `{}`", path.display());
            let bytes = of_file(path).map_err(|failure| failure.while_doing(what.clone()))?;
            (what, bytes)
        }
        Secret::Command(argv) => {
            let what = format!("secret command `{}`", argv.first().map_or("", String::as_str));
            let bytes = of_command(argv).await.map_err(|why| why.while_doing(what.clone()))?;
            (what, bytes)
        }
    };
    let wrong = |why: &str| Failure::last(why).while_doing(what.clone());
    let text = String::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8 text"))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(wrong("it is empty"));
    }
    Ok(Told(text.to_owned()))
}

fn of_file(path: &Path) -> Result<Vec<u8>, Failure> {
    let trouble = |error: std::io::Error| Failure::last(error.to_string());
    let file = std::fs::File::open(path).map_err(trouble)?;
    let about = file.metadata().map_err(trouble)?;
    if !about.is_file() {
        return Err(Failure::last("it is not a file"));
    }
    // The one that was opened, not the one that its name may mean by now.
    let mode = about.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Failure::last(format!(
            "its mode {mode:o} lets others read it; `chmod 600 {}`",
            path.display()
        )));
    }
    if about.size() > LARGEST {
        return Err(Failure::last(format!("{} bytes are too many for a secret", about.size())));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST).read_to_end(&mut bytes).map_err(trouble)?;
    Ok(bytes)
}

async fn of_command(argv: &[String]) -> Result<Vec<u8>, Failure> {
    let [program, arguments @ ..] = argv else { return Err(Failure::last("it names no command")) };
    let output = tokio::process::Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, output)
        .await
        .map_err(|_| Failure::transient(format!("it does not end in {PATIENCE:?}")))?
        .map_err(|error| Failure::transient(error.to_string()))?;
    if !output.status.success() {
        return Err(Failure::transient(format!("{}", output.status)));
    }
    if output.stdout.len() as u64 > LARGEST {
        return Err(Failure::last(format!("{} bytes are too many", output.stdout.len())));
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn file(mode: u32, bytes: &[u8]) -> (tempfile::TempDir, Secret) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("key");
        fs::write(&path, bytes).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set");
        (dir, Secret::File(path))
    }

    #[tokio::test]
    async fn a_file_that_others_can_read_is_refused_and_never_shown() {
        let (_dir, secret) = file(0o600, b"hunter2\n");
        let told = tell(&secret).await.expect("told");
        assert_eq!((&*told, format!("{told:?}")), ("hunter2", "(secret)".to_owned()));
        for (mode, bytes) in [
            (0o640, &b"hunter2"[..]),
            (0o604, b"hunter2"),
            (0o600, b""),
            (0o600, b"\n"),
            (0o600, b"\xffhunter2"),
        ] {
            let (_dir, secret) = file(mode, bytes);
            let why = tell(&secret).await.expect_err("refused").to_string();
            assert!(!why.contains("hunter2"), "{why}");
        }
    }

    #[tokio::test]
    async fn a_command_tells_it_and_its_failure_does_not() {
        let tells =
            |script: &str| Secret::Command(["sh", "-c", script].map(ToOwned::to_owned).to_vec());
        assert_eq!(&*tell(&tells("echo hunter2")).await.expect("told"), "hunter2");
        let why = tell(&tells("echo hunter2; exit 3")).await.expect_err("failed").to_string();
        assert!(why.contains('3') && !why.contains("hunter2"), "{why}");
    }
}
