//! Samples, the table, and what casts doubt on it.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// Measurements of one thing.
#[derive(Debug, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    /// Adds one.
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// Adds one in milliseconds.
    pub(crate) fn push_time(&mut self, time: Duration) {
        self.push(time.as_secs_f64() * 1e3);
    }

    /// The least value that so many percent of the samples do not exceed.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[(sorted.len() * percent).div_ceil(100).clamp(1, sorted.len()) - 1]
    }
}

/// What was found.
pub(crate) struct Report {
    raw: String,
    raw_file: PathBuf,
    notes: Vec<String>,
    rows: Vec<[String; 5]>,
    doubts: Vec<String>,
}

impl Report {
    /// An empty one, whose raw samples go to this file.
    pub(crate) fn new(raw_file: PathBuf) -> Self {
        let raw = "part,series,unit,number,value\n".to_owned();
        Self { raw, raw_file, notes: Vec::new(), rows: Vec::new(), doubts: Vec::new() }
    }

    /// Keeps samples; the file is written at once, so that a run that is broken off leaves what it has.
    pub(crate) fn raw(&mut self, part: &str, series: &str, unit: &str, samples: &Samples) {
        for (number, value) in samples.0.iter().enumerate() {
            writeln!(self.raw, "{part},{series},{unit},{number},{value}").unwrap();
        }
        fs::write(&self.raw_file, &self.raw).unwrap();
    }

    /// Keeps one number.
    pub(crate) fn raw_value(&mut self, part: &str, series: &str, unit: &str, value: f64) {
        self.raw(part, series, unit, &Samples(vec![value]));
    }

    /// A line of the table, also shown at once.
    pub(crate) fn row(&mut self, what: &str, liveconf: &str, floor: &str, target: &str, met: Option<bool>) {
        let met = match met {
            None => "",
            Some(true) => "yes",
            Some(false) => "NO",
        };
        eprintln!("  {what}: {liveconf} | {floor} | {target} {met}");
        self.rows.push([what, liveconf, floor, target, met].map(str::to_owned));
    }

    /// Something that a reader must know.
    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Reasons not to trust the numbers.
    pub(crate) fn doubt(&mut self, doubts: Vec<String>) {
        self.doubts.extend(doubts);
    }

    /// Prints it all.
    pub(crate) fn print(&self) {
        let head = ["", "liveconf", "floor", "target", "met"].map(str::to_owned);
        let rows: Vec<&[String; 5]> = std::iter::once(&head).chain(&self.rows).collect();
        let widths: Vec<usize> = (0..5).map(|column| rows.iter().map(|row| row[column].len()).max().unwrap()).collect();
        println!();
        for (index, row) in rows.iter().enumerate() {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!(" {cell:width$} |"));
            println!("|{}", cells.collect::<String>());
            if index == 0 {
                println!("|{}", widths.iter().map(|width| "-".repeat(width + 2) + "|").collect::<String>());
            }
        }
        println!("\ntimes: 50th / 90th / 99th percentile, from the sending of the put to the sight of the new file");
        for note in &self.notes {
            println!("{note}");
        }
        println!("raw samples: {}", self.raw_file.display());
        if self.doubts.is_empty() {
            println!("nothing else disturbed the machine");
        }
        for doubt in &self.doubts {
            println!("DO NOT TRUST: {doubt}");
        }
    }
}
