//! People of a simulated run: who there is, and what anybody may want at any moment.
//!
//! Not known here: whether it is admitted.

use super::dice::Dice;
use crate::action::{Action, Undo};
use crate::event::{Back, LineId, Person, Request, StepId};
use crate::graph::Graph;
use crate::plan::Work;
use crate::plan::template::Template;
use std::collections::BTreeMap;

/// Whoever has something to say in a plan: of every group as many as are wanted at once, one person
/// of every group, and one of none.
pub fn cast(graph: &Graph) -> Vec<Person> {
    let mut groups: BTreeMap<&str, u32> = BTreeMap::new();
    let mut want = |group, people: u32| {
        let most = groups.entry(group).or_default();
        *most = people.max(*most);
    };
    let by_hand = |action: &Action<Template>| match action {
        Action::Manual(manual) => Some((manual.by.clone(), manual.people)),
        _ => None,
    };
    let mut hands = Vec::new();
    for def in &graph.plan().steps {
        match &def.work {
            Work::Ask(gate) => gate.by.iter().for_each(|it| want(it.value.as_str(), gate.quorum)),
            Work::Act { act, undo, .. } => {
                hands.extend(by_hand(act));
                if let Undo::By(undo) = undo {
                    hands.extend(by_hand(undo));
                }
            }
        }
    }
    for (by, people) in &hands {
        by.iter().for_each(|group| want(group.as_str(), *people));
    }
    let person = |login: String, groups: Vec<String>| Person { login, uid: 1000, groups };
    let all: Vec<String> = groups.keys().map(|it| (*it).to_owned()).collect();
    let mut people = vec![person("both".into(), all)];
    for (group, most) in &groups {
        for number in 1..=*most {
            people.push(person(format!("{group}-{number}"), vec![(*group).to_owned()]));
        }
    }
    people.push(person("ada".into(), Vec::new()));
    people
}

/// Anything that people can ask for, of any step; now and then nothing.
pub fn wish(graph: &Graph, dice: &mut Dice<'_>) -> Option<Request> {
    let step = StepId(u32::try_from(dice.roll(graph.len())).ok()?);
    let reason = || "why not".to_owned();
    let back = |back| Some(Request::Rollback { back, reason: reason() });
    Some(match dice.roll(14) {
        0 => Request::Hold { reason: reason() },
        1 | 2 => Request::Release { hold: None },
        3 | 4 => Request::Approve { step, note: String::new() },
        5 => Request::Disapprove { step, reason: reason() },
        6 => Request::Claim { step },
        7 | 8 => Request::Finish { step, evidence: String::new() },
        9 => Request::Fail { step, reason: reason() },
        10 => Request::Retry { step },
        11 => Request::Skip { step, reason: reason() },
        12 if dice.one_in(4) => Request::Interrupt,
        _ => match dice.roll(5) {
            0 => return back(Back::Run { before_too: dice.roll(2) == 1 }),
            1 if graph.line_count() > 0 => {
                let line = dice.roll(graph.line_count());
                return back(Back::Line(LineId(u32::try_from(line).ok()?)));
            }
            2 | 3 => {
                let names: Vec<&str> = graph.checkpoints().collect();
                let name = dice.pick(&names)?;
                return back(Back::To(name.to_owned()));
            }
            _ if dice.one_in(10) => Request::Abort { reason: reason() },
            _ => return None,
        },
    })
}
