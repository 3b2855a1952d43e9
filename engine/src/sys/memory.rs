//! Memory: what the allocator keeps of what was freed, given back.

/// Gives memory that was freed back to the system: after a whole fleet was read, half as much as it takes was used for a
/// moment, and would stay resident. It walks over the allocator's pages: not for what happens often.
pub fn give_back() {
    // SAFETY: it touches nothing but the allocator's own, whether or not it is the one in use.
    unsafe { libmimalloc_sys::mi_collect(true) }
}
