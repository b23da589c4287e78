//! Parquet's hybrid of run lengths and packed bits, for numbers of words and for levels.

/// Bits that numbers below `count` need, at least one.
pub(crate) fn width_of(count: usize) -> u32 {
    (usize::BITS - count.saturating_sub(1).leading_zeros()).max(1)
}

fn varint(out: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// `length` times the same number.
pub(crate) fn run(number: u32, length: usize, width: u32, out: &mut Vec<u8>) {
    varint(out, length << 1);
    out.extend_from_slice(&number.to_le_bytes()[..width.div_ceil(8) as usize]);
}

/// Numbers one by one; the last group of eight is filled up with zeros.
#[allow(clippy::cast_possible_truncation, reason = "the low bits are what is written")]
pub(crate) fn pack(numbers: &[u32], width: u32, out: &mut Vec<u8>) {
    let groups = numbers.len().div_ceil(8);
    varint(out, groups << 1 | 1);
    out.reserve(groups * width as usize + 8);
    let end = out.len() + groups * width as usize;
    let (mut bits, mut held) = (0u64, 0u32);
    for number in numbers {
        bits |= u64::from(*number) << held;
        held += width;
        if held >= 32 {
            out.extend_from_slice(&(bits as u32).to_le_bytes());
            bits >>= 32;
            held -= 32;
        }
    }
    out.extend_from_slice(&bits.to_le_bytes());
    out.resize(end, 0);
}

/// Single bits, `count` of them: each part is one bit and so many ones behind it.
pub(crate) fn bits(count: usize, parts: impl Iterator<Item = (bool, u32)>, out: &mut Vec<u8>) {
    let groups = count.div_ceil(8);
    varint(out, groups << 1 | 1);
    out.reserve(groups + 16);
    let end = out.len() + groups;
    let (mut held, mut bits) = (0u32, 0u64);
    for (first, mut ones) in parts {
        bits |= u64::from(first) << held;
        held += 1;
        loop {
            let now = ones.min(31);
            bits |= ((1u64 << now) - 1) << held;
            held += now;
            ones -= now;
            if held >= 32 {
                #[allow(clippy::cast_possible_truncation, reason = "the low bits are what is written")]
                out.extend_from_slice(&(bits as u32).to_le_bytes());
                bits >>= 32;
                held -= 32;
            }
            if ones == 0 {
                break;
            }
        }
    }
    out.extend_from_slice(&bits.to_le_bytes());
    out.resize(end, 0);
}

/// Either, whichever is shorter for numbers that are all the same.
pub(crate) fn pack_or_run(numbers: &[u32], width: u32, out: &mut Vec<u8>) {
    match numbers.first() {
        Some(first) if numbers.iter().all(|number| number == first) => run(*first, numbers.len(), width, out),
        _ => pack(numbers, width, out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reads it back, as the format's description says.
    fn read(mut bytes: &[u8], width: u32, count: usize) -> Vec<u32> {
        let mut numbers = Vec::new();
        while numbers.len() < count {
            let (mut head, mut shift) = (0usize, 0);
            while let Some((byte, rest)) = bytes.split_first() {
                bytes = rest;
                head |= usize::from(byte & 0x7f) << shift;
                shift += 7;
                if byte & 0x80 == 0 {
                    break;
                }
            }
            if head & 1 == 0 {
                let (number, rest) = bytes.split_at(width.div_ceil(8) as usize);
                let mut word = [0; 4];
                word[..number.len()].copy_from_slice(number);
                numbers.extend(std::iter::repeat_n(u32::from_le_bytes(word), head >> 1));
                bytes = rest;
            } else {
                let (packed, rest) = bytes.split_at((head >> 1) * width as usize);
                let bit = |at: usize| u32::from(packed[at / 8] >> (at % 8) & 1);
                numbers.extend((0..(head >> 1) * 8).map(|n| (0..width).map(|b| bit(n * width as usize + b as usize) << b).sum::<u32>()));
                bytes = rest;
            }
        }
        numbers.truncate(count);
        numbers
    }

    proptest! {
        #[test]
        fn what_is_packed_is_read_again(width in 1u32..=32, raw in proptest::collection::vec(any::<u32>(), 1..100), length in 1usize..1000) {
            let numbers: Vec<u32> = raw.iter().map(|number| number & (u32::MAX >> (32 - width))).collect();
            let mut out = Vec::new();
            run(numbers[0], length, width, &mut out);
            pack_or_run(&numbers, width, &mut out);
            let wanted: Vec<u32> = std::iter::repeat_n(numbers[0], length).chain(numbers.iter().copied()).collect();
            prop_assert_eq!(read(&out, width, wanted.len()), wanted);
        }

        #[test]
        fn bits_are_read_again(parts in proptest::collection::vec((any::<bool>(), 0u32..100), 1..50)) {
            let wanted: Vec<u32> =
                parts.iter().flat_map(|(first, ones)| std::iter::once(u32::from(*first)).chain((0..*ones).map(|_| 1))).collect();
            let mut out = Vec::new();
            bits(wanted.len(), parts.into_iter(), &mut out);
            prop_assert_eq!(read(&out, 1, wanted.len()), wanted);
        }
    }

    #[test]
    fn widths_hold_the_greatest_number() {
        assert_eq!([0, 1, 2, 3, 4, 5, 256, 257].map(width_of), [1, 1, 1, 2, 2, 3, 8, 9]);
    }
}
