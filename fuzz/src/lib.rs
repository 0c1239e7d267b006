//! What all targets have in common: no allocation is larger than [`ALLOCATION_MAX`]. A length that an input claims and doesn't have
//! ends the process here, and libFuzzer keeps the input.

use std::alloc::{GlobalAlloc, Layout, System};

/// Many times what the largest input needs, and far below what a length of four bytes can claim.
pub const ALLOCATION_MAX: usize = 64 << 20;

struct Bounded;

#[global_allocator]
static ALLOCATOR: Bounded = Bounded;

// Safety: each call is passed on as it is, or answered with no memory, which any allocator may do.
unsafe impl GlobalAlloc for Bounded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() > ALLOCATION_MAX {
            return std::ptr::null_mut();
        }
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if layout.size() > ALLOCATION_MAX {
            return std::ptr::null_mut();
        }
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if size > ALLOCATION_MAX {
            return std::ptr::null_mut();
        }
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }
}
