//! What is to be said to a HAProxy so that it runs the servers of a section, and no others.

use std::collections::HashMap;

use super::difference::addable;
use super::options::Known;
use super::sections::{Section, Server};
use super::table::Row;
use super::word::Word;

/// Commands that belong together, in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// The line, without its end.
    pub(super) line: String,
    /// It adds a server, and the answer has to say so.
    pub(super) adds: bool,
}

/// What makes a section true.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Plan {
    /// Servers that are wanted and not there, or not as they should be.
    pub(super) wanted: Vec<Step>,
    /// Servers that still take what is new, and are not wanted: from now on they serve only whom they have.
    pub(super) unwanted: Vec<Step>,
    /// Servers that are not wanted, take nothing new, and are deleted once they serve nobody any more.
    pub(super) leftover: Vec<Step>,
}

impl Plan {
    /// How many servers are not as they should be.
    pub(super) fn size(&self) -> usize {
        self.wanted.len() + self.unwanted.len()
    }

    /// All of it, what is wanted first, so that a section is never without a server that takes requests.
    pub(super) fn steps(&self) -> impl Iterator<Item = &Step> {
        self.wanted.iter().chain(&self.unwanted).chain(&self.leftover)
    }
}

/// A server cannot be made true: it is missing, and `add server` does not take what it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unplanned;

/// The options with which servers run that are not wanted any more, by section and name.
pub(super) type Removed = HashMap<(String, String), Known>;

/// What makes `section` true where HAProxy says `rows` of it. `is_new` says of a name whether it is to be a new server, not
/// the one that runs; if one of that name is about to be deleted, and `removed` does not say that it is alike, it has to go
/// first.
pub(super) fn plan<'a>(
    section: &Section,
    rows: impl Iterator<Item = &'a Row>,
    is_new: impl Fn(&str) -> bool,
    removed: &Removed,
) -> Result<Plan, Unplanned> {
    let rows: HashMap<&str, &Row> = rows.map(|row| (row.name.as_str(), row)).collect();
    let section_name = Word::name(&section.name).ok_or(Unplanned)?;
    let mut plan = Plan::default();
    for (name, server) in &section.servers {
        let row = rows.get(name.as_str());
        let Some(known) = server.options.known() else {
            if row.is_none() {
                return Err(Unplanned);
            }
            continue;
        };
        let place = Place { section: &section_name, name: Word::name(name).ok_or(Unplanned)? };
        let is_alike =
            || removed.get(&(section.name.clone(), name.clone())).is_some_and(|was| was.others == known.others);
        match row {
            Some(row) if !is_new(name) || is_alike() => {
                let line = place.changes(row, server, known);
                if !line.is_empty() {
                    plan.wanted.push(Step { line, adds: false });
                }
            }
            Some(_) => {
                let line = format!("{};{}", place.removal(), place.addition(section, server, known)?);
                plan.wanted.push(Step { line, adds: true });
            }
            None => plan.wanted.push(Step { line: place.addition(section, server, known)?, adds: true }),
        }
    }
    let mut unwanted: Vec<&&Row> = rows.values().filter(|row| !section.servers.contains_key(&row.name)).collect();
    unwanted.sort_by(|one, other| one.name.cmp(&other.name));
    for row in unwanted {
        let place = Place { section: &section_name, name: Word::name(&row.name).ok_or(Unplanned)? };
        if row.is_in_maintenance() {
            plan.leftover.push(Step { line: format!("del server {place}"), adds: false });
        } else {
            plan.unwanted.push(Step { line: place.removal(), adds: false });
        }
    }
    Ok(plan)
}

/// A server, as commands name it.
struct Place<'a> {
    section: &'a Word,
    name: Word,
}

impl std::fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.section, self.name)
    }
}

impl Place<'_> {
    /// A server that is added takes nothing, and is not checked, until it is told so.
    fn addition(&self, section: &Section, server: &Server, known: &Known) -> Result<String, Unplanned> {
        let (address, words) = addable(server).ok_or(Unplanned)?;
        let words: Vec<&str> = words.iter().map(Word::as_str).collect();
        let first = format!("add server {self} {address} weight {} {}", known.weight, words.join(" "));
        let mut commands = vec![first.trim_end().to_owned()];
        if known.is_checked() {
            commands.push(format!("enable health {self}"));
        }
        if section.has_dynamic_cookies {
            // It is on already; only this gives the new server a cookie (2.6), before the first request comes to it.
            commands.push(format!("enable dynamic-cookie backend {}", self.section));
        }
        if !known.disabled {
            commands.push(format!("enable server {self}"));
        }
        Ok(commands.join(";"))
    }

    /// From now on nobody new; and gone, where nobody is there.
    fn removal(&self) -> String {
        format!("set server {self} state maint;del server {self}")
    }

    /// What is not as it should be of a server that is there. Whether it drains is not ours to say.
    fn changes(&self, row: &Row, server: &Server, known: &Known) -> String {
        let mut commands = Vec::new();
        if let Some((address, port)) = server.address
            && row.address != (Some(address), port)
        {
            commands.push(format!("set server {self} addr {address} port {port}"));
        }
        if !known.has_agent() && row.weight != known.weight {
            commands.push(format!("set server {self} weight {}", known.weight));
        }
        if known.is_checked() && !known.disabled && !row.is_checked() {
            commands.push(format!("enable health {self}"));
        }
        match (row.is_in_maintenance(), known.disabled) {
            (false, true) => commands.push(format!("set server {self} state maint")),
            (true, false) if !known.has_agent() => commands.push(format!("set server {self} state ready")),
            _ => {}
        }
        commands.join(";")
    }
}

#[cfg(test)]
mod tests;
