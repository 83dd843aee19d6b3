//! Instants, durations, ranges and rates as they are written in plans. Not known here: what time it is.
//!
//! The zone data is the bundled one: a plan means the same instant on every machine, and a journal
//! is replayed with the times that it was begun with.

use jiff::civil::DateTime;
use jiff::fmt::temporal::DateTimeParser;
use jiff::tz::{AmbiguousOffset, Disambiguation, TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Span, Timestamp, ZonedDateTime};
use std::sync::LazyLock;

use super::near::did_you_mean;

static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// The longest duration that a plan may say: a year. It keeps every sum of instants in range.
const LONGEST_S: i64 = 366 * 24 * 3600;

/// The years that a plan may name. Others are slips, and sums with them could leave the calendar.
const YEARS: std::ops::RangeInclusive<i16> = 1970..=2999;

/// Why a text is no time, and what was probably meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoTime {
    /// What is wrong.
    pub what: String,
    /// What was probably meant.
    pub hint: Option<String>,
}

fn no(what: impl Into<String>, hint: impl Into<String>) -> NoTime {
    NoTime { what: what.into(), hint: Some(hint.into()) }
}

/// A time zone by its IANA name, or `UTC`.
///
/// # Errors
/// No zone has this name.
pub fn zone(name: &str) -> Result<TimeZone, NoTime> {
    // Names are matched in any case by the database; ours must be written as they are.
    match ZONES.get(name) {
        Ok(zone) if name == "UTC" || zone.iana_name() == Some(name) => Ok(zone),
        Ok(zone) => {
            let right = zone.iana_name().unwrap_or("UTC");
            Err(no(
                format!("`{name}` is not how this time zone is written"),
                format!("write `{right}`"),
            ))
        }
        Err(_) => Err(unknown_zone(name)),
    }
}

fn unknown_zone(name: &str) -> NoTime {
    let names: Vec<String> = ZONES.available().map(|zone| zone.to_string()).collect();
    let hint = match name {
        "PST" | "PDT" | "PT" | "Pacific" => "write `America/Los_Angeles`".to_owned(),
        "EST" | "EDT" | "ET" | "Eastern" => "write `America/New_York`".to_owned(),
        "CST" | "CDT" | "CT" | "Central" => "write `America/Chicago`".to_owned(),
        "CET" | "CEST" => "write a place, as in `Europe/Berlin`".to_owned(),
        _ => did_you_mean(name, names.iter().map(String::as_str))
            .unwrap_or_else(|| "write a place, as in `America/Los_Angeles`, or `UTC`".to_owned()),
    };
    no(format!("there is no time zone `{name}`"), hint)
}

/// An instant with its zone: `2019-04-06T08:30[America/Los_Angeles]`.
///
/// # Errors
/// Not of that form, no zone, an unknown one, or a clock time that this day does not have or has
/// twice (then an offset decides: `2019-11-03T01:30-07:00[America/Los_Angeles]`).
pub fn instant(text: &str) -> Result<ZonedDateTime, NoTime> {
    let example = "write it like `2019-04-06T08:30[America/Los_Angeles]`";
    let Some((civil, rest)) = text.split_once('[') else {
        let what = if text.ends_with(['Z', 'z']) {
            let hint = format!("write `{}[UTC]`", text.trim_end_matches(['Z', 'z']));
            return Err(no(format!("`{text}` names no time zone"), hint));
        } else if text.contains('T') {
            format!("`{text}` names no time zone")
        } else {
            format!("`{text}` is not a time")
        };
        return Err(no(what, example));
    };
    let Some(name) = rest.strip_suffix(']') else {
        return Err(no(format!("`{text}` has no `]` at its end"), example));
    };
    if !civil.contains('T') {
        return Err(no(format!("`{text}` is not a time"), example));
    }
    let zone = zone(name)?;
    let parser = DateTimeParser::new().disambiguation(Disambiguation::Reject);
    let clock = parser.parse_datetime(civil);
    if clock.as_ref().is_ok_and(|clock| !YEARS.contains(&clock.year())) {
        let what = format!("`{text}` lies outside the years {} to {}", YEARS.start(), YEARS.end());
        return Err(no(what, "is the year right?"));
    }
    if let Ok(at) = parser.parse_zoned_datetime_with(&ZONES, text) {
        return Ok(at);
    }
    let Ok(clock) = clock else {
        return Err(no(format!("`{civil}` is not a date and a time of day"), example));
    };
    Err(unclear(text, clock, &zone).unwrap_or_else(|| {
        let what = format!("the offset of `{text}` is not the one that `{name}` has then");
        no(what, format!("leave the offset out: `{clock}[{name}]`"))
    }))
}

/// Why a clock time is not exactly one instant, when it is not.
fn unclear(text: &str, clock: DateTime, zone: &TimeZone) -> Option<NoTime> {
    match zone.to_ambiguous_zoned_datetime(clock).offset() {
        AmbiguousOffset::Unambiguous { .. } => None,
        AmbiguousOffset::Gap { .. } => Some(no(
            format!("`{text}` does not exist: the clocks jump over it that day"),
            "choose a time outside the jump",
        )),
        AmbiguousOffset::Fold { before, after } => {
            let name = zone.iana_name().unwrap_or("UTC");
            let say = |offset| format!("`{}{}[{name}]`", clock.strftime("%Y-%m-%dT%H:%M"), offset);
            Some(no(
                format!("`{text}` happens twice that day: the clocks are put back over it"),
                format!("say which: {} or {}", say(spelt(before)), say(spelt(after))),
            ))
        }
    }
}

fn spelt(offset: jiff::tz::Offset) -> String {
    let minutes = offset.seconds() / 60;
    let sign = if minutes < 0 { '-' } else { '+' };
    format!("{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
}

/// A duration with its units: `40m`, `1h 30m`, `200ms`. Zero is one; negative ones do not exist.
///
/// # Errors
/// No unit, an unknown one, units out of order, days, more than a year.
pub fn duration(text: &str) -> Result<SignedDuration, NoTime> {
    let (days, rest) = counted(text)?;
    if days.is_some() {
        let what = format!("`{text}` counts in days, and a day is not always 24 hours");
        return Err(no(what, "write hours, as in `24h`; `d` is for `not_before` only"));
    }
    Ok(rest)
}

/// Calendar days, when some were written, and the rest.
fn counted(text: &str) -> Result<(Option<i64>, SignedDuration), NoTime> {
    const UNITS: [(&str, i64); 5] =
        [("d", 0), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
    let example = "write it like `40m`, `1h 30m` or `200ms`";
    let not = || no(format!("`{text}` is not a duration"), example);
    let mut left = text.trim();
    if left.starts_with('-') {
        return Err(no(format!("`{text}` is negative"), "a duration is never less than nothing"));
    }
    let (mut days, mut milliseconds, mut allowed) = (None, 0_i64, 0_usize);
    if left.is_empty() {
        return Err(not());
    }
    while !left.is_empty() {
        let digits = left.len() - left.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, rest) = left.split_at(digits);
        let rest = if digits > 0 { rest.trim_start() } else { rest };
        let letters = rest.len() - rest.trim_start_matches(|c: char| c.is_alphabetic()).len();
        let (unit, rest) = rest.split_at(letters);
        if digits == 0 {
            return Err(not());
        }
        if unit.is_empty() {
            let what = format!("`{text}` has no unit");
            let hint = if rest.starts_with('.') {
                "a part of a unit is written in the next smaller one: `1h 30m`".to_owned()
            } else {
                format!("write `{number}s`, `{number}m` or `{number}h`")
            };
            return Err(no(what, hint));
        }
        let Some(place) = UNITS.iter().position(|(name, _)| *name == unit) else {
            return Err(unknown_unit(text, number, unit));
        };
        if place < allowed {
            return Err(no(format!("`{text}` has its units out of order or twice"), example));
        }
        allowed = place + 1;
        let number = number.parse::<i64>().ok().filter(|n| *n <= LONGEST_S * 1000);
        let Some(number) = number else { return Err(too_long(text)) };
        if place == 0 {
            days = Some(number);
        } else {
            let more = number.checked_mul(UNITS[place].1).and_then(|n| n.checked_add(milliseconds));
            milliseconds = more.ok_or_else(|| too_long(text))?;
        }
        left = rest.trim_start();
    }
    if milliseconds > LONGEST_S * 1000 || days.is_some_and(|days| days > 366) {
        return Err(too_long(text));
    }
    Ok((days, SignedDuration::from_millis(milliseconds)))
}

fn too_long(text: &str) -> NoTime {
    no(format!("`{text}` is longer than a year"), "is the unit right?")
}

fn unknown_unit(text: &str, number: &str, unit: &str) -> NoTime {
    let meant = match unit.to_lowercase().as_str() {
        "m" | "min" | "mins" | "minute" | "minutes" => "m",
        "s" | "sec" | "secs" | "second" | "seconds" => "s",
        "h" | "hr" | "hrs" | "hour" | "hours" => "h",
        "ms" | "msec" | "millis" | "milliseconds" => "ms",
        _ => {
            let what = format!("`{text}` has the unknown unit `{unit}`");
            return no(what, "units are `h`, `m`, `s` and `ms`");
        }
    };
    no(format!("`{text}` has the unknown unit `{unit}`"), format!("write `{number}{meant}`"))
}

/// A range of durations: `10s..2m`, or one duration for both ends.
///
/// # Errors
/// An end that is no duration, or ends in the wrong order.
pub fn range(text: &str) -> Result<(SignedDuration, SignedDuration), NoTime> {
    let Some((low, high)) = text.split_once("..") else {
        let both = duration(text)?;
        return Ok((both, both));
    };
    if low.trim().is_empty() || high.trim().is_empty() {
        return Err(no(format!("`{text}` has only one end"), "write it like `10s..2m`"));
    }
    let (low, high) = (duration(low)?, duration(high)?);
    if low > high {
        let what = format!("`{text}` ends before it begins");
        let turned = text.split_once("..").map(|(low, high)| format!("write `{high}..{low}`"));
        return Err(NoTime { what, hint: turned });
    }
    Ok((low, high))
}

/// A rate: `100/s`, `30/m`, `5000/h`, in events a second.
///
/// # Errors
/// Not of that form, or not above zero.
pub fn rate(text: &str) -> Result<f64, NoTime> {
    let example = "write it like `100/s`, `30/m` or `5000/h`";
    let Some((number, unit)) = text.split_once('/') else {
        return Err(no(format!("`{text}` does not say in what time"), example));
    };
    let seconds = match unit.trim() {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(no(format!("`{text}` has the unknown unit `{}`", unit.trim()), example)),
    };
    match number.trim().parse::<u32>() {
        Ok(0) => Err(no(format!("`{text}` never gets anywhere"), example)),
        Ok(number) if number <= 1_000_000 => Ok(f64::from(number) / seconds),
        _ => Err(no(format!("`{text}` is not a rate"), example)),
    }
}

/// A moment that may count from the window: `opens - 7d`, `closes - 30m`, `opens`, or an instant.
/// Days are calendar days in the zone of the window's own end.
///
/// # Errors
/// Not of that form; counted from a window that there is not; or a clock time that its day does not
/// have or has twice.
pub fn moment(
    text: &str,
    window: Option<(&ZonedDateTime, &ZonedDateTime)>,
) -> Result<Timestamp, NoTime> {
    let example = "write it like `opens - 7d`, `closes - 30m`, or as a time with its [zone]";
    let (from_closes, rest) = if let Some(rest) = text.strip_prefix("opens") {
        (false, rest)
    } else if let Some(rest) = text.strip_prefix("closes") {
        (true, rest)
    } else if text.contains('T') {
        return instant(text).map(|at| at.timestamp());
    } else {
        return Err(no(format!("`{text}` is not a moment"), example));
    };
    let Some((opens, closes)) = window else {
        return Err(no(
            format!("`{text}` counts from a window, and the plan has none"),
            "say `window: { opens:, closes: }` in the plan",
        ));
    };
    let from = if from_closes { closes } else { opens };
    let rest = rest.trim();
    if rest.is_empty() {
        return Ok(from.timestamp());
    }
    let (back, amount) = if let Some(amount) = rest.strip_prefix('-') {
        (true, amount)
    } else if let Some(amount) = rest.strip_prefix('+') {
        (false, amount)
    } else {
        return Err(no(format!("`{text}` is not a moment"), example));
    };
    let (days, time) = counted(amount.trim())?;
    shifted(text, from, days.unwrap_or(0), time, back)
}

fn shifted(
    text: &str,
    from: &ZonedDateTime,
    days: i64,
    time: SignedDuration,
    back: bool,
) -> Result<Timestamp, NoTime> {
    let out_of_range = || no(format!("`{text}` lies outside the calendar"), "is the unit right?");
    let sign = if back { -1 } else { 1 };
    let clock = from.datetime().checked_add(Span::new().days(sign * days));
    let clock = clock.map_err(|_| out_of_range())?;
    // Without days the instant itself is shifted: its own fold, if any, is already decided.
    let base = if days == 0 {
        from.timestamp()
    } else {
        if let Some(fault) = unclear(text, clock, from.time_zone()) {
            return Err(fault);
        }
        let at = from.time_zone().to_ambiguous_zoned_datetime(clock).unambiguous();
        at.map_err(|_| out_of_range())?.timestamp()
    };
    let shifted = if back { base.checked_sub(time) } else { base.checked_add(time) };
    shifted.map_err(|_| out_of_range())
}

/// `2d 3h`, `3h 05m`, `5m 09s`, `9s`; never negative.
pub fn span(duration: SignedDuration) -> String {
    let all = duration.as_secs().max(0);
    let (days, hours, minutes, seconds) = (all / 86_400, all / 3_600 % 24, all / 60 % 60, all % 60);
    if days > 0 {
        format!("{days}d {hours}h")
    } else if hours > 0 {
        format!("{hours}h {minutes:02}m")
    } else if minutes > 0 {
        format!("{minutes}m {seconds:02}s")
    } else {
        format!("{seconds}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> Result<i64, String> {
        duration(text).map(|d| d.as_secs()).map_err(|e| e.what)
    }

    #[test]
    fn durations_carry_their_unit() {
        assert_eq!(seconds("40m"), Ok(2400));
        assert_eq!(seconds("1h 30m"), Ok(5400));
        assert_eq!(seconds("1h30m"), Ok(5400));
        assert_eq!(duration("200ms").map(|d| d.as_millis()), Ok(200));
        assert_eq!(seconds("0s"), Ok(0));
        for wrong in
            ["", "40", "40M", "1d", "-5m", "1.5h", "m", "5m 1h", "5m 5m", "1y", "P1D", "9999h"]
        {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        let long = "9".repeat(400) + "h";
        assert!(duration(&long).is_err());
        assert_eq!(
            duration("40").expect_err("no unit").hint.as_deref(),
            Some("write `40s`, `40m` or `40h`")
        );
        assert_eq!(duration("40M").expect_err("unit").hint.as_deref(), Some("write `40m`"));
    }

    #[test]
    fn ranges_go_upwards() {
        let low_high = range("10s..2m").expect("good");
        assert_eq!((low_high.0.as_secs(), low_high.1.as_secs()), (10, 120));
        assert_eq!(range("5m").expect("good").0, range("5m").expect("good").1);
        assert_eq!(range("2m..10s").expect_err("turned").hint.as_deref(), Some("write `10s..2m`"));
        assert!(range("..2m").is_err());
        assert!(range("1s..2d").is_err());
    }

    #[test]
    fn instants_carry_their_zone() {
        let at = instant("2019-04-06T08:30[America/Los_Angeles]").expect("good");
        assert_eq!(at.timestamp().to_string(), "2019-04-06T15:30:00Z");
        let hint = |text| instant(text).expect_err(text).hint.unwrap_or_default();
        assert_eq!(hint("2019-04-06T08:30Z"), "write `2019-04-06T08:30[UTC]`");
        assert_eq!(
            hint("2019-04-06T08:30[America/Los_Angles]"),
            "did you mean `America/Los_Angeles`?"
        );
        assert_eq!(hint("2019-04-06T08:30[PDT]"), "write `America/Los_Angeles`");
        assert_eq!(hint("2019-04-06T08:30[america/los_angeles]"), "write `America/Los_Angeles`");
        for wrong in
            ["", "[", "T[UTC]", "2019-04-06[UTC]", "2019-02-30T08:30[UTC]", "2019-04-06T08:30[UTC"]
        {
            assert!(instant(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn clock_changes_are_not_guessed_at() {
        let gap = instant("2019-03-10T02:30[America/Los_Angeles]").expect_err("gap");
        assert!(gap.what.contains("does not exist"), "{}", gap.what);
        let fold = instant("2019-11-03T01:30[America/Los_Angeles]").expect_err("fold");
        assert!(fold.what.contains("twice"), "{}", fold.what);
        assert!(
            fold.hint.unwrap_or_default().contains("`2019-11-03T01:30-08:00[America/Los_Angeles]`")
        );
        let second = instant("2019-11-03T01:30-08:00[America/Los_Angeles]").expect("decided");
        assert_eq!(second.timestamp().to_string(), "2019-11-03T09:30:00Z");
        let off = instant("2019-04-06T08:30-08:00[America/Los_Angeles]").expect_err("offset");
        assert!(off.what.contains("offset"), "{}", off.what);
    }

    #[test]
    fn days_are_calendar_days_of_the_window() {
        let opens = instant("2019-03-15T08:30[America/Los_Angeles]").expect("good");
        let closes = instant("2019-03-15T20:30[America/Los_Angeles]").expect("good");
        let window = Some((&opens, &closes));
        // The clocks went forward on the 10th: seven days are 167 hours.
        assert_eq!(
            moment("opens - 7d", window).map(|at| at.to_string()),
            Ok("2019-03-08T16:30:00Z".into())
        );
        assert_eq!(
            moment("opens - 168h", window).map(|at| at.to_string()),
            Ok("2019-03-08T15:30:00Z".into())
        );
        assert_eq!(
            moment("closes + 1d 30m", window).map(|at| at.to_string()),
            Ok("2019-03-17T04:00:00Z".into())
        );
        assert_eq!(moment("opens", window), Ok(opens.timestamp()));
        assert!(moment("opens - 7d", None).is_err());
        assert!(moment("opens 7d", window).is_err());
        assert!(moment("tomorrow", window).is_err());
        let early = instant("2019-03-17T02:30[America/Los_Angeles]").expect("good");
        assert!(
            moment("opens - 7d", Some((&early, &closes)))
                .expect_err("gap")
                .what
                .contains("not exist")
        );
    }

    #[test]
    fn rates_are_a_second() {
        assert_eq!(rate("100/s"), Ok(100.0));
        assert_eq!(rate("30/m"), Ok(0.5));
        for wrong in ["100", "0/s", "-1/s", "100/d", "x/s", "1e9/s"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }
}
