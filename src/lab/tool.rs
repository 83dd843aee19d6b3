//! The commands that the lab's hosts have: `upgrade-ocsp --to 4.2`, `ocsp-version --is 4.2`, and the
//! like for `edge`, `orders`, `crl`, `db`. Small scripts under `hosts/SITE/HOST/` call here.
//!
//! Not known here: what an upgrade does; the lab's control API is asked for it.

use super::{Link, ask};
use crate::net::Ask;
use hyper::Method;
use std::path::Path;
use std::time::Duration;

/// How a command ends: its exit code and what it says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// 0 done or yes, 1 no, 2 wrongly called, 3 the lab did not answer.
    pub code: u8,
    /// For stdout.
    pub out: String,
    /// For stderr.
    pub err: String,
}

/// Carries out `DIR SITE HOST NAME ARGS...`.
pub fn main(arguments: &[String]) -> Said {
    let [directory, site, host, name, rest @ ..] = arguments else {
        return wrong("usage: lab tool DIR SITE HOST NAME [ARGUMENT]...");
    };
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    let link = match Link::read(Path::new(directory)) {
        Ok(link) => link,
        Err(error) => return Said { code: 3, err: format!("{error:#}"), ..Said::default() },
    };
    let url = format!("{}/hosts/{site}/{host}/version", link.control);
    if name.starts_with("upgrade-") {
        return match rest[..] {
            ["--to", version] => upgrade(&url, version),
            _ => wrong(&format!("usage: {name} --to VERSION")),
        };
    }
    if name.ends_with("-version") {
        return match rest[..] {
            [] => version(&url).map_or_else(
                |said| said,
                |version| Said { out: format!("{version}\n"), ..Said::default() },
            ),
            ["--is", wanted] => version(&url).map_or_else(
                |said| said,
                |found| Said {
                    code: u8::from(found != wanted),
                    out: format!("{found}\n"),
                    ..Said::default()
                },
            ),
            _ => wrong(&format!("usage: {name} [--is VERSION]")),
        };
    }
    wrong(&format!("`{name}` is no command of the lab's hosts"))
}

fn wrong(usage: &str) -> Said {
    Said { code: 2, out: String::new(), err: usage.to_owned() }
}

fn upgrade(url: &str, version: &str) -> Said {
    let body = serde_json::json!({ "version": version }).to_string();
    let request =
        Ask::with_body(Method::PUT, url, "application/json", body).within(Duration::from_secs(60));
    match answered(request) {
        Ok(answer) => {
            let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
            let build = answer["build"].as_u64().unwrap_or_default();
            let (from, to) = (text("was"), text("version"));
            Said {
                out: format!("upgraded from {from} to {to}\nbuild {build}\n"),
                ..Said::default()
            }
        }
        Err(said) => said,
    }
}

fn version(url: &str) -> Result<String, Said> {
    answered(Ask::get(url)).map(|answer| answer["version"].as_str().unwrap_or_default().to_owned())
}

fn answered(request: Ask) -> Result<serde_json::Value, Said> {
    let failed = |err: String| Said { code: 3, out: String::new(), err };
    let url = request.url.clone();
    let reply = ask(request).map_err(|error| failed(format!("{url}: {error}")))?;
    let text = String::from_utf8_lossy(&reply.body).into_owned();
    if reply.status != 200 {
        return Err(failed(format!("{url}: {} {}", reply.status, text.trim_end())));
    }
    serde_json::from_slice(&reply.body).map_err(|error| failed(format!("{url}: {error}")))
}
