//! Output: what one call produced for one leg, as borrowed ranges of its input and small inserts. The
//! payload of a message is only ever a range. What is billed is counted when its last byte is taken.

use alloc::vec::Vec;
use core::ops::Range;

/// A piece of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes of the input that the call was given.
    Input(Range<usize>),
    /// Bytes of the insert area.
    Insert(Range<usize>),
}

impl Piece {
    const fn range(&self) -> &Range<usize> {
        match self {
            Self::Input(range) | Self::Insert(range) => range,
        }
    }

    fn range_mut(&mut self) -> &mut Range<usize> {
        match self {
            Self::Input(range) | Self::Insert(range) => range,
        }
    }
}

/// Output in order, and how much of it has been taken. Reused from batch to batch: it allocates only
/// until it has seen its largest batch.
#[derive(Clone, Debug, Default)]
pub struct Output {
    pieces: Vec<Piece>,
    inserts: Vec<u8>,
    /// The first piece that is not taken whole.
    front: usize,
    /// Bytes produced, bytes taken.
    produced: usize,
    taken: usize,
    /// Where each billed packet ends, in bytes produced.
    billed_ends: Vec<usize>,
    billed_front: usize,
}

impl Output {
    /// Appends a range of the input.
    pub fn forward(&mut self, range: Range<usize>) {
        let length = range.len();
        if length == 0 {
            return;
        }
        self.produced = self.produced.saturating_add(length);
        if let Some(Piece::Input(last)) = self.last_untaken()
            && last.end == range.start
        {
            last.end = range.end;
            return;
        }
        self.pieces.push(Piece::Input(range));
    }

    /// Appends bytes of its own.
    pub fn insert(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.produced = self.produced.saturating_add(bytes.len());
        let start = self.inserts.len();
        self.inserts.extend_from_slice(bytes);
        let end = self.inserts.len();
        if let Some(Piece::Insert(last)) = self.last_untaken()
            && last.end == start
        {
            last.end = end;
            return;
        }
        self.pieces.push(Piece::Insert(start..end));
    }

    /// The last piece, unless it is taken whole: what is appended to it would never be sent.
    fn last_untaken(&mut self) -> Option<&mut Piece> {
        self.pieces.get_mut(self.front..)?.last_mut()
    }

    /// Notes that a billed packet ends here.
    pub fn bill(&mut self) {
        self.billed_ends.push(self.produced);
    }

    /// Bytes not taken yet.
    #[must_use]
    pub const fn pending_bytes(&self) -> usize {
        self.produced.saturating_sub(self.taken)
    }

    /// Whether everything is taken.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.pending_bytes() == 0
    }

    /// Bytes inserted since the last [`Self::clear`].
    #[must_use]
    pub const fn inserted_bytes(&self) -> usize {
        self.inserts.len()
    }

    /// Pieces since the last [`Self::clear`].
    #[must_use]
    pub const fn piece_count(&self) -> usize {
        self.pieces.len()
    }

    /// What is not taken yet, in order. `input` is what the call was given.
    pub fn slices<'a>(&'a self, input: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.pieces.iter().skip(self.front).map(move |piece| {
            let area = match piece {
                Piece::Input(_) => input,
                Piece::Insert(_) => self.inserts.as_slice(),
            };
            area.get(piece.range().clone()).unwrap_or_default()
        })
    }

    /// Takes `count` bytes off the front and returns how many billed packets ended in them.
    pub fn take(&mut self, count: usize) -> u64 {
        self.taken = self.taken.saturating_add(count).min(self.produced);
        let mut rest = count;
        while let Some(piece) = self.pieces.get_mut(self.front) {
            let range = piece.range_mut();
            let length = range.len();
            if rest < length {
                range.start = range.start.saturating_add(rest);
                break;
            }
            rest = rest.saturating_sub(length);
            range.start = range.end;
            self.front = self.front.saturating_add(1);
        }
        let mut billed = 0_u64;
        while self
            .billed_ends
            .get(self.billed_front)
            .is_some_and(|end| *end <= self.taken)
        {
            self.billed_front = self.billed_front.saturating_add(1);
            billed = billed.saturating_add(1);
        }
        billed
    }

    /// Forgets everything, and gives back memory beyond `keep_bytes` of each area.
    pub fn clear(&mut self, keep_bytes: usize) {
        self.pieces.clear();
        self.inserts.clear();
        self.billed_ends.clear();
        shrink(&mut self.pieces, keep_bytes);
        shrink(&mut self.inserts, keep_bytes);
        shrink(&mut self.billed_ends, keep_bytes);
        self.front = 0;
        self.produced = 0;
        self.taken = 0;
        self.billed_front = 0;
    }
}

fn shrink<T>(area: &mut Vec<T>, keep_bytes: usize) {
    area.shrink_to(keep_bytes.checked_div(size_of::<T>()).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_merge_and_are_taken_in_order() {
        let input = b"0123456789";
        let mut output = Output::default();
        output.forward(0..3);
        output.forward(3..4);
        output.insert(b"ab");
        output.insert(b"cd");
        output.bill();
        output.forward(6..10);
        output.bill();
        assert_eq!(output.piece_count(), 3);
        let text = |output: &Output| output.slices(input).collect::<Vec<_>>().concat();
        assert_eq!(text(&output), b"0123abcd6789");
        assert_eq!(output.take(5), 0);
        assert_eq!(text(&output), b"bcd6789");
        assert_eq!(output.take(2), 0);
        assert_eq!(output.take(1), 1);
        assert_eq!(output.take(4), 1);
        assert!(output.is_empty());
        output.clear(0);
        assert_eq!(output.pending_bytes(), 0);
    }

    #[test]
    fn bytes_appended_after_everything_was_taken_are_not_lost() {
        let mut output = Output::default();
        output.insert(b"ab");
        output.take(2);
        output.insert(b"cd");
        assert_eq!(output.slices(b"").collect::<Vec<_>>().concat(), b"cd");
        output.take(1);
        output.insert(b"e");
        assert_eq!(output.slices(b"").collect::<Vec<_>>().concat(), b"de");
        output.take(2);
        output.forward(0..1);
        output.take(1);
        output.forward(1..3);
        assert_eq!(output.slices(b"xyz").collect::<Vec<_>>().concat(), b"yz");
        assert_eq!(output.pending_bytes(), 2);
    }

    #[test]
    fn b_top_6_cleared_output_gives_memory_back() {
        let mut output = Output::default();
        for start in 0..10_000 {
            output.forward(2 * start..2 * start + 1);
            output.insert(&[0; 10]);
            output.bill();
        }
        output.clear(1024);
        assert!(output.inserts.capacity() <= 1024);
        assert!(output.pieces.capacity() * size_of::<Piece>() <= 1024);
        assert!(output.billed_ends.capacity() * size_of::<usize>() <= 1024);
    }

    #[test]
    fn b_bill_1_a_packet_counts_when_its_last_byte_is_taken() {
        let mut output = Output::default();
        output.insert(&[0; 10]);
        output.bill();
        assert_eq!(output.take(9), 0);
        assert_eq!(output.take(1), 1);
        assert_eq!(output.take(0), 0);
    }
}
