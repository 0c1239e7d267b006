//! What is measured, in which process, and what each peer has to come to.

use anyhow::Result;
use clap::ValueEnum;

use crate::row::Row;
use crate::setting::Setting;
use crate::size::Size;
use crate::world::World;
use crate::{check, fairness, fleet, http, load, memory, say, search, write};

/// A part of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    Memory,
    Check,
    Search,
    Write,
    #[cfg(feature = "peers")]
    Cedar,
    #[cfg(feature = "peers")]
    Casbin,
    #[cfg(feature = "peers")]
    Regorus,
    #[cfg(feature = "peers")]
    Gatehouse,
    Load,
    Http,
    Fleet,
    Fairness,
}

/// Parts that share a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Group {
    Own,
    #[cfg(feature = "peers")]
    Peers,
    Load,
    Http,
    Fleet,
    Fairness,
}

impl Part {
    pub(crate) fn name(self) -> String {
        shown(&self)
    }

    pub(crate) const fn group(self) -> Group {
        match self {
            Self::Memory | Self::Check | Self::Search | Self::Write => Group::Own,
            #[cfg(feature = "peers")]
            Self::Cedar | Self::Casbin | Self::Regorus | Self::Gatehouse => Group::Peers,
            Self::Load => Group::Load,
            Self::Http => Group::Http,
            Self::Fleet => Group::Fleet,
            Self::Fairness => Group::Fairness,
        }
    }
}

impl Group {
    /// In the order of the table.
    pub(crate) const ALL: &[Self] = &[
        Self::Own,
        #[cfg(feature = "peers")]
        Self::Peers,
        Self::Load,
        Self::Http,
        Self::Fleet,
        Self::Fairness,
    ];

    pub(crate) fn name(self) -> String {
        shown(&self)
    }

    /// Its rows, or those of one part of it.
    pub(crate) fn rows(self, size: Size, only: Option<Part>) -> Result<Vec<Row>> {
        let is_wanted = |part: Part| only.is_none_or(|wanted| wanted == part);
        say(&format!("size {}, {}", size.name(), self.name()));
        match self {
            Self::Own => own(Setting::new(World::new(size))?, is_wanted),
            #[cfg(feature = "peers")]
            Self::Peers => against_peers(&Setting::new(World::new(size))?, is_wanted),
            Self::Load => load::rows(size),
            Self::Http => http::rows(size),
            Self::Fleet => fleet::rows(size),
            Self::Fairness => fairness::rows(size),
        }
    }
}

fn shown(value: &impl ValueEnum) -> String {
    let shown = value.to_possible_value();
    shown.map_or_else(String::new, |shown| shown.get_name().to_owned())
}

fn own(setting: Setting, is_wanted: impl Fn(Part) -> bool) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    if is_wanted(Part::Check) {
        rows.extend(check::rows(&setting)?);
    }
    if is_wanted(Part::Search) {
        rows.extend(search::rows(&setting)?);
    }
    if is_wanted(Part::Memory) {
        rows.extend(memory::rows(&setting)?);
    }
    if is_wanted(Part::Write) {
        rows.extend(write::rows(setting)?);
    }
    Ok(rows)
}

#[cfg(feature = "peers")]
fn against_peers(setting: &Setting, is_wanted: impl Fn(Part) -> bool) -> Result<Vec<Row>> {
    use crate::peers::casbin::Casbin;
    use crate::peers::cedar::Cedar;
    use crate::peers::gatehouse::Gatehouse;
    use crate::peers::regorus::Regorus;
    use crate::peers::{Goals, compare};
    use crate::row::Goal::{AtLeast, Open};

    let size = setting.world.size;
    let mut rows = Vec::new();
    if is_wanted(Part::Cedar) {
        let (ids, names) = match size {
            Size::S => (AtLeast(300.0), Open),
            Size::M => (AtLeast(70.0), AtLeast(30.0)),
            Size::L => (AtLeast(50.0), AtLeast(20.0)),
        };
        rows.extend(compare::<Cedar>(setting, Goals { ids, names })?);
    }
    // Ten million rules would take casbin some ten gigabytes.
    if is_wanted(Part::Casbin) && size != Size::L {
        let ids = match size {
            Size::S | Size::L => Open,
            Size::M => AtLeast(1000.0),
        };
        rows.extend(compare::<Casbin>(setting, Goals { ids, names: Open })?);
    }
    if is_wanted(Part::Regorus) {
        let ids = match size {
            Size::S => Open,
            Size::M => AtLeast(200.0),
            Size::L => AtLeast(100.0),
        };
        rows.extend(compare::<Regorus>(setting, Goals { ids, names: Open })?);
    }
    if is_wanted(Part::Gatehouse) {
        let goals = Goals {
            ids: Open,
            names: Open,
        };
        rows.extend(compare::<Gatehouse>(setting, goals)?);
    }
    Ok(rows)
}
