//! What `role.*` and `provider.*` share: something that is on or off, by the estate's commands or
//! its admin URL. Turned, then read back.

use super::until::Until;
use super::{Context, Worked, admin, fill_line, process};
use crate::estate::Switch;
use crate::event::{Ending, Outputs};
use crate::failure::Failure;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A switch of the estate, found.
pub(crate) struct Found<'a> {
    /// As people name it: `writer@from/geotrust`.
    pub(crate) name: String,
    /// How it is turned.
    pub(crate) switch: &'a Switch,
    /// Fills `{line}`; none: `*`, all lines.
    pub(crate) line: Option<String>,
    /// Where its commands run, as `SITE/HOST`; none: on this machine.
    pub(crate) at: Option<String>,
}

impl Found<'_> {
    /// Turns it, and believes only what it then says of itself.
    pub(crate) async fn turn(&self, on: bool, until: &Until, context: &Context) -> Worked {
        context.doing(format!("turning `{}` {}", self.name, word(on)));
        match self.switch {
            Switch::Admin(url) => {
                let url = fill_line(url, self.line.as_deref());
                let wanted = |state: &Value| state["on"] == Value::Bool(on);
                admin::put(&url, &json!({ "on": on }), wanted, until).await?;
            }
            Switch::Commands { on: to_on, off: to_off, is_on } => {
                let argv = if on { to_on } else { to_off };
                let name = argv.first().map_or("", String::as_str);
                self.command(argv, "", until, context).await?.as_deed(name, until)?;
                if !is_on.is_empty() {
                    self.read_back(on, is_on, until, context).await?;
                }
            }
        }
        Ok(Outputs::new())
    }

    async fn read_back(
        &self,
        on: bool,
        is_on: &[String],
        until: &Until,
        context: &Context,
    ) -> Result<(), Ending> {
        if self.asked(is_on, until, context).await? == on {
            return Ok(());
        }
        Err(Ending::Failed(Failure::transient(format!(
            "`{}` was turned {} and is still {}, says `{}`",
            self.name,
            word(on),
            word(!on),
            is_on.first().map_or("", String::as_str)
        ))))
    }

    /// Whether it is as wanted.
    pub(crate) async fn is(&self, on: bool, until: &Until, context: &Context) -> Worked {
        context.doing(format!("asking whether `{}` is {}", self.name, word(on)));
        if self.is_on(until, context).await? == on {
            Ok(Outputs::new())
        } else {
            Err(Ending::NotDone)
        }
    }

    /// Whether it is on. Changes nothing.
    pub(crate) async fn is_on(&self, until: &Until, context: &Context) -> Result<bool, Ending> {
        match self.switch {
            Switch::Admin(url) => {
                let url = fill_line(url, self.line.as_deref());
                let state = admin::get(&url, until).await.map_err(Ending::Unknown)?;
                state["on"].as_bool().ok_or_else(|| {
                    Ending::Unknown(Failure::in_doubt(format!(
                        "`{url}` does not say `on`: {state}"
                    )))
                })
            }
            Switch::Commands { is_on, .. } if is_on.is_empty() => {
                Err(Ending::Unknown(Failure::in_doubt(format!(
                    "the estate has no command that says whether `{}` is on",
                    self.name
                ))))
            }
            Switch::Commands { is_on, .. } => self.asked(is_on, until, context).await,
        }
    }

    /// What turning it does, for people.
    pub(crate) fn describe(&self, on: bool) -> String {
        match self.switch {
            Switch::Admin(url) => {
                let url = fill_line(url, self.line.as_deref());
                format!("PUT {url} {}", json!({ "on": on }))
            }
            Switch::Commands { on: to_on, off: to_off, .. } => {
                let argv = if on { to_on } else { to_off };
                let argv: Vec<String> =
                    argv.iter().map(|word| fill_line(word, self.line.as_deref())).collect();
                process::shown(&argv)
            }
        }
    }

    async fn asked(
        &self,
        argv: &[String],
        until: &Until,
        context: &Context,
    ) -> Result<bool, Ending> {
        let name = argv.first().map_or("", String::as_str);
        match self.command(argv, "read-back", until, context).await?.as_check(name, until) {
            Ok(_) => Ok(true),
            Err(Ending::NotDone) => Ok(false),
            Err(other) => Err(other),
        }
    }

    async fn command(
        &self,
        argv: &[String],
        below: &str,
        until: &Until,
        context: &Context,
    ) -> Result<process::Ran, Ending> {
        let command = process::Command {
            argv: argv.iter().map(|word| fill_line(word, self.line.as_deref())).collect(),
            at: self.at.as_deref(),
            env: &BTreeMap::new(),
            directory: context.attempt_dir.join(below),
        };
        process::execute(&command, until, context).await.map_err(Ending::Failed)
    }
}

fn word(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}
