//! Writes what a plan is bound to: `estate.yaml`, and the commands of the hosts.
//!
//! Everything in the file is absolute but the certificates, which lie beside it: the file can be
//! copied with them ([`super::place_estate`]).

use super::{HOSTS, ROLES, ROUTES, SITES, world};
use anyhow::{Context as _, Result};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// The addresses that a lab got.
pub(super) struct Addresses<'a> {
    /// The control API.
    pub(super) control: &'a str,
    /// Site and host to URL.
    pub(super) hosts: &'a BTreeMap<(&'static str, &'static str), String>,
}

/// A string in a form that YAML and JSON share.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn path(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

/// The text of `estate.yaml`.
pub(super) fn text(directory: &Path, lines: &[String], at: &Addresses<'_>) -> String {
    let mut out = String::from("# Written by the lab when it is up.\n");
    out.push_str("estate: v1\nname: lab\nproduction: false\nsites:\n");
    for site in SITES {
        write_site(&mut out, directory, lines, at, site);
    }
    out.push_str("sentinels:\n");
    for class in ["good", "revoked", "unissued"] {
        let files: Vec<_> = lines.iter().map(|line| format!("{line}-{class}.pem")).collect();
        let _ = writeln!(out, "  {class}: [{}]", files.join(", "));
    }
    out.push_str("probe: { every: 200ms, recovery: 3 }\n");
    out.push_str("people:\n  release-managers: [mara, jo]\n  security: [kim]\n");
    out.push_str("  custodians: [lee, ana]\nchannels:\n");
    for channel in ["customers", "partner-blog"] {
        let place = path(&directory.join("channels").join(channel));
        let _ = writeln!(out, "  {channel}: {{ directory: {place} }}");
    }
    let _ =
        writeln!(out, "lab: {{ control: {}, directory: {} }}", quoted(at.control), path(directory));
    out
}

fn write_site(
    out: &mut String,
    directory: &Path,
    lines: &[String],
    at: &Addresses<'_>,
    site: &'static str,
) {
    let url = |host: &'static str| at.hosts.get(&(site, host)).map_or("", String::as_str);
    let control = at.control;
    // Writing to a string cannot fail.
    let _ = writeln!(out, "  {site}:\n    hosts:");
    for (host, ..) in HOSTS {
        let place = path(&directory.join("hosts").join(site).join(host));
        let _ = writeln!(out, "      {host}: {{ local: {{ path: {place} }} }}");
    }
    let _ = writeln!(out, "    edge:\n      url: {}", quoted(url("edge-1")));
    let _ = writeln!(out, "      admin: {}", quoted(&format!("{control}/edge/{site}")));
    out.push_str("      routes:\n");
    for route in ROUTES {
        let _ = writeln!(out, "        {route}: {}", quoted(&format!("/{{line}}/{route}")));
    }
    out.push_str("      protected:\n");
    for (service, place) in
        [("ocsp", "/ocsp/{line}"), ("crl", "/crl/{line}.crl"), ("seal", "/seal/{line}")]
    {
        let _ = writeln!(out, "        {service}: {}", quoted(place));
    }
    out.push_str("    databases:\n");
    for line in lines {
        let place = path(&world::database(directory, site, line));
        let _ = writeln!(out, "      {line}: {{ sqlite: {place} }}");
    }
    out.push_str("    orders: { table: orders }\n    roles:\n");
    for role in ROLES {
        let admin = quoted(&format!("{control}/roles/{role}/{site}/{{line}}"));
        let _ = writeln!(out, "      {role}: {{ admin: {admin} }}");
    }
    out.push_str("    services:\n");
    for (service, hosts, form) in [
        ("ocsp", &["ocsp-1", "ocsp-2"][..], "/"),
        ("crl", &["crl-1"], "/{issuer}.crl"),
        ("seal", &["seal-1"], "/"),
    ] {
        let _ = writeln!(out, "      {service}:\n        providers:");
        for host in hosts {
            let admin = format!("{control}/providers/{service}/{site}/{host}/{{line}}");
            let _ = writeln!(
                out,
                "          {host}: {{ url: {}, admin: {} }}",
                quoted(&format!("{}{form}", url(host))),
                quoted(&admin)
            );
        }
        if service == "seal" {
            out.push_str("        expect: \"Secured by\"\n");
            continue;
        }
        out.push_str("        issuers:\n");
        for line in lines {
            let _ = writeln!(out, "          {line}: [{line}-ca.pem]");
        }
    }
}

/// The scripts of every host: `upgrade-SOFTWARE`, `SOFTWARE-version`.
pub(super) fn write_commands(directory: &Path, program: &Path) -> Result<()> {
    for site in SITES {
        for (host, _, software) in HOSTS {
            let place = directory.join("hosts").join(site).join(host);
            fs::create_dir_all(&place)?;
            for name in [format!("upgrade-{software}"), format!("{software}-version")] {
                let text = format!(
                    "#!/bin/sh\nexec {} lab tool {} {site} {host} {name} \"$@\"\n",
                    shell(&program.to_string_lossy()),
                    shell(&directory.to_string_lossy()),
                );
                let file = place.join(&name);
                super::write_whole(&file, text.as_bytes())?;
                fs::set_permissions(&file, fs::Permissions::from_mode(0o755))
                    .with_context(|| format!("making `{}` a command", file.display()))?;
            }
        }
    }
    Ok(())
}

/// A word as the shell takes it.
fn shell(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_reach_the_shell_as_they_are() {
        assert_eq!(shell("/a b/it's"), "'/a b/it'\\''s'");
    }
}
