//! What goes over the socket: one JSON object a line, by names, never by ids.
//!
//! Not known here: sockets, and whether a request is admitted.

use crate::event::{Answer, Back, Request, StepId, Way};
use crate::executor::Progress;
use crate::graph::Graph;
use crate::run::Refusal;
use crate::runner::Answered;
use serde::{Deserialize, Serialize};

/// A line of a client may have so many bytes, its end included.
pub const LONGEST_LINE: usize = 64 << 10;

/// What a client asks, a line each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are those of `event::Request`, by name")]
pub enum Ask {
    /// Nothing starts until released.
    Hold { reason: String },
    /// Ends one hold, or all that a release ends.
    Release {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hold: Option<u64>,
    },
    /// Agree to a gate.
    Approve {
        step: String,
        #[serde(default)]
        note: String,
    },
    /// Say no to a gate.
    Disapprove { step: String, reason: String },
    /// Answer an open question.
    Answer {
        question: u64,
        answer: Answer,
        #[serde(default)]
        note: String,
    },
    /// Take a manual step.
    Claim { step: String },
    /// It is done.
    Finish {
        step: String,
        #[serde(default)]
        evidence: String,
    },
    /// It cannot be done.
    Fail { step: String, reason: String },
    /// Try again.
    Retry { step: String },
    /// Leave out.
    Skip { step: String, reason: String },
    /// End running steps, undo nothing, close as stuck.
    Abort { reason: String },
    /// Go back.
    Rollback { back: How, reason: String },
    /// From now on, [`Reply::Durable`] whenever more is durable, and [`Reply::Progress`] a few times
    /// a second while something changes. The connection answers nothing else any more.
    Subscribe,
    /// Once: [`Reply::Progress`].
    Progress,
}

/// How far a rollback goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum How {
    /// The whole run.
    Run {
        /// Done steps of phase before too (`--all`).
        all: bool,
    },
    /// One product line, by name.
    Line(String),
    /// To a checkpoint, by name.
    To(String),
}

/// What the server answers, a line each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Reply {
    /// Recorded, durably.
    Ok {
        /// The record; of several, the last.
        seq: u64,
        /// The steps that it was recorded for, when it was about steps.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        steps: Vec<String>,
        /// Of several steps, those that it could not be had for, and why.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        refused: Vec<Refused>,
    },
    /// Nothing was recorded.
    Refused(Refused),
    /// How far each running job is.
    Progress(Vec<JobProgress>),
    /// The newest durable record.
    Durable(u64),
}

impl Reply {
    /// One reply to an ask that was about several steps.
    pub fn gathered(answers: Vec<(Option<String>, Answered)>) -> Self {
        let (mut last, mut steps, mut refused) = (None, Vec::new(), Vec::new());
        for (step, answer) in answers {
            match answer {
                Answered::Recorded(seq) => {
                    last = Some(seq);
                    steps.extend(step);
                }
                Answered::Refused(refusal) => refused.push(Refused { step, ..refusal.into() }),
            }
        }
        match (last, refused.len()) {
            (Some(seq), _) => Self::Ok { seq, steps, refused },
            (None, 1) => Self::Refused(Refused { step: None, ..refused.remove(0) }),
            (None, many) => {
                let each: Vec<_> = refused
                    .iter()
                    .map(|no| format!("`{}`: {}", no.step.as_deref().unwrap_or("the run"), no.why))
                    .collect();
                let why = format!("refused for all {many} steps: {}", each.join("; "));
                let hint = refused.into_iter().find_map(|no| no.hint);
                Self::Refused(Refused { step: None, why, hint })
            }
        }
    }
}

/// Why something cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    /// The step, of several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Why.
    pub why: String,
    /// What to do instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { step: None, why: refusal.why, hint: refusal.hint }
    }
}

/// How far one running job is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobProgress {
    /// Full name of the step.
    pub step: String,
    /// Do, undo or check.
    pub way: Way,
    /// Which attempt.
    pub attempt: u32,
    /// What it does just now.
    #[serde(default)]
    pub doing: String,
    /// Rows done and in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<(u64, u64)>,
    /// Bytes done and in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<(u64, u64)>,
}

impl JobProgress {
    /// A job's progress, by name.
    pub fn of(graph: &Graph, job: crate::event::Job, progress: Progress) -> Self {
        Self {
            step: graph.name(job.step),
            way: job.way,
            attempt: job.attempt,
            doing: progress.doing,
            rows: progress.rows,
            bytes: progress.bytes,
        }
    }
}

/// A request for each step that an ask means, with the step's name when it is about one.
pub type Requests = Vec<(Option<String>, Request)>;

impl Ask {
    /// Looks the names up. A bare name of a step means all of its instances.
    ///
    /// # Errors
    /// A name that is not there, with the one that was probably meant; or an ask that records
    /// nothing.
    pub fn requests(self, graph: &Graph) -> Result<Requests, Refusal> {
        let each = |name: &str, make: &dyn Fn(StepId) -> Request| -> Result<Requests, Refusal> {
            let steps = steps(graph, name)?;
            Ok(steps.into_iter().map(|step| (Some(graph.name(step)), make(step))).collect())
        };
        let one = |request| Ok(vec![(None, request)]);
        match self {
            Self::Hold { reason } => one(Request::Hold { reason }),
            Self::Release { hold } => one(Request::Release { hold }),
            Self::Approve { step, note } => {
                each(&step, &|step| Request::Approve { step, note: note.clone() })
            }
            Self::Disapprove { step, reason } => {
                each(&step, &|step| Request::Disapprove { step, reason: reason.clone() })
            }
            Self::Answer { question, answer, note } => {
                one(Request::Answer { question, answer, note })
            }
            Self::Claim { step } => each(&step, &|step| Request::Claim { step }),
            Self::Finish { step, evidence } => {
                each(&step, &|step| Request::Finish { step, evidence: evidence.clone() })
            }
            Self::Fail { step, reason } => {
                each(&step, &|step| Request::Fail { step, reason: reason.clone() })
            }
            Self::Retry { step } => each(&step, &|step| Request::Retry { step }),
            Self::Skip { step, reason } => {
                each(&step, &|step| Request::Skip { step, reason: reason.clone() })
            }
            Self::Abort { reason } => one(Request::Abort { reason }),
            Self::Rollback { back, reason } => {
                one(Request::Rollback { back: back.resolve(graph)?, reason })
            }
            Self::Subscribe | Self::Progress => {
                Err(Refusal { why: "this is told, not recorded".to_owned(), hint: None })
            }
        }
    }
}

impl How {
    fn resolve(self, graph: &Graph) -> Result<Back, Refusal> {
        match self {
            Self::Run { all } => Ok(Back::Run { before_too: all }),
            Self::Line(name) => match graph.find_line(&name) {
                Some(line) => Ok(Back::Line(line)),
                None => {
                    let lines = graph.plan().lines.iter().map(|line| line.name.value.as_str());
                    Err(unknown("line", &name, lines))
                }
            },
            Self::To(name) => match graph.checkpoint(&name) {
                Some(_) => Ok(Back::To(name)),
                None => Err(unknown("checkpoint", &name, graph.checkpoints())),
            },
        }
    }
}

fn steps(graph: &Graph, name: &str) -> Result<Vec<StepId>, Refusal> {
    let steps = graph.named(name);
    if !steps.is_empty() {
        return Ok(steps);
    }
    let bare = name.split('[').next().unwrap_or(name);
    let instances = graph.named(bare);
    if !instances.is_empty() && bare != name {
        let names: Vec<_> =
            instances.iter().take(12).map(|step| format!("`{}`", graph.name(*step))).collect();
        return Err(Refusal {
            why: format!("step `{bare}` has no instance `{name}`"),
            hint: Some(format!("it has {}", names.join(", "))),
        });
    }
    Err(unknown("step", name, graph.plan().steps.iter().map(|step| step.name.value.as_str())))
}

fn unknown<'a>(what: &str, name: &str, names: impl Iterator<Item = &'a str>) -> Refusal {
    let likeness = |other: &str| strsim::jaro_winkler(name, other);
    let near = names.max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    let near = near.filter(|near| likeness(near) > 0.7);
    Refusal {
        why: format!("there is no {what} `{name}` in this plan"),
        hint: near.map(|near| format!("did you mean `{near}`?")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::testing::PlanBuilder;

    fn graph() -> std::sync::Arc<Graph> {
        PlanBuilder::new()
            .lines(["geotrust", "thawte"])
            .step("snapshot", |step| step.each("line", ["geotrust", "thawte"]))
            .step("transfer", |step| step.each("line", ["geotrust", "thawte"]).needs(["snapshot"]))
            .graph()
    }

    #[test]
    fn a_bare_name_means_every_instance() {
        let graph = graph();
        let ask = Ask::Retry { step: "transfer".into() };
        let names: Vec<_> = ask.requests(&graph).expect("it is there").into_iter().collect();
        assert_eq!(names.len(), 2);
        assert_eq!(names[1].0.as_deref(), Some("transfer[thawte]"));
        let ask = Ask::Retry { step: "transfer[thawte]".into() };
        assert_eq!(ask.requests(&graph).expect("it is there").len(), 1);
    }

    #[test]
    fn a_name_that_is_not_there_is_refused_with_what_was_meant() {
        let graph = graph();
        let refusal = Ask::Retry { step: "tranfser".into() }.requests(&graph).expect_err("refused");
        assert_eq!(refusal.why, "there is no step `tranfser` in this plan");
        assert_eq!(refusal.hint.as_deref(), Some("did you mean `transfer`?"));
        let refusal = Ask::Retry { step: "transfer[x]".into() }.requests(&graph).expect_err("no");
        assert_eq!(refusal.why, "step `transfer` has no instance `transfer[x]`");
        let back = How::Line("geotrsut".into());
        let ask = Ask::Rollback { back, reason: String::new() };
        let refusal = ask.requests(&graph).expect_err("refused");
        assert_eq!(refusal.hint.as_deref(), Some("did you mean `geotrust`?"));
        let ask = Ask::Rollback { back: How::To("x".into()), reason: String::new() };
        assert!(ask.requests(&graph).is_err());
    }

    #[test]
    fn lines_are_plain_json_and_strangers_are_refused() {
        let ask = Ask::Rollback { back: How::Run { all: true }, reason: "r".into() };
        let line = serde_json::to_string(&ask).expect("it is JSON");
        assert_eq!(line, r#"{"rollback":{"back":{"run":{"all":true}},"reason":"r"}}"#);
        assert_eq!(serde_json::from_str::<Ask>(&line).expect("it reads back"), ask);
        assert!(serde_json::from_str::<Ask>(r#"{"hold":{"reason":"r","extra":1}}"#).is_err());
        assert!(serde_json::from_str::<Ask>(r#"{"format-disk":{}}"#).is_err());
        let reply = Reply::Ok { seq: 7, steps: vec![], refused: vec![] };
        assert_eq!(serde_json::to_string(&reply).expect("it is JSON"), r#"{"ok":{"seq":7}}"#);
    }
}
