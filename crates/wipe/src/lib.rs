//! An allocator that overwrites memory before it is freed.
//!
//! **Owns** nothing: it is the system's allocator but for that. A program that handles secrets makes
//! it its own, because a value passes through buffers of a connection, of a parser and of a decoder,
//! which nobody overwrites: what was freed would be in a core file until something else needs the
//! room.
//!
//! ```
//! #[global_allocator]
//! static ALLOCATOR: coracle_wipe::Wiping = coracle_wipe::Wiping;
//! ```
//!
//! What it can't know of: registers, stacks, and what is still in use.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::ptr;

/// Blocks of more bytes are freed as they are: no secret is that long, and most of such a block may
/// never have been touched.
pub const MAX: usize = 8 << 20;

/// The system's allocator, overwriting blocks of up to [`MAX`] bytes with zeros before they are freed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wiping;

// SAFETY: all memory is `System`'s, by the layouts that are passed on unchanged. What is added only
// writes to a block that its owner has given back, within its size.
unsafe impl GlobalAlloc for Wiping {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are `System`'s conditions.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if layout.size() <= MAX {
            // SAFETY: the caller has given up the block, which is of this size.
            unsafe { ptr::write_bytes(block, 0, layout.size()) };
            // Else the compiler would drop a write to what is freed next.
            black_box(block);
        }
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if layout.size() > MAX {
            // SAFETY: as above.
            return unsafe { System.realloc(block, layout, size) };
        }
        // SAFETY: the caller promises that a layout of this size and alignment is valid.
        let grown = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: as above; `size` is not zero, says the caller.
        let moved = unsafe { System.alloc(grown) };
        if !moved.is_null() {
            let kept = layout.size().min(size);
            // SAFETY: both blocks are at least that long, and `moved` is new.
            unsafe { ptr::copy_nonoverlapping(block, moved, kept) };
            // SAFETY: the caller gives up the old block, as it gets a new one.
            unsafe { self.dealloc(block, layout) };
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[global_allocator]
    static ALLOCATOR: Wiping = Wiping;

    #[test]
    fn freed_memory_is_overwritten() {
        // Of a size that nothing else here has, so that the next block is the same.
        let layout = Layout::from_size_align(777, 8).unwrap();
        let mut seen = false;
        for _ in 0..100 {
            // SAFETY: a block of its layout, written within it, and freed once.
            unsafe {
                let block = ALLOCATOR.alloc(layout);
                // The allocator keeps its own lists in the first bytes of what is free.
                let middle = std::slice::from_raw_parts_mut(block.add(64), 600);
                seen |= middle.iter().all(|byte| *byte == 0);
                assert!(!middle.contains(&0xa5));
                middle.fill(0xa5);
                ALLOCATOR.dealloc(block, layout);
            }
        }
        assert!(seen);
    }

    #[test]
    fn growing_keeps_what_is_there() {
        let mut bytes = Vec::new();
        for number in 0..300_000_u32 {
            bytes.push(number);
        }
        assert!(
            bytes
                .iter()
                .enumerate()
                .all(|(at, number)| at as u32 == *number)
        );
        bytes.truncate(10);
        bytes.shrink_to_fit();
        assert_eq!(bytes, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        let large = vec![1_u8; MAX + 1];
        let mut larger = large.clone();
        larger.extend(&large);
        assert_eq!(larger.len(), 2 * MAX + 2);
    }
}
