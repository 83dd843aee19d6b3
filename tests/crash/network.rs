//! What the network does to a run: answers that are lost on their way, a link that goes down under a
//! question, answers that drip. A server of the test's own writes down each deed that it does.

use crate::space::Space;
use crate::tools::{MINUTE, question, skipped, space};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

/// What becomes of the answer to a deed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Whole,
    /// The connection ends before a byte of it.
    Lost,
    /// It ends in the middle of the head.
    Torn,
    /// It ends with a reset.
    Reset,
    /// A byte now and then, for ever.
    Drips,
    /// Nothing ever comes; the connection stays.
    Never,
}

/// Does a deed for each `POST`, and tells by `GET` whether it was done.
struct Server {
    at: SocketAddr,
    deeds: Arc<AtomicU32>,
    /// Told when a deed was done whose answer never comes.
    done: Mutex<Receiver<()>>,
}

impl Server {
    fn new(host: &str, answer: Answer) -> Self {
        let listener = TcpListener::bind((host, 0)).expect("a port");
        let at = listener.local_addr().expect("an address");
        let (tell, done) = channel();
        let (deeds, first) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(true)));
        let count = Arc::clone(&deeds);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (deeds, first, tell) = (Arc::clone(&count), Arc::clone(&first), tell.clone());
                // Whoever went away needs no answer.
                thread::spawn(move || drop(serve(stream, answer, &deeds, &first, &tell)));
            }
        });
        Self { at, deeds, done: Mutex::new(done) }
    }

    fn deeds(&self) -> u32 {
        self.deeds.load(Ordering::SeqCst)
    }
}

fn serve(
    mut stream: TcpStream,
    answer: Answer,
    deeds: &AtomicU32,
    first: &AtomicBool,
    tell: &Sender<()>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let whole = |said: &str| {
        format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{said}",
            said.len()
        )
    };
    if head.starts_with(b"GET") {
        let said = format!("deeds {}\n", deeds.load(Ordering::SeqCst));
        return stream.write_all(whole(&said).as_bytes());
    }
    deeds.fetch_add(1, Ordering::SeqCst);
    // The second time nothing stands between.
    let answer = if first.swap(false, Ordering::SeqCst) { answer } else { Answer::Whole };
    match answer {
        Answer::Whole => stream.write_all(whole("done\n").as_bytes()),
        Answer::Lost => Ok(()),
        Answer::Torn => stream.write_all(&whole("done\n").as_bytes()[..20]),
        Answer::Reset => {
            let linger = Some(std::time::Duration::ZERO);
            rustix::net::sockopt::set_socket_linger(&stream, linger)?;
            Ok(())
        }
        Answer::Drips => loop {
            stream.write_all(b"x-more: 1\r\n")?;
            thread::sleep(std::time::Duration::from_millis(100));
        },
        Answer::Never => {
            let _ = tell.send(());
            // Until the other end gives up, or the link took its word of it.
            stream.read(&mut byte).map(drop)
        }
    }
}

/// Books once; whether it is booked can be asked where `check` says so.
fn plan(at: SocketAddr, check: &str) -> String {
    format!(
        "cutover: v1\nname: books\nsteps:\n  book:\n    do: {{ http: {{ post: \"http://{at}/book\" }} }}\n    \
         timeout: 2s\n{check}    undo: {{ none: nothing }}\n  \
         after: {{ needs: [book], run: [sh, -c, \"echo after >> log\"], undo: {{ none: nothing }} }}\n"
    )
}

fn asked(at: SocketAddr) -> String {
    format!(
        "    check: {{ http: {{ get: \"http://{at}/\", expect: {{ contains: \"deeds 1\" }} }} }}\n"
    )
}

const LOSSES: [Answer; 5] =
    [Answer::Lost, Answer::Torn, Answer::Reset, Answer::Drips, Answer::Never];

#[test]
fn a_lost_answer_is_asked_after_and_the_deed_is_done_once() {
    thread::scope(|scope| {
        for loss in LOSSES {
            scope.spawn(move || {
                let server = Server::new("127.0.0.1", loss);
                let space = space(&plan(server.at, &asked(server.at)));
                let said = space.run(&["run", "p.yaml", "--run", "r"]);
                assert_eq!((said.code, server.deeds()), (0, 1), "{loss:?}: {said:?}");
                assert_eq!(space.read("log"), "after\n", "{loss:?}");
            });
        }
    });
}

/// Without a question that answers it, it is a person's.
#[test]
fn a_lost_answer_that_nothing_can_be_asked_about_is_in_doubt_and_never_guessed() {
    thread::scope(|scope| {
        for loss in LOSSES {
            scope.spawn(move || {
                let server = Server::new("127.0.0.1", loss);
                let space = space(&plan(server.at, ""));
                let said = space.run(&["run", "p.yaml", "--run", "r"]);
                assert_eq!((said.code, server.deeds()), (4, 1), "{loss:?}: {said:?}");
                said.says("IN DOUBT");
                assert!(!space.file("log").exists(), "{loss:?}");
                space.run(&["resume", "r"]).exits(4);
                assert_eq!(server.deeds(), 1, "{loss:?}: nobody told it to be done again");
                let question = question(&space, "r");
                space.run(&["answer", "r", &question, "done"]).exits(0);
                space.run(&["resume", "r"]).exits(0);
                assert_eq!(
                    (server.deeds(), space.read("log").as_str()),
                    (1, "after\n"),
                    "{loss:?}"
                );
            });
        }
    });
}

/// Two hosts and the cable between them.
struct Cable {
    namespace: String,
    link: String,
}

impl Cable {
    const HERE: &str = "10.213.77.1";
    const THERE: &str = "10.213.77.2";

    fn new() -> Option<Self> {
        let id = std::process::id();
        let cable = Self { namespace: format!("cutover-{id}"), link: format!("cu{id}") };
        let (name, link, far) = (&cable.namespace, &cable.link, &format!("cv{id}"));
        let steps: [&[&str]; 6] = [
            &["netns", "add", name],
            &["link", "add", link, "type", "veth", "peer", "name", far, "netns", name],
            &["addr", "add", &format!("{}/24", Self::HERE), "dev", link],
            &["link", "set", link, "up"],
            &["-n", name, "addr", "add", &format!("{}/24", Self::THERE), "dev", far],
            &["-n", name, "link", "set", far, "up"],
        ];
        let all = steps.iter().all(|step| {
            Command::new("ip").args(*step).output().is_ok_and(|it| it.status.success())
        });
        if !all {
            skipped("no network namespace can be made here (it takes root and `ip`)");
        }
        all.then_some(cable)
    }

    fn set(&self, state: &str) {
        let set = Command::new("ip").args(["link", "set", &self.link, state]).status();
        assert!(set.expect("`ip`").success());
    }

    /// The program on the far host.
    fn command(&self, space: &Space, args: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace]).arg(crate::tools::program()).args(args);
        command.current_dir(space.path()).env("NO_COLOR", "1").stdin(std::process::Stdio::null());
        command
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        drop(Command::new("ip").args(["link", "del", &self.link]).output());
        drop(Command::new("ip").args(["netns", "del", &self.namespace]).output());
    }
}

/// The cable is pulled when the deed is done and its answer is not yet there: no byte says that
/// anything ended. The step's own timeout is what ends it.
#[test]
fn a_link_that_goes_down_under_a_question_is_a_doubt_and_no_second_deed() {
    let Some(cable) = Cable::new() else { return };
    let server = Server::new(Cable::HERE, Answer::Never);
    let space = space(&plan(server.at, &asked(server.at)));
    let going = space.go(cable.command(&space, &["run", "p.yaml", "--run", "r"]));
    let done = server.done.lock().expect("ours").recv_timeout(MINUTE);
    done.expect("the deed is done");
    cable.set("down");
    // The check cannot be asked either: then a person is, and nothing is guessed. Their `retry` asks
    // the check first.
    going.end().exits(4).says("IN DOUBT");
    assert_eq!(server.deeds(), 1);
    assert!(!space.file("log").exists());
    cable.set("up");
    let question = question(&space, "r");
    space.run(&["answer", "r", &question, "retry"]).exits(0);
    let again = cable.command(&space, &["resume", "r"]).output().expect("it starts");
    crate::space::Said::of(&again).exits(0);
    assert_eq!((server.deeds(), space.read("log").as_str()), (1, "after\n"));
}
