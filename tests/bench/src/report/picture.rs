//! The figures as bars.

use std::path::Path;

use anyhow::{Result, anyhow};
use clap::ValueEnum;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::table::{cell, label};
use crate::results::{Figure, Results};
use crate::scene::Sizes;
use crate::server::Kind;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const WIDTH: i32 = 1040;
/// Where bars begin.
const LEFT: i32 = 290;
/// The longest bar; its value stands behind it.
const LONGEST: f64 = 580.0;
const BAR: i32 = 13;
const GAP: i32 = 12;

/// Bars of one figure.
struct Group {
    label: String,
    bars: Vec<(Kind, f64, String)>,
}

/// Draws multiples of the bare limit, and memory below, both on a logarithmic scale.
pub(super) fn draw(results: &Results, sizes: &Sizes, file: &Path) -> Result<()> {
    let group = |figure: Figure, value: &dyn Fn(Kind) -> Option<f64>| Group {
        label: label(figure, sizes),
        bars: Kind::value_variants()
            .iter()
            .filter_map(|kind| Some((*kind, value(*kind)?, cell(results, figure, *kind))))
            .collect(),
    };
    let cpu: Vec<_> = Figure::ALL
        .into_iter()
        .filter(|figure| !figure.is_memory())
        .map(|figure| group(figure, &|kind| results.ratio(figure, kind)))
        .filter(|group| !group.bars.is_empty())
        .collect();
    let memory = [group(Figure::IdleMemory, &|kind| {
        results.median(Figure::IdleMemory, kind)
    })];

    let height = 110 + height(&cpu) + height(&memory);
    let area = SVGBackend::new(file, (WIDTH.unsigned_abs(), height.unsigned_abs())).into_drawing_area();
    area.fill(&WHITE).map_err(drawn)?;
    let title = "CPU time as a multiple of the bare limit (logarithmic; behind the bars: microseconds)";
    let top = block(&area, 20, title, &cpu, 0.5)?;
    block(&area, top + 20, "Memory (logarithmic)", &memory, 10.0)?;
    area.present().map_err(drawn)
}

fn height(groups: &[Group]) -> i32 {
    groups.iter().map(|group| lines(group) * BAR + GAP).sum()
}

fn lines(group: &Group) -> i32 {
    i32::try_from(group.bars.len()).unwrap_or(i32::MAX)
}

/// Draws groups below each other, bars beginning at `least`; returns where they end.
fn block(area: &Area<'_>, top: i32, title: &str, groups: &[Group], least: f64) -> Result<i32> {
    text(area, title, (LEFT, top), 15, HPos::Left)?;
    let most = groups
        .iter()
        .flat_map(|group| &group.bars)
        .map(|bar| bar.1)
        .fold(10.0 * least, f64::max);
    let length = |value: f64| ((value / least).max(1.0).ln() / (most / least).ln() * LONGEST) as i32;
    let mut y = top + 20;
    for group in groups {
        text(
            area,
            &group.label,
            (LEFT - 10, y + lines(group) * BAR / 2),
            14,
            HPos::Right,
        )?;
        for (kind, value, shown) in &group.bars {
            let end = LEFT + length(*value).max(1);
            let bar = Rectangle::new([(LEFT, y), (end, y + BAR - 2)], colour(*kind).filled());
            area.draw(&bar).map_err(drawn)?;
            text(
                area,
                &format!("{} {shown}", kind.name()),
                (end + 5, y + BAR / 2),
                11,
                HPos::Left,
            )?;
            y += BAR;
        }
        y += GAP;
    }
    Ok(y)
}

fn text(area: &Area<'_>, text: &str, at: (i32, i32), size: i32, anchor: HPos) -> Result<()> {
    let style = ("sans-serif", size)
        .into_text_style(area)
        .pos(Pos::new(anchor, VPos::Center));
    area.draw_text(text, &style, at).map_err(drawn)
}

const fn colour(kind: Kind) -> RGBColor {
    match kind {
        Kind::Bare => RGBColor(134, 142, 150),
        Kind::Hallporter => RGBColor(217, 72, 15),
        Kind::Socketioxide => RGBColor(25, 113, 194),
        Kind::Node => RGBColor(47, 158, 68),
        Kind::Python => RGBColor(156, 54, 181),
    }
}

fn drawn<E: std::error::Error + Send + Sync>(error: DrawingAreaErrorKind<E>) -> anyhow::Error {
    anyhow!("the picture cannot be drawn: {error}")
}
