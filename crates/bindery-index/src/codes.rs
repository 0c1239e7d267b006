//! Codes of roles: 16 bits each, given while a role is there or something holds it, then given again.
//!
//! What is held of a role that isn't there (yet) has a code without permissions, so a code never comes to mean another
//! role under someone who still holds it.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

use crate::index::Index;
use crate::pool::Full;

/// Roles below this have their number for a code.
pub(crate) const FIXED: u32 = 64;

/// They have 16 bits.
const CODE_MAX: u32 = 0xffff;

#[derive(Debug, Default)]
pub(crate) struct Codes {
    by_role: BTreeMap<u32, Known>,
    free: Vec<u32>,
    /// Whose code it is, from the first that isn't fixed; 0 for nobody's.
    roles: Vec<u32>,
}

#[derive(Debug)]
struct Known {
    code: u32,
    is_defined: bool,
    uses: u64,
}

impl Codes {
    /// The role's code, if it has one.
    pub(crate) fn of(&self, role: u32) -> Option<u32> {
        fixed(role).or_else(|| self.by_role.get(&role).map(|code| code.code))
    }

    /// The role has these permissions from now on, or is gone.
    pub(crate) fn define(
        &mut self,
        index: &Index,
        role: u32,
        permissions: Option<[u64; 3]>,
    ) -> Result<(), Full> {
        if permissions.is_none() && self.of(role).is_none() {
            return Ok(());
        }
        let code = if let Some(code) = fixed(role) {
            code
        } else {
            let known = self.get(index, role)?;
            known.is_defined = permissions.is_some();
            known.code
        };
        write(index, code, role, permissions.unwrap_or_default())?;
        self.drop_unused(index, role)
    }

    /// The highest number of a role that has one.
    pub(crate) fn last(&self) -> u32 {
        let last = self.by_role.last_key_value();
        last.map_or(FIXED - 1, |(role, _)| *role)
    }

    /// The code of a role that is held once more from now on.
    pub(crate) fn take(&mut self, index: &Index, role: u32) -> Result<u32, Full> {
        self.take_all(index, role, 1)
    }

    /// The code of a role that so many more hold from now on.
    pub(crate) fn take_all(&mut self, index: &Index, role: u32, uses: u64) -> Result<u32, Full> {
        if let Some(code) = fixed(role) {
            return Ok(code);
        }
        let known = self.get(index, role)?;
        known.uses += uses;
        Ok(known.code)
    }

    /// The role with this code is held once less.
    pub(crate) fn give_back(&mut self, index: &Index, code: u32) -> Result<(), Full> {
        let Some(place) = code.checked_sub(FIXED) else {
            return Ok(());
        };
        let role = self.roles.get(place as usize).copied().unwrap_or(0);
        if let Some(known) = self.by_role.get_mut(&role) {
            known.uses = known.uses.saturating_sub(1);
        }
        self.drop_unused(index, role)
    }

    fn get(&mut self, index: &Index, role: u32) -> Result<&mut Known, Full> {
        if !self.by_role.contains_key(&role) {
            let code = if let Some(code) = self.free.pop() {
                code
            } else {
                let next = u32::try_from(self.roles.len()).map_err(|_| Full)? + FIXED;
                if next > CODE_MAX {
                    return Err(Full);
                }
                self.roles.push(0);
                next
            };
            self.roles[(code - FIXED) as usize] = role;
            write(index, code, role, [0; 3])?;
            let known = Known {
                code,
                is_defined: false,
                uses: 0,
            };
            self.by_role.insert(role, known);
        }
        self.by_role.get_mut(&role).ok_or(Full)
    }

    fn drop_unused(&mut self, index: &Index, role: u32) -> Result<(), Full> {
        if let Some(known) = self.by_role.get(&role)
            && !known.is_defined
            && known.uses == 0
        {
            let code = known.code;
            self.by_role.remove(&role);
            self.free.push(code);
            self.roles[(code - FIXED) as usize] = 0;
            // Nobody finds the role by it either, who looks for one with the same number that comes later.
            write(index, code, 0, [0; 3])?;
        }
        Ok(())
    }
}

fn fixed(role: u32) -> Option<u32> {
    (role < FIXED).then_some(role)
}

fn write(index: &Index, code: u32, role: u32, permissions: [u64; 3]) -> Result<(), Full> {
    let cells = index.roles.make(code as usize).ok_or(Full)?;
    for (cell, word) in cells.iter().zip(permissions) {
        cell.store(word, Relaxed);
    }
    cells[3].store(u64::from(role), Relaxed);
    Ok(())
}
