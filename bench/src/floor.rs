//! What the memory itself costs: two touches, the second of which waits for the first.

use std::hint::black_box;

use bindery_core::decision::Question;
use bindery_core::id::Id as _;
use bindery_core::resource::Resource;

use crate::size::Size;

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line([u64; 8]);

/// A line for each user, and a record of sixteen octets for each place: the least that a check could be made from.
pub(crate) struct Floor {
    lines: Vec<Line>,
    records: Vec<[u64; 2]>,
    spaces: usize,
}

impl Floor {
    pub(crate) fn new(size: Size) -> Self {
        let users = size.users() as usize + 1;
        let spaces = size.spaces() as usize + 1;
        // Written, and with something else than zeros, so that the memory is there.
        Self {
            lines: vec![Line(black_box([1; 8])); users],
            records: vec![black_box([8; 2]); spaces + size.projects() as usize + 1],
            spaces,
        }
    }

    /// Reads the record of the resource, and then the line of the user.
    #[inline]
    pub(crate) fn touch(&self, question: &Question) -> u64 {
        let place = match question.resource {
            Resource::Project(id) => self.spaces + id.number() as usize,
            Resource::Space(id) => id.number() as usize,
            Resource::Account | Resource::Organization(_) => 0,
        };
        let [above, _] = self.records[place];
        // The line's address hangs on what the record said, which is always the same and nobody knows.
        let user = question.principal.number() as usize ^ (above >> 4) as usize;
        let Line(line) = &self.lines[user];
        line[(above & 7) as usize]
    }
}
