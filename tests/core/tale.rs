//! A run told step by step: what it orders is journaled, what the world answers is said by name.

use cutover::event::{
    Answer, Back, Ending, Event, Header, Job, Options, Outcome, Outputs, Person, QuestionId,
    Record, Request, StepId, Timer, Verdict, Way,
};
use cutover::failure::Failure;
use cutover::graph::Graph;
use cutover::run::{Command, Refusal, Run, Status};
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

pub(crate) fn person(login: &str, groups: &[&str]) -> Person {
    let groups = groups.iter().map(|group| (*group).to_owned()).collect();
    Person { login: login.to_owned(), uid: 1000, groups }
}

pub(crate) fn header(options: Options) -> Header {
    Header {
        format: 1,
        program: "test".into(),
        run: "test".into(),
        plan_path: "/plan.yaml".into(),
        plan: String::new(),
        estate_path: None,
        estate: None,
        graph: String::new(),
        by: person("ada", &[]),
        options,
    }
}

/// Noon of the day.
pub(crate) fn noon() -> Timestamp {
    "2019-04-06T12:00:00Z".parse().expect("an instant")
}

pub(crate) struct Tale {
    pub(crate) run: Run,
    pub(crate) journal: Vec<Record>,
    pub(crate) now: Timestamp,
}

impl Tale {
    pub(crate) fn new(graph: Arc<Graph>) -> Self {
        Self::with(graph, Options::default())
    }

    pub(crate) fn with(graph: Arc<Graph>, options: Options) -> Self {
        let mut tale = Self { run: Run::new(graph), journal: Vec::new(), now: noon() };
        tale.event(Event::Begun(Box::new(header(options))));
        tale
    }

    pub(crate) fn record(&self, event: Event) -> Record {
        Record { seq: self.run.seq() + 1, at: self.now, event }
    }

    #[track_caller]
    pub(crate) fn event(&mut self, event: Event) {
        let record = self.record(event);
        if let Err(why) = self.run.apply(&record) {
            panic!("{:?} was not taken in: {}", record.event, why.0);
        }
        self.journal.push(record);
        self.now += SignedDuration::from_secs(1);
    }

    pub(crate) fn would_take(&self, event: Event) -> bool {
        self.run.clone().apply(&self.record(event)).is_ok()
    }

    #[track_caller]
    pub(crate) fn step(&self, name: &str) -> StepId {
        self.run.graph().find(name).unwrap_or_else(|| panic!("no step `{name}`"))
    }

    pub(crate) fn commands(&self) -> Vec<Command> {
        let mut out = Vec::new();
        self.run.next(&mut out);
        out
    }

    pub(crate) fn say(&self, job: Job) -> String {
        let way = match job.way {
            Way::Do => "do",
            Way::Undo => "undo",
            Way::Check => "check",
        };
        format!("{way} {}", self.run.graph().name(job.step))
    }

    /// What would start now, sorted.
    pub(crate) fn due(&self) -> Vec<String> {
        let mut due: Vec<String> = self
            .commands()
            .into_iter()
            .filter_map(|command| match command {
                Command::Start(job) => Some(self.say(job)),
                _ => None,
            })
            .collect();
        due.sort();
        due
    }

    /// Attempts told to stop, sorted.
    pub(crate) fn stops(&self) -> Vec<String> {
        let mut stops: Vec<String> = self
            .commands()
            .into_iter()
            .filter_map(|command| match command {
                Command::Stop(job) => Some(self.say(job)),
                _ => None,
            })
            .collect();
        stops.sort();
        stops
    }

    /// Starts all that is due, and says what.
    #[track_caller]
    pub(crate) fn go(&mut self) -> Vec<String> {
        let due = self.due();
        for command in self.commands() {
            if let Command::Start(job) = command {
                self.event(Event::Started(job));
            }
        }
        due
    }

    #[track_caller]
    pub(crate) fn starts(&mut self, expected: &[&str]) -> &mut Self {
        assert_eq!(self.go(), expected);
        self
    }

    #[track_caller]
    pub(crate) fn job(&self, name: &str) -> Job {
        match self.run.status(self.step(name)) {
            Status::Running(job) => job,
            status => panic!("`{name}` is not running but {status:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn ends(&mut self, name: &str, ending: Ending) -> &mut Self {
        let job = self.job(name);
        self.event(Event::Ended(job, ending));
        self
    }

    #[track_caller]
    pub(crate) fn done(&mut self, name: &str) -> &mut Self {
        self.ends(name, Ending::Done(Outputs::new()))
    }

    #[track_caller]
    pub(crate) fn fails(&mut self, name: &str) -> &mut Self {
        self.ends(name, Ending::Failed(Failure::last("broken")))
    }

    #[track_caller]
    pub(crate) fn stumbles(&mut self, name: &str) -> &mut Self {
        self.ends(name, Ending::Failed(Failure::transient("broken for now")))
    }

    #[track_caller]
    pub(crate) fn doubtful(&mut self, name: &str) -> &mut Self {
        self.ends(name, Ending::Unknown(Failure::in_doubt("connection lost")))
    }

    #[track_caller]
    pub(crate) fn stopped(&mut self, name: &str) -> &mut Self {
        self.ends(name, Ending::Stopped)
    }

    /// Starts what is due and ends it well, until nothing is due.
    #[track_caller]
    pub(crate) fn all_well(&mut self) -> &mut Self {
        loop {
            let started = self.go();
            let running: Vec<Job> =
                self.run.running().filter(|job| !self.run.is_manual(*job)).collect();
            if started.is_empty() && running.is_empty() {
                return self;
            }
            for job in running {
                self.event(Event::Ended(job, Ending::Done(Outputs::new())));
            }
        }
    }

    pub(crate) fn crash(&mut self) -> &mut Self {
        let epoch = self.journal.iter().filter(|it| matches!(it.event, Event::Opened { .. }));
        let epoch = epoch.count() as u64 + 1;
        self.event(Event::Opened { epoch, boot: "boot".into(), pid: 1, cut: 0 });
        self
    }

    #[track_caller]
    pub(crate) fn due_timer(&mut self, timer: Timer) -> &mut Self {
        self.event(Event::Due { timer, jumped: false });
        self
    }

    pub(crate) fn request(&mut self, who: &Person, what: Request) -> Result<(), Refusal> {
        let event = self.run.admit(who, what)?;
        self.event(event);
        Ok(())
    }

    #[track_caller]
    pub(crate) fn asks(&mut self, what: Request) -> &mut Self {
        let ada = person("ada", &[]);
        if let Err(refusal) = self.request(&ada, what) {
            panic!("refused: {}", refusal.why);
        }
        self
    }

    #[track_caller]
    pub(crate) fn refused(&mut self, what: Request) -> String {
        let ada = person("ada", &[]);
        match self.run.admit(&ada, what.clone()) {
            Ok(_) => panic!("{what:?} was admitted"),
            Err(refusal) => {
                let event = Event::Requested(ada, what);
                assert!(!self.would_take(event), "refused, but taken in at replay");
                refusal.why
            }
        }
    }

    #[track_caller]
    pub(crate) fn answers(&mut self, answer: Answer) -> &mut Self {
        let question = self.question();
        self.asks(Request::Answer { question, answer, note: String::new() })
    }

    #[track_caller]
    pub(crate) fn question(&self) -> QuestionId {
        let questions = self.run.questions();
        assert_eq!(questions.len(), 1, "{questions:#?}");
        questions[0].id
    }

    #[track_caller]
    pub(crate) fn question_text(&self) -> String {
        self.question();
        self.run.questions()[0].text.clone()
    }

    #[track_caller]
    pub(crate) fn holds(&mut self) -> &mut Self {
        self.asks(Request::Hold { reason: "wait".into() })
    }

    #[track_caller]
    pub(crate) fn releases(&mut self) -> &mut Self {
        self.asks(Request::Release { hold: None })
    }

    #[track_caller]
    pub(crate) fn rolls_back(&mut self) -> &mut Self {
        self.asks(rollback(Back::Run { before_too: false }))
    }

    #[track_caller]
    pub(crate) fn verdict(&mut self, provider: &str, verdict: Verdict) -> &mut Self {
        let provider = self.run.graph().find_provider(provider).expect("a provider");
        let as_of = self.run.seq();
        self.event(Event::Verdict { provider, verdict, as_of });
        self
    }

    #[track_caller]
    pub(crate) fn closes(&mut self, outcome: Outcome) {
        assert_eq!(
            self.commands().first(),
            Some(&Command::Close(outcome)),
            "{:#?}",
            self.run.questions()
        );
        self.event(Event::Closed(outcome));
        assert!(self.commands().is_empty());
        self.replays();
    }

    /// Folding the journal anew gives the same run.
    #[track_caller]
    pub(crate) fn replays(&self) {
        let mut again = Run::new(Arc::clone(self.run.graph()));
        for record in &self.journal {
            again.apply(record).expect("the journal replays");
        }
        assert!(again == self.run, "the fold of the journal is not the live state");
    }

    pub(crate) fn status(&self, name: &str) -> Status {
        self.run.status(self.step(name))
    }

    pub(crate) fn is_clean(&self, name: &str) -> bool {
        self.status(name) == Status::Clean
    }

    pub(crate) fn is_done(&self, name: &str) -> bool {
        self.status(name) == Status::Done
    }
}

pub(crate) fn rollback(back: Back) -> Request {
    Request::Rollback { back, reason: "for a test".into() }
}
