//! Rehearsals whose lab dies: with everything else, or alone.

use super::kills::kill;
use super::*;

fn process(space: &Space, lock: &str) -> u32 {
    let who: cutover::lab::Tenant =
        serde_json::from_str(&space.read(&format!("r/lab/{lock}"))).expect("who lives there");
    who.pid
}

#[test]
fn a_machine_that_dies_as_a_whole_is_taken_up_where_it_was() {
    let _alone = alone();
    let space = space(PLAN);
    let _lab = Lab(&space);
    let mut going = space.start(&rehearse(&["--json"]));
    until_ended(&mut going, "done", "snapshot[geotrust]");
    // The witness first: it is to see what clients see, and there are none when a machine dies.
    kill(process(&space, "load.lock"));
    going.signal(rustix::process::Signal::KILL);
    kill(process(&space, "lab.lock"));
    drop(going);
    let estate = space.read("r/lab/estate.yaml");
    let said = space.run(&["resume", "r", "--json"]).exits(0).says("the lab was gone");
    let summary = said.json();
    assert_eq!(summary["outcome"], "completed", "{summary:#}");
    assert_eq!(summary["lines"]["moved"], 6, "{summary:#}");
    assert_eq!(summary["rows"]["differences"], 0, "{summary:#}");
    clients_saw_nothing(&summary);
    assert_eq!(space.read("r/lab/estate.yaml"), estate, "the same addresses");
    notices_went_out_once(&space);
}

#[test]
fn a_lab_that_dies_under_its_run_comes_up_again_and_the_rollback_ends() {
    let _alone = alone();
    let space = space(PLAN);
    let _lab = Lab(&space);
    let mut going = space.start(&rehearse(&["--json", "--keep-lab"]));
    for line in cutover::lab::LINES {
        until_ended(&mut going, "done", &format!("fence-old-writer[{line}]"));
    }
    let then: Vec<_> = cutover::lab::LINES.iter().map(|line| rows(&space, "from", line)).collect();
    until_ended(&mut going, "done", "transfer[geotrust]");
    kill(process(&space, "load.lock"));
    kill(process(&space, "lab.lock"));
    // Steps fail, so the run turns back; undos fail as well, and a failed undo is a person's to judge.
    let said = going.end().says("`cutover resume` brings it up again");
    assert!([4, 6].contains(&said.code), "{said:?}");
    assert_eq!(said.json()["outcome"], "held");
    let said = space.run(&["resume", "r", "--json", "--keep-lab"]).says("the lab was gone");
    assert!([4, 6].contains(&said.code), "{said:?}");
    let mut going = space.start(&["resume", "r", "--json", "--wait", "--keep-lab"]);
    going.until("\"opened\"");
    let status = space.run(&["status", "r", "--json"]).exits(0).json();
    let questions = status["questions"].as_array().expect("a list");
    assert!(!questions.is_empty(), "{status:#}");
    for question in questions {
        let number = question["question"].to_string();
        space.run(&["answer", "r", &number, "retry"]).exits(0);
    }
    let said = going.end();
    // 6 when the guard had come to its verdict before the steps had failed.
    assert!([3, 6].contains(&said.code), "{said:?}");
    let summary = said.json();
    assert_eq!(summary["outcome"], "rolled_back", "{summary:#}");
    assert_eq!(summary["lines"]["moved"], 0, "{summary:#}");
    clients_saw_nothing(&summary);
    for (line, then) in cutover::lab::LINES.iter().zip(&then) {
        old_site_is_whole(&space, line, then);
        orders_flow(&space, "from", line);
    }
    refuses_what_is_taken(&space);
}

/// A lab that lives, or that was moved, is no place for another rehearsal.
fn refuses_what_is_taken(space: &Space) {
    std::fs::remove_file(space.file("r/journal.jsonl")).expect("it is there");
    let living = format!("process {} ", process(space, "lab.lock"));
    space.run(&rehearse(&[])).exits(2).says("lives in").says(&living);
    space.run(&["lab", "down", "r/lab"]).exits(0);
    space.run(&rehearse(&[])).exits(2).says("the lab of another rehearsal");
}
