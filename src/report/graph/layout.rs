//! Where the boxes and lines of a graph go: in layers from top to bottom, after Sugiyama.
//!
//! Boxes are put into layers by their longest way from a start, bands one below the other. Within a
//! layer they are ordered by the middle of their neighbours, and moved as near to them as the boxes
//! beside them allow (least squares under a fixed order: pool adjacent violators). All of it is
//! deterministic and bounded by counts, not by clocks. Not known here: what the boxes mean.

/// Between boxes of one layer.
const BESIDE: f64 = 26.0;
/// Between layers.
const BELOW: f64 = 46.0;
/// Above the first layer of a band and below its last.
const BAND: f64 = 34.0;
/// A line that passes a layer takes as much room.
const LINE: f64 = 14.0;
/// Work of all sweeps together, in boxes and lines looked at.
const WORK: usize = 4_000_000;
/// Bends of all lines together; further lines are drawn straight.
const BENDS: usize = 20_000;

/// What is to be laid out. Boxes are named by their places.
pub(super) struct Ask<'a> {
    /// Width and height of each box.
    pub(super) sizes: &'a [(f64, f64)],
    /// The band of each box, from 0.
    pub(super) bands: &'a [usize],
    /// Lines from box to box; one that leads from a later box to an earlier one, or to another band,
    /// is drawn but orders nothing.
    pub(super) links: &'a [(usize, usize)],
    /// A box that has everything that does not follow from it above its lower edge.
    pub(super) wall: Option<usize>,
}

/// A point, from the upper left corner.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: f64,
}

/// Where everything goes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Layout {
    /// Upper left corner of each box.
    pub(super) boxes: Vec<Point>,
    /// The points that each line passes.
    pub(super) lines: Vec<Vec<Point>>,
    /// Upper and lower edge of each band that has boxes.
    pub(super) bands: Vec<(usize, f64, f64)>,
    /// Height of the wall.
    pub(super) wall: Option<f64>,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// Boxes first, then bends.
struct Net {
    /// How many of them are boxes.
    boxes: usize,
    layer: Vec<usize>,
    wide: Vec<f64>,
    up: Vec<Vec<usize>>,
    down: Vec<Vec<usize>>,
    /// The bends of each line, in its direction.
    bends: Vec<Vec<usize>>,
    /// Each layer from left to right.
    rows: Vec<Vec<usize>>,
}

/// Lays it out.
pub(super) fn layout(ask: &Ask<'_>) -> Layout {
    let layer = layers(ask);
    let mut net = Net::of(ask, layer);
    let sweeps = WORK / (net.wide.len() + 4 * ask.links.len() + 1);
    net.order(sweeps.min(16));
    let x = net.places(sweeps.clamp(1, 24));
    drawn(ask, &net, &x)
}

fn orders(ask: &Ask<'_>, (from, to): (usize, usize)) -> bool {
    from < to && ask.bands[from] == ask.bands[to]
}

/// The layer of each box.
fn layers(ask: &Ask<'_>) -> Vec<usize> {
    let count = ask.sizes.len();
    let mut up = vec![Vec::new(); count];
    let mut down = vec![Vec::new(); count];
    for &(from, to) in ask.links.iter().filter(|link| orders(ask, **link)) {
        down[from].push(to);
        up[to].push(from);
    }
    let mut layer = vec![0_usize; count];
    let mut last = 0;
    let mut bands: Vec<usize> = ask.bands.to_vec();
    bands.sort_unstable();
    bands.dedup();
    for band in bands {
        let members: Vec<usize> = (0..count).filter(|&at| ask.bands[at] == band).collect();
        let below = |layer: &[usize], at: usize| {
            up[at].iter().map(|&it| layer[it] + 1).max().unwrap_or(last)
        };
        for &at in &members {
            layer[at] = below(&layer, at);
        }
        // What leads to more than it hangs on stands near what it leads to.
        for &at in members.iter().rev().filter(|&&at| down[at].len() > up[at].len()) {
            if let Some(first) = down[at].iter().map(|&it| layer[it]).min() {
                layer[at] = first - 1;
            }
        }
        if let Some(wall) = ask.wall.filter(|&wall| ask.bands[wall] == band) {
            let mut after = vec![false; count];
            for &at in &members {
                after[at] = at == wall || up[at].iter().any(|&it| after[it]);
            }
            let before = members.iter().filter(|&&at| !after[at]).map(|&at| layer[at]);
            layer[wall] = before.max().unwrap_or(last).max(layer[wall]);
            for &at in members.iter().filter(|&&at| after[at] && at != wall) {
                layer[at] = below(&layer, at);
            }
        }
        last = members.iter().map(|&at| layer[at] + 1).max().unwrap_or(last);
    }
    layer
}

impl Net {
    fn of(ask: &Ask<'_>, layer: Vec<usize>) -> Self {
        let mut net = Self {
            boxes: layer.len(),
            wide: ask.sizes.iter().map(|(wide, _)| *wide).collect(),
            up: vec![Vec::new(); layer.len()],
            down: vec![Vec::new(); layer.len()],
            bends: Vec::with_capacity(ask.links.len()),
            rows: vec![Vec::new(); layer.iter().max().map_or(0, |most| most + 1)],
            layer,
        };
        for &(from, to) in ask.links {
            let mut bends = Vec::new();
            let (first, last) = (net.layer[from], net.layer[to]);
            if first < last {
                let wanted = last - first - 1;
                let mut above = from;
                let room = net.wide.len() + wanted <= ask.sizes.len() + BENDS;
                for between in (first + 1..last).filter(|_| room) {
                    let bend = net.wide.len();
                    net.layer.push(between);
                    net.wide.push(LINE);
                    net.up.push(vec![above]);
                    net.down.push(Vec::new());
                    net.down[above].push(bend);
                    bends.push(bend);
                    above = bend;
                }
                if room {
                    net.down[above].push(to);
                    net.up[to].push(above);
                }
            }
            net.bends.push(bends);
        }
        for at in 0..net.layer.len() {
            net.rows[net.layer[at]].push(at);
        }
        net
    }

    /// Orders the layers, and keeps the order with the fewest crossings.
    fn order(&mut self, sweeps: usize) {
        let mut place = vec![0.0_f64; self.wide.len()];
        let mut best = (self.crossings(&mut place), self.rows.clone());
        for sweep in 0..sweeps {
            if best.0 == 0 {
                break;
            }
            self.settle(&mut place);
            let down = sweep % 2 == 0;
            for step in 0..self.rows.len() {
                let row = if down { step } else { self.rows.len() - 1 - step };
                let beside = if down { &self.up } else { &self.down };
                let middle = |at: usize| match beside[at].as_slice() {
                    [] => place[at],
                    some => some.iter().map(|&it| place[it]).sum::<f64>() / some.len() as f64,
                };
                let mut keyed: Vec<(f64, usize)> =
                    self.rows[row].iter().map(|&at| (middle(at), at)).collect();
                keyed.sort_by(|one, other| one.0.total_cmp(&other.0));
                for (index, (_, at)) in keyed.iter().enumerate() {
                    place[*at] = index as f64;
                }
                self.rows[row] = keyed.into_iter().map(|(_, at)| at).collect();
            }
            let crossings = self.crossings(&mut place);
            if crossings < best.0 {
                best = (crossings, self.rows.clone());
            }
        }
        self.rows = best.1;
    }

    fn settle(&self, place: &mut [f64]) {
        for row in &self.rows {
            for (index, at) in row.iter().enumerate() {
                place[*at] = index as f64;
            }
        }
    }

    /// Lines of neighbouring layers that cross, counted by inversions.
    fn crossings(&self, place: &mut [f64]) -> u64 {
        self.settle(place);
        let mut crossings = 0;
        for row in &self.rows {
            let wide = row.iter().flat_map(|&at| &self.down[at]).map(|&to| place[to] as usize + 1);
            let mut counts = vec![0_u64; wide.max().unwrap_or(0) + 1];
            let mut before = 0_u64;
            for &at in row {
                let mut ends: Vec<usize> =
                    self.down[at].iter().map(|&to| place[to] as usize).collect();
                ends.sort_unstable();
                for &end in &ends {
                    let mut index = end + 1;
                    let mut not_after = 0;
                    while index > 0 {
                        not_after += counts[index];
                        index &= index - 1;
                    }
                    crossings += before - not_after;
                }
                for end in ends {
                    let mut index = end + 1;
                    while index < counts.len() {
                        counts[index] += 1;
                        index += index & index.wrapping_neg();
                    }
                    before += 1;
                }
            }
        }
        crossings
    }

    /// The middle of each box and bend, from left.
    fn places(&self, sweeps: usize) -> Vec<f64> {
        let mut x = vec![0.0; self.wide.len()];
        for row in &self.rows {
            let wide = self.offsets(row);
            let middle = wide.last().copied().unwrap_or(0.0) / 2.0;
            for (at, offset) in row.iter().zip(wide) {
                x[*at] = offset - middle;
            }
        }
        for sweep in 0..sweeps {
            for step in 0..self.rows.len() {
                let down = sweep % 2 == 0;
                let row = if down { step } else { self.rows.len() - 1 - step };
                let (near, far) =
                    if down { (&self.up, &self.down) } else { (&self.down, &self.up) };
                self.pack(&self.rows[row], &mut x, |x, at| {
                    let beside = if near[at].is_empty() { &far[at] } else { &near[at] };
                    let bend = at >= self.boxes;
                    match beside.as_slice() {
                        [] => (x[at], 0.2),
                        some => {
                            let sum: f64 = some.iter().map(|&it| x[it]).sum();
                            // A line that bends is worse than a box off its middle.
                            (sum / some.len() as f64, if bend { 4.0 } else { 1.0 })
                        }
                    }
                });
            }
        }
        self.centre(&mut x);
        x
    }

    /// Rows that hang on nothing stand in the middle of the others.
    fn centre(&self, x: &mut [f64]) {
        let alone = |at: &usize| self.up[*at].is_empty() && self.down[*at].is_empty();
        let span =
            |at: usize, x: &[f64]| (x[at] - self.wide[at] / 2.0, x[at] + self.wide[at] / 2.0);
        let linked = (0..x.len()).filter(|at| !alone(at)).map(|at| span(at, x));
        let (left, right) = linked.fold((f64::INFINITY, f64::NEG_INFINITY), |all, one| {
            (all.0.min(one.0), all.1.max(one.1))
        });
        let middle = if left < right { (left + right) / 2.0 } else { 0.0 };
        for row in self.rows.iter().filter(|row| row.iter().all(alone)) {
            let (Some(&first), Some(&last)) = (row.first(), row.last()) else { continue };
            let by = middle - (span(first, x).0 + span(last, x).1) / 2.0;
            row.iter().for_each(|&at| x[at] += by);
        }
    }

    /// How far each of a row is at least from its first.
    fn offsets(&self, row: &[usize]) -> Vec<f64> {
        let mut offsets = Vec::with_capacity(row.len());
        let mut offset = 0.0;
        for (index, &at) in row.iter().enumerate() {
            if index > 0 {
                offset += (self.wide[row[index - 1]] + self.wide[at]) / 2.0 + BESIDE;
            }
            offsets.push(offset);
        }
        offsets
    }

    /// Puts a row where it wants to be, as near as its order and room allow.
    fn pack(&self, row: &[usize], x: &mut [f64], wanted: impl Fn(&[f64], usize) -> (f64, f64)) {
        let offsets = self.offsets(row);
        // Blocks of neighbours that touch: weighted sum of what they want, weight, count.
        let mut blocks: Vec<(f64, f64, usize)> = Vec::with_capacity(row.len());
        for (&at, offset) in row.iter().zip(&offsets) {
            let (want, weight) = wanted(x, at);
            let mut block = ((want - offset) * weight, weight, 1);
            while let Some(left) = blocks.pop_if(|it| it.0 / it.1 >= block.0 / block.1) {
                block = (left.0 + block.0, left.1 + block.1, left.2 + block.2);
            }
            blocks.push(block);
        }
        let at_first = blocks
            .iter()
            .flat_map(|&(sum, weight, count)| std::iter::repeat_n(sum / weight, count));
        for ((&at, offset), first) in row.iter().zip(&offsets).zip(at_first) {
            x[at] = first + offset;
        }
    }
}

fn drawn(ask: &Ask<'_>, net: &Net, x: &[f64]) -> Layout {
    let count = ask.sizes.len();
    let left = (0..x.len()).map(|at| x[at] - net.wide[at] / 2.0).fold(f64::INFINITY, f64::min);
    let left = if left.is_finite() { left } else { 0.0 };
    let mut high = vec![0.0_f64; net.rows.len()];
    let mut band_of = vec![0; net.rows.len()];
    for at in 0..count {
        let layer = net.layer[at];
        high[layer] = high[layer].max(ask.sizes[at].1);
        band_of[layer] = ask.bands[at];
    }
    let mut bands: Vec<(usize, f64, f64)> = Vec::new();
    let mut tops = Vec::with_capacity(high.len());
    let mut y = 0.0;
    for (layer, high) in high.iter().enumerate() {
        match bands.last_mut() {
            Some(last) if last.0 == band_of[layer] => y += BELOW,
            last => {
                if let Some(last) = last {
                    y += BAND;
                    last.2 = y;
                }
                bands.push((band_of[layer], y, y));
                y += BAND;
            }
        }
        tops.push(y);
        y += high;
    }
    y += BAND;
    if let Some(last) = bands.last_mut() {
        last.2 = y;
    }
    let middle = |at: usize| tops[net.layer[at]] + high[net.layer[at]] / 2.0;
    let boxes: Vec<Point> = (0..count)
        .map(|at| {
            let (wide, tall) = ask.sizes[at];
            Point { x: x[at] - left - wide / 2.0, y: middle(at) - tall / 2.0 }
        })
        .collect();
    let lines = ask.links.iter().zip(&net.bends).map(|(&(from, to), bends)| {
        let below = net.layer[from] < net.layer[to];
        let end = |at: usize, lower: bool| Point {
            x: x[at] - left,
            y: boxes[at].y + if lower { ask.sizes[at].1 } else { 0.0 },
        };
        let mut points = vec![end(from, below)];
        for &bend in bends {
            let (x, layer) = (x[bend] - left, net.layer[bend]);
            points.push(Point { x, y: tops[layer] });
            points.push(Point { x, y: tops[layer] + high[layer] });
        }
        points.push(end(to, !below));
        points
    });
    let right = (0..x.len()).map(|at| x[at] - left + net.wide[at] / 2.0).fold(0.0, f64::max);
    let wall = ask.wall.map(|at| tops[net.layer[at]] + high[net.layer[at]] + BELOW / 2.0);
    Layout { lines: lines.collect(), boxes, bands, wall, width: right, height: y }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Boxes of one size in one band.
    fn plain(count: usize, links: &[(usize, usize)], wall: Option<usize>) -> Layout {
        let sizes = vec![(100.0, 40.0); count];
        layout(&Ask { sizes: &sizes, bands: &vec![0; count], links, wall })
    }

    /// Sizes, bands and links.
    type Random = (Vec<(f64, f64)>, Vec<usize>, Vec<(usize, usize)>);

    /// A graph of any shape, told by a seed.
    fn random(seed: u64) -> Random {
        let mut draw = fastrand::Rng::with_seed(seed);
        let count = draw.usize(1..60);
        let sizes: Vec<(f64, f64)> =
            (0..count).map(|_| (draw.usize(40..260) as f64, draw.usize(30..120) as f64)).collect();
        let mut bands: Vec<usize> = (0..count).map(|_| draw.usize(0..3)).collect();
        bands.sort_unstable();
        let links = (0..draw.usize(0..120))
            .map(|_| (draw.usize(0..count), draw.usize(0..count)))
            .filter(|(from, to)| from < to)
            .collect();
        (sizes, bands, links)
    }

    #[test]
    fn boxes_never_overlap_and_lines_lead_down() {
        for seed in 0..300 {
            let (sizes, bands, links) = random(seed);
            let ask = Ask { sizes: &sizes, bands: &bands, links: &links, wall: None };
            let made = layout(&ask);
            assert_eq!(made, layout(&ask), "seed {seed}: the same twice");
            let placed: Vec<_> = made.boxes.iter().zip(&sizes).collect();
            for (one, (a, (wide, tall))) in placed.iter().enumerate() {
                assert!(a.x >= -0.01 && a.x + wide <= made.width + 0.01, "seed {seed}");
                assert!(a.y >= 0.0 && a.y + tall <= made.height, "seed {seed}");
                for (b, (wider, taller)) in &placed[..one] {
                    let beside = a.x + wide <= b.x + 0.01 || b.x + wider <= a.x + 0.01;
                    let below = a.y + tall <= b.y + 0.01 || b.y + taller <= a.y + 0.01;
                    assert!(beside || below, "seed {seed}: box {one}");
                }
            }
            for (&(from, to), line) in links.iter().zip(&made.lines) {
                assert!(made.boxes[from].y + sizes[from].1 <= made.boxes[to].y, "seed {seed}");
                assert!(line.windows(2).all(|pair| pair[0].y <= pair[1].y), "seed {seed}");
            }
            for pair in made.bands.windows(2) {
                assert!(pair[0].2 <= pair[1].1, "seed {seed}: bands are apart");
            }
        }
    }

    #[test]
    fn what_does_not_follow_from_the_wall_is_above_it() {
        // 0 -> 1 -> 2 -> 3, 4 -> 3; the wall 4 has a shorter way than 2, which does not need it.
        let made = plain(6, &[(0, 1), (1, 2), (2, 5), (3, 4), (4, 5)], Some(4));
        let wall = made.wall.expect("a wall");
        for before in [0, 1, 2, 3, 4] {
            assert!(made.boxes[before].y + 40.0 < wall, "{before}");
        }
        assert!(made.boxes[5].y > wall);
    }

    #[test]
    fn two_chains_do_not_cross() {
        let made = plain(6, &[(0, 3), (1, 2), (2, 5), (3, 4)], None);
        let order = |one: usize, other: usize| made.boxes[one].x < made.boxes[other].x;
        assert_eq!(order(0, 1), order(3, 2));
        assert_eq!(order(3, 2), order(4, 5));
    }

    #[test]
    fn a_chain_is_straight_and_a_fan_is_centred() {
        let made = plain(3, &[(0, 1), (1, 2)], None);
        assert!((made.boxes[0].x - made.boxes[2].x).abs() < 0.01);
        let fan = plain(4, &[(0, 1), (0, 2), (0, 3)], None);
        assert!((fan.boxes[0].x - fan.boxes[2].x).abs() < 1.0, "{:?}", fan.boxes);
    }

    #[test]
    fn a_line_against_the_order_is_drawn_all_the_same() {
        let made = plain(2, &[(1, 0), (0, 1)], None);
        assert_eq!(made.lines.len(), 2);
    }

    #[test]
    fn nothing_and_much_are_laid_out() {
        let none = plain(0, &[], None);
        assert_eq!((none.boxes.len(), none.width), (0, 0.0));
        let links: Vec<(usize, usize)> =
            (1..5_000).flat_map(|at| [(at / 2, at), (at / 7, at), (at - 1, at)]).collect();
        let links: Vec<_> = links.into_iter().filter(|(from, to)| from < to).collect();
        assert_eq!(plain(5_000, &links, None).boxes.len(), 5_000);
    }
}
