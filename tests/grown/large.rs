//! Large plans that hold, of a given number of steps: layers of 100, three needs each, and five
//! protected services that move from one site to the other in the middle and are upgraded on the way.

use super::Chance;
use std::fmt::Write as _;

/// Steps in a layer.
pub(crate) const WIDTH: usize = 100;
/// Every so many layers one step disturbs a provider of each service. A step needs three of the
/// layer before it, at most `REACH` apart: by then everything lies behind everything.
const APART: usize = 20;
const REACH: usize = 9;
const SERVICES: [&str; 5] = ["ocsp", "crl", "seal", "stamp", "keys"];
const PROVIDERS: usize = 4;

/// How the steps are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Each by itself.
    Written,
    /// A definition for each layer, fanned out over its hundred.
    Fanned,
}

/// What stands above the steps.
fn head(out: &mut String) {
    out.push_str("cutover: v1\nname: a large plan\n");
    out.push_str("window:\n  opens: 2019-04-06T08:30[America/Los_Angeles]\n");
    out.push_str("  closes: 2019-04-06T20:30[America/Los_Angeles]\n  reserve: 45m\nprotect:\n");
    for service in SERVICES {
        let providers: Vec<String> =
            (0..PROVIDERS).map(|n| format!("{service}@from/{n}")).collect();
        let _ = writeln!(out, "  {service}: {{ at_least: 2, providers: {providers:?} }}");
    }
    out.push_str("steps:\n");
}

/// What a step of that place does to the services, if anything.
fn effects(layer: usize, place: usize, layers: usize) -> Option<String> {
    let turn = layer / APART;
    let (half, near_half) = (layers / 2 / APART * APART, layer / APART * APART == layer);
    if !near_half || place >= SERVICES.len() || layer == 0 {
        return None;
    }
    let service = SERVICES[place];
    let all = |site: &str| -> String {
        let names: Vec<String> = (0..PROVIDERS).map(|n| format!("{service}@{site}/{n}")).collect();
        format!("{names:?}")
    };
    Some(if layer == half {
        format!("gains: {}", all("to"))
    } else if layer == half + APART {
        format!("loses: {}", all("from"))
    } else {
        let site = if layer < half { "from" } else { "to" };
        format!("disturbs: [\"{service}@{site}/{}\"]", turn % PROVIDERS)
    })
}

/// How far to the side the needs of a layer lie.
fn reaches(chance: &mut Chance) -> [usize; 3] {
    [0, 1 + chance.below(3), REACH - chance.below(3)]
}

/// A plan of `layers` layers.
pub(crate) fn plan(layers: usize, form: Form, seed: u64) -> String {
    let mut chance = Chance::new(seed);
    let mut out = String::with_capacity(layers * WIDTH * 120);
    head(&mut out);
    match form {
        Form::Written => {
            for layer in 0..layers {
                let reaches = reaches(&mut chance);
                for place in 0..WIDTH {
                    written(&mut out, layer, place, layers, reaches);
                }
            }
        }
        Form::Fanned => {
            let places: Vec<String> = (0..WIDTH).map(|place| format!("h{place}")).collect();
            let places = places.join(", ");
            for layer in 0..layers {
                fanned(&mut out, layer, layers, &places);
            }
        }
    }
    out
}

fn written(out: &mut String, layer: usize, place: usize, layers: usize, reaches: [usize; 3]) {
    let _ = write!(out, "  step-{layer}-{place}:\n    run: [\"true\", \"{layer}\"]\n");
    out.push_str("    undo: { run: [\"true\"] }\n    estimate: 1s..3s\n");
    if layer > 0 {
        let before = layer - 1;
        let [a, b, c] = reaches.map(|reach| (place + reach) % WIDTH);
        let _ =
            writeln!(out, "    needs: [step-{before}-{a}, step-{before}-{b}, step-{before}-{c}]");
    }
    if let Some(effects) = effects(layer, place, layers) {
        let _ = writeln!(out, "    effects: {{ {effects} }}");
    }
}

/// A layer's hundred: the needs pair with the three layers before. What touches the services stands
/// between layers, in steps of its own.
fn fanned(out: &mut String, layer: usize, layers: usize, places: &str) {
    let touching = (0..SERVICES.len()).filter(|&place| effects(layer, place, layers).is_some());
    for place in touching.clone() {
        let effects = effects(layer, place, layers).unwrap_or_default();
        let _ = write!(
            out,
            "  touch-{layer}-{place}:\n    run: [\"true\"]\n    undo: {{ run: [\"true\"] }}\n    \
             needs: [{{ all: step-{} }}]\n    effects: {{ {effects} }}\n",
            layer - 1
        );
    }
    let _ = write!(
        out,
        "  step-{layer}:\n    for_each: {{ host: [{places}] }}\n    \
         run: [\"true\", \"${{{{ host }}}}\"]\n    undo: {{ run: [\"true\"] }}\n    estimate: 1s..3s\n"
    );
    let mut needs: Vec<String> =
        (1..=3.min(layer)).map(|back| format!("step-{}", layer - back)).collect();
    needs.extend(touching.map(|place| format!("touch-{layer}-{place}")));
    if !needs.is_empty() {
        let _ = writeln!(out, "    needs: [{}]", needs.join(", "));
    }
}

/// The same graph as [`Form::Written`], as ninja reads it.
pub(crate) fn ninja(layers: usize, seed: u64) -> String {
    let mut chance = Chance::new(seed);
    let mut out = String::from("rule r\n  command = true $out\n");
    for layer in 0..layers {
        let reaches = reaches(&mut chance);
        for place in 0..WIDTH {
            let _ = write!(out, "build step-{layer}-{place}: r");
            if layer > 0 {
                for reach in reaches {
                    let _ = write!(out, " step-{}-{}", layer - 1, (place + reach) % WIDTH);
                }
            }
            out.push('\n');
        }
    }
    out
}
