//! What people read: a table, a picture, and the conditions.

mod conditions;
mod picture;
mod table;

use std::fs;
use std::path::Path;

use anyhow::Result;

pub(crate) use conditions::load;

use crate::results::Results;
use crate::scene::Sizes;

/// The page around the table.
const PAGE: &str = include_str!("page.md");

/// The results of a run, and where it ran.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    results: &'a Results,
    sizes: &'a Sizes,
    conditions: String,
}

impl<'a> Report<'a> {
    /// Asks the machine and the programs what they are.
    ///
    /// # Errors
    /// One of them does not say.
    pub(crate) async fn new(results: &'a Results, sizes: &'a Sizes, rounds: u32, load: &str) -> Result<Self> {
        Ok(Self {
            results,
            sizes,
            conditions: conditions::conditions(results, sizes, rounds, load).await?,
        })
    }

    /// The figures, what went wrong, and the conditions.
    pub(crate) fn table(&self) -> String {
        let Self {
            results, conditions, ..
        } = self;
        let table = table::figures(results, self.sizes);
        format!("{table}\n{}\n{conditions}", table::faults(results))
    }

    /// Writes `benchmarks.md` and `benchmarks.svg`.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        let page = PAGE
            .replace("{figures}", &table::figures(self.results, self.sizes))
            .replace("{faults}", &table::faults(self.results))
            .replace("{conditions}", &self.conditions);
        fs::write(folder.join("benchmarks.md"), page)?;
        picture::draw(self.results, self.sizes, &folder.join("benchmarks.svg"))
    }
}
