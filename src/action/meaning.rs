//! What the actions have in common: reading, filling, undo, check, effects, and whom they name.

use super::{Action, Check, Effects, Undo};
use super::{database, edge, http, manual, notify, orders, process, provider, role};
use crate::plan::scope::Scope;
use crate::plan::template::Template;
use crate::text::tree::Node;

/// Something that an action names, to be looked up in the estate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mention<'a, T> {
    /// A site.
    Site(&'a T),
    /// A host, as `SITE/HOST`.
    Host(&'a T),
    /// A product line of the plan.
    Line(&'a T),
    /// A database of a site.
    Database {
        /// The site.
        site: &'a T,
        /// The database.
        database: &'a T,
    },
    /// A route of a site's edge.
    Route {
        /// The site.
        site: &'a T,
        /// The route.
        route: &'a T,
    },
    /// The queue of orders of a line at a site; its table stands in the line's database.
    Orders {
        /// The site.
        site: &'a T,
        /// The line, and its database.
        line: &'a T,
    },
    /// A provider, as `SERVICE@SITE/NAME`, that the action switches.
    Provider(&'a T),
    /// A role at a site, as `ROLE@SITE/LINE` or `ROLE@SITE`, that the action moves.
    Role(&'a T),
    /// A channel.
    Channel(&'a T),
    /// A group of people. The text is one that stands near it.
    Group(&'a str, &'a T),
}

impl Action<Template> {
    /// Reads the arguments of the action of that name; the name is one of the table.
    /// `beside` holds `at` and `env` for `run` and `script`.
    pub(crate) fn read(
        name: &'static str,
        node: &Node<'_>,
        beside: process::Beside,
        scope: &mut Scope<'_>,
    ) -> Option<Self> {
        Some(match name {
            "run" => Self::Run(process::Run::read(node, beside, scope)?),
            "script" => Self::Script(process::Script::read(node, beside, scope)?),
            "http" => Self::Http(http::Http::read(node, scope)?),
            "edge.close" => Self::EdgeClose(edge::Close::read(node, scope)?),
            "edge.open" => Self::EdgeOpen(edge::Open::read(node, scope)?),
            "database.snapshot" => Self::DatabaseSnapshot(database::Snapshot::read(
                node,
                scope,
                "`database.snapshot`",
            )?),
            "database.drop-snapshot" => Self::DatabaseDropSnapshot(database::Snapshot::read(
                node,
                scope,
                "`database.drop-snapshot`",
            )?),
            "database.transfer" => Self::DatabaseTransfer(database::Transfer::read(
                node,
                scope,
                "`database.transfer`",
            )?),
            "database.discard" => {
                Self::DatabaseDiscard(database::Transfer::read(node, scope, "`database.discard`")?)
            }
            "database.verify" => Self::DatabaseVerify(database::Verify::read(node, scope)?),
            "orders.pause" => Self::OrdersPause(orders::Pause::read(node, scope)?),
            "orders.resume" => Self::OrdersResume(orders::Resume::read(node, scope)?),
            "provider.enable" => {
                Self::ProviderEnable(provider::Provider::read(node, scope, "`provider.enable`")?)
            }
            "provider.disable" => {
                Self::ProviderDisable(provider::Provider::read(node, scope, "`provider.disable`")?)
            }
            "role.fence" => Self::RoleFence(role::Role::read(node, scope, "`role.fence`")?),
            "role.promote" => Self::RolePromote(role::Role::read(node, scope, "`role.promote`")?),
            "notify" => Self::Notify(notify::Notify::read(node, scope)?),
            "manual" => Self::Manual(manual::Manual::read(node, scope)?),
            _ => return None,
        })
    }

    /// The action with every text filled by `f`: what an executor is handed.
    ///
    /// # Errors
    /// The first text that `f` cannot fill.
    pub fn fill(
        &self,
        f: &mut dyn FnMut(&Template) -> Result<String, String>,
    ) -> Result<Action<String>, String> {
        self.map(f)
    }
}

impl Effects<Template> {
    /// The effects with every name filled by `f`.
    ///
    /// # Errors
    /// The first name that `f` cannot fill.
    pub fn fill(
        &self,
        f: &mut dyn FnMut(&Template) -> Result<String, String>,
    ) -> Result<Effects<String>, String> {
        let mut each = |names: &[Template]| names.iter().map(&mut *f).collect::<Result<_, _>>();
        Ok(Effects {
            loses: each(&self.loses)?,
            gains: each(&self.gains)?,
            disturbs: each(&self.disturbs)?,
        })
    }
}

impl<T> Effects<T> {
    /// Whether nothing is taken or given.
    pub fn is_empty(&self) -> bool {
        self.loses.is_empty() && self.gains.is_empty() && self.disturbs.is_empty()
    }
}

impl<T> Action<T> {
    /// Its name in the table.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Run(_) => "run",
            Self::Script(_) => "script",
            Self::Http(_) => "http",
            Self::EdgeClose(_) => "edge.close",
            Self::EdgeOpen(_) => "edge.open",
            Self::DatabaseSnapshot(_) => "database.snapshot",
            Self::DatabaseDropSnapshot(_) => "database.drop-snapshot",
            Self::DatabaseTransfer(_) => "database.transfer",
            Self::DatabaseDiscard(_) => "database.discard",
            Self::DatabaseVerify(_) => "database.verify",
            Self::OrdersPause(_) => "orders.pause",
            Self::OrdersResume(_) => "orders.resume",
            Self::ProviderEnable(_) => "provider.enable",
            Self::ProviderDisable(_) => "provider.disable",
            Self::RoleFence(_) => "role.fence",
            Self::RolePromote(_) => "role.promote",
            Self::Notify(_) => "notify",
            Self::Manual(_) => "manual",
        }
    }

    /// The same action over other texts.
    ///
    /// # Errors
    /// The first text that `f` refuses.
    pub fn map<U, E>(&self, f: &mut dyn FnMut(&T) -> Result<U, E>) -> Result<Action<U>, E> {
        Ok(match self {
            Self::Run(a) => Action::Run(a.map(f)?),
            Self::Script(a) => Action::Script(a.map(f)?),
            Self::Http(a) => Action::Http(a.map(f)?),
            Self::EdgeClose(a) => Action::EdgeClose(a.map(f)?),
            Self::EdgeOpen(a) => Action::EdgeOpen(a.map(f)?),
            Self::DatabaseSnapshot(a) => Action::DatabaseSnapshot(a.map(f)?),
            Self::DatabaseDropSnapshot(a) => Action::DatabaseDropSnapshot(a.map(f)?),
            Self::DatabaseTransfer(a) => Action::DatabaseTransfer(a.map(f)?),
            Self::DatabaseDiscard(a) => Action::DatabaseDiscard(a.map(f)?),
            Self::DatabaseVerify(a) => Action::DatabaseVerify(a.map(f)?),
            Self::OrdersPause(a) => Action::OrdersPause(a.map(f)?),
            Self::OrdersResume(a) => Action::OrdersResume(a.map(f)?),
            Self::ProviderEnable(a) => Action::ProviderEnable(a.map(f)?),
            Self::ProviderDisable(a) => Action::ProviderDisable(a.map(f)?),
            Self::RoleFence(a) => Action::RoleFence(a.map(f)?),
            Self::RolePromote(a) => Action::RolePromote(a.map(f)?),
            Self::Notify(a) => Action::Notify(a.map(f)?),
            Self::Manual(a) => Action::Manual(a.map(f)?),
        })
    }

    /// The host that it runs on, as `SITE/HOST`.
    pub fn at(&self) -> Option<&T> {
        match self {
            Self::Run(a) => a.at.as_ref(),
            Self::Script(a) => a.at.as_ref(),
            _ => None,
        }
    }

    /// Whether people do it.
    pub fn is_manual(&self) -> bool {
        matches!(self, Self::Manual(_))
    }

    /// Whether it knows its own undo, check and effects.
    pub fn is_built_in(&self) -> bool {
        !matches!(self, Self::Run(_) | Self::Script(_) | Self::Http(_) | Self::Manual(_))
    }

    /// How a doubt about it is settled when the plan does not say.
    pub fn check(&self) -> Check<T> {
        if self.is_built_in() { Check::BuiltIn } else { Check::Nothing }
    }

    /// What a step of it takes and gives when the plan does not say.
    pub fn effects(&self) -> Effects<T>
    where
        T: Clone,
    {
        let (mut gains, mut loses) = (Vec::new(), Vec::new());
        match self {
            Self::ProviderEnable(a) => gains.push(a.provider.clone()),
            Self::ProviderDisable(a) => loses.push(a.provider.clone()),
            Self::RolePromote(a) => gains.push(a.role.clone()),
            Self::RoleFence(a) => loses.push(a.role.clone()),
            _ => {}
        }
        Effects { loses, gains, disturbs: Vec::new() }
    }

    /// The way back that it knows by itself.
    pub fn undo(&self) -> Undo<T>
    where
        T: Clone,
    {
        let by = |action| Undo::By(Box::new(action));
        match self {
            Self::EdgeClose(a) => by(Self::EdgeOpen(a.undo())),
            Self::EdgeOpen(a) => by(Self::EdgeClose(a.undo())),
            Self::DatabaseSnapshot(a) => by(Self::DatabaseDropSnapshot(a.clone())),
            Self::DatabaseTransfer(a) => by(Self::DatabaseDiscard(a.clone())),
            Self::DatabaseVerify(_) => Undo::Nothing("a comparison changes nothing".to_owned()),
            Self::OrdersPause(a) => by(Self::OrdersResume(a.undo())),
            Self::OrdersResume(a) => by(Self::OrdersPause(a.undo())),
            Self::ProviderEnable(a) => by(Self::ProviderDisable(a.clone())),
            Self::ProviderDisable(a) => by(Self::ProviderEnable(a.clone())),
            Self::RoleFence(a) => by(Self::RolePromote(a.clone())),
            Self::RolePromote(a) => by(Self::RoleFence(a.clone())),
            Self::Notify(_) => Undo::Nothing("a notice cannot be called back".to_owned()),
            Self::Run(_)
            | Self::Script(_)
            | Self::Http(_)
            | Self::Manual(_)
            | Self::DatabaseDropSnapshot(_)
            | Self::DatabaseDiscard(_) => Undo::Missing,
        }
    }

    /// Everything that it names and that the estate (or the plan's `lines`) must know.
    pub fn mentions(&self) -> Vec<Mention<'_, T>> {
        match self {
            Self::Run(_) | Self::Script(_) => self.at().map(Mention::Host).into_iter().collect(),
            Self::Http(_) => Vec::new(),
            Self::EdgeClose(edge::Close { site, line, routes, .. })
            | Self::EdgeOpen(edge::Open { site, line, routes, .. }) => {
                let routes = routes.iter().map(|route| Mention::Route { site, route });
                [Mention::Site(site), Mention::Line(line)].into_iter().chain(routes).collect()
            }
            Self::DatabaseSnapshot(a) | Self::DatabaseDropSnapshot(a) => {
                let (site, database) = (&a.site, &a.database);
                vec![Mention::Site(site), Mention::Database { site, database }]
            }
            Self::DatabaseTransfer(database::Transfer { from, to, database, .. })
            | Self::DatabaseDiscard(database::Transfer { from, to, database, .. })
            | Self::DatabaseVerify(database::Verify { from, to, database }) => vec![
                Mention::Site(from),
                Mention::Site(to),
                Mention::Database { site: from, database },
                Mention::Database { site: to, database },
            ],
            Self::OrdersPause(orders::Pause { site, line })
            | Self::OrdersResume(orders::Resume { site, line, .. }) => {
                vec![Mention::Site(site), Mention::Line(line), Mention::Orders { site, line }]
            }
            Self::ProviderEnable(a) | Self::ProviderDisable(a) => {
                vec![Mention::Provider(&a.provider)]
            }
            Self::RoleFence(a) | Self::RolePromote(a) => vec![Mention::Role(&a.role)],
            Self::Notify(a) => a.to.iter().map(Mention::Channel).collect(),
            Self::Manual(a) => a.by.iter().map(|group| Mention::Group(group, &a.how)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::TABLE;
    use super::*;
    use crate::text::Span;

    fn every() -> Vec<Action<String>> {
        let text = |text: &str| text.to_owned();
        let (site, line) = (text("from"), text("geotrust"));
        let routes = vec![text("order")];
        let snapshot = database::Snapshot { site: site.clone(), database: line.clone() };
        let transfer = database::Transfer {
            from: site.clone(),
            to: text("to"),
            database: line.clone(),
            method: database::Method::Copy,
        };
        let provider =
            provider::Provider { provider: text("ocsp@from/ocsp-1"), line: Some(line.clone()) };
        let role = role::Role { role: text("writer@from/geotrust") };
        vec![
            Action::EdgeClose(edge::Close {
                site: site.clone(),
                line: line.clone(),
                routes: routes.clone(),
                status: 404,
            }),
            Action::EdgeOpen(edge::Open {
                site: site.clone(),
                line: line.clone(),
                routes,
                status: 503,
            }),
            Action::DatabaseSnapshot(snapshot),
            Action::DatabaseTransfer(transfer),
            Action::OrdersPause(orders::Pause { site: site.clone(), line: line.clone() }),
            Action::OrdersResume(orders::Resume { site, line, rate: 100.0 }),
            Action::ProviderEnable(provider.clone()),
            Action::ProviderDisable(provider),
            Action::RoleFence(role.clone()),
            Action::RolePromote(role),
        ]
    }

    #[test]
    fn the_undo_of_a_switch_is_its_opposite() {
        for action in every() {
            let Undo::By(undo) = action.undo() else { panic!("{} has an undo", action.name()) };
            assert_ne!(undo.name(), action.name());
            if let Undo::By(again) = undo.undo() {
                assert_eq!(*again, action, "the undo of the undo of {}", action.name());
            }
            // What a step takes, its undo gives back, and the other way round.
            assert_eq!(action.effects().gains, undo.effects().loses);
            assert_eq!(action.effects().loses, undo.effects().gains);
        }
    }

    #[test]
    fn names_are_those_of_the_table() {
        for action in every() {
            assert!(TABLE.iter().any(|row| row.name == action.name()));
        }
    }

    #[test]
    fn filling_fills_every_text() {
        for action in every() {
            let template: Action<Template> = action
                .map(&mut |text: &String| {
                    Ok::<_, ()>(Template::literal(text.clone(), Span::default()))
                })
                .expect("infallible");
            let filled = template.fill(&mut |t| Ok(t.to_string() + "!")).expect("infallible");
            let plain = format!("{action:?}");
            let marked = format!("{filled:?}");
            assert_eq!(marked.matches("!\"").count(), plain.matches("\"").count() / 2, "{marked}");
            assert!(template.fill(&mut |_| Err("no".into())).is_err());
        }
    }
}
