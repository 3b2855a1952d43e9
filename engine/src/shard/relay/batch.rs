//! Batch: everything that one round of the loop has to send, at most one send for each leg, and the memory
//! that it refers to. Small inserts lie next to each other in one arena, payloads stay where they arrived; all
//! of it is given up together when the kernel has had it.
//!
//! ```text
//! entry (a leg's send) --> piece --> piece --> ...
//!                            |         |
//!                          arena    buffer, where the bytes were received
//! ```

use std::ops::Range;

use ringbeam_proto::output::Piece;
use ringbeam_proto::session::{Outputs, Side};
use zeroize::Zeroizing;

use crate::limits::{BATCH_BYTES, BATCH_KEPT_BYTES};
use crate::sys::ring::{BufferId, Buffers};

/// Stands for no entry and no piece.
pub(super) const NONE: u32 = u32::MAX;

/// Memory that input was given in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// One of the kernel's buffers, by its place in the batch.
    Buffer(u32),
    /// Memory of its own, by its place in the batch.
    Retained(u32),
    /// What was in records of TLS.
    Clear,
}

/// Where a piece lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Area {
    /// What the protocol inserts.
    Inserts,
    /// What the relay itself says.
    Own,
    /// What was received.
    Input(Source),
}

#[derive(Clone, Copy, Debug)]
struct Part {
    area: Area,
    start: u32,
    end: u32,
    next: u32,
}

/// What goes to one leg.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// Whose leg it is.
    pub(super) flow: u32,
    pub(super) side: Side,
    first: u32,
    last: u32,
    /// Bytes of it.
    pub(super) bytes: usize,
    /// Billed packets that end in it.
    pub(super) billed: u32,
    /// What the kernel made of it, where it did not take all of it.
    pub(super) failed: Option<Result<usize, i32>>,
}

/// What one round sends.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// What the session produces; its inserts are the arena.
    pub(super) outputs: Outputs,
    own: Vec<u8>,
    /// What was in records of TLS.
    pub(super) clear: Vec<u8>,
    buffers: Vec<BufferId>,
    /// Bytes in those.
    held_bytes: usize,
    retained: Vec<Zeroizing<Vec<u8>>>,
    parts: Vec<Part>,
    entries: Vec<Entry>,
    /// Where billed packets end: entry, and bytes of it.
    billed_ends: Vec<(u32, usize)>,
}

impl Batch {
    /// Keeps a buffer until the round is over.
    pub(super) fn hold(&mut self, buffer: BufferId, length: usize) -> Source {
        self.held_bytes = self.held_bytes.saturating_add(length);
        self.buffers.push(buffer);
        Source::Buffer(place(self.buffers.len() - 1))
    }

    /// Keeps memory until the round is over; then it is erased.
    pub(super) fn retain(&mut self, bytes: Zeroizing<Vec<u8>>) -> Source {
        self.retained.push(bytes);
        Source::Retained(place(self.retained.len() - 1))
    }

    /// Memory that nothing refers to is not kept after all.
    pub(super) fn take_back(&mut self, source: Source) -> Zeroizing<Vec<u8>> {
        match source {
            Source::Retained(place) => self
                .retained
                .get_mut(place as usize)
                .map(std::mem::take)
                .unwrap_or_default(),
            Source::Buffer(_) | Source::Clear => Zeroizing::default(),
        }
    }

    /// The bytes of a source.
    pub(super) fn input<'a>(
        &'a self,
        buffers: &'a Buffers,
        source: Source,
        range: Range<usize>,
    ) -> &'a [u8] {
        let held = Held {
            buffers: &self.buffers,
            retained: &self.retained,
            clear: &self.clear,
        };
        held.input(buffers, source, range)
    }

    /// The bytes of a source, and what the session makes of them.
    pub(super) fn session<'a>(
        &'a mut self,
        buffers: &'a Buffers,
        source: Source,
        range: Range<usize>,
    ) -> (&'a [u8], &'a mut Outputs) {
        let Self {
            outputs,
            buffers: held,
            retained,
            clear,
            ..
        } = self;
        outputs.forward.begin();
        let held = Held {
            buffers: held,
            retained,
            clear,
        };
        (held.input(buffers, source, range), outputs)
    }

    /// A new entry.
    pub(super) fn begin(&mut self, flow: u32, side: Side) -> u32 {
        self.entries.push(Entry {
            flow,
            side,
            first: NONE,
            last: NONE,
            bytes: 0,
            billed: 0,
            failed: None,
        });
        place(self.entries.len() - 1)
    }

    /// What the session has produced goes to an entry; its input began at `base` of `source`.
    pub(super) fn forward(&mut self, number: u32, source: Source, base: usize) {
        let Self {
            outputs,
            parts,
            entries,
            billed_ends,
            ..
        } = self;
        let Some(entry) = entries.get_mut(number as usize) else {
            return;
        };
        let before = entry.bytes;
        for piece in outputs.forward.pieces() {
            match piece {
                Piece::Insert(range) => append(parts, entry, Area::Inserts, range.clone()),
                Piece::Input(range) => {
                    let range = base.saturating_add(range.start)..base.saturating_add(range.end);
                    append(parts, entry, Area::Input(source), range);
                }
            }
        }
        for end in outputs.forward.billed_ends() {
            entry.billed = entry.billed.saturating_add(1);
            billed_ends.push((number, before.saturating_add(*end)));
        }
    }

    /// Bytes of the relay's own go to an entry.
    pub(super) fn say(&mut self, number: u32, bytes: &[u8]) {
        let start = self.own.len();
        self.own.extend_from_slice(bytes);
        let end = self.own.len();
        if let Some(entry) = self.entries.get_mut(number as usize) {
            append(&mut self.parts, entry, Area::Own, start..end);
        }
    }

    /// All of a source goes to an entry.
    pub(super) fn pass(&mut self, number: u32, source: Source, range: Range<usize>) {
        if let Some(entry) = self.entries.get_mut(number as usize) {
            append(&mut self.parts, entry, Area::Input(source), range);
        }
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The kernel did not take all of an entry.
    pub(super) fn fail(&mut self, number: u32, result: Result<usize, i32>) {
        if let Some(entry) = self.entries.get_mut(number as usize) {
            entry.failed = Some(result);
        }
    }

    /// Nothing of an entry can be sent, so that nothing of it is billed.
    pub(super) fn unbill(&mut self, number: usize) {
        if let Some(entry) = self.entries.get_mut(number) {
            entry.billed = 0;
        }
    }

    /// The bytes of an entry, in order.
    pub(super) fn slices<'a>(
        &'a self,
        buffers: &'a Buffers,
        entry: &Entry,
    ) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut next = entry.first;
        std::iter::from_fn(move || {
            let part = self.parts.get(next as usize)?;
            next = part.next;
            let range = part.start as usize..part.end as usize;
            Some(match part.area {
                Area::Inserts => self
                    .outputs
                    .forward
                    .inserts()
                    .get(range)
                    .unwrap_or_default(),
                Area::Own => self.own.get(range).unwrap_or_default(),
                Area::Input(source) => self.input(buffers, source, range),
            })
        })
    }

    /// What is left of an entry of which the kernel took `taken` bytes, and where billed packets end in that.
    pub(super) fn rest(
        &self,
        buffers: &Buffers,
        number: u32,
        taken: usize,
    ) -> (Vec<u8>, Vec<usize>) {
        let Some(entry) = self.entries.get(number as usize) else {
            return (Vec::new(), Vec::new());
        };
        let mut rest = Vec::with_capacity(entry.bytes.saturating_sub(taken));
        let mut skip = taken;
        for slice in self.slices(buffers, entry) {
            let skipped = skip.min(slice.len());
            skip -= skipped;
            rest.extend_from_slice(slice.get(skipped..).unwrap_or_default());
        }
        let ends = self.billed_ends.iter();
        let ends = ends.filter(|(entry, end)| *entry == number && *end > taken);
        (rest, ends.map(|(_, end)| end - taken).collect())
    }

    /// Bytes of the round's own memory.
    pub(super) fn arena_bytes(&self) -> usize {
        let inserts = self.outputs.forward.inserts().len();
        inserts + self.own.len() + self.clear.len()
    }

    /// Whether the round should end before it takes more.
    pub(super) fn is_full(&self) -> bool {
        self.held_bytes + self.arena_bytes() >= BATCH_BYTES
    }

    /// The round is over: everything is given up.
    pub(super) fn clear(&mut self, mut give_back: impl FnMut(BufferId)) {
        self.outputs.forward.clear(BATCH_KEPT_BYTES);
        self.outputs.reply.clear();
        for arena in [&mut self.own, &mut self.clear] {
            arena.clear();
            arena.shrink_to(BATCH_KEPT_BYTES);
        }
        self.buffers.drain(..).for_each(&mut give_back);
        self.held_bytes = 0;
        self.retained.clear();
        self.parts.clear();
        self.entries.clear();
        self.billed_ends.clear();
        self.billed_ends
            .shrink_to(BATCH_KEPT_BYTES / size_of::<(u32, usize)>());
    }
}

/// The memory that sources are in.
#[derive(Clone, Copy)]
struct Held<'a> {
    buffers: &'a [BufferId],
    retained: &'a [Zeroizing<Vec<u8>>],
    clear: &'a [u8],
}

impl<'a> Held<'a> {
    fn input(self, buffers: &'a Buffers, source: Source, range: Range<usize>) -> &'a [u8] {
        match source {
            Source::Buffer(place) => self
                .buffers
                .get(place as usize)
                .map(|buffer| buffers.bytes(buffer, range)),
            Source::Retained(place) => self
                .retained
                .get(place as usize)
                .and_then(|bytes| bytes.get(range)),
            Source::Clear => self.clear.get(range),
        }
        .unwrap_or_default()
    }
}

/// Appends a part, which becomes one with the last where it goes on there.
fn append(parts: &mut Vec<Part>, entry: &mut Entry, area: Area, range: Range<usize>) {
    if range.is_empty() {
        return;
    }
    entry.bytes = entry.bytes.saturating_add(range.len());
    let (start, end) = (place(range.start), place(range.end));
    if let Some(last) = parts.get_mut(entry.last as usize)
        && last.area == area
        && last.end == start
    {
        last.end = end;
        return;
    }
    let number = place(parts.len());
    parts.push(Part {
        area,
        start,
        end,
        next: NONE,
    });
    match parts.get_mut(entry.last as usize) {
        Some(last) if entry.last != NONE => last.next = number,
        _ => entry.first = number,
    }
    entry.last = number;
}

/// A place in a list, or an offset: none comes near the limit.
#[expect(
    clippy::cast_possible_truncation,
    reason = "rounds are bounded far below"
)]
const fn place(index: usize) -> u32 {
    index as u32
}
