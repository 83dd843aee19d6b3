//! `https://`, spoken with a server of OpenSSL's.

use super::space::Space;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

/// `openssl s_server` with a certificate for `localhost`, ended with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve(space: &Space) -> (Server, String) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-days", "2", "-subj", "/CN=edge", "-addext", "subjectAltName=DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(space.path())
        .output()
        .expect("openssl runs");
    assert!(made.status.success(), "{made:?}");
    let mut server = Command::new("openssl")
        .args([
            "s_server",
            "-www",
            "-accept",
            "127.0.0.1:0",
            "-key",
            "key.pem",
            "-cert",
            "cert.pem",
        ])
        .current_dir(space.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl runs");
    let mut lines = BufReader::new(server.stdout.take().expect("a pipe")).lines();
    let server = Server(server);
    let ready = lines
        .find_map(|line| line.expect("text").strip_prefix("ACCEPT ").map(ToOwned::to_owned))
        .expect("it listens");
    // It goes on printing: somebody has to read it.
    std::thread::spawn(move || lines.for_each(drop));
    let port = ready.rsplit(':').next().expect("a port").to_owned();
    (server, port)
}

#[test]
fn a_server_is_believed_by_the_certificates_of_the_system_and_by_its_name() {
    let space = Space::new();
    let (_server, port) = serve(&space);
    let asks = |name: &str, host: &str| {
        let step = format!(
            "do: {{ http: {{ url: \"https://{host}:{port}/\", expect: {{ contains: TLS }} }} }}"
        );
        let text = format!(
            "cutover: v1\nname: asks\nsteps:\n  ask:\n    {step}\n    undo: {{ none: only asks }}\n"
        );
        space.write(name, &text);
    };
    asks("by-name.yaml", "localhost");
    asks("by-address.yaml", "127.0.0.1");
    let run = |plan: &str, certificates: &str, code: i32| {
        let mut command = space.command(&["run", plan, "--run", &format!("{plan}-{certificates}")]);
        let output = command.env("SSL_CERT_FILE", certificates).output().expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned()
            + &String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "{said}");
        said
    };
    run("by-name.yaml", "cert.pem", 0);
    for (plan, certificates) in [("by-name.yaml", "none.pem"), ("by-address.yaml", "cert.pem")] {
        let said = run(plan, certificates, 4);
        assert!(said.contains("certificate"), "{said}");
    }
}
