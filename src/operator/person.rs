//! Who somebody is: the login uid, so that people behind sudo stay different people, and the groups
//! of the estate.
//!
//! Not known here: what a person may do.

use crate::event::Person;
use std::collections::BTreeMap;
use std::io;
use std::process::Stdio;
use std::time::Duration;

/// What `loginuid` holds for a process that nobody logged in for.
const NOBODY: u32 = u32::MAX;

/// Name services may ask the network; a runner does not wait for them for long.
const LOOK_UP: Duration = Duration::from_secs(2);

/// The person behind the other end of a socket: by its login uid where one is set, else by `uid`.
///
/// # Errors
/// The process is gone: whether a login uid was set for it cannot be known any more, and its uid alone
/// would make another person of whoever works behind sudo.
pub async fn of_peer(
    pid: Option<i32>,
    uid: u32,
    people: &BTreeMap<String, Vec<String>>,
) -> io::Result<Person> {
    // 0: it lives in a PID namespace that we cannot see.
    let login_uid = match pid.filter(|pid| *pid > 0) {
        Some(pid) => login_uid(&format!("/proc/{pid}"))?,
        None => None,
    };
    Ok(person(login_uid, uid, people).await)
}

/// The person who runs this process.
pub async fn myself(people: &BTreeMap<String, Vec<String>>) -> Person {
    let login_uid = login_uid("/proc/self").ok().flatten();
    person(login_uid, rustix::process::getuid().as_raw(), people).await
}

async fn person(
    login_uid: Option<u32>,
    uid: u32,
    people: &BTreeMap<String, Vec<String>>,
) -> Person {
    let login = login_of(login_uid.unwrap_or(uid)).await;
    let groups = groups_of(&login, people);
    Person { login, uid, groups }
}

/// The login uid of the process whose directory this is; none where none is set, or where the kernel
/// keeps none.
fn login_uid(process: &str) -> io::Result<Option<u32>> {
    match std::fs::read_to_string(format!("{process}/loginuid")) {
        Ok(text) => Ok(parse_login_uid(&text)),
        Err(_) if std::fs::exists(process)? => Ok(None),
        Err(_) => Err(io::Error::new(
            io::ErrorKind::NotFound,
            "the process that asks is gone: who asked cannot be known",
        )),
    }
}

/// The groups of the estate that a login belongs to, sorted.
pub fn groups_of(login: &str, people: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let has = |logins: &Vec<String>| logins.iter().any(|other| other == login);
    people.iter().filter(|(_, logins)| has(logins)).map(|(group, _)| group.clone()).collect()
}

fn parse_login_uid(text: &str) -> Option<u32> {
    text.trim().parse().ok().filter(|uid| *uid != NOBODY)
}

/// The name of a uid: `/etc/passwd`, else what the system's `id` finds (it follows the name service
/// switch), else the number.
async fn login_of(uid: u32) -> String {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    if let Some(name) = name_in(&passwd, uid) {
        return name;
    }
    let mut id = tokio::process::Command::new("id");
    id.args(["-nu", &uid.to_string()]).stdin(Stdio::null()).stderr(Stdio::null());
    id.kill_on_drop(true);
    let found = match tokio::time::timeout(LOOK_UP, id.output()).await {
        Ok(Ok(output)) if output.status.success() => String::from_utf8(output.stdout).ok(),
        _ => None,
    };
    let found = found.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    found.unwrap_or_else(|| uid.to_string())
}

fn name_in(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, number) = (fields.next()?, fields.next()?, fields.next()?);
        (!name.is_empty() && number.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_uid_that_is_not_set_is_none() {
        assert_eq!(parse_login_uid("4294967295"), None);
        assert_eq!(parse_login_uid("1000\n"), Some(1000));
        assert_eq!(parse_login_uid("x"), None);
    }

    #[tokio::test]
    async fn who_is_gone_is_nobody() {
        let nobody = BTreeMap::new();
        let mut child = std::process::Command::new("true").spawn().expect("started");
        let pid = i32::try_from(child.id()).expect("a pid");
        child.wait().expect("reaped");
        let gone = of_peer(Some(pid), 0, &nobody).await.expect_err("gone");
        assert!(gone.to_string().contains("is gone"), "{gone}");
        let here = i32::try_from(std::process::id()).expect("a pid");
        let uid = rustix::process::getuid().as_raw();
        let me = of_peer(Some(here), uid, &nobody).await.expect("here");
        assert_eq!(me, myself(&nobody).await);
    }

    #[test]
    fn names_come_from_the_password_file() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\n+nis\nmara:x:1001:1001::/home/mara:/bin/sh\n";
        assert_eq!(name_in(passwd, 1001).as_deref(), Some("mara"));
        assert_eq!(name_in(passwd, 0).as_deref(), Some("root"));
        assert_eq!(name_in(passwd, 7), None);
    }

    #[test]
    fn groups_are_those_that_name_the_login() {
        let people = BTreeMap::from([
            ("security".to_owned(), vec!["kim".to_owned(), "mara".to_owned()]),
            ("release-managers".to_owned(), vec!["mara".to_owned()]),
            ("custodians".to_owned(), vec!["lee".to_owned()]),
        ]);
        assert_eq!(groups_of("mara", &people), ["release-managers", "security"]);
        assert!(groups_of("mar", &people).is_empty());
    }
}
