//! Output: what one call produced for one leg, as borrowed ranges of its input and small inserts. A payload
//! is a range, but for a short one, which is copied behind the head that was written anew before it. What is
//! billed is counted when its last byte is taken.

use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use crate::limits::BORROW_BYTES_MIN;

/// A piece of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes of the input that the call was given.
    Input(Range<usize>),
    /// Bytes of the insert area, [`Output::inserts`].
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
/// until it has seen its largest batch. What several calls insert may stand in one area, so that one send
/// takes it: each call after the first begins behind it ([`Self::begin`]).
#[derive(Clone, Debug, Default)]
pub struct Output {
    pieces: Vec<Piece>,
    inserts: Area,
    /// Where the inserts of this call begin.
    begun: usize,
    /// Forwarded bytes among the inserts.
    copied: usize,
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
    /// Appends bytes of the input, which stand there from `start` on. A few are copied behind what was
    /// inserted just before, since a slice of their own would cost the kernel more. Where nothing is
    /// inserted nothing is copied, and nothing of [`BORROW_BYTES_MIN`] ever is (B-TOP-6).
    #[inline]
    pub fn forward(&mut self, start: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = start.saturating_add(bytes.len());
        match self.last_untaken() {
            Some(Piece::Insert(_)) if bytes.len() < BORROW_BYTES_MIN => {
                self.copied = self.copied.saturating_add(bytes.len());
                self.insert(bytes);
                return;
            }
            Some(Piece::Input(last)) if last.end == start => last.end = end,
            Some(Piece::Input(_) | Piece::Insert(_)) | None => {
                self.pieces.push(Piece::Input(start..end));
            }
        }
        self.produced = self.produced.saturating_add(bytes.len());
    }

    /// Appends bytes of its own.
    #[inline]
    pub fn insert(&mut self, bytes: &[u8]) {
        if let Some(room) = self.inserts.room(bytes.len()).get_mut(..bytes.len()) {
            room.copy_from_slice(bytes);
        }
        self.inserted(bytes.len());
    }

    /// Room for `least` bytes of its own, or more. What is written there is appended by
    /// [`Self::inserted`], and forgotten otherwise.
    #[inline]
    pub(crate) fn room(&mut self, least: usize) -> &mut [u8] {
        self.inserts.room(least)
    }

    /// Appends the first `count` bytes of the room.
    #[inline]
    pub(crate) fn inserted(&mut self, count: usize) {
        if count == 0 {
            return;
        }
        let start = self.inserts.len;
        self.inserts.fill(count);
        let end = self.inserts.len;
        self.produced = self.produced.saturating_add(count);
        match self.last_untaken() {
            Some(Piece::Insert(last)) => last.end = end,
            Some(Piece::Input(_)) | None => self.pieces.push(Piece::Insert(start..end)),
        }
    }

    /// As [`Self::inserted`] and then [`Self::forward`], in one step where that copies.
    #[inline]
    pub(crate) fn inserted_before(&mut self, count: usize, start: usize, bytes: &[u8]) {
        let both = count.saturating_add(bytes.len());
        if count > 0
            && bytes.len() < BORROW_BYTES_MIN
            && let Some(room) = self.room(both).get_mut(count..both)
        {
            room.copy_from_slice(bytes);
            self.copied = self.copied.saturating_add(bytes.len());
            self.inserted(both);
        } else {
            self.inserted(count);
            self.forward(start, bytes);
        }
    }

    /// The last piece, unless it is taken whole: what is appended to it would never be sent.
    #[inline]
    fn last_untaken(&mut self) -> Option<&mut Piece> {
        self.pieces.get_mut(self.front..)?.last_mut()
    }

    /// Notes that a billed packet ends here.
    #[inline]
    pub fn bill(&mut self) {
        self.billed_ends.push(self.produced);
    }

    /// What this call produced, in order: ranges of its input, and of [`Self::inserts`].
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// What was inserted since the last [`Self::clear`], by whatever call.
    #[must_use]
    pub fn inserts(&self) -> &[u8] {
        self.inserts.filled()
    }

    /// Where each billed packet ends, in bytes that this call produced.
    #[must_use]
    pub fn billed_ends(&self) -> &[usize] {
        &self.billed_ends
    }

    /// Bytes that this call produced.
    #[must_use]
    pub const fn produced_bytes(&self) -> usize {
        self.produced
    }

    /// Bytes that were forwarded by copying them, since the last [`Self::clear`].
    #[must_use]
    pub const fn copied_bytes(&self) -> usize {
        self.copied
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

    /// Bytes that this call inserted.
    #[must_use]
    pub const fn inserted_bytes(&self) -> usize {
        self.inserts.len.saturating_sub(self.begun)
    }

    /// Pieces of this call.
    #[must_use]
    pub const fn piece_count(&self) -> usize {
        self.pieces.len()
    }

    /// What is not taken yet, in order. `input` is what the call was given.
    pub fn slices<'a>(&'a self, input: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.pieces.iter().skip(self.front).map(move |piece| {
            let area = match piece {
                Piece::Input(_) => input,
                Piece::Insert(_) => self.inserts(),
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

    /// Begins another call's output behind what was inserted so far, which stays where it is; everything
    /// else is forgotten.
    #[inline]
    pub fn begin(&mut self) {
        self.pieces.clear();
        self.billed_ends.clear();
        self.begun = self.inserts.len;
        self.front = 0;
        self.produced = 0;
        self.taken = 0;
        self.billed_front = 0;
    }

    /// Forgets everything, and gives back memory beyond `keep_bytes` of each area.
    pub fn clear(&mut self, keep_bytes: usize) {
        self.inserts.clear(keep_bytes);
        self.begin();
        self.copied = 0;
        shrink(&mut self.pieces, keep_bytes);
        shrink(&mut self.billed_ends, keep_bytes);
    }
}

/// Inserted bytes, and room behind them.
#[derive(Clone, Default)]
struct Area {
    /// All of it, so that room is written to in place.
    bytes: Vec<u8>,
    /// How many of them are inserted.
    len: usize,
}

impl Area {
    fn filled(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    #[inline]
    fn room(&mut self, least: usize) -> &mut [u8] {
        let end = self.len.saturating_add(least);
        if end > self.bytes.len() {
            self.grow(end);
        }
        self.bytes.get_mut(self.len..).unwrap_or_default()
    }

    /// At least to `end`, and by as much again, so that growing is rare.
    #[cold]
    fn grow(&mut self, end: usize) {
        let doubled = self.bytes.len().saturating_mul(2);
        self.bytes.resize(end.max(doubled), 0);
    }

    #[inline]
    fn fill(&mut self, count: usize) {
        self.len = self.len.saturating_add(count).min(self.bytes.len());
    }

    fn clear(&mut self, keep_bytes: usize) {
        self.len = 0;
        self.bytes.truncate(keep_bytes);
        shrink(&mut self.bytes, keep_bytes);
    }
}

impl fmt::Debug for Area {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.filled().fmt(formatter)
    }
}

fn shrink<T>(area: &mut Vec<T>, keep_bytes: usize) {
    let kept = keep_bytes.checked_div(size_of::<T>()).unwrap_or_default();
    if area.capacity() > kept {
        area.shrink_to(kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Forwards a range of `input`.
    fn forward(output: &mut Output, input: &[u8], range: Range<usize>) {
        output.forward(range.start, &input[range]);
    }

    fn text(output: &Output, input: &[u8]) -> Vec<u8> {
        output.slices(input).collect::<Vec<_>>().concat()
    }

    #[test]
    fn pieces_merge_and_are_taken_in_order() {
        let input = [b"0123456789".as_slice(), &[b'-'; BORROW_BYTES_MIN]].concat();
        let end = input.len();
        let mut output = Output::default();
        forward(&mut output, &input, 0..3);
        forward(&mut output, &input, 3..4);
        output.insert(b"ab");
        output.insert(b"cd");
        output.bill();
        forward(&mut output, &input, 10..end);
        output.bill();
        assert_eq!(
            output.pieces(),
            [
                Piece::Input(0..4),
                Piece::Insert(0..4),
                Piece::Input(10..end)
            ]
        );
        assert_eq!(output.copied_bytes(), 0);
        let rest = &input[10..];
        assert_eq!(text(&output, &input), [b"0123abcd", rest].concat());
        assert_eq!(output.take(5), 0);
        assert_eq!(text(&output, &input), [b"bcd", rest].concat());
        assert_eq!(output.take(2), 0);
        assert_eq!(output.take(1), 1);
        assert_eq!(output.take(rest.len()), 1);
        assert!(output.is_empty());
        output.clear(0);
        assert_eq!(output.pending_bytes(), 0);
    }

    /// B-TOP-6: a short range is copied beside an insert; a long one, a first one and one that goes on
    /// where the last one ended stay where they are.
    #[test]
    fn b_top_6_only_short_ranges_behind_inserts_are_copied() {
        let input = [b'i'; 3 * BORROW_BYTES_MIN];
        let long = BORROW_BYTES_MIN;
        // Lengths of inserts and ranges in turn, and the pieces.
        let check = |parts: &[(usize, usize)], expected: &[Piece], copied| {
            let mut output = Output::default();
            let mut start = 0;
            let mut plain = Vec::new();
            for (inserted, forwarded) in parts {
                output.insert(&[b'o'; 9][..*inserted]);
                plain.extend_from_slice(&[b'o'; 9][..*inserted]);
                forward(&mut output, &input, start..start + forwarded);
                plain.extend_from_slice(&input[..*forwarded]);
                start += forwarded;
            }
            assert_eq!(output.pieces(), expected, "{parts:?}");
            assert_eq!(output.copied_bytes(), copied, "{parts:?}");
            assert_eq!(text(&output, &input), plain, "{parts:?}");
            assert_eq!(output.produced_bytes(), plain.len(), "{parts:?}");
        };
        check(
            &[(0, 7), (0, 1), (0, long)],
            &[Piece::Input(0..8 + long)],
            0,
        );
        check(&[(3, 7), (4, 1)], &[Piece::Insert(0..15)], 8);
        check(
            &[(3, long - 1), (4, 0)],
            &[Piece::Insert(0..long + 6)],
            long - 1,
        );
        check(
            &[(3, long), (0, 5), (4, 5)],
            &[
                Piece::Insert(0..3),
                Piece::Input(0..long + 5),
                Piece::Insert(3..12),
            ],
            5,
        );
        check(
            &[(0, 2), (2, 2)],
            &[Piece::Input(0..2), Piece::Insert(0..4)],
            2,
        );
    }

    #[test]
    fn several_calls_share_one_area() {
        let mut output = Output::default();
        let mut sent = Vec::new();
        for (input, begun) in [(b"first ", 0), (b"second", 8), (b"third ", 16)] {
            output.begin();
            assert_eq!((output.piece_count(), output.produced_bytes()), (0, 0));
            output.insert(b"> ");
            output.forward(0, input);
            output.bill();
            assert_eq!(output.pieces(), [Piece::Insert(begun..begun + 8)]);
            assert_eq!(output.billed_ends(), [8]);
            assert_eq!((output.inserted_bytes(), output.produced_bytes()), (8, 8));
            sent.push(output.pieces()[0].clone());
        }
        assert_eq!(sent.len(), 3);
        assert_eq!(output.inserts(), b"> first > second> third ");
        assert_eq!(output.copied_bytes(), 18);
        output.begin();
        assert!(output.is_empty());
        output.forward(0, b"alone");
        assert_eq!(output.pieces(), [Piece::Input(0..5)]);
        output.clear(1024);
        assert_eq!((output.inserts(), output.copied_bytes()), (&b""[..], 0));
        output.insert(b"anew");
        assert_eq!(output.pieces(), [Piece::Insert(0..4)]);
    }

    #[test]
    fn one_step_comes_to_the_same_as_two() {
        let input = [b'i'; BORROW_BYTES_MIN + 1];
        for count in [0, 3] {
            for forwarded in [0, 1, BORROW_BYTES_MIN - 1, BORROW_BYTES_MIN] {
                let [mut one, mut two] = [(); 2].map(|()| {
                    let mut output = Output::default();
                    output.forward(0, &input[..1]);
                    output.room(3)[..3].copy_from_slice(b"abc");
                    output
                });
                let bytes = &input[1..=forwarded];
                one.inserted_before(count, 1, bytes);
                two.inserted(count);
                two.forward(1, bytes);
                assert_eq!(one.pieces(), two.pieces(), "{count} {forwarded}");
                assert_eq!(one.inserts(), two.inserts());
                assert_eq!(one.copied_bytes(), two.copied_bytes());
                assert_eq!(one.produced_bytes(), two.produced_bytes());
            }
        }
    }

    #[test]
    fn room_that_is_not_inserted_is_forgotten() {
        let mut output = Output::default();
        output.insert(b"ab");
        output.room(100)[..3].copy_from_slice(b"xyz");
        output.inserted(1);
        output.room(1)[0] = b'q';
        output.insert(b"c");
        assert_eq!(output.inserts(), b"abxc");
        assert_eq!(output.pieces(), [Piece::Insert(0..4)]);
    }

    #[test]
    fn bytes_appended_after_everything_was_taken_are_not_lost() {
        let mut output = Output::default();
        output.insert(b"ab");
        output.take(2);
        output.insert(b"cd");
        assert_eq!(text(&output, b""), b"cd");
        output.take(1);
        output.insert(b"e");
        assert_eq!(text(&output, b""), b"de");
        output.take(2);
        forward(&mut output, b"xyz", 0..1);
        output.take(1);
        forward(&mut output, b"xyz", 1..3);
        assert_eq!(text(&output, b"xyz"), b"yz");
        assert_eq!(output.pending_bytes(), 2);
    }

    #[test]
    fn b_top_6_cleared_output_gives_memory_back() {
        let mut output = Output::default();
        for start in 0..10_000 {
            output.forward(2 * start, &[0; BORROW_BYTES_MIN]);
            output.insert(&[0; 10]);
            output.bill();
        }
        output.clear(1024);
        assert!(output.inserts.bytes.capacity() <= 1024);
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
