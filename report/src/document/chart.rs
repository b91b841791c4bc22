//! Charts as SVG.

use std::fmt::Write;

const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 220.0;
/// Space for the labels of the axes, and around the points.
const LEFT: f64 = 64.0;
const EDGE: f64 = 12.0;
const BOTTOM: f64 = 28.0;
/// Points of a chart; of more, some are left out at equal distances.
const MAX_POINTS: usize = 1_000;

/// From the values of an axis to places in the chart.
#[derive(Clone, Copy)]
struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Scale {
    fn new(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), it| {
            (low.min(it), high.max(it))
        });
        let (low, high) = if low < high {
            (low, high)
        } else if low.is_finite() {
            // One value, in the middle.
            let margin = (low.abs() / 1_000.0).max(0.5);
            (low - margin, low + margin)
        } else {
            (0.0, 1.0)
        };
        Self {
            low,
            high,
            from,
            to,
        }
    }

    fn place(self, value: f64) -> f64 {
        // Each part by itself, so that no difference is too large for a number.
        let share = (value / 2.0 - self.low / 2.0) / (self.high / 2.0 - self.low / 2.0);
        self.from + share * (self.to - self.from)
    }
}

fn horizontal(values: impl Iterator<Item = f64>) -> Scale {
    Scale::new(values, LEFT, WIDTH - EDGE)
}

fn vertical(values: impl Iterator<Item = f64>) -> Scale {
    Scale::new(values, HEIGHT - BOTTOM, EDGE)
}

/// The places of the points to draw.
fn drawn(count: usize) -> impl Iterator<Item = usize> {
    (0..count).step_by(count.div_ceil(MAX_POINTS).max(1))
}

fn start(title: &str) -> String {
    let (right, bottom) = (WIDTH - EDGE, HEIGHT - BOTTOM);
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">\
         <path class=\"axis\" d=\"M{LEFT} {EDGE}V{bottom}H{right}\"/>"
    )
}

fn label(svg: &mut String, (x, y): (f64, f64), anchor: &str, text: &str) {
    // Writing to a string can't fail.
    let _ = write!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"
    );
}

fn labels(svg: &mut String, scale: Scale, is_vertical: bool) {
    for value in [scale.low, scale.high] {
        let place = scale.place(value);
        let text = short(value);
        if is_vertical {
            label(svg, (LEFT - 6.0, place + 4.0), "end", &text);
        } else {
            let anchor = if value <= scale.low { "start" } else { "end" };
            label(svg, (place, HEIGHT - 10.0), anchor, &text);
        }
    }
}

/// A value with four digits that count.
pub(super) fn short(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-3..1e6).contains(&size) {
        return format!("{value:.3e}");
    }
    let digits = match size {
        size if size >= 1_000.0 => 0,
        size if size >= 100.0 => 1,
        size if size >= 1.0 => 2,
        _ => 4,
    };
    format!("{value:.digits$}")
}

/// A point for each pair.
pub(super) fn scatter(title: &str, x: &[f64], y: &[f64]) -> String {
    let across = horizontal(x.iter().copied());
    let up = vertical(y.iter().copied());
    let mut svg = start(title);
    for place in drawn(x.len().min(y.len())) {
        let (x, y) = (across.place(x[place]), up.place(y[place]));
        let _ = write!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\"/>");
    }
    labels(&mut svg, across, false);
    labels(&mut svg, up, true);
    svg + "</svg>"
}

/// Two series over time, each with a scale of its own: the first has its labels on the left.
pub(super) fn over_time(
    title: &str,
    times: &[f64],
    series: [&[f64]; 2],
    ends: [&str; 2],
) -> String {
    let across = horizontal(times.iter().copied());
    let mut svg = start(title);
    for (class, values) in ["first", "second"].into_iter().zip(series) {
        let up = vertical(values.iter().copied());
        let mut command = 'M';
        let _ = write!(svg, "<path class=\"{class}\" d=\"");
        for place in drawn(times.len().min(values.len())) {
            let (x, y) = (across.place(times[place]), up.place(values[place]));
            let _ = write!(svg, "{command}{x:.1} {y:.1}");
            command = 'L';
        }
        svg.push_str("\"/>");
        if class == "first" {
            labels(&mut svg, up, true);
        }
    }
    label(&mut svg, (LEFT, HEIGHT - 10.0), "start", ends[0]);
    label(&mut svg, (WIDTH - EDGE, HEIGHT - 10.0), "end", ends[1]);
    svg + "</svg>"
}

#[cfg(test)]
mod tests {
    use super::{over_time, scatter, short};

    #[test]
    fn values_are_short() {
        for (value, text) in [
            (0.0, "0.0000"),
            (-0.12345, "-0.1235"),
            (12.345, "12.35"),
            (123.45, "123.5"),
            (74_217.3, "74217"),
            (1.5e9, "1.500e9"),
            (1e-7, "1.000e-7"),
        ] {
            assert_eq!(short(value), text);
        }
    }

    #[test]
    fn large_series_have_charts_of_bounded_size() {
        let many: Vec<f64> = (0..100_000).map(f64::from).collect();
        let chart = scatter("t", &many, &many);
        assert_eq!(chart.matches("<circle").count(), 1_000);
        let chart = over_time("t", &many, [&many, &many], ["a", "b"]);
        assert!(chart.len() < 40_000);
    }

    #[test]
    fn extreme_and_equal_values_have_places() {
        let extreme = [f64::MIN, 0.0, f64::MAX];
        for values in [&extreme[..], &[7.0, 7.0], &[1e300], &[]] {
            let chart = scatter("t", values, values);
            assert!(!chart.contains("NaN") && !chart.contains("inf"), "{chart}");
        }
    }
}
